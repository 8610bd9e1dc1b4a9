/* SPDX-License-Identifier: MIT */
/* Bytes in: read into the worker's buffer, cut into frames, handed to the connection's actor. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/websocket_internal.h"

#define READS_A_TURN 4      /* then others have their turn */
#define TLS_READS_A_TURN 16 /* one record each */
#define DISCARDS_A_TURN 8
#define MSG_FIRST_BYTES 4096 /* of a message that comes in parts; then doubled */
#define PING_NUMBER_BYTES 8

void ws_carry(struct ws_conn *c, const uint8_t *bytes, size_t len)
{
	if (len == 0)
		return;
	c->carry = malloc(len);
	cx_assert(c->carry != NULL);
	memcpy(c->carry, bytes, len);
	c->carry_at = 0;
	c->carry_len = (uint32_t)len;
}

void ws_carry_drop(struct ws_conn *c)
{
	free(c->carry);
	c->carry = NULL;
	c->carry_len = 0;
}

void ws_tell_closed(struct ws_conn *c, uint16_t code)
{
	struct ws_adapter *a = c->adapter;
	struct ws_closed *m;

	if (c->told_closed || cx_ref_none(c->actor))
		return;
	c->told_closed = true;
	m = CX_MSG_NEW(a->ctx, WS_CLOSED, struct ws_closed);
	m->code = code;
	if (cx_send_reserved(a->ctx, c->actor, &m->hdr) != CX_OK)
		return; /* it ended by itself */
}

void ws_fail(struct ws_conn *c, uint16_t code)
{
	struct websocket_figures *f = &c->adapter->figures;

	if (code == WS_CLOSE_TOO_BIG)
		ws_count(&f->closed_too_big, 1);
	else if (code != WS_CLOSE_INTERNAL)
		ws_count(&f->closed_protocol, 1);
	ws_say_close(c, code, NULL, 0);
	ws_tell_closed(c, WS_CLOSE_ABNORMAL);
	ws_begin_closing(c, WS_AWAIT_END, WS_LIST_CLOSING);
}

/* Flow rule (a). */
static bool is_over(const struct ws_conn *c)
{
	return c->frames_in >= WS_FRAMES_MAX || c->bytes_in >= WS_BYTES_MAX ||
	       c->out_bytes > c->adapter->settings->window_bytes;
}

static void deliver(struct ws_conn *c, struct cx_msg *msg, uint32_t bytes)
{
	c->frames_in++;
	c->bytes_in += bytes;
	ws_count(&c->adapter->figures.frames_in, 1);
	if (cx_send_reserved(c->adapter->ctx, c->actor, msg) != CX_OK)
		ws_fail(c, WS_CLOSE_INTERNAL);
}

static void deliver_frame(struct ws_conn *c, struct cx_buf *buf)
{
	struct ws_frame_in *m = CX_MSG_NEW(c->adapter->ctx, WS_FRAME, struct ws_frame_in);

	m->hdr.buf = buf;
	m->is_text = c->is_text;
	deliver(c, &m->hdr, (uint32_t)cx_buf_len(buf));
}

/* Room for a message that comes in parts grows as its bytes come, not as its header promises. */
static void msg_append(struct ws_conn *c, const uint8_t *bytes, size_t len)
{
	const size_t need = c->msg_len + len;

	if (c->msg == NULL || cx_buf_len(c->msg) < need) {
		size_t room = c->msg == NULL ? MSG_FIRST_BYTES : 2 * cx_buf_len(c->msg);
		struct cx_buf *bigger;

		if (room > c->adapter->settings->max_frame_bytes)
			room = c->adapter->settings->max_frame_bytes;
		bigger = cx_buf_new(room < need ? need : room);
		if (c->msg_len > 0)
			memcpy(cx_buf_data(bigger), cx_buf_bytes(c->msg), c->msg_len);
		cx_buf_unref(c->msg);
		c->msg = bigger;
	}
	if (len > 0)
		memcpy(cx_buf_data(c->msg) + c->msg_len, bytes, len);
	c->msg_len = (uint32_t)need;
}

static void on_data(struct ws_conn *c, const struct ws_event *ev)
{
	struct cx_buf *buf;

	c->is_text = ev->is_text;
	if (ev->is_first && ev->is_last) {
		deliver_frame(c, cx_buf_copy(ev->at, ev->len));
		return;
	}
	msg_append(c, ev->at, ev->len);
	if (!ev->is_last)
		return;
	buf = c->msg;
	cx_buf_trim(buf, c->msg_len);
	c->msg = NULL;
	c->msg_len = 0;
	deliver_frame(c, buf);
}

/* Only the answer to the last ping counts: what a peer sends unasked is dropped here. */
static void on_pong(struct ws_conn *c, const struct ws_event *ev)
{
	struct ws_pong_in *m;

	if (c->ping_number == 0 || ev->len != PING_NUMBER_BYTES ||
	    memcmp(ev->at, &c->ping_number, PING_NUMBER_BYTES) != 0)
		return;
	m = CX_MSG_NEW(c->adapter->ctx, WS_PONG, struct ws_pong_in);
	m->number = c->ping_number;
	c->ping_number = 0;
	if (cx_send_reserved(c->adapter->ctx, c->actor, &m->hdr) != CX_OK)
		ws_fail(c, WS_CLOSE_INTERNAL);
}

static void on_close(struct ws_conn *c, const struct ws_event *ev)
{
	ws_say_close(c, ev->code, NULL, 0);
	ws_tell_closed(c, ev->code);
	ws_begin_closing(c, WS_AWAIT_END, WS_LIST_CLOSING);
}

static void on_event(struct ws_conn *c, const struct ws_event *ev)
{
	struct ws_ping_in *ping;

	switch (ev->type) {
	case WS_EVENT_NONE:
		break;
	case WS_EVENT_DATA:
		on_data(c, ev);
		break;
	case WS_EVENT_PING:
		ping = CX_MSG_NEW(c->adapter->ctx, WS_PING, struct ws_ping_in);
		ping->hdr.buf = ev->len > 0 ? cx_buf_copy(ev->at, ev->len) : NULL;
		deliver(c, &ping->hdr, 0);
		break;
	case WS_EVENT_PONG:
		on_pong(c, ev);
		break;
	case WS_EVENT_CLOSE:
		on_close(c, ev);
		break;
	case WS_EVENT_FAIL:
		ws_fail(c, ev->code);
		break;
	}
}

/* Cuts frames until the bytes are used up, the flow rule stops it, or the connection closes.
 * Returns how many were used. */
static size_t consume(struct ws_conn *c, uint8_t *bytes, size_t len)
{
	struct ws_event ev;
	size_t used = 0;

	while (used < len && c->phase == WS_OPEN) {
		if (is_over(c)) {
			c->is_paused = true;
			break;
		}
		used += ws_parser_next(&c->parser, bytes + used, len - used, &ev);
		on_event(c, &ev);
	}
	return used;
}

/* The peer is gone without a close frame. */
static void gone(struct ws_conn *c)
{
	ws_tell_closed(c, WS_CLOSE_ABNORMAL);
	ws_conn_free(c);
}

static bool must_wait(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

void ws_open_readable(struct ws_conn *c)
{
	struct ws_adapter *a = c->adapter;
	const int reads = c->tls != NULL ? TLS_READS_A_TURN : READS_A_TURN;

	for (int i = 0; i < reads && c->phase == WS_OPEN && !c->is_paused; i++) {
		const ssize_t n = ws_recv(c, a->recv_buf, WS_RECV_BYTES);
		size_t used;

		ws_count(&a->figures.reads, 1);
		if (must_wait(n))
			break;
		if (n <= 0) {
			gone(c);
			return;
		}
		ws_count(&a->figures.bytes_in, (uint64_t)n);
		used = consume(c, a->recv_buf, (size_t)n);
		if (c->phase == WS_OPEN)
			ws_carry(c, a->recv_buf + used, (size_t)n - used);
		if (c->tls == NULL && n < WS_RECV_BYTES)
			break; /* that was all */
	}
	ws_conn_poll(c);
}

void ws_resume(struct ws_conn *c)
{
	if (c->phase != WS_OPEN || (!c->is_paused && c->carry == NULL) || is_over(c))
		return;
	c->is_paused = false;
	if (c->carry != NULL) {
		const size_t used = consume(c, c->carry + c->carry_at, c->carry_len);

		if (c->phase != WS_OPEN)
			return;
		c->carry_at += (uint32_t)used;
		c->carry_len -= (uint32_t)used;
		if (c->carry_len == 0)
			ws_carry_drop(c);
	}
	ws_conn_poll(c);
}

/* Closing, and the peer's close frame is still to come: nothing else matters. */
static void seek_close(struct ws_conn *c, uint8_t *bytes, size_t len)
{
	struct ws_event ev;
	size_t used = 0;

	while (used < len && !c->peer_done) {
		used += ws_parser_next(&c->parser, bytes + used, len - used, &ev);
		if (ev.type != WS_EVENT_CLOSE && ev.type != WS_EVENT_FAIL)
			continue;
		ws_tell_closed(c, ev.type == WS_EVENT_CLOSE ? ev.code : WS_CLOSE_ABNORMAL);
		c->peer_done = true;
		ws_mark_dirty(c);
	}
}

void ws_closing_carry(struct ws_conn *c)
{
	if (c->carry == NULL)
		return;
	seek_close(c, c->carry + c->carry_at, c->carry_len);
	ws_carry_drop(c);
}

void ws_closing_readable(struct ws_conn *c)
{
	struct ws_adapter *a = c->adapter;

	for (int i = 0; i < DISCARDS_A_TURN; i++) {
		const ssize_t n = ws_recv(c, a->recv_buf, WS_RECV_BYTES);

		if (must_wait(n))
			break;
		if (n == 0 && c->out.head != NULL) {
			c->saw_eof = true; /* it may still read what is queued */
			break;
		}
		if (n <= 0) {
			gone(c);
			return;
		}
		seek_close(c, a->recv_buf, (size_t)n);
	}
	ws_conn_poll(c);
}
