/* SPDX-License-Identifier: MIT */
/* What is written in place is what protobuf-c writes and reads of the proto file, and the other way. */
#include "wire/grpc_many.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <message_gateway.pb-c.h>

#include "wire/submission.h"

typedef Construct__MessageGateway__V1__SubmitMessagesRequest request;
typedef Construct__MessageGateway__V1__SubmitMessagesResponse response;

TestSuite(grpc_many_wire, .timeout = 5);

static const char key[32], ciphertext[] = "bytes";

static Construct__MessageGateway__V1__SubmitMessageRequest one(void)
{
	Construct__MessageGateway__V1__SubmitMessageRequest r =
		CONSTRUCT__MESSAGE_GATEWAY__V1__SUBMIT_MESSAGE_REQUEST__INIT;

	r.message_id = "6f1c0a3e-8d1b-4a51-9a3e-0b1c2d3e4f50";
	r.ephemeral_public_key =
		(ProtobufCBinaryData){ sizeof(key), (uint8_t *)(uintptr_t)key };
	r.ciphertext =
		(ProtobufCBinaryData){ sizeof(ciphertext), (uint8_t *)(uintptr_t)ciphertext };
	return r;
}

Test(grpc_many_wire, a_request_is_the_one_of_the_proto_file)
{
	Construct__MessageGateway__V1__SubmitMessageRequest inner = one();
	static const uint64_t numbers[] = { 0, 1, 127, 128, UINT64_C(7) << 32 | 9, UINT64_MAX };
	uint8_t body[500], bytes[600];
	const size_t len =
		construct__message_gateway__v1__submit_message_request__pack(&inner, body);

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		const size_t head = grpc_many_head(bytes, numbers[i], numbers[i], len);
		struct grpc_many_request mine;
		struct wire_slice message;
		request *r;

		cr_assert_leq(head, GRPC_MANY_HEAD_MAX);
		memcpy(bytes + head, body, len);
		cr_assert(grpc_whole_message(wire_slice(bytes, head + len), &message));
		cr_assert_not(grpc_whole_message(wire_slice(bytes, head + len - 1), &message));
		r = construct__message_gateway__v1__submit_messages_request__unpack(
			NULL, message.len, message.at);
		cr_assert_not_null(r);
		cr_assert_eq(r->id, numbers[i]);
		cr_assert_eq(r->timeout_ms,
		             numbers[i] < UINT32_MAX ? (uint32_t)numbers[i] : UINT32_MAX);
		cr_assert_str_eq(r->request->message_id, inner.message_id);
		cr_assert(grpc_many_read_request(message, &mine));
		cr_assert_eq(mine.id, r->id);
		cr_assert_eq(mine.timeout_ms, r->timeout_ms);
		cr_assert(wire_slice_equal(mine.request, wire_slice(body, len)));
		construct__message_gateway__v1__submit_messages_request__free_unpacked(r, NULL);
	}
}

Test(grpc_many_wire, an_answer_is_the_one_of_the_proto_file)
{
	uint8_t body[SUBMISSION_RESPONSE_MAX], bytes[SUBMISSION_RESPONSE_MAX + GRPC_MANY_ROOM];
	const size_t body_len = submission_response(body, ERROR_RATE_LIMIT_BLOCKED, "slowly");
	struct grpc_many_answer a = { .id = UINT64_MAX,
		                      .response = wire_slice(body, body_len) },
				mine;
	size_t len = grpc_many_answer(bytes, sizeof(bytes), &a);
	response *r = construct__message_gateway__v1__submit_messages_response__unpack(
		NULL, len, bytes);

	cr_assert_not_null(r);
	cr_assert_eq(r->id, UINT64_MAX);
	cr_assert_str_eq(r->response->error->error_message, "slowly");
	cr_assert_eq(r->grpc_status, 0);
	construct__message_gateway__v1__submit_messages_response__free_unpacked(r, NULL);
	cr_assert(grpc_many_read_answer(wire_slice(bytes, len), &mine));
	cr_assert_eq(mine.status, GRPC_OK);
	cr_assert(wire_slice_equal(mine.response, a.response));
	cr_assert_leq(len, body_len + GRPC_MANY_ROOM);
	cr_assert_eq(grpc_many_answer(NULL, 0, &a), len);
}

Test(grpc_many_wire, a_failure_has_its_status_and_a_text_of_128_bytes)
{
	char text[301] = { 0 };
	uint8_t bytes[GRPC_MANY_ROOM];
	struct grpc_many_answer a = { .id = UINT64_MAX, .status = GRPC_UNAVAILABLE }, mine;
	response *r;
	size_t len;

	memset(text, 't', 300);
	a.message = wire_text(text);
	len = grpc_many_answer(bytes, sizeof(bytes), &a);
	cr_assert_leq(len, sizeof(bytes));
	r = construct__message_gateway__v1__submit_messages_response__unpack(NULL, len, bytes);
	cr_assert_not_null(r);
	cr_assert_eq(r->grpc_status, GRPC_UNAVAILABLE);
	cr_assert_eq(strlen(r->grpc_message), 128);
	cr_assert_null(r->response);
	construct__message_gateway__v1__submit_messages_response__free_unpacked(r, NULL);
	cr_assert(grpc_many_read_answer(wire_slice(bytes, len), &mine));
	cr_assert_eq(mine.status, GRPC_UNAVAILABLE);
	cr_assert_eq(mine.message.len, 128);
}

Test(grpc_many_wire, what_is_missing_unknown_or_wrong)
{
	struct grpc_many_request r;
	struct grpc_many_answer a;

	cr_assert(grpc_many_read_request(wire_slice("", 0), &r));
	cr_assert_null(r.request.at);
	cr_assert(grpc_many_read_request(wire_slice("\x1a\0", 2), &r));
	cr_assert_not_null(r.request.at);
	cr_assert(grpc_many_read_request(wire_slice("\xa8\x06\x07\x08\x05\x1d....", 10), &r),
	          "unknown, and one of another type");
	cr_assert_eq(r.id, 5);
	cr_assert_not(grpc_many_read_request(wire_slice("\x08", 1), &r));
	cr_assert_not(grpc_many_read_request(wire_slice("\x1a\2x", 3), &r));
	cr_assert_not(grpc_many_read_request(wire_slice("\x0b", 1), &r), "a group");
	cr_assert(grpc_many_read_answer(wire_slice("\x18\x63", 2), &a));
	cr_assert_eq(a.status, GRPC_UNKNOWN);
	cr_assert_not(grpc_many_read_answer(wire_slice("\x12\7abc", 5), &a));
}
