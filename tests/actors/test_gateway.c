/* SPDX-License-Identifier: MIT */
/* The gateway with real limiters behind it, between fakes of store and log. */
#include "actors/gateway.h"

#include "actors/fixture.h"

static struct cx_ref gateway, client;

static void set_up(void)
{
	const struct relay_conf conf = { .relay = &relay };

	fixture_start();
	client = fake();
	relay.max_messages_per_minute = 0;
	gateway = spawn_at(&gateway_type, &conf);
	relay.gateways[0] = gateway;
}

TestSuite(gateway, .init = set_up, .fini = fixture_end, .timeout = 30);

struct send_one {
	uint32_t sender, n;
};

static void do_submit(struct cx_ctx *ctx, void *arg)
{
	const struct send_one *s = arg;
	const struct gateway_submit submit = { .sender = uuid_of(s->sender),
		                               .owner = uuid_of(99),
		                               .key = uuid_of(s->n),
		                               .frame_bytes = s->n };
	struct cx_buf *frame = cx_buf_copy(&s->n, sizeof(s->n));
	uint64_t corr;

	cx_assert(gateway_submit(ctx, &relay, &submit, frame, 600000, &corr) == CX_OK);
	cx_buf_unref(frame);
}

static void submit(uint32_t sender, uint32_t n)
{
	struct send_one s = { sender, n };

	do_as(client, do_submit, &s);
}

static void outcome(uint32_t n, enum error_code code)
{
	const struct got *g = take(client, GATEWAY_OUTCOME);

	cr_assert(GOT(struct gateway_outcome, g)->frame_bytes == n);
	cr_assert(GOT(struct gateway_outcome, g)->code == code);
}

/* The sender has `tokens`, is not blocked, the recipient exists. */
static void let_in(int64_t tokens)
{
	ANSWER(take(fake_reader, STORE_OP), STORE_RESULT, struct store_result, NULL,
	       .outcome = STORE_OK);
	ANSWER(take(fake_writer, STORE_OP), STORE_RESULT, struct store_result, NULL,
	       .outcome = STORE_OK, .granted = tokens);
	ANSWER(take(fake_reader, STORE_OP), STORE_RESULT, struct store_result, NULL,
	       .outcome = STORE_OK);
}

static struct got *append_of(uint32_t n)
{
	struct got *g = take(fake_log, LOG_APPEND);
	const struct uuid key = uuid_of(n);

	cr_assert(uuid_equal(&GOT(struct log_append_msg, g)->key, &key));
	return g;
}

static void stored(const struct got *g)
{
	ANSWER(g, LOG_APPENDED, struct log_appended, NULL, .outcome = LOG_OK);
}

static uint64_t live_limiters(void)
{
	struct cx_kind_stats kinds[16];
	const size_t n = cx_runtime_kinds(fx.rt, kinds, CX_COUNTOF(kinds));

	quiet();
	for (size_t i = 0; i < n && i < CX_COUNTOF(kinds); i++)
		if (strcmp(kinds[i].name, "user_limiter") == 0)
			return kinds[i].live;
	return 0;
}

Test(gateway, one_sender_has_one_limiter_and_the_answer_goes_to_the_asker)
{
	submit(1, 10);
	let_in(5);
	stored(append_of(10));
	outcome(10, ERROR_NONE);
	submit(1, 11);
	stored(append_of(11));
	outcome(11, ERROR_NONE);
	cr_assert(live_limiters() == 1);
}

Test(gateway, a_sender_whose_store_hangs_holds_up_nobody_else)
{
	submit(1, 10);
	(void)take(fake_reader, STORE_OP);
	submit(2, 20);
	let_in(5);
	stored(append_of(20));
	outcome(20, ERROR_NONE);
	cr_assert(live_limiters() == 2);
}

Test(gateway, ends_a_limiter_that_is_idle_and_starts_another_at_the_next_send)
{
	const struct got *g;

	submit(1, 10);
	let_in(5);
	stored(append_of(10));
	outcome(10, ERROR_NONE);
	skip_ms(60100);
	g = take(fake_writer, STORE_OP); /* what it had left */
	cr_assert(GOT(struct store_op, g)->n == -4);
	cr_assert(live_limiters() == 0);
	submit(1, 11);
	let_in(5);
	stored(append_of(11));
	outcome(11, ERROR_NONE);
}

static void submit_twice(struct cx_ctx *ctx, void *arg)
{
	struct send_one *s = arg;

	do_submit(ctx, s);
	s->n++;
	do_submit(ctx, s);
}

/* The clock jumps over the idle minute inside the turn that submits, so notice and submissions
 * meet on the way in every order that one worker can make. */
static void skip_and_submit(struct cx_ctx *ctx, void *arg)
{
	atomic_fetch_add(&skipped_ms, 60100);
	submit_twice(ctx, arg);
}

static void submit_and_skip(struct cx_ctx *ctx, void *arg)
{
	submit_twice(ctx, arg);
	atomic_fetch_add(&skipped_ms, 60100);
}

static void lose_nothing(do_fn *race)
{
	for (uint32_t n = 100; n < 140; n += 2) {
		struct send_one s = { 1, n };

		do_as(client, race, &s);
		for (uint32_t i = 0; i < 2; i++) {
			/* a new limiter or the old one: answer what it asks until it appends */
			while (count_got(fake_log, LOG_APPEND) == 0) {
				if (count_got(fake_reader, STORE_OP) > 0)
					ANSWER(take(fake_reader, STORE_OP), STORE_RESULT,
					       struct store_result, NULL, .outcome = STORE_OK);
				if (count_got(fake_writer, STORE_OP) > 0)
					ANSWER(take(fake_writer, STORE_OP), STORE_RESULT,
					       struct store_result, NULL, .outcome = STORE_OK,
					       .granted = 7);
			}
			stored(append_of(n + i));
			outcome(n + i, ERROR_NONE);
		}
		cr_assert(count_got(client, GATEWAY_OUTCOME) == 0);
		cr_assert(count_got(client, CX_MSG_ERROR) == 0);
	}
}

Test(gateway, loses_nothing_when_a_send_meets_the_idle_notice)
{
	lose_nothing(skip_and_submit);
}

Test(gateway, loses_nothing_when_the_idle_minute_ends_behind_a_send)
{
	lose_nothing(submit_and_skip);
}

/* A notice that was true when it was sent, but is not any more. */
Test(gateway, does_not_end_a_limiter_that_has_not_handled_all_that_was_forwarded)
{
	const struct got *g;

	submit(1, 10);
	let_in(5);
	g = append_of(10);
	TELL(client, gateway, LIMITER_IDLE, struct limiter_idle, NULL, .user = uuid_of(1),
	     .handled = 1); /* not from the limiter */
	cr_assert(live_limiters() == 1);
	stored(g);
	outcome(10, ERROR_NONE);
}
