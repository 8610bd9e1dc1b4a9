/* SPDX-License-Identifier: MIT */
/* Many calls on one stream: the messages that carry a call, and what became of it, with a number of the
 * caller's (SubmitMessagesRequest and SubmitMessagesResponse of proto/message_gateway.proto, of which
 * field 3 and field 2 are any method's request and response).  A call of its own costs HTTP/2 headers,
 * a stream, and two ends; here it costs about 12 bytes.  Pure: no memory is taken. */
#ifndef WIRE_GRPC_MANY_H
#define WIRE_GRPC_MANY_H

#include "wire/grpc_frame.h"
#include "wire/slice.h"

#define GRPC_MANY_HEAD_MAX 32 /* bytes in front of a request: prefix, id, timeout, its length */
#define GRPC_MANY_ROOM 192 /* bytes of an answer besides the response, its prefix not counted */

struct grpc_many_request {
	uint64_t id;
	uint64_t timeout_ms;       /* 0: none */
	struct wire_slice request; /* absent: there was none */
};

struct grpc_many_answer {
	uint64_t id;
	enum grpc_status status;
	struct wire_slice message;  /* of a failure; may be absent */
	struct wire_slice response; /* when status is OK; absent: the empty one */
};

/* All that stands before the request's bytes, of which there are len, the gRPC prefix included.
 * Returns its length. */
size_t grpc_many_head(uint8_t out[GRPC_MANY_HEAD_MAX], uint64_t id, uint64_t timeout_ms,
                      size_t len);

/* An answer, without the prefix; message is cut at GRPC_MESSAGE_BYTES_MAX.  Returns its length, at most
 * GRPC_MANY_ROOM more than the response's. */
size_t grpc_many_answer(uint8_t *out, size_t room, const struct grpc_many_answer *a);

/* The messages without their prefix; slices point into bytes.  False: no such message (unknown fields are
 * passed over, of a repeated one the last counts).  A status above the known ones is UNKNOWN. */
WIRE_NODISCARD bool grpc_many_read_request(struct wire_slice bytes,
                                           struct grpc_many_request *out);
WIRE_NODISCARD bool grpc_many_read_answer(struct wire_slice bytes,
                                          struct grpc_many_answer *out);

#endif
