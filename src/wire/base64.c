/* SPDX-License-Identifier: MIT */
#include "wire/base64.h"

typedef uint8_t vec __attribute__((vector_size(16)));

struct alphabet {
	char digit[65];
	uint8_t others; /* the mark in values[] of what is not in it */
};

#define NOT_STANDARD 0x40
#define NOT_URL 0x80

static const struct alphabet standard = {
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", NOT_STANDARD
};
static const struct alphabet url = {
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", NOT_URL
};

/* What a character stands for, in the low six bits, and a mark for each alphabet that does not have it. */
/* clang-format off */
static const uint8_t values[256] = {
	0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
	0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
	0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xbe, 0xc0, 0x7e, 0xc0, 0xbf,
	0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
	0xc0, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e,
	0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0xc0, 0xc0, 0xc0, 0xc0, 0x7f,
	0xc0, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28,
	0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f, 0x30, 0x31, 0x32, 0x33, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
	0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
	0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
	0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
	0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
	0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
	0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
	0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
	0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0,
};
/* clang-format on */

/* Whether all of [at, at + len) is in the standard alphabet; sixteen at a time, because this runs
 * over the content of every message. */
static bool is_alphabet(const uint8_t *at, size_t len)
{
	vec bad = { 0 };
	uint64_t half[2];
	size_t i = 0;

	for (; len - i >= sizeof(vec); i += sizeof(vec)) {
		vec c;

		memcpy(&c, at + i, sizeof(c));
		bad |= (vec) ~(((c | 0x20) - 'a' < 26) | (c - '/' < 11) | (c == '+'));
	}
	memcpy(half, &bad, sizeof(half));
	if ((half[0] | half[1]) != 0)
		return false;
	for (; i < len; i++) {
		if ((values[at[i]] & NOT_STANDARD) != 0)
			return false;
	}
	return true;
}

/* Characters that are not padding; text.len is a multiple of 4. */
static size_t digits_of(struct wire_slice text)
{
	size_t n = text.len;

	for (int i = 0; i < 2 && n > 0 && text.at[n - 1] == '='; i++)
		n--;
	return n;
}

/* The bits of the last digit that stand for nothing must be zero. */
static bool is_tail_clean(const uint8_t *at, size_t digits)
{
	const uint8_t unused = digits % 4 == 2 ? 0x0f : digits % 4 == 3 ? 0x03 : 0;

	return digits == 0 || (values[at[digits - 1]] & unused) == 0;
}

bool base64_is_valid(struct wire_slice text, size_t *bytes)
{
	size_t digits;

	if (text.len % 4 != 0)
		return false;
	digits = digits_of(text);
	if (!is_alphabet(text.at, digits) || !is_tail_clean(text.at, digits))
		return false;
	if (bytes != NULL)
		*bytes = digits * 3 / 4;
	return true;
}

/* Decodes digits (any number but 1 mod 4) that may yet be outside the alphabet: which is known in the end. */
static bool decode(const struct alphabet *a, const uint8_t *at, size_t digits, uint8_t *out)
{
	const uint8_t *const end = at + digits;
	uint32_t v[4] = { 0 }, seen = 0, bits;
	size_t i;

	for (; end - at >= 4; at += 4, out += 3) {
		for (i = 0; i < 4; i++)
			v[i] = values[at[i]];
		seen |= v[0] | v[1] | v[2] | v[3];
		bits = v[0] << 18 | (v[1] & 63) << 12 | (v[2] & 63) << 6 | (v[3] & 63);
		out[0] = (uint8_t)(bits >> 16);
		out[1] = (uint8_t)(bits >> 8);
		out[2] = (uint8_t)bits;
	}
	for (bits = 0, i = 0; at < end; at++, i++) {
		seen |= values[*at];
		bits |= (uint32_t)(values[*at] & 63) << (18 - 6 * i);
	}
	if (i >= 2)
		out[0] = (uint8_t)(bits >> 16);
	if (i == 3)
		out[1] = (uint8_t)(bits >> 8);
	return (seen & a->others) == 0 && is_tail_clean(end - digits, digits);
}

bool base64_decode(struct wire_slice text, uint8_t *out, size_t room, size_t *len)
{
	size_t digits;

	if (text.len % 4 != 0)
		return false;
	digits = digits_of(text);
	if (digits * 3 / 4 > room || !decode(&standard, text.at, digits, out))
		return false;
	*len = digits * 3 / 4;
	return true;
}

bool base64_decode_exact(struct wire_slice text, uint8_t *out, size_t len)
{
	size_t got;

	return text.len == BASE64_TEXT_LEN(len) && base64_decode(text, out, len, &got) &&
	       got == len;
}

bool base64url_decode(struct wire_slice text, uint8_t *out, size_t room, size_t *len)
{
	if (text.len % 4 == 1 || text.len * 3 / 4 > room ||
	    !decode(&url, text.at, text.len, out))
		return false;
	*len = text.len * 3 / 4;
	return true;
}

static size_t encode(const struct alphabet *a, const uint8_t *bytes, size_t len, char *out)
{
	char *const start = out;
	uint32_t bits;

	for (; len >= 3; bytes += 3, len -= 3, out += 4) {
		bits = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];
		out[0] = a->digit[bits >> 18];
		out[1] = a->digit[bits >> 12 & 63];
		out[2] = a->digit[bits >> 6 & 63];
		out[3] = a->digit[bits & 63];
	}
	if (len > 0) {
		bits = (uint32_t)bytes[0] << 16 | (len == 2 ? (uint32_t)bytes[1] << 8 : 0);
		*out++ = a->digit[bits >> 18];
		*out++ = a->digit[bits >> 12 & 63];
		if (len == 2)
			*out++ = a->digit[bits >> 6 & 63];
	}
	return (size_t)(out - start);
}

size_t base64_encode(const uint8_t *bytes, size_t len, char *out)
{
	size_t n = encode(&standard, bytes, len, out);

	while (n % 4 != 0)
		out[n++] = '=';
	return n;
}

size_t base64url_encode(const uint8_t *bytes, size_t len, char *out)
{
	return encode(&url, bytes, len, out);
}
