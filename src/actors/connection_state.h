/* SPDX-License-Identifier: MIT */
/* State of a connection, shared by its parts: connection.c (the client's requests), connection_held.c
 * (those that wait behind an account request), connection_ack.c (acknowledgements and pings),
 * connection_session.c (does the session still exist) and connection_cursor.c (the way of the inbox
 * to the client).  Nobody else includes this. */
#ifndef ACTORS_CONNECTION_STATE_H
#define ACTORS_CONNECTION_STATE_H

#include "actors/relay.h"
#include "io/websocket.h"
#include "wire/client_frame.h"

/* A send is answered within 15 s of its frame, or its connection closes: */
#define ANSWER_MS 14500  /* this long for all of it, */
#define HELD_MS 12500    /* this long behind an account request, */
#define ACCOUNT_MS 12000 /* which has this long */

enum connection_phase {
	CONNECTION_NEW,     /* nobody's; -> LIVE by an account's answer, or closed after 30 s */
	CONNECTION_LIVE,    /* a user's; -> NEW by logout */
	CONNECTION_CLOSING, /* ws_close was sent; waits for WS_CLOSED */
};

/* The inbox on its way to this client.
 * 1. Everything up to `sent` was handed to the socket, or was gone before, in order, once.
 * 2. A push is written only when its predecessor is not after `sent`, nothing is being read, the window
 *    is open and no read is owed; otherwise `seen` remembers that there is more, and reading on from
 *    `sent` gets it.  One that comes during a read is held, and comes to that point when the read has
 *    ended: else each read would cause the next one.
 * 3. A read is owed from the start and after one that failed, until one succeeds: till then nobody
 *    knows what waits behind `sent`.
 * 4. With relay.receipts_apart a message's predecessor is a message, so receipts between the two may
 *    come after `sent` has passed them: 1 holds for messages alone.  Everything up to `floor` was
 *    handed out for certain; a look reads from there, and a receipt behind it that is not confirmed
 *    (else it would be gone) is written late, perhaps a second time; not when a read brought it, whose
 *    push came afterwards.  (An entry gets the highest id of its inbox: where was read comes none.)
 * 5. A Redis that has lost data gives out ids anew, but a message keeps its own (its place in the log).
 *    So all is read from the beginning, receipts come as new ones, and messages up to `shown` are passed
 *    over: this client has them.  But not those up to `sent`, nor where it jumped last: an inbox that was just
 *    emptied is read to its end, as if what had waited there were acknowledged, before anybody knows of the
 *    loss, and a push from before may then be written.
 * 6. Of what was jumped over, that which comes to be below `shown` must neither be hidden (inv. 5) nor be written
 *    behind younger ones of its sender.  So the connection closes: the next one is given all in order. */
struct cursor {
	uint64_t sent;
	uint64_t shown; /* the last message that was written; `sent` may be beyond it */
	uint64_t passed_from,
		passed_upto; /* between these `sent` jumped: nothing was there to show */
	uint64_t floor;
	uint64_t reading_from;
	uint64_t read_after, read_upto; /* reads brought all that is between these */
	uint64_t looked_ms;
	bool is_look;  /* the next read begins at floor */
	uint64_t seen; /* highest id that was pushed or is known to wait */
	bool is_read_owed;
	bool is_look_owed; /* the read on its way may have passed by what there is to see: once more */
	uint64_t read_corr;                   /* not 0: a read is on its way */
	int64_t window;                       /* bytes that may be sent now */
	uint64_t receipt;                     /* the last receipt that was sent */
	struct held_push *pushes, *last_push; /* that came during a read, in order */
	uint32_t push_count;
	uint64_t
		confirming; /* receipts up to here are confirmed by the ping on its way; 0: none */
	uint32_t unconfirmed;
};

struct settle;
struct held;
struct held_push;

struct connection {
	const struct relay *relay;
	struct ws_handle ws;
	struct ws_origin origin;
	struct uuid user, jti; /* of a NEW one: whose it was last, its cursor is kept */
	enum connection_phase phase;
	uint8_t is_draining;
	uint8_t is_busy;      /* an account request is on its way, */
	uint8_t is_exclusive; /* and holds back everything */
	uint16_t sends;       /* on their way */
	uint32_t window_max;
	uint32_t drain_jitter_ms;
	uint32_t done_frames, done_bytes; /* to give back at the end of the turn */
	uint64_t account_corr;
	uint64_t session_corr;   /* not 0: the store is asked whether the session lives */
	uint64_t session_due_ms; /* when it is asked next */
	uint32_t busy_frame_bytes;
	uint64_t ping_number;
	uint64_t last_pong_ms, pinged_ms, began_ms;
	uint64_t frame_ms;                     /* when the frame at hand came */
	struct settle *settles, **settles_end; /* acknowledgements on their way, in order */
	struct held *held, **held_end;         /* frames (and pings) that wait their turn */
	uint32_t held_exclusive;               /* of them, exclusive ones */
	struct cursor cursor;
	struct cx_timer tick;
};

/* connection_cursor.c: joins the hub and reads on. */
enum cursor_begin { CURSOR_ANEW, CURSOR_GO_ON };
void cursor_start(struct cx_ctx *ctx, struct connection *c, enum cursor_begin begin);
void cursor_stop(struct cx_ctx *ctx, struct connection *c);
/* Gives back what it holds. */
void cursor_drop_all(struct connection *c);
/* Something may wait: read on, unless a read is on its way or the window is closed. */
void cursor_read_on(struct cx_ctx *ctx, struct connection *c);
/* A push may have been lost: see what there is. */
void cursor_look(struct cx_ctx *ctx, struct connection *c);
/* At the timer: a look when it is time for one, or a read that is owed; and when to come again. */
void cursor_tick(struct cx_ctx *ctx, struct connection *c);
void cursor_on_look(struct cx_ctx *ctx, void *state, const struct cx_msg *msg);
void cursor_on_push(struct cx_ctx *ctx, void *state, const struct cx_msg *msg);
void cursor_on_entries(struct cx_ctx *ctx, void *state, const struct cx_msg *msg);
/* false: this error answered something else. */
bool cursor_on_error(struct connection *c, const struct cx_msg *msg);
void cursor_on_credit(struct cx_ctx *ctx, void *state, const struct cx_msg *msg);
/* Receipts that were sent: find out by a ping whether they have arrived. */
void cursor_confirm(struct cx_ctx *ctx, struct connection *c);
void cursor_on_pong(struct cx_ctx *ctx, struct connection *c, uint64_t number);

/* connection_session.c: ask about the session when it is time; forget what was asked. */
void session_look(struct cx_ctx *ctx, struct connection *c);
void session_forget(struct cx_ctx *ctx, struct connection *c);
/* Something may have ended it: ask soon. */
void session_doubt(struct cx_ctx *ctx, struct connection *c);
/* It may have ended without our hearing of it: ask within about that time. */
void session_missed(struct cx_ctx *ctx, struct connection *c, uint32_t within_ms);
/* The store's answer; true: the session is no more. */
bool session_is_over(struct cx_ctx *ctx, struct connection *c, const struct cx_msg *msg);
/* false: this error answered something else. */
bool session_on_error(struct cx_ctx *ctx, struct connection *c, const struct cx_msg *msg);

/* connection_ack.c */
void ack_take(struct cx_ctx *ctx, struct connection *c, const struct client_frame *f,
              uint32_t frame_bytes);
/* Answers at once, or when the acknowledgements before it are done. */
void ack_take_ping(struct cx_ctx *ctx, struct connection *c, struct cx_buf *payload);
/* The inbox's answer; false: corr was no acknowledgement's. */
bool ack_settled(struct cx_ctx *ctx, struct connection *c, uint64_t corr, bool is_stored);
void ack_drop_all(struct connection *c);

/* connection_held.c */
enum held_kind { HELD_BINARY, HELD_TEXT, HELD_PING };
enum frame_lane {
	LANE_MESSAGE,   /* messages, acknowledgements, pings, what cannot be read */
	LANE_ACCOUNT,   /* about an account; whose connection this is stays as it is */
	LANE_EXCLUSIVE, /* decides whose connection this is */
};
struct held_frame {
	struct cx_buf *bytes; /* the caller's reference */
	uint64_t since_ms;
	enum held_kind kind;
};
enum frame_lane frame_lane_of(enum client_type type);
bool held_must_wait(const struct connection *c, enum frame_lane lane);
/* Keeps: a reference on bytes. */
void held_add(struct cx_ctx *ctx, struct connection *c, struct cx_buf *bytes,
              enum held_kind kind, enum frame_lane lane);
/* The next one that need not wait any longer; false: none. */
bool held_take(struct connection *c, struct held_frame *out);
/* A message has waited so long that it cannot be answered in time. */
bool held_is_late(const struct connection *c, uint64_t now_ms);
void held_drop_all(struct connection *c);

/* connection.c: no more is written; closing twice is closing once. */
void connection_close(struct cx_ctx *ctx, struct connection *c, uint16_t code,
                      const char *reason);
/* connection.c: the frame at hand is done: its bytes may come again. */
void connection_give_back(struct connection *c, uint32_t bytes);
/* connection.c: how long the frame at hand may still take. */
uint32_t connection_time_left_ms(const struct cx_ctx *ctx, const struct connection *c);
/* connection.c: as relay_error_frame. */
void connection_answer_error(struct cx_ctx *ctx, struct connection *c, enum error_code code,
                             const char *text, struct wire_slice message_id);
/* connection.c: a ping to the client, which comes back as a number. */
void connection_ping(struct cx_ctx *ctx, struct connection *c);
/* connection.c: look again at the timer, at the latest in ms. */
void connection_tick_in(struct cx_ctx *ctx, struct connection *c, uint64_t ms);

#endif
