/* SPDX-License-Identifier: MIT */
/* Supervision, on the simulator: minutes of backoff pass at once.  Children live on
 * worker 0 or 1, so one of the two is their supervisor's and watcher's own (direct hand-over). */
#include <cx/sim.h>
#include <cx/supervisor.h>

#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

#include <cx/log.h>

#include "support/death.h"

#define WORKERS 2
#define TICK_MS 2 /* a timer is rounded up, and turns take a little */
#define NEVER_MS 10000000
#define FAILURES 8

enum { POKE = CX_MSG_USER, FAIL, QUESTION, ANSWER };

/* Touched by handlers, on the simulator's one thread; atomic for the one test with threads. */
static _Atomic int starts, stops, fails, pokes, pokes_of_this_life, downs, down_reason, answers,
	timeouts;
static uint64_t started_ms, failed_ms;

/* ---- fragile: a child that fails when told ---- */

static enum cx_err fragile_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)state;
	(void)conf;
	starts++;
	started_ms = cx_now_ms(ctx);
	return CX_OK;
}

static void fragile_stop(struct cx_ctx *ctx, void *state)
{
	(void)ctx;
	(void)state;
	stops++;
}

static void on_poke(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)msg;
	pokes++;
	pokes_of_this_life = ++*(int *)state;
}

static void on_fail(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	fails++;
	failed_ms = cx_now_ms(ctx);
	cx_fail(ctx, CX_EIO);
}

static void on_question(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	cx_reply(ctx, msg, cx_msg_new(ctx, ANSWER, sizeof(struct cx_msg)));
}

static const struct cx_handler fragile_handlers[] = {
	CX_ON(POKE, struct cx_msg, on_poke),
	CX_ON(FAIL, struct cx_msg, on_fail),
	CX_ON(QUESTION, struct cx_msg, on_question),
};
static const struct cx_actor_type fragile = {
	.name = "fragile",
	.state_size = sizeof(int),
	.mailbox_cap = 64,
	.placement = CX_PLACE_IO,
	.start = fragile_start,
	.stop = fragile_stop,
	.handlers = fragile_handlers,
	.handler_count = CX_COUNTOF(fragile_handlers),
};

/* ---- client: watches somebody, asks it ---- */

static enum cx_err client_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	*(struct cx_ref *)state = *(const struct cx_ref *)conf;
	cx_watch(ctx, *(const struct cx_ref *)conf);
	return CX_OK;
}

static void client_down(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	down_reason = (int)CX_MSG_AS(struct cx_msg_down, msg)->reason;
	downs++;
}

static void ask(struct cx_ctx *ctx, struct cx_ref who)
{
	uint64_t corr;

	cr_assert(cx_ask(ctx, who, cx_msg_new(ctx, QUESTION, sizeof(struct cx_msg)), 500,
	                 &corr) == CX_OK);
}

static void client_ask(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)msg;
	ask(ctx, *(struct cx_ref *)state);
}

static void client_answer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	answers++;
}

static void client_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const enum cx_err err = CX_MSG_AS(struct cx_msg_error, msg)->err;

	(void)ctx;
	(void)state;
	timeouts += err == CX_ETIMEOUT;
}

static const struct cx_handler client_handlers[] = {
	CX_ON(CX_MSG_DOWN, struct cx_msg_down, client_down),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, client_error),
	CX_ON(ANSWER, struct cx_msg, client_answer),
	CX_ON(POKE, struct cx_msg, client_ask),
};
static const struct cx_actor_type client = {
	.name = "client",
	.state_size = sizeof(struct cx_ref),
	.conf_size = sizeof(struct cx_ref),
	.mailbox_cap = 64,
	.placement = CX_PLACE_IO,
	.start = client_start,
	.handlers = client_handlers,
	.handler_count = CX_COUNTOF(client_handlers),
};

/* ---- a family: a supervisor, its child, a client ---- */

struct family {
	struct cx_sim *sim;
	struct cx_runtime *rt;
	struct cx_ref supervisor, child, client;
	struct cx_child children[1];
};

static struct cx_ref spawn(struct cx_runtime *rt, const struct cx_actor_type *type,
                           const void *conf, uint64_t key)
{
	struct cx_ref ref;

	cr_assert(cx_runtime_spawn(rt, type, conf, key, &ref) == CX_OK);
	return ref;
}

static void open_sim(struct family *f, uint64_t seed)
{
	const struct cx_sim_conf conf = { .runtime = { .seed = seed, .workers = WORKERS } };

	starts = stops = fails = pokes = downs = answers = timeouts = 0;
	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	cr_assert(cx_sim_new(&conf, &f->sim) == CX_OK);
	f->rt = cx_sim_runtime(f->sim);
}

/* The client watches the supervisor. */
static void open_family(struct family *f, uint64_t seed, unsigned worker,
                        struct cx_supervisor_conf conf)
{
	open_sim(f, seed);
	f->children[0] =
		(struct cx_child){ .type = &fragile, .home_key = worker, .ref = &f->child };
	conf.children = f->children;
	conf.child_count = 1;
	f->supervisor = spawn(f->rt, &cx_supervisor_type, &conf, 1);
	f->client = spawn(f->rt, &client, &f->supervisor, 0);
	cx_sim_run_ms(f->sim, 10);
	cr_assert(starts == 1);
}

static void post(struct cx_runtime *rt, struct cx_ref to, uint32_t type)
{
	cr_assert(cx_post(rt, to, cx_post_new(type, sizeof(struct cx_msg))) == CX_OK);
}

static struct cx_kind_stats stats_of(struct cx_runtime *rt, const char *name)
{
	struct cx_kind_stats kinds[8];
	const size_t n = cx_runtime_kinds(rt, kinds, CX_COUNTOF(kinds));

	for (size_t i = 0; i < n && i < CX_COUNTOF(kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return kinds[i];
	cr_assert_fail("no kind %s", name);
	return (struct cx_kind_stats){ 0 };
}

TestSuite(supervision, .timeout = 30);

/* ---- restart intensity ---- */

Test(supervision, gives_up_past_its_intensity_and_ends_its_children)
{
	const struct cx_supervisor_conf conf = { .max_restarts = 3,
		                                 .window_ms = 60000,
		                                 .backoff_min_ms = 10,
		                                 .backoff_max_ms = 20 };

	for (unsigned worker = 0; worker < WORKERS; worker++) {
		struct family f;

		open_family(&f, 3, worker, conf);
		for (int i = 0; i < 3; i++) {
			post(f.rt, f.child, FAIL);
			cx_sim_run_ms(f.sim, 10000);
		}
		cr_assert(starts == 4 && downs == 0, "%d starts", starts);
		post(f.rt, f.child, FAIL);
		cx_sim_run_ms(f.sim, 10000);
		cr_assert(starts == 4 && downs == 1 && down_reason == CX_EIO);
		cr_assert(cx_post(f.rt, f.child, cx_post_new(POKE, sizeof(struct cx_msg))) ==
		          CX_EGONE);
		cr_assert(stats_of(f.rt, "fragile").restarts == 3);
		cx_sim_free(f.sim);
	}
}

Test(supervision, restarts_for_ever_what_fails_less_often_than_its_intensity)
{
	const struct cx_supervisor_conf conf = { .max_restarts = 3, .window_ms = 60000 };
	struct family f;

	open_family(&f, 4, 0, conf);
	for (int i = 0; i < 60; i++) { /* 25 minutes */
		post(f.rt, f.child, FAIL);
		cx_sim_run_ms(f.sim, 25000);
	}
	cr_assert(starts == 61 && downs == 0, "%d starts", starts);
	cx_sim_free(f.sim);
}

/* Real threads: the failures come as fast as the child can fail. */
Test(supervision, restarts_in_place_and_gives_up_past_its_intensity_on_threads, .timeout = 30)
{
	for (unsigned worker = 0; worker < WORKERS; worker++) {
		const struct cx_runtime_conf rt_conf = { .workers = WORKERS };
		const struct timespec ms = { .tv_nsec = 1000000 };
		struct cx_ref child, supervisor;
		/* when the second has started, the ref of the first is written */
		const struct cx_child children[] = { { &fragile, NULL, worker, &child },
			                             { &fragile, NULL, worker, NULL } };
		const struct cx_supervisor_conf conf = { .children = children,
			                                 .child_count = 2,
			                                 .max_restarts = 3,
			                                 .backoff_min_ms = 1,
			                                 .backoff_max_ms = 2 };
		struct cx_runtime *rt;

		starts = fails = downs = 0;
		cx_log_setup(CX_ERROR, CX_LOG_TEXT);
		cr_assert(cx_runtime_new(&rt_conf, &rt) == CX_OK);
		supervisor = spawn(rt, &cx_supervisor_type, &conf, 1);
		spawn(rt, &client, &supervisor, 0);
		cr_assert(cx_runtime_start(rt) == CX_OK);
		for (int i = 0; i < 10000 && starts < 2; i++)
			nanosleep(&ms, NULL);
		for (int i = 0; i < 10; i++)
			if (cx_post(rt, child, cx_post_new(FAIL, sizeof(struct cx_msg))) !=
			    CX_OK)
				break; /* it has ended already */
		for (int i = 0; i < 10000 && downs == 0; i++)
			nanosleep(&ms, NULL);
		cx_runtime_stop(rt);
		cx_runtime_free(rt);
		cr_assert(downs == 1 && down_reason == CX_EIO);
		cr_assert(fails == 4, "%d: the first life and three restarts", fails);
	}
}

/* ---- backoff ---- */

/* Fails once and waits for the restart.  Returns the delay. */
static uint64_t fail_once(struct family *f)
{
	post(f->rt, f->child, FAIL);
	cx_sim_run_ms(f->sim, 1000 + 10);
	cr_assert(started_ms >= failed_ms, "not started again in a second");
	return started_ms - failed_ms;
}

static void note(uint64_t *shortest_ms, uint64_t *longest_ms, uint64_t delay_ms)
{
	*shortest_ms = delay_ms < *shortest_ms ? delay_ms : *shortest_ms;
	*longest_ms = delay_ms > *longest_ms ? delay_ms : *longest_ms;
}

Test(supervision, waits_up_to_twice_as_long_after_each_failure_in_a_row)
{
	const struct cx_supervisor_conf conf = { .max_restarts = 100,
		                                 .backoff_min_ms = 50,
		                                 .backoff_max_ms = 1000 };
	/* and the last: a failure after a window without one */
	static const uint64_t most_ms[FAILURES + 1] = { 50,   100,  200,  400, 800,
		                                        1000, 1000, 1000, 50 };
	uint64_t longest_ms[FAILURES + 1] = { 0 }, shortest_ms[FAILURES + 1];

	memset(shortest_ms, 0xff, sizeof(shortest_ms));
	for (uint64_t seed = 1; seed <= 64; seed++) {
		struct family f;

		open_family(&f, seed, (unsigned)seed % WORKERS, conf);
		for (int n = 0; n < FAILURES; n++)
			note(&shortest_ms[n], &longest_ms[n], fail_once(&f));
		cx_sim_run_ms(f.sim, 61000);
		note(&shortest_ms[FAILURES], &longest_ms[FAILURES], fail_once(&f));
		cr_assert(starts == FAILURES + 2);
		cx_sim_free(f.sim);
	}
	for (int n = 0; n <= FAILURES; n++) { /* full jitter: all of 0..most */
		cr_assert(longest_ms[n] <= most_ms[n] + TICK_MS, "failure %d: %d ms", n + 1,
		          (int)longest_ms[n]);
		cr_assert(longest_ms[n] > most_ms[n] * 3 / 4, "failure %d: %d ms", n + 1,
		          (int)longest_ms[n]);
		cr_assert(shortest_ms[n] < most_ms[n] / 4 + TICK_MS, "failure %d: %d ms", n + 1,
		          (int)shortest_ms[n]);
	}
}

Test(supervision, while_a_child_is_down_its_mail_waits_and_asks_end_at_their_deadline)
{
	const struct cx_supervisor_conf conf = { .backoff_min_ms = NEVER_MS,
		                                 .backoff_max_ms = NEVER_MS };

	for (unsigned worker = 0; worker < WORKERS; worker++) {
		struct cx_ref asker;
		struct family f;

		open_family(&f, 5, worker, conf);
		asker = spawn(f.rt, &client, &f.child, 0);
		post(f.rt, f.child, POKE);
		post(f.rt, f.child, FAIL);
		cx_sim_run_ms(f.sim, 10);
		for (int i = 0; i < 3; i++)
			post(f.rt, f.child, POKE);
		post(f.rt, asker, POKE);
		cx_sim_run_ms(f.sim, 1000);
		cr_assert(starts == 1 && pokes == 1, "the backoff is over already");
		cr_assert(timeouts == 1 && downs == 0, "down is not ended");
		cx_sim_run_ms(f.sim, NEVER_MS);
		cr_assert(starts == 2 && pokes == 4, "%d pokes", pokes);
		cr_assert(pokes_of_this_life == 3, "its state begins anew");
		cr_assert(answers == 0 && stats_of(f.rt, "client").late_replies == 1);
		cx_sim_free(f.sim);
	}
}

/* ---- the log ---- */

static bool is_supervised;

static enum cx_err refuse_to_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	(void)state;
	(void)conf;
	return CX_EIO;
}

static const struct cx_actor_type unwilling = { .name = "unwilling",
	                                        .mailbox_cap = 4,
	                                        .start = refuse_to_start };

/* One failure of a child, and one restart, when it has a supervisor. */
static void fail_and_end(void)
{
	struct family f;

	if (is_supervised) {
		open_family(&f, 6, 0, (struct cx_supervisor_conf){ .max_restarts = 3 });
	} else {
		open_sim(&f, 6);
		f.child = spawn(f.rt, &fragile, NULL, 0);
		cx_sim_run_ms(f.sim, 10);
	}
	cx_log_setup(CX_WARN, CX_LOG_TEXT);
	post(f.rt, f.child, FAIL);
	cx_sim_run_ms(f.sim, 10000);
	cr_assert(starts == (is_supervised ? 2 : 1));
	cx_sim_free(f.sim);
}

static void fail_to_start(void)
{
	struct family f;

	open_sim(&f, 7);
	cx_log_setup(CX_WARN, CX_LOG_TEXT);
	spawn(f.rt, &unwilling, NULL, 0);
	spawn(f.rt, &fragile, NULL, 0);
	cx_sim_run_ms(f.sim, 10);
	cx_sim_free(f.sim);
}

/* Nothing else is. */
static void expect_logged_once(void (*act)(void), const char *what)
{
	struct last_words words;
	const char *at;

	hear(&words, act);
	cr_assert(words.status == 0, "%s", words.said);
	at = strstr(words.said, what);
	cr_assert(at != NULL && strchr(words.said, '\n') > at, "%s", words.said);
	cr_assert(strchr(words.said, '\n')[1] == '\0', "%s", words.said);
}

Test(supervision, each_failure_is_logged_once_with_a_supervisor_or_without)
{
	const char *const failed = " warn actor.failed kind=fragile reason=CX_EIO\n";

	is_supervised = true;
	expect_logged_once(fail_and_end, failed);
	is_supervised = false;
	expect_logged_once(fail_and_end, failed);
	expect_logged_once(fail_to_start, " warn actor.failed kind=unwilling reason=CX_EIO\n");
}
