/* SPDX-License-Identifier: MIT */
/* What must stay true:
 *
 *   1. Order.  Appends of one sender are handed to Kafka in the order asked, so those to one recipient
 *      are written in that order.  One that must wait (for Redis, a claim of another, the quota, a full
 *      producer) holds back only later ones of its sender: each sender has a lane.
 *   2. LOG_OK only after KAFKA_OK; LOG_DUPLICATE only when the message is remembered (by the worker,
 *      so it is in the log, or here after KAFKA_OK) or the append of it that was under way is LOG_OK.
 *   3. A claim is freed only by the append that took it, and only when its record was surely not
 *      written: never handed to Kafka, or KAFKA_NOT_WRITTEN or KAFKA_BUSY.  Else it lapses.
 *   4. At most KAFKA_LOG_APPENDS_MAX appends with KAFKA_LOG_BYTES_MAX of frames are under way; one
 *      more is LOG_FAILED at once.  What is kept beyond an append is bounded: recent messages by
 *      RECENT_MAX, owners by QUOTA_OWNERS_MAX.
 *   5. Redis is a help, not a condition: without it appends go on, without claim and quota; duplicates
 *      are then found by the worker alone, which decides in any case. */
#include "io/kafka_log.h"

#include <stdlib.h>

#include "io/figures.h"
#include "io/kafka_log_state.h"
#include "wire/inbox_entry.h"
#include "wire/push.h"

#define TIMEOUT_MS 12000
#define WORKERS_MAX 64

struct line {
	_Alignas(64) struct kafka_log_figures figures;
};

static struct line all[WORKERS_MAX];

void kafka_log_figures(struct kafka_log_figures *out)
{
	*out = (struct kafka_log_figures){ 0 };
	for (unsigned w = 0; w < WORKERS_MAX; w++) /* pairs with klog_count */
		figures_add(out, &all[w].figures, sizeof(*out));
}

/* The end of a turn: until nothing is left that can be done now. */
static void work(struct cx_ctx *ctx, void *state)
{
	struct klog *const s = state;

	do {
		klog_run_lanes(ctx, s);
		klog_ask_gathered(ctx, s);
	} while (s->dirty_first != NULL);
	klog_need_tick(ctx, s);
}

/* ---- arrival ---- */

static void answer(struct cx_ctx *ctx, const struct cx_msg *msg, enum log_outcome outcome)
{
	struct log_appended *const m = CX_MSG_NEW(ctx, LOG_APPENDED, struct log_appended);

	m->outcome = outcome;
	cx_reply(ctx, msg, &m->hdr);
}

static bool is_room(const struct klog *s, const struct cx_msg *msg)
{
	return msg->buf != NULL && s->count < KAFKA_LOG_APPENDS_MAX &&
	       cx_buf_len(msg->buf) <= KAFKA_LOG_BYTES_MAX - s->bytes;
}

static void on_append(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct log_append_msg *const m = CX_MSG_AS(struct log_append_msg, msg);
	struct klog *const s = state;
	struct klog_append *leader, *a;
	struct stack_seen seen;
	struct uuid key;

	stack_seen_of(&seen, &m->peer, &m->key);
	key = recent_key(&seen);
	if (recent_has(&s->recent, &seen, cx_now_ms(ctx))) {
		klog_count(&s->figures->duplicates, 1);
		answer(ctx, msg, LOG_DUPLICATE);
		return;
	}
	if (!is_room(s, msg)) { /* inv. 4 */
		klog_count(&s->figures->refused, 1);
		klog_count(&s->figures->failed, 1);
		answer(ctx, msg, LOG_FAILED);
		return;
	}
	leader = uuid_map_get(&s->under_way, &key);
	a = klog_append_new(ctx, s, msg, &seen);
	if (leader != NULL) {
		klog_follow(s, leader, a);
		return;
	}
	uuid_map_put(&s->under_way, &key, a);
	klog_line_up(s, a, NULL);
	if (s->is_open)
		klog_ready(s, a);
	else
		klog_gather(s, a);
}

/* ---- answers ---- */

static void on_written(struct cx_ctx *ctx, struct klog *s, struct klog_append *a,
                       const struct kafka_produced *m)
{
	const uint64_t id = m->offset >= 0 ? inbox_id((uint64_t)m->offset + 1, 0) : 0;

	quota_end(a->quota, a->frame_len, id);
	klog_wake(s, a->quota);
	recent_add(&s->recent, &a->seen, cx_now_ms(ctx));
	klog_finish(ctx, s, a, LOG_OK, id);
}

static void on_not_written(struct cx_ctx *ctx, struct klog *s, struct klog_append *a,
                           enum kafka_outcome outcome)
{
	quota_end(a->quota, a->frame_len, 0);
	klog_wake(s, a->quota);
	/* inv. 1: it may be tried again only while no later one of its sender has gone */
	if (outcome == KAFKA_BUSY && a->lane->handed_over == a->number) {
		klog_put_back(ctx, s, a);
		return;
	}
	a->may_be_written = outcome == KAFKA_UNKNOWN;
	klog_finish(ctx, s, a, LOG_FAILED, 0);
}

static void on_produced(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct kafka_produced *const m = CX_MSG_AS(struct kafka_produced, msg);
	struct klog *const s = state;
	struct klog_append *const a = klog_take_at_kafka(s, msg->corr);

	if (a == NULL)
		return;
	if (m->outcome == KAFKA_OK)
		on_written(ctx, s, a, m);
	else
		on_not_written(ctx, s, a, m->outcome);
}

static void on_redis(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct redis_reply *const m = CX_MSG_AS(struct redis_reply, msg);

	klog_answered(ctx, state, msg->corr, m->outcome == REDIS_ANSWERED ? msg->buf : NULL);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const enum cx_err err = CX_MSG_AS(struct cx_msg_error, msg)->err;
	struct klog *const s = state;
	struct klog_append *a;

	if (klog_answered(ctx, s, msg->corr, NULL))
		return;
	a = klog_take_at_kafka(s, msg->corr);
	if (a != NULL)
		on_not_written(ctx, s, a, err == CX_EINVAL ? KAFKA_NOT_WRITTEN : KAFKA_UNKNOWN);
}

/* ---- news ---- */

static void on_push(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct wire_slice bytes =
		wire_slice(cx_buf_bytes(msg->buf), cx_buf_len(msg->buf));
	struct push_user_gone gone;
	struct klog *const s = state;
	size_t at = 0;

	(void)ctx;
	if (push_kind_of(bytes) != PUSH_USER_GONE)
		return;
	while (push_next_user_gone(bytes, &at, &gone))
		quota_doubt(&s->quotas, &gone.user);
}

/* Some news may have been missed. */
static void on_subscribed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct klog *const s = state;

	(void)ctx;
	(void)msg;
	quota_doubt_all(&s->quotas);
}

/* ---- time ---- */

static void on_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint64_t now_ms = cx_now_ms(ctx);
	struct klog *const s = state;
	struct klog_append *a, *next;

	(void)msg;
	s->is_producer_full = false;
	for (a = s->waiting_first; a != NULL; a = next) {
		next = a->wait_next;
		/* those who follow end with it: they may be next */
		while (a->deadline_ms <= now_ms && next != NULL &&
		       next->step == KLOG_FOLLOWING && next->leader == a)
			next = next->wait_next;
		if (a->deadline_ms <= now_ms)
			klog_finish(ctx, s, a, LOG_FAILED, 0);
		else if (a->step == KLOG_PENDING && a->look_ms <= now_ms)
			klog_gather(s, a);
		else if (a->step == KLOG_READY && a->lane->first == a) {
			if (quota_wants_look(a->quota, now_ms))
				klog_wake(s, a->quota);
			klog_mark(s, a->lane);
		}
	}
	work(ctx, s);
}

static void on_probe(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)msg;
	klog_probe(ctx, state);
	work(ctx, state);
}

/* ---- life ---- */

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct klog *const s = state;

	s->conf = *(const struct kafka_log_conf *)conf;
	s->settings = s->conf.settings;
	s->worker = cx_worker_index(ctx);
	steady_wall_start(&s->wall, ctx);
	s->timeout_ms = s->settings->delivery_timeout_ms > 0 ? s->settings->delivery_timeout_ms
	                                                     : TIMEOUT_MS;
	s->quotas.max_count = s->settings->inbox_max_messages;
	s->quotas.max_bytes = s->settings->inbox_max_bytes;
	cx_assert(s->worker < WORKERS_MAX && s->settings->dedup_window_ms > 0);
	s->figures = &all[s->worker].figures;
	return CX_OK;
}

static void end_all(struct cx_ctx *ctx, struct klog *s)
{
	for (unsigned i = 0; i < KLOG_BUCKETS; i++)
		while (s->at_kafka[i] != NULL) {
			struct klog_append *const a = s->at_kafka[i];

			s->at_kafka[i] = a->next;
			klog_finish(ctx, s, a, LOG_FAILED, 0);
		}
	while (s->waiting_first != NULL)
		klog_finish(ctx, s, s->waiting_first, LOG_FAILED, 0);
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct klog *const s = state;

	if (s->figures == NULL)
		return;
	s->is_producer_full = s->is_open = true; /* nothing more goes out; claims lapse */
	end_all(ctx, s);
	klog_questions_free(ctx, s);
	klog_ask_gathered(ctx, s);
	klog_run_lanes(ctx, s);
	klog_lanes_free(s);
	quota_table_free(&s->quotas);
	recent_free(&s->recent);
}

static const struct cx_handler handlers[] = {
	CX_ON(LOG_APPEND, struct log_append_msg, on_append),
	CX_ON(KAFKA_PRODUCED, struct kafka_produced, on_produced),
	CX_ON(REDIS_REPLY, struct redis_reply, on_redis),
	CX_ON(REDIS_PUSH, struct redis_push, on_push),
	CX_ON(REDIS_SUBSCRIBED, struct redis_subscribed, on_subscribed),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
	CX_ON(TIMER_A, struct cx_msg_timer, on_tick),
	CX_ON(TIMER_B, struct cx_msg_timer, on_probe),
};

const struct cx_actor_type kafka_log_type = {
	.name = "kafka_log",
	.state_size = sizeof(struct klog),
	.conf_size = sizeof(struct kafka_log_conf),
	.mailbox_cap = 16384,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.batch_end = work,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
