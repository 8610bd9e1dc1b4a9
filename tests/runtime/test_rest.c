/* SPDX-License-Identifier: MIT */
/* Rests of a busy worker: none with little to do, and never so that something waits for good.  Spins: where they pay. */
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

static struct cx_worker *bare_worker(struct cx_runtime *rt)
{
	struct cx_worker *const w = aligned_alloc(_Alignof(struct cx_worker), sizeof(*w));

	cr_assert_not_null(w);
	memset(w, 0, sizeof(*w));
	w->rt = rt;
	return w;
}

/* A worker as far as rests look at it, which decided long ago and handled so many messages since. */
static struct cx_worker *worker_with(struct cx_runtime *rt, uint64_t messages)
{
	struct cx_worker *const w = bare_worker(rt);

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

Test(spin, one_in_vain_doubles_the_sleeps_without_one_and_one_that_pays_ends_them,
     .timeout = 60)
{
	uint32_t skipped = 0;

	for (uint32_t expected = 1; expected <= 256; expected *= 2) {
		skipped = cx__spin_skip(skipped, false);
		cr_assert_eq(skipped, expected);
	}
	cr_assert_eq(cx__spin_skip(skipped, false), 256);
	cr_assert_eq(cx__spin_skip(skipped, true), 0);
	cr_assert_eq(cx__spin_skip(0, true), 0);
}

/* A worker as far as spins look at it: the only one. */
static struct cx_worker *lone_worker(struct cx_runtime *rt)
{
	struct cx_worker *const w = bare_worker(rt);

	rt->workers = 1;
	rt->worker[0] = w;
	return w;
}

Test(spin, one_is_in_vain_after_20_us_and_pays_as_soon_as_there_is_work, .timeout = 60)
{
	struct cx_runtime *const rt = calloc(1, sizeof(*rt));
	struct cx_worker *w;
	uint64_t began_ns;

	cr_assert_not_null(rt);
	w = lone_worker(rt);
	began_ns = cx__clock_ns();
	cx__spin(w);
	cr_assert_geq(cx__clock_ns() - began_ns, 20000);
	cr_assert_eq(w->spin_skip, 1, "in vain: the next sleep goes without one");
	cr_assert_eq(w->now_is_old, 1, "time has passed");
	w->now_is_old = 0;
	cx__spin(w);
	cr_assert_eq(w->now_is_old, 0, "without one");
	cr_assert_eq(w->spin_skip, 0);
	atomic_store(&w->stop, CX__STOP_ASKED); /* is work */
	cx__spin(w);
	cr_assert_eq(w->spin_skip, 0, "it paid: the next sleep has one too");
	atomic_store(&w->stop, CX__STOP_NO);
	cx__spin(w);
	cx__spin(w);
	cr_assert_eq(w->spin_skipped, 1, "what was before is forgotten");
	free(w);
	free(rt);
}

/* Spins that the workers of a runtime made before they slept, or 0. */
static uint32_t skipped_before_sleep(const struct cx_runtime_conf *conf)
{
	const struct timespec pause = { 0, 1000000 };
	struct cx_runtime *rt;
	uint32_t skipped;

	cr_assert_eq(cx_runtime_new(conf, &rt), CX_OK);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	while (atomic_load(&rt->worker[0]->sleeps) == 0 ||
	       atomic_load(&rt->worker[0]->sleeping) == 0)
		nanosleep(&pause, NULL);
	cx_runtime_stop(rt); /* its thread has ended: what it left may be read */
	skipped = rt->worker[0]->spin_skipped;
	cx_runtime_free(rt);
	return skipped;
}

Test(spin, workers_spin_where_there_is_another_and_none_rests, .timeout = 60)
{
	struct cx_runtime_conf conf = { .workers = 2 };
	struct cx_loop_ops own;

	cr_assert_gt(skipped_before_sleep(&conf), 0);
	conf.rest_us = 1000;
	cr_assert_eq(skipped_before_sleep(&conf), 0);
	conf = (struct cx_runtime_conf){ .workers = 1 };
	cr_assert_eq(skipped_before_sleep(&conf), 0);
	own = cx__loop_ops;
	conf = (struct cx_runtime_conf){ .workers = 2, .loop = &own };
	cr_assert_eq(skipped_before_sleep(&conf), 0, "a loop of the user's waits for more");
}
