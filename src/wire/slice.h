/* SPDX-License-Identifier: MIT */
/* Borrowed bytes: a view into a buffer that somebody else keeps alive. */
#ifndef WIRE_SLICE_H
#define WIRE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WIRE_NODISCARD __attribute__((warn_unused_result))

struct wire_slice {
	const uint8_t *at; /* NULL: absent, which is not the same as empty */
	size_t len;
};

static inline struct wire_slice wire_slice(const void *at, size_t len)
{
	return (struct wire_slice){ .at = at, .len = len };
}

static inline struct wire_slice wire_text(const char *text)
{
	return wire_slice(text, strlen(text));
}

static inline bool wire_slice_equal(struct wire_slice a, struct wire_slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* A string literal costs no strlen: the compiler knows its length. */
static inline bool wire_slice_is(struct wire_slice a, const char *text)
{
	return wire_slice_equal(a, wire_text(text));
}

#endif
