/* SPDX-License-Identifier: MIT */
#include "io/stack_partition_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#include <cx/log.h>

#include "io/figures.h"
#include "io/kafka_consumer.h"
#include "io/kafka_producer.h"
#include "io/redis_sub.h"
#include "io/stack_heard.h"
#include "io/stack_keys.h"
#include "io/stack_rebuild.h"

#define MAILBOX_CAP 65536
#define USERS_MAX 65536
#define ROUTES_MAX 65536
#define ROUTES_LIFE_MS 60000
#define WORKERS_MAX 64
#define TICK_MS 3000 /* a quiet partition looks at its fence */

struct line {
	_Alignas(64) struct stack_partition_figures figures;
};

static struct line all[WORKERS_MAX];

void stack_partition_figures(struct stack_partition_figures *out)
{
	*out = (struct stack_partition_figures){ 0 };
	for (unsigned w = 0; w < WORKERS_MAX; w++) /* pairs with stack_partition_count */
		figures_add(out, &all[w].figures, sizeof(*out));
}

static struct stack_part *find(const struct stack_partition *s, int32_t number)
{
	struct stack_part *p = s->parts;

	while (p != NULL && p->number != number)
		p = p->next;
	return p;
}

/* ---- Redis ---- */

static struct stack_batch *find_asked(const struct stack_partition *s, uint64_t corr,
                                      struct stack_part **of)
{
	for (struct stack_part *p = s->parts; p != NULL; p = p->next)
		for (struct stack_batch *b = p->first; b != NULL; b = b->next)
			if (b->state == STACK_BATCH_ASKED && b->corr == corr) {
				*of = p;
				return b;
			}
	return NULL;
}

static struct stack_part *find_looking(const struct stack_partition *s, uint64_t corr)
{
	struct stack_part *p = s->parts;

	while (p != NULL && p->look_corr != corr)
		p = p->next;
	return p;
}

static void pump_all(struct cx_ctx *ctx, struct stack_partition *s)
{
	for (struct stack_part *p = s->parts; p != NULL; p = p->next)
		stack_part_pump(ctx, s, p);
}

/* values NULL: there is no answer.  Returns false: it was not a question to Redis. */
static bool take_answer(struct cx_ctx *ctx, struct stack_partition *s, uint64_t corr,
                        const struct cx_buf *values)
{
	struct stack_part *p = find_looking(s, corr);
	struct stack_batch *b;

	if (p != NULL) {
		p->look_corr = 0;
		if (values != NULL)
			stack_part_on_fence(ctx, s, p, values);
		else
			stack_part_fall(ctx, s, p);
		return true;
	}
	b = find_asked(s, corr, &p);
	if (b == NULL)
		return false; /* of pushes, or of an epoch that ended */
	if (values == NULL || !stack_batch_answered(ctx, s, p, b, values)) {
		stack_part_fail(ctx, s, p, b);
	} else {
		stack_work_drop(s, b);
		b->state = STACK_BATCH_DONE;
		p->asked--;
		p->backoff_ms = 0;
		p->is_fresh = true;
		stack_part_finish(ctx, s, p);
	}
	pump_all(ctx, s);
	return true;
}

static void on_reply(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const bool is_answered = CX_MSG_AS(struct redis_reply, msg)->outcome == REDIS_ANSWERED;

	take_answer(ctx, state, msg->corr, is_answered ? msg->buf : NULL);
}

static void on_changed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_partition *const s = state;

	(void)msg;
	stack_batch_forget(s);
	stack_routes_cache_clear(&s->routes);
	for (struct stack_part *p = s->parts; p != NULL; p = p->next) {
		p->is_doubted = true;
		stack_part_pump(ctx, s, p);
	}
}

/* ---- Kafka ---- */

static void on_assigned(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct kafka_assigned *const m = CX_MSG_AS(struct kafka_assigned, msg);
	struct stack_partition *const s = state;
	struct stack_part *p = find(s, m->partition);

	if (p == NULL) {
		p = calloc(1, sizeof(*p));
		cx_assert(p != NULL);
		p->number = m->partition;
		p->next = s->parts;
		s->parts = p;
	}
	if (p->state !=
	    STACK_PART_SEEKING) { /* another life: its fence says what is to be known */
		p->acked_below = 0;
		p->knows_acked = false;
	}
	stack_part_drop(ctx, s, p);
	p->epoch = m->epoch;
	p->done_to = m->next_offset;
	p->look_below = 0;
	p->backoff_ms = 0;
	stack_part_look(ctx, s, p);
}

static struct stack_part *part_of(const struct stack_partition *s, int32_t number,
                                  uint32_t epoch)
{
	struct stack_part *const p = find(s, number);

	return p != NULL && p->epoch == epoch && p->state != STACK_PART_IDLE ? p : NULL;
}

static void on_records(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct kafka_records *const m = CX_MSG_AS(struct kafka_records, msg);
	struct stack_part *const p = part_of(state, m->partition, m->epoch);

	if (p == NULL || p->state == STACK_PART_SEEKING || p->state == STACK_PART_REBUILDING)
		return; /* they come again */
	stack_part_add(p, m);
	stack_part_pump(ctx, state, p);
}

static void on_revoked(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct kafka_revoked *const m = CX_MSG_AS(struct kafka_revoked, msg);
	struct stack_partition *const s = state;
	struct stack_part *const p = part_of(s, m->partition, m->epoch);
	int64_t done_to = KAFKA_OFFSET_UNKNOWN;

	if (p != NULL) {
		if (!m->is_lost && p->state != STACK_PART_SEEKING &&
		    p->state != STACK_PART_REBUILDING)
			done_to = p->done_to;
		stack_part_drop(ctx, s, p);
	}
	if (kafka_revoked_done(ctx, s->conf.consumer, m->topic, m->partition, m->epoch,
	                       done_to) != CX_OK)
		cx_log(CX_WARN, "stack.consumer_gone", "partition=%" PRId32, m->partition);
}

/* ---- dead letters ---- */

static void take_dead(struct cx_ctx *ctx, struct stack_partition *s, uint64_t corr,
                      bool is_written)
{
	for (struct stack_part *p = s->parts; p != NULL; p = p->next)
		for (struct stack_batch *b = p->first; b != NULL; b = b->next) {
			if (!stack_dead_answered(s, b, corr, is_written))
				continue;
			if (!is_written)
				stack_part_wake_at(ctx, s,
				                   cx_now_ms(ctx) + STACK_DEAD_RETRY_MS);
			stack_part_finish(ctx, s, p);
			stack_part_pump(ctx, s, p);
			return;
		}
}

static void on_produced(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	/* KAFKA_UNKNOWN too is tried again: twice is better than never. */
	take_dead(ctx, state, msg->corr,
	          CX_MSG_AS(struct kafka_produced, msg)->outcome == KAFKA_OK);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	if (!take_answer(ctx, state, msg->corr, NULL))
		take_dead(ctx, state, msg->corr, false);
}

static void on_timer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_partition *const s = state;
	const uint64_t now_ms = cx_now_ms(ctx);

	(void)msg;
	for (struct stack_part *p = s->parts; p != NULL; p = p->next) {
		for (struct stack_batch *b = p->first; b != NULL; b = b->next)
			if (b->dead_left > 0 && !stack_dead_ask(ctx, s, p, b))
				stack_part_wake_at(ctx, s, now_ms + STACK_DEAD_RETRY_MS);
		if (p->state != STACK_PART_FALLEN)
			continue;
		if (now_ms >= p->retry_ms)
			stack_part_look(ctx, s, p);
		else
			stack_part_wake_at(ctx, s, p->retry_ms);
	}
}

/* Redis can be emptied and stay the same (FLUSHALL): a batch would find that, but none may come. */
static void on_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_partition *const s = state;

	(void)msg;
	for (struct stack_part *p = s->parts; p != NULL; p = p->next) {
		if (!p->is_fresh && p->first == NULL && p->state == STACK_PART_RUNNING)
			stack_part_look(ctx, s, p);
		p->is_fresh = false;
	}
	stack_sweep(ctx, s);
	cx_timer_arm(ctx, &s->tick, TICK_MS, TIMER_B);
}

/* ---- routes ---- */

static void on_push(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_partition *const s = state;
	const struct stack_heard heard = { &s->routes, &s->users, s->settings->channel_prefix,
		                           &s->redis };
	enum cx_err err = CX_OK;
	uint64_t corr;

	stack_partition_count(&s->figures->looks,
	                      stack_heard_take(&heard, msg->buf, cx_now_ms(ctx)));
	if (s->redis.count > 0)
		err = redis_batch_send(ctx, s->conf.redis, &s->redis, STACK_CALL_MS, &corr);
	(void)err; /* hints */
}

static void on_subscribed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_partition *const s = state;

	(void)ctx;
	(void)msg;
	stack_routes_cache_hear(&s->routes, true);
}

/* Who joins and leaves now is not heard: each batch reads the routes that it needs. */
static void on_unsubscribed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_partition *const s = state;

	(void)ctx;
	(void)msg;
	stack_routes_cache_hear(&s->routes, false);
}

static void on_rebuilt(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_partition *const s = state;

	(void)msg;
	s->rebuilding -= s->rebuilding > 0;
	for (struct stack_part *p = s->parts; p != NULL && s->rebuilding == 0; p = p->next)
		stack_part_rebuilt(ctx, s, p);
}

/* ---- life ---- */

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct stack_partition *const s = state;

	s->conf = *(const struct stack_partition_conf *)conf;
	s->settings = s->conf.settings;
	if (s->settings->dedup_window_ms <= s->settings->message_ttl_ms ||
	    s->settings->message_ttl_ms <= 0)
		return CX_EINVAL;
	s->figures = &all[cx_worker_index(ctx) % WORKERS_MAX].figures;
	s->token = cx_random(ctx);
	s->sweep_bucket = (unsigned)(cx_random(ctx) % STACK_SEEN_BUCKETS);
	steady_wall_start(&s->wall, ctx);
	stack_users_init(&s->users, USERS_MAX);
	stack_routes_cache_init(&s->routes, ROUTES_MAX, ROUTES_LIFE_MS);
	stack_batch_scratch_init(s);
	cx_timer_arm(ctx, &s->tick, TICK_MS, TIMER_B);
	return CX_OK;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct stack_partition *const s = state;

	while (s->parts != NULL) {
		struct stack_part *const p = s->parts;

		s->parts = p->next;
		stack_part_drop(ctx, s, p);
		free(p);
	}
	stack_batch_forget(s);
	stack_batch_scratch_free(s);
	stack_routes_cache_free(&s->routes);
	stack_push_free(&s->push);
	redis_batch_free(&s->redis);
}

static const struct cx_handler handlers[] = {
	CX_ON(KAFKA_ASSIGNED, struct kafka_assigned, on_assigned),
	CX_ON(KAFKA_RECORDS, struct kafka_records, on_records),
	CX_ON(KAFKA_REVOKED, struct kafka_revoked, on_revoked),
	CX_ON(KAFKA_PRODUCED, struct kafka_produced, on_produced),
	CX_ON(REDIS_REPLY, struct redis_reply, on_reply),
	CX_ON(REDIS_CHANGED, struct redis_changed, on_changed),
	CX_ON(REDIS_PUSH, struct redis_push, on_push),
	CX_ON(REDIS_SUBSCRIBED, struct redis_subscribed, on_subscribed),
	CX_ON(REDIS_UNSUBSCRIBED, struct cx_msg, on_unsubscribed),
	CX_ON(STACK_REBUILT, struct stack_rebuilt, on_rebuilt),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
	CX_ON(TIMER_A, struct cx_msg_timer, on_timer),
	CX_ON(TIMER_B, struct cx_msg_timer, on_tick),
};

const struct cx_actor_type stack_partition_type = {
	.name = "stack_partition",
	.state_size = sizeof(struct stack_partition),
	.conf_size = sizeof(struct stack_partition_conf),
	.mailbox_cap = MAILBOX_CAP,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
