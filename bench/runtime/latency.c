/* SPDX-License-Identifier: MIT */
/* How long one message takes to an actor on another worker, which sleeps or is busy.
 *
 * With two workers an actor of the other worker sends, driven by a timer; with one there is no other
 * worker, so a thread from outside posts. */
#include <stdlib.h>
#include <time.h>

#include "bench.h"

#define PERIOD_MS 1
#define BUSY_ACTORS 16
#define BUSY_NS 1000

enum { STAMP = CX_MSG_USER, TICK, SPIN, BEGIN };

/* --- receiver: keeps how old each message is ------------------------------------------------- */

struct samples {
	uint64_t *ns;
	uint64_t count;
	uint64_t cap;
};

struct receiver {
	const struct bench *bench;
	struct samples *samples; /* main's; touched by nobody else until all have come */
};

static void on_stamp(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct receiver *r = state;
	struct samples *s = r->samples;

	if (s->count == s->cap)
		return; /* the sender had not heard yet */
	s->ns[s->count++] = bench_now_ns() - CX_MSG_AS(struct number, msg)->value;
	if (s->count == s->cap)
		bench_report(ctx, r->bench, s->count);
}

static enum cx_err start_receiver(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	*(struct receiver *)state = *(const struct receiver *)conf;
	return CX_OK;
}

static const struct cx_handler receiver_handlers[] = {
	CX_ON(STAMP, struct number, on_stamp),
};

static const struct cx_actor_type receiver_type = {
	.name = "receiver",
	.state_size = sizeof(struct receiver),
	.conf_size = sizeof(struct receiver),
	.mailbox_cap = 1024,
	.placement = CX_PLACE_IO,
	.start = start_receiver,
	.handlers = receiver_handlers,
	.handler_count = CX_COUNTOF(receiver_handlers),
};

/* --- sender: one message each ms ------------------------------------------------------------- */

struct sender {
	struct cx_ref receiver;
	struct cx_timer timer;
};

static void on_begin(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct sender *s = state;

	(void)msg;
	cx_timer_arm(ctx, &s->timer, PERIOD_MS, TICK);
}

static void on_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct sender *s = state;

	(void)msg;
	bench_send(ctx, s->receiver, STAMP, bench_now_ns());
	cx_timer_arm(ctx, &s->timer, PERIOD_MS, TICK);
}

static enum cx_err start_sender(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	((struct sender *)state)->receiver = *(const struct cx_ref *)conf;
	return CX_OK;
}

static const struct cx_handler sender_handlers[] = {
	CX_ON(BEGIN, struct number, on_begin),
	CX_ON(TICK, struct cx_msg_timer, on_tick),
};

static const struct cx_actor_type sender_type = {
	.name = "sender",
	.state_size = sizeof(struct sender),
	.conf_size = sizeof(struct cx_ref),
	.mailbox_cap = 8,
	.placement = CX_PLACE_IO,
	.start = start_sender,
	.handlers = sender_handlers,
	.handler_count = CX_COUNTOF(sender_handlers),
};

/* --- busy: always has a message to itself, and a microsecond of work for it ----------------- */

static void on_spin(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint64_t end_ns = bench_now_ns() + BUSY_NS;

	(void)state;
	(void)msg;
	while (bench_now_ns() < end_ns)
		;
	bench_send(ctx, cx_self(ctx), SPIN, 0);
}

static const struct cx_handler busy_handlers[] = {
	CX_ON(SPIN, struct number, on_spin),
};

static const struct cx_actor_type busy_type = {
	.name = "busy",
	.mailbox_cap = 8,
	.placement = CX_PLACE_IO,
	.handlers = busy_handlers,
	.handler_count = CX_COUNTOF(busy_handlers),
};

/* --- rows ------------------------------------------------------------------------------------ */

static int compare_u64(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a;
	const uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void post_all(struct bench *b, struct cx_ref receiver)
{
	const struct timespec period = { .tv_nsec = PERIOD_MS * 1000000 };

	for (uint64_t i = 0; i < b->ops; i++) {
		nanosleep(&period, NULL);
		bench_post(b, receiver, STAMP, bench_now_ns());
	}
}

static void run(struct bench *b, struct outcome *out, unsigned busy_actors)
{
	struct samples samples = { .ns = calloc(b->ops, sizeof(uint64_t)), .cap = b->ops };
	const struct receiver receiver_conf = { .bench = b, .samples = &samples };
	struct cx_ref receiver, sender;

	cx_assert(samples.ns != NULL);
	bench_boot(b, 1);
	receiver = bench_spawn(b, &receiver_type, &receiver_conf, 1);
	sender = bench_spawn(b, &sender_type, &receiver, 0);
	bench_start(b);
	for (unsigned i = 0; i < busy_actors; i++)
		bench_post(b, bench_spawn(b, &busy_type, NULL, 1), SPIN, 0);
	if (b->workers > 1)
		bench_post(b, sender, BEGIN, 0);
	else
		post_all(b, receiver);
	bench_wait(b);
	bench_end(b);
	qsort(samples.ns, samples.count, sizeof(samples.ns[0]), compare_u64);
	out->ops = samples.count;
	out->p50_ns = samples.ns[samples.count / 2];
	out->p99_ns = samples.ns[samples.count * 99 / 100];
	out->p999_ns = samples.ns[samples.count * 999 / 1000];
	free(samples.ns);
}

void row_latency_sleeping(struct bench *b, struct outcome *out)
{
	run(b, out, 0);
}

void row_latency_busy(struct bench *b, struct outcome *out)
{
	run(b, out, BUSY_ACTORS);
}
