/* SPDX-License-Identifier: MIT */
/* State of a connection, shared by its two halves: connection.c (the client's requests) and
 * connection_cursor.c (the way of the inbox to the client).  Nobody else includes this. */
#ifndef ACTORS_CONNECTION_STATE_H
#define ACTORS_CONNECTION_STATE_H

#include "actors/relay.h"
#include "io/websocket.h"

enum connection_phase {
	CONNECTION_NEW,     /* nobody's; -> LIVE by an account's answer, or closed after 30 s */
	CONNECTION_LIVE,    /* a user's; -> NEW by logout */
	CONNECTION_CLOSING, /* ws_close was sent; waits for WS_CLOSED */
};

/* The inbox on its way to this client.
 * 1. Everything up to `sent` was handed to the socket, or was gone before, in order, once.
 * 2. A push is written only when its predecessor is `sent`, nothing is being read and the window is
 *    open; otherwise `seen` remembers that there is more, and reading on from `sent` gets it. */
struct cursor {
	uint64_t sent;
	uint64_t seen;      /* highest id that was pushed or is known to wait */
	uint64_t read_corr; /* not 0: a read is on its way */
	int64_t window;     /* bytes that may be sent now */
	uint64_t receipt;   /* the last receipt that was sent */
	uint64_t
		confirming; /* receipts up to here are confirmed by the ping on its way; 0: none */
	uint32_t unconfirmed;
};

struct settle;
struct held;

struct connection {
	const struct relay *relay;
	struct ws_handle ws;
	struct uuid user, jti;
	enum connection_phase phase;
	uint8_t is_draining;
	uint8_t is_busy; /* an account request is on its way: frames are held back */
	uint16_t sends;  /* on their way */
	uint32_t window_max;
	uint32_t drain_jitter_ms;
	uint32_t done_frames, done_bytes; /* to give back at the end of the turn */
	uint64_t account_corr;
	uint32_t busy_frame_bytes;
	uint64_t ping_number;
	uint64_t last_pong_ms, pinged_ms, began_ms;
	struct settle *settles, **settles_end; /* acknowledgements on their way, in order */
	struct held *held, **held_end;         /* frames (and pings) that wait their turn */
	struct cursor cursor;
	struct cx_timer tick;
};

/* connection_cursor.c */
void cursor_start(struct cx_ctx *ctx, struct connection *c);
void cursor_stop(struct cx_ctx *ctx, struct connection *c);
/* Something may wait: read on, unless a read is on its way or the window is closed. */
void cursor_read_on(struct cx_ctx *ctx, struct connection *c);
void cursor_on_push(struct cx_ctx *ctx, void *state, const struct cx_msg *msg);
void cursor_on_entries(struct cx_ctx *ctx, void *state, const struct cx_msg *msg);
/* false: this error answered something else. */
bool cursor_on_error(struct connection *c, const struct cx_msg *msg);
void cursor_on_credit(struct cx_ctx *ctx, void *state, const struct cx_msg *msg);
/* Receipts that were sent: find out by a ping whether they have arrived. */
void cursor_confirm(struct cx_ctx *ctx, struct connection *c);
void cursor_on_pong(struct cx_ctx *ctx, struct connection *c, uint64_t number);

/* connection.c: a ping to the client, which comes back as a number. */
void connection_ping(struct cx_ctx *ctx, struct connection *c);
/* connection.c: look again at the timer, at the latest in ms. */
void connection_tick_in(struct cx_ctx *ctx, struct connection *c, uint64_t ms);

#endif
