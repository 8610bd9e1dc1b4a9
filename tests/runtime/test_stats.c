/* SPDX-License-Identifier: MIT */
/* The figures of the runtime: handler times, mailboxes now, slow handlers by name. */
#include <cx/runtime.h>

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include <cx/log.h>

#include "runtime/handler_times.h"
#include "support/wait.h"

enum { WORK = CX_MSG_USER, HOLD };

static const char *const names[] = { "work", "hold" };

static _Atomic int handled;
static _Atomic int is_open; /* what HOLD waits for */

static void work(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	sleep_ms(2);
	atomic_fetch_add(&handled, 1);
}

static void hold(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	while (atomic_load(&is_open) == 0)
		sleep_ms(1);
	atomic_fetch_add(&handled, 1);
}

static const struct cx_handler handlers[] = {
	CX_ON(WORK, struct cx_msg, work),
	CX_ON(HOLD, struct cx_msg, hold),
};
static const struct cx_actor_type busy = {
	.name = "busy",
	.mailbox_cap = 256,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

/* Its batch_end blocks, not its handler. */
static void work_at_once(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
}

static void hold_batch(struct cx_ctx *ctx, void *state)
{
	hold(ctx, state, NULL);
}

static const struct cx_handler flusher_handlers[] = {
	CX_ON(WORK, struct cx_msg, work_at_once),
};
static const struct cx_actor_type flusher = {
	.name = "flusher",
	.mailbox_cap = 256,
	.batch_end = hold_batch,
	.handlers = flusher_handlers,
	.handler_count = CX_COUNTOF(flusher_handlers),
};

static struct cx_runtime *start_type(const struct cx_actor_type *type, struct cx_ref *out)
{
	const struct cx_runtime_conf conf = { .workers = 1,
		                              .watchdog_ms = 20,
		                              .msg_names = names,
		                              .msg_name_count = CX_COUNTOF(names) };
	struct cx_runtime *rt = NULL;

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	cr_assert_eq(cx_runtime_new(&conf, &rt), CX_OK);
	cr_assert_eq(cx_runtime_spawn(rt, type, NULL, 0, out), CX_OK);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	return rt;
}

static struct cx_runtime *start(struct cx_ref *out)
{
	return start_type(&busy, out);
}

static void post(struct cx_runtime *rt, struct cx_ref to, uint32_t type)
{
	cr_assert_eq(cx_post(rt, to, cx_post_new(type, sizeof(struct cx_msg))), CX_OK);
}

static void wait_handled(int n)
{
	for (int i = 0; i < 20000 && atomic_load(&handled) < n; i++)
		sleep_ms(1);
	cr_assert_geq(atomic_load(&handled), n);
}

static struct cx_kind_stats kind_stats(struct cx_runtime *rt)
{
	struct cx_kind_stats stats;

	cr_assert_eq(cx_runtime_kinds(rt, &stats, 1), 1);
	return stats;
}

static void end(struct cx_runtime *rt)
{
	atomic_store(&is_open, 1);
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
}

/* ---- the buckets ---- */

Test(handler_times, each_value_is_in_a_bucket_that_ends_at_most_an_eighth_above_it,
     .timeout = 5)
{
	for (uint64_t v = 0; v < UINT64_C(1) << CX__TIMES_MAX_BITS; v += v / 61 + 1) {
		const unsigned bucket = cx__times_bucket(v);
		const uint64_t bucket_end = cx_handler_times_end_ns(bucket);

		cr_assert_lt(bucket, CX_HANDLER_BUCKETS);
		cr_assert_geq(bucket_end, v);
		cr_assert_leq(bucket_end - v, v / 8);
		cr_assert(bucket == 0 || cx_handler_times_end_ns(bucket - 1) < v);
	}
}

Test(handler_times, what_is_too_long_is_in_the_last_bucket, .timeout = 5)
{
	cr_assert_eq(cx__times_bucket(UINT64_MAX), CX_HANDLER_BUCKETS - 1);
	cr_assert_eq(cx__times_bucket(UINT64_C(1) << CX__TIMES_MAX_BITS),
	             CX_HANDLER_BUCKETS - 1);
	cr_assert_eq(cx__times_bucket((UINT64_C(1) << CX__TIMES_MAX_BITS) - 1),
	             CX_HANDLER_BUCKETS - 1);
}

Test(handler_times, quantiles_are_those_of_a_sorted_list, .timeout = 5)
{
	struct cx_handler_times times = { { 0 } };

	cr_assert_eq(cx_handler_times_quantile_ns(&times, 0.5), 0);
	for (uint64_t v = 1; v <= 15; v++)
		times.count[cx__times_bucket(v)]++;
	cr_assert_eq(cx_handler_times_quantile_ns(&times, 0.0), 1);
	cr_assert_eq(cx_handler_times_quantile_ns(&times, 0.5), 8);
	cr_assert_eq(cx_handler_times_quantile_ns(&times, 0.99), 15);
	times.count[cx__times_bucket(1000000)] += 15;
	cr_assert_eq(cx_handler_times_quantile_ns(&times, 0.5), 15);
	cr_assert_eq(cx_handler_times_quantile_ns(&times, 0.51),
	             cx_handler_times_end_ns(cx__times_bucket(1000000)));
}

Test(handler_times, a_batch_counts_once_for_each_message, .timeout = 5)
{
	static struct cx__handler_times times;

	cx__handler_times_add(&times, 70, 10, 1);
	cr_assert_eq(atomic_load(&times.count[7]), 10);
	cx__handler_times_add(&times, 7, 1, 32);
	cr_assert_eq(atomic_load(&times.count[7]), 42);
}

/* ---- a runtime ---- */

Test(stats, a_slow_kind_has_its_time_as_median, .timeout = 60)
{
	struct cx_kind_stats stats;
	struct cx_ref to;
	struct cx_runtime *rt = start(&to);

	for (int i = 1; i <= 20; i++) { /* each its own turn */
		post(rt, to, WORK);
		wait_handled(i);
	}
	sleep_ms(20); /* the last turn is over */
	stats = kind_stats(rt);
	cr_assert_geq(stats.handler_p50_ns, 2000000);
	cr_assert_lt(stats.handler_p50_ns, 200000000);
	cr_assert_geq(stats.handler_p99_ns, stats.handler_p50_ns);
	end(rt);
}

Test(stats, a_mailbox_that_fills_and_empties_is_seen_doing_so, .timeout = 60)
{
	struct cx_ref to;
	struct cx_runtime *rt = start(&to);

	post(rt, to, WORK);
	wait_handled(1);
	/* its turn is over, so the start message is not counted any more */
	for (int i = 0; i < 20000 && kind_stats(rt).depth != 0; i++)
		sleep_ms(1);
	sleep_ms(20);
	for (int i = 0; i < 100; i++)
		post(rt, to, HOLD);
	for (int i = 0; i < 20000 && kind_stats(rt).depth != 99; i++)
		sleep_ms(1);
	cr_assert_eq(kind_stats(rt).depth, 99, "one is being handled");
	atomic_store(&is_open, 1);
	wait_handled(101);
	for (int i = 0; i < 20000 && kind_stats(rt).depth != 0; i++)
		sleep_ms(1);
	cr_assert_eq(kind_stats(rt).depth, 0);
	cr_assert_geq(kind_stats(rt).depth_max, 1);
	end(rt);
}

Test(stats, a_slow_handler_is_kept_by_name_with_its_count_and_longest_time, .timeout = 60)
{
	struct cx_slow_handler slow[2];
	struct cx_ref to;
	struct cx_runtime *rt = start(&to);

	cr_assert_eq(cx_runtime_slow_handlers(rt, slow, 2), 0);
	for (int i = 1; i <= 2; i++) {
		atomic_store(&is_open, 0);
		post(rt, to, HOLD);
		/* the watchdog of a busy machine may come late */
		for (int ms = 0; ms < 15000; ms++) {
			if (cx_runtime_slow_handlers(rt, slow, 2) == 1 &&
			    slow[0].count == (uint64_t)i && slow[0].longest_ms >= 40)
				break;
			sleep_ms(1);
		}
		atomic_store(&is_open, 1);
		wait_handled(i);
	}
	cr_assert_eq(cx_runtime_slow_handlers(rt, slow, 2), 1);
	cr_assert_str_eq(slow[0].kind, "busy");
	cr_assert_str_eq(slow[0].message, "hold");
	cr_assert_eq(slow[0].count, 2);
	cr_assert_geq(slow[0].longest_ms, 40);
	cr_assert_eq(kind_stats(rt).slow, 2);
	end(rt);
}

Test(stats, a_slow_batch_end_is_named_with_the_message_before_it, .timeout = 60)
{
	struct cx_slow_handler slow[2];
	struct cx_ref to;
	struct cx_runtime *rt;

	atomic_store(&is_open, 1); /* after START it is called too */
	rt = start_type(&flusher, &to);
	wait_handled(1);
	atomic_store(&is_open, 0);
	post(rt, to, WORK);
	for (int ms = 0; ms < 15000 && cx_runtime_slow_handlers(rt, slow, 2) == 0; ms++)
		sleep_ms(1);
	cr_assert_eq(cx_runtime_slow_handlers(rt, slow, 2), 1);
	cr_assert_str_eq(slow[0].kind, "flusher");
	cr_assert_str_eq(slow[0].message, "work");
	end(rt);
}

Test(stats, workers_have_the_name_of_their_thread, .timeout = 60)
{
	struct cx_worker_stats worker;
	struct cx_ref to;
	struct cx_runtime *rt = start(&to);

	cr_assert_eq(cx_runtime_worker_stats(rt, &worker, 1), 1);
	cr_assert_str_eq(worker.name, "cx-worker-0");
	end(rt);
}
