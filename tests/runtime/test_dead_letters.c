/* SPDX-License-Identifier: MIT */
/* What is sent to an actor that ends or has ended: counted, bounced, and never somebody else's.  On the
 * simulator; the sender on the receiver's worker (direct hand-over) and on the other one. */
#include <cx/sim.h>

#include <criterion/criterion.h>
#include <string.h>

#include <cx/log.h>

#define WORKERS 2
#define PLAIN 3
#define ASKS 2

enum { POKE = CX_MSG_USER, DIE, QUESTION };

static int pokes, downs, gone, timeouts;
static enum cx_err down_reason;

/* ---- mortal: ends when told ---- */

static void on_poke(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	pokes++;
}

static void on_die(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	cx_stop(ctx);
}

static const struct cx_handler mortal_handlers[] = {
	CX_ON(POKE, struct cx_msg, on_poke),
	CX_ON(DIE, struct cx_msg, on_die),
};
static const struct cx_actor_type mortal = {
	.name = "mortal",
	.mailbox_cap = 64,
	.placement = CX_PLACE_IO,
	.handlers = mortal_handlers,
	.handler_count = CX_COUNTOF(mortal_handlers),
};

/* ---- heir: watches a mortal, ends it, and has sent more by then ---- */

static enum cx_err heir_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	*(struct cx_ref *)state = *(const struct cx_ref *)conf;
	cx_watch(ctx, *(const struct cx_ref *)conf);
	return CX_OK;
}

static void send(struct cx_ctx *ctx, struct cx_ref who, uint32_t type)
{
	cr_assert(cx_send(ctx, who, cx_msg_new(ctx, type, sizeof(struct cx_msg))) == CX_OK);
}

/* In one handler, so that all the rest waits behind the first. */
static void heir_end(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct cx_ref who = *(struct cx_ref *)state;

	(void)msg;
	send(ctx, who, DIE);
	for (int i = 0; i < PLAIN; i++)
		send(ctx, who, POKE);
	for (int i = 0; i < ASKS; i++) {
		uint64_t corr;

		cr_assert(cx_ask(ctx, who, cx_msg_new(ctx, QUESTION, sizeof(struct cx_msg)),
		                 500, &corr) == CX_OK);
	}
}

static void heir_down(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	down_reason = CX_MSG_AS(struct cx_msg_down, msg)->reason;
	downs++;
}

static void heir_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const enum cx_err err = CX_MSG_AS(struct cx_msg_error, msg)->err;

	(void)ctx;
	(void)state;
	timeouts += err == CX_ETIMEOUT;
	gone += err == CX_EGONE;
}

static const struct cx_handler heir_handlers[] = {
	CX_ON(DIE, struct cx_msg, heir_end),
	CX_ON(CX_MSG_DOWN, struct cx_msg_down, heir_down),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, heir_error),
};
static const struct cx_actor_type heir = {
	.name = "heir",
	.state_size = sizeof(struct cx_ref),
	.conf_size = sizeof(struct cx_ref),
	.mailbox_cap = 64,
	.placement = CX_PLACE_IO,
	.start = heir_start,
	.handlers = heir_handlers,
	.handler_count = CX_COUNTOF(heir_handlers),
};

/* ---- set-up ---- */

static struct cx_sim *open_sim(uint64_t seed)
{
	const struct cx_sim_conf conf = { .runtime = { .seed = seed, .workers = WORKERS } };
	struct cx_sim *sim;

	pokes = downs = gone = timeouts = 0;
	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	cr_assert(cx_sim_new(&conf, &sim) == CX_OK);
	return sim;
}

static struct cx_ref spawn(struct cx_sim *sim, const struct cx_actor_type *type,
                           const void *conf, unsigned worker)
{
	struct cx_ref ref;

	cr_assert(cx_runtime_spawn(cx_sim_runtime(sim), type, conf, worker, &ref) == CX_OK);
	cx_sim_run_ms(sim, 10);
	return ref;
}

static void post(struct cx_sim *sim, struct cx_ref to, uint32_t type)
{
	cr_assert(cx_post(cx_sim_runtime(sim), to, cx_post_new(type, sizeof(struct cx_msg))) ==
	          CX_OK);
	cx_sim_run_ms(sim, 10);
}

static uint64_t dead_mortal_letters(struct cx_sim *sim)
{
	struct cx_kind_stats kinds[2];
	const size_t n = cx_runtime_kinds(cx_sim_runtime(sim), kinds, CX_COUNTOF(kinds));

	for (size_t i = 0; i < n; i++)
		if (strcmp(kinds[i].name, "mortal") == 0)
			return kinds[i].dead_letters;
	cr_assert_fail("no such kind");
	return 0;
}

TestSuite(dead_letters, .timeout = 30);

Test(dead_letters, what_waits_when_its_receiver_ends_is_counted_and_asks_end_as_gone)
{
	for (unsigned worker = 0; worker < WORKERS; worker++) {
		struct cx_sim *sim = open_sim(6);
		const struct cx_ref who = spawn(sim, &mortal, NULL, worker);

		post(sim, spawn(sim, &heir, &who, 0), DIE);
		cr_assert(downs == 1 && down_reason == CX_OK && pokes == 0);
		cr_assert(gone == ASKS && timeouts == 0, "at once, not at the deadline");
		cr_assert(dead_mortal_letters(sim) == PLAIN + ASKS, "%d",
		          (int)dead_mortal_letters(sim));
		cx_sim_run_ms(sim, 1000);
		cr_assert(gone == ASKS && timeouts == 0, "each ask ends once");
		cx_sim_free(sim);
	}
}

Test(dead_letters, a_watch_of_an_actor_that_has_ended_is_answered_at_once)
{
	for (unsigned worker = 0; worker < WORKERS; worker++) {
		struct cx_sim *sim = open_sim(8);
		const struct cx_ref who = spawn(sim, &mortal, NULL, worker);

		post(sim, who, DIE);
		cr_assert(downs == 0);
		spawn(sim, &heir, &who, 0);
		cr_assert(downs == 1 && down_reason == CX_EGONE);
		cx_sim_free(sim);
	}
}

Test(dead_letters, a_send_to_an_ended_actor_never_reaches_the_next_one_in_its_place)
{
	struct cx_sim *sim = open_sim(7);
	const struct cx_ref first = spawn(sim, &mortal, NULL, 0);
	struct cx_ref next;

	post(sim, first, DIE);
	next = spawn(sim, &mortal, NULL, 0);
	cr_assert(next.slot == first.slot, "else this shows nothing");
	cr_assert(cx_post(cx_sim_runtime(sim), first,
	                  cx_post_new(POKE, sizeof(struct cx_msg))) == CX_EGONE);
	post(sim, next, POKE);
	cr_assert(pokes == 1);
	cr_assert(dead_mortal_letters(sim) == 1);
	cx_sim_free(sim);
}
