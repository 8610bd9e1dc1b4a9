/* SPDX-License-Identifier: MIT */
/* UUIDs: 36 characters outside, 16 bytes inside.  The text is taken in any case and written in
 * lower case; where it must be given back as it came, the case of its digits travels beside it
 * as a mask (bit i set: the i-th of the 32 hex digits is an upper-case letter). */
#ifndef WIRE_UUID_H
#define WIRE_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "wire/slice.h"

#define UUID_TEXT_LEN 36

struct uuid {
	uint8_t b[16];
};

static inline bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

static inline bool uuid_is_zero(const struct uuid *u)
{
	static const struct uuid zero;

	return uuid_equal(u, &zero);
}

/* Mixes all 128 bits.  With a seed that a peer cannot know it is fit for tables whose keys he
 * chooses (message ids). */
static inline uint64_t uuid_hash_seeded(const struct uuid *u, uint64_t seed)
{
	__extension__ typedef unsigned __int128 wide;
	uint64_t half[2];
	wide product;

	memcpy(half, u->b, sizeof(half));
	product = (wide)(half[0] ^ seed ^ UINT64_C(0x9e3779b97f4a7c15)) *
	          (half[1] ^ UINT64_C(0xe7037ed1a0b428db));
	half[0] = (uint64_t)product ^ (uint64_t)(product >> 64);
	product = (wide)(half[0] ^ seed) * UINT64_C(0x8ebc6af09c88c6e3);
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The same in every process: decides where a user lives. */
static inline uint64_t uuid_hash(const struct uuid *u)
{
	return uuid_hash_seeded(u, 0);
}

/* Reads the form 8-4-4-4-12, any version and variant.  Writes out (and upper, unless NULL) only
 * when it returns true. */
WIRE_NODISCARD bool uuid_parse(struct wire_slice text, struct uuid *out, uint32_t *upper);

/* Writes 36 lower-case characters, no NUL. */
void uuid_format(const struct uuid *u, char out[UUID_TEXT_LEN]);

/* Writes the text as it was when uuid_parse gave `upper`. */
void uuid_format_case(const struct uuid *u, uint32_t upper, char out[UUID_TEXT_LEN]);

/* A version 4 UUID of 16 random bytes. */
struct uuid uuid_v4(const uint8_t random[16]);

#endif
