/* SPDX-License-Identifier: MIT */
/* 1. Frames are taken in order; one that the account actor works on holds back those behind it.
 * 2. Every frame is given back to the adapter once (ws_consumed) when its work is done, so what is on
 *    its way for one client is bounded by the adapter's limit.
 * 3. A ping is answered when each acknowledgement before it is stored or has failed; never when one
 *    was dropped (draining).
 * 4. A send whose outcome does not come at all closes the connection: no answer is not an answer. */
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
#include "io/websocket.h"
#include "wire/client_frame.h"
#include "wire/server_frame.h"

#define AUTH_MS 30000
#define PING_MS 30000
#define PONG_MS 60000
#define ANSWER_MS 14500
#define ACCOUNT_MS 30000

struct settle { /* an acknowledgement, or a ping that waits for those before it */
	struct settle *next;
	uint64_t corr;       /* 0: a ping */
	struct cx_buf *ping; /* its payload, or NULL */
	bool is_done;
	char id[UUID_TEXT_LEN + 1];
};

enum held_kind { HELD_BINARY, HELD_TEXT, HELD_PING };

struct held {
	struct held *next;
	struct cx_buf *bytes; /* of the frame or the ping's payload */
	enum held_kind kind;
};

static void give_back(struct connection *c, uint32_t bytes)
{
	c->done_frames++;
	c->done_bytes += bytes;
}

static void answer(struct cx_ctx *ctx, struct connection *c, struct cx_buf *frame)
{
	const enum cx_err err =
		ws_send(ctx, c->ws, frame, 0, (uint32_t)cx_buf_len(frame), WS_ANSWER);

	(void)err; /* the socket is gone: WS_CLOSED is on its way */
	cx_buf_unref(frame);
}

static void answer_error(struct cx_ctx *ctx, struct connection *c, enum error_code code,
                         const char *text, struct wire_slice message_id)
{
	answer(ctx, c, relay_error_frame(code, text, message_id));
}

static void close_with(struct cx_ctx *ctx, struct connection *c, uint16_t code,
                       const char *reason)
{
	enum cx_err err;

	if (c->phase == CONNECTION_CLOSING)
		return;
	if (c->phase == CONNECTION_LIVE)
		cursor_stop(ctx, c);
	c->phase = CONNECTION_CLOSING;
	err = ws_close(ctx, c->ws, code, reason);
	(void)err; /* the socket is gone: WS_CLOSED is on its way */
}

/* ---- acknowledgements and the client's pings (inv. 3) ---- */

static struct settle *add_settle(struct connection *c)
{
	struct settle *s = calloc(1, sizeof(*s));

	cx_assert(s != NULL);
	*c->settles_end = s;
	c->settles_end = &s->next;
	return s;
}

static void pong(struct cx_ctx *ctx, struct connection *c, struct cx_buf *payload)
{
	const enum cx_err err = ws_pong(ctx, c->ws, payload);

	(void)err; /* the socket is gone */
}

static void release_settles(struct cx_ctx *ctx, struct connection *c)
{
	while (c->settles != NULL && (c->settles->is_done || c->settles->corr == 0)) {
		struct settle *s = c->settles;

		c->settles = s->next;
		if (c->settles == NULL)
			c->settles_end = &c->settles;
		if (s->corr == 0)
			pong(ctx, c, s->ping);
		cx_buf_unref(s->ping);
		free(s);
	}
}

static void finish_settle(struct cx_ctx *ctx, struct connection *c, uint64_t corr,
                          bool is_stored)
{
	struct settle *s = c->settles;

	while (s != NULL && s->corr != corr)
		s = s->next;
	if (s == NULL)
		return;
	s->is_done = true;
	give_back(c, 0);
	if (!is_stored)
		answer_error(ctx, c, ERROR_SERVER_ERROR, NULL, wire_text(s->id));
	release_settles(ctx, c);
}

static void copy_id(char *out, size_t room, struct wire_slice id)
{
	const size_t len = id.at == NULL ? 0 : id.len < room - 1 ? id.len : room - 1;

	if (len > 0)
		memcpy(out, id.at, len);
	out[len] = '\0';
}

static void on_acknowledge(struct cx_ctx *ctx, struct connection *c,
                           const struct client_frame *f, uint32_t frame_bytes)
{
	const struct client_acknowledge *ack = &f->acknowledge;
	const struct wire_slice domain =
		c->relay->domain != NULL ? wire_text(c->relay->domain) : wire_slice(NULL, 0);
	struct settle *s;
	uint64_t corr;

	/* another server's users have no message under a bare id here */
	if (!ack->is_delivered ||
	    (ack->has_from && !user_address_is_local(&ack->from, domain))) {
		give_back(c, frame_bytes);
		return;
	}
	if (inbox_settle(ctx, &c->relay->inbox, &c->user, &ack->id,
	                 ack->has_from ? &ack->from.user : NULL, ANSWER_MS, &corr) != CX_OK) {
		answer_error(ctx, c, ERROR_SERVER_ERROR, NULL, ack->message_id);
		give_back(c, frame_bytes);
		return;
	}
	c->done_bytes += frame_bytes; /* the frame itself when it is stored */
	s = add_settle(c);
	s->corr = corr;
	copy_id(s->id, sizeof(s->id), ack->message_id);
}

static void take_ping(struct cx_ctx *ctx, struct connection *c, struct cx_buf *payload)
{
	if (c->settles == NULL)
		pong(ctx, c, payload);
	else
		add_settle(c)->ping = cx_buf_ref(payload);
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
		copy_id(s.id, sizeof(s.id), f->message_id);
		s.owner = f->send.to.user;
		s.key = f->send.id;
		s.key_case = f->send.id_case;
		frame = message_frame(&f->send);
	}
	if (gateway_submit(ctx, c->relay, &s, frame, ANSWER_MS, &corr) == CX_OK)
		c->sends++;
	else
		close_with(ctx, c, 1013, "busy"); /* inv. 4 */
	cx_buf_unref(frame);
}

static void close_when_drained(struct cx_ctx *ctx, struct connection *c)
{
	char reason[48];

	if (!c->is_draining || c->sends > 0 || c->settles != NULL || c->is_busy)
		return;
	snprintf(reason, sizeof(reason), "restart, reconnect in %u ms",
	         (unsigned)(c->drain_jitter_ms > 0 ? cx_random(ctx) % c->drain_jitter_ms : 0));
	close_with(ctx, c, 1012, reason);
}

static void on_settled(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;

	finish_settle(ctx, c, msg->corr,
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
	give_back(c, m->frame_bytes);
	if (msg->buf != NULL) {
		answer(ctx, c, cx_buf_ref(msg->buf));
	} else if (m->code != ERROR_NONE) {
		answer_error(ctx, c, m->code, m->text, wire_text(m->id));
	} else if (uuid_parse(wire_text(m->id), &id, &id_case)) {
		buf = cx_buf_new(SERVER_FRAME_ACCEPTED_LEN);
		cx_buf_trim(buf, server_frame_ack(cx_buf_data(buf), SERVER_FRAME_ACCEPTED_LEN,
		                                  &id, id_case, ACK_ACCEPTED));
		answer(ctx, c, buf);
	}
	close_when_drained(ctx, c);
}

/* ---- requests about accounts ---- */

static void ask_account(struct cx_ctx *ctx, struct connection *c, struct cx_buf *frame)
{
	static const struct uuid nobody;
	const bool is_live = c->phase == CONNECTION_LIVE;

	if (account_request(ctx, c->relay, is_live ? &c->user : &nobody,
	                    is_live ? &c->jti : &nobody, frame, ACCOUNT_MS,
	                    &c->account_corr) != CX_OK) {
		answer_error(ctx, c, ERROR_SERVER_ERROR, NULL, wire_slice(NULL, 0));
		give_back(c, (uint32_t)cx_buf_len(frame));
		return;
	}
	c->is_busy = 1;
	c->busy_frame_bytes = (uint32_t)cx_buf_len(frame);
}

/* ---- frames ---- */

static void take_decoded(struct cx_ctx *ctx, struct connection *c, struct cx_buf *buf,
                         const struct client_frame *f, enum error_code code)
{
	const uint32_t bytes = (uint32_t)cx_buf_len(buf);
	const bool is_message =
		f->type == CLIENT_SEND_MESSAGE || f->type == CLIENT_ACKNOWLEDGE_MESSAGE;

	if (is_message && c->phase != CONNECTION_LIVE && code != ERROR_INVALID_FORMAT) {
		answer_error(ctx, c, ERROR_AUTH_REQUIRED, NULL, f->message_id);
		give_back(c, bytes);
	} else if (f->type == CLIENT_SEND_MESSAGE && c->phase == CONNECTION_LIVE) {
		submit(ctx, c, f, code, bytes); /* refused ones too: they keep their place */
	} else if (code != ERROR_NONE) {
		answer_error(ctx, c, code, NULL, f->message_id);
		give_back(c, bytes);
	} else if (f->type == CLIENT_ACKNOWLEDGE_MESSAGE) {
		on_acknowledge(ctx, c, f, bytes);
	} else {
		ask_account(ctx, c, buf);
	}
}

static void take_frame(struct cx_ctx *ctx, struct connection *c, struct cx_buf *buf,
                       bool is_text)
{
	struct client_frame f = { .type = CLIENT_UNKNOWN };
	enum error_code code = ERROR_INVALID_FORMAT;

	if (!is_text)
		code = client_frame_decode(cx_buf_bytes(buf), cx_buf_len(buf), &f);
	take_decoded(ctx, c, buf, &f, code);
}

/* inv. 1 */
static void hold(struct connection *c, struct cx_buf *bytes, enum held_kind kind)
{
	struct held *h = calloc(1, sizeof(*h));

	cx_assert(h != NULL);
	h->bytes = cx_buf_ref(bytes);
	h->kind = kind;
	*c->held_end = h;
	c->held_end = &h->next;
}

static void on_frame(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;
	const bool is_text = CX_MSG_AS(struct ws_frame_in, msg)->is_text != 0;

	if (c->phase == CONNECTION_CLOSING || c->is_draining)
		return; /* it gets no answer: the connection closes */
	if (c->is_busy || c->held != NULL)
		hold(c, msg->buf, is_text ? HELD_TEXT : HELD_BINARY);
	else
		take_frame(ctx, c, msg->buf, is_text);
}

static void on_ping(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;

	if (c->phase == CONNECTION_CLOSING || c->is_draining)
		return; /* an acknowledgement before it may have been dropped: no pong is no promise */
	if (c->held != NULL) /* an acknowledgement before it may be among them */
		hold(c, msg->buf, HELD_PING);
	else
		take_ping(ctx, c, msg->buf);
}

static void drop_held(struct connection *c)
{
	struct held *h = c->held;

	c->held = h->next;
	if (c->held == NULL)
		c->held_end = &c->held;
	cx_buf_unref(h->bytes);
	free(h);
}

static void take_held(struct cx_ctx *ctx, struct connection *c)
{
	while (c->held != NULL && !c->is_busy && c->phase != CONNECTION_CLOSING) {
		if (c->held->kind == HELD_PING)
			take_ping(ctx, c, c->held->bytes);
		else
			take_frame(ctx, c, c->held->bytes, c->held->kind == HELD_TEXT);
		drop_held(c);
	}
}

static void become(struct cx_ctx *ctx, struct connection *c, const struct account_answer *m)
{
	if (m->effect == ACCOUNT_NOTHING)
		return;
	if (c->phase == CONNECTION_LIVE) {
		cursor_stop(ctx, c);
		c->phase = CONNECTION_NEW;
		c->began_ms = cx_now_ms(ctx);
		connection_tick_in(ctx, c, AUTH_MS);
	}
	if (m->effect != ACCOUNT_AUTHENTICATED)
		return;
	c->user = m->user;
	c->jti = m->jti;
	c->phase = CONNECTION_LIVE;
	c->last_pong_ms = cx_now_ms(ctx);
	cursor_start(ctx, c);
}

static void on_account(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;

	if (!c->is_busy || msg->corr != c->account_corr)
		return;
	c->is_busy = 0;
	give_back(c, c->busy_frame_bytes);
	if (c->phase != CONNECTION_CLOSING) {
		answer(ctx, c, cx_buf_ref(msg->buf));
		become(ctx, c, CX_MSG_AS(struct account_answer, msg));
		take_held(ctx, c);
	}
	close_when_drained(ctx, c);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;
	const struct settle *s = c->settles;

	if (cursor_on_error(c, msg)) {
		connection_tick_in(ctx, c, 1000);
		return;
	}
	while (s != NULL && s->corr != msg->corr)
		s = s->next;
	if (s != NULL) {
		finish_settle(ctx, c, msg->corr, false);
	} else if (c->is_busy && msg->corr == c->account_corr) {
		c->is_busy = 0;
		give_back(c, c->busy_frame_bytes);
		answer_error(ctx, c, ERROR_SERVER_ERROR, NULL, wire_slice(NULL, 0));
		take_held(ctx, c);
	} else { /* inv. 4 */
		c->sends--;
		close_with(ctx, c, 1011, "no answer from the server");
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
	if (c->phase == CONNECTION_NEW && now_ms - c->began_ms >= AUTH_MS && !c->is_busy) {
		close_with(ctx, c, 4401, "not authenticated in time");
		return;
	}
	if (now_ms - c->last_pong_ms >= PONG_MS) {
		close_with(ctx, c, 1001, "no pong");
		return;
	}
	if (c->cursor.unconfirmed > 0 && c->cursor.confirming == 0) {
		cursor_confirm(ctx, c);
	} else if (now_ms - c->pinged_ms >= PING_MS) {
		connection_ping(ctx, c);
	}
	/* A lost push shows here at the latest. */
	if (c->phase == CONNECTION_LIVE)
		cursor_read_on(ctx, c);
	connection_tick_in(ctx, c, PING_MS);
}

static void on_pong(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;

	c->last_pong_ms = cx_now_ms(ctx);
	cursor_on_pong(ctx, c, CX_MSG_AS(struct ws_pong_in, msg)->number);
}

/* ---- the end ---- */

static void on_kicked(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint16_t code = CX_MSG_AS(struct hub_kicked, msg)->code;

	close_with(ctx, state, code, code == 4409 ? "too many connections" : "session ended");
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
	c->phase = CONNECTION_CLOSING;
	cx_stop(ctx);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	const struct ws_connection_conf *cc = conf;
	struct connection *c = state;

	c->relay = cc->context;
	c->ws = cc->handle;
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
	while (c->held != NULL)
		drop_held(c);
	while (c->settles != NULL) {
		struct settle *s = c->settles;

		c->settles = s->next;
		cx_buf_unref(s->ping);
		free(s);
	}
}

static const struct cx_handler handlers[] = {
	CX_ON(WS_FRAME, struct ws_frame_in, on_frame),
	CX_ON(WS_PING, struct ws_ping_in, on_ping),
	CX_ON(WS_PONG, struct ws_pong_in, on_pong),
	CX_ON(WS_CREDIT, struct ws_credit, cursor_on_credit),
	CX_ON(HUB_PUSH, struct hub_push, cursor_on_push),
	CX_ON(INBOX_ENTRIES, struct inbox_entries, cursor_on_entries),
	CX_ON(INBOX_SETTLED, struct inbox_settled, on_settled),
	CX_ON(GATEWAY_OUTCOME, struct gateway_outcome, on_outcome),
	CX_ON(ACCOUNT_ANSWER, struct account_answer, on_account),
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
