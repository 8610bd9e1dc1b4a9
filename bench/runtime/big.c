/* SPDX-License-Identifier: MIT */
/* Many to many: each of 120 actors pings a random other, waits for its pong, and so on. */
#include "bench.h"

#define ACTORS 120

enum { PING = CX_MSG_USER, PONG, BEGIN };

struct actor_conf {
	const struct bench *bench;
	const struct cx_ref *all; /* ACTORS of them; outlives the runtime */
	uint64_t pings;
	uint32_t self;
};

struct actor {
	struct actor_conf conf;
	uint64_t left; /* pings that have no pong yet */
	uint32_t seed;
};

static void ping(struct cx_ctx *ctx, struct actor *a)
{
	uint32_t other = bench_random(&a->seed) % (ACTORS - 1);

	if (other >= a->conf.self)
		other++;
	bench_send(ctx, a->conf.all[other], PING, a->left);
}

static void on_begin(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)msg;
	ping(ctx, state);
}

static void on_ping(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	bench_send(ctx, msg->from, PONG, CX_MSG_AS(struct number, msg)->value);
}

static void on_pong(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct actor *a = state;

	cx_assert(CX_MSG_AS(struct number, msg)->value == a->left);
	if (--a->left == 0)
		bench_report(ctx, a->conf.bench, a->conf.pings);
	else
		ping(ctx, a);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct actor *a = state;

	(void)ctx;
	a->conf = *(const struct actor_conf *)conf;
	a->left = a->conf.pings;
	a->seed = a->conf.self + 1;
	return CX_OK;
}

static const struct cx_handler handlers[] = {
	CX_ON(PING, struct number, on_ping),
	CX_ON(PONG, struct number, on_pong),
	CX_ON(BEGIN, struct number, on_begin),
};

static const struct cx_actor_type actor_type = {
	.name = "actor",
	.state_size = sizeof(struct actor),
	.conf_size = sizeof(struct actor_conf),
	.mailbox_cap = 2 * ACTORS, /* a ping from each other and one pong */
	.placement = CX_PLACE_IO,
	.start = start,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

void row_big(struct bench *b, struct outcome *out)
{
	struct cx_ref all[ACTORS];
	struct actor_conf conf = { .bench = b, .all = all, .pings = b->ops / ACTORS };
	uint64_t began_ns;

	bench_boot(b, ACTORS);
	for (conf.self = 0; conf.self < ACTORS; conf.self++)
		all[conf.self] = bench_spawn(b, &actor_type, &conf, conf.self);
	bench_start(b);
	began_ns = bench_now_ns();
	for (unsigned i = 0; i < ACTORS; i++)
		bench_post(b, all[i], BEGIN, 0);
	bench_wait(b);
	out->ops = b->sum;
	out->ns = b->ended_ns - began_ns;
	bench_end(b);
}
