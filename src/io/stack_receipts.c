/* SPDX-License-Identifier: MIT */
/* Invariants:
 *  1. A partition has one job at a time; its offset is done when the job is, so done never passes a
 *     record that is not finished.
 *  2. A group or letter that is done is not asked again; one whose answer was lost is, and its
 *     receipts may come twice.
 *  3. After KAFKA_REVOKED no new ask is made for the partition; what is under way is awaited, then
 *     kafka_revoked_done.
 *  4. A job with asks under way is not freed: dropped, it is freed by the last answer.
 *  5. Redis loses its last seconds when it crashes, and all when it is emptied.  So when it may have, what
 *     was done in the last STACK_LOST_MS or a little more is done again: such receipts come twice.  Older
 *     ones have reached who is connected; who is not loses them when Redis was emptied. */
#include "io/stack_receipts_internal.h"

#include <stdlib.h>

#include "io/redis_sub.h"
#include "io/stack_keys.h"
#include "wire/push.h"

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS 2000
#define PUBLISH_MS 5000
#define WORKERS_MAX 64

struct line {
	_Alignas(64) struct stack_receipts_figures figures;
};

static struct line all[WORKERS_MAX];

void stack_receipts_figures(struct stack_receipts_figures *out)
{
	*out = (struct stack_receipts_figures){ 0 };
	for (unsigned w = 0; w < WORKERS_MAX; w++) /* pairs with rcpt_count */
		figures_add(out, &all[w].figures, sizeof(*out));
}

/* ---- partitions ---- */

static struct rcpt_partition *find(const struct stack_receipts *s, int32_t number)
{
	struct rcpt_partition *p = s->partitions;

	while (p != NULL && p->number != number)
		p = p->next;
	return p;
}

static void drop_job(struct rcpt_partition *p)
{
	struct rcpt_job *const job = p->job;

	p->job = NULL;
	if (job == NULL)
		return;
	job->partition = NULL;
	if (job->pending == 0)
		rcpt_job_free(job);
}

static void drop_first(struct rcpt_partition *p)
{
	struct rcpt_batch *const batch = p->first;

	p->first = batch->next;
	cx_buf_unref(batch->buf);
	free(batch);
}

static void drop_work(struct rcpt_partition *p)
{
	drop_job(p);
	while (p->first != NULL)
		drop_first(p);
}

static void drop_partition(struct stack_receipts *s, struct rcpt_partition *p)
{
	struct rcpt_partition **at = &s->partitions;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	drop_work(p);
	free(p);
}

/* ---- jobs ---- */

static struct rcpt_job *job_of(struct rcpt_partition *p)
{
	if (p->job == NULL) {
		p->job = calloc(1, sizeof(*p->job));
		cx_assert(p->job != NULL);
		p->job->partition = p;
	}
	return p->job;
}

/* Records of the first batch, up to RCPT_JOB_MAX in the job.  Returns how many it holds now. */
static unsigned take_first(struct cx_ctx *ctx, struct stack_receipts *s,
                           struct rcpt_partition *p, unsigned n)
{
	struct rcpt_batch *const batch = p->first;
	struct rcpt_job *const job = p->job;
	const size_t len = cx_buf_len(batch->buf);
	struct kafka_record record;
	size_t at;

	cx_buf_unref(job->buf);
	job->buf = cx_buf_ref(batch->buf);
	for (; n < RCPT_JOB_MAX &&
	       kafka_record_next(cx_buf_bytes(batch->buf), len, &batch->at, &record);
	     n++) {
		job->next_offset = record.offset + 1;
		rcpt_take(s, job, &record, cx_wall_ms(ctx));
	}
	at = batch->at;
	if (!kafka_record_next(cx_buf_bytes(batch->buf), len, &at, &record)) {
		job->next_offset = batch->next_offset; /* gaps of the log are behind it too */
		drop_first(p);
	}
	return n;
}

/* The next records, of as many batches as there are: with one job at a time, what is in it is what
 * a round trip to Redis is good for.  A letter points into its batch's buffer, so that one is the
 * last.  is_over when there is nothing to ask. */
static void start_job(struct cx_ctx *ctx, struct stack_receipts *s, struct rcpt_partition *p)
{
	struct rcpt_job *const job = job_of(p);
	unsigned n = 0;

	job->is_active = true;
	job->is_over = job->is_waiting = job->has_failed = job->has_hashed = false;
	job->is_grouped = false;
	job->backoff_ms = 0;
	job->receipt_count = job->group_count = job->letter_count = 0;
	job->next_offset = p->done;
	do
		n = take_first(ctx, s, p, n);
	while (n < RCPT_JOB_MAX && p->first != NULL && job->letter_count == 0);
	rcpt_go(ctx, s, job);
}

static void move_marks(struct rcpt_partition *p, uint64_t now_ms)
{
	if (now_ms - p->mark_ms < STACK_LOST_MS)
		return;
	p->older_mark = p->mark;
	p->mark = p->done;
	p->mark_ms = now_ms;
}

/* inv. 5 */
static void do_again(struct cx_ctx *ctx, struct stack_receipts *s)
{
	for (struct rcpt_partition *p = s->partitions; p != NULL; p = p->next) {
		if (p->is_revoked || p->is_seeking || p->older_mark == p->done ||
		    p->older_mark == KAFKA_OFFSET_UNKNOWN)
			continue;
		if (kafka_seek(ctx, s->conf.consumer, RCPT_TOPIC, p->number, p->epoch,
		               p->older_mark) != CX_OK)
			continue; /* at the runtime's end */
		drop_work(p);
		p->is_seeking = true;
	}
}

static void end_job(struct cx_ctx *ctx, struct stack_receipts *s, struct rcpt_partition *p)
{
	struct rcpt_job *const job = p->job;
	enum cx_err err;

	move_marks(p, cx_now_ms(ctx));
	job->is_active = false;
	cx_buf_unref(job->buf);
	job->buf = NULL;
	p->done = job->next_offset;
	rcpt_count(&s->figures->batches, 1);
	err = kafka_done(ctx, s->conf.consumer, RCPT_TOPIC, p->number, p->epoch, p->done);
	(void)err; /* at the runtime's end */
}

static void end_revoked(struct cx_ctx *ctx, struct stack_receipts *s, struct rcpt_partition *p)
{
	const enum cx_err err = kafka_revoked_done(ctx, s->conf.consumer, RCPT_TOPIC, p->number,
	                                           p->epoch, p->done);

	(void)err; /* at the runtime's end */
	drop_partition(s, p);
}

static void advance(struct cx_ctx *ctx, struct stack_receipts *s, struct rcpt_partition *p)
{
	for (;;) {
		if (p->job != NULL && p->job->is_active) {
			if (!p->job->is_over)
				return;
			end_job(ctx, s, p);
		}
		if (p->is_revoked) {
			end_revoked(ctx, s, p);
			return;
		}
		if (p->first == NULL)
			return;
		start_job(ctx, s, p);
	}
}

static void arm_retry(struct cx_ctx *ctx, struct stack_receipts *s)
{
	const uint64_t now_ms = cx_now_ms(ctx);
	uint64_t due_ms = UINT64_MAX;

	for (const struct rcpt_partition *p = s->partitions; p != NULL; p = p->next)
		if (p->job != NULL && p->job->is_waiting && p->job->due_ms < due_ms)
			due_ms = p->job->due_ms;
	if (due_ms != UINT64_MAX)
		cx_timer_arm(ctx, &s->retry_timer, due_ms > now_ms ? due_ms - now_ms : 0,
		             TIMER_A);
}

void rcpt_try_later(struct cx_ctx *ctx, struct stack_receipts *s, struct rcpt_job *job)
{
	rcpt_count(&s->figures->failures, 1);
	if (job->partition->is_revoked) { /* batch_end answers */
		drop_job(job->partition);
		return;
	}
	if (job->backoff_ms == 0)
		job->backoff_ms = BACKOFF_FIRST_MS;
	else if (job->backoff_ms < BACKOFF_MAX_MS)
		job->backoff_ms *= 2;
	job->is_waiting = true;
	job->due_ms = cx_now_ms(ctx) + job->backoff_ms;
	arm_retry(ctx, s);
}

static void on_retry(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_receipts *const s = state;

	(void)msg;
	for (struct rcpt_partition *p = s->partitions; p != NULL; p = p->next)
		if (p->job != NULL && p->job->is_waiting && p->job->due_ms <= cx_now_ms(ctx)) {
			p->job->is_waiting = false;
			rcpt_go(ctx, s, p->job);
		}
	arm_retry(ctx, s);
}

/* ---- the consumer ---- */

static void on_assigned(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_receipts *const s = state;
	const struct kafka_assigned *const m = CX_MSG_AS(struct kafka_assigned, msg);
	struct rcpt_partition *p = find(s, m->partition);

	(void)ctx; /* batch_end goes on */
	if (m->topic != RCPT_TOPIC)
		return;
	if (p == NULL) {
		p = calloc(1, sizeof(*p));
		cx_assert(p != NULL);
		p->number = m->partition;
		p->next = s->partitions;
		s->partitions = p;
	}
	drop_work(p);
	p->epoch = m->epoch;
	p->done = p->mark = p->older_mark = m->next_offset;
	p->mark_ms = cx_now_ms(ctx);
	p->is_revoked = p->is_seeking = false;
}

static void on_records(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_receipts *const s = state;
	const struct kafka_records *const m = CX_MSG_AS(struct kafka_records, msg);
	struct rcpt_partition *const p = find(s, m->partition);
	struct rcpt_batch *batch;

	(void)ctx; /* batch_end goes on */
	if (m->topic != RCPT_TOPIC || p == NULL || p->epoch != m->epoch || p->is_revoked ||
	    p->is_seeking || msg->buf == NULL)
		return;
	batch = malloc(sizeof(*batch));
	cx_assert(batch != NULL);
	*batch = (struct rcpt_batch){ .buf = cx_buf_ref(msg->buf),
		                      .next_offset = m->next_offset };
	if (p->first == NULL)
		p->first = batch;
	else
		p->last->next = batch;
	p->last = batch;
}

static void on_revoked(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_receipts *const s = state;
	const struct kafka_revoked *const m = CX_MSG_AS(struct kafka_revoked, msg);
	struct rcpt_partition *const p = find(s, m->partition);

	(void)ctx;
	if (m->topic != RCPT_TOPIC || p == NULL)
		return;
	p->epoch = m->epoch;
	p->is_revoked = true;
	if (m->is_lost || p->job == NULL || p->job->pending == 0)
		drop_work(p); /* batch_end answers */
}

/* ---- answers ---- */

static void on_redis(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const bool is_answered = CX_MSG_AS(struct redis_reply, msg)->outcome == REDIS_ANSWERED;

	rcpt_answer(ctx, state, msg->corr, is_answered ? msg->buf : NULL, false);
}

static void on_produced(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	rcpt_answer(ctx, state, msg->corr, NULL,
	            CX_MSG_AS(struct kafka_produced, msg)->outcome == KAFKA_OK);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	rcpt_answer(ctx, state, msg->corr, NULL, false);
}

static void on_heard(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct wire_slice bytes =
		wire_slice(cx_buf_bytes(msg->buf), cx_buf_len(msg->buf));

	if (push_kind_of(bytes) == PUSH_LOST)
		do_again(ctx, state);
	else
		rcpt_hear(state, msg->buf, cx_now_ms(ctx)); /* batch_end sends */
}

static void on_subscribed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_receipts *const s = state;

	(void)msg;
	stack_routes_cache_hear(&s->routes, true);
	if (s->is_unheard) /* Redis was away: it may be another one */
		do_again(ctx, s);
	s->is_unheard = false;
}

/* As in stack_partition: who joins and leaves now is not heard, so no route is kept. */
static void on_unsubscribed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_receipts *const s = state;

	(void)ctx;
	(void)msg;
	stack_routes_cache_hear(&s->routes, false);
	s->is_unheard = true;
}

static void batch_end(struct cx_ctx *ctx, void *state)
{
	struct stack_receipts *const s = state;
	struct rcpt_partition *next;

	for (struct rcpt_partition *p = s->partitions; p != NULL; p = next) {
		next = p->next;
		advance(ctx, s, p);
	}
	stack_push_flush(&s->push, s->conf.settings->channel_prefix, &s->batch);
	if (s->batch.count > 0) {
		uint64_t corr;
		const enum cx_err err =
			redis_batch_send(ctx, s->conf.redis, &s->batch, PUBLISH_MS, &corr);

		(void)err; /* a hint that is lost: the connections read on at their next tick */
	}
}

/* ---- life ---- */

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct stack_receipts *const s = state;

	s->conf = *(const struct stack_receipts_conf *)conf;
	if (s->conf.settings->key == NULL)
		return CX_EINVAL;
	cx_assert(cx_worker_index(ctx) < WORKERS_MAX);
	s->figures = &all[cx_worker_index(ctx)].figures;
	rcpt_append_start(s);
	return CX_OK;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct stack_receipts *const s = state;

	(void)ctx;
	while (s->partitions != NULL)
		drop_partition(s, s->partitions);
	for (unsigned i = 0; i < RCPT_BUCKETS; i++)
		while (s->buckets[i] != NULL) {
			struct rcpt_job *const job = s->buckets[i]->job;

			s->buckets[i] = s->buckets[i]->next;
			if (--job->pending == 0)
				rcpt_job_free(job);
		}
	rcpt_append_stop(s);
	stack_push_free(&s->push);
	redis_batch_free(&s->batch);
}

static const struct cx_handler handlers[] = {
	CX_ON(KAFKA_ASSIGNED, struct kafka_assigned, on_assigned),
	CX_ON(KAFKA_RECORDS, struct kafka_records, on_records),
	CX_ON(KAFKA_REVOKED, struct kafka_revoked, on_revoked),
	CX_ON(KAFKA_PRODUCED, struct kafka_produced, on_produced),
	CX_ON(REDIS_REPLY, struct redis_reply, on_redis),
	CX_ON(REDIS_PUSH, struct redis_push, on_heard),
	CX_ON(REDIS_SUBSCRIBED, struct redis_subscribed, on_subscribed),
	CX_ON(REDIS_UNSUBSCRIBED, struct cx_msg, on_unsubscribed),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
	CX_ON(TIMER_A, struct cx_msg_timer, on_retry),
};

const struct cx_actor_type stack_receipts_type = {
	.name = "stack_receipts",
	.state_size = sizeof(struct stack_receipts),
	.conf_size = sizeof(struct stack_receipts_conf),
	.mailbox_cap = 65536,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.batch_end = batch_end,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
