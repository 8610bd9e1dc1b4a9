/* SPDX-License-Identifier: MIT */
/* Texts inside of JSON (RFC 8259): their escapes, made and undone. */
#ifndef WIRE_JSON_TEXT_H
#define WIRE_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/slice.h"

/* Reads a text behind its opening quote: *raw gets it as it stands, *at moves past the closing
 * quote.  The bytes are known to be UTF-8.  Keeps: *raw borrows them.  false: it does not end, or
 * holds what a text may not: a bare control character, an escape that is none, half a surrogate
 * pair, NUL. */
WIRE_NODISCARD bool json_text_take(const uint8_t **at, const uint8_t *end,
                                   struct wire_slice *raw, bool *has_escapes);

/* The text that raw (of json_text_take) stands for, into out, which has raw.len bytes.  Returns
 * its length, which is never more. */
size_t json_text_unescape(struct wire_slice raw, uint8_t *out);

/* Bytes of text, from its beginning, that stand in a JSON text as they are. */
size_t json_text_plain_len(const uint8_t *text, size_t len);

/* Room for any text of len bytes with its escapes. */
#define JSON_ESCAPED_LEN_MAX(len) (6 * (len))

/* Writes text (valid UTF-8) with escapes, without quotes; with out NULL it only counts.  Returns
 * the length. */
size_t json_text_escape(struct wire_slice text, char *out);

#endif
