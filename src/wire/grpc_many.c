/* SPDX-License-Identifier: MIT */
#include "wire/grpc_many.h"

#include "wire/protobuf.h"

enum { REQUEST_ID = 1, REQUEST_TIMEOUT = 2, REQUEST_REQUEST = 3 };
enum { ANSWER_ID = 1, ANSWER_RESPONSE = 2, ANSWER_STATUS = 3, ANSWER_MESSAGE = 4 };

size_t grpc_many_head(uint8_t out[GRPC_MANY_HEAD_MAX], uint64_t id, uint64_t timeout_ms,
                      size_t len)
{
	struct pack p = { .out = out + GRPC_PREFIX_BYTES,
		          .room = GRPC_MANY_HEAD_MAX - GRPC_PREFIX_BYTES };

	_Static_assert(GRPC_MANY_HEAD_MAX >=
	                       GRPC_PREFIX_BYTES + 3 * 1 + PROTOBUF_VARINT_BYTES + 2 * 5,
	               "timeout and length are below 2^32");
	protobuf_put_uint(&p, REQUEST_ID, id);
	protobuf_put_uint(&p, REQUEST_TIMEOUT,
	                  timeout_ms < UINT32_MAX ? timeout_ms : UINT32_MAX);
	protobuf_put_head(&p, REQUEST_REQUEST, len);
	grpc_prefix_write(out, (uint32_t)(p.len + len));
	return GRPC_PREFIX_BYTES + p.len;
}

size_t grpc_many_answer(uint8_t *out, size_t room, const struct grpc_many_answer *a)
{
	struct pack p = { .out = out, .room = room };

	protobuf_put_uint(&p, ANSWER_ID, a->id);
	if (a->status == GRPC_OK) {
		protobuf_put_bytes(&p, ANSWER_RESPONSE, a->response.at, a->response.len);
		return p.len;
	}
	protobuf_put_uint(&p, ANSWER_STATUS, a->status);
	if (a->message.len > 0)
		protobuf_put_bytes(&p, ANSWER_MESSAGE, a->message.at,
		                   a->message.len < GRPC_MESSAGE_BYTES_MAX
		                           ? a->message.len
		                           : GRPC_MESSAGE_BYTES_MAX);
	return p.len;
}

bool grpc_many_read_request(struct wire_slice bytes, struct grpc_many_request *out)
{
	struct protobuf_field f;

	*out = (struct grpc_many_request){ 0 };
	while (protobuf_next(&bytes, &f)) {
		if (f.number == REQUEST_ID)
			out->id = f.value;
		else if (f.number == REQUEST_TIMEOUT)
			out->timeout_ms = f.value;
		else if (f.number == REQUEST_REQUEST)
			out->request = f.bytes;
	}
	return bytes.len == 0;
}

bool grpc_many_read_answer(struct wire_slice bytes, struct grpc_many_answer *out)
{
	struct protobuf_field f;

	*out = (struct grpc_many_answer){ 0 };
	while (protobuf_next(&bytes, &f)) {
		if (f.number == ANSWER_ID)
			out->id = f.value;
		else if (f.number == ANSWER_RESPONSE)
			out->response = f.bytes;
		else if (f.number == ANSWER_STATUS)
			out->status = f.value <= GRPC_UNAUTHENTICATED
			                      ? (enum grpc_status)f.value
			                      : GRPC_UNKNOWN;
		else if (f.number == ANSWER_MESSAGE)
			out->message = f.bytes;
	}
	return bytes.len == 0;
}
