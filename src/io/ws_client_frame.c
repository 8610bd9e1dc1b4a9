/* SPDX-License-Identifier: MIT */
#include "io/ws_client_frame.h"

#include "io/ws_client.h"
#include "wire/ws_frame.h"

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
	if (frame->op & 8 && (len > WS_CONTROL_MAX || !frame->is_final))
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
