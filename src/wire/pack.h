/* SPDX-License-Identifier: MIT */
/* Writes MessagePack into a caller's buffer; goes on counting when it is full, so the same code
 * measures and writes.  Always the shortest form. */
#ifndef WIRE_PACK_H
#define WIRE_PACK_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "wire/slice.h"
#include "wire/user_address.h"
#include "wire/uuid.h"

struct pack {
	uint8_t *out;
	size_t room;
	size_t len; /* beyond room: what is in out is of no use */
};

static inline void pack_raw(struct pack *p, const void *bytes, size_t len)
{
	if (p->len <= p->room && len <= p->room - p->len && len > 0)
		memcpy(p->out + p->len, bytes, len);
	p->len += len;
}

static inline void pack_byte(struct pack *p, uint8_t byte)
{
	pack_raw(p, &byte, 1);
}

/* A head byte and a number of 1, 2, 4 or 8 bytes. */
static inline void pack_sized(struct pack *p, uint8_t head, uint64_t value, size_t width)
{
	uint8_t bytes[9];
	const uint64_t big = htobe64(value);

	bytes[0] = head;
	memcpy(bytes + 1, (const uint8_t *)&big + sizeof(big) - width, width);
	pack_raw(p, bytes, 1 + width);
}

/* Up to 15 entries: no frame has more. */
static inline void pack_map(struct pack *p, unsigned entries)
{
	pack_byte(p, (uint8_t)(0x80 | entries));
}

static inline void pack_text_head(struct pack *p, size_t len)
{
	if (len < 32)
		pack_byte(p, (uint8_t)(0xa0 | len));
	else if (len <= 0xff)
		pack_sized(p, 0xd9, len, 1);
	else if (len <= 0xffff)
		pack_sized(p, 0xda, len, 2);
	else
		pack_sized(p, 0xdb, len, 4);
}

static inline void pack_text(struct pack *p, struct wire_slice text)
{
	pack_text_head(p, text.len);
	pack_raw(p, text.at, text.len);
}

/* A string literal, as keys and type names are. */
static inline void pack_literal(struct pack *p, const char *text)
{
	pack_text(p, wire_text(text));
}

static inline void pack_bin(struct pack *p, const uint8_t *bytes, size_t len)
{
	if (len <= 0xff)
		pack_sized(p, 0xc4, len, 1);
	else if (len <= 0xffff)
		pack_sized(p, 0xc5, len, 2);
	else
		pack_sized(p, 0xc6, len, 4);
	pack_raw(p, bytes, len);
}

static inline void pack_uint(struct pack *p, uint64_t value)
{
	if (value < 0x80)
		pack_byte(p, (uint8_t)value);
	else if (value <= 0xff)
		pack_sized(p, 0xcc, value, 1);
	else if (value <= 0xffff)
		pack_sized(p, 0xcd, value, 2);
	else if (value <= 0xffffffff)
		pack_sized(p, 0xce, value, 4);
	else
		pack_sized(p, 0xcf, value, 8);
}

static inline void pack_int(struct pack *p, int64_t value)
{
	if (value >= 0)
		pack_uint(p, (uint64_t)value);
	else if (value >= -32)
		pack_byte(p, (uint8_t)value);
	else if (value >= INT8_MIN)
		pack_sized(p, 0xd0, (uint64_t)value, 1);
	else if (value >= INT16_MIN)
		pack_sized(p, 0xd1, (uint64_t)value, 2);
	else if (value >= INT32_MIN)
		pack_sized(p, 0xd2, (uint64_t)value, 4);
	else
		pack_sized(p, 0xd3, (uint64_t)value, 8);
}

static inline void pack_bool(struct pack *p, bool value)
{
	pack_byte(p, value ? 0xc3 : 0xc2);
}

/* ---- Entries of a map: key and value ---- */

static inline void pack_entry(struct pack *p, const char *key, struct wire_slice value)
{
	pack_literal(p, key);
	pack_text(p, value);
}

static inline void pack_entry_uuid(struct pack *p, const char *key, const struct uuid *id,
                                   uint32_t id_case)
{
	char text[UUID_TEXT_LEN];

	uuid_format_case(id, id_case, text);
	pack_entry(p, key, wire_slice(text, sizeof(text)));
}

static inline void pack_entry_address(struct pack *p, const char *key,
                                      const struct user_address *address)
{
	char text[USER_ADDRESS_BYTES_MAX];

	pack_entry(p, key, wire_slice(text, user_address_format(address, text)));
}

/* { "type": type, "payload": a map of entries that comes next }; 0 entries: no payload. */
static inline void pack_frame_head(struct pack *p, const char *type, unsigned entries)
{
	pack_map(p, entries > 0 ? 2 : 1);
	pack_literal(p, "type");
	pack_literal(p, type);
	if (entries > 0) {
		pack_literal(p, "payload");
		pack_map(p, entries);
	}
}

#endif
