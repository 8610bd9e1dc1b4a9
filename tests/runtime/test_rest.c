/* SPDX-License-Identifier: MIT */
/* Rests of a busy worker: none with little to do, and never so that something waits for good. */
#include <cx/runtime.h>

#include <criterion/criterion.h>
#include <stdatomic.h>
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

/* Sends one burst at a time; returns how often the worker slept and was woken for `n` of them. */
static uint64_t wakeups_for(uint32_t rest_us, int n)
{
	const struct cx_runtime_conf conf = { .workers = 1, .rest_us = rest_us };
	const struct timespec pause = { 0, 100000 };
	struct cx_worker_stats stats;
	struct cx_runtime *rt;
	struct cx_ref ref;

	atomic_store(&handled, 0);
	cr_assert_eq(cx_runtime_new(&conf, &rt), CX_OK);
	cr_assert_eq(cx_runtime_spawn(rt, &counter, NULL, 0, &ref), CX_OK);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	for (int i = 0; i < n; i++) {
		for (int k = 0; k < BURST; k++)
			cr_assert_eq(
				cx_post(rt, ref, cx_post_new(COUNT, sizeof(struct cx_msg))),
				CX_OK);
		/* else it hangs: the test's timeout says so */
		while (atomic_load(&handled) < (i + 1) * BURST)
			nanosleep(&pause, NULL);
	}
	cr_assert_geq(cx_runtime_worker_stats(rt, &stats, 1), 1);
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
	return stats.wakeups;
}

Test(rest, who_sends_to_a_worker_that_rests_need_not_wake_it, .timeout = 60)
{
	const uint64_t without = wakeups_for(0, 300), with = wakeups_for(2000, 300);

	cr_assert_gt(without, 250);
	cr_assert_lt(with, without / 2, "%llu of %llu", (unsigned long long)with,
	             (unsigned long long)without);
}
