/* SPDX-License-Identifier: MIT */
#include "wire/base64.h"

typedef uint8_t vec __attribute__((vector_size(16)));

struct alphabet {
	uint8_t plus, slash; /* the characters for 62 and 63 */
};

static const struct alphabet standard = { '+', '/' };
static const struct alphabet url = { '-', '_' };

/* 0..63, or 64 for what is not in the alphabet. */
static uint8_t value_of(const struct alphabet *a, uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return (uint8_t)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (uint8_t)(c - 'a' + 26);
	if (c >= '0' && c <= '9')
		return (uint8_t)(c - '0' + 52);
	return c == a->plus ? 62 : c == a->slash ? 63 : 64;
}

static uint8_t char_of(const struct alphabet *a, uint32_t value)
{
	value &= 63;
	if (value < 26)
		return (uint8_t)('A' + value);
	if (value < 52)
		return (uint8_t)('a' + value - 26);
	if (value < 62)
		return (uint8_t)('0' + value - 52);
	return value == 62 ? a->plus : a->slash;
}

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
		if (value_of(&standard, at[i]) == 64)
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
static bool is_tail_clean(const struct alphabet *a, const uint8_t *at, size_t digits)
{
	const uint8_t unused = digits % 4 == 2 ? 0x0f : digits % 4 == 3 ? 0x03 : 0;

	return digits == 0 || (value_of(a, at[digits - 1]) & unused) == 0;
}

bool base64_is_valid(struct wire_slice text, size_t *bytes)
{
	size_t digits;

	if (text.len % 4 != 0)
		return false;
	digits = digits_of(text);
	if (!is_alphabet(text.at, digits) || !is_tail_clean(&standard, text.at, digits))
		return false;
	if (bytes != NULL)
		*bytes = digits * 3 / 4;
	return true;
}

/* Decodes digits (any number but 1 mod 4) that may yet be outside the alphabet. */
static bool decode(const struct alphabet *a, const uint8_t *at, size_t digits, uint8_t *out)
{
	uint32_t bits = 0;
	unsigned held = 0;

	for (size_t i = 0; i < digits; i++) {
		const uint8_t v = value_of(a, at[i]);

		if (v == 64)
			return false;
		bits = bits << 6 | v;
		held += 6;
		if (held >= 8) {
			held -= 8;
			*out++ = (uint8_t)(bits >> held);
		}
	}
	return is_tail_clean(a, at, digits);
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

	for (; len >= 3; bytes += 3, len -= 3) {
		const uint32_t bits =
			(uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];

		*out++ = (char)char_of(a, bits >> 18);
		*out++ = (char)char_of(a, bits >> 12);
		*out++ = (char)char_of(a, bits >> 6);
		*out++ = (char)char_of(a, bits);
	}
	if (len > 0) {
		const uint32_t bits =
			(uint32_t)bytes[0] << 16 | (len == 2 ? (uint32_t)bytes[1] << 8 : 0);

		*out++ = (char)char_of(a, bits >> 18);
		*out++ = (char)char_of(a, bits >> 12);
		if (len == 2)
			*out++ = (char)char_of(a, bits >> 6);
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
