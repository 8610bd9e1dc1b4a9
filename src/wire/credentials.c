/* SPDX-License-Identifier: MIT */
#include "wire/credentials.h"

#include "wire/utf8.h"

static bool is_in(uint32_t c, uint32_t first, uint32_t last)
{
	return c >= first && c <= last;
}

/* Control, line and format characters: nothing to see, or it changes what stands around it. */
static bool is_invisible(uint32_t c)
{
	return c < 0x20 || is_in(c, 0x7f, 0x9f) || c == 0xad || c == 0x061c || c == 0x180e ||
	       is_in(c, 0x200b, 0x200f) || is_in(c, 0x2028, 0x202e) ||
	       is_in(c, 0x2060, 0x206f) || c == 0xfeff || is_in(c, 0xfff9, 0xfffb) ||
	       is_in(c, 0xe0000, 0xe0fff) || (c & 0xfffe) == 0xfffe;
}

static bool is_space(uint32_t c)
{
	return c == ' ' || c == 0xa0 || c == 0x1680 || is_in(c, 0x2000, 0x200a) ||
	       c == 0x202f || c == 0x205f || c == 0x3000;
}

bool username_is_valid(struct wire_slice name)
{
	const uint8_t *at = name.at, *end;
	size_t count = 0;

	if (name.len < USERNAME_CHARS_MIN || name.len > USERNAME_BYTES_MAX ||
	    !utf8_is_valid(name))
		return false;
	end = at + name.len;
	for (; at < end; count++) {
		const uint32_t c = utf8_next(&at);

		if (is_invisible(c) || (is_space(c) && (count == 0 || at == end)))
			return false;
	}
	return count >= USERNAME_CHARS_MIN && count <= USERNAME_CHARS_MAX;
}

/* Greek and Cyrillic letters lie in blocks; in Latin Extended-A and the later Cyrillic ones upper
 * and lower case take turns. */
static bool is_upper(uint32_t c)
{
	return is_in(c, 'A', 'Z') || (is_in(c, 0xc0, 0xde) && c != 0xd7) ||
	       (is_in(c, 0x100, 0x137) && c % 2 == 0) ||
	       (is_in(c, 0x139, 0x148) && c % 2 == 1) ||
	       (is_in(c, 0x14a, 0x177) && c % 2 == 0) || is_in(c, 0x391, 0x3a9) ||
	       is_in(c, 0x400, 0x42f) || (is_in(c, 0x460, 0x481) && c % 2 == 0) ||
	       (is_in(c, 0x48a, 0x4bf) && c % 2 == 0) || (is_in(c, 0x4d0, 0x52f) && c % 2 == 0);
}

static bool is_lower(uint32_t c)
{
	return is_in(c, 'a', 'z') || (is_in(c, 0xdf, 0xff) && c != 0xf7) ||
	       (is_in(c, 0x100, 0x137) && c % 2 == 1) ||
	       (is_in(c, 0x139, 0x148) && c % 2 == 0) ||
	       (is_in(c, 0x14a, 0x177) && c % 2 == 1) || is_in(c, 0x3ac, 0x3ce) ||
	       is_in(c, 0x430, 0x45f) || (is_in(c, 0x460, 0x481) && c % 2 == 1) ||
	       (is_in(c, 0x48a, 0x4bf) && c % 2 == 1) || (is_in(c, 0x4d0, 0x52f) && c % 2 == 1);
}

bool password_is_strong(struct wire_slice password)
{
	const uint8_t *at = password.at, *end;
	bool has_upper = false, has_lower = false, has_digit = false;
	size_t count = 0;

	if (password.len < PASSWORD_CHARS_MIN || password.len > PASSWORD_BYTES_MAX ||
	    !utf8_is_valid(password))
		return false;
	end = at + password.len;
	for (; at < end; count++) {
		const uint32_t c = utf8_next(&at);

		if (c == 0)
			return false;
		has_upper = has_upper || is_upper(c);
		has_lower = has_lower || is_lower(c);
		has_digit = has_digit || is_in(c, '0', '9');
	}
	return count >= PASSWORD_CHARS_MIN && count <= PASSWORD_CHARS_MAX && has_upper &&
	       has_lower && has_digit;
}

bool device_token_is_valid(struct wire_slice token)
{
	return token.len > 0 && utf8_is_valid(token) &&
	       utf8_length(token) <= DEVICE_TOKEN_CHARS_MAX;
}
