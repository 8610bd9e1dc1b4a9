/* SPDX-License-Identifier: MIT */
/* The adapter's actor: asks wait in one ring, and go to whichever connection has the least to do. */
#include "io/postgres.h"

#include <stdlib.h>

#include <cx/io.h>
#include <cx/log.h>

#include "io/postgres_conn.h"
#include "io/postgres_figures.h"
#include "io/postgres_request.h"

#define CONNECTIONS 4
#define PIPELINE_MAX 16
#define QUEUE_MAX 1024
#define QUEUE_BYTES_MAX (16u * 1024u * 1024u)
#define CONNECT_MS 5000
#define PING_MS 5000
#define DEAD_MS 10000
#define TICK_MAX_MS 1000
#define SWEEP_MS 100

struct postgres {
	struct postgres_shared shared;
	struct postgres_ring waiting;
	struct postgres_conn *conns; /* NULL: it did not start */
	uint32_t conn_count;
	uint32_t tick_ms;
	uint64_t swept_ms;
	struct cx_timer tick;
};

/* ---- asks ---- */

/* Counts and numbers are right, so that nothing is found out in the middle of sending. */
static bool is_valid(const struct postgres *p, const struct postgres_ask_msg *m)
{
	struct postgres_walk walk = postgres_walk_start(m->hdr.buf);
	struct postgres_call call;
	uint32_t count = 0;

	while (postgres_call_next(&walk, &call)) {
		if (call.statement >= p->shared.statement_count)
			return false;
		count++;
	}
	return walk.at == walk.end && count == m->count && count > 0 &&
	       count <= POSTGRES_BATCH_MAX;
}

static bool has_room(struct cx_ctx *ctx, struct postgres *p, size_t bytes)
{
	const uint64_t now_ms = cx_now_ms(ctx);

	if (postgres_load_has_room(&p->shared.load, bytes))
		return true;
	if (now_ms - p->swept_ms < SWEEP_MS)
		return false;
	/* those whose time is up must not keep others out */
	p->swept_ms = now_ms;
	postgres_ring_sweep(&p->waiting, &p->shared.load, now_ms);
	return postgres_load_has_room(&p->shared.load, bytes);
}

static void on_ask(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct postgres *const p = state;
	const struct postgres_ask_msg *const m = CX_MSG_AS(struct postgres_ask_msg, msg);
	struct postgres_entry e = { .caller = cx_caller_of(msg),
		                    .deadline_ms = cx_now_ms(ctx) + m->timeout_ms,
		                    .count = m->count };

	if (msg->buf == NULL || !is_valid(p, m)) {
		cx_reply_error(ctx, msg, CX_EINVAL);
		return;
	}
	if (!has_room(ctx, p, cx_buf_len(msg->buf))) {
		postgres_count(&p->shared.figures->refused, 1);
		cx_reply_error(ctx, msg, CX_EFULL);
		return;
	}
	e.buf = cx_buf_ref(msg->buf);
	postgres_load_take(&p->shared.load, &e);
	postgres_ring_push(&p->waiting, &e);
}

/* NULL: none has room. */
static struct postgres_conn *least_busy(struct postgres *p)
{
	struct postgres_conn *best = NULL;

	for (uint32_t i = 0; i < p->conn_count; i++) {
		struct postgres_conn *const c = &p->conns[i];

		if (postgres_conn_has_room(c) &&
		    (best == NULL ||
		     postgres_ring_used(&c->sent) < postgres_ring_used(&best->sent)))
			best = c;
	}
	return best;
}

static void batch_end(struct cx_ctx *ctx, void *state)
{
	struct postgres *const p = state;
	struct postgres_conn *c;

	while (postgres_ring_used(&p->waiting) > 0 && (c = least_busy(p)) != NULL) {
		struct postgres_entry e = postgres_ring_pop(&p->waiting);

		if (cx_now_ms(ctx) > e.deadline_ms) {
			postgres_count(&p->shared.figures->late, 1);
			postgres_load_drop(&p->shared.load, &e);
		} else {
			postgres_conn_send(ctx, c, &e);
		}
	}
}

/* ---- life ---- */

static void on_resolved(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct postgres *const p = state;
	const struct postgres_resolved_msg *const m =
		CX_MSG_AS(struct postgres_resolved_msg, msg);

	cx_assert(m->connection < p->conn_count);
	postgres_conn_on_resolved(ctx, &p->conns[m->connection], m);
}

static void on_timer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct postgres *const p = state;
	const struct cx_timer *const timer = CX_MSG_AS(struct cx_msg_timer, msg)->timer;

	for (uint32_t i = 0; i < p->conn_count; i++)
		if (timer == &p->conns[i].timer)
			postgres_conn_on_timer(ctx, &p->conns[i]);
}

static void on_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct postgres *const p = state;

	(void)msg;
	cx_timer_arm(ctx, &p->tick, p->tick_ms, TIMER_B);
	for (uint32_t i = 0; i < p->conn_count; i++)
		postgres_conn_check(ctx, &p->conns[i]);
}

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
	return value > 0 ? value : otherwise;
}

static void fill_shared(struct cx_ctx *ctx, struct postgres_shared *s,
                        const struct postgres_conf *c)
{
	s->worker = cx_worker_of(ctx);
	s->loop = cx_worker_loop(s->worker);
	s->self = cx_self(ctx);
	s->statements = c->statements;
	s->statement_count = c->statement_count;
	s->connect_ms = or_default(c->connect_ms, CONNECT_MS);
	s->ping_ms = or_default(c->ping_ms, PING_MS);
	s->dead_ms = or_default(c->dead_ms, DEAD_MS);
	s->pipeline_max = or_default(c->pipeline_max, PIPELINE_MAX);
	s->figures = postgres_figures_of(cx_worker_index(ctx));
	s->load = (struct postgres_load){
		.asks_max = or_default(c->queue_max, QUEUE_MAX),
		.bytes_max = or_default(c->queue_bytes_max, QUEUE_BYTES_MAX),
		.figures = s->figures,
	};
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct postgres *const p = state;
	const struct postgres_conf *const c = conf;

	if (c->url == NULL || c->statement_count == 0 || c->pipeline_max > 1024 ||
	    c->queue_max > 1u << 20 || c->connections > POSTGRES_CONNECTIONS_MAX)
		return CX_EINVAL;
	if (!postgres_target_parse(&p->shared.target, c->url, c->application_name)) {
		cx_log(CX_ERROR, "postgres.no_url", "why=\"the URL cannot be used\"");
		return CX_EINVAL;
	}
	fill_shared(ctx, &p->shared, c);
	p->tick_ms = p->shared.ping_ms < TICK_MAX_MS ? p->shared.ping_ms : TICK_MAX_MS;
	postgres_ring_init(&p->waiting, p->shared.load.asks_max);
	p->conn_count = or_default(c->connections, CONNECTIONS);
	p->conns = calloc(p->conn_count, sizeof(*p->conns));
	cx_assert(p->conns != NULL);
	for (uint32_t i = 0; i < p->conn_count; i++)
		postgres_conn_start(ctx, &p->conns[i], &p->shared, i);
	cx_timer_arm(ctx, &p->tick, p->tick_ms, TIMER_B);
	return CX_OK;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct postgres *const p = state;

	if (p->conns == NULL)
		return;
	for (uint32_t i = 0; i < p->conn_count; i++)
		postgres_conn_stop(ctx, &p->conns[i]);
	while (postgres_ring_used(&p->waiting) > 0) {
		struct postgres_entry e = postgres_ring_pop(&p->waiting);

		cx_answer_error(ctx, e.caller, CX_EGONE);
		postgres_load_drop(&p->shared.load, &e);
	}
	postgres_ring_free(&p->waiting);
	postgres_target_free(&p->shared.target);
	free(p->conns);
	p->conns = NULL;
}

static const struct cx_handler handlers[] = {
	CX_ON(POSTGRES_ASK, struct postgres_ask_msg, on_ask),
	CX_ON(POSTGRES_RESOLVED, struct postgres_resolved_msg, on_resolved),
	CX_ON(TIMER_A, struct cx_msg_timer, on_timer),
	CX_ON(TIMER_B, struct cx_msg_timer, on_tick),
};

const struct cx_actor_type postgres_type = {
	.name = "postgres",
	.state_size = sizeof(struct postgres),
	.conf_size = sizeof(struct postgres_conf),
	.mailbox_cap = 4096,
	.batch_max = 256,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.batch_end = batch_end,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
