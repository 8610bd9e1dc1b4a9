/* SPDX-License-Identifier: MIT */
/* The log as io/log.h promises it: batches that commit or fail as a whole, later than they came, and
 * survive a crash when they did; and the few answers of a store that the way of a message needs. */
#include <stdlib.h>
#include <string.h>

#include "io/inbox.h"
#include "io/log.h"
#include "io/store.h"
#include "sim/faults.h"
#include "sim/judge.h"
#include "sim/world.h"

#define PENDING_MAX 512
#define COMMIT_MS 3
#define FAILS_ONE_IN 40
#define READ_FAILS_ONE_IN 3

enum pending_kind { APPEND, SETTLE, DONE };

struct pending {
	enum pending_kind kind;
	struct cx_caller caller;
	struct uuid owner, peer, key;
	uint32_t key_case;
	uint64_t ref;
	struct cx_buf *frame;
};

struct fake_log {
	struct pending pending[PENDING_MAX];
	uint32_t count;
	struct cx_timer timer;
};

static struct pending *add(struct cx_ctx *ctx, struct fake_log *l, const struct cx_msg *msg)
{
	struct pending *p = &l->pending[l->count++];

	cx_assert(l->count < PENDING_MAX);
	*p = (struct pending){ .caller = cx_caller_of(msg), .frame = cx_buf_ref(msg->buf) };
	if (!cx_timer_is_armed(&l->timer))
		cx_timer_arm(ctx, &l->timer, cx_random(ctx) % COMMIT_MS, TIMER_A);
	return p;
}

static void on_append(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct log_append_msg *m = CX_MSG_AS(struct log_append_msg, msg);
	struct pending *p = add(ctx, state, msg);

	p->kind = APPEND;
	p->owner = m->owner;
	p->peer = m->peer;
	p->key = m->key;
	p->key_case = m->key_case;
}

static void on_settle(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct log_settle_msg *m = CX_MSG_AS(struct log_settle_msg, msg);
	struct pending *p = add(ctx, state, msg);

	p->kind = SETTLE;
	p->owner = m->owner;
	p->peer = m->peer;
	p->ref = m->id;
}

static void on_receipts_done(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct log_receipts_done_msg *m = CX_MSG_AS(struct log_receipts_done_msg, msg);
	struct pending *p = add(ctx, state, msg);

	p->kind = DONE;
	p->owner = m->owner;
	p->ref = m->upto;
}

/* ---- the commit ---- */

static void store_entry(struct cx_ctx *ctx, enum record_kind kind, const struct pending *p,
                        const struct uuid *about)
{
	struct entry *e = &world.entries[world.entry_count++];
	uint32_t sender, number;

	cx_assert(world.entry_count < ENTRIES_MAX && cx_buf_len(p->frame) <= sizeof(e->frame));
	*e = (struct entry){ .owner = p->owner,
		             .peer = p->peer,
		             .key = p->key,
		             .key_case = p->key_case,
		             .id = ++world.last_id,
		             .wall_ms = cx_wall_ms(ctx),
		             .made_ms = cx_now_ms(ctx),
		             .about = *about,
		             .kind = kind,
		             .frame_len = (uint32_t)cx_buf_len(p->frame) };
	memcpy(e->frame, cx_buf_bytes(p->frame), e->frame_len);
	cx_assert(world_message_of(about, &sender, &number));
	if (kind == RECORD_MESSAGE)
		world.message_at[sender][number] = world.entry_count;
	else
		world.receipt_at[sender][number] = world.entry_count;
}

static struct entry *live_entry(const struct uuid *owner, uint64_t id)
{
	for (uint32_t i = 0; i < world.entry_count; i++)
		if (world.entries[i].id == id && uuid_equal(&world.entries[i].owner, owner) &&
		    !world.entries[i].is_gone)
			return &world.entries[i];
	return NULL;
}

static void apply_settle(struct cx_ctx *ctx, const struct pending *p)
{
	struct entry *e = live_entry(&p->owner, p->ref);
	struct pending receipt = { .owner = p->peer, .peer = p->owner, .frame = p->frame };

	if (e == NULL || (p->frame != NULL && !judge_settle(e)))
		return;
	e->is_gone = true;
	if (p->frame != NULL)
		store_entry(ctx, RECORD_RECEIPT, &receipt, &e->about);
}

static enum log_outcome apply(struct cx_ctx *ctx, const struct pending *p)
{
	if (p->kind == APPEND) {
		if (world_entry(&p->key) != NULL)
			return LOG_DUPLICATE;
		if (!judge_append(&p->owner, &p->peer, &p->key))
			return LOG_FAILED;
		store_entry(ctx, RECORD_MESSAGE, p, &p->key);
	} else if (p->kind == SETTLE) {
		apply_settle(ctx, p);
	} else {
		for (uint32_t i = 0; i < world.entry_count; i++) {
			struct entry *e = &world.entries[i];

			if (e->kind == RECORD_RECEIPT && e->id <= p->ref &&
			    uuid_equal(&e->owner, &p->owner))
				e->is_gone = true;
		}
	}
	return LOG_OK;
}

static void reply(struct cx_ctx *ctx, const struct pending *p, enum log_outcome outcome)
{
	if (p->kind == APPEND) {
		struct log_appended *m = CX_MSG_NEW(ctx, LOG_APPENDED, struct log_appended);

		m->outcome = outcome;
		cx_answer(ctx, p->caller, &m->hdr);
	} else if (p->kind == SETTLE) {
		struct log_settled *m = CX_MSG_NEW(ctx, LOG_SETTLED, struct log_settled);

		m->outcome = outcome;
		cx_answer(ctx, p->caller, &m->hdr);
	}
}

static size_t write_entry(uint8_t *at, const struct entry *e)
{
	const struct record head = { .kind = (uint8_t)e->kind,
		                     .id = e->id,
		                     .wall_ms = e->wall_ms,
		                     .owner = e->owner,
		                     .peer = e->peer,
		                     .key = e->key,
		                     .key_case = e->key_case };

	return record_write(at, &head, e->frame, e->frame_len);
}

static bool has_record(const struct entry *e)
{
	return !e->is_gone && e->id > world.floor;
}

static bool has_row(const struct entry *e, const struct uuid *owner, uint64_t after)
{
	return !e->is_gone && e->id <= world.floor && e->id > after &&
	       uuid_equal(&e->owner, owner);
}

/* What was not yet handed on to every partition; not entries that are gone or have rows. */
static void send_records(struct cx_ctx *ctx)
{
	const uint32_t from = world.handed_on;
	size_t bytes = 0, at = 0;
	struct cx_buf *buf;

	world.handed_on = world.entry_count;
	for (uint32_t i = from; i < world.entry_count; i++)
		bytes += has_record(&world.entries[i]) ? record_size(world.entries[i].frame_len)
		                                       : 0;
	if (bytes == 0)
		return;
	buf = cx_buf_new(bytes);
	for (uint32_t i = from; i < world.entry_count; i++) {
		const struct entry *e = &world.entries[i];

		if (has_record(e))
			at += write_entry(cx_buf_data(buf) + at, e);
	}
	for (uint32_t n = 0; n < sim_relay.workers; n++) {
		struct log_records *m = CX_MSG_NEW(ctx, LOG_RECORDS, struct log_records);

		m->hdr.buf = cx_buf_ref(buf);
		m->first_id = world.entries[from].id;
		m->last_id = world.last_id;
		cx_assert(cx_send_reserved(ctx, sim_relay.partitions[n], &m->hdr) == CX_OK);
	}
	cx_buf_unref(buf);
}

static void on_commit(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct fake_log *l = state;
	const bool fails = world.is_faulty && cx_random(ctx) % FAILS_ONE_IN == 0 &&
	                   fault_happens(FAULT_COMMIT, "%u records", l->count);
	enum log_outcome outcomes[PENDING_MAX];

	(void)msg;
	world.failed_commits += fails;
	for (uint32_t i = 0; i < l->count; i++)
		outcomes[i] = fails ? LOG_FAILED : apply(ctx, &l->pending[i]);
	send_records(ctx);
	for (uint32_t i = 0; i < l->count; i++) {
		reply(ctx, &l->pending[i], outcomes[i]);
		cx_buf_unref(l->pending[i].frame);
	}
	l->count = 0;
}

/* ---- reader and store ---- */

static bool read_fails(struct cx_ctx *ctx, const struct cx_msg *msg)
{
	const bool fails = world.is_faulty && cx_random(ctx) % READ_FAILS_ONE_IN == 0 &&
	                   fault_happens(FAULT_READ, "of inbox/%u", msg->from.slot);

	world.failed_reads += fails;
	return fails;
}

static void on_index(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct uuid *owner = &CX_MSG_AS(struct log_index_msg, msg)->owner;
	struct log_indexed *m = CX_MSG_NEW(ctx, LOG_INDEXED, struct log_indexed);
	static struct log_index_entry rows[ENTRIES_MAX];

	(void)state;
	if (read_fails(ctx, msg)) {
		m->outcome = LOG_FAILED;
		cx_reply(ctx, msg, &m->hdr);
		return;
	}
	m->outcome = LOG_OK;
	for (uint32_t i = 0; i < world.entry_count; i++) {
		const struct entry *e = &world.entries[i];

		if (has_row(e, owner, 0))
			rows[m->count++] = (struct log_index_entry){ .id = e->id,
				                                     .wall_ms = e->wall_ms,
				                                     .peer = e->peer,
				                                     .key = e->key,
				                                     .key_case = e->key_case,
				                                     .frame_len = e->frame_len,
				                                     .kind = (uint8_t)e->kind };
	}
	if (m->count > 0)
		m->hdr.buf = cx_buf_copy(rows, m->count * sizeof(rows[0]));
	cx_reply(ctx, msg, &m->hdr);
}

static void on_fetch(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct log_fetch_msg *q = CX_MSG_AS(struct log_fetch_msg, msg);
	struct log_fetched *m = CX_MSG_NEW(ctx, LOG_FETCHED, struct log_fetched);
	static uint8_t room[1 << 20];
	size_t used = 0;

	(void)state;
	m->outcome = read_fails(ctx, msg) ? LOG_FAILED : LOG_OK;
	for (uint32_t i = 0; m->outcome == LOG_OK && i < world.entry_count; i++) {
		const struct entry *e = &world.entries[i];

		if (!has_row(e, &q->owner, q->after))
			continue;
		if (used > 0 && used + record_size(e->frame_len) > q->max_bytes)
			break;
		used += write_entry(room + used, e);
		m->count++;
	}
	if (used > 0)
		m->hdr.buf = cx_buf_copy(room, used);
	cx_reply(ctx, msg, &m->hdr);
}

static void get_session(struct store_result *m, const struct uuid *jti)
{
	uint32_t number, n;

	cx_assert(world_session_of(jti, &number, &n));
	m->user = world.users[number].id;
	if (n != world.users[number].session)
		m->outcome = STORE_NOT_FOUND;
}

static void on_store(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct store_op *op = CX_MSG_AS(struct store_op, msg);
	struct store_result *m = CX_MSG_NEW(ctx, STORE_RESULT, struct store_result);

	(void)state;
	m->what = op->what;
	m->outcome = STORE_OK;
	m->ttl_ms = INT64_C(86400000);
	if (op->what == STORE_SESSION_GET)
		get_session(m, &op->jti);
	cx_reply(ctx, msg, &m->hdr);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)state;
	(void)conf;
	send_records(ctx);
	return CX_OK;
}

/* Logs answer a settle and hand on its receipt in one turn: while the relay lives, none is durable and goes
 * unanswered. */
static bool has_settle(const struct fake_log *l)
{
	for (uint32_t i = 0; i < l->count; i++)
		if (l->pending[i].kind == SETTLE)
			return true;
	return false;
}

/* How this actor crashes alone. */
enum crash {
	AFTER_COMMIT, /* durable; start hands it on, nobody who asked is told */
	ERROR_TOLD,   /* lost; they are told so */
	SILENT,       /* lost; they find out at their deadlines */
	CRASH_COUNT
};

static void crash(struct cx_ctx *ctx, struct fake_log *l)
{
	enum crash how = (enum crash)(cx_random(ctx) % CRASH_COUNT);

	if (how == AFTER_COMMIT && has_settle(l))
		how = SILENT;
	world.crashes++;
	if (how != ERROR_TOLD && l->count > 0)
		world.calm_ms = cx_now_ms(ctx) + GIVEN_UP_MS;
	for (uint32_t i = 0; i < l->count; i++) {
		if (how == AFTER_COMMIT)
			apply(ctx, &l->pending[i]);
		else if (how == ERROR_TOLD)
			cx_answer_error(ctx, l->pending[i].caller, CX_EIO);
	}
}

/* What was not committed never was. */
static void stop(struct cx_ctx *ctx, void *state)
{
	struct fake_log *l = state;

	if (world.is_faulty) /* else a life ends, with all that is in memory */
		crash(ctx, l);
	for (uint32_t i = 0; i < l->count; i++)
		cx_buf_unref(l->pending[i].frame);
}

static const struct cx_handler handlers[] = {
	CX_ON(LOG_APPEND, struct log_append_msg, on_append),
	CX_ON(LOG_SETTLE, struct log_settle_msg, on_settle),
	CX_ON(LOG_RECEIPTS_DONE, struct log_receipts_done_msg, on_receipts_done),
	CX_ON(LOG_INDEX, struct log_index_msg, on_index),
	CX_ON(LOG_FETCH, struct log_fetch_msg, on_fetch),
	CX_ON(STORE_OP, struct store_op, on_store),
	CX_ON(TIMER_A, struct cx_msg_timer, on_commit),
};

const struct cx_actor_type fake_log_type = {
	.name = "fake_log",
	.state_size = sizeof(struct fake_log),
	.mailbox_cap = PENDING_MAX / 2,
	.start = start,
	.stop = stop,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
