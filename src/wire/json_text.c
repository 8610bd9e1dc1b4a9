/* SPDX-License-Identifier: MIT */
#include "wire/json_text.h"

typedef uint8_t vec __attribute__((vector_size(16)));

static bool is_special(uint8_t c)
{
	return c == '"' || c == '\\' || c < 0x20;
}

size_t json_text_plain_len(const uint8_t *text, size_t len)
{
	size_t i = 0;

	for (; len - i >= sizeof(vec); i += sizeof(vec)) {
		uint64_t half[2];
		vec c, special;

		memcpy(&c, text + i, sizeof(c));
		special = (vec)((c == '"') | (c == '\\') | (c < 0x20));
		memcpy(half, &special, sizeof(half));
		if ((half[0] | half[1]) != 0)
			break;
	}
	while (i < len && !is_special(text[i]))
		i++;
	return i;
}

static int digit_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hex digits at at, or -1. */
static int32_t code_unit(const uint8_t *at, const uint8_t *end)
{
	int32_t unit = 0;

	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		const int digit = digit_value(at[i]);

		if (digit < 0)
			return -1;
		unit = unit << 4 | digit;
	}
	return unit;
}

/* The character of the escape behind "\u" at *at, which moves past it (and past the second half of
 * a pair); 0 when it is none that a text may hold. */
static uint32_t unicode_escape(const uint8_t **at, const uint8_t *end)
{
	const int32_t high = code_unit(*at, end);
	int32_t low;

	if (high <= 0 || (high >= 0xdc00 && high <= 0xdfff))
		return 0;
	*at += 4;
	if (high < 0xd800 || high > 0xdfff)
		return (uint32_t)high;
	if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
		return 0;
	low = code_unit(*at + 2, end);
	if (low < 0xdc00 || low > 0xdfff)
		return 0;
	*at += 6;
	return 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
}

/* What the escape `\c` stands for, 0: nothing. */
static uint8_t short_escape(uint8_t c)
{
	switch (c) {
	case '"':
	case '\\':
	case '/':
		return c;
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	default:
		return 0;
	}
}

bool json_text_take(const uint8_t **at, const uint8_t *end, struct wire_slice *raw,
                    bool *has_escapes)
{
	const uint8_t *const start = *at, *t = start;

	*has_escapes = false;
	for (;;) {
		t += json_text_plain_len(t, (size_t)(end - t));
		if (t == end || *t < 0x20)
			return false;
		if (*t++ == '"')
			break;
		*has_escapes = true;
		if (t == end)
			return false;
		if (*t == 'u' ? (t++, unicode_escape(&t, end)) == 0 : short_escape(*t++) == 0)
			return false;
	}
	*raw = wire_slice(start, (size_t)(t - start) - 1);
	*at = t;
	return true;
}

static size_t put_character(uint8_t *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (uint8_t)(0xc0 | c >> 6);
		out[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (uint8_t)(0xe0 | c >> 12);
		out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		out[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | c >> 18);
	out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
	out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	out[3] = (uint8_t)(0x80 | (c & 0x3f));
	return 4;
}

size_t json_text_unescape(struct wire_slice raw, uint8_t *out)
{
	const uint8_t *at = raw.at, *const end = at + raw.len;
	size_t len = 0;

	while (at < end) {
		const size_t plain = json_text_plain_len(at, (size_t)(end - at));

		memcpy(out + len, at, plain);
		len += plain;
		at += plain;
		if (at == end)
			break;
		at++; /* the backslash: nothing else stops here, the text has been read */
		if (*at == 'u') {
			at++;
			len += put_character(out + len, unicode_escape(&at, end));
		} else {
			out[len++] = short_escape(*at++);
		}
	}
	return len;
}

/* ---- writing ---- */

static size_t escape_one(uint8_t c, char out[6])
{
	static const char digits[] = "0123456789abcdef";

	out[0] = '\\';
	if (c == '"' || c == '\\') {
		out[1] = (char)c;
		return 2;
	}
	out[1] = 'u';
	out[2] = out[3] = '0';
	out[4] = digits[c >> 4];
	out[5] = digits[c & 15];
	return 6;
}

size_t json_text_escape(struct wire_slice text, char *out)
{
	size_t from = 0, len = 0;

	while (from < text.len) {
		const size_t plain = json_text_plain_len(text.at + from, text.len - from);
		char one[6];
		size_t n;

		if (out != NULL)
			memcpy(out + len, text.at + from, plain);
		len += plain;
		from += plain;
		if (from == text.len)
			break;
		n = escape_one(text.at[from++], one);
		if (out != NULL)
			memcpy(out + len, one, n);
		len += n;
	}
	return len;
}
