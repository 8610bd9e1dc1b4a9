/* SPDX-License-Identifier: MIT */
/* Server frames as the client meets them: whole in a big read, so one look finds payload and
 * end, and a connection needs no parser of its own (ws_frame.h's has 208 bytes). */
#ifndef CONSTRUCT_IO_WS_CLIENT_FRAME_H
#define CONSTRUCT_IO_WS_CLIENT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What one server frame says about itself. */
struct ws_client_frame {
	const uint8_t *payload; /* into the bytes that were read */
	size_t len;
	uint8_t op;
	bool is_final;
};

/* Reads one frame of a server.  Returns its length with the header, 0 when it is not whole
 * yet, -1 when no server may send this (masked, reserved bits, a control frame that is long
 * or in parts, over WS_CLIENT_MESSAGE_BYTES_MAX). */
ssize_t ws_client_frame_get(const uint8_t *data, size_t size, struct ws_client_frame *frame);

#endif
