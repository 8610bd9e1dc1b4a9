/* SPDX-License-Identifier: MIT */
/* Reads the known fields of one JSON object (RFC 8259) in a single pass, without a tree: values
 * are views into the text.  For the records of the log, where jansson's tree costs more than all
 * the rest of a record (bench/bench_envelope.c); elsewhere jansson is right.
 *
 * Strict: UTF-8, one object and nothing behind it, no field of the table twice, no lone surrogate
 * and no NUL in a text, nested no deeper than JSON_DEPTH_MAX.  Unknown fields are checked for
 * grammar and ignored, also when they are there twice. */
#ifndef WIRE_JSON_VIEW_H
#define WIRE_JSON_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/json_text.h"
#include "wire/slice.h"

#define JSON_DEPTH_MAX 16 /* the object itself is the first */
#define JSON_FIELDS_MAX 32
#define JSON_NAME_MAX 32

enum json_kind {
	JSON_ABSENT, /* there is no such field, or it is null */
	JSON_TEXT,
	JSON_NUMBER,
	JSON_BOOL,
	JSON_NESTED, /* an object or array */
};

struct json_view {
	enum json_kind kind;
	bool has_escapes; /* JSON_TEXT: raw is not yet the text, json_view_unescape makes it */
	struct wire_slice raw; /* the value as it stands; of a text without its quotes */
};

struct json_field {
	const char *name; /* plain ASCII, at most JSON_NAME_MAX */
	size_t len;
};
#define JSON_FIELD(text)                                \
	{                                               \
		.name = (text), .len = sizeof(text) - 1 \
	}

/* Fills values[i] with the field fields[i]; count is at most JSON_FIELDS_MAX.  Fastest when the
 * fields come in the order of the table.  Keeps: values borrow text.  false: it is no such
 * object; values are undefined then. */
WIRE_NODISCARD bool json_view_read(struct wire_slice text, const struct json_field *fields,
                                   size_t count, struct json_view *values);

/* The text that v (JSON_TEXT) stands for, into out, which has v->raw.len bytes.  Returns its
 * length, which is never more. */
static inline size_t json_view_unescape(const struct json_view *v, uint8_t *out)
{
	return json_text_unescape(v->raw, out);
}

/* Whether v is a number that is an integer by its spelling (no fraction, no exponent) between min
 * and max; only then *out is written. */
WIRE_NODISCARD bool json_view_integer(const struct json_view *v, int64_t min, int64_t max,
                                      int64_t *out);

static inline bool json_view_is_true(const struct json_view *v)
{
	return v->kind == JSON_BOOL && v->raw.len == 4;
}

#endif
