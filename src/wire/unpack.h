/* SPDX-License-Identifier: MIT */
/* Reads MessagePack token by token out of a buffer: nothing is copied, nothing is built.
 *
 * Why not msgpack-c's unpacker: it allocates for every frame, keeps the last of two equal keys
 * without a word, and knows nothing of UTF-8.  The tests hold this reader against it. */
#ifndef WIRE_UNPACK_H
#define WIRE_UNPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/slice.h"

#define UNPACK_DEPTH_MAX 16

enum unpack_kind {
	UNPACK_ABSENT, /* the value of a zeroed token: nothing was read */
	UNPACK_NIL,
	UNPACK_BOOL,
	UNPACK_UINT,
	UNPACK_NEGATIVE,
	UNPACK_FLOAT,
	UNPACK_TEXT,
	UNPACK_BIN,
	UNPACK_EXT,
	UNPACK_ARRAY,
	UNPACK_MAP,
};

struct unpack_token {
	enum unpack_kind kind;
	/* BOOL: 0, 1; UINT, NEGATIVE: the number (two's complement); ARRAY, MAP: entries; EXT: its
	 * type; else 0 */
	uint64_t value;
	struct wire_slice
		bytes; /* TEXT, BIN, EXT, FLOAT: content; ARRAY, MAP: from the first entry
	                          * to the end of the buffer */
};

struct unpack {
	const uint8_t *at, *end;
};

/* Reads one token; of an array or map only its head.  Lengths and counts are checked against what
 * is left, text is not checked. */
WIRE_NODISCARD bool unpack_token(struct unpack *u, struct unpack_token *out);

/* Reads a whole value and checks all of it: containers are not deeper than UNPACK_DEPTH_MAX
 * (depth: how many are open around it), keys are scalars, none twice in a map, text inside
 * containers is UTF-8.  Text that is the value itself is left to the caller. */
WIRE_NODISCARD bool unpack_value(struct unpack *u, unsigned depth, struct unpack_token *out);

/* The keys of one map so far, to find twins. */
#define UNPACK_KEYS_INLINE 16
struct unpack_keys {
	uint32_t count, room;
	struct unpack_token *many; /* once there are more than fit in few; sorted at the end */
	struct unpack_token few[UNPACK_KEYS_INLINE];
};

static inline void unpack_keys_init(struct unpack_keys *keys)
{
	keys->count = 0;
	keys->room = UNPACK_KEYS_INLINE;
	keys->many = NULL;
}

/* Returns false when key is no scalar, or text that is not UTF-8 (or no memory). */
WIRE_NODISCARD bool unpack_keys_add(struct unpack_keys *keys, const struct unpack_token *key);
WIRE_NODISCARD bool unpack_keys_are_unique(struct unpack_keys *keys);
void unpack_keys_free(struct unpack_keys *keys);

/* ---- Maps with known keys ---- */

enum unpack_want {
	WANT_TEXT, /* UTF-8 */
	WANT_CODE, /* text that its reader checks more strictly than UTF-8 */
	WANT_U32,
	WANT_INT, /* int64 */
	WANT_BOOL,
	WANT_BYTES, /* bin, or an array of integers 0..255 */
	WANT_MAP,
};

enum unpack_need { NEED, MAY }; /* MAY: absent or nil will do */

struct unpack_field {
	const char *name;
	uint8_t name_len;
	uint8_t want;
	uint8_t need;
};
#define UNPACK_FIELD(name, want, need)             \
	{                                          \
		name, sizeof(name) - 1, want, need \
	}
#define UNPACK_FIELDS_MAX 8

/* Reads the entries of a map whose head has been read (entries as it said) into values, one for
 * each field, ABSENT where the key is not there.  depth: open containers, the map included.  In
 * what was read before a failure, values are set. */
WIRE_NODISCARD bool unpack_fields(struct unpack *u, unsigned depth, uint64_t entries,
                                  const struct unpack_field *fields, size_t count,
                                  struct unpack_token *values);

/* Whether each value is there as its field wants it.  Text of WANT_CODE is not checked. */
WIRE_NODISCARD bool unpack_fields_fit(const struct unpack_field *fields, size_t count,
                                      const struct unpack_token *values);

/* The number of bytes a WANT_BYTES value stands for. */
size_t unpack_bytes_len(const struct unpack_token *value);
/* Copies them; out has room for all. */
void unpack_bytes_copy(const struct unpack_token *value, uint8_t *out);

#endif
