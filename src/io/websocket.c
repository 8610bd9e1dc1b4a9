/* SPDX-License-Identifier: MIT */
/* The adapter's actor: its turns, and the senders that others call. */
#include "io/websocket.h"

#include <stdio.h>
#include <string.h>

#include "io/loop_uv.h"
#include "io/websocket_internal.h"

#define BATCH_MAX 512

struct state {
	struct ws_adapter *adapter;
};

static void leave(void *arg)
{
	const struct ws_adapter *a = arg;

	cx_io_leave(a->ctx); /* runs batch_end */
}

void ws_enter(struct ws_adapter *a)
{
	if (a->ctx != NULL)
		return;
	loop_uv_at_end(a->loop, leave, a);
	a->ctx = cx_io_enter(a->worker, a->self);
}

static struct ws_adapter *begin(struct cx_ctx *ctx, void *state)
{
	struct ws_adapter *a = ((struct state *)state)->adapter;

	a->ctx = ctx;
	return a;
}

static void batch_end(struct cx_ctx *ctx, void *state)
{
	struct ws_adapter *a = begin(ctx, state);

	while (a->dirty != NULL) {
		struct ws_conn *c = a->dirty;

		a->dirty = c->dirty_next;
		c->is_dirty = false;
		if (c->phase != WS_FREE)
			ws_out_flush(c);
		else
			ws_conn_release(c);
	}
	a->is_woken = false;
	a->ctx = NULL;
}

/* What a connection's actor asks for.  These touch nothing but the connection and the dirty list. */

static void do_send(struct ws_adapter *a, struct ws_handle handle, struct cx_buf *buf,
                    uint32_t offset, uint32_t len, uint8_t kind)
{
	struct ws_conn *c = ws_conn_at(a, handle.index, handle.gen);

	if (c == NULL)
		return;
	if (c->phase == WS_OPEN)
		ws_out_push(c, buf, offset, len, kind);
	if (kind == WS_OUT_PONG && c->frames_in > 0) {
		c->frames_in--;
		ws_mark_dirty(c); /* it may be read again */
	}
}

static void do_consumed(struct ws_adapter *a, struct ws_handle handle, uint32_t frames,
                        uint32_t bytes)
{
	struct ws_conn *c = ws_conn_at(a, handle.index, handle.gen);

	if (c == NULL)
		return;
	c->frames_in -= frames < c->frames_in ? frames : c->frames_in;
	c->bytes_in -= bytes < c->bytes_in ? bytes : c->bytes_in;
	if (c->is_paused)
		ws_mark_dirty(c);
}

static void do_ping(struct ws_adapter *a, struct ws_handle handle, uint64_t number)
{
	struct ws_conn *c = ws_conn_at(a, handle.index, handle.gen);
	struct cx_buf *buf;

	if (c == NULL || c->phase != WS_OPEN)
		return;
	buf = cx_buf_copy(&number, sizeof(number));
	c->ping_number = number;
	ws_out_push(c, buf, 0, sizeof(number), WS_OUT_PING);
	cx_buf_unref(buf);
}

static void on_send(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct ws_send_msg *m = CX_MSG_AS(struct ws_send_msg, msg);
	const struct ws_handle handle = { .index = m->index, .gen = m->gen };

	do_send(begin(ctx, state), handle, msg->buf, m->offset, m->len, m->kind);
}

static void on_consumed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct ws_consumed_msg *m = CX_MSG_AS(struct ws_consumed_msg, msg);
	const struct ws_handle handle = { .index = m->index, .gen = m->gen };

	do_consumed(begin(ctx, state), handle, m->frames, m->bytes);
}

static void on_control(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct ws_adapter *a = begin(ctx, state);
	const struct ws_control_msg *m = CX_MSG_AS(struct ws_control_msg, msg);
	const struct ws_handle handle = { .index = m->index, .gen = m->gen };
	struct ws_conn *c;

	switch ((enum ws_control)m->what) {
	case WS_CONTROL_FLUSH: /* batch_end does */
		break;
	case WS_CONTROL_RELOAD:
		ws_tls_swap(a);
		break;
	case WS_CONTROL_PING:
		do_ping(a, handle, m->number);
		break;
	case WS_CONTROL_CLOSE:
		c = ws_conn_at(a, m->index, m->gen);
		if (c == NULL || c->phase != WS_OPEN)
			break;
		ws_say_close(c, m->code, m->reason, strnlen(m->reason, sizeof(m->reason)));
		ws_begin_closing(c, WS_AWAIT_CLOSE, WS_LIST_CLOSING);
		break;
	}
}

static void drain_all(struct ws_adapter *a)
{
	for (uint32_t i = 0; i < a->chunk_count * WS_CHUNK; i++) {
		struct ws_conn *c = &a->chunks[i / WS_CHUNK][i % WS_CHUNK];

		if (c->phase == WS_OPEN)
			ws_tell_drain(c);
	}
}

static void on_listen(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct ws_adapter *a = begin(ctx, state);
	const struct ws_listen_msg *m = CX_MSG_AS(struct ws_listen_msg, msg);

	switch ((enum ws_listen)m->what) {
	case WS_LISTEN_START:
		ws_accept_start(a);
		break;
	case WS_LISTEN_STOP:
		ws_accept_stop(a);
		break;
	case WS_LISTEN_DRAIN:
		ws_accept_stop(a);
		a->is_draining = true;
		a->jitter_ms = m->jitter_ms;
		drain_all(a);
		break;
	}
}

static void on_respond(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct ws_adapter *a = begin(ctx, state);
	const struct http_respond_msg *m = CX_MSG_AS(struct http_respond_msg, msg);
	struct ws_conn *c = ws_conn_at(a, m->index, m->gen);

	if (c != NULL && c->phase == WS_HTTP)
		ws_respond(c, m->status, m->content_type, m->headers, msg->buf);
}

static void on_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct ws_adapter *a = begin(ctx, state);

	(void)msg;
	if (ws_deadlines(a, cx_now_ms(ctx)))
		ws_tick_later(a);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct ws_adapter *a;

	(void)conf;
	a = ws_adapter_of(cx_worker_index(ctx));
	if (a == NULL)
		return CX_EINVAL;
	((struct state *)state)->adapter = a;
	a->self = cx_self(ctx);
	a->worker = cx_worker_of(ctx);
	return CX_OK;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct ws_adapter *a = begin(ctx, state);

	ws_accept_stop(a);
	for (uint32_t i = 0; i < a->chunk_count * WS_CHUNK; i++) {
		struct ws_conn *c = &a->chunks[i / WS_CHUNK][i % WS_CHUNK];

		if (c->phase != WS_FREE)
			ws_conn_free(c);
	}
	ws_lws_close(a);
	a->ctx = NULL;
}

static const struct cx_handler handlers[] = {
	CX_ON(WS_SEND, struct ws_send_msg, on_send),
	CX_ON(WS_CONTROL, struct ws_control_msg, on_control),
	CX_ON(WS_CONSUMED, struct ws_consumed_msg, on_consumed),
	CX_ON(WS_LISTEN, struct ws_listen_msg, on_listen),
	CX_ON(HTTP_RESPOND, struct http_respond_msg, on_respond),
	CX_ON(TIMER_A, struct cx_msg_timer, on_tick),
};

const struct cx_actor_type websocket_type = {
	.name = "websocket",
	.state_size = sizeof(struct state),
	.mailbox_cap = 1024,
	.batch_max = BATCH_MAX,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.batch_end = batch_end,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

enum cx_err ws_listen(struct cx_ctx *ctx, struct cx_ref adapter, enum ws_listen what,
                      uint32_t jitter_ms)
{
	struct ws_listen_msg *m = CX_MSG_NEW(ctx, WS_LISTEN, struct ws_listen_msg);

	m->what = (uint8_t)what;
	m->jitter_ms = jitter_ms;
	return cx_send_reserved(ctx, adapter, &m->hdr);
}

enum cx_err ws_listen_post(struct cx_runtime *rt, struct cx_ref adapter, enum ws_listen what,
                           uint32_t jitter_ms)
{
	struct ws_listen_msg *m =
		(struct ws_listen_msg *)(void *)cx_post_new(WS_LISTEN, sizeof(*m));

	m->what = (uint8_t)what;
	m->jitter_ms = jitter_ms;
	return cx_post(rt, adapter, &m->hdr);
}

/* The adapter behind the handle, if it lives on the caller's worker: then nobody else runs, and what is
 * asked for is done at once.  It saves a message a frame; the adapter's turn, for which the first of
 * them asks, writes what all have queued. */
static struct ws_adapter *at_hand(struct cx_ctx *ctx, struct ws_handle handle)
{
	struct ws_adapter *a = ws_adapter_of(cx_worker_index(ctx));

	return a != NULL && cx_ref_is(a->self, handle.adapter) ? a : NULL;
}

static enum cx_err wake(struct cx_ctx *ctx, struct ws_adapter *a)
{
	struct ws_control_msg *m;

	if (a->dirty == NULL || a->is_woken)
		return CX_OK;
	a->is_woken = true;
	m = CX_MSG_NEW(ctx, WS_CONTROL, struct ws_control_msg);
	m->what = WS_CONTROL_FLUSH;
	return cx_send_reserved(ctx, a->self, &m->hdr);
}

static enum cx_err send_out(struct cx_ctx *ctx, struct ws_handle handle, struct cx_buf *buf,
                            uint32_t offset, uint32_t len, uint8_t kind)
{
	struct ws_adapter *a = at_hand(ctx, handle);
	struct ws_send_msg *m;

	if (a != NULL) {
		do_send(a, handle, buf, offset, len, kind);
		return wake(ctx, a);
	}
	m = CX_MSG_NEW(ctx, WS_SEND, struct ws_send_msg);
	m->hdr.buf = cx_buf_ref(buf);
	m->index = handle.index;
	m->gen = handle.gen;
	m->offset = offset;
	m->len = len;
	m->kind = kind;
	return cx_send_reserved(ctx, handle.adapter, &m->hdr);
}

enum cx_err ws_send(struct cx_ctx *ctx, struct ws_handle handle, struct cx_buf *buf,
                    uint32_t offset, uint32_t len, enum ws_kind kind)
{
	cx_assert(kind <= WS_TEXT && (size_t)offset + len <= cx_buf_len(buf));
	return send_out(ctx, handle, buf, offset, len, (uint8_t)kind);
}

enum cx_err ws_pong(struct cx_ctx *ctx, struct ws_handle handle, struct cx_buf *payload)
{
	return send_out(ctx, handle, payload, 0,
	                payload == NULL ? 0 : (uint32_t)cx_buf_len(payload), WS_OUT_PONG);
}

enum cx_err ws_ping(struct cx_ctx *ctx, struct ws_handle handle, uint64_t number)
{
	struct ws_adapter *a = at_hand(ctx, handle);
	struct ws_control_msg *m;

	cx_assert(number != 0);
	if (a != NULL) {
		do_ping(a, handle, number);
		return wake(ctx, a);
	}
	m = CX_MSG_NEW(ctx, WS_CONTROL, struct ws_control_msg);
	m->what = WS_CONTROL_PING;
	m->index = handle.index;
	m->gen = handle.gen;
	m->number = number;
	return cx_send_reserved(ctx, handle.adapter, &m->hdr);
}

enum cx_err ws_close(struct cx_ctx *ctx, struct ws_handle handle, uint16_t code,
                     const char *reason)
{
	struct ws_control_msg *m = CX_MSG_NEW(ctx, WS_CONTROL, struct ws_control_msg);

	m->what = WS_CONTROL_CLOSE;
	m->index = handle.index;
	m->gen = handle.gen;
	m->code = code;
	if (reason != NULL)
		snprintf(m->reason, sizeof(m->reason), "%s", reason);
	return cx_send_reserved(ctx, handle.adapter, &m->hdr);
}

enum cx_err ws_consumed(struct cx_ctx *ctx, struct ws_handle handle, uint32_t frames,
                        uint32_t bytes)
{
	struct ws_adapter *a = at_hand(ctx, handle);
	struct ws_consumed_msg *m;

	if (a != NULL) {
		do_consumed(a, handle, frames, bytes);
		return wake(ctx, a);
	}
	m = CX_MSG_NEW(ctx, WS_CONSUMED, struct ws_consumed_msg);
	m->index = handle.index;
	m->gen = handle.gen;
	m->frames = frames;
	m->bytes = bytes;
	return cx_send_reserved(ctx, handle.adapter, &m->hdr);
}

enum cx_err http_respond(struct cx_ctx *ctx, struct ws_handle handle, uint16_t status,
                         const char *content_type, const char *headers, struct cx_buf *body)
{
	struct http_respond_msg *m = CX_MSG_NEW(ctx, HTTP_RESPOND, struct http_respond_msg);

	m->hdr.buf = cx_buf_ref(body);
	m->index = handle.index;
	m->gen = handle.gen;
	m->status = status;
	m->content_type = content_type;
	m->headers = headers;
	return cx_send_reserved(ctx, handle.adapter, &m->hdr);
}
