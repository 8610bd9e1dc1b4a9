/* SPDX-License-Identifier: MIT */
#include "wire/submission.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <message_gateway.pb-c.h>

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
