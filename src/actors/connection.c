/* SPDX-License-Identifier: MIT */
/* 1. Frames are taken in order; one that the account actor works on may hold back those behind it
 *    (connection_held.c).
 * 2. Every frame is given back to the adapter once (ws_consumed) when its work is done, so what is on
 *    its way for one client is bounded by the adapter's limit.
 * 3. A send whose outcome does not come at all closes the connection: no answer is not an answer. */
#include "actors/connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cx/trace.h>

#include "actors/account.h"
#include "actors/connection_state.h"
#include "actors/gateway.h"
#include "actors/hub.h"
#include "io/inbox.h"
#include "io/store.h"
#include "io/websocket.h"
#include "wire/client_frame.h"
#include "wire/server_frame.h"

#define AUTH_MS 30000
#define PING_MS 30000
#define PONG_MS 60000
#define HELD_LOOK_MS 500
#define ANSWER_MIN_MS 100 /* for what came out of being held at the last moment */

void connection_give_back(struct connection *c, uint32_t bytes)
{
	c->done_frames++;
	c->done_bytes += bytes;
}

uint32_t connection_time_left_ms(const struct cx_ctx *ctx, const struct connection *c)
{
	const uint64_t waited_ms = cx_now_ms(ctx) - c->frame_ms;

	return waited_ms + ANSWER_MIN_MS < ANSWER_MS ? (uint32_t)(ANSWER_MS - waited_ms)
	                                             : ANSWER_MIN_MS;
}

static void answer(struct cx_ctx *ctx, struct connection *c, struct cx_buf *frame)
{
	const enum cx_err err =
		ws_send(ctx, c->ws, frame, 0, (uint32_t)cx_buf_len(frame), WS_ANSWER);

	(void)err; /* the socket is gone: WS_CLOSED is on its way */
	cx_buf_unref(frame);
}

void connection_answer_error(struct cx_ctx *ctx, struct connection *c, enum error_code code,
                             const char *text, struct wire_slice message_id)
{
	answer(ctx, c, relay_error_frame(code, text, message_id));
}

void connection_close(struct cx_ctx *ctx, struct connection *c, uint16_t code,
                      const char *reason)
{
	enum cx_err err;

	if (c->phase == CONNECTION_CLOSING)
		return;
	if (c->phase == CONNECTION_LIVE)
		cursor_stop(ctx, c);
	session_forget(ctx, c);
	c->phase = CONNECTION_CLOSING;
	err = ws_close(ctx, c->ws, code, reason);
	(void)err; /* the socket is gone: WS_CLOSED is on its way */
}

/* ---- sends ---- */

static struct cx_buf *message_frame(const struct chat_message *m)
{
	const size_t room = m->content.len + 1024;
	struct cx_buf *buf = cx_buf_new(room);
	const size_t len = server_frame_message(cx_buf_data(buf), room, m);

	cx_assert(len <= room);
	cx_buf_trim(buf, len);
	return buf;
}

static enum error_code judge_send(const struct connection *c, const struct chat_message *m)
{
	const struct wire_slice domain =
		c->relay->domain != NULL ? wire_text(c->relay->domain) : wire_slice(NULL, 0);

	if (!uuid_equal(&m->from.user, &c->user) || !user_address_is_local(&m->from, domain))
		return ERROR_FORBIDDEN;
	if (!user_address_is_local(&m->to, domain))
		return ERROR_USER_NOT_FOUND;
	return ERROR_NONE;
}

static void submit(struct cx_ctx *ctx, struct connection *c, const struct client_frame *f,
                   enum error_code code, uint32_t frame_bytes)
{
	struct gateway_submit s = { .sender = c->user,
		                    .code = code,
		                    .frame_bytes = frame_bytes };
	struct cx_buf *frame = NULL;
	uint64_t corr;

	if (s.code == ERROR_NONE)
		s.code = judge_send(c, &f->send);
	if (s.code != ERROR_NONE) {
		frame = relay_error_frame(s.code, NULL, f->message_id);
	} else {
		cx_trace_mark(ctx);
		uuid_format_case(&f->send.id, f->send.id_case, s.id);
		s.owner = f->send.to.user;
		s.key = f->send.id;
		s.key_case = f->send.id_case;
		frame = message_frame(&f->send);
	}
	if (gateway_submit(ctx, c->relay, &s, frame, connection_time_left_ms(ctx, c), &corr) ==
	    CX_OK)
		c->sends++;
	else
		connection_close(ctx, c, 1013, "busy"); /* inv. 3 */
	cx_buf_unref(frame);
}

static void close_when_drained(struct cx_ctx *ctx, struct connection *c)
{
	char reason[48];

	if (!c->is_draining || c->sends > 0 || c->settles != NULL || c->is_busy)
		return;
	snprintf(reason, sizeof(reason), "restart, reconnect in %u ms",
	         (unsigned)(c->drain_jitter_ms > 0 ? cx_random(ctx) % c->drain_jitter_ms : 0));
	connection_close(ctx, c, 1012, reason);
}

static void on_settled(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;

	ack_settled(ctx, c, msg->corr,
	            CX_MSG_AS(struct inbox_settled, msg)->outcome != INBOX_FAILED);
	close_when_drained(ctx, c);
}

static void on_outcome(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;
	const struct gateway_outcome *m = CX_MSG_AS(struct gateway_outcome, msg);
	struct cx_buf *buf;
	struct uuid id;
	uint32_t id_case;

	c->sends--;
	connection_give_back(c, m->frame_bytes);
	if (msg->buf != NULL) {
		answer(ctx, c, cx_buf_ref(msg->buf));
	} else if (m->code != ERROR_NONE) {
		connection_answer_error(ctx, c, m->code, m->text, wire_text(m->id));
	} else if (uuid_parse(wire_text(m->id), &id, &id_case)) {
		buf = cx_buf_new(SERVER_FRAME_ACCEPTED_LEN);
		cx_buf_trim(buf, server_frame_ack(cx_buf_data(buf), SERVER_FRAME_ACCEPTED_LEN,
		                                  &id, id_case, ACK_ACCEPTED));
		answer(ctx, c, buf);
	}
	close_when_drained(ctx, c);
}

/* ---- requests about accounts ---- */

static void ask_account(struct cx_ctx *ctx, struct connection *c, struct cx_buf *frame,
                        enum frame_lane lane)
{
	static const struct uuid nobody;
	const bool is_live = c->phase == CONNECTION_LIVE;

	if (account_request(ctx, c->relay, is_live ? &c->user : &nobody,
	                    is_live ? &c->jti : &nobody, &c->origin, frame, ACCOUNT_MS,
	                    &c->account_corr) != CX_OK) {
		connection_answer_error(ctx, c, ERROR_SERVER_ERROR, NULL, wire_slice(NULL, 0));
		connection_give_back(c, (uint32_t)cx_buf_len(frame));
		return;
	}
	c->is_busy = 1;
	c->is_exclusive = lane == LANE_EXCLUSIVE;
	c->busy_frame_bytes = (uint32_t)cx_buf_len(frame);
}

/* ---- frames ---- */

/* What a frame that makes sense only after login gets before it. */
static enum error_code needs_login(enum client_type type)
{
	switch (type) {
	case CLIENT_SEND_MESSAGE:
	case CLIENT_ACKNOWLEDGE_MESSAGE:
	case CLIENT_ROTATE_PREKEY:
		return ERROR_AUTH_REQUIRED;
	case CLIENT_REGISTER_DEVICE_TOKEN:
	case CLIENT_UNREGISTER_DEVICE_TOKEN:
	case CLIENT_UPDATE_DEVICE_TOKEN:
		return ERROR_UNAUTHORIZED;
	default:
		return ERROR_NONE;
	}
}

static void take_decoded(struct cx_ctx *ctx, struct connection *c, struct cx_buf *buf,
                         const struct client_frame *f, enum error_code code)
{
	const uint32_t bytes = (uint32_t)cx_buf_len(buf);
	const enum error_code login = needs_login(f->type);

	if (login != ERROR_NONE && c->phase != CONNECTION_LIVE &&
	    code != ERROR_INVALID_FORMAT) {
		connection_answer_error(ctx, c, login, NULL, f->message_id);
		connection_give_back(c, bytes);
	} else if (f->type == CLIENT_SEND_MESSAGE && c->phase == CONNECTION_LIVE) {
		submit(ctx, c, f, code, bytes); /* refused ones too: they keep their place */
	} else if (code != ERROR_NONE) {
		connection_answer_error(ctx, c, code, NULL, f->message_id);
		connection_give_back(c, bytes);
	} else if (f->type == CLIENT_ACKNOWLEDGE_MESSAGE) {
		ack_take(ctx, c, f, bytes);
	} else {
		ask_account(ctx, c, buf, frame_lane_of(f->type));
	}
}

/* was_held: it has waited already, now is its turn. */
static void take_frame(struct cx_ctx *ctx, struct connection *c, struct cx_buf *buf,
                       bool is_text, bool was_held)
{
	struct client_frame f = { .type = CLIENT_UNKNOWN };
	enum error_code code = ERROR_INVALID_FORMAT;
	enum frame_lane lane;

	if (!is_text)
		code = client_frame_decode(cx_buf_bytes(buf), cx_buf_len(buf), &f);
	lane = frame_lane_of(f.type);
	if (!was_held && held_must_wait(c, lane))
		held_add(ctx, c, buf, is_text ? HELD_TEXT : HELD_BINARY, lane);
	else
		take_decoded(ctx, c, buf, &f, code);
}

static void on_frame(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;

	if (c->phase == CONNECTION_CLOSING || c->is_draining)
		return; /* it gets no answer: the connection closes */
	c->frame_ms = cx_now_ms(ctx);
	take_frame(ctx, c, msg->buf, CX_MSG_AS(struct ws_frame_in, msg)->is_text != 0, false);
}

static void on_ping(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;

	if (c->phase == CONNECTION_CLOSING || c->is_draining)
		return; /* an acknowledgement before it may have been dropped: no pong is no promise */
	/* Pings are answered during a login; only what is held may hold acknowledgements. */
	if (c->held != NULL && held_must_wait(c, LANE_MESSAGE))
		held_add(ctx, c, msg->buf, HELD_PING, LANE_MESSAGE);
	else
		ack_take_ping(ctx, c, msg->buf);
}

static void take_held(struct cx_ctx *ctx, struct connection *c)
{
	struct held_frame h;

	while (c->phase != CONNECTION_CLOSING && held_take(c, &h)) {
		c->frame_ms = h.since_ms;
		if (h.kind == HELD_PING)
			ack_take_ping(ctx, c, h.bytes);
		else
			take_frame(ctx, c, h.bytes, h.kind == HELD_TEXT, true);
		cx_buf_unref(h.bytes);
	}
}

static void leave(struct cx_ctx *ctx, struct connection *c)
{
	cursor_stop(ctx, c);
	session_forget(ctx, c);
	c->jti = (struct uuid){ 0 }; /* a kick that is on its way means the past */
	c->phase = CONNECTION_NEW;
	c->began_ms = cx_now_ms(ctx);
	connection_tick_in(ctx, c, AUTH_MS);
}

/* The user it was already goes on where the cursor is: what was sent does not come twice. */
static void become(struct cx_ctx *ctx, struct connection *c, const struct account_answer *m)
{
	const bool is_same = uuid_equal(&c->user, &m->user);

	if (m->effect == ACCOUNT_NOTHING)
		return;
	if (m->effect == ACCOUNT_ENDED) {
		connection_close(ctx, c, 4401, "session ended");
		return;
	}
	if (c->phase == CONNECTION_LIVE && !(is_same && m->effect == ACCOUNT_AUTHENTICATED))
		leave(ctx, c);
	if (m->effect != ACCOUNT_AUTHENTICATED)
		return;
	session_forget(ctx, c);
	c->jti = m->jti;
	c->user = m->user;
	c->phase = CONNECTION_LIVE;
	c->last_pong_ms = cx_now_ms(ctx);
	cursor_start(ctx, c, is_same ? CURSOR_GO_ON : CURSOR_ANEW);
	session_look(ctx, c); /* after the join: connection_session.c, 1 */
}

static bool is_too_late(const struct cx_ctx *ctx, const struct connection *c)
{
	return c->phase == CONNECTION_NEW && cx_now_ms(ctx) - c->began_ms >= AUTH_MS;
}

/* A request is done.  Those that wait behind it do not prolong the time to authenticate. */
static void go_on(struct cx_ctx *ctx, struct connection *c)
{
	if (is_too_late(ctx, c))
		connection_close(ctx, c, 4401, "not authenticated in time");
	else
		take_held(ctx, c);
}

static void on_account(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;

	if (!c->is_busy || msg->corr != c->account_corr)
		return;
	c->is_busy = 0;
	connection_give_back(c, c->busy_frame_bytes);
	if (c->phase != CONNECTION_CLOSING) {
		answer(ctx, c, cx_buf_ref(msg->buf));
		become(ctx, c, CX_MSG_AS(struct account_answer, msg));
		go_on(ctx, c);
	}
	close_when_drained(ctx, c);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;

	if (cursor_on_error(c, msg)) {
		connection_tick_in(ctx, c, 1000);
		return;
	}
	if (session_on_error(ctx, c, msg)) {
		/* asked again later */
	} else if (ack_settled(ctx, c, msg->corr, false)) {
		/* told */
	} else if (c->is_busy && msg->corr == c->account_corr) {
		c->is_busy = 0;
		connection_give_back(c, c->busy_frame_bytes);
		connection_answer_error(ctx, c, ERROR_SERVER_ERROR, NULL, wire_slice(NULL, 0));
		if (c->phase == CONNECTION_LIVE)
			session_doubt(ctx, c);
		go_on(ctx, c);
	} else { /* inv. 3 */
		c->sends--;
		connection_close(ctx, c, 1011, "no answer from the server");
	}
	close_when_drained(ctx, c);
}

/* ---- time ---- */

void connection_tick_in(struct cx_ctx *ctx, struct connection *c, uint64_t ms)
{
	if (!cx_timer_is_armed(&c->tick) || c->tick.due_ms > cx_now_ms(ctx) + ms + 1)
		cx_timer_arm(ctx, &c->tick, ms, TIMER_A);
}

void connection_ping(struct cx_ctx *ctx, struct connection *c)
{
	const enum cx_err err = ws_ping(ctx, c->ws, ++c->ping_number);

	(void)err; /* the socket is gone */
	c->pinged_ms = cx_now_ms(ctx);
}

static void on_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;
	const uint64_t now_ms = cx_now_ms(ctx);

	(void)msg;
	if (c->phase == CONNECTION_CLOSING)
		return;
	if (is_too_late(ctx, c) && !c->is_busy) {
		connection_close(ctx, c, 4401, "not authenticated in time");
		return;
	}
	if (now_ms - c->last_pong_ms >= PONG_MS) {
		connection_close(ctx, c, 1001, "no pong");
		return;
	}
	if (held_is_late(c, now_ms)) {
		connection_close(ctx, c, 1013, "busy"); /* promise 1 */
		return;
	}
	if (c->cursor.unconfirmed > 0 && c->cursor.confirming == 0) {
		cursor_confirm(ctx, c);
	} else if (now_ms - c->pinged_ms >= PING_MS) {
		connection_ping(ctx, c);
	}
	if (c->phase == CONNECTION_LIVE) {
		cursor_tick(ctx, c);
		session_look(ctx, c);
	}
	/* a tick that came for something else does not put off the next ping */
	connection_tick_in(ctx, c,
	                   now_ms - c->pinged_ms < PING_MS ? c->pinged_ms + PING_MS - now_ms
	                                                   : PING_MS);
	connection_tick_in(ctx, c, c->last_pong_ms + PONG_MS - now_ms);
	if (c->held != NULL)
		connection_tick_in(ctx, c, HELD_LOOK_MS);
}

static void on_pong(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;

	c->last_pong_ms = cx_now_ms(ctx);
	cursor_on_pong(ctx, c, CX_MSG_AS(struct ws_pong_in, msg)->number);
}

static void on_session(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	if (session_is_over(ctx, state, msg))
		connection_close(ctx, state, 4401, "session ended");
}

/* ---- the end ---- */

static void on_kicked(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct hub_kicked *m = CX_MSG_AS(struct hub_kicked, msg);
	const struct connection *c = state;
	const uint16_t code = m->code;

	if (!uuid_equal(&m->user, &c->user) || !uuid_equal(&m->jti, &c->jti))
		return;   /* late: it is another's by now, and joined again as that */
	if (code == 4409) /* for clients that do not see close codes */
		connection_answer_error(ctx, state, ERROR_TOO_MANY_CONNECTIONS, NULL,
		                        wire_slice(NULL, 0));
	connection_close(ctx, state, code,
	                 code == 4409 ? "too many connections" : "session ended");
}

static void on_drain(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;

	c->is_draining = 1;
	c->drain_jitter_ms = CX_MSG_AS(struct ws_drain_in, msg)->jitter_ms;
	close_when_drained(ctx, c);
}

static void on_closed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;

	(void)msg;
	if (c->phase == CONNECTION_LIVE)
		cursor_stop(ctx, c);
	session_forget(ctx, c);
	c->phase = CONNECTION_CLOSING;
	cx_stop(ctx);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	const struct ws_connection_conf *cc = conf;
	struct connection *c = state;

	c->relay = cc->context;
	c->ws = cc->handle;
	c->origin = cc->origin;
	c->window_max = cc->window_bytes;
	c->cursor.window = cc->window_bytes;
	c->settles_end = &c->settles;
	c->held_end = &c->held;
	c->began_ms = cx_now_ms(ctx);
	c->last_pong_ms = c->began_ms;
	c->pinged_ms = c->began_ms;
	connection_tick_in(ctx, c, AUTH_MS);
	return CX_OK;
}

static void batch_end(struct cx_ctx *ctx, void *state)
{
	struct connection *c = state;

	if (c->done_frames > 0 || c->done_bytes > 0) {
		const enum cx_err err = ws_consumed(ctx, c->ws, c->done_frames, c->done_bytes);

		(void)err; /* the socket is gone */
		c->done_frames = 0;
		c->done_bytes = 0;
	}
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct connection *c = state;

	(void)ctx;
	cursor_drop_all(c);
	held_drop_all(c);
	ack_drop_all(c);
}

static const struct cx_handler handlers[] = {
	CX_ON(WS_FRAME, struct ws_frame_in, on_frame),
	CX_ON(WS_PING, struct ws_ping_in, on_ping),
	CX_ON(WS_PONG, struct ws_pong_in, on_pong),
	CX_ON(WS_CREDIT, struct ws_credit, cursor_on_credit),
	CX_ON(HUB_PUSH, struct hub_push, cursor_on_push),
	CX_ON(HUB_LOOK, struct hub_look, cursor_on_look),
	CX_ON(INBOX_ENTRIES, struct inbox_entries, cursor_on_entries),
	CX_ON(INBOX_SETTLED, struct inbox_settled, on_settled),
	CX_ON(GATEWAY_OUTCOME, struct gateway_outcome, on_outcome),
	CX_ON(ACCOUNT_ANSWER, struct account_answer, on_account),
	CX_ON(STORE_RESULT, struct store_result, on_session),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
	CX_ON(TIMER_A, struct cx_msg_timer, on_tick),
	CX_ON(HUB_KICKED, struct hub_kicked, on_kicked),
	CX_ON(WS_DRAIN, struct ws_drain_in, on_drain),
	CX_ON(WS_CLOSED, struct ws_closed, on_closed),
};

const struct cx_actor_type connection_type = {
	.name = "connection",
	.state_size = sizeof(struct connection),
	.conf_size = sizeof(struct ws_connection_conf),
	.mailbox_cap = 1024,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.batch_end = batch_end,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
