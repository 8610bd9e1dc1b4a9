/* SPDX-License-Identifier: MIT */
/* The inbox on its way to one client: see struct cursor for what holds. */
#include "actors/connection_state.h"

#include <stdlib.h>

#include "actors/hub.h"
#include "io/inbox.h"
#include "wire/record.h"
#include "wire/server_frame.h"

#define READ_BYTES 65536
#define READ_TIMEOUT_MS 10000
#define CONFIRM_EVERY 64 /* receipts */
#define CONFIRM_MS 100   /* or so often, when there are fewer */
#define LOOK_MS 30000
#define HELD_PUSHES_MAX 64

struct held_push {
	struct held_push *next;
	struct cx_buf *buf;
	struct inbox_item item;
};

/* ---- pushes that came during a read ---- */

/* False: there are too many. */
static bool hold_push(struct cursor *cur, const struct inbox_item *item, struct cx_buf *buf)
{
	struct held_push *p;

	if (cur->push_count == HELD_PUSHES_MAX)
		return false;
	p = malloc(sizeof(*p));
	cx_assert(p != NULL);
	*p = (struct held_push){ NULL, cx_buf_ref(buf), *item };
	if (cur->pushes == NULL)
		cur->pushes = p;
	else
		cur->last_push->next = p;
	cur->last_push = p;
	cur->push_count++;
	return true;
}

/* Or NULL.  The caller's, as is its buffer. */
static struct held_push *take_held_push(struct cursor *cur)
{
	struct held_push *p = cur->pushes;

	if (p == NULL)
		return NULL;
	cur->pushes = p->next;
	cur->push_count--;
	return p;
}

static void free_held_push(struct held_push *p)
{
	cx_buf_unref(p->buf);
	free(p);
}

/* They are read. */
void cursor_drop_all(struct connection *c)
{
	struct cursor *cur = &c->cursor;
	struct held_push *p;

	while ((p = take_held_push(cur)) != NULL) {
		if (p->item.id > cur->seen)
			cur->seen = p->item.id;
		free_held_push(p);
	}
}

/* ---- beginning, reading ---- */

#define RETRY_MS 1000

/* What the hub knew of confirmed receipts went with a leave before this: a kept cursor confirms its
 * receipts again. */
void cursor_start(struct cx_ctx *ctx, struct connection *c, enum cursor_begin begin)
{
	enum cx_err err;

	if (begin == CURSOR_ANEW) {
		cursor_drop_all(c);
		c->cursor = (struct cursor){ .window = c->cursor.window };
	}
	c->cursor.is_read_owed = true;
	c->cursor.looked_ms = cx_now_ms(ctx);
	c->cursor.confirming = 0;
	c->cursor.unconfirmed = c->cursor.receipt > 0;
	if (c->cursor.unconfirmed > 0)
		connection_tick_in(ctx, c, CONFIRM_MS);
	err = hub_join(ctx, c->relay, &c->user, &c->jti);
	(void)err; /* only at the runtime's end */
	cursor_read_on(ctx, c);
}

void cursor_stop(struct cx_ctx *ctx, struct connection *c)
{
	const enum cx_err err = hub_leave(ctx, c->relay, &c->user);

	(void)err; /* only at the runtime's end */
	if (c->cursor.read_corr != 0)
		cx_ask_cancel(ctx, c->cursor.read_corr);
	c->cursor.read_corr = 0;
	cursor_drop_all(c);
}

static bool is_open(const struct connection *c)
{
	return c->phase == CONNECTION_LIVE && c->cursor.window > 0;
}

void cursor_read_on(struct cx_ctx *ctx, struct connection *c)
{
	struct cursor *cur = &c->cursor;
	const uint32_t max_bytes =
		cur->window < READ_BYTES ? (uint32_t)cur->window : READ_BYTES;

	if (!is_open(c) || cur->read_corr != 0)
		return;
	cur->reading_from = cur->is_look && c->relay->receipts_apart ? cur->floor : cur->sent;
	if (inbox_read(ctx, &c->relay->inbox, &c->user, cur->reading_from, max_bytes,
	               READ_TIMEOUT_MS, &cur->read_corr) != CX_OK) {
		cur->read_corr = 0;
		cur->is_read_owed = true;
		connection_tick_in(ctx, c, RETRY_MS);
		return;
	}
	cur->is_look = false;
}

void cursor_look(struct cx_ctx *ctx, struct connection *c)
{
	c->cursor.is_look = true;
	c->cursor.looked_ms = cx_now_ms(ctx);
	cursor_read_on(ctx, c);
}

/* A lost push shows here at the latest.  Most ticks come for a confirmation: what was pushed to a busy
 * connection need not be read again for each of those. */
void cursor_tick(struct cx_ctx *ctx, struct connection *c)
{
	const uint64_t now_ms = cx_now_ms(ctx);

	if (c->cursor.is_read_owed || now_ms - c->cursor.looked_ms >= LOOK_MS)
		cursor_look(ctx, c);
	connection_tick_in(ctx, c, c->cursor.looked_ms + LOOK_MS - now_ms);
}

/* Asks the client, by a ping, whether the receipts so far have arrived. */
void cursor_confirm(struct cx_ctx *ctx, struct connection *c)
{
	struct cursor *cur = &c->cursor;

	if (cur->unconfirmed == 0 || cur->confirming != 0)
		return;
	cur->confirming = cur->receipt;
	cur->unconfirmed = 0;
	connection_ping(ctx, c);
}

void cursor_on_pong(struct cx_ctx *ctx, struct connection *c, uint64_t number)
{
	struct cursor *cur = &c->cursor;
	enum cx_err err;

	if (cur->confirming == 0 || number != c->ping_number || c->phase != CONNECTION_LIVE)
		return;
	err = hub_confirm(ctx, c->relay, &c->user, cur->confirming);
	(void)err; /* a busy hub: the next confirmation covers it */
	cur->confirming = 0;
	if (cur->unconfirmed >= CONFIRM_EVERY)
		cursor_confirm(ctx, c);
	else if (cur->unconfirmed > 0)
		connection_tick_in(ctx, c, CONFIRM_MS);
}

/* inv. 5.  What is on its way was read or pushed in the Redis that is no more. */
static void begin_anew(struct cx_ctx *ctx, struct cursor *cur)
{
	if (cur->read_corr != 0)
		cx_ask_cancel(ctx, cur->read_corr);
	while (cur->pushes != NULL)
		free_held_push(take_held_push(cur));
	*cur = (struct cursor){ .shown = cur->shown,
		                .passed_from = cur->passed_from,
		                .passed_upto = cur->passed_upto,
		                .window = cur->window,
		                .looked_ms = cur->looked_ms };
}

/* What was missed is somewhere behind `sent`: until a read that begins now has ended, no push may be
 * written. */
void cursor_on_look(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;
	const struct hub_look *m = CX_MSG_AS(struct hub_look, msg);

	if (c->phase != CONNECTION_LIVE || !uuid_equal(&m->user, &c->user))
		return;
	if (m->after_gap)
		session_missed(ctx, c, m->within_ms);
	if (m->anew)
		begin_anew(ctx, &c->cursor);
	c->cursor.is_read_owed = true;
	c->cursor.is_look = true;
	c->cursor.is_look_owed = c->cursor.read_corr != 0;
	if (m->within_ms > 0)
		connection_tick_in(ctx, c, cx_random(ctx) % m->within_ms);
	else
		cursor_read_on(ctx, c);
}

enum cursor_turn {
	TURN_NOW,
	TURN_DONE, /* this client has it */
	TURN_OVER, /* inv. 6 */
};

/* inv. 5 */
static enum cursor_turn turn_of_message(struct cursor *cur, uint64_t id)
{
	const bool was_passed = id > cur->passed_from && id <= cur->passed_upto;

	if (id <= cur->shown)
		return was_passed ? TURN_OVER : TURN_DONE;
	cur->shown = id;
	if (was_passed)
		cur->passed_from = id;
	return TURN_NOW;
}

/* An entry has as many as its frames' length says (stack_receipts.h). */
static void send_receipts(struct cx_ctx *ctx, struct connection *c, uint64_t id,
                          struct cx_buf *buf, uint32_t offset, uint32_t len)
{
	struct cursor *cur = &c->cursor;
	const uint32_t before = cur->unconfirmed, end = offset + len;
	const uint32_t each = len % SERVER_FRAME_DELIVERED_LEN == 0 ? SERVER_FRAME_DELIVERED_LEN
	                                                            : len; /* not of ours */

	for (; offset < end; offset += each) {
		const enum cx_err err = ws_send(ctx, c->ws, buf, offset, each, WS_INBOX);

		(void)err; /* the socket is gone: WS_CLOSED is on its way */
		cur->unconfirmed++;
	}
	if (id > cur->receipt)
		cur->receipt = id;
	if (cur->unconfirmed >= CONFIRM_EVERY || cx_now_ms(ctx) - c->pinged_ms >= CONFIRM_MS)
		cursor_confirm(ctx, c); /* the ping goes out behind them, in the same write */
	else if (before == 0)
		connection_tick_in(ctx, c, CONFIRM_MS);
}

static void send_entry(struct cx_ctx *ctx, struct connection *c, uint64_t id, uint8_t kind,
                       struct cx_buf *buf, uint32_t offset, uint32_t len)
{
	struct cursor *cur = &c->cursor;
	enum cursor_turn turn = TURN_NOW;
	enum cx_err err;

	if (id > cur->sent)
		cur->sent = id;
	if (kind == RECORD_MESSAGE)
		turn = turn_of_message(cur, id);
	if (turn == TURN_OVER)
		connection_close(ctx, c, 1011, "data was lost, reconnect");
	if (turn != TURN_NOW)
		return;
	cur->window -= len;
	if (kind == RECORD_RECEIPT) {
		send_receipts(ctx, c, id, buf, offset, len);
		return;
	}
	err = ws_send(ctx, c->ws, buf, offset, len, WS_INBOX);
	(void)err; /* the socket is gone: WS_CLOSED is on its way */
}

/* inv. 4 */
static bool is_late_receipt(const struct connection *c, uint64_t id, uint8_t kind)
{
	const struct cursor *cur = &c->cursor;

	return c->relay->receipts_apart && kind == RECORD_RECEIPT && id > cur->floor &&
	       (id <= cur->read_after || id > cur->read_upto);
}

/* Up to there is nothing more.  What is read again after a loss says nothing of before it. */
static void jump_to(struct cursor *cur, uint64_t next)
{
	if (next <= cur->sent)
		return;
	if (cur->sent >= cur->shown) {
		if (cur->sent != cur->passed_upto)
			cur->passed_from = cur->sent;
		cur->passed_upto = next;
	}
	cur->sent = next;
}

static void note_read(struct cursor *cur, uint64_t after, uint64_t upto)
{
	if (after < cur->read_after || after > cur->read_upto)
		cur->read_after = cur->read_upto = after;
	if (upto > cur->read_upto)
		cur->read_upto = upto;
}

static void take_push(struct cx_ctx *ctx, struct connection *c, const struct inbox_item *item,
                      struct cx_buf *buf)
{
	struct cursor *cur = &c->cursor;

	if (item->id <= cur->sent && !is_late_receipt(c, item->id, item->kind))
		return;
	if (cur->read_corr != 0 && is_open(c) && hold_push(cur, item, buf))
		return;
	if (item->id > cur->seen)
		cur->seen = item->id;
	if (cur->read_corr != 0 || !is_open(c))
		return;
	if (cur->is_read_owed || (item->prev > cur->sent && item->id > cur->sent)) {
		/* more may wait before it */
		cursor_read_on(ctx, c);
		return;
	}
	send_entry(ctx, c, item->id, item->kind, buf,
	           item->offset + (uint32_t)sizeof(struct record), item->len);
}

void cursor_on_push(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;
	const struct inbox_item *item = &CX_MSG_AS(struct hub_push, msg)->item;

	if (c->phase == CONNECTION_LIVE && uuid_equal(&item->owner, &c->user))
		take_push(ctx, c, item, msg->buf); /* else late, of whom this was before */
}

/* What was held comes behind the read, as if it came now.  Another read may begin by that, and hold the
 * rest. */
static void take_held_pushes(struct cx_ctx *ctx, struct connection *c)
{
	struct held_push *p;

	/* none is left when the connection closes at one */
	for (uint32_t n = c->cursor.push_count;
	     n > 0 && (p = take_held_push(&c->cursor)) != NULL; n--) {
		take_push(ctx, c, &p->item, p->buf);
		free_held_push(p);
	}
}

void cursor_on_entries(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;
	struct cursor *cur = &c->cursor;
	const struct inbox_entries *m = CX_MSG_AS(struct inbox_entries, msg);
	const uint8_t *base = msg->buf != NULL ? cx_buf_bytes(msg->buf) : NULL;
	const uint8_t *end = base != NULL ? base + cx_buf_len(msg->buf) : NULL;
	const uint8_t *at = base;
	const struct record *r;
	bool torn;

	if (msg->corr != cur->read_corr)
		return;
	cur->read_corr = 0;
	if (c->phase != CONNECTION_LIVE)
		return;
	while (c->phase == CONNECTION_LIVE && base != NULL &&
	       (r = record_next(&at, end, &torn)) != NULL)
		if (r->id > cur->sent || is_late_receipt(c, r->id, r->kind))
			send_entry(ctx, c, r->id, r->kind, msg->buf,
			           (uint32_t)(r->frame - base), r->frame_len);
	if (c->phase != CONNECTION_LIVE)
		return;
	if (m->failed) {
		cursor_drop_all(c);
		cur->is_read_owed = true;
		connection_tick_in(ctx, c, RETRY_MS);
		return;
	}
	jump_to(cur, m->next);
	note_read(cur, cur->reading_from, m->next);
	if (cur->reading_from <= cur->floor && m->next > cur->floor) {
		cur->floor = m->next;
		cur->is_look = cur->is_look || (m->more && m->next < cur->sent);
	}
	cur->is_read_owed = cur->is_look_owed;
	cur->is_look_owed = false;
	if (m->more && cur->seen <= cur->sent)
		cur->seen = cur->sent + 1;
	if (cur->is_look || cur->is_read_owed || cur->seen > cur->sent)
		cursor_read_on(ctx, c);
	take_held_pushes(ctx, c); /* held again, when that read is on its way */
}

bool cursor_on_error(struct connection *c, const struct cx_msg *msg)
{
	if (c->cursor.read_corr == 0 || msg->corr != c->cursor.read_corr)
		return false;
	c->cursor.read_corr = 0;
	cursor_drop_all(c);
	c->cursor.is_read_owed = true; /* the next tick reads on */
	return true;
}

void cursor_on_credit(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct connection *c = state;
	struct cursor *cur = &c->cursor;

	cur->window += CX_MSG_AS(struct ws_credit, msg)->bytes;
	if ((cur->is_read_owed || cur->seen > cur->sent) && cur->window >= c->window_max / 2)
		cursor_read_on(ctx, c);
}
