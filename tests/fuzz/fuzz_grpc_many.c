/* SPDX-License-Identifier: MIT */
/* Messages of a stream of many calls.  What is read of a request or an answer lies inside it, and written and
 * read again it is the same; a message that lies whole in some bytes is the one that comes of them piece
 * by piece. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/grpc_many.h"

static void check_request(struct wire_slice bytes)
{
	uint8_t head[GRPC_MANY_HEAD_MAX], *out;
	struct grpc_many_request r, again;
	struct wire_slice message;
	size_t len;

	if (!grpc_many_read_request(bytes, &r))
		return;
	check_inside(r.request, bytes.at, bytes.len);
	len = grpc_many_head(head, r.id, r.timeout_ms, r.request.len);
	CHECK(len <= sizeof(head));
	out = exact(len + r.request.len);
	memcpy(out, head, len);
	if (r.request.len > 0)
		memcpy(out + len, r.request.at, r.request.len);
	CHECK(grpc_whole_message(wire_slice(out, len + r.request.len), &message));
	CHECK(grpc_many_read_request(message, &again));
	CHECK(again.id == r.id && wire_slice_equal(again.request, r.request));
	CHECK(again.timeout_ms == (r.timeout_ms < UINT32_MAX ? r.timeout_ms : UINT32_MAX));
	free(out);
}

static void check_answer(struct wire_slice bytes)
{
	struct grpc_many_answer a, again;
	uint8_t *out;
	size_t len;

	if (!grpc_many_read_answer(bytes, &a))
		return;
	CHECK(a.status <= GRPC_UNAUTHENTICATED);
	check_inside(a.response, bytes.at, bytes.len);
	check_inside(a.message, bytes.at, bytes.len);
	len = grpc_many_answer(NULL, 0, &a);
	CHECK(len <= GRPC_MANY_ROOM + a.response.len);
	out = exact(len);
	CHECK(grpc_many_answer(out, len, &a) == len);
	CHECK(grpc_many_read_answer(wire_slice(out, len), &again));
	CHECK(again.id == a.id && again.status == a.status);
	CHECK(a.status != GRPC_OK || wire_slice_equal(again.response, a.response));
	free(out);
}

static void check_whole(struct wire_slice bytes)
{
	struct grpc_reader r = { 0 };
	struct wire_slice message, part;
	size_t used, at = 0;

	if (!grpc_whole_message(bytes, &message))
		return;
	check_inside(message, bytes.at, bytes.len);
	CHECK(grpc_reader_next(&r, bytes.at, bytes.len, &used, &part) == GRPC_READ_START);
	CHECK(r.len == message.len && !r.is_compressed);
	while (r.left > 0) {
		at += used;
		CHECK(grpc_reader_next(&r, bytes.at + at, bytes.len - at, &used, &part) ==
		      GRPC_READ_DATA);
	}
	CHECK(message.len == 0 || wire_slice_equal(part, message));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || size > 1 << 14)
		return 0;
	check_request(wire_slice(data, size));
	check_answer(wire_slice(data, size));
	check_whole(wire_slice(data, size));
	return 0;
}
