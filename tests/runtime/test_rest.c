/* SPDX-License-Identifier: MIT */
/* Rests of a busy worker: none with little to do, and never so that something waits for good. */
#include <cx/runtime.h>

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/internal.h"

#define SECOND UINT64_C(1000000000)

Test(rest, with_little_to_do_there_is_none, .timeout = 60)
{
	cr_assert_eq(cx__rest_us(1000, 0, SECOND), 0);
	cr_assert_eq(cx__rest_us(1000, 20000, SECOND), 0);
	cr_assert_eq(cx__rest_us(1000, 5, 0), 0, "no time has passed");
}

Test(rest, grows_with_the_load_up_to_what_is_allowed, .timeout = 60)
{
	cr_assert_eq(cx__rest_us(1000, 40000, SECOND), 500);
	cr_assert_eq(cx__rest_us(1000, 600, SECOND / 100), 1000);
	cr_assert_eq(cx__rest_us(1000, 10000000, SECOND), 1000);
	cr_assert_eq(cx__rest_us(0, 10000000, SECOND), 0);
}

enum { COUNT = CX_MSG_USER, BURST = 200 }; /* so many at a time are a load */

static _Atomic int handled;

static void count(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	atomic_fetch_add(&handled, 1);
}

static const struct cx_handler handlers[] = { CX_ON(COUNT, struct cx_msg, count) };
static const struct cx_actor_type counter = {
	.name = "counter",
	.mailbox_cap = 256,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

Test(rest, what_comes_meanwhile_does_not_wait_for_good, .timeout = 60)
{
	const struct cx_runtime_conf conf = { .workers = 1, .rest_us = 2000 };
	const struct timespec pause = { 0, 100000 };
	struct cx_runtime *rt;
	struct cx_ref ref;

	atomic_store(&handled, 0);
	cr_assert_eq(cx_runtime_new(&conf, &rt), CX_OK);
	cr_assert_eq(cx_runtime_spawn(rt, &counter, NULL, 0, &ref), CX_OK);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	for (int i = 0; i < 300; i++) {
		for (int k = 0; k < BURST; k++)
			cr_assert_eq(
				cx_post(rt, ref, cx_post_new(COUNT, sizeof(struct cx_msg))),
				CX_OK);
		/* else it hangs: the test's timeout says so */
		while (atomic_load(&handled) < (i + 1) * BURST)
			nanosleep(&pause, NULL);
	}
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
}

/* A worker as far as rests look at it, which decided long ago and handled so many messages since. */
static struct cx_worker *worker_with(struct cx_runtime *rt, uint64_t messages)
{
	struct cx_worker *const w = aligned_alloc(_Alignof(struct cx_worker), sizeof(*w));

	cr_assert_not_null(w);
	memset(w, 0, sizeof(*w));
	w->rt = rt;
	w->now_is_old = 1;
	cx__rest(w); /* the first decision: nothing was handled */
	cr_assert_eq(w->rest_us, 0);
	w->load_ns -= SECOND;
	atomic_store(&w->calls, messages);
	w->now_is_old = 1;
	return w;
}

static uint64_t time_of_rest(struct cx_worker *w)
{
	struct timespec before, after;

	clock_gettime(CLOCK_MONOTONIC, &before);
	cx__rest(w);
	clock_gettime(CLOCK_MONOTONIC, &after);
	cr_assert_eq(atomic_load(&w->sleeping), 0, "whoever sends would wake it");
	return (uint64_t)(after.tv_sec - before.tv_sec) * SECOND + (uint64_t)after.tv_nsec -
	       (uint64_t)before.tv_nsec;
}

Test(rest, a_busy_worker_rests_and_counts_as_awake, .timeout = 60)
{
	struct cx_runtime *const rt = calloc(1, sizeof(*rt));
	struct cx_worker *busy, *idle;

	cr_assert_not_null(rt);
	rt->conf.rest_us = 100000;
	busy = worker_with(rt, 1000000);
	idle = worker_with(rt, 1000);
	cr_assert_geq(time_of_rest(busy), 100000000);
	cr_assert_eq(busy->rest_us, 100000);
	time_of_rest(idle);
	cr_assert_eq(idle->rest_us, 0);
	cr_assert_eq(idle->now_is_old, 0, "it did not sleep");
	free(busy);
	free(idle);
	free(rt);
}
