/* SPDX-License-Identifier: MIT */
#include "io/ws_client_frame.h"

#include <string.h>

#include "io/ws_client.h"

#define CONTROL_BYTES_MAX 125

void ws_client_frame_mask(uint8_t *restrict to, const uint8_t *restrict from, size_t len,
                          uint32_t mask)
{
	const uint64_t wide = (uint64_t)mask << 32 | mask;
	uint8_t bytes[sizeof(mask)];
	size_t i = 0;

	for (; i + 8 <= len; i += 8) {
		uint64_t word;

		memcpy(&word, from + i, 8);
		word ^= wide;
		memcpy(to + i, &word, 8);
	}
	memcpy(bytes, &mask, sizeof(bytes));
	for (; i < len; i++)
		to[i] = from[i] ^ bytes[i & 3];
}

size_t ws_client_frame_header(uint8_t *to, uint8_t op, size_t len, uint32_t mask)
{
	size_t at = 2;

	to[0] = 0x80 | op;
	if (len < 126) {
		to[1] = (uint8_t)(0x80 | len);
	} else if (len < 65536) {
		to[1] = 0x80 | 126;
		to[2] = (uint8_t)(len >> 8);
		to[3] = (uint8_t)len;
		at = 4;
	} else {
		to[1] = 0x80 | 127;
		for (size_t i = 0; i < 8; i++)
			to[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
		at = 10;
	}
	memcpy(to + at, &mask, sizeof(mask));
	return at + sizeof(mask);
}

ssize_t ws_client_frame_get(const uint8_t *data, size_t size, struct ws_client_frame *frame)
{
	uint64_t len;
	size_t at = 2;

	if (size < 2)
		return 0;
	if (data[0] & 0x70 || data[1] & 0x80)
		return -1;
	frame->is_final = data[0] & 0x80;
	frame->op = data[0] & 0x0f;
	len = data[1];
	if (frame->op & 8 && (len > CONTROL_BYTES_MAX || !frame->is_final))
		return -1;
	if (len >= 126) {
		const size_t wide = len == 126 ? 2 : 8;

		at += wide;
		if (size < at)
			return 0;
		len = 0;
		for (size_t i = 0; i < wide; i++)
			len = len << 8 | data[2 + i];
	}
	if (len > WS_CLIENT_MESSAGE_BYTES_MAX)
		return -1;
	if (size - at < len)
		return 0;
	frame->payload = data + at;
	frame->len = (size_t)len;
	return (ssize_t)(at + len);
}
