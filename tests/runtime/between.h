/* SPDX-License-Identifier: MIT */
/* Actors on several workers, for tests of what goes between them.  A handler may hold its worker until
 * something is seen elsewhere: so it says what went before it ended. */
#ifndef TESTS_RUNTIME_BETWEEN_H
#define TESTS_RUNTIME_BETWEEN_H

#include <cx/runtime.h>

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include <cx/io.h>
#include <cx/log.h>

#include "support/wait.h"

#define SOON_MS 1000  /* what is not kept back is there */
#define GATE_MS 10000 /* as long as a test waits for anything */

enum { BEGIN = CX_MSG_USER, NUMBER, NEXT, BUSY, GATE, LAST, SIZED };

struct number {
	struct cx_msg hdr;
	uint64_t value;
};

static struct cx_runtime *rt;
static struct cx_ref one, two; /* what is sent to */
static uint64_t seen[2][256];  /* each by its worker */
static _Atomic int seen_count[2], is_done, is_open, is_in_gate;
static int results[8];

static inline int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Does it come within so long?  It holds the thread. */
static inline bool comes(const _Atomic int *count, int at_least, int64_t within_ms)
{
	const int64_t until = now_ms() + within_ms;

	while (atomic_load(count) < at_least && now_ms() < until)
		sleep_ms(1);
	return atomic_load(count) >= at_least;
}

static inline enum cx_err send(struct cx_ctx *ctx, struct cx_ref to, uint32_t type,
                               uint64_t value)
{
	struct number *m = CX_MSG_NEW(ctx, type, struct number);

	m->value = value;
	return cx_send(ctx, to, &m->hdr);
}

static inline enum cx_err post(struct cx_ref to, uint32_t type, uint64_t value)
{
	struct number *m = (struct number *)(void *)cx_post_new(type, sizeof(*m));

	m->value = value;
	return cx_post(rt, to, &m->hdr);
}

static inline void make(unsigned workers)
{
	const struct cx_runtime_conf conf = { .workers = workers, .watchdog_ms = 20 };

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	cr_assert_eq(cx_runtime_new(&conf, &rt), CX_OK);
}

static inline struct cx_ref spawn(const struct cx_actor_type *type, uint64_t worker)
{
	struct cx_ref ref = CX_NOBODY;

	cr_assert_eq(cx_runtime_spawn(rt, type, NULL, worker, &ref), CX_OK);
	return ref;
}

static inline void start(void)
{
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
}

static inline void end(void)
{
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
}

static inline void finish(void)
{
	cr_assert(comes(&is_done, 1, GATE_MS));
	end();
}

/* ---- the one who notes ---- */

static inline void note(int which, uint64_t value)
{
	const int n = atomic_load(&seen_count[which]);

	cr_assert_lt(n, 256);
	seen[which][n] = value;
	atomic_store(&seen_count[which], n + 1);
}

static inline void on_number(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	note(cx_ref_is(cx_self(ctx), two), CX_MSG_AS(struct number, msg)->value);
}

static inline void on_last(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	on_number(ctx, state, msg);
	cx_stop(ctx);
}

static inline void on_gate(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	atomic_store(&is_in_gate, 1);
	comes(&is_open, 1, GATE_MS);
}

static const struct cx_handler noter_handlers[] = {
	CX_ON(NUMBER, struct number, on_number),
	CX_ON(GATE, struct number, on_gate),
	CX_ON(LAST, struct number, on_last),
};
static const struct cx_actor_type noter = { .name = "noter",
	                                    .placement = CX_PLACE_IO,
	                                    .mailbox_cap = 128,
	                                    .handlers = noter_handlers,
	                                    .handler_count = 3 };

/* One handler, for BEGIN. */
#define BEGINNER(fn)                                                                          \
	static const struct cx_handler fn##_handlers[] = { CX_ON(BEGIN, struct number, fn) }; \
	static const struct cx_actor_type fn##_type = { .name = #fn,                          \
		                                        .placement = CX_PLACE_IO,             \
		                                        .mailbox_cap = 8,                     \
		                                        .handlers = fn##_handlers,            \
		                                        .handler_count = 1 }

static inline void expect_in_order(int which, int count)
{
	cr_assert_eq(atomic_load(&seen_count[which]), count);
	for (int i = 0; i < count; i++)
		cr_assert_eq(seen[which][i], (uint64_t)i, "%d at %d", (int)seen[which][i], i);
}

#endif
