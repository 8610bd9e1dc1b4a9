/* SPDX-License-Identifier: MIT */
/* Full mailboxes: who is refused, who is not, who waits and who must go on.  Each on the simulator and
 * where timing matters on threads; the receiver on the sender's worker (direct hand-over) and on the
 * other one. */
#include <cx/sim.h>
#include <cx/supervisor.h>

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include <cx/log.h>

#define WORKERS 2
#define CAP 8
#define BURST 20
#define NEVER_MS 10000000
#define SEEDS 20

enum { NUMBER = CX_MSG_USER, BEGIN, PING, TICK, FAIL, LOOP };

struct number {
	struct cx_msg hdr;
	int value;
};

static _Atomic int got, disorder, accepted, refused, ticks, downs, restarts;

/* ---- sink: takes numbers, which must come in order ---- */

static void on_number(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	int *last = state;

	(void)ctx;
	disorder += CX_MSG_AS(struct number, msg)->value <= *last;
	*last = CX_MSG_AS(struct number, msg)->value;
	got++;
}

static void on_fail(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	cx_fail(ctx, CX_EIO);
}

static enum cx_err sink_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	(void)state;
	(void)conf;
	restarts++;
	return CX_OK;
}

static const struct cx_handler sink_handlers[] = {
	CX_ON(NUMBER, struct number, on_number),
	CX_ON(FAIL, struct cx_msg, on_fail),
};
static const struct cx_actor_type sink = {
	.name = "sink",
	.state_size = sizeof(int),
	.mailbox_cap = CAP,
	.placement = CX_PLACE_IO,
	.start = sink_start,
	.handlers = sink_handlers,
	.handler_count = CX_COUNTOF(sink_handlers),
};

/* ---- burst: sends more than fits in one handler ---- */

static struct cx_runtime *the_runtime;

static enum cx_err keep_ref(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	*(struct cx_ref *)state = *(const struct cx_ref *)conf;
	return CX_OK;
}

static void count(enum cx_err err)
{
	cr_assert(err == CX_OK || err == CX_EFULL);
	accepted += err == CX_OK;
	refused += err == CX_EFULL;
}

static void on_burst(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)msg;
	for (int i = 1; i <= BURST; i++) {
		struct number *m = CX_MSG_NEW(ctx, NUMBER, struct number);

		m->value = i;
		count(cx_send(ctx, *(struct cx_ref *)state, &m->hdr));
	}
}

/* And as many again as a foreign thread would send them meanwhile. */
static void on_burst_both_ways(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	on_burst(ctx, state, msg);
	for (int i = 1; i <= BURST; i++) {
		struct number *m = (struct number *)(void *)cx_post_new(NUMBER, sizeof(*m));

		m->value = BURST + i;
		count(cx_post(the_runtime, *(struct cx_ref *)state, &m->hdr));
	}
}

static void on_down(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	downs++;
}

static void on_watch(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)msg;
	cx_watch(ctx, *(struct cx_ref *)state);
}

static const struct cx_handler burst_handlers[] = {
	CX_ON(BEGIN, struct cx_msg, on_burst),
	CX_ON(LOOP, struct cx_msg, on_burst_both_ways),
	CX_ON(TICK, struct cx_msg, on_watch),
	CX_ON(CX_MSG_DOWN, struct cx_msg_down, on_down),
};
static const struct cx_actor_type burst = {
	.name = "burst",
	.state_size = sizeof(struct cx_ref),
	.conf_size = sizeof(struct cx_ref),
	.mailbox_cap = CAP,
	.placement = CX_PLACE_IO,
	.start = keep_ref,
	.handlers = burst_handlers,
	.handler_count = CX_COUNTOF(burst_handlers),
};

/* ---- set-up ---- */

static struct cx_sim *open_sim(uint64_t seed)
{
	const struct cx_sim_conf conf = { .runtime = { .seed = seed, .workers = WORKERS } };
	struct cx_sim *sim;

	got = disorder = accepted = refused = ticks = downs = 0;
	restarts = -1;
	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	cr_assert(cx_sim_new(&conf, &sim) == CX_OK);
	the_runtime = cx_sim_runtime(sim);
	return sim;
}

static struct cx_ref spawn(const struct cx_actor_type *type, const void *conf, unsigned worker)
{
	struct cx_ref ref;

	cr_assert(cx_runtime_spawn(the_runtime, type, conf, worker, &ref) == CX_OK);
	return ref;
}

static void post(struct cx_ref to, uint32_t type)
{
	cr_assert(cx_post(the_runtime, to, cx_post_new(type, sizeof(struct cx_msg))) == CX_OK);
}

static struct cx_kind_stats stats_of(const char *name)
{
	struct cx_kind_stats kinds[8];
	const size_t n = cx_runtime_kinds(the_runtime, kinds, CX_COUNTOF(kinds));

	for (size_t i = 0; i < n && i < CX_COUNTOF(kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return kinds[i];
	cr_assert_fail("no kind %s", name);
	return (struct cx_kind_stats){ 0 };
}

TestSuite(refusal, .timeout = 30);
TestSuite(control_lane, .timeout = 30);

/* ---- refusals ---- */

Test(refusal, what_is_over_the_limit_comes_back_to_its_sender_and_is_counted)
{
	for (unsigned worker = 0; worker < WORKERS; worker++) {
		struct cx_sim *sim = open_sim(1);
		const struct cx_ref to = spawn(&sink, NULL, worker);
		const struct cx_ref from = spawn(&burst, &to, 0);

		cx_sim_run_ms(sim, 10);                    /* START is in the mailbox, too */
		for (int round = 1; round <= 2; round++) { /* handled makes room again */
			post(from, BEGIN);
			cx_sim_run_ms(sim, 10);
			cr_assert(accepted == round * CAP && refused == round * (BURST - CAP));
			cr_assert(got == accepted, "%d of %d", got, accepted);
		}
		cr_assert(stats_of("sink").refused == (uint64_t)refused);
		cr_assert(stats_of("sink").depth_max == CAP);
		cx_sim_free(sim);
	}
}

/* What the home worker appends and what is on its way from elsewhere count together. */
Test(refusal, the_limit_counts_both_ways_together)
{
	struct cx_sim *sim = open_sim(1);
	const struct cx_ref to = spawn(&sink, NULL, 0);
	const struct cx_ref from = spawn(&burst, &to, 0);

	cx_sim_run_ms(sim, 10); /* START is in the mailbox, too */
	post(from, LOOP);
	cx_sim_run_ms(sim, 10);
	cr_assert(accepted == CAP && refused == 2 * BURST - CAP, "%d", accepted);
	cr_assert(got == CAP && stats_of("sink").depth_max == CAP);
	cx_sim_free(sim);
}

static void work_slowly(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	(void)ctx;
	(void)state;
	(void)msg;
	nanosleep(&ms, NULL);
	got++;
}

static const struct cx_handler slow_handlers[] = { CX_ON(PING, struct cx_msg, work_slowly) };
static const struct cx_actor_type slow = { .name = "slow",
	                                   .mailbox_cap = CAP,
	                                   .handlers = slow_handlers,
	                                   .handler_count = CX_COUNTOF(slow_handlers) };

Test(refusal, each_post_on_threads_is_accepted_and_handled_or_refused_and_counted)
{
	const struct cx_runtime_conf conf = { .workers = 1 };
	const struct timespec ms = { .tv_nsec = 1000000 };
	struct cx_kind_stats stats;
	struct cx_ref to;

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	cr_assert(cx_runtime_new(&conf, &the_runtime) == CX_OK);
	to = spawn(&slow, NULL, 0);
	cr_assert(cx_runtime_start(the_runtime) == CX_OK);
	for (int i = 0; i < 100; i++)
		count(cx_post(the_runtime, to, cx_post_new(PING, sizeof(struct cx_msg))));
	for (int i = 0; i < 10000 && got < accepted; i++)
		nanosleep(&ms, NULL);
	stats = stats_of("slow");
	cx_runtime_stop(the_runtime);
	cx_runtime_free(the_runtime);
	cr_assert(refused > 0 && got == accepted, "%d of %d", got, accepted);
	cr_assert(stats.refused == (uint64_t)refused);
	cr_assert(stats.depth_max <= CAP, "one thread sends: nothing over the limit");
}

/* ---- the control lane beside a full mailbox ---- */

/* A sink that is down (so nothing takes its mail), and full. */
static struct cx_ref fill_a_sink_that_is_down(struct cx_sim *sim, unsigned worker,
                                              const struct cx_supervisor_conf *conf,
                                              const struct cx_ref *child)
{
	struct cx_ref from;

	spawn(&cx_supervisor_type, conf, 1);
	cx_sim_run_ms(sim, 10);
	post(*child, FAIL);
	cx_sim_run_ms(sim, 10);
	from = spawn(&burst, child, worker);
	post(from, BEGIN);
	cx_sim_run_ms(sim, 10);
	cr_assert(accepted == CAP && refused == BURST - CAP && got == 0);
	return from;
}

Test(control_lane, a_restart_reaches_an_actor_whose_mailbox_is_full)
{
	for (unsigned worker = 0; worker < WORKERS; worker++) {
		struct cx_sim *sim = open_sim(2);
		struct cx_ref child;
		const struct cx_child children[] = { { &sink, NULL, 0, &child } };
		const struct cx_supervisor_conf conf = { .children = children,
			                                 .child_count = 1,
			                                 .backoff_min_ms = NEVER_MS,
			                                 .backoff_max_ms = NEVER_MS };

		fill_a_sink_that_is_down(sim, worker, &conf, &child);
		cx_sim_run_ms(sim, NEVER_MS);
		cr_assert(restarts == 1 && got == CAP && disorder == 0, "%d", got);
		cx_sim_free(sim);
	}
}

Test(control_lane, a_watch_and_a_stop_reach_an_actor_whose_mailbox_is_full)
{
	for (unsigned worker = 0; worker < WORKERS; worker++) {
		struct cx_sim *sim = open_sim(3);
		struct cx_ref child, other, from;
		const struct cx_child children[] = { { &sink, NULL, 0, &child },
			                             { &sink, NULL, 1, &other } };
		const struct cx_supervisor_conf conf = { .children = children,
			                                 .child_count = 2,
			                                 .max_restarts = 1,
			                                 .backoff_min_ms = NEVER_MS,
			                                 .backoff_max_ms = NEVER_MS };

		from = fill_a_sink_that_is_down(sim, worker, &conf, &child);
		post(from, TICK);
		cx_sim_run_ms(sim, 10);
		cr_assert(downs == 0);
		post(other,
		     FAIL); /* one too many: the supervisor ends and stops its children */
		cx_sim_run_ms(sim, 10);
		cr_assert(downs == 1 && got == 0, "%d %d", downs, got);
		cr_assert(stats_of("sink").dead_letters == CAP);
		cx_sim_free(sim);
	}
}

/* ---- a timer of an actor that is always full ---- */

struct full {
	struct cx_timer timer;
};

static void on_loop(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	got++;
	count(cx_send(ctx, cx_self(ctx), cx_msg_new(ctx, LOOP, sizeof(struct cx_msg))));
}

static void on_full_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)msg;
	/* what it sends itself is over the limit: the mailbox is full while this came in */
	count(cx_send(ctx, cx_self(ctx), cx_msg_new(ctx, LOOP, sizeof(struct cx_msg))));
	ticks++;
	cx_timer_arm(ctx, &((struct full *)state)->timer, 1, TICK);
}

static enum cx_err full_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)conf;
	for (int i = 0; i < CAP; i++)
		cr_assert(cx_send(ctx, cx_self(ctx),
		                  cx_msg_new(ctx, LOOP, sizeof(struct cx_msg))) == CX_OK);
	cx_timer_arm(ctx, &((struct full *)state)->timer, 1, TICK);
	return CX_OK;
}

static const struct cx_handler full_handlers[] = {
	CX_ON(LOOP, struct cx_msg, on_loop),
	CX_ON(TICK, struct cx_msg_timer, on_full_tick),
};
static const struct cx_actor_type full = {
	.name = "full",
	.state_size = sizeof(struct full),
	.mailbox_cap = CAP,
	.start = full_start,
	.handlers = full_handlers,
	.handler_count = CX_COUNTOF(full_handlers),
};

Test(control_lane, timers_reach_an_actor_whose_mailbox_is_always_full)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct cx_sim *sim = open_sim(seed);

		spawn(&full, NULL, 0);
		cx_sim_run_ms(sim, 100);
		cr_assert(ticks >= 45 && ticks <= 100, "%d", ticks); /* 1 ms, rounded up */
		cr_assert(refused == ticks && accepted == got, "it was full at each tick");
		cx_sim_free(sim);
	}
}
