/* SPDX-License-Identifier: MIT */
/* The compact form of replies: a byte for the kind; then the length (u32, this machine's order) and
 * bytes of a text, eight bytes of an integer, or the number (u32) of an array's elements. */
#include "io/redis_value.h"

static bool take(struct redis_walk *walk, void *out, size_t len)
{
	if ((size_t)(walk->end - walk->at) < len)
		return false;
	memcpy(out, walk->at, len);
	walk->at += len;
	return true;
}

struct redis_walk redis_walk_bytes(const void *at, size_t len)
{
	return (struct redis_walk){ at, (const uint8_t *)at + len };
}

struct redis_walk redis_walk_start(const struct cx_buf *buf)
{
	return redis_walk_bytes(cx_buf_bytes(buf), cx_buf_len(buf));
}

bool redis_walk_next(struct redis_walk *walk, struct redis_value *out)
{
	uint8_t kind;
	uint32_t n;

	*out = (struct redis_value){ REDIS_NIL, 0, 0, { NULL, 0 } };
	if (!take(walk, &kind, 1))
		return false;
	out->kind = (enum redis_kind)kind;
	if (kind == REDIS_NIL)
		return true;
	if (kind == REDIS_INTEGER)
		return take(walk, &out->integer, sizeof(out->integer));
	if (!take(walk, &n, sizeof(n)))
		return false;
	if (kind == REDIS_ARRAY) {
		out->count = n;
		return true;
	}
	if ((size_t)(walk->end - walk->at) < n)
		return false;
	out->text = wire_slice(walk->at, n);
	walk->at += n;
	return true;
}

/* Counts what is still owed instead of recursing: depth is the peer's choice. */
bool redis_walk_skip(struct redis_walk *walk)
{
	uint64_t owed = 1;
	struct redis_value value;

	while (owed > 0) {
		if (!redis_walk_next(walk, &value))
			return false;
		owed += value.count;
		owed--;
	}
	return true;
}
