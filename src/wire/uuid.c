/* SPDX-License-Identifier: MIT */
#include "wire/uuid.h"

#include <endian.h>

/* Eight hex digits are one 64-bit word, the first in its lowest byte; the arithmetic below works
 * on all eight at once.  No byte of a sum carries into the next: digits are below 0x80. */
#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

static uint64_t load_digits(const uint8_t *first, const uint8_t *second)
{
	uint32_t half[2];

	memcpy(&half[0], first, 4);
	memcpy(&half[1], second, 4);
	return (uint64_t)le32toh(half[1]) << 32 | le32toh(half[0]);
}

/* Eight digits to four bytes; *upper gets a bit for each upper-case letter. */
static bool digits_to_bytes(uint64_t x, uint8_t *out, uint32_t *upper)
{
	const uint64_t lower = x | EACH(0x20);
	const uint64_t digit = (x + EACH(0x80 - '0')) & ~(x + EACH(0x80 - '9' - 1));
	const uint64_t letter =
		(lower + EACH(0x80 - 'a')) & ~(lower + EACH(0x80 - 'f' - 1)) & EACH(0x80);
	uint64_t v = (x & EACH(0x0f)) + (letter >> 7) * 9;
	uint32_t packed;

	if ((x & EACH(0x80)) != 0 || ((digit | letter) & EACH(0x80)) != EACH(0x80))
		return false;
	v = (v << 4 | v >> 8) & UINT64_C(0x00ff00ff00ff00ff);
	v = (v | v >> 8) & UINT64_C(0x0000ffff0000ffff);
	packed = htole32((uint32_t)(v | v >> 16));
	memcpy(out, &packed, 4);
	/* The bit 0x20 is clear in upper-case letters; the product collects the lowest bit of
	 * byte i as bit i of the top byte. */
	*upper = (uint32_t)(((letter & ~(x << 2)) >> 7) * UINT64_C(0x0102040810204080) >> 56);
	return true;
}

/* Four bytes to eight digits; bit i of upper: digit i, if it is a letter, in upper case. */
static uint64_t bytes_to_digits(const uint8_t *bytes, uint32_t upper)
{
	uint32_t packed;
	uint64_t v, letter, capital;

	memcpy(&packed, bytes, 4);
	v = le32toh(packed);
	v = (v | v << 16) & UINT64_C(0x0000ffff0000ffff);
	v = (v | v << 8) & UINT64_C(0x00ff00ff00ff00ff);
	v = (v >> 4 | v << 8) & EACH(0x0f);
	letter = (v + EACH(6)) >> 4 & EACH(1);
	capital = ((upper & 0xff) * EACH(1) & UINT64_C(0x8040201008040201)) + EACH(0x7f);
	return v + EACH('0') + letter * ('a' - '0' - 10) - ((capital >> 7 & letter) << 5);
}

static void store_digits(uint64_t digits, char *first, char *second)
{
	const uint32_t half[2] = { htole32((uint32_t)digits),
		                   htole32((uint32_t)(digits >> 32)) };

	memcpy(first, &half[0], 4);
	memcpy(second, &half[1], 4);
}

bool uuid_parse(struct wire_slice text, struct uuid *out, uint32_t *upper)
{
	const uint8_t *t = text.at;
	struct uuid u;
	uint32_t capital[4];

	if (text.len != UUID_TEXT_LEN || t[8] != '-' || t[13] != '-' || t[18] != '-' ||
	    t[23] != '-')
		return false;
	if (!digits_to_bytes(load_digits(t, t + 4), u.b, &capital[0]) ||
	    !digits_to_bytes(load_digits(t + 9, t + 14), u.b + 4, &capital[1]) ||
	    !digits_to_bytes(load_digits(t + 19, t + 24), u.b + 8, &capital[2]) ||
	    !digits_to_bytes(load_digits(t + 28, t + 32), u.b + 12, &capital[3]))
		return false;
	*out = u;
	if (upper != NULL)
		*upper = capital[0] | capital[1] << 8 | capital[2] << 16 | capital[3] << 24;
	return true;
}

void uuid_format_case(const struct uuid *u, uint32_t upper, char out[UUID_TEXT_LEN])
{
	store_digits(bytes_to_digits(u->b, upper), out, out + 4);
	store_digits(bytes_to_digits(u->b + 4, upper >> 8), out + 9, out + 14);
	store_digits(bytes_to_digits(u->b + 8, upper >> 16), out + 19, out + 24);
	store_digits(bytes_to_digits(u->b + 12, upper >> 24), out + 28, out + 32);
	out[8] = out[13] = out[18] = out[23] = '-';
}

void uuid_format(const struct uuid *u, char out[UUID_TEXT_LEN])
{
	uuid_format_case(u, 0, out);
}

struct uuid uuid_v4(const uint8_t random[16])
{
	struct uuid u;

	memcpy(u.b, random, sizeof(u.b));
	u.b[6] = (uint8_t)((u.b[6] & 0x0f) | 0x40);
	u.b[8] = (uint8_t)((u.b[8] & 0x3f) | 0x80);
	return u;
}
