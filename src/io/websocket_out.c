/* SPDX-License-Identifier: MIT */
/* Bytes out: what a turn queued for a socket leaves with one system call at the turn's end; what the
 * kernel does not take stays queued as references, and goes on when the socket is writable. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "io/websocket_internal.h"

#define OUTS_A_CHUNK 512
#define IOVS 64
#define COPY_MAX 4096   /* longer payloads are not copied to the stage */
#define WRITES_A_TURN 8 /* then others have their turn */

struct ws_out_chunk {
	struct ws_out_chunk *next;
	struct ws_out outs[OUTS_A_CHUNK];
};

/* What one write will hold. */
struct batch {
	struct iovec iov[IOVS];
	int count;
	size_t staged, total;
};

static struct ws_out *out_new(struct ws_adapter *a)
{
	struct ws_out *o;

	if (a->free_outs == NULL) {
		struct ws_out_chunk *chunk = malloc(sizeof(*chunk));

		cx_assert(chunk != NULL);
		chunk->next = a->out_chunks;
		a->out_chunks = chunk;
		for (unsigned i = 0; i < OUTS_A_CHUNK; i++) {
			chunk->outs[i].next = a->free_outs;
			a->free_outs = &chunk->outs[i];
		}
	}
	o = a->free_outs;
	a->free_outs = o->next;
	return o;
}

static void out_pop(struct ws_conn *c)
{
	struct ws_out *o = c->out.head;

	c->out.head = o->next;
	if (c->out.head == NULL)
		c->out.tail = NULL;
	c->out_bytes -= o->len;
	c->out_sent = 0;
	cx_buf_unref(o->buf);
	o->next = c->adapter->free_outs;
	c->adapter->free_outs = o;
}

void ws_out_drop(struct ws_conn *c)
{
	while (c->out.head != NULL)
		out_pop(c);
}

void ws_out_free_all(struct ws_adapter *a)
{
	while (a->out_chunks != NULL) {
		struct ws_out_chunk *chunk = a->out_chunks;

		a->out_chunks = chunk->next;
		free(chunk);
	}
	a->free_outs = NULL;
}

void ws_mark_dirty(struct ws_conn *c)
{
	if (c->is_dirty)
		return;
	c->is_dirty = true;
	c->dirty_next = c->adapter->dirty;
	c->adapter->dirty = c;
}

void ws_out_push(struct ws_conn *c, struct cx_buf *buf, uint32_t offset, uint32_t len,
                 uint8_t kind)
{
	struct ws_out *o = out_new(c->adapter);

	*o = (struct ws_out){
		.buf = cx_buf_ref(buf), .offset = offset, .len = len, .kind = kind
	};
	if (c->out.tail == NULL)
		c->out.head = o;
	else
		c->out.tail->next = o;
	c->out.tail = o;
	c->out_bytes += len;
	if (!c->is_blocked)
		ws_mark_dirty(c);
}

static size_t header_len(const struct ws_out *o)
{
	return o->kind == WS_OUT_RAW ? 0 : ws_header_len(o->len);
}

static size_t header_write(const struct ws_out *o, uint8_t header[WS_SERVER_HEADER_MAX])
{
	static const uint8_t ops[] = {
		[WS_ANSWER] = WS_OP_BINARY, [WS_INBOX] = WS_OP_BINARY,
		[WS_TEXT] = WS_OP_TEXT,     [WS_OUT_PING] = WS_OP_PING,
		[WS_OUT_PONG] = WS_OP_PONG, [WS_OUT_CLOSE] = WS_OP_CLOSE,
	};

	if (o->kind == WS_OUT_RAW)
		return 0;
	return ws_header_write(header, (enum ws_op)ops[o->kind], o->len);
}

static void batch_stage(struct ws_adapter *a, struct batch *b, const void *bytes, size_t len)
{
	uint8_t *at = a->stage + b->staged;

	memcpy(at, bytes, len);
	if (b->count > 0 &&
	    (uint8_t *)b->iov[b->count - 1].iov_base + b->iov[b->count - 1].iov_len == at) {
		b->iov[b->count - 1].iov_len += len;
	} else {
		b->iov[b->count].iov_base = at;
		b->iov[b->count++].iov_len = len;
	}
	b->staged += len;
	b->total += len;
}

/* One piece from byte `skip` of header and payload on; false when the batch is full. */
static bool batch_add(struct ws_conn *c, struct batch *b, const struct ws_out *o, size_t skip)
{
	struct ws_adapter *a = c->adapter;
	uint8_t header[WS_SERVER_HEADER_MAX];
	const size_t head = header_write(o, header);
	size_t left;
	const uint8_t *at;

	if (b->count + 2 > IOVS || WS_STAGE_BYTES - b->staged < sizeof(header))
		return false;
	if (skip < head) {
		batch_stage(a, b, header + skip, head - skip);
		skip = head;
	}
	left = o->len - (skip - head);
	if (left == 0)
		return true;
	at = cx_buf_bytes(o->buf) + o->offset + (skip - head);
	if (c->tls != NULL && left > WS_STAGE_BYTES - b->staged) {
		batch_stage(a, b, at, WS_STAGE_BYTES - b->staged);
		return false;
	}
	if (c->tls != NULL || (left <= COPY_MAX && left <= WS_STAGE_BYTES - b->staged)) {
		batch_stage(a, b, at, left);
		return true;
	}
	b->iov[b->count].iov_base = (void *)(uintptr_t)at;
	b->iov[b->count++].iov_len = left;
	b->total += left;
	return true;
}

static void batch_fill(struct ws_conn *c, struct batch *b)
{
	size_t skip = c->out_sent;

	b->count = 0;
	b->staged = 0;
	b->total = 0;
	for (const struct ws_out *o = c->out.head; o != NULL; o = o->next) {
		if (!batch_add(c, b, o, skip))
			break;
		skip = 0;
	}
}

static ssize_t batch_write(struct ws_conn *c, struct batch *b)
{
	struct msghdr msg = { .msg_iov = b->iov, .msg_iovlen = (size_t)b->count };

	cx_io_flush();
	if (b->count == 1)
		return ws_send_some(c, b->iov[0].iov_base, b->iov[0].iov_len);
	return sendmsg(c->watch.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The kernel has n more bytes. */
static void advance(struct ws_conn *c, size_t n)
{
	struct websocket_figures *f = &c->adapter->figures;

	ws_count(&f->bytes_out, n);
	while (c->out.head != NULL) {
		const struct ws_out *o = c->out.head;
		const size_t left = header_len(o) + o->len - c->out_sent;

		if (n < left) {
			c->out_sent += (uint32_t)n;
			return;
		}
		n -= left;
		if (o->kind <= WS_TEXT)
			ws_count(&f->frames_out, 1);
		if (o->kind == WS_INBOX)
			c->credit += o->len;
		out_pop(c);
	}
}

static void give_credit(struct ws_conn *c)
{
	struct ws_adapter *a = c->adapter;
	struct ws_credit *m;

	if (c->credit == 0 || c->phase != WS_OPEN ||
	    (c->out.head != NULL && c->credit < a->settings->window_bytes / 4))
		return;
	m = CX_MSG_NEW(a->ctx, WS_CREDIT, struct ws_credit);
	m->bytes = c->credit;
	c->credit = 0;
	if (cx_send_reserved(a->ctx, c->actor, &m->hdr) != CX_OK)
		return; /* the actor ended: the next frame in closes the socket */
}

static void broken(struct ws_conn *c)
{
	ws_tell_closed(c, WS_CLOSE_ABNORMAL);
	ws_conn_free(c);
}

/* All is written.  In closing, when nothing more is expected, say that this is the end. */
static void drained(struct ws_conn *c)
{
	if (c->phase != WS_CLOSING || !c->peer_done || c->fin_sent)
		return;
	c->fin_sent = true;
	cx_io_flush();
	ws_tls_goodbye(c);
	shutdown(c->watch.fd, SHUT_WR);
	if (c->saw_eof)
		broken(c);
}

void ws_out_flush(struct ws_conn *c)
{
	struct batch b;

	for (int i = 0; c->out.head != NULL; i++) {
		ssize_t n;

		if (i == WRITES_A_TURN) {
			c->is_blocked = true; /* go on at the next poll */
			break;
		}
		batch_fill(c, &b);
		ws_count(&c->adapter->figures.sends, 1);
		n = batch_write(c, &b);
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			broken(c);
			return;
		}
		if (n > 0)
			advance(c, (size_t)n);
		c->is_blocked = n < (ssize_t)b.total;
		if (c->is_blocked)
			break;
	}
	if (c->out.head == NULL)
		drained(c);
	if (c->phase == WS_FREE)
		return;
	give_credit(c);
	ws_resume(c);
	ws_conn_poll(c);
}

void ws_say_close(struct ws_conn *c, uint16_t code, const char *reason, size_t reason_len)
{
	uint8_t payload[WS_CONTROL_MAX];
	const struct wire_slice text = { (const uint8_t *)reason, reason_len };
	const size_t len = ws_close_payload(payload, code, text);
	struct cx_buf *buf;

	if (c->close_queued)
		return;
	c->close_queued = true;
	buf = cx_buf_copy(payload, len);
	ws_out_push(c, buf, 0, (uint32_t)len, WS_OUT_CLOSE);
	cx_buf_unref(buf);
}

void ws_begin_closing(struct ws_conn *c, enum ws_close_wait wait, enum ws_list list)
{
	c->phase = WS_CLOSING;
	c->peer_done = wait == WS_AWAIT_END;
	c->is_paused = false;
	cx_buf_unref(c->msg);
	c->msg = NULL;
	ws_conn_list(c, list);
	ws_mark_dirty(c); /* to flush, or to end at once */
	ws_closing_carry(c);
}
