/* SPDX-License-Identifier: MIT */
/* WebSocket frames of RFC 6455, both ends, pure: bytes in, events out.  No extensions.
 *
 * The caller hands over what it has just read; the parser unmasks it in place and points into
 * it, so a message that lies whole in one chunk is one event without a copy:
 *
 *	while (len > 0) {
 *		n = ws_parser_next(&parser, at, len, &event);
 *		... event ...
 *		at += n, len -= n;
 *	}
 *
 * 1. A message is a run of WS_EVENT_DATA, is_first on its first and is_last on its last; pings,
 *    pongs and a close may stand between them.
 * 2. Text has been checked as far as it was handed out: bad UTF-8 fails with 1007 at its first
 *    byte that cannot be right, not at the end of the message.
 * 3. A message longer than the limit fails with 1009 when its header tells, before its bytes.
 * 4. After WS_EVENT_FAIL and WS_EVENT_CLOSE nothing comes but WS_EVENT_NONE, and all input is
 *    swallowed. */
#ifndef WIRE_WS_FRAME_H
#define WIRE_WS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/slice.h"

#define WS_HEADER_MAX 14 /* of a frame with a mask */
#define WS_SERVER_HEADER_MAX 10
#define WS_CONTROL_MAX 125 /* payload of ping, pong, close */
#define WS_REASON_MAX 123  /* text in a close frame */
#define WS_ACCEPT_LEN 28   /* Sec-WebSocket-Accept */

enum ws_op {
	WS_OP_CONTINUATION = 0,
	WS_OP_TEXT = 1,
	WS_OP_BINARY = 2,
	WS_OP_CLOSE = 8,
	WS_OP_PING = 9,
	WS_OP_PONG = 10,
};

enum ws_close_code {
	WS_CLOSE_NORMAL = 1000,
	WS_CLOSE_GOING_AWAY = 1001,
	WS_CLOSE_PROTOCOL = 1002,
	WS_CLOSE_UNSUPPORTED = 1003,
	WS_CLOSE_NO_STATUS = 1005, /* only inside: the close frame had no code */
	WS_CLOSE_ABNORMAL = 1006,  /* only inside: no close frame came */
	WS_CLOSE_BAD_TEXT = 1007,
	WS_CLOSE_TOO_BIG = 1009,
	WS_CLOSE_INTERNAL = 1011,
	WS_CLOSE_RESTART = 1012,
};

enum ws_role {
	WS_ROLE_SERVER, /* reads masked frames */
	WS_ROLE_CLIENT, /* reads frames without a mask */
};

enum ws_event_type {
	WS_EVENT_NONE, /* the chunk is used up */
	WS_EVENT_DATA,
	WS_EVENT_PING,
	WS_EVENT_PONG,
	WS_EVENT_CLOSE, /* answer with the same code (none for 1005), then end */
	WS_EVENT_FAIL,  /* the peer broke the protocol: close with code */
};

struct ws_event {
	enum ws_event_type type;
	bool is_text, is_first, is_last; /* DATA */
	uint16_t code;                   /* CLOSE, FAIL */
	uint8_t *at; /* DATA, PING, PONG: payload; CLOSE: reason.  In the chunk or
	                                  * in the parser; until the next call */
	size_t len;
};

/* Private to ws_frame.c; here so that it can stand in a connection (under 200 bytes). */
struct ws_parser {
	uint64_t message_max;
	uint64_t message_len; /* of the current message, announced so far */
	uint64_t left;        /* of the current frame's payload */
	uint32_t utf8;        /* state of the current text message */
	uint8_t mask[4];
	uint8_t mask_at; /* payload bytes taken so far, mod 4 */
	uint8_t state;
	uint8_t role;
	uint8_t op;         /* of the current frame */
	uint8_t message_op; /* of the current message; 0: between messages */
	bool is_fin, is_begun;
	uint8_t header_len; /* bytes collected */
	uint8_t header_need;
	uint8_t control_len;
	uint8_t header[WS_HEADER_MAX];
	uint8_t control[WS_CONTROL_MAX];
};

void ws_parser_init(struct ws_parser *parser, enum ws_role role, uint64_t message_bytes_max);

/* Takes bytes of [at, at + len) up to the next event and writes it.  Returns how many it took;
 * at least one unless len is 0.  The bytes taken may be changed. */
WIRE_NODISCARD size_t ws_parser_next(struct ws_parser *parser, uint8_t *at, size_t len,
                                     struct ws_event *event);

/* True at a frame boundary with no message open. */
WIRE_NODISCARD bool ws_parser_is_idle(const struct ws_parser *parser);

/* Header of a whole, unmasked frame (server to client).  Returns its length, 2 to 10. */
size_t ws_header_write(uint8_t out[WS_SERVER_HEADER_MAX], enum ws_op op, uint64_t payload_len);
/* How long ws_header_write's header will be. */
static inline size_t ws_header_len(uint64_t payload_len)
{
	return payload_len < 126 ? 2 : payload_len <= 0xffff ? 4 : 10;
}

enum ws_fin { WS_MORE, WS_FIN };

/* The same for a fragment. */
size_t ws_header_write_fragment(uint8_t out[WS_SERVER_HEADER_MAX], enum ws_op op,
                                enum ws_fin fin, uint64_t payload_len);

/* Header of a whole, masked frame (client to server), 6 to 14 bytes; the payload must then go
 * through ws_mask with offset 0. */
size_t ws_header_write_masked(uint8_t out[WS_HEADER_MAX], enum ws_op op, uint64_t payload_len,
                              const uint8_t mask[4]);

/* Masks or unmasks in place; offset: place of at[0] in the payload. */
void ws_mask(uint8_t *at, size_t len, const uint8_t mask[4], size_t offset);
/* The same from src to dst, which do not overlap. */
void ws_mask_copy(uint8_t *dst, const uint8_t *src, size_t len, const uint8_t mask[4],
                  size_t offset);

/* Payload of a close frame: code and reason, the reason cut at a character boundary to
 * WS_REASON_MAX.  Returns its length; 0 for WS_CLOSE_NO_STATUS. */
size_t ws_close_payload(uint8_t out[WS_CONTROL_MAX], uint16_t code, struct wire_slice reason);

/* Whether a peer may send this code. */
WIRE_NODISCARD bool ws_close_code_is_valid(uint16_t code);

/* Sec-WebSocket-Accept for a Sec-WebSocket-Key (its text as it came), no NUL. */
WIRE_NODISCARD bool ws_accept_key(struct wire_slice key, char out[WS_ACCEPT_LEN]);

#endif
