/* SPDX-License-Identifier: MIT */
/* One token round a ring of actors; ping-pong is a ring of two. */
#include <stdlib.h>

#include "bench.h"

enum { TOKEN = CX_MSG_USER, CLOSE };

struct node_conf {
	const struct bench *bench;
	struct cx_ref next;
};

struct close { /* CLOSE: the first node learns where the ring goes on */
	struct cx_msg hdr;
	struct cx_ref next;
};

/* The number counts the hops that are left. */
static void on_token(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct node_conf *node = state;
	const uint64_t left = CX_MSG_AS(struct number, msg)->value;

	if (left == 0)
		bench_report(ctx, node->bench, 0);
	else
		bench_send(ctx, node->next, TOKEN, left - 1);
}

static void on_close(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	((struct node_conf *)state)->next = CX_MSG_AS(struct close, msg)->next;
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	*(struct node_conf *)state = *(const struct node_conf *)conf;
	return CX_OK;
}

static const struct cx_handler handlers[] = {
	CX_ON(TOKEN, struct number, on_token),
	CX_ON(CLOSE, struct close, on_close),
};

static const struct cx_actor_type node_type = {
	.name = "node",
	.state_size = sizeof(struct node_conf),
	.conf_size = sizeof(struct node_conf),
	.mailbox_cap = 8,
	.placement = CX_PLACE_IO,
	.start = start,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

static void run(struct bench *b, struct outcome *out, unsigned nodes, unsigned hops_an_op)
{
	struct node_conf conf = { .bench = b };
	struct cx_ref first;
	struct close *close;
	uint64_t began_ns;

	bench_boot(b, 1);
	first = bench_spawn(b, &node_type, &conf, 0);
	conf.next = first;
	for (unsigned i = nodes - 1; i > 0; i--)
		conf.next = bench_spawn(b, &node_type, &conf, i);
	bench_start(b);
	close = (struct close *)(void *)cx_post_new(CLOSE, sizeof(*close));
	close->next = conf.next;
	bench_must(cx_post(b->rt, first, &close->hdr), "cx_post");
	/* One round before the clock starts: every node has begun. */
	bench_post(b, first, TOKEN, nodes);
	bench_wait(b);
	began_ns = bench_now_ns();
	bench_post(b, first, TOKEN, b->ops * hops_an_op);
	bench_wait(b);
	out->ops = b->ops;
	out->ns = b->ended_ns - began_ns;
	bench_end(b);
}

void row_ping_pong(struct bench *b, struct outcome *out)
{
	run(b, out, 2, 2);
}

void row_ring_100(struct bench *b, struct outcome *out)
{
	run(b, out, 100, 1);
}

void row_ring_10000(struct bench *b, struct outcome *out)
{
	run(b, out, 10000, 1);
}
