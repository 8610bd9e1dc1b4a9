/* SPDX-License-Identifier: MIT */
#include "wire/protobuf.h"

static bool read_varint(struct wire_slice *rest, uint64_t *out)
{
	uint64_t n = 0;

	for (unsigned shift = 0; shift < 64 && rest->len > 0; shift += 7) {
		const uint8_t b = *rest->at;

		rest->at++;
		rest->len--;
		n |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80) {
			*out = n;
			return true;
		}
	}
	return false;
}

static bool skip(struct wire_slice *rest, uint64_t n)
{
	if (n > rest->len)
		return false;
	rest->at += n;
	rest->len -= (size_t)n;
	return true;
}

static bool read_field(struct wire_slice *rest, struct protobuf_field *f)
{
	uint64_t key, n;

	if (!read_varint(rest, &key))
		return false;
	*f = (struct protobuf_field){ .number = (uint32_t)(key >> 3) };
	switch (key & 7) {
	case 0:
		return read_varint(rest, &f->value);
	case 1:
		return skip(rest, 8);
	case 2:
		if (!read_varint(rest, &n) || n > rest->len)
			return false;
		f->bytes = wire_slice(rest->at, (size_t)n);
		return skip(rest, n);
	case 5:
		return skip(rest, 4);
	default:
		return false;
	}
}

bool protobuf_next(struct wire_slice *rest, struct protobuf_field *f)
{
	const struct wire_slice whole = *rest;

	if (rest->len == 0)
		return false;
	if (read_field(rest, f))
		return true;
	*rest = whole; /* not empty: the caller sees that it was no end */
	return false;
}
