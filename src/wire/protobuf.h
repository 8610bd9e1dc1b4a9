/* SPDX-License-Identifier: MIT */
/* Single fields of protocol buffers, where a message is read or written in place; whole messages are
 * protobuf-c's.  Source: the document "Encoding" of Protocol Buffers. */
#ifndef WIRE_PROTOBUF_H
#define WIRE_PROTOBUF_H

#include "wire/pack.h"
#include "wire/slice.h"

enum protobuf_type { PROTOBUF_VARINT = 0, PROTOBUF_BYTES = 2 };

#define PROTOBUF_VARINT_BYTES 10 /* at most */

static inline void protobuf_put_varint(struct pack *p, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		pack_byte(p, (uint8_t)(value | 0x80));
	pack_byte(p, (uint8_t)value);
}

static inline void protobuf_put_tag(struct pack *p, unsigned field, enum protobuf_type type)
{
	protobuf_put_varint(p, (uint64_t)field << 3 | type);
}

static inline void protobuf_put_uint(struct pack *p, unsigned field, uint64_t value)
{
	protobuf_put_tag(p, field, PROTOBUF_VARINT);
	protobuf_put_varint(p, value);
}

/* len bytes are to follow. */
static inline void protobuf_put_head(struct pack *p, unsigned field, size_t len)
{
	protobuf_put_tag(p, field, PROTOBUF_BYTES);
	protobuf_put_varint(p, len);
}

static inline void protobuf_put_bytes(struct pack *p, unsigned field, const void *bytes,
                                      size_t len)
{
	protobuf_put_head(p, field, len);
	pack_raw(p, bytes, len);
}

struct protobuf_field {
	uint32_t number;
	struct wire_slice bytes; /* of a length-delimited one, else absent */
	uint64_t value;          /* of a varint, else 0 */
};

/* The next field, taken off the front of rest.  False: the end (rest is empty), or no message (rest is
 * not). */
WIRE_NODISCARD bool protobuf_next(struct wire_slice *rest, struct protobuf_field *f);

#endif
