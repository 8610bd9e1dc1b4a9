/* SPDX-License-Identifier: MIT */
/* A parent starts children, a thousand at a time; each gets a message and answers it.  Then it ends
 * (spawn), or stays and does nothing (idle: what does it cost?). */
#include <stdio.h>

#include "bench.h"

#define AT_ONCE 1000
#define WARM_UP 2000 /* children before idle memory is looked at first */

enum { HELLO = CX_MSG_USER, DONE, BEGIN };

/* --- child ------------------------------------------------------------------------------------ */

struct child {
	uint64_t value; /* what an actor keeps of its own: 8 bytes */
};

static void on_hello(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct child *child = state;

	child->value = CX_MSG_AS(struct number, msg)->value;
	bench_send(ctx, msg->from, DONE, child->value);
}

static void on_hello_end(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	on_hello(ctx, state, msg);
	cx_stop(ctx);
}

static const struct cx_handler staying_handlers[] = {
	CX_ON(HELLO, struct number, on_hello),
};

static const struct cx_handler ending_handlers[] = {
	CX_ON(HELLO, struct number, on_hello_end),
};

static const struct cx_actor_type staying_type = {
	.name = "staying",
	.state_size = sizeof(struct child),
	.mailbox_cap = 8,
	.placement = CX_PLACE_IO,
	.handlers = staying_handlers,
	.handler_count = CX_COUNTOF(staying_handlers),
};

static const struct cx_actor_type ending_type = {
	.name = "ending",
	.state_size = sizeof(struct child),
	.mailbox_cap = 8,
	.placement = CX_PLACE_IO,
	.handlers = ending_handlers,
	.handler_count = CX_COUNTOF(ending_handlers),
};

/* --- parent ----------------------------------------------------------------------------------- */

struct parent {
	const struct bench *bench;
	const struct cx_actor_type *child_type;
	uint64_t left;    /* to spawn */
	uint64_t waiting; /* for these answers */
	uint64_t sum;
};

static void spawn_some(struct cx_ctx *ctx, struct parent *p)
{
	const unsigned workers = cx_worker_count(ctx);
	struct cx_ref child;

	for (; p->left > 0 && p->waiting < AT_ONCE; p->left--, p->waiting++) {
		bench_must(cx_spawn(ctx, p->child_type, NULL, p->left % workers, &child),
		           "cx_spawn");
		bench_send(ctx, child, HELLO, 1);
	}
}

static void on_done(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct parent *p = state;

	p->sum += CX_MSG_AS(struct number, msg)->value;
	if (--p->waiting > 0)
		return;
	if (p->left > 0)
		spawn_some(ctx, p);
	else
		bench_report(ctx, p->bench, p->sum);
}

static void on_begin(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct parent *p = state;

	p->left = CX_MSG_AS(struct number, msg)->value;
	p->sum = 0;
	spawn_some(ctx, p);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	*(struct parent *)state = *(const struct parent *)conf;
	return CX_OK;
}

static const struct cx_handler parent_handlers[] = {
	CX_ON(DONE, struct number, on_done),
	CX_ON(BEGIN, struct number, on_begin),
};

static const struct cx_actor_type parent_type = {
	.name = "parent",
	.state_size = sizeof(struct parent),
	.conf_size = sizeof(struct parent),
	.mailbox_cap = 2 * AT_ONCE,
	.placement = CX_PLACE_IO,
	.start = start,
	.handlers = parent_handlers,
	.handler_count = CX_COUNTOF(parent_handlers),
};

static struct cx_ref boot(struct bench *b, const struct cx_actor_type *child_type)
{
	const struct parent conf = { .bench = b, .child_type = child_type };
	struct cx_ref parent;

	bench_boot(b, 1);
	parent = bench_spawn(b, &parent_type, &conf, 0);
	bench_start(b);
	bench_post(b, parent, BEGIN, WARM_UP);
	bench_wait(b);
	return parent;
}

void row_spawn(struct bench *b, struct outcome *out)
{
	const struct cx_ref parent = boot(b, &ending_type);
	const uint64_t began_ns = bench_now_ns();

	bench_post(b, parent, BEGIN, b->ops);
	bench_wait(b);
	cx_assert(b->sum == b->ops);
	out->ops = b->ops;
	out->ns = b->ended_ns - began_ns;
	bench_end(b);
}

void row_idle(struct bench *b, struct outcome *out)
{
	const struct cx_ref parent = boot(b, &staying_type);
	const uint64_t before_bytes = bench_rss_bytes();
	const uint64_t began_ns = bench_now_ns();

	bench_post(b, parent, BEGIN, b->ops);
	bench_wait(b);
	out->ops = b->ops;
	snprintf(out->more, sizeof(out->more), ",ms=%.0f",
	         (double)(b->ended_ns - began_ns) / 1e6);
	out->bytes_each = (bench_rss_bytes() - before_bytes) / b->ops - sizeof(struct child);
	bench_end(b);
}
