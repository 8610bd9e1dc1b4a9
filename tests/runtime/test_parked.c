/* SPDX-License-Identifier: MIT */
/* Senders to full mailboxes: a sender parks what was refused and comes again when its timer says so
 * (src/actors/partition.c does it like this), and two full actors that send to each other both finish.
 * On the simulator and on threads, sender and receiver on one worker and on two. */
#include <cx/sim.h>

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include <cx/log.h>

#define WORKERS 2
#define CAP 8
#define BACKLOG 1000
#define RETRY_MS 2
#define ASKS 500
#define ASK_TIMEOUT_MS 20000
#define SEEDS 20

enum { NUMBER = CX_MSG_USER, PING, RETRY, QUESTION, ANSWER };

struct number {
	struct cx_msg hdr;
	int value;
};

static _Atomic int got, disorder, refused, pings_while_parked;
static _Atomic int answers[2], errors, full_of[2];

/* ---- pump: has more to send than fits ---- */

struct pump {
	struct cx_ref sink;
	struct cx_timer retry;
	int sent;
};

static void pump(struct cx_ctx *ctx, struct pump *p)
{
	while (p->sent < BACKLOG) {
		struct number *m = CX_MSG_NEW(ctx, NUMBER, struct number);
		enum cx_err err;

		m->value = p->sent + 1;
		err = cx_send(ctx, p->sink, &m->hdr);
		if (err != CX_OK) {
			cr_assert(err == CX_EFULL);
			refused++;
			cx_timer_arm(ctx, &p->retry, RETRY_MS, RETRY);
			return;
		}
		p->sent++;
	}
}

static void on_retry(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)msg;
	pump(ctx, state);
}

static void on_ping(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)msg;
	pings_while_parked += cx_timer_is_armed(&((struct pump *)state)->retry);
}

static enum cx_err pump_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	((struct pump *)state)->sink = *(const struct cx_ref *)conf;
	pump(ctx, state);
	return CX_OK;
}

static const struct cx_handler pump_handlers[] = {
	CX_ON(RETRY, struct cx_msg_timer, on_retry),
	CX_ON(PING, struct cx_msg, on_ping),
};
static const struct cx_actor_type pump_type = {
	.name = "pump",
	.state_size = sizeof(struct pump),
	.conf_size = sizeof(struct cx_ref),
	.mailbox_cap = CAP,
	.placement = CX_PLACE_IO,
	.start = pump_start,
	.handlers = pump_handlers,
	.handler_count = CX_COUNTOF(pump_handlers),
};

static void on_number(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	disorder += CX_MSG_AS(struct number, msg)->value != atomic_load(&got) + 1;
	got++;
}

static const struct cx_handler sink_handlers[] = {
	CX_ON(NUMBER, struct number, on_number),
};
static const struct cx_actor_type sink = {
	.name = "sink",
	.mailbox_cap = CAP,
	.placement = CX_PLACE_IO,
	.handlers = sink_handlers,
	.handler_count = CX_COUNTOF(sink_handlers),
};

/* ---- peer: asks the other until it is full, and again when an answer came or the timer says so ---- */

static struct cx_ref peers[2]; /* written before they start */

struct peer {
	struct cx_timer retry;
	int me;
	int asked;
};

static void ask_on(struct cx_ctx *ctx, struct peer *p)
{
	while (p->asked < ASKS) {
		uint64_t corr;
		const enum cx_err err = cx_ask(ctx, peers[1 - p->me],
		                               cx_msg_new(ctx, QUESTION, sizeof(struct cx_msg)),
		                               ASK_TIMEOUT_MS, &corr);

		if (err != CX_OK) {
			cr_assert(err == CX_EFULL);
			full_of[1 - p->me]++;
			cx_timer_arm(ctx, &p->retry, RETRY_MS, RETRY);
			return;
		}
		p->asked++;
	}
}

static enum cx_err peer_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct peer *p = state;

	p->me = *(const int *)conf;
	cx_timer_arm(ctx, &p->retry, RETRY_MS, RETRY);
	return CX_OK;
}

static void on_peer_retry(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)msg;
	ask_on(ctx, state);
}

/* Asks before it answers: its own question goes into what is full already. */
static void on_question(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	ask_on(ctx, state);
	cx_reply(ctx, msg, cx_msg_new(ctx, ANSWER, sizeof(struct cx_msg)));
}

static void on_answer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct peer *p = state;

	(void)msg;
	answers[p->me]++;
	ask_on(ctx, p);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	errors++;
}

static const struct cx_handler peer_handlers[] = {
	CX_ON(RETRY, struct cx_msg_timer, on_peer_retry),
	CX_ON(QUESTION, struct cx_msg, on_question),
	CX_ON(ANSWER, struct cx_msg, on_answer),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
};
static const struct cx_actor_type peer = {
	.name = "peer",
	.state_size = sizeof(struct peer),
	.conf_size = sizeof(int),
	.mailbox_cap = CAP,
	.placement = CX_PLACE_IO,
	.start = peer_start,
	.handlers = peer_handlers,
	.handler_count = CX_COUNTOF(peer_handlers),
};

/* ---- set-up ---- */

static void reset(void)
{
	got = disorder = refused = pings_while_parked = errors = 0;
	answers[0] = answers[1] = full_of[0] = full_of[1] = 0;
	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
}

static struct cx_sim *open_sim(uint64_t seed)
{
	const struct cx_sim_conf conf = { .runtime = { .seed = seed, .workers = WORKERS } };
	struct cx_sim *sim;

	reset();
	cr_assert(cx_sim_new(&conf, &sim) == CX_OK);
	return sim;
}

static struct cx_runtime *open_threads(void)
{
	const struct cx_runtime_conf conf = { .workers = WORKERS };
	struct cx_runtime *rt;

	reset();
	cr_assert(cx_runtime_new(&conf, &rt) == CX_OK);
	return rt;
}

static void run_until(struct cx_runtime *rt, const _Atomic int *a, const _Atomic int *b,
                      int at_least)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	cr_assert(cx_runtime_start(rt) == CX_OK);
	for (int i = 0; i < 20000 && (*a < at_least || *b < at_least); i++)
		nanosleep(&ms, NULL);
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
}

static struct cx_ref spawn(struct cx_runtime *rt, const struct cx_actor_type *type,
                           const void *conf, unsigned worker)
{
	struct cx_ref ref;

	cr_assert(cx_runtime_spawn(rt, type, conf, worker, &ref) == CX_OK);
	return ref;
}

static void spawn_peers(struct cx_runtime *rt, unsigned worker)
{
	for (int i = 0; i < 2; i++)
		peers[i] = spawn(rt, &peer, &i, i == 0 ? 0 : worker);
}

static void check_peers(void)
{
	cr_assert(full_of[0] > 0 && full_of[1] > 0, "they were not full: this shows nothing");
	cr_assert(errors == 0, "%d asks had no answer", errors);
	cr_assert(answers[0] == ASKS && answers[1] == ASKS, "%d and %d of %d", answers[0],
	          answers[1], ASKS);
}

TestSuite(parked_sender, .timeout = 60);
TestSuite(two_full_actors, .timeout = 60);

Test(parked_sender, comes_again_until_all_is_sent_once_and_in_order)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct cx_sim *sim = open_sim(seed);
		const struct cx_ref to =
			spawn(cx_sim_runtime(sim), &sink, NULL, seed % WORKERS);

		spawn(cx_sim_runtime(sim), &pump_type, &to, 0);
		cx_sim_run_ms(sim, 2000);
		cr_assert(got == BACKLOG && disorder == 0, "%d", got);
		cr_assert(refused >= BACKLOG / CAP - 1, "%d", refused);
		cx_sim_free(sim);
	}
}

Test(parked_sender, handles_other_messages_meanwhile)
{
	for (unsigned worker = 0; worker < WORKERS; worker++) {
		struct cx_sim *sim = open_sim(1);
		struct cx_runtime *rt = cx_sim_runtime(sim);
		const struct cx_ref to = spawn(rt, &sink, NULL, worker);
		const struct cx_ref from = spawn(rt, &pump_type, &to, 0);

		for (int i = 0; i < 10; i++) {
			cx_sim_run_ms(sim, 10);
			cr_assert(cx_post(rt, from, cx_post_new(PING, sizeof(struct cx_msg))) ==
			          CX_OK);
		}
		cx_sim_run_ms(sim, 1);
		cr_assert(pings_while_parked == 10 && got < BACKLOG, "%d", pings_while_parked);
		cx_sim_free(sim);
	}
}

Test(parked_sender, comes_again_until_all_is_sent_once_and_in_order_on_threads)
{
	for (unsigned worker = 0; worker < WORKERS; worker++) {
		struct cx_runtime *rt = open_threads();
		const struct cx_ref to = spawn(rt, &sink, NULL, worker);

		spawn(rt, &pump_type, &to, 0);
		run_until(rt, &got, &got, BACKLOG);
		cr_assert(got == BACKLOG && disorder == 0 && refused > 0, "%d", got);
	}
}

Test(two_full_actors, that_ask_each_other_both_get_all_their_answers)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct cx_sim *sim = open_sim(seed);

		spawn_peers(cx_sim_runtime(sim), seed % WORKERS);
		cx_sim_run_ms(sim, 60000);
		check_peers();
		cx_sim_free(sim);
	}
}

Test(two_full_actors, that_ask_each_other_both_get_all_their_answers_on_threads)
{
	for (unsigned worker = 0; worker < WORKERS; worker++) {
		struct cx_runtime *rt = open_threads();

		spawn_peers(rt, worker);
		run_until(rt, &answers[0], &answers[1], ASKS);
		check_peers();
	}
}
