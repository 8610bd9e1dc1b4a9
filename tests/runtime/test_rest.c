/* SPDX-License-Identifier: MIT */
/* Rests of a busy worker: none with little to do, and never so that something waits for good. */
#include <cx/runtime.h>

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <time.h>

#include "runtime/internal.h"

Test(rest, with_little_to_do_there_is_none, .timeout = 5)
{
	cr_assert_eq(cx__rest_us(1000, 0, 10000000), 0);
	cr_assert_eq(cx__rest_us(1000, 190000, 10000000), 0, "1.9 %%");
	cr_assert_eq(cx__rest_us(1000, 5, 0), 0, "no time has passed");
}

Test(rest, grows_with_the_load_up_to_what_is_allowed, .timeout = 5)
{
	cr_assert_eq(cx__rest_us(1000, 500000, 10000000), 500);
	cr_assert_eq(cx__rest_us(1000, 1000000, 10000000), 1000);
	cr_assert_eq(cx__rest_us(1000, 10000000, 10000000), 1000);
	cr_assert_eq(cx__rest_us(0, 10000000, 10000000), 0);
}

enum { SPIN = CX_MSG_USER };

static _Atomic int handled;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* As much CPU as makes a load. */
static void spin(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint64_t began_ns = now_ns();

	(void)ctx;
	(void)state;
	(void)msg;
	while (now_ns() - began_ns < 200000) {}
	atomic_fetch_add(&handled, 1);
}

static const struct cx_handler handlers[] = { CX_ON(SPIN, struct cx_msg, spin) };
static const struct cx_actor_type spinner = {
	.name = "spinner",
	.mailbox_cap = 256,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

/* Sends one message at a time; returns how often the worker slept and was woken for `n` of them. */
static uint64_t wakeups_for(uint32_t rest_us, int n)
{
	const struct cx_runtime_conf conf = { .workers = 1, .rest_us = rest_us };
	const struct timespec pause = { 0, 100000 };
	struct cx_worker_stats stats;
	struct cx_runtime *rt;
	struct cx_ref ref;

	atomic_store(&handled, 0);
	cr_assert_eq(cx_runtime_new(&conf, &rt), CX_OK);
	cr_assert_eq(cx_runtime_spawn(rt, &spinner, NULL, 0, &ref), CX_OK);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	for (int i = 0; i < n; i++) {
		struct cx_msg *msg = cx_post_new(SPIN, sizeof(*msg));

		cr_assert_eq(cx_post(rt, ref, msg), CX_OK);
		while (atomic_load(&handled) <
		       i + 1) /* else it hangs: the test's timeout says so */
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
