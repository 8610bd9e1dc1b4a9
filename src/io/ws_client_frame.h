/* SPDX-License-Identifier: MIT */
/* Frames of RFC 6455 from the client's side: pure functions. */
#ifndef CONSTRUCT_IO_WS_CLIENT_FRAME_H
#define CONSTRUCT_IO_WS_CLIENT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WS_CLIENT_FRAME_HEADER_MAX 14
#define WS_CLIENT_OP_CONTINUATION 0
#define WS_CLIENT_OP_CLOSE 8

/* What one server frame says about itself. */
struct ws_client_frame {
	const uint8_t *payload; /* into the bytes that were read */
	size_t len;
	uint8_t op;
	bool is_final;
};

/* Copies and masks, eight bytes at a time.  mask is in memory order, as it stands in the
 * frame; the ranges do not overlap. */
void ws_client_frame_mask(uint8_t *restrict to, const uint8_t *restrict from, size_t len,
                          uint32_t mask);

/* Writes the header of a final masked frame to to (WS_CLIENT_FRAME_HEADER_MAX bytes).
 * Returns its length. */
size_t ws_client_frame_header(uint8_t *to, uint8_t op, size_t len, uint32_t mask);

/* Reads one frame of a server.  Returns its length with the header, 0 when it is not whole
 * yet, -1 when no server may send this (masked, reserved bits, a control frame that is long
 * or in parts, over WS_CLIENT_MESSAGE_BYTES_MAX). */
ssize_t ws_client_frame_get(const uint8_t *data, size_t size, struct ws_client_frame *frame);

#endif
