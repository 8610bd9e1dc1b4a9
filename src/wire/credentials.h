/* SPDX-License-Identifier: MIT */
/* Which user names, passwords and device tokens are taken.  Lengths count characters. */
#ifndef WIRE_CREDENTIALS_H
#define WIRE_CREDENTIALS_H

#include <stdbool.h>

#include "wire/slice.h"

#define USERNAME_CHARS_MIN 3
#define USERNAME_CHARS_MAX 64
#define USERNAME_BYTES_MAX 256
#define PASSWORD_CHARS_MIN 10
#define PASSWORD_CHARS_MAX 128
#define PASSWORD_BYTES_MAX 512
#define DEVICE_TOKEN_CHARS_MAX 128

/* 3 to 64 characters of UTF-8, no control, format (bidirectional marks and the like) or line
 * characters, no white space at either end. */
WIRE_NODISCARD bool username_is_valid(struct wire_slice name);

/* 10 to 128 characters of UTF-8 without NUL, among them an upper-case letter, a lower-case
 * letter (Latin, Greek or Cyrillic) and a digit. */
WIRE_NODISCARD bool password_is_strong(struct wire_slice password);

/* 1 to 128 characters. */
WIRE_NODISCARD bool device_token_is_valid(struct wire_slice token);

#endif
