/* SPDX-License-Identifier: MIT */
/* Actors of CX_PLACE_ANY: quick ones stay with the worker that made them runnable, long ones are shared. */
#include <cx/runtime.h>

#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include <cx/log.h>

#define HOPS 400000
#define JOBS 4
#define SHORT_JOBS 100
#define SHORT_NS 600000 /* less than the time between two looks of a watcher */
#define WAIT_NS UINT64_C(20000000000)
#define LONG_NS 200000

enum { HOP = CX_MSG_USER, BEGIN, JOB, QUICK, SHORT };

static struct cx_runtime *rt;
static struct cx_ref peer[2], job[SHORT_JOBS];
static uint32_t job_type;
static int quick_turns, jobs;
static _Atomic int done, done_by[2];
static _Atomic int hops, inside, quick;
static _Atomic bool met;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void send(struct cx_ctx *ctx, struct cx_ref to, uint32_t type)
{
	cr_assert_eq(cx_send(ctx, to, cx_msg_new(ctx, type, sizeof(struct cx_msg))), CX_OK);
}

static void on_hop(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const int n = atomic_fetch_add_explicit(&hops, 1, memory_order_relaxed);

	(void)state;
	(void)msg;
	if (n < HOPS)
		send(ctx, peer[n % 2], HOP);
}

/* All jobs at once, as who spreads work does; after some quick turns. */
static void on_begin(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	if (quick_turns++ < 2000) {
		send(ctx, cx_self(ctx), BEGIN);
		return;
	}
	for (int i = 0; i < jobs; i++)
		send(ctx, job[i], job_type);
}

/* Until another one is inside too; by itself it would wait for ever. */
static void on_job(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint64_t until_ns = now_ns() + WAIT_NS;

	(void)ctx;
	(void)state;
	(void)msg;
	if (atomic_fetch_add(&inside, 1) > 0)
		atomic_store(&met, true);
	while (!atomic_load(&met) && now_ns() < until_ns)
		sched_yield();
	atomic_fetch_sub(&inside, 1);
}

/* Long from the thousandth on; nobody waits for anybody. */
static void on_quick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint64_t end_ns = now_ns() + LONG_NS;

	(void)state;
	(void)msg;
	if (atomic_fetch_add(&quick, 1) > 1000 && !atomic_load(&met)) {
		if (atomic_fetch_add(&inside, 1) > 0)
			atomic_store(&met, true);
		while (now_ns() < end_ns)
			sched_yield();
		atomic_fetch_sub(&inside, 1);
	}
	if (!atomic_load(&met))
		send(ctx, cx_self(ctx), QUICK);
}

static void on_short(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint64_t end_ns = now_ns() + SHORT_NS;

	(void)state;
	(void)msg;
	while (now_ns() < end_ns)
		;
	atomic_fetch_add(&done_by[cx_worker_index(ctx)], 1);
	if (atomic_fetch_add(&done, 1) + 1 == SHORT_JOBS)
		atomic_store(&met, true);
}

#define KIND(kind, id, fn, where)                                                            \
	static const struct cx_handler kind##_handlers[] = { CX_ON(id, struct cx_msg, fn) }; \
	static const struct cx_actor_type kind = { .name = #kind,                            \
		                                   .mailbox_cap = 64,                        \
		                                   .placement = (where),                     \
		                                   .handlers = kind##_handlers,              \
		                                   .handler_count = 1 }

KIND(hopper, HOP, on_hop, CX_PLACE_ANY);
KIND(spreader, BEGIN, on_begin, CX_PLACE_HOME);
KIND(jobber, JOB, on_job, CX_PLACE_ANY);
KIND(short_jobber, SHORT, on_short, CX_PLACE_ANY);
KIND(changing, QUICK, on_quick, CX_PLACE_ANY);

static void setup(void)
{
	const struct cx_runtime_conf conf = { .workers = 2 };

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	cr_assert_eq(cx_runtime_new(&conf, &rt), CX_OK);
}

static void finish(void)
{
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
}

TestSuite(anywhere, .init = setup, .fini = finish, .timeout = 120);

static void post(struct cx_ref to, uint32_t type)
{
	cr_assert_eq(cx_post(rt, to, cx_post_new(type, sizeof(struct cx_msg))), CX_OK);
}

/* Until they say that it is good. */
static void spread(const struct cx_actor_type *type, uint32_t msg_type, int count)
{
	struct cx_ref from;

	job_type = msg_type;
	jobs = count;
	cr_assert_eq(cx_runtime_spawn(rt, &spreader, NULL, 0, &from), CX_OK);
	for (int i = 0; i < count; i++)
		cr_assert_eq(cx_runtime_spawn(rt, type, NULL, 0, &job[i]), CX_OK);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	post(from, BEGIN);
	for (uint64_t until_ns = now_ns() + WAIT_NS; !atomic_load(&met) && now_ns() < until_ns;)
		sched_yield();
	cr_assert(atomic_load(&met), "one after the other, while a worker had nothing to do");
}

/* How often a worker was woken or took what was another's. */
static uint64_t disturbances(void)
{
	struct cx_worker_stats w[2];

	cr_assert_eq(cx_runtime_worker_stats(rt, w, 2), 2);
	return w[0].wakeups + w[0].steals + w[1].wakeups + w[1].steals;
}

Test(anywhere, two_quick_ones_that_talk_stay_on_one_worker)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	for (int i = 0; i < 2; i++)
		cr_assert_eq(cx_runtime_spawn(rt, &hopper, NULL, 0, &peer[i]), CX_OK);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	post(peer[0], HOP);
	for (int i = 0; i < 20000 && atomic_load(&hops) < HOPS; i++)
		nanosleep(&ms, NULL);
	cr_assert_geq(hops, HOPS);
	/* some: a turn that was interrupted counts as long */
	cr_assert_lt(disturbances(), HOPS / 2000);
}

Test(anywhere, of_work_that_is_spread_nothing_waits_behind_the_first)
{
	spread(&jobber, JOB, JOBS);
}

/* Each is done before the next look, so nothing ever stands still. */
Test(anywhere, of_short_jobs_that_come_at_once_both_do_some)
{
	spread(&short_jobber, SHORT, SHORT_JOBS);
	cr_assert_gt(done_by[0], SHORT_JOBS / 20, "%d and %d", done_by[0], done_by[1]);
	cr_assert_gt(done_by[1], SHORT_JOBS / 20, "%d and %d", done_by[0], done_by[1]);
}

Test(anywhere, turns_that_get_long_are_shared)
{
	spread(&changing, QUICK, JOBS);
}
