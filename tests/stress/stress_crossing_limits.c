/* SPDX-License-Identifier: MIT */
/* Limits and ends of actors whose messages cross between workers (crossing.c).
 * 1. One sending worker of two: what was accepted and is not handled yet stays within the limit, but for
 *    what was just taken out of a parcel (crossing.c, 5).
 * 2. Who has never more under way to an actor than its limit is never refused.
 * 3. Actors that end and are there anew while messages are on their way: each ask has one answer or one error, and
 *    all that was accepted was handled or is a dead letter. */
#include <sched.h>

#include "sized.h"

static struct cx_ref receiver[2], sender[2];
static uint32_t to_send;

static void go_on(struct cx_ctx *ctx)
{
	must(cx_send_reserved(ctx, cx_self(ctx), cx_msg_new(ctx, GO, sizeof(struct cx_msg))));
}

/* ---- 1. one sending worker ---- */

#define PARCEL 16 /* messages */

static uint64_t accepted; /* the sending worker's */
static uint64_t most;
static _Atomic uint64_t refused;

static void on_flood(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	for (unsigned i = 0; i < 200 && accepted < to_send; i++) {
		const uint64_t random = cx_random(ctx);
		uint64_t waiting;

		if (cx_send(ctx, receiver[0], make(ctx, M1, random, 0, (uint32_t)accepted)) !=
		    CX_OK) {
			atomic_fetch_add(&refused, 1);
			break;
		}
		/* handled is read later: never more than there were */
		waiting = ++accepted - atomic_load(&handled);
		if (waiting > most && waiting < UINT32_MAX)
			most = waiting;
	}
	if (accepted < to_send)
		go_on(ctx);
}

static void on_flooded(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	atomic_fetch_add(&handled, 1);
	check_bytes(msg);
	if (cx_random(ctx) % 256 == 0) /* the others come to their limits */
		sched_yield();
}

static enum cx_err start_flood(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)state;
	(void)conf;
	go_on(ctx);
	return CX_OK;
}

static void one_sending_worker(uint32_t cap, uint32_t count)
{
	static const struct cx_handler flood_handlers[] = { CX_ON(GO, struct cx_msg,
		                                                  on_flood) };
	const struct cx_actor_type flood = { .name = "flood",
		                             .placement = CX_PLACE_IO,
		                             .mailbox_cap = 2,
		                             .start = start_flood,
		                             .handlers = flood_handlers,
		                             .handler_count = 1 };
	struct cx_handler handlers[SIZES];
	const struct cx_actor_type flooded = { .name = "flooded",
		                               .placement = CX_PLACE_IO,
		                               .mailbox_cap = cap,
		                               .handlers = handlers,
		                               .handler_count =
		                                       on_sizes(handlers, 0, M1, on_flooded) };
	struct cx_ref ref;

	to_send = count;
	accepted = most = 0;
	atomic_store(&refused, 0);
	make_runtime(2);
	must(cx_runtime_spawn(rt, &flooded, NULL, 1, &receiver[0]));
	for (int i = 0; i < 2; i++)
		must(cx_runtime_spawn(rt, &flood, NULL, 0, &ref));
	must(cx_runtime_start(rt));
	wait_until(&handled, count);
	end_runtime();
	STRESS_CHECK(handled == count, "%llu of %u", (unsigned long long)handled, count);
	STRESS_CHECK(most <= cap + PARCEL, "%llu at once, limit %u", (unsigned long long)most,
	             cap);
	printf("limit %u: %llu at once, %llu refusals\n", cap, (unsigned long long)most,
	       (unsigned long long)refused);
}

/* ---- 2. as many as there is room for ---- */

/* Each of two on two workers sends, and acknowledges what the other one sends. */
struct exact {
	uint32_t number, sent, acked, next;
};

static uint32_t window;
static _Atomic uint64_t started;

static void fill(struct cx_ctx *ctx, struct exact *x)
{
	while (x->sent < to_send && x->sent - x->acked < window) {
		const struct cx_ref to = receiver[1 - x->number];

		if (cx_send(ctx, to, make(ctx, M1, cx_random(ctx), x->number, x->sent)) !=
		    CX_OK) {
			atomic_fetch_add(&refused, 1);
			go_on(ctx);
			return;
		}
		x->sent++;
	}
}

static void on_fill(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)msg;
	fill(ctx, state);
}

static void on_ack(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct exact *x = state;

	(void)msg;
	x->acked++;
	fill(ctx, x);
}

static void on_exact(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct sized *m = CX_MSG_AS(struct sized, msg);
	struct exact *x = state;

	check_bytes(msg);
	if (m->b != x->next++)
		atomic_fetch_add(&bad_order, 1);
	atomic_fetch_add(&handled, 1);
	must(cx_send_reserved(ctx, sender[m->a], cx_msg_new(ctx, NEXT, sizeof(*msg))));
}

static enum cx_err start_exact(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	((struct exact *)state)->number = *(const uint32_t *)conf;
	atomic_fetch_add(&started, 1);
	return CX_OK;
}

static void as_many_as_fit(uint32_t cap, uint32_t count)
{
	static const struct cx_handler sender_handlers[] = {
		CX_ON(GO, struct cx_msg, on_fill),
		CX_ON(NEXT, struct cx_msg, on_ack),
	};
	struct cx_handler handlers[SIZES];
	struct cx_actor_type type = { .name = "exact_sender",
		                      .placement = CX_PLACE_IO,
		                      .state_size = sizeof(struct exact),
		                      .conf_size = sizeof(uint32_t),
		                      .mailbox_cap = 2,
		                      .start = start_exact,
		                      .handlers = sender_handlers,
		                      .handler_count = 2 };
	struct cx_actor_type receiver_type = type;

	receiver_type.name = "exact_receiver";
	receiver_type.mailbox_cap = cap;
	receiver_type.handlers = handlers;
	receiver_type.handler_count = on_sizes(handlers, 0, M1, on_exact);
	to_send = count;
	window = cap;
	atomic_store(&started, 0);
	atomic_store(&refused, 0);
	make_runtime(2);
	for (uint32_t i = 0; i < 2; i++) {
		must(cx_runtime_spawn(rt, &receiver_type, &i, i, &receiver[i]));
		must(cx_runtime_spawn(rt, &type, &i, i, &sender[i]));
	}
	must(cx_runtime_start(rt));
	wait_until(&started, 4); /* until then that is in their mailboxes */
	for (unsigned i = 0; i < 2; i++)
		must(cx_post(rt, sender[i], cx_post_new(GO, sizeof(struct cx_msg))));
	wait_until(&handled, 2 * (uint64_t)count);
	end_runtime();
	STRESS_CHECK(handled == 2 * (uint64_t)count, "%llu of %u", (unsigned long long)handled,
	             2 * count);
	STRESS_CHECK(refused == 0, "limit %u: %llu refused, who had room", cap,
	             (unsigned long long)refused);
	printf("limit %u: %u in each direction\n", cap, count);
}

/* ---- 3. ends ---- */

#define MORTALS 6
#define ASKERS 4
#define PENDING 16
#define LIFE 40 /* messages */

enum { BORN = GO + 1 };

struct born {
	struct cx_msg hdr;
	uint32_t number;
	struct cx_ref ref;
};

struct asker {
	struct cx_ref mortal[MORTALS];
	uint64_t corr[PENDING];
	uint32_t asked;
	bool is_done;
};

static struct cx_ref askers[ASKERS];
static uint32_t asks_each;
static _Atomic uint64_t answers, gone_answers, odd_answers, gone_sends, oks, taken, full, done,
	births;

static void on_ask(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	uint32_t *left = state;

	check_bytes(msg);
	atomic_fetch_add(&taken, 1);
	if (msg->corr != 0)
		cx_reply(ctx, msg, make(ctx, M2, cx_random(ctx), 1, 2));
	if (*left > 0 && --*left == 0)
		cx_stop(ctx);
}

static enum cx_err start_mortal(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)conf;
	*(uint32_t *)state = 1 + (uint32_t)(cx_random(ctx) % LIFE);
	return CX_OK;
}

static struct cx_handler mortal_handlers[SIZES];
static struct cx_actor_type mortal_type = { .name = "mortal",
	                                    .placement = CX_PLACE_IO,
	                                    .state_size = sizeof(uint32_t),
	                                    .mailbox_cap = 32,
	                                    .start = start_mortal,
	                                    .handlers = mortal_handlers };

static void bear(struct cx_ctx *ctx, struct cx_ref *of, uint32_t number)
{
	must(cx_spawn(ctx, &mortal_type, NULL, cx_random(ctx) % cx_worker_count(ctx),
	              &of[number]));
	cx_watch(ctx, of[number]);
	atomic_fetch_add(&births, 1);
	for (unsigned i = 0; i < ASKERS; i++) {
		struct born *b = CX_MSG_NEW(ctx, BORN, struct born);

		b->number = number;
		b->ref = of[number];
		must(cx_send_reserved(ctx, askers[i], &b->hdr));
	}
}

static void on_down(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct cx_msg_down *down = CX_MSG_AS(struct cx_msg_down, msg);
	struct cx_ref *of = state;

	if (down->reason != CX_OK) /* it was watched before anybody knew it */
		atomic_fetch_add(&odd_answers, 1);
	for (uint32_t i = 0; i < MORTALS; i++)
		if (cx_ref_is(of[i], down->who)) {
			bear(ctx, of, i);
			return;
		}
	atomic_fetch_add(&odd_answers, 1);
}

static void on_begin(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)msg;
	for (uint32_t i = 0; i < MORTALS; i++)
		bear(ctx, state, i);
}

static void on_born(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct born *b = CX_MSG_AS(struct born, msg);
	struct asker *a = state;
	const bool is_first = cx_ref_none(a->mortal[b->number]);

	a->mortal[b->number] = b->ref;
	if (is_first && b->number == MORTALS - 1)
		go_on(ctx);
}

static void note_sent(enum cx_err err)
{
	atomic_fetch_add(err == CX_OK ? &oks : err == CX_EGONE ? &gone_sends : &full, 1);
}

/* A question where no other is pending; a message besides, without one. */
static void on_go(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct asker *a = state;
	bool is_pending = false;

	(void)msg;
	for (unsigned i = 0; i < PENDING; i++) {
		const uint64_t random = cx_random(ctx);
		const struct cx_ref to = a->mortal[(random >> 32) % MORTALS];
		enum cx_err err;

		is_pending = is_pending || a->corr[i] != 0;
		if (a->corr[i] != 0 || a->asked == asks_each)
			continue;
		err = cx_ask(ctx, to, make(ctx, M1, random, 3, a->asked), 600000, &a->corr[i]);
		note_sent(err);
		if (err == CX_OK) {
			a->asked++;
			is_pending = true;
		}
		note_sent(cx_send(ctx, to, make(ctx, M1, random >> 8, 4, a->asked)));
	}
	if (a->asked < asks_each || is_pending) {
		go_on(ctx);
	} else if (!a->is_done) {
		a->is_done = true;
		atomic_fetch_add(&done, 1);
	}
}

static void close_ask(struct asker *a, uint64_t corr)
{
	for (unsigned i = 0; i < PENDING; i++)
		if (a->corr[i] == corr && corr != 0) {
			a->corr[i] = 0;
			return;
		}
	atomic_fetch_add(&odd_answers, 1); /* a second one, or nobody's */
}

static void on_answer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	check_bytes(msg);
	close_ask(state, msg->corr);
	atomic_fetch_add(&answers, 1);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	close_ask(state, msg->corr);
	atomic_fetch_add(CX_MSG_AS(struct cx_msg_error, msg)->err == CX_EGONE ? &gone_answers
	                                                                      : &odd_answers,
	                 1);
}

static uint64_t dead_letters(void)
{
	struct cx_kind_stats stats[8];
	const size_t n = cx_runtime_kinds(rt, stats, CX_COUNTOF(stats));

	for (size_t i = 0; i < n; i++)
		if (strcmp(stats[i].name, "mortal") == 0)
			return stats[i].dead_letters;
	return 0;
}

static void spawn_askers(unsigned workers)
{
	static struct cx_handler asker_handlers[SIZES + 3];
	static struct cx_actor_type asker_type = { .name = "asker",
		                                   .placement = CX_PLACE_IO,
		                                   .state_size = sizeof(struct asker),
		                                   .mailbox_cap = 4,
		                                   .handlers = asker_handlers };
	size_t n = on_sizes(asker_handlers, 0, M2, on_answer);

	asker_handlers[n++] =
		(struct cx_handler)CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error);
	asker_handlers[n++] = (struct cx_handler)CX_ON(BORN, struct born, on_born);
	asker_handlers[n++] = (struct cx_handler)CX_ON(GO, struct cx_msg, on_go);
	asker_type.handler_count = n;
	for (unsigned i = 0; i < ASKERS; i++)
		must(cx_runtime_spawn(rt, &asker_type, NULL, i % workers, &askers[i]));
}

static void ends(unsigned workers, uint32_t count)
{
	static const struct cx_handler keeper_handlers[] = {
		CX_ON(GO, struct cx_msg, on_begin),
		CX_ON(CX_MSG_DOWN, struct cx_msg_down, on_down),
	};
	static const struct cx_actor_type keeper = { .name = "keeper",
		                                     .placement = CX_PLACE_IO,
		                                     .state_size =
		                                             MORTALS * sizeof(struct cx_ref),
		                                     .mailbox_cap = 64,
		                                     .handlers = keeper_handlers,
		                                     .handler_count = 2 };
	uint64_t dead;
	struct cx_ref ref;

	asks_each = count;
	mortal_type.handler_count = on_sizes(mortal_handlers, 0, M1, on_ask);
	answers = gone_answers = odd_answers = gone_sends = oks = taken = full = done = births =
		0;
	make_runtime(workers);
	spawn_askers(workers);
	must(cx_runtime_spawn(rt, &keeper, NULL, workers - 1, &ref));
	must(cx_post(rt, ref, cx_post_new(GO, sizeof(struct cx_msg))));
	must(cx_runtime_start(rt));
	wait_until(&done, ASKERS);
	for (int i = 0; i < 10000 && taken + dead_letters() < oks + gone_sends; i++)
		stress_sleep_ms(1);
	dead = dead_letters();
	STRESS_CHECK(done == ASKERS, "%llu askers are done", (unsigned long long)done);
	STRESS_CHECK(answers + gone_answers == (uint64_t)ASKERS * count,
	             "%llu answers and %llu errors to %llu asks", (unsigned long long)answers,
	             (unsigned long long)gone_answers, (unsigned long long)ASKERS * count);
	STRESS_CHECK(odd_answers == 0, "%llu odd ones", (unsigned long long)odd_answers);
	STRESS_CHECK(taken + dead == oks + gone_sends,
	             "%llu handled, %llu dead letters; %llu sent, %llu to nobody",
	             (unsigned long long)taken, (unsigned long long)dead,
	             (unsigned long long)oks, (unsigned long long)gone_sends);
	end_runtime();
	printf("workers %u: %llu lives, %llu answers, %llu bounced, %llu gone, %llu refused\n",
	       workers, (unsigned long long)births, (unsigned long long)answers,
	       (unsigned long long)gone_answers, (unsigned long long)gone_sends,
	       (unsigned long long)full);
}

int main(int argc, char **argv)
{
	static const uint32_t caps[] = { 1, 2, 3, 8, 64, 512 };
	static const uint32_t windows[] = { 1, 2, 8 };
	const uint32_t scale = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < CX_COUNTOF(caps); i++)
		one_sending_worker(caps[i], scale * STRESS_ROUNDS(20000));
	for (size_t i = 0; i < CX_COUNTOF(windows); i++)
		as_many_as_fit(windows[i], scale * STRESS_ROUNDS(20000) * windows[i]);
	for (unsigned workers = 2; workers <= 4; workers++)
		ends(workers, scale * STRESS_ROUNDS(2000));
	return stress_end();
}
