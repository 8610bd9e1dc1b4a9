/* SPDX-License-Identifier: MIT */
/* 1. A box is made at its user's first record, read or acknowledgement.  What older rows there are is
 *    asked once (log_index) before the first read or acknowledgement; those wait meanwhile.
 * 2. An entry is handed out while WAITING only; SETTLING is on its way to the log; GONE is history.
 * 3. A settle that fails or is not answered makes its entry WAITING again: it comes again to others.
 *    Its end is the log's business alone (LOG_SETTLED, LOG_ENDED): no clock is asked here, so that
 *    what the log keeps is never hidden by a clock that was set.
 * 4. A box without entries in memory and unused for a while is dropped; it is made again by 1. */
#include "io/embedded_inbox.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "io/inbox_box.h"
#include "io/inbox_pending.h"
#include "wire/server_frame.h"
#include "wire/uuid_map.h"

#define LOG_TIMEOUT_MS 12000
#define READ_TIMEOUT_MS 9000
#define SWEEP_MS 1000
#define SWEEP_SLOTS 4096 /* of the map, each time */
#define UNUSED_MS 300000

enum op_kind { OP_READ, OP_SETTLE };

struct box_op {
	struct box_op *next;
	enum op_kind kind;
	struct cx_caller caller;
	uint64_t after;
	uint32_t max_bytes;
	struct uuid key, from;
	bool has_from;
};

struct shard {
	const struct embedded_inbox_settings *settings;
	struct uuid_map boxes;
	struct inbox_pending pending;
	uint64_t seed; /* of the boxes' hashes */
	uint32_t sweep_at;
	struct cx_timer sweep;
};

/* ---- boxes ---- */

static struct box *box_for(struct cx_ctx *ctx, struct shard *s, const struct uuid *owner)
{
	struct box *box = uuid_map_get(&s->boxes, owner);

	if (box == NULL) {
		box = box_new(owner, s->seed);
		uuid_map_put(&s->boxes, owner, box);
	}
	box->used_ms = cx_now_ms(ctx);
	return box;
}

/* ---- append ---- */

static void append_one(struct cx_ctx *ctx, struct shard *s, struct inbox_item *item,
                       struct cx_buf *buf)
{
	const struct record *r =
		(const struct record *)(const void *)(cx_buf_bytes(buf) + item->offset);
	struct box *box = box_for(ctx, s, &item->owner);

	/* Rows of before may wait that nobody has asked for yet. */
	item->prev =
		box->loading == BOX_LOADED || box->tail != 0 ? box->tail : INBOX_PREV_UNKNOWN;
	if (item->kind == RECORD_USER_GONE) {
		box_clear(box);
		return;
	}
	if (item->id <= box->tail)
		return; /* appended before: no effect */
	item->fresh = 1;
	box->tail = item->id;
	box_append(box, &(struct box_entry){
				.id = item->id,
				.peer = r->peer,
				.key = r->key,
				.key_case = r->key_case,
				.len = r->frame_len,
				.buf = cx_buf_ref(buf),
				.offset = item->offset,
				.kind = r->kind,
			});
}

static void on_append(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct inbox_append_msg *m = CX_MSG_AS(struct inbox_append_msg, msg);
	struct inbox_appended *reply = CX_MSG_NEW(ctx, INBOX_APPENDED, struct inbox_appended);

	reply->count = m->count;
	memcpy(reply->items, m->items, m->count * sizeof(m->items[0]));
	for (uint32_t i = 0; i < m->count; i++)
		append_one(ctx, state, &reply->items[i], msg->buf);
	reply->hdr.buf = cx_buf_ref(msg->buf);
	cx_reply(ctx, msg, &reply->hdr);
}

/* ---- read ---- */

/* Where a read that handed out everything up to entry n (exclusive) goes on. */
static uint64_t next_after(const struct box *box, uint32_t n)
{
	if (n == box->end)
		return box->tail;
	return box_at(box, n)->id - 1;
}

/* Copies records of entries in memory from n on; stops at max_bytes or at one that is in a row. */
static void read_memory(struct cx_ctx *ctx, struct box *box, uint32_t n,
                        const struct box_op *op)
{
	uint32_t end = n, count = 0;
	struct cx_buf *out = NULL;
	size_t bytes = 0, at = 0;

	for (; end != box->end; end++) {
		const struct box_entry *e = box_at(box, end);
		const size_t size = record_size(e->len);

		if (!box_is_readable(e))
			continue;
		if (e->buf == NULL || (bytes > 0 && bytes + size > op->max_bytes))
			break;
		bytes += size;
		count++;
	}
	if (bytes > 0)
		out = cx_buf_new(bytes);
	for (; n != end; n++) {
		const struct box_entry *e = box_at(box, n);

		if (!box_is_readable(e))
			continue;
		memcpy(cx_buf_data(out) + at, cx_buf_bytes(e->buf) + e->offset,
		       record_size(e->len));
		at += record_size(e->len);
	}
	inbox_answer_read(ctx, op->caller, out, count, next_after(box, end), end != box->end);
}

static void read(struct cx_ctx *ctx, struct shard *s, struct box *box, const struct box_op *op)
{
	struct pending p = { .kind = PENDING_FETCH, .owner = box->owner, .caller = op->caller };
	uint32_t n = box_after(box, op->after);

	while (n != box->end && !box_is_readable(box_at(box, n)))
		n++;
	if (n == box->end) {
		inbox_answer_read(ctx, op->caller, NULL, 0,
		                  box->tail > op->after ? box->tail : op->after, false);
		return;
	}
	if (box_at(box, n)->buf != NULL) {
		read_memory(ctx, box, n, op);
		return;
	}
	p.id = box_at(box, n)->id - 1;
	if (log_fetch(ctx, s->settings->log_reader, &box->owner, p.id, op->max_bytes,
	              READ_TIMEOUT_MS, &p.corr) == CX_OK)
		inbox_pending_add(&s->pending, &p);
	else
		inbox_fail_read(ctx, op->caller, op->after);
}

static void on_fetched(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct log_fetched *m = CX_MSG_AS(struct log_fetched, msg);
	struct shard *s = state;
	struct cx_buf *out = NULL;
	struct pending p;
	struct box *box;
	uint64_t last = 0;
	uint32_t n, count = 0;

	if (!inbox_pending_take(&s->pending, msg->corr, &p))
		return;
	box = uuid_map_get(&s->boxes, &p.owner);
	if (m->outcome != LOG_OK || box == NULL) {
		inbox_fail_read(ctx, p.caller, p.id);
		return;
	}
	if (msg->buf != NULL)
		out = box_waiting_of(box, msg->buf, &last, &count);
	box_drop_ghost(box, p.id + 1, msg->buf);
	if (last == 0) { /* the row that was there is gone: go on behind it */
		n = box_after(box, p.id);
		last = n == box->end ? box->tail : box_at(box, n)->id;
	}
	n = box_after(box, last);
	inbox_answer_read(ctx, p.caller, out, count, n == box->end ? box->tail : last,
	                  n != box->end);
}

/* ---- settle ---- */

static struct cx_buf *receipt_of(const struct box_entry *e)
{
	struct cx_buf *buf = cx_buf_new(SERVER_FRAME_DELIVERED_LEN);

	cx_buf_trim(buf, server_frame_ack(cx_buf_data(buf), SERVER_FRAME_DELIVERED_LEN, &e->key,
	                                  e->key_case, ACK_DELIVERED));
	return buf;
}

/* Nothing waits under that key.  Another connection's acknowledgement of it may be on its way to the log:
 * then its outcome is ours too, since the answer is taken for "it is stored". */
static void settle_again(struct cx_ctx *ctx, struct shard *s, const struct box *box,
                         const struct box_op *op)
{
	struct pending p = { .kind = PENDING_SETTLE,
		             .owner = box->owner,
		             .caller = op->caller };
	const struct box_entry *e =
		box_find_key(box, BOX_SETTLING, &op->key, op->has_from ? &op->from : NULL);

	if (e == NULL) {
		inbox_answer_settle(ctx, op->caller, INBOX_UNKNOWN);
		return;
	}
	p.id = e->id;
	inbox_pending_join(&s->pending, e->question, &p);
}

static void settle(struct cx_ctx *ctx, struct shard *s, struct box *box,
                   const struct box_op *op)
{
	struct pending p = { .kind = PENDING_SETTLE,
		             .owner = box->owner,
		             .caller = op->caller };
	const struct uuid *from = op->has_from ? &op->from : NULL;
	struct box_entry *e = box_find_key(box, BOX_WAITING, &op->key, from);
	struct cx_buf *receipt;
	enum cx_err err;

	if (e == NULL) {
		settle_again(ctx, s, box, op);
		return;
	}
	receipt = s->settings->receipts ? receipt_of(e) : NULL;
	p.id = e->id;
	err = log_settle(ctx, s->settings->log, &box->owner, e->id, e->len, &e->peer, receipt,
	                 LOG_TIMEOUT_MS, &p.corr);
	cx_buf_unref(receipt);
	if (err != CX_OK) {
		inbox_answer_settle(ctx, op->caller, INBOX_FAILED);
		return;
	}
	e->state = BOX_SETTLING;
	e->question = inbox_pending_add(&s->pending, &p);
}

static void finish_settle(struct cx_ctx *ctx, struct shard *s, const struct pending *p,
                          bool is_done)
{
	struct box *box = uuid_map_get(&s->boxes, &p->owner);
	struct box_entry *e = box == NULL ? NULL : box_find(box, p->id);

	if (e != NULL && e->state == BOX_SETTLING) {
		if (is_done)
			box_remove(box, e);
		else
			e->state = BOX_WAITING; /* inv. 3 */
	}
	inbox_answer_settle(ctx, p->caller, is_done ? INBOX_OK : INBOX_FAILED);
}

static void on_settled(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct shard *s = state;
	struct pending p;

	while (inbox_pending_take(&s->pending, msg->corr, &p))
		finish_settle(ctx, s, &p,
		              CX_MSG_AS(struct log_settled, msg)->outcome == LOG_OK);
}

/* ---- the index of older rows (inv. 1) ---- */

static void run_op(struct cx_ctx *ctx, struct shard *s, struct box *box,
                   const struct box_op *op)
{
	if (op->kind == OP_READ)
		read(ctx, s, box, op);
	else
		settle(ctx, s, box, op);
}

static void fail_op(struct cx_ctx *ctx, const struct box_op *op)
{
	if (op->kind == OP_READ)
		inbox_fail_read(ctx, op->caller, op->after);
	else
		inbox_answer_settle(ctx, op->caller, INBOX_FAILED);
}

static void run_waiting(struct cx_ctx *ctx, struct shard *s, struct box *box)
{
	struct box_op *op = box->ops;

	box->ops = NULL;
	box->ops_end = &box->ops;
	while (op != NULL) {
		struct box_op *next = op->next;

		if (box->loading == BOX_LOADED)
			run_op(ctx, s, box, op);
		else
			fail_op(ctx, op);
		free(op);
		op = next;
	}
}

static void ask_index(struct cx_ctx *ctx, struct shard *s, struct box *box)
{
	struct pending p = { .kind = PENDING_INDEX, .owner = box->owner };

	if (log_index(ctx, s->settings->log_reader, &box->owner, READ_TIMEOUT_MS, &p.corr) !=
	    CX_OK) {
		run_waiting(ctx, s, box);
		return;
	}
	box->loading = BOX_LOADING;
	inbox_pending_add(&s->pending, &p);
}

static void take_op(struct cx_ctx *ctx, struct shard *s, const struct uuid *owner,
                    const struct box_op *op)
{
	struct box *box = box_for(ctx, s, owner);
	struct box_op *copy;

	if (box->loading == BOX_LOADED) {
		run_op(ctx, s, box, op);
		return;
	}
	copy = malloc(sizeof(*copy));
	cx_assert(copy != NULL);
	*copy = *op;
	*box->ops_end = copy;
	box->ops_end = &copy->next;
	if (box->loading == BOX_UNKNOWN)
		ask_index(ctx, s, box);
}

static void on_indexed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct log_indexed *m = CX_MSG_AS(struct log_indexed, msg);
	struct shard *s = state;
	struct pending p;
	struct box *box;

	if (!inbox_pending_take(&s->pending, msg->corr, &p))
		return;
	box = uuid_map_get(&s->boxes, &p.owner);
	if (box == NULL)
		return;
	box->loading = BOX_UNKNOWN;
	if (m->outcome == LOG_OK) {
		if (msg->buf != NULL)
			box_load(box,
			         (const struct log_index_entry *)(const void *)cx_buf_bytes(
					 msg->buf),
			         m->count);
		box->loading = BOX_LOADED;
	}
	run_waiting(ctx, s, box);
}

static void on_read(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct inbox_read_msg *m = CX_MSG_AS(struct inbox_read_msg, msg);
	const struct box_op op = { .kind = OP_READ,
		                   .caller = cx_caller_of(msg),
		                   .after = m->after,
		                   .max_bytes = m->max_bytes };

	take_op(ctx, state, &m->owner, &op);
}

static void on_settle(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct inbox_settle_msg *m = CX_MSG_AS(struct inbox_settle_msg, msg);
	const struct box_op op = { .kind = OP_SETTLE,
		                   .caller = cx_caller_of(msg),
		                   .key = m->key,
		                   .from = m->from,
		                   .has_from = m->has_from != 0 };

	take_op(ctx, state, &m->owner, &op);
}

/* The log did not answer. */
static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct shard *s = state;
	struct pending p;
	struct box *box;

	if (!inbox_pending_take(&s->pending, msg->corr, &p))
		return;
	switch (p.kind) {
	case PENDING_SETTLE:
		do
			finish_settle(ctx, s, &p, false);
		while (inbox_pending_take(&s->pending, msg->corr, &p));
		break;
	case PENDING_FETCH:
		inbox_fail_read(ctx, p.caller, p.id);
		break;
	case PENDING_INDEX:
		box = uuid_map_get(&s->boxes, &p.owner);
		if (box != NULL) {
			box->loading = BOX_UNKNOWN;
			run_waiting(ctx, s, box);
		}
		break;
	}
}

/* ---- receipts, spills, sweeping ---- */

static void on_receipts_done(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct inbox_receipts_done_msg *m =
		CX_MSG_AS(struct inbox_receipts_done_msg, msg);
	struct shard *s = state;
	struct box *box = uuid_map_get(&s->boxes, &m->owner);
	enum cx_err err;

	if (box == NULL)
		return;
	for (uint32_t n = box->first; n != box->end && box_at(box, n)->id <= m->upto; n++)
		if (box_at(box, n)->kind == RECORD_RECEIPT && box_at(box, n)->state != BOX_GONE)
			box_remove(box, box_at(box, n));
	err = log_receipts_done(ctx, s->settings->log, &m->owner, m->upto);
	(void)err; /* lost: they are delivered again some day */
}

/* The partition has told all of it, and a box is dropped by itself. */
static void on_elsewhere(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
}

static void on_spilled(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct log_spilled *m = CX_MSG_AS(struct log_spilled, msg);
	const struct log_place *entries =
		(const struct log_place *)(const void *)cx_buf_bytes(msg->buf);
	struct shard *s = state;

	(void)ctx;
	for (uint32_t i = 0; i < m->count; i++) {
		struct box *box = uuid_map_get(&s->boxes, &entries[i].owner);

		if (box != NULL)
			box_spilled(box, entries[i].id);
	}
}

static void on_ended(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct log_ended *m = CX_MSG_AS(struct log_ended, msg);
	const struct log_place *places =
		(const struct log_place *)(const void *)cx_buf_bytes(msg->buf);
	struct shard *s = state;

	(void)ctx;
	for (uint32_t i = 0; i < m->count; i++) {
		struct box *box = uuid_map_get(&s->boxes, &places[i].owner);
		struct box_entry *e = box == NULL ? NULL : box_find(box, places[i].id);

		if (e != NULL && e->state != BOX_GONE)
			box_remove(box, e);
	}
}

/* inv. 4.  With everything in rows the box can be made again from the index. */
static bool is_droppable(const struct box *box, uint64_t now_ms)
{
	if (box->ops != NULL || box->loading == BOX_LOADING ||
	    now_ms - box->used_ms < UNUSED_MS)
		return false;
	return box_is_empty(box) || box_at(box, box->end - 1)->buf == NULL;
}

static void on_sweep(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct shard *s = state;
	struct box *drop[64];
	uint32_t count = 0;
	struct box *box;

	(void)msg;
	cx_timer_arm(ctx, &s->sweep, SWEEP_MS, TIMER_A);
	for (uint32_t seen = 0; seen < SWEEP_SLOTS && count < CX_COUNTOF(drop); seen++) {
		box = uuid_map_next(&s->boxes, &s->sweep_at);
		if (box == NULL) {
			s->sweep_at = 0;
			break;
		}
		if (is_droppable(box, cx_now_ms(ctx)))
			drop[count++] = box;
	}
	while (count-- > 0) {
		uuid_map_take(&s->boxes, &drop[count]->owner);
		box_free(drop[count]);
	}
}

/* ---- lifecycle ---- */

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct shard *s = state;

	s->settings = *(const struct embedded_inbox_settings *const *)conf;
	/* The order of nothing depends on it, so a simulation stays what it was. */
	if (getrandom(&s->seed, sizeof(s->seed), 0) != (ssize_t)sizeof(s->seed))
		s->seed = cx_random(ctx);
	cx_timer_arm(ctx, &s->sweep, SWEEP_MS, TIMER_A);
	return CX_OK;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct shard *s = state;
	uint32_t at = 0;
	struct box *box;

	while ((box = uuid_map_next(&s->boxes, &at)) != NULL) {
		box->loading = BOX_UNKNOWN;
		run_waiting(ctx, s, box);
		box_free(box);
	}
	uuid_map_free(&s->boxes);
	inbox_pending_free(&s->pending);
}

static const struct cx_handler handlers[] = {
	CX_ON(INBOX_APPEND, struct inbox_append_msg, on_append),
	CX_ON(INBOX_READ, struct inbox_read_msg, on_read),
	CX_ON(INBOX_SETTLE, struct inbox_settle_msg, on_settle),
	CX_ON(INBOX_RECEIPTS_DONE, struct inbox_receipts_done_msg, on_receipts_done),
	CX_ON(INBOX_LEARN, struct inbox_learn_msg, on_elsewhere),
	CX_ON(INBOX_PRESENCE, struct inbox_presence_msg, on_elsewhere),
	CX_ON(LOG_FETCHED, struct log_fetched, on_fetched),
	CX_ON(LOG_INDEXED, struct log_indexed, on_indexed),
	CX_ON(LOG_SETTLED, struct log_settled, on_settled),
	CX_ON(LOG_SPILLED, struct log_spilled, on_spilled),
	CX_ON(LOG_ENDED, struct log_ended, on_ended),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
	CX_ON(TIMER_A, struct cx_msg_timer, on_sweep),
};

const struct cx_actor_type embedded_inbox_type = {
	.name = "inbox",
	.state_size = sizeof(struct shard),
	.conf_size = sizeof(const struct embedded_inbox_settings *),
	.mailbox_cap = 65536,
	.batch_max = 256,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
