/* SPDX-License-Identifier: MIT */
#include "wire/submission.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <message_gateway.pb-c.h>

#include "wire/base64.h"
#include "wire/client_frame.h"

#define USER "11111111-1111-4111-8111-111111111111"
#define OTHER "22222222-2222-4222-8222-222222222222"
#define ID "6F1C0A3E-8d1b-4a51-9a3e-0b1c2d3e4f50"

typedef Construct__MessageGateway__V1__SubmitMessageRequest request;

TestSuite(submission, .timeout = 5);

static uint8_t key[CHAT_KEY_LEN], bytes[80000];

static request good(void)
{
	request r = CONSTRUCT__MESSAGE_GATEWAY__V1__SUBMIT_MESSAGE_REQUEST__INIT;

	r.message_id = (char *)(uintptr_t)ID;
	r.from = r.authenticated_user_id = (char *)(uintptr_t)USER;
	r.to = (char *)(uintptr_t)OTHER;
	r.ephemeral_public_key = (ProtobufCBinaryData){ sizeof(key), key };
	r.ciphertext = (ProtobufCBinaryData){ 100, bytes };
	r.message_number = 7;
	return r;
}

static enum error_code reads(const request *r, struct submission *out)
{
	const size_t len =
		construct__message_gateway__v1__submit_message_request__get_packed_size(r);
	uint8_t *packed = malloc(len);
	enum error_code code;

	construct__message_gateway__v1__submit_message_request__pack(r, packed);
	code = submission_read(wire_slice(packed, len), out);
	free(packed); /* nothing in out borrows it */
	return code;
}

Test(submission, a_good_one_is_read_whole)
{
	const request r = good();
	struct submission s;

	key[31] = 9;
	bytes[99] = 5;
	cr_assert_eq(reads(&r, &s), ERROR_NONE);
	cr_assert_eq(s.message.message_number, 7);
	cr_assert_eq(s.message.key[31], 9);
	cr_assert_eq(s.ciphertext_len, 100);
	cr_assert_eq(s.ciphertext[99], 5);
	cr_assert(uuid_equal(&s.message.from.user, &s.user.user));
	cr_assert_neq(s.message.id_case, 0, "the id's case is kept");
	cr_assert_not(s.has_timestamp, "older peers send none");
	submission_free(&s);
}

#define REFUSES(code, change)                      \
	do {                                       \
		request r = good();                \
		struct submission s;               \
		change;                            \
		cr_assert_eq(reads(&r, &s), code); \
		submission_free(&s);               \
	} while (0)

Test(submission, each_field_is_judged)
{
	REFUSES(ERROR_INVALID_MESSAGE_ID, r.message_id = (char *)(uintptr_t) "x");
	REFUSES(ERROR_INVALID_MESSAGE_FORMAT, r.from = (char *)(uintptr_t) "x");
	REFUSES(ERROR_INVALID_MESSAGE_FORMAT, r.to = (char *)(uintptr_t) "");
	REFUSES(ERROR_INVALID_MESSAGE_FORMAT, r.authenticated_user_id = (char *)(uintptr_t) "");
	REFUSES(ERROR_INVALID_MESSAGE_FORMAT, r.ephemeral_public_key.len = 31);
	REFUSES(ERROR_INVALID_MESSAGE_FORMAT, r.ciphertext.len = 0);
	REFUSES(ERROR_NONE, r.ciphertext.len = SUBMISSION_CONTENT_BYTES_MAX);
	REFUSES(ERROR_INVALID_MESSAGE_FORMAT,
	        r.ciphertext.len = SUBMISSION_CONTENT_BYTES_MAX + 1);
}

Test(submission, what_is_no_message_is_refused)
{
	static const uint8_t cut[] = { 0x0a, 0x24, 'x' };
	struct submission s;

	cr_assert_eq(submission_read(wire_slice(cut, sizeof(cut)), &s), ERROR_INVALID_FORMAT);
	submission_free(&s);
	cr_assert_eq(submission_read(wire_slice(NULL, 0), &s), ERROR_INVALID_MESSAGE_ID);
	submission_free(&s);
}

Test(submission, every_code_has_its_status)
{
	for (int code = ERROR_NONE; code < ERROR_CODE_COUNT; code++) {
		uint8_t out[SUBMISSION_RESPONSE_MAX];
		const size_t len = submission_response(out, (enum error_code)code, "");
		Construct__MessageGateway__V1__SubmitMessageResponse *r =
			construct__message_gateway__v1__submit_message_response__unpack(
				NULL, len, out);

		cr_assert(r != NULL);
		cr_assert_eq(r->status == 1, code == ERROR_NONE);
		cr_assert_eq(r->error == NULL, code == ERROR_NONE);
		if (r->error != NULL)
			cr_assert_str_eq(r->error->error_code,
			                 error_code_name((enum error_code)code));
		construct__message_gateway__v1__submit_message_response__free_unpacked(r, NULL);
	}
}

/* ---- the server's side ---- */

static struct chat_message message(const char *content)
{
	struct chat_message m = { .message_number = UINT32_MAX,
		                  .content = wire_text(content),
		                  .timestamp = -1 };

	cr_assert(uuid_parse(wire_text(ID), &m.id, &m.id_case));
	cr_assert(user_address_parse(wire_text(USER "@home.test"), &m.from));
	cr_assert(user_address_parse(wire_text(OTHER), &m.to));
	memset(m.key, 0xab, sizeof(m.key));
	return m;
}

Test(submission, a_request_written_is_what_the_schema_says)
{
	const struct chat_message m = message("c2VhbGVk");
	uint8_t out[1024];
	const size_t len = submission_request(out, sizeof(out), &m, &m.from.user);
	request *r =
		construct__message_gateway__v1__submit_message_request__unpack(NULL, len, out);

	cr_assert(r != NULL && r->base.n_unknown_fields == 0);
	cr_assert_str_eq(r->message_id, ID);
	cr_assert_str_eq(r->from, USER "@home.test");
	cr_assert_str_eq(r->to, OTHER);
	cr_assert_str_eq(r->authenticated_user_id, USER);
	cr_assert(r->ephemeral_public_key.len == 32 &&
	          r->ephemeral_public_key.data[31] == 0xab);
	cr_assert(r->ciphertext.len == 6 && memcmp(r->ciphertext.data, "sealed", 6) == 0);
	cr_assert(r->message_number == UINT32_MAX);
	cr_assert(r->client_timestamp == -1);
	construct__message_gateway__v1__submit_message_request__free_unpacked(r, NULL);
}

Test(submission, a_message_is_read_as_it_was_written)
{
	static const int64_t times[] = { INT64_MIN, -1, 0, 1, 1767400000, INT64_MAX };
	uint8_t out[1024];
	struct submission s;

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		struct chat_message m = message("AA==");

		m.timestamp = times[i];
		m.message_number = (uint32_t)i;
		cr_assert(submission_read(wire_slice(out, submission_request(out, sizeof(out),
		                                                             &m, &m.from.user)),
		                          &s) == ERROR_NONE);
		cr_assert(s.has_timestamp && s.message.timestamp == times[i]);
		cr_assert(s.message.message_number == i);
		cr_assert(uuid_equal(&s.message.id, &m.id) && s.message.id_case == m.id_case);
		cr_assert(wire_slice_is(s.message.from.domain, "home.test"));
		cr_assert(s.message.to.domain.len == 0);
		cr_assert(uuid_equal(&s.user.user, &m.from.user));
		submission_free(&s);
	}
}

/* client_frame.h takes only the one text that stands for its bytes. */
Test(submission, content_of_every_length_comes_back_as_the_same_text)
{
	static char text[400], again[400];
	uint8_t sealed[256], out[1024];
	struct submission s;

	for (size_t n = 1; n < sizeof(sealed); n++) {
		struct chat_message m = message("AA==");

		for (size_t i = 0; i < n; i++)
			sealed[i] = (uint8_t)(i * 7 + n * 13);
		m.content = wire_slice(text, base64_encode(sealed, n, text));
		cr_assert(submission_read(wire_slice(out, submission_request(out, sizeof(out),
		                                                             &m, &m.from.user)),
		                          &s) == ERROR_NONE);
		cr_assert(wire_slice_equal(
			m.content, wire_slice(again, base64_encode(s.ciphertext,
		                                                   s.ciphertext_len, again))));
		submission_free(&s);
	}
}

Test(submission, writing_stays_inside_its_room_and_tells_the_length)
{
	const struct chat_message m = message("c2VhbGVk");
	const size_t len = submission_request(NULL, 0, &m, &m.from.user);

	for (size_t room = 0; room <= len; room++) {
		uint8_t *out = malloc(room > 0 ? room : 1);

		cr_assert(submission_request(out, room, &m, &m.from.user) == len);
		free(out);
	}
}

Test(submission, the_largest_content_of_a_client_passes)
{
	static uint8_t frame[CLIENT_FRAME_BYTES_MAX + 8], out[CLIENT_FRAME_BYTES_MAX];
	const size_t chars = BASE64_TEXT_LEN(SUBMISSION_CONTENT_BYTES_MAX);
	char *text = malloc(chars + 4);
	struct chat_message m = message("AA==");
	struct submission s;

	memset(text, 'A', chars + 4);
	m.from.domain.len = 0;
	m.message_number = 0;
	m.content = wire_slice(text, chars + 4);
	cr_assert(client_frame_send_message(frame, sizeof(frame), &m) > CLIENT_FRAME_BYTES_MAX);
	m.content = wire_slice(text, chars);
	cr_assert(client_frame_send_message(frame, sizeof(frame), &m) <=
	          CLIENT_FRAME_BYTES_MAX);
	cr_assert(submission_read(wire_slice(out, submission_request(out, sizeof(out), &m,
	                                                             &m.from.user)),
	                          &s) == ERROR_NONE);
	cr_assert(s.ciphertext_len == SUBMISSION_CONTENT_BYTES_MAX);
	submission_free(&s);
	free(text);
}

Test(submission, an_outcome_is_read_as_it_was_written)
{
	uint8_t out[SUBMISSION_RESPONSE_MAX];
	struct submission_outcome o;

	for (int code = ERROR_NONE; code < ERROR_CODE_COUNT; code++) {
		size_t len = submission_response(out, (enum error_code)code, NULL);

		cr_assert(submission_outcome_read(wire_slice(out, len), &o));
		cr_assert(o.code == (enum error_code)code);
		cr_assert_str_empty(o.text);
		len = submission_response(out, (enum error_code)code, "Slow down! (9/8)");
		cr_assert(submission_outcome_read(wire_slice(out, len), &o));
		cr_assert_str_eq(o.text, code == ERROR_NONE ? "" : "Slow down! (9/8)");
	}
}

static bool outcome_of(int status, const char *name, const char *text,
                       struct submission_outcome *o)
{
	Construct__MessageGateway__V1__SubmitMessageResponse r =
		CONSTRUCT__MESSAGE_GATEWAY__V1__SUBMIT_MESSAGE_RESPONSE__INIT;
	Construct__MessageGateway__V1__ErrorDetails error =
		CONSTRUCT__MESSAGE_GATEWAY__V1__ERROR_DETAILS__INIT;
	uint8_t out[1024];

	r.status = (Construct__MessageGateway__V1__SubmissionStatus)status;
	error.error_code = (char *)(uintptr_t)name;
	error.error_message = (char *)(uintptr_t)text;
	r.error = name != NULL ? &error : NULL;
	return submission_outcome_read(
		wire_slice(out, construct__message_gateway__v1__submit_message_response__pack(
					&r, out)),
		o);
}

Test(submission, without_a_code_of_ours_the_status_tells)
{
	static const enum error_code codes[] = {
		ERROR_NONE,         ERROR_INVALID_MESSAGE_FORMAT, ERROR_RATE_LIMIT_WARNING,
		ERROR_USER_BLOCKED, ERROR_DUPLICATE_MESSAGE,      ERROR_KAFKA_FAILURE
	};
	struct submission_outcome o;

	for (int status = 1; status <= 6; status++) {
		cr_assert(outcome_of(status, NULL, "", &o));
		cr_assert(o.code == codes[status - 1]);
		cr_assert(outcome_of(status, "ELSEWHERE", "", &o));
		cr_assert(o.code == codes[status - 1]);
	}
	cr_assert(outcome_of(2, "INBOX_FULL", "", &o));
	cr_assert(o.code == ERROR_INBOX_FULL);
	cr_assert(outcome_of(1, "INBOX_FULL", "", &o));
	cr_assert(o.code == ERROR_NONE, "success is success");
	cr_assert_not(outcome_of(0, NULL, "", &o), "unspecified");
	cr_assert_not(outcome_of(7, NULL, "", &o));
	cr_assert_not(submission_outcome_read(wire_slice("\x08", 1), &o), "cut off");
}

Test(submission, a_long_text_is_cut_between_characters_and_a_broken_one_left_out)
{
	static const char a70[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
				  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	struct submission_outcome o;
	char text[100];

	snprintf(text, sizeof(text), "%sb", a70);
	cr_assert(outcome_of(2, "INBOX_FULL", text, &o));
	cr_assert_str_eq(o.text, text);
	snprintf(text, sizeof(text), "%sbc", a70);
	cr_assert(outcome_of(2, "INBOX_FULL", text, &o));
	cr_assert(strlen(o.text) == 71);
	snprintf(text, sizeof(text), "%s\xc3\xbc!", a70);
	cr_assert(outcome_of(2, "INBOX_FULL", text, &o));
	cr_assert_str_eq(o.text, a70);
	cr_assert(outcome_of(2, "INBOX_FULL", "a\xff", &o));
	cr_assert_str_empty(o.text);
}
