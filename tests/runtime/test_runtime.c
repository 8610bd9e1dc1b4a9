/* SPDX-License-Identifier: MIT */
/* The runtime through its public header: what actor.h promises.  Beside it: test_supervision.c,
 * test_dead_letters.c, test_overload.c, test_parked.c, test_fairness.c. */
#include <cx/runtime.h>

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include <cx/log.h>

#include "support/wait.h"

enum { ASK_ME = CX_MSG_USER, REPLY, TICK, JOB, POKE };

static bool wait_until(const _Atomic int *value, int at_least)
{
	for (int i = 0; i < 20000 && atomic_load(value) < at_least; i++)
		sleep_ms(1);
	return atomic_load(value) >= at_least;
}

static _Atomic int seen[16];

static struct cx_runtime *start_runtime(unsigned workers)
{
	const struct cx_runtime_conf conf = { .workers = workers, .offload_queue = 4 };
	struct cx_runtime *rt = NULL;

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	cr_assert_eq(cx_runtime_new(&conf, &rt), CX_OK);
	return rt;
}

static void end_runtime(struct cx_runtime *rt)
{
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
}

static struct cx_ref spawn(struct cx_runtime *rt, const struct cx_actor_type *type,
                           uint64_t key)
{
	struct cx_ref ref;

	cr_assert_eq(cx_runtime_spawn(rt, type, NULL, key, &ref), CX_OK);
	return ref;
}

static void poke(struct cx_runtime *rt, struct cx_ref to, uint32_t type)
{
	cr_assert_eq(cx_post(rt, to, cx_post_new(type, sizeof(struct cx_msg))), CX_OK);
}

/* ---- asks ---- */

static struct cx_ref target;
static uint64_t target_corr;

static void note_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	atomic_fetch_add(&seen[CX_MSG_AS(struct cx_msg_error, msg)->err], 1);
	if (msg->corr != target_corr)
		atomic_fetch_add(&seen[15], 1);
}

static void note_reply(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	atomic_fetch_add(&seen[0], 1);
}

static void ask_target(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	if (cx_ask(ctx, target, cx_msg_new(ctx, ASK_ME, sizeof(struct cx_msg)), 30,
	           &target_corr) != CX_OK)
		atomic_fetch_add(&seen[14], 1);
}

static const struct cx_handler asker_handlers[] = {
	CX_ON(POKE, struct cx_msg, ask_target),
	CX_ON(REPLY, struct cx_msg, note_reply),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, note_error),
};
static const struct cx_actor_type asker = {
	.name = "asker",
	.mailbox_cap = 16,
	.handlers = asker_handlers,
	.handler_count = CX_COUNTOF(asker_handlers),
};

static void keep_silent(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
}

static void answer_late(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	/* by the clock alone a busy machine could take the reply first */
	if (!wait_until(&seen[CX_ETIMEOUT], 1))
		atomic_fetch_add(&seen[13], 1);
	cx_reply(ctx, msg, cx_msg_new(ctx, REPLY, sizeof(struct cx_msg)));
}

static void die(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	cx_stop(ctx);
}

#define ONE_HANDLER(type_name, id, fn, cap)                                                \
	static const struct cx_handler type_name##_handlers[] = { CX_ON(id, struct cx_msg, \
		                                                        fn) };             \
	static const struct cx_actor_type type_name = { .name = #type_name,                \
		                                        .mailbox_cap = (cap),              \
		                                        .handlers = type_name##_handlers,  \
		                                        .handler_count = 1 }

ONE_HANDLER(silent, ASK_ME, keep_silent, 16);
ONE_HANDLER(tardy, ASK_ME, answer_late, 16);
ONE_HANDLER(mortal, POKE, die, 16);

Test(ask, no_answer_is_an_error_at_the_deadline, .timeout = 30)
{
	struct cx_runtime *rt = start_runtime(2);
	struct cx_ref a;

	target = spawn(rt, &silent, 1);
	a = spawn(rt, &asker, 2);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	poke(rt, a, POKE);
	cr_assert(wait_until(&seen[CX_ETIMEOUT], 1));
	sleep_ms(60);
	cr_assert_eq(seen[CX_ETIMEOUT], 1);
	cr_assert_eq(seen[15], 0, "the answer carries the ask's corr");
	end_runtime(rt);
}

static uint64_t late_replies_to(struct cx_runtime *rt, const char *name)
{
	struct cx_kind_stats kinds[8];
	const size_t n = cx_runtime_kinds(rt, kinds, 8);

	for (size_t i = 0; i < n; i++)
		if (strcmp(kinds[i].name, name) == 0)
			return kinds[i].late_replies;
	cr_assert_fail("no kind %s", name);
	return 0;
}

Test(ask, a_reply_after_the_deadline_is_dropped_and_counted, .timeout = 30)
{
	struct cx_runtime *rt = start_runtime(2);
	struct cx_ref a;

	target = spawn(rt, &tardy, 1);
	a = spawn(rt, &asker, 2);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	poke(rt, a, POKE);
	for (int i = 0; i < 20000 && late_replies_to(rt, "asker") == 0; i++)
		sleep_ms(1);
	cr_assert_eq(late_replies_to(rt, "asker"), 1);
	cr_assert_eq(seen[CX_ETIMEOUT], 1);
	cr_assert_eq(seen[0], 0);
	cr_assert_eq(seen[13], 0);
	end_runtime(rt);
}

Test(ask, an_ask_to_a_dead_actor_is_refused_or_bounced, .timeout = 30)
{
	struct cx_runtime *rt = start_runtime(1);
	struct cx_ref a;

	target = spawn(rt, &mortal, 1);
	a = spawn(rt, &asker, 2);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	poke(rt, target, POKE);
	for (int i = 0; i < 20000; i++) { /* until it is dead */
		if (cx_post(rt, target, cx_post_new(POKE, sizeof(struct cx_msg))) == CX_EGONE)
			break;
		sleep_ms(1);
	}
	poke(rt, a, POKE);
	cr_assert(wait_until(&seen[14], 1));
	cr_assert_eq(cx_post(rt, target, cx_post_new(POKE, sizeof(struct cx_msg))), CX_EGONE);
	end_runtime(rt);
}

/* ---- timers ---- */

struct ticker {
	struct cx_timer timer, cancelled;
	uint64_t armed_ms;
};

static void on_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct ticker *t = state;

	if (CX_MSG_AS(struct cx_msg_timer, msg)->timer == &t->cancelled)
		atomic_fetch_add(&seen[3], 1);
	if (cx_now_ms(ctx) < t->armed_ms + 20)
		atomic_fetch_add(&seen[4], 1);
	atomic_fetch_add(&seen[2], 1);
}

static enum cx_err start_ticker(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct ticker *t = state;

	(void)conf;
	t->armed_ms = cx_now_ms(ctx);
	cx_timer_arm(ctx, &t->timer, 20, TICK);
	cx_timer_arm(ctx, &t->cancelled, 10, TICK);
	cx_timer_cancel(ctx, &t->cancelled);
	return CX_OK;
}

static const struct cx_handler ticker_handlers[] = { CX_ON(TICK, struct cx_msg_timer,
	                                                   on_tick) };
static const struct cx_actor_type ticker = { .name = "ticker",
	                                     .state_size = sizeof(struct ticker),
	                                     .mailbox_cap = 1,
	                                     .start = start_ticker,
	                                     .handlers = ticker_handlers,
	                                     .handler_count = 1 };

Test(timer, fires_once_not_early_and_not_when_cancelled, .timeout = 30)
{
	struct cx_runtime *rt = start_runtime(2);

	spawn(rt, &ticker, 1);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	cr_assert(wait_until(&seen[2], 1));
	sleep_ms(60);
	cr_assert_eq(seen[2], 1);
	cr_assert_eq(seen[3], 0);
	cr_assert_eq(seen[4], 0);
	end_runtime(rt);
}

/* ---- offload ---- */

static void block(struct cx_msg *job)
{
	(void)job;
	sleep_ms(30);
}

static void offload_many(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	for (int i = 0; i < 20; i++)
		if (cx_offload(ctx, cx_msg_new(ctx, JOB, sizeof(struct cx_msg)), block) ==
		    CX_EFULL)
			atomic_fetch_add(&seen[6], 1);
	atomic_fetch_add(&seen[7], 1); /* all were asked for */
}

static void on_job(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	atomic_fetch_add(&seen[5], 1);
}

static const struct cx_handler offloader_handlers[] = {
	CX_ON(POKE, struct cx_msg, offload_many),
	CX_ON(JOB, struct cx_msg, on_job),
};
static const struct cx_actor_type offloader = { .name = "offloader",
	                                        .mailbox_cap = 64,
	                                        .handlers = offloader_handlers,
	                                        .handler_count = 2 };

Test(offload, runs_beside_the_workers_and_refuses_when_its_queue_is_full, .timeout = 30)
{
	struct cx_runtime *rt = start_runtime(1);
	const struct cx_ref o = spawn(rt, &offloader, 1);

	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	poke(rt, o, POKE);
	cr_assert(wait_until(&seen[7], 1));
	cr_assert_geq(seen[6], 1);
	cr_assert(wait_until(&seen[5], 20 - seen[6]));
	cr_assert_eq(seen[5] + seen[6], 20);
	end_runtime(rt);
}

static void offload_last(struct cx_ctx *ctx, void *state)
{
	(void)state;
	seen[9] = 1 + (int)cx_offload(ctx, cx_msg_new(ctx, JOB, sizeof(struct cx_msg)), block);
}

static const struct cx_actor_type late_offloader = { .name = "late_offloader",
	                                             .mailbox_cap = 64,
	                                             .stop = offload_last,
	                                             .handlers = offloader_handlers,
	                                             .handler_count = 2 };

Test(offload, is_refused_and_not_a_crash_while_the_runtime_stops, .timeout = 30)
{
	struct cx_runtime *rt = start_runtime(1);
	const struct cx_ref o = spawn(rt, &late_offloader, 1);

	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	poke(rt, o, JOB);
	cr_assert(wait_until(&seen[5], 1));
	end_runtime(rt);
	cr_assert_eq(seen[9], 1 + (int)CX_EFULL);
}

/* ---- watchdog ---- */

/* Until it is named: by the clock alone the watchdog of a busy machine could miss it. */
static void sleep_long(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	wait_until(&seen[8], 1);
	atomic_fetch_add(&seen[9], 1);
}

ONE_HANDLER(sleeper, POKE, sleep_long, 4);

Test(watchdog, names_a_handler_that_runs_too_long, .timeout = 30)
{
	struct cx_runtime *rt = start_runtime(1);
	const struct cx_ref s = spawn(rt, &sleeper, 1);
	struct cx_kind_stats kind;

	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	poke(rt, s, POKE);
	for (int i = 0; i < 15000; i++) {
		cr_assert_gt(cx_runtime_kinds(rt, &kind, 1), 0);
		if (kind.slow > 0)
			break;
		sleep_ms(1);
	}
	sleep_ms(100); /* it goes on, and is not named again */
	atomic_store(&seen[8], 1);
	cr_assert(wait_until(&seen[9], 1));
	cr_assert_gt(cx_runtime_kinds(rt, &kind, 1), 0);
	cr_assert_str_eq(kind.name, "sleeper");
	cr_assert_eq(kind.slow, 1);
	end_runtime(rt);
}

/* ---- shutdown ---- */

static void note_stop(struct cx_ctx *ctx, void *state)
{
	(void)ctx;
	(void)state;
	atomic_fetch_add(&seen[12], 1);
}

static const struct cx_actor_type stoppable = { .name = "stoppable",
	                                        .mailbox_cap = 4,
	                                        .stop = note_stop };
static const struct cx_actor_type own_thread = {
	.name = "own_thread", .mailbox_cap = 4, .placement = CX_PLACE_THREAD, .stop = note_stop
};

Test(runtime, stop_runs_the_stop_of_every_actor_once, .timeout = 30)
{
	struct cx_runtime *rt = start_runtime(3);

	for (uint64_t i = 0; i < 1000; i++)
		spawn(rt, &stoppable, i);
	spawn(rt, &own_thread, 0);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	sleep_ms(50);
	end_runtime(rt);
	cr_assert_eq(seen[12], 1001);
}

/* Longer than a round of turns. */
static enum cx_err start_slowly(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	(void)state;
	(void)conf;
	sleep_ms(3);
	atomic_fetch_add(&seen[13], 1);
	return CX_OK;
}

static const struct cx_actor_type slow_starter = {
	.name = "slow_starter", .mailbox_cap = 4, .start = start_slowly, .stop = note_stop
};
static const struct cx_actor_type slow_thread = { .name = "slow_thread",
	                                          .mailbox_cap = 4,
	                                          .placement = CX_PLACE_THREAD,
	                                          .start = start_slowly,
	                                          .stop = note_stop };

Test(runtime, who_was_spawned_before_the_start_is_started_though_the_stop_comes_at_once,
     .timeout = 30)
{
	struct cx_runtime *rt = start_runtime(2);

	for (uint64_t i = 0; i < 20; i++)
		spawn(rt, &slow_starter, i);
	spawn(rt, &slow_thread, 0);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	end_runtime(rt);
	cr_assert_eq(seen[13], 21);
	cr_assert_eq(seen[12], 21);
}

static enum cx_err spawn_an_heir(struct cx_ctx *ctx, void *state, const void *conf);

static const struct cx_actor_type ancestor = {
	.name = "ancestor", .placement = CX_PLACE_IO, .mailbox_cap = 4, .start = spawn_an_heir
};

/* So one START always waits, in a slot that somebody booted had. */
static enum cx_err spawn_an_heir(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct cx_ref heir;

	(void)state;
	(void)conf;
	cx_stop(ctx);
	return cx_spawn(ctx, &ancestor, NULL, 0, &heir);
}

Test(runtime, who_is_spawned_later_does_not_hold_up_the_stop, .timeout = 30)
{
	struct cx_runtime *rt = start_runtime(1);

	spawn(rt, &ancestor, 0);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	sleep_ms(20);
	end_runtime(rt);
}

Test(runtime, refuses_a_conf_that_cannot_be, .timeout = 5)
{
	const struct cx_runtime_conf conf = { .workers = 65 };
	struct cx_runtime *rt;

	cr_assert_eq(cx_runtime_new(&conf, &rt), CX_EINVAL);
}
