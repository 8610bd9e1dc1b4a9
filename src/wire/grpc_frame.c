/* SPDX-License-Identifier: MIT */
#include "wire/grpc_frame.h"

#define SECONDS_MAX UINT64_C(99999999)

const char *grpc_status_name(unsigned status)
{
	static const char *const names[] = {
#define GRPC_STATUS_TEXT(name, number) [number] = #name,
		GRPC_STATUS_MAP(GRPC_STATUS_TEXT)
#undef GRPC_STATUS_TEXT
	};

	return status < sizeof(names) / sizeof(names[0]) ? names[status] : "UNKNOWN";
}

static uint32_t read_u32(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

enum grpc_read grpc_reader_next(struct grpc_reader *r, const uint8_t *bytes, size_t len,
                                size_t *used, struct wire_slice *data)
{
	size_t n;

	*used = 0;
	*data = wire_slice(NULL, 0);
	if (r->head_len == GRPC_PREFIX_BYTES && r->left == 0)
		r->head_len = 0; /* the message before was told as whole */
	if (r->head_len < GRPC_PREFIX_BYTES) {
		n = GRPC_PREFIX_BYTES - r->head_len;
		n = len < n ? len : n;
		if (n > 0)
			memcpy(r->head + r->head_len, bytes, n);
		r->head_len = (uint8_t)(r->head_len + n);
		*used = n;
		if (r->head_len < GRPC_PREFIX_BYTES)
			return GRPC_READ_MORE;
		r->is_compressed = r->head[0] != 0;
		r->len = r->left = read_u32(r->head + 1);
		return GRPC_READ_START;
	}
	n = len < r->left ? len : r->left;
	if (n == 0)
		return GRPC_READ_MORE;
	r->left -= (uint32_t)n;
	*used = n;
	*data = wire_slice(bytes, n);
	return GRPC_READ_DATA;
}

bool grpc_reader_is_idle(const struct grpc_reader *r)
{
	return r->head_len == 0 || (r->head_len == GRPC_PREFIX_BYTES && r->left == 0);
}

bool grpc_whole_message(struct wire_slice bytes, struct wire_slice *message)
{
	uint32_t len;

	if (bytes.len < GRPC_PREFIX_BYTES || bytes.at[0] != 0)
		return false;
	len = read_u32(bytes.at + 1);
	*message = wire_slice(bytes.at + GRPC_PREFIX_BYTES, len);
	return len <= bytes.len - GRPC_PREFIX_BYTES;
}

void grpc_prefix_write(uint8_t out[GRPC_PREFIX_BYTES], uint32_t len)
{
	out[0] = 0;
	out[1] = (uint8_t)(len >> 24);
	out[2] = (uint8_t)(len >> 16);
	out[3] = (uint8_t)(len >> 8);
	out[4] = (uint8_t)len;
}

bool grpc_timeout_parse(struct wire_slice text, uint64_t *ms)
{
	uint64_t n = 0;

	if (text.len < 2 || text.len > 9)
		return false;
	for (size_t i = 0; i + 1 < text.len; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(text.at[i] - '0');
	}
	switch (text.at[text.len - 1]) {
	case 'H':
		*ms = n * 3600000;
		return true;
	case 'M':
		*ms = n * 60000;
		return true;
	case 'S':
		*ms = n * 1000;
		return true;
	case 'm':
		*ms = n;
		return true;
	case 'u':
		*ms = (n + 999) / 1000;
		return true;
	case 'n':
		*ms = (n + 999999) / 1000000;
		return true;
	default:
		return false;
	}
}

size_t grpc_timeout_write(char out[GRPC_TIMEOUT_CHARS], uint64_t ms)
{
	char unit = 'm';
	uint64_t n = ms;
	size_t len = 1;

	if (n > 99999999) {
		unit = 'S';
		n = n / 1000 + (n % 1000 != 0);
		n = n < SECONDS_MAX ? n : SECONDS_MAX;
	}
	for (uint64_t rest = n; rest >= 10; rest /= 10)
		len++;
	out[len] = unit;
	out[len + 1] = '\0';
	for (size_t i = len; i-- > 0; n /= 10)
		out[i] = (char)('0' + n % 10);
	return len + 1;
}

bool grpc_content_type_is_grpc(struct wire_slice text)
{
	static const char name[] = "application/grpc";
	const size_t len = sizeof(name) - 1;

	if (text.len < len)
		return false;
	for (size_t i = 0; i < len; i++) {
		const uint8_t c = text.at[i];

		if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != name[i])
			return false;
	}
	return text.len == len || text.at[len] == '+' || text.at[len] == ';' ||
	       text.at[len] == ' ';
}

bool grpc_status_parse(struct wire_slice text, enum grpc_status *status)
{
	unsigned n = 0;

	*status = GRPC_UNKNOWN;
	if (text.len == 0 || text.len > 3)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return false;
		n = n * 10 + (unsigned)(text.at[i] - '0');
	}
	if (n <= GRPC_UNAUTHENTICATED)
		*status = (enum grpc_status)n;
	return true;
}

size_t grpc_message_encode(char out[GRPC_MESSAGE_CHARS], struct wire_slice text)
{
	static const char digits[] = "0123456789ABCDEF";
	const size_t len =
		text.len < GRPC_MESSAGE_BYTES_MAX ? text.len : GRPC_MESSAGE_BYTES_MAX;
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		const uint8_t c = text.at[i];

		if (c >= 0x20 && c <= 0x7e && c != '%') {
			out[n++] = (char)c;
			continue;
		}
		out[n++] = '%';
		out[n++] = digits[c >> 4];
		out[n++] = digits[c & 15];
	}
	out[n] = '\0';
	return n;
}

static int hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t grpc_message_decode(char *out, size_t size, struct wire_slice text)
{
	size_t n = 0;

	for (size_t i = 0; i < text.len && n + 1 < size; i++) {
		uint8_t c = text.at[i];

		if (c == '%' && i + 2 < text.len && hex(text.at[i + 1]) >= 0 &&
		    hex(text.at[i + 2]) >= 0) {
			c = (uint8_t)(hex(text.at[i + 1]) << 4 | hex(text.at[i + 2]));
			i += 2;
		}
		out[n++] = (char)c;
	}
	if (size > 0)
		out[n] = '\0';
	return n;
}
