/* SPDX-License-Identifier: MIT */
/* Streams: each sender sends to its receivers in turn, round after round.
 *
 * Flow control is by credits.  A sender may be WINDOW rounds ahead of its slowest receiver; the last
 * message of each half window asks for a grant, one small message back.  So at most two halves are
 * on their way, grants of a half say which by its parity, and every mailbox has a bound that is never
 * reached. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define RECEIVERS_MAX 100
#define IN_FLIGHT_MAX 65536

enum { ADD = CX_MSG_USER, ADD_LAST, GRANT, BEGIN };

struct shape {
	uint32_t senders;
	uint32_t receivers;
	uint32_t window;        /* rounds; even */
	unsigned sender_worker; /* and the receivers alternate from the other one on, */
	unsigned receiver_step; /* or stay there when this is 0 */
};

/* --- receiver: adds up, grants, reports when all has come ----------------------------------- */

struct receiver {
	const struct bench *bench;
	uint64_t left;
	uint64_t sum;
};

struct receiver_conf {
	const struct bench *bench;
	uint64_t messages;
};

static void on_add(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct receiver *r = state;

	r->sum += CX_MSG_AS(struct number, msg)->value;
	if (--r->left == 0)
		bench_report(ctx, r->bench, r->sum);
}

static void on_add_last(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	on_add(ctx, state, msg);
	bench_send(ctx, msg->from, GRANT, CX_MSG_AS(struct number, msg)->value);
}

static enum cx_err start_receiver(struct cx_ctx *ctx, void *state, const void *conf)
{
	const struct receiver_conf *c = conf;

	(void)ctx;
	*(struct receiver *)state = (struct receiver){ .bench = c->bench, .left = c->messages };
	return CX_OK;
}

static const struct cx_handler receiver_handlers[] = {
	CX_ON(ADD, struct number, on_add),
	CX_ON(ADD_LAST, struct number, on_add_last),
};

static const struct cx_actor_type receiver_type = {
	.name = "receiver",
	.state_size = sizeof(struct receiver),
	.conf_size = sizeof(struct receiver_conf),
	.mailbox_cap = IN_FLIGHT_MAX,
	.placement = CX_PLACE_IO,
	.start = start_receiver,
	.handlers = receiver_handlers,
	.handler_count = CX_COUNTOF(receiver_handlers),
};

/* --- sender ---------------------------------------------------------------------------------- */

struct sender_conf {
	const struct cx_ref *receivers; /* outlives the runtime */
	uint32_t receiver_count;
	uint32_t window;
	uint64_t rounds;
};

struct sender {
	struct sender_conf conf;
	uint64_t round;     /* that is next, from 1 */
	uint64_t credit;    /* rounds that may go out */
	uint32_t grants[2]; /* that came for a half window of this parity */
};

/* Its number is the round, so the half window of a grant can be told from it. */
static void send_rounds(struct cx_ctx *ctx, struct sender *s)
{
	const uint32_t half = s->conf.window / 2;

	while (s->credit > 0 && s->round <= s->conf.rounds) {
		const uint32_t type = s->round % half == 0 ? ADD_LAST : ADD;

		for (uint32_t i = 0; i < s->conf.receiver_count; i++)
			bench_send(ctx, s->conf.receivers[i], type, s->round);
		s->round++;
		s->credit--;
	}
}

static void on_begin(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)msg;
	send_rounds(ctx, state);
}

static void on_grant(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct sender *s = state;
	const uint32_t half = s->conf.window / 2;
	uint32_t *grants = &s->grants[CX_MSG_AS(struct number, msg)->value / half % 2];

	if (++*grants < s->conf.receiver_count)
		return;
	*grants = 0;
	s->credit += half;
	send_rounds(ctx, s);
}

static enum cx_err start_sender(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct sender *s = state;

	(void)ctx;
	s->conf = *(const struct sender_conf *)conf;
	s->round = 1;
	s->credit = s->conf.window;
	return CX_OK;
}

static const struct cx_handler sender_handlers[] = {
	CX_ON(BEGIN, struct number, on_begin),
	CX_ON(GRANT, struct number, on_grant),
};

static const struct cx_actor_type sender_type = {
	.name = "sender",
	.state_size = sizeof(struct sender),
	.conf_size = sizeof(struct sender_conf),
	.mailbox_cap = 4 * RECEIVERS_MAX,
	.placement = CX_PLACE_IO,
	.start = start_sender,
	.handlers = sender_handlers,
	.handler_count = CX_COUNTOF(sender_handlers),
};

/* --- rows ------------------------------------------------------------------------------------ */

struct stream {
	struct cx_ref receivers[RECEIVERS_MAX];
	struct cx_ref senders[8];
	uint64_t rounds;
};

static void build(struct bench *b, const struct shape *shape, struct stream *st)
{
	const struct receiver_conf receiver = { .bench = b,
		                                .messages = st->rounds * shape->senders };
	const struct sender_conf sender = { .receivers = st->receivers,
		                            .receiver_count = shape->receivers,
		                            .window = shape->window,
		                            .rounds = st->rounds };

	bench_boot(b, shape->receivers);
	for (uint32_t i = 0; i < shape->receivers; i++)
		st->receivers[i] =
			bench_spawn(b, &receiver_type, &receiver,
		                    shape->sender_worker + 1 + i * shape->receiver_step);
	for (uint32_t i = 0; i < shape->senders; i++)
		st->senders[i] = bench_spawn(b, &sender_type, &sender, shape->sender_worker);
	bench_start(b);
}

static void run(struct bench *b, const struct shape *shape, struct outcome *out)
{
	struct stream st = { .rounds = b->ops / shape->senders / shape->receivers };
	const uint64_t flows = (uint64_t)shape->senders * shape->receivers;
	uint64_t began_ns;

	build(b, shape, &st);
	began_ns = bench_now_ns();
	for (uint32_t i = 0; i < shape->senders; i++)
		bench_post(b, st.senders[i], BEGIN, 0);
	bench_wait(b);
	out->ops = st.rounds * flows;
	out->ns = b->ended_ns - began_ns;
	cx_assert(b->sum == flows * (st.rounds * (st.rounds + 1) / 2)); /* nothing was lost */
	bench_end(b);
}

void row_count(struct bench *b, struct outcome *out)
{
	const struct shape shape = { .senders = 1, .receivers = 1, .window = 1024 };

	run(b, &shape, out);
}

void row_fan_in(struct bench *b, struct outcome *out)
{
	const struct shape shape = { .senders = 8, .receivers = 1, .window = 256 };

	run(b, &shape, out);
}

void row_fan_out(struct bench *b, struct outcome *out)
{
	const struct shape shape = {
		.senders = 1, .receivers = 100, .window = 64, .receiver_step = 1
	};

	run(b, &shape, out);
}

void row_fork_join(struct bench *b, struct outcome *out)
{
	const struct shape shape = {
		.senders = 1, .receivers = 64, .window = 64, .receiver_step = 1
	};

	run(b, &shape, out);
}

static void sleep_ns(uint64_t ns)
{
	const struct timespec t = { .tv_sec = (time_t)(ns / 1000000000),
		                    .tv_nsec = (long)(ns % 1000000000) };

	nanosleep(&t, NULL);
}

static uint64_t handled_by_receiver(struct bench *b)
{
	struct cx_kind_stats kinds[8];
	const size_t n = cx_runtime_kinds(b->rt, kinds, CX_COUNTOF(kinds));

	for (size_t i = 0; i < n && i < CX_COUNTOF(kinds); i++)
		if (strcmp(kinds[i].name, receiver_type.name) == 0)
			return kinds[i].messages;
	return 0;
}

/* Resident memory after a second, half-way and at the end. */
void row_soak(struct bench *b, struct outcome *out)
{
	const struct shape shape = { .senders = 1, .receivers = 1, .window = 1024 };
	const uint64_t second_ns = 1000000000;
	struct stream st = { .rounds = UINT64_MAX / 2 };
	uint64_t kb[3];
	uint64_t began_ns;

	build(b, &shape, &st);
	bench_post(b, st.senders[0], BEGIN, 0);
	sleep_ns(second_ns);
	began_ns = bench_now_ns();
	out->ops = handled_by_receiver(b);
	for (int i = 0; i < 3; i++) {
		if (i > 0)
			sleep_ns(b->ops * second_ns / 2);
		kb[i] = bench_rss_bytes() / 1024;
	}
	out->ops = handled_by_receiver(b) - out->ops;
	out->ns = bench_now_ns() - began_ns;
	bench_end(b);
	snprintf(out->more, sizeof(out->more), ",seconds=%u,rss_kb=%u/%u/%u", (unsigned)b->ops,
	         (unsigned)kb[0], (unsigned)kb[1], (unsigned)kb[2]);
}
