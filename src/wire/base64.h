/* SPDX-License-Identifier: MIT */
/* Base64 of RFC 4648: the standard alphabet with padding, and the URL alphabet without.  Strict:
 * no white space, padding as it must be, unused bits zero, so every text has one meaning and
 * every value one text. */
#ifndef WIRE_BASE64_H
#define WIRE_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/slice.h"

#define BASE64_TEXT_LEN(bytes) (((bytes) + 2) / 3 * 4)
#define BASE64_BYTES_MAX(text_len) ((text_len) / 4 * 3)
#define BASE64URL_TEXT_LEN(bytes) (((bytes)*4 + 2) / 3)

/* Whether text is standard base64; *bytes (unless NULL) gets the length of what it stands for.
 * The empty text is valid and stands for nothing. */
WIRE_NODISCARD bool base64_is_valid(struct wire_slice text, size_t *bytes);

/* Decodes into out, which has `room` bytes.  Returns false, with out undefined, when text is not
 * valid or too long for it. */
WIRE_NODISCARD bool base64_decode(struct wire_slice text, uint8_t *out, size_t room,
                                  size_t *len);

/* Whether text stands for exactly len bytes, which are then in out. */
WIRE_NODISCARD bool base64_decode_exact(struct wire_slice text, uint8_t *out, size_t len);

/* Writes BASE64_TEXT_LEN(len) characters, no NUL; returns their number. */
size_t base64_encode(const uint8_t *bytes, size_t len, char *out);

/* The URL alphabet, no padding. */
WIRE_NODISCARD bool base64url_decode(struct wire_slice text, uint8_t *out, size_t room,
                                     size_t *len);
size_t base64url_encode(const uint8_t *bytes, size_t len, char *out);

#endif
