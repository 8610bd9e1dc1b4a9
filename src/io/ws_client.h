/* SPDX-License-Identifier: MIT */
/* WebSocket client connections, many thousands on one epoll loop, for the load generator and
 * the probe.
 *
 * A loop and everything on it belong to one thread.  Nothing blocks but ws_client_target_open
 * and ws_client_loop_turn.  What is sent during a turn leaves in one write a connection at the
 * start of the next; input is read in one call a turn into a buffer all connections share, so
 * an idle connection owns no buffer.  Protocol pings are answered and close frames returned
 * here; fragments are joined. */
#ifndef CONSTRUCT_IO_WS_CLIENT_H
#define CONSTRUCT_IO_WS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cx/err.h>

#define WS_CLIENT_MESSAGE_BYTES_MAX (1024 * 1024) /* a longer one ends the connection */

struct ws_client;        /* a connection */
struct ws_client_loop;   /* an epoll loop */
struct ws_client_target; /* a server: address, host, path, TLS settings */

enum ws_client_op {
	WS_CLIENT_TEXT = 1,
	WS_CLIENT_BINARY = 2,
	WS_CLIENT_PING = 9,
	WS_CLIENT_PONG = 10,
};

enum ws_client_end_kind {
	WS_CLIENT_END_CONNECT,  /* no TCP connection */
	WS_CLIENT_END_TLS,      /* the TLS handshake failed */
	WS_CLIENT_END_HTTP,     /* the upgrade was not granted */
	WS_CLIENT_END_CLOSED,   /* a close frame came; code says which */
	WS_CLIENT_END_BROKEN,   /* the connection ended without a close frame */
	WS_CLIENT_END_PROTOCOL, /* the server broke the WebSocket protocol */
};

struct ws_client_end {
	enum ws_client_end_kind kind;
	uint16_t code;   /* of the close frame, 1005 when it has none; else 0 */
	int http_status; /* of a refused upgrade, else 0 */
	char text[160];  /* a sentence for people */
};

/* Called from ws_client_loop_turn.  Inside, ws_client_send, _close and _drop are allowed on
 * every connection of the loop.  data is borrowed until the call returns. */
struct ws_client_handlers {
	void (*on_open)(struct ws_client *conn);
	void (*on_message)(struct ws_client *conn, enum ws_client_op op, const uint8_t *data,
	                   size_t len); /* WS_CLIENT_PONG too, _PING never */
	/* The connection has ended and is freed after the call: exactly once for each that
	 * was opened, unless its owner dropped it. */
	void (*on_end)(struct ws_client *conn, const struct ws_client_end *end);
};

struct ws_client_target_conf {
	const char *url;     /* ws://, wss://, http:// or https:// */
	const char *ca_file; /* PEM; NULL: the system's store */
	bool insecure;       /* the certificate is not checked */
	uint32_t timeout_ms; /* for each address tried */
};

struct ws_client_loop_conf {
	uint32_t connections; /* expected; only a hint for the size of tables */
	uint64_t seed;        /* of the frame masks */
};

/* Parses the URL, resolves the name, and takes the first address that accepts a TCP
 * connection (IPv4 first for loopback: its address space serves more local connections).
 * Blocks: for the resolver and up to timeout_ms an address.
 * Returns CX_EINVAL (URL, or TLS files), CX_EIO (name or address) or CX_ETIMEOUT, with a
 * sentence in why; nothing is held then. */
CX_NODISCARD enum cx_err ws_client_target_open(const struct ws_client_target_conf *conf,
                                               struct ws_client_target **out, char *why,
                                               size_t why_size);

/* After the last connection to it has ended.  NULL is allowed. */
void ws_client_target_close(struct ws_client_target *target);

/* "ws://host:port/path (address)", for people; and whether it is TLS. */
const char *ws_client_target_name(const struct ws_client_target *target);
bool ws_client_target_is_tls(const struct ws_client_target *target);

/* Returns CX_EIO when the system has no descriptor left. */
CX_NODISCARD enum cx_err ws_client_loop_new(const struct ws_client_loop_conf *conf,
                                            struct ws_client_loop **out);

/* Drops every connection that is left (no on_end), then frees.  NULL is allowed. */
void ws_client_loop_free(struct ws_client_loop *loop);

/* One turn: sends what is queued, waits for input until wake_ns (monotonic; 0: does not
 * wait), calls the handlers.  A signal ends the wait. */
void ws_client_loop_turn(struct ws_client_loop *loop, uint64_t wake_ns);

/* Monotonic time. */
uint64_t ws_client_now_ns(void);

/* When the read that is being handled ended: one clock call a read, not one a message. */
uint64_t ws_client_loop_stamp_ns(const struct ws_client_loop *loop);

/* Starts a connection: on_open follows after the upgrade, or on_end.  Connections to a
 * loopback address leave from 127.0.0.2 to 127.0.0.251 in turn, each with ports of its own.
 * Returns CX_EIO when no socket is to be had (errno says why); nothing follows then. */
CX_NODISCARD enum cx_err ws_client_open(struct ws_client_loop *loop,
                                        const struct ws_client_target *target,
                                        const struct ws_client_handlers *handlers, void *user,
                                        struct ws_client **out);

/* The value given to ws_client_open. */
void *ws_client_user(const struct ws_client *conn);

/* Queues one frame: masked while it is copied.  Only after on_open; on a connection that is
 * closing it does nothing. */
void ws_client_send(struct ws_client *conn, enum ws_client_op op, const void *data, size_t len);

/* Sends a close frame; on_end follows when the server has answered it (or broke off). */
void ws_client_close(struct ws_client *conn, uint16_t code);

/* Ends the connection at once, on_end is not called.  abort: with a TCP reset, so that no
 * port stays in TIME_WAIT. */
void ws_client_drop(struct ws_client *conn);
void ws_client_abort(struct ws_client *conn);

#endif
