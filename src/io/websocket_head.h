/* SPDX-License-Identifier: MIT */
/* A look at an HTTP/1.1 request head before libwebsockets gets it: whole, well formed, and something
 * that this port answers.  Pure: no I/O, no memory. */
#ifndef IO_WEBSOCKET_HEAD_H
#define IO_WEBSOCKET_HEAD_H

#include <stddef.h>
#include <stdint.h>

#define WS_HEAD_MAX 8192         /* bytes of request line and headers */
#define WS_BODY_MAX (128 * 1024) /* bytes of a request's body */

enum ws_head_verdict {
	WS_HEAD_MORE,    /* not whole yet */
	WS_HEAD_UPGRADE, /* a WebSocket handshake of version 13 */
	WS_HEAD_REQUEST, /* GET, HEAD or POST */
	WS_HEAD_OTHER,   /* well formed, another method */
	WS_HEAD_REFUSE,  /* answer `status` and close */
};

struct ws_head {
	enum ws_head_verdict verdict;
	uint16_t status;  /* of WS_HEAD_REFUSE */
	uint32_t skip;    /* empty lines before it */
	uint32_t len;     /* of the head behind them, with its empty line */
	const char *path; /* as sent, without the query */
	uint32_t path_len;
	uint32_t body_len;     /* Content-Length, or 0 */
	const char *forwarded; /* X-Forwarded-For, of several the last; NULL: none */
	uint32_t forwarded_len;
};

/* Judge the len bytes received so far. */
void ws_head_check(const char *bytes, size_t len, struct ws_head *out);

/* A Content-Length value: -1 malformed, else the length (WS_BODY_MAX + 1 for everything above). */
int32_t ws_head_body_len(const char *value, size_t len);

#endif
