/* SPDX-License-Identifier: MIT */
/* Hex digits, eight at a time and without a branch for each.  Pure functions, any thread. */
#ifndef WIRE_HEX_H
#define WIRE_HEX_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Eight hex digits are one 64-bit word, the first in its lowest byte; the arithmetic below works
 * on all eight at once.  No byte of a sum carries into the next: digits are below 0x80. */
#define HEX_EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

static inline uint64_t hex_load(const uint8_t *first, const uint8_t *second)
{
	uint32_t half[2];

	memcpy(&half[0], first, 4);
	memcpy(&half[1], second, 4);
	return (uint64_t)le32toh(half[1]) << 32 | le32toh(half[0]);
}

/* Eight digits to four bytes; *upper gets a bit for each upper-case letter. */
static inline bool hex_to_bytes(uint64_t x, uint8_t *out, uint32_t *upper)
{
	const uint64_t lower = x | HEX_EACH(0x20);
	const uint64_t digit = (x + HEX_EACH(0x80 - '0')) & ~(x + HEX_EACH(0x80 - '9' - 1));
	const uint64_t letter = (lower + HEX_EACH(0x80 - 'a')) &
	                        ~(lower + HEX_EACH(0x80 - 'f' - 1)) & HEX_EACH(0x80);
	uint64_t v = (x & HEX_EACH(0x0f)) + (letter >> 7) * 9;
	uint32_t packed;

	if ((x & HEX_EACH(0x80)) != 0 || ((digit | letter) & HEX_EACH(0x80)) != HEX_EACH(0x80))
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
static inline uint64_t hex_from_bytes(const uint8_t *bytes, uint32_t upper)
{
	uint32_t packed;
	uint64_t v, letter, capital;

	memcpy(&packed, bytes, 4);
	v = le32toh(packed);
	v = (v | v << 16) & UINT64_C(0x0000ffff0000ffff);
	v = (v | v << 8) & UINT64_C(0x00ff00ff00ff00ff);
	v = (v >> 4 | v << 8) & HEX_EACH(0x0f);
	letter = (v + HEX_EACH(6)) >> 4 & HEX_EACH(1);
	capital =
		((upper & 0xff) * HEX_EACH(1) & UINT64_C(0x8040201008040201)) + HEX_EACH(0x7f);
	return v + HEX_EACH('0') + letter * ('a' - '0' - 10) - ((capital >> 7 & letter) << 5);
}

static inline void hex_store(uint64_t digits, char *first, char *second)
{
	const uint32_t half[2] = { htole32((uint32_t)digits),
		                   htole32((uint32_t)(digits >> 32)) };

	memcpy(first, &half[0], 4);
	memcpy(second, &half[1], 4);
}

#endif
