/* SPDX-License-Identifier: MIT */
#include "wire/submission.h"

#include <string.h>

#include <message_gateway.pb-c.h>

#include "wire/base64.h"
#include "wire/protobuf.h"
#include "wire/utf8.h"

#define REQUEST Construct__MessageGateway__V1__SubmitMessageRequest
#define RESPONSE Construct__MessageGateway__V1__SubmitMessageResponse
#define STATUS(name) CONSTRUCT__MESSAGE_GATEWAY__V1__SUBMISSION_STATUS__SUBMISSION_STATUS_##name

static enum error_code judge(const REQUEST *r, struct submission *out)
{
	struct chat_message *m = &out->message;

	if (!uuid_parse(wire_text(r->message_id), &m->id, &m->id_case))
		return ERROR_INVALID_MESSAGE_ID;
	if (!user_address_parse(wire_text(r->from), &m->from) ||
	    !user_address_parse(wire_text(r->to), &m->to) ||
	    !user_address_parse(wire_text(r->authenticated_user_id), &out->user) ||
	    r->ephemeral_public_key.len != CHAT_KEY_LEN || r->ciphertext.len == 0 ||
	    r->ciphertext.len > SUBMISSION_CONTENT_BYTES_MAX)
		return ERROR_INVALID_MESSAGE_FORMAT;
	memcpy(m->key, r->ephemeral_public_key.data, CHAT_KEY_LEN);
	m->message_number = r->message_number;
	out->has_timestamp =
		r->optional_client_timestamp_case ==
		CONSTRUCT__MESSAGE_GATEWAY__V1__SUBMIT_MESSAGE_REQUEST__OPTIONAL_CLIENT_TIMESTAMP_CLIENT_TIMESTAMP;
	if (out->has_timestamp)
		m->timestamp = r->client_timestamp;
	out->ciphertext = r->ciphertext.data;
	out->ciphertext_len = r->ciphertext.len;
	return ERROR_NONE;
}

enum error_code submission_read(struct wire_slice bytes, struct submission *out)
{
	REQUEST *r = construct__message_gateway__v1__submit_message_request__unpack(
		NULL, bytes.len, bytes.at);

	*out = (struct submission){ .unpacked = r };
	return r == NULL ? ERROR_INVALID_FORMAT : judge(r, out);
}

void submission_free(struct submission *s)
{
	if (s->unpacked != NULL)
		construct__message_gateway__v1__submit_message_request__free_unpacked(
			s->unpacked, NULL);
	s->unpacked = NULL;
}

static Construct__MessageGateway__V1__SubmissionStatus status_of(enum error_code code)
{
	switch (code) {
	case ERROR_NONE:
		return STATUS(SUCCESS);
	case ERROR_RATE_LIMIT_WARNING:
	case ERROR_RATE_LIMIT_BLOCKED:
		return STATUS(RATE_LIMITED);
	case ERROR_USER_BLOCKED:
		return STATUS(USER_BLOCKED);
	case ERROR_DUPLICATE_MESSAGE:
		return STATUS(DUPLICATE);
	case ERROR_KAFKA_FAILURE:
	case ERROR_SERVER_ERROR:
		return STATUS(INTERNAL_ERROR);
	default:
		return STATUS(VALIDATION_ERROR);
	}
}

size_t submission_response(uint8_t out[SUBMISSION_RESPONSE_MAX], enum error_code code,
                           const char *text)
{
	RESPONSE response = CONSTRUCT__MESSAGE_GATEWAY__V1__SUBMIT_MESSAGE_RESPONSE__INIT;
	Construct__MessageGateway__V1__ErrorDetails error =
		CONSTRUCT__MESSAGE_GATEWAY__V1__ERROR_DETAILS__INIT;

	response.status = status_of(code);
	if (code != ERROR_NONE) {
		error.error_code = (char *)(uintptr_t)error_code_name(code);
		error.error_message = (char *)(uintptr_t)(text != NULL && text[0] != '\0'
		                                                  ? text
		                                                  : error_code_text(code));
		response.error = &error;
	}
	return construct__message_gateway__v1__submit_message_response__pack(&response, out);
}

size_t submission_health(uint8_t out[SUBMISSION_RESPONSE_MAX], bool is_serving)
{
	Construct__MessageGateway__V1__HealthCheckResponse response =
		CONSTRUCT__MESSAGE_GATEWAY__V1__HEALTH_CHECK_RESPONSE__INIT;

	response.status =
		is_serving
			? CONSTRUCT__MESSAGE_GATEWAY__V1__HEALTH_STATUS__HEALTH_STATUS_SERVING
			: CONSTRUCT__MESSAGE_GATEWAY__V1__HEALTH_STATUS__HEALTH_STATUS_NOT_SERVING;
	return construct__message_gateway__v1__health_check_response__pack(&response, out);
}

bool submission_is_serving(struct wire_slice bytes)
{
	Construct__MessageGateway__V1__HealthCheckResponse *response;
	bool is_serving;

	response = construct__message_gateway__v1__health_check_response__unpack(
		NULL, bytes.len, bytes.at);
	is_serving =
		response != NULL &&
		response->status ==
			CONSTRUCT__MESSAGE_GATEWAY__V1__HEALTH_STATUS__HEALTH_STATUS_SERVING;
	if (response != NULL)
		construct__message_gateway__v1__health_check_response__free_unpacked(response,
		                                                                     NULL);
	return is_serving;
}

/* ---- the server's side.  Written by hand: the content is decoded straight into its place. ---- */

static void put_address(struct pack *p, unsigned field, const struct user_address *address)
{
	char text[USER_ADDRESS_BYTES_MAX];

	protobuf_put_bytes(p, field, text, user_address_format(address, text));
}

static void put_base64(struct pack *p, unsigned field, struct wire_slice text)
{
	size_t len = 0;

	if (!base64_is_valid(text, &len))
		len = 0; /* the caller's error; the gateway refuses an empty one */
	protobuf_put_head(p, field, len);
	if (p->len <= p->room && len <= p->room - p->len &&
	    !base64_decode(text, p->out + p->len, p->room - p->len, &len))
		len = 0;
	p->len += len;
}

size_t submission_request(uint8_t *out, size_t room, const struct chat_message *m,
                          const struct uuid *user)
{
	const struct user_address whose = { .user = *user };
	struct pack p = { .out = out, .room = room };
	char id[UUID_TEXT_LEN];

	uuid_format_case(&m->id, m->id_case, id);
	protobuf_put_bytes(&p, 1, id, sizeof(id));
	put_address(&p, 2, &m->from);
	put_address(&p, 3, &m->to);
	protobuf_put_bytes(&p, 4, m->key, sizeof(m->key));
	put_base64(&p, 5, m->content);
	protobuf_put_uint(&p, 6, m->message_number);
	put_address(&p, 7, &whose);
	protobuf_put_uint(&p, 100, (uint64_t)m->timestamp);
	return p.len;
}

/* What the status alone tells; ERROR_CODE_COUNT: nothing. */
static enum error_code code_of(int status)
{
	switch (status) {
	case STATUS(SUCCESS):
		return ERROR_NONE;
	case STATUS(VALIDATION_ERROR):
		return ERROR_INVALID_MESSAGE_FORMAT;
	case STATUS(RATE_LIMITED):
		return ERROR_RATE_LIMIT_WARNING;
	case STATUS(USER_BLOCKED):
		return ERROR_USER_BLOCKED;
	case STATUS(DUPLICATE):
		return ERROR_DUPLICATE_MESSAGE;
	case STATUS(INTERNAL_ERROR):
		return ERROR_KAFKA_FAILURE;
	default:
		return ERROR_CODE_COUNT;
	}
}

static void copy_text(char out[SUBMISSION_TEXT_MAX], struct wire_slice text)
{
	size_t len = text.len < SUBMISSION_TEXT_MAX ? text.len : SUBMISSION_TEXT_MAX - 1;

	if (!utf8_is_valid(text))
		len = 0;
	while (len < text.len && len > 0 && (text.at[len] & 0xc0) == 0x80)
		len--; /* a cut inside a character goes before it */
	if (len > 0)
		memcpy(out, text.at, len);
	out[len] = '\0';
}

bool submission_outcome_read(struct wire_slice bytes, struct submission_outcome *out)
{
	RESPONSE *r = construct__message_gateway__v1__submit_message_response__unpack(
		NULL, bytes.len, bytes.at);
	enum error_code named;

	if (r == NULL)
		return false;
	*out = (struct submission_outcome){ .code = code_of((int)r->status) };
	if (r->error != NULL && out->code != ERROR_NONE) {
		named = error_code_by_name(wire_text(r->error->error_code));
		if (named != ERROR_NONE)
			out->code = named;
		if (strcmp(r->error->error_message, error_code_text(out->code)) != 0)
			copy_text(out->text, wire_text(r->error->error_message));
	}
	construct__message_gateway__v1__submit_message_response__free_unpacked(r, NULL);
	return out->code != ERROR_CODE_COUNT;
}
