/* SPDX-License-Identifier: MIT */
/* A thousand actors share the timers: armed, cancelled, fired. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define ACTORS 1000
#define FAR_MS 10000 /* 10 to 70 s */
#define FAR_SPREAD_MS 60000
#define NEAR_SPREAD_MS 10 /* 1 to 10 ms */

enum { ARM_FAR = CX_MSG_USER, ARM_NEAR, CANCEL, FIRED };

struct holder {
	const struct bench *bench;
	struct cx_timer *timers; /* made and freed by main, so that this is not measured */
	uint64_t count;
	uint64_t fired;
	uint32_t seed;
};

static void arm_all(struct cx_ctx *ctx, struct holder *h, uint64_t least_ms, uint32_t spread_ms)
{
	for (uint64_t i = 0; i < h->count; i++)
		cx_timer_arm(ctx, &h->timers[i], least_ms + bench_random(&h->seed) % spread_ms,
		             FIRED);
}

static void on_arm_far(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct holder *h = state;

	(void)msg;
	arm_all(ctx, h, FAR_MS, FAR_SPREAD_MS);
	bench_report(ctx, h->bench, h->count);
}

static void on_arm_near(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct holder *h = state;

	(void)msg;
	arm_all(ctx, h, 1, NEAR_SPREAD_MS);
}

static void on_cancel(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct holder *h = state;

	(void)msg;
	for (uint64_t i = 0; i < h->count; i++)
		cx_timer_cancel(ctx, &h->timers[i]);
	bench_report(ctx, h->bench, h->count);
}

static void on_fired(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct holder *h = state;

	(void)msg;
	if (++h->fired == h->count)
		bench_report(ctx, h->bench, h->fired);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	*(struct holder *)state = *(const struct holder *)conf;
	return CX_OK;
}

static const struct cx_handler handlers[] = {
	CX_ON(ARM_FAR, struct number, on_arm_far),
	CX_ON(ARM_NEAR, struct number, on_arm_near),
	CX_ON(CANCEL, struct number, on_cancel),
	CX_ON(FIRED, struct cx_msg_timer, on_fired),
};

static const struct cx_actor_type holder_type = {
	.name = "holder",
	.state_size = sizeof(struct holder),
	.conf_size = sizeof(struct holder),
	.mailbox_cap = 8,
	.placement = CX_PLACE_IO,
	.start = start,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

struct holders {
	struct cx_ref ref[ACTORS];
	struct cx_timer *timers;
};

static void boot(struct bench *b, struct holders *holders)
{
	struct holder conf = { .bench = b, .count = b->ops / ACTORS };

	holders->timers = calloc(b->ops, sizeof(*holders->timers));
	cx_assert(holders->timers != NULL && conf.count > 0);
	bench_boot(b, ACTORS);
	for (unsigned i = 0; i < ACTORS; i++) {
		conf.timers = &holders->timers[i * conf.count];
		conf.seed = i + 1;
		holders->ref[i] = bench_spawn(b, &holder_type, &conf, i);
	}
	bench_start(b);
}

/* ns from the first request to the last report */
static uint64_t all(struct bench *b, const struct holders *holders, uint32_t type)
{
	const uint64_t began_ns = bench_now_ns();

	for (unsigned i = 0; i < ACTORS; i++)
		bench_post(b, holders->ref[i], type, 0);
	bench_wait(b);
	return b->ended_ns - began_ns;
}

static void end(struct bench *b, struct holders *holders, struct outcome *out)
{
	out->ops = b->ops / ACTORS * ACTORS;
	bench_end(b);
	free(holders->timers);
}

void row_timers_arm(struct bench *b, struct outcome *out)
{
	struct holders holders;
	uint64_t before_bytes;

	boot(b, &holders);
	memset(holders.timers, 0,
	       b->ops * sizeof(*holders.timers)); /* resident before we look */
	before_bytes = bench_rss_bytes();
	out->ns = all(b, &holders, ARM_FAR);
	snprintf(out->more, sizeof(out->more), ",bytes=%u,kb_more=%u",
	         (unsigned)sizeof(*holders.timers),
	         (unsigned)((bench_rss_bytes() - before_bytes) / 1024));
	end(b, &holders, out);
}

void row_timers_cancel(struct bench *b, struct outcome *out)
{
	struct holders holders;

	boot(b, &holders);
	all(b, &holders, ARM_FAR);
	out->ns = all(b, &holders, CANCEL);
	end(b, &holders, out);
}

void row_timers_fire(struct bench *b, struct outcome *out)
{
	struct holders holders;

	boot(b, &holders);
	out->ns = all(b, &holders, ARM_NEAR);
	end(b, &holders, out);
}
