/* SPDX-License-Identifier: MIT */
/* gRPC over HTTP/2, the part that is bytes only: message prefixes, grpc-timeout, grpc-status,
 * grpc-message, content types.  Pure: no memory is taken, all input may be hostile.
 * Source: the document "gRPC over HTTP2" of the gRPC project. */
#ifndef WIRE_GRPC_FRAME_H
#define WIRE_GRPC_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/slice.h"

#define GRPC_PREFIX_BYTES 5        /* in front of each message: flag, length */
#define GRPC_TIMEOUT_CHARS 10      /* room for 8 digits, a unit, a zero */
#define GRPC_MESSAGE_CHARS 385     /* room for the encoded grpc-message of 128 bytes, a zero */
#define GRPC_MESSAGE_BYTES_MAX 128 /* of a grpc-message of ours, before encoding */

#define GRPC_STATUS_MAP(XX)        \
	XX(OK, 0)                  \
	XX(CANCELLED, 1)           \
	XX(UNKNOWN, 2)             \
	XX(INVALID_ARGUMENT, 3)    \
	XX(DEADLINE_EXCEEDED, 4)   \
	XX(NOT_FOUND, 5)           \
	XX(ALREADY_EXISTS, 6)      \
	XX(PERMISSION_DENIED, 7)   \
	XX(RESOURCE_EXHAUSTED, 8)  \
	XX(FAILED_PRECONDITION, 9) \
	XX(ABORTED, 10)            \
	XX(OUT_OF_RANGE, 11)       \
	XX(UNIMPLEMENTED, 12)      \
	XX(INTERNAL, 13)           \
	XX(UNAVAILABLE, 14)        \
	XX(DATA_LOSS, 15)          \
	XX(UNAUTHENTICATED, 16)

enum grpc_status {
#define GRPC_STATUS_ENUM(name, number) GRPC_##name = number,
	GRPC_STATUS_MAP(GRPC_STATUS_ENUM)
#undef GRPC_STATUS_ENUM
};

/* "UNAVAILABLE"; never NULL. */
const char *grpc_status_name(unsigned status);

/* Takes a stream of messages apart.  Zeroed: at the start of a message. */
struct grpc_reader {
	uint8_t head[GRPC_PREFIX_BYTES];
	uint8_t head_len;
	bool is_compressed; /* of the message being read */
	uint32_t len;       /* of the message being read, as announced */
	uint32_t left;      /* bytes of it still to come */
};

enum grpc_read {
	GRPC_READ_MORE, /* all was taken, nothing to tell */
	GRPC_READ_START, /* a prefix is complete: look at len before taking memory; left 0: whole */
	GRPC_READ_DATA, /* data is the next part; left 0: the message is whole */
};

/* Take the next piece of bytes; *used says how many it was (at least 1 when len > 0).  data points
 * into bytes.  After a whole message the next call begins the next one. */
enum grpc_read grpc_reader_next(struct grpc_reader *r, const uint8_t *bytes, size_t len,
                                size_t *used, struct wire_slice *data);

/* Nothing has come of a message that is not over. */
bool grpc_reader_is_idle(const struct grpc_reader *r);

/* Does a whole message that is not compressed stand at the front?  *message: its bytes, behind the
 * GRPC_PREFIX_BYTES. */
WIRE_NODISCARD bool grpc_whole_message(struct wire_slice bytes, struct wire_slice *message);

void grpc_prefix_write(uint8_t out[GRPC_PREFIX_BYTES], uint32_t len);

/* The value of grpc-timeout, in ms, rounded up.  False: not 1 to 8 digits and a unit of HMSmun. */
WIRE_NODISCARD bool grpc_timeout_parse(struct wire_slice text, uint64_t *ms);
/* The same the other way, at most 99,999,999 s; returns its length.  Never shortened by rounding. */
size_t grpc_timeout_write(char out[GRPC_TIMEOUT_CHARS], uint64_t ms);

/* application/grpc, with a +format or ;parameters behind it or nothing.  Case does not count. */
WIRE_NODISCARD bool grpc_content_type_is_grpc(struct wire_slice text);

/* The value of grpc-status.  False: not a number of at most 3 digits (then UNKNOWN).  A number above
 * the known ones becomes UNKNOWN, as clients of any version have to take it. */
WIRE_NODISCARD bool grpc_status_parse(struct wire_slice text, enum grpc_status *status);

/* Percent-encoding of grpc-message: text is cut at GRPC_MESSAGE_BYTES_MAX.  Returns the length. */
size_t grpc_message_encode(char out[GRPC_MESSAGE_CHARS], struct wire_slice text);
/* And back; what is not valid encoding stays as it is; at most size - 1 bytes and a zero. */
size_t grpc_message_decode(char *out, size_t size, struct wire_slice text);

#endif
