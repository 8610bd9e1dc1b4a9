/* SPDX-License-Identifier: MIT */
/* The writer: what its mailbox holds becomes one transaction, then each gets its answer. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cx/log.h>

#include "io/sqlite_shared.h"
#include "io/sqlite_stats.h"

#define MAILBOX_CAP 65536
#define BATCH_MAX 4096
#define COMMIT_BYTES (4u << 20) /* a batch of so many bytes is committed before more is taken */
#define DISTANCE_NS 1000000     /* from the start of one small commit to that of the next */
#define PUT_OFF_MS 5            /* for what nobody waits for */
#define COMPANY 256             /* answers that wait: not small any more */
#define RECORDS_BYTES (1u << 20) /* of one LOG_RECORDS after recovery */

enum answer_kind { ANSWER_APPENDED, ANSWER_SETTLED, ANSWER_STORE };

/* An answer that waits for the commit. */
struct answer {
	struct cx_caller who;
	uint64_t id;
	struct store_result *result;
	struct sqlite_id mark;
	enum log_outcome outcome;
	enum answer_kind kind;
	bool is_sure; /* whatever becomes of the commit */
};

struct writer {
	struct sqlite_engine *engine;
	struct sqlite_checkpoint *checkpoint;
	struct answer *answers;
	uint32_t answer_count, answer_cap;
	uint32_t appended;     /* entries since the last upkeep */
	uint64_t committed_ns; /* when the last commit began */
	uint64_t
		put_off_ns; /* since when something waits that nobody asks for; 0: nothing does */
	bool has_lingered;
	struct cx_timer timer;
};

static struct answer *answer_add(struct writer *w, const struct cx_msg *msg,
                                 enum answer_kind kind)
{
	struct answer *a;

	if (w->answer_count == w->answer_cap) {
		w->answer_cap = w->answer_cap == 0 ? BATCH_MAX : w->answer_cap * 2;
		w->answers = realloc(w->answers, w->answer_cap * sizeof(*w->answers));
		cx_assert(w->answers != NULL);
	}
	a = &w->answers[w->answer_count++];
	memset(a, 0, sizeof(*a));
	a->who = cx_caller_of(msg);
	a->kind = kind;
	return a;
}

/* ---- after the commit ---- */

static void answer_append(struct cx_ctx *ctx, const struct writer *w, struct answer *a, bool ok)
{
	struct log_appended *const m = CX_MSG_NEW(ctx, LOG_APPENDED, struct log_appended);

	if (!ok && (a->outcome == LOG_OK ||
	            (a->outcome == LOG_DUPLICATE && !sqlite_is_remembered(w->engine, a->mark))))
		a->outcome = LOG_FAILED;
	m->outcome = a->outcome;
	m->id = a->outcome == LOG_OK ? a->id : 0;
	cx_answer(ctx, a->who, &m->hdr);
}

static void answer_settle(struct cx_ctx *ctx, const struct answer *a, bool ok)
{
	struct log_settled *const m = CX_MSG_NEW(ctx, LOG_SETTLED, struct log_settled);

	m->outcome = ok || a->is_sure ? a->outcome : LOG_FAILED;
	cx_answer(ctx, a->who, &m->hdr);
}

static void answer_all(struct cx_ctx *ctx, struct writer *w, bool ok)
{
	uint32_t i;

	for (i = 0; i < w->answer_count; i++) {
		struct answer *const a = &w->answers[i];

		if (a->kind == ANSWER_APPENDED) {
			answer_append(ctx, w, a, ok);
		} else if (a->kind == ANSWER_SETTLED) {
			answer_settle(ctx, a, ok);
		} else {
			if (!ok)
				a->result->outcome = STORE_FAILED;
			cx_answer(ctx, a->who, &a->result->hdr);
		}
	}
	w->answer_count = 0;
}

static void send_shared(struct cx_ctx *ctx, struct cx_ref to, struct cx_msg *msg)
{
	const uint32_t type = msg->type; /* the message is gone, sent or not */

	/* Gone: the role ends, and whoever comes next reads it all again. */
	if (cx_send_reserved(ctx, to, msg) != CX_OK)
		cx_log(CX_DEBUG, "sqlite.receiver_gone", "type=%u", type);
}

static void send_records(struct cx_ctx *ctx, const struct sqlite_settings *settings,
                         struct cx_buf *bytes, uint64_t first_id, uint64_t last_id)
{
	uint32_t i;

	for (i = 0; i < settings->partition_count; i++) {
		struct log_records *const m = CX_MSG_NEW(ctx, LOG_RECORDS, struct log_records);

		m->hdr.buf = cx_buf_ref(bytes);
		m->first_id = first_id;
		m->last_id = last_id;
		send_shared(ctx, settings->partitions[i], &m->hdr);
	}
}

static void send_ended(struct cx_ctx *ctx, struct sqlite_engine *e)
{
	struct cx_buf *bytes;
	uint32_t i;

	if (e->ended_count == 0)
		return;
	bytes = cx_buf_copy(e->ended, e->ended_count * sizeof(*e->ended));
	for (i = 0; i < e->settings->partition_count; i++) {
		struct log_ended *const m = CX_MSG_NEW(ctx, LOG_ENDED, struct log_ended);

		m->hdr.buf = cx_buf_ref(bytes);
		m->count = e->ended_count;
		send_shared(ctx, e->settings->inboxes[i], &m->hdr);
	}
	cx_buf_unref(bytes);
	e->ended_count = 0;
}

static void send_spilled(struct cx_ctx *ctx, const struct sqlite_engine *e)
{
	struct cx_buf *bytes;
	uint32_t i;

	if (e->moved_count == 0)
		return;
	bytes = cx_buf_copy(e->moved, e->moved_count * sizeof(*e->moved));
	for (i = 0; i < e->settings->partition_count; i++) {
		struct log_spilled *const m = CX_MSG_NEW(ctx, LOG_SPILLED, struct log_spilled);

		m->hdr.buf = cx_buf_ref(bytes);
		m->count = e->moved_count;
		send_shared(ctx, e->settings->inboxes[i], &m->hdr);
	}
	cx_buf_unref(bytes);
}

static void commit(struct cx_ctx *ctx, struct writer *w)
{
	struct sqlite_engine *const e = w->engine;
	const uint64_t first_id = e->plan_count > 0 ? e->batch_first_id : e->next_id;
	const bool ok = sqlite_commit(e) == CX_OK;

	if (ok && e->committed != NULL && e->committed_entries)
		send_records(ctx, e->settings, e->committed, first_id, e->next_id - 1);
	send_ended(ctx, e);
	answer_all(ctx, w, ok);
}

/* Nobody waits for receipts that are done: they go with the next commit, or soon by themselves. */
static bool is_put_off(struct cx_ctx *ctx, struct writer *w, uint64_t now_ns)
{
	const struct sqlite_engine *const e = w->engine;

	if (w->answer_count > 0 || e->broken || (e->plan_count == 0 && !e->in_transaction))
		return false;
	if (w->put_off_ns == 0)
		w->put_off_ns = now_ns;
	if (now_ns - w->put_off_ns >= PUT_OFF_MS * UINT64_C(1000000))
		return false;
	cx_timer_arm(ctx, &w->timer, PUT_OFF_MS, TIMER_A);
	return true;
}

/* Commits cost nearly the same whether they hold ten messages or a hundred, so under load they
 * keep a distance: true when this batch shall wait for company.  The message to itself makes
 * sure that there is a next turn. */
static bool is_lingering(struct cx_ctx *ctx, struct writer *w, uint64_t now_ns)
{
	const uint64_t since_ns = now_ns - w->committed_ns;
	const struct timespec rest = { .tv_nsec = (long)(DISTANCE_NS - since_ns) };
	struct cx_msg *again;

	if (w->has_lingered || w->answer_count == 0 || w->answer_count >= COMPANY ||
	    since_ns >= DISTANCE_NS)
		return false;
	again = cx_msg_new(ctx, TIMER_B, sizeof(struct cx_msg_timer));
	if (cx_send_reserved(ctx, cx_self(ctx), again) != CX_OK)
		return false;
	nanosleep(&rest, NULL);
	w->has_lingered = true;
	return true;
}

static void batch_end(struct cx_ctx *ctx, void *state)
{
	struct writer *const w = state;
	struct sqlite_engine *const e = w->engine;
	const uint64_t now_ns = sqlite_clock_ns();
	uint64_t wal_bytes;
	uint32_t due_ms;

	if (is_put_off(ctx, w, now_ns) || is_lingering(ctx, w, now_ns))
		return;
	w->committed_ns = now_ns;
	w->put_off_ns = 0;
	w->has_lingered = false;
	sqlite_clock(e, cx_now_ms(ctx), cx_wall_ms(ctx));
	commit(ctx, w);
	due_ms = sqlite_upkeep(e, w->appended * 2);
	w->appended = 0;
	send_spilled(ctx, e);
	send_ended(ctx, e);
	wal_bytes = (uint64_t)e->wal_frames * e->page_bytes;
	if (sqlite_checkpoint_turn(w->checkpoint, e->db, wal_bytes))
		e->wal_frames = 0;
	sqlite_gauge(SQLITE_GAUGE_WAL_BYTES, wal_bytes);
	cx_timer_arm(ctx, &w->timer, due_ms, TIMER_A);
}

/* ---- gathering ---- */

static struct sqlite_engine *gather(struct cx_ctx *ctx, struct writer *w)
{
	if (w->engine->plan_bytes > COMMIT_BYTES)
		commit(ctx, w);
	sqlite_clock(w->engine, cx_now_ms(ctx), cx_wall_ms(ctx));
	return w->engine;
}

static void on_append(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct writer *const w = state;
	struct sqlite_engine *const e = gather(ctx, w);
	struct answer *const a = answer_add(w, msg, ANSWER_APPENDED);

	a->outcome = sqlite_append(e, CX_MSG_AS(struct log_append_msg, msg), &a->id, &a->mark);
	w->appended++;
	if (a->outcome == LOG_DUPLICATE)
		sqlite_count(SQLITE_COUNT_DUPLICATES, 1);
}

static void on_settle(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct writer *const w = state;
	struct sqlite_engine *const e = gather(ctx, w);
	struct answer *const a = answer_add(w, msg, ANSWER_SETTLED);
	const enum sqlite_settled settled =
		sqlite_settle(e, CX_MSG_AS(struct log_settle_msg, msg));

	w->appended += msg->buf != NULL;
	a->outcome = settled == SQLITE_SETTLE_FAILED ? LOG_FAILED : LOG_OK;
	a->is_sure = settled == SQLITE_SETTLED_BEFORE;
}

static void on_receipts_done(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct writer *const w = state;

	sqlite_receipts_done(gather(ctx, w), CX_MSG_AS(struct log_receipts_done_msg, msg));
}

static void on_store_op(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct writer *const w = state;
	struct sqlite_engine *const e = gather(ctx, w);
	struct answer *const a = answer_add(w, msg, ANSWER_STORE);

	a->result = CX_MSG_NEW(ctx, STORE_RESULT, struct store_result);
	sqlite_store_write(e, CX_MSG_AS(struct store_op, msg), a->result);
}

static void on_timer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg; /* the work is done by batch_end */
}

/* ---- life ---- */

/* What waited when the file was last closed, as if it had just been committed: ids unchanged. */
struct replay {
	struct cx_buf *bytes;
	size_t used;
	uint64_t first_id, last_id;
};

static void replay_flush(struct cx_ctx *ctx, const struct sqlite_engine *e,
                         struct replay *replay)
{
	if (replay->used > 0) {
		cx_buf_trim(replay->bytes, replay->used);
		send_records(ctx, e->settings, replay->bytes, replay->first_id,
		             replay->last_id);
	}
	cx_buf_unref(replay->bytes);
	memset(replay, 0, sizeof(*replay));
}

static void replay_add(struct cx_ctx *ctx, const struct sqlite_engine *e, struct replay *replay,
                       const struct record *r)
{
	if (replay->bytes != NULL && replay->used + r->size > cx_buf_len(replay->bytes))
		replay_flush(ctx, e, replay);
	if (replay->bytes == NULL) {
		replay->bytes = cx_buf_new(r->size > RECORDS_BYTES ? r->size : RECORDS_BYTES);
		replay->first_id = r->id;
	}
	memcpy(cx_buf_data(replay->bytes) + replay->used, r, r->size);
	replay->used += r->size;
	replay->last_id = r->id;
}

static void replay_all(struct cx_ctx *ctx, struct sqlite_engine *e)
{
	struct replay replay = { 0 };
	uint32_t k, i;

	for (k = 0; k < e->index.count; k++) {
		const struct sqlite_segment *const s = sqlite_index_at(&e->index, k);

		for (i = 0; i < s->count; i++)
			if (s->entries[i].state != SQLITE_ENTRY_DEAD)
				replay_add(ctx, e, &replay, sqlite_segment_record(s, i));
	}
	replay_flush(ctx, e, &replay);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct writer *const w = state;

	(void)conf; /* sqlite_setup has it */
	if (!sqlite_shared.is_open)
		return CX_EINVAL;
	w->engine = &sqlite_shared.engine;
	w->checkpoint = &sqlite_shared.checkpoint;
	sqlite_clock(w->engine, cx_now_ms(ctx), cx_wall_ms(ctx));
	replay_all(ctx, w->engine);
	cx_timer_arm(ctx, &w->timer, 1, TIMER_A);
	return CX_OK;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct writer *const w = state;

	if (w->engine != NULL) {
		commit(ctx, w);
		sqlite_engine_release(w->engine);
	}
	free(w->answers);
	w->answers = NULL;
}

static const struct cx_handler handlers[] = {
	CX_ON(LOG_APPEND, struct log_append_msg, on_append),
	CX_ON(LOG_SETTLE, struct log_settle_msg, on_settle),
	CX_ON(LOG_RECEIPTS_DONE, struct log_receipts_done_msg, on_receipts_done),
	CX_ON(STORE_OP, struct store_op, on_store_op),
	CX_ON(TIMER_A, struct cx_msg_timer, on_timer),
	CX_ON(TIMER_B, struct cx_msg_timer, on_timer),
};

const struct cx_actor_type sqlite_writer_type = {
	.name = "sqlite_writer",
	.state_size = sizeof(struct writer),
	.conf_size = sizeof(struct sqlite_settings *),
	.mailbox_cap = MAILBOX_CAP,
	.batch_max = BATCH_MAX,
	.placement = CX_PLACE_THREAD,
	.start = start,
	.stop = stop,
	.batch_end = batch_end,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
