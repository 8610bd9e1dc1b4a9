/* SPDX-License-Identifier: MIT */
#include "wire/submission.h"

#include <string.h>

#include <message_gateway.pb-c.h>

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
