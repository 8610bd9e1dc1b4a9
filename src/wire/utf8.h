/* SPDX-License-Identifier: MIT */
/* UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing above U+10FFFF. */
#ifndef WIRE_UTF8_H
#define WIRE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/slice.h"

#define UTF8_ACCEPT 0 /* at a character boundary; the state to begin with */
#define UTF8_REJECT 1 /* no continuation can make it valid */

/* Feeds bytes to the automaton: returns the state after them, UTF8_REJECT as soon as the text
 * is beyond saving, another value inside a character. */
WIRE_NODISCARD uint32_t utf8_feed(uint32_t state, const uint8_t *at, size_t len);

WIRE_NODISCARD bool utf8_is_valid(struct wire_slice text);

/* The character at *at, which moves past it.  The text must be valid and not at its end. */
uint32_t utf8_next(const uint8_t **at);

/* Characters (code points) in valid text. */
size_t utf8_length(struct wire_slice text);

#endif
