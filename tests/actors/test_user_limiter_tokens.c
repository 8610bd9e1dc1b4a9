/* SPDX-License-Identifier: MIT */
/* Limits: tokens in blocks, warnings, the block, a store that fails; and the end of an idle limiter. */
#include "actors/limiter_fixture.h"

TestSuite(limiter_tokens, .init = set_up, .fini = fixture_end, .timeout = 30);

static int64_t wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void accepted(uint32_t n)
{
	submit(n, 1);
	log_says(append_of(n), LOG_OK);
	outcome(n, ERROR_NONE);
}

/* One bucket only, of max an hour; the recipient is known after the first message. */
static void hourly_only(uint32_t max)
{
	relay.max_messages_per_hour = max;
	relay.max_messages_per_minute = 0;
	stop_actor(limiter);
	limiter = spawn_limiter();
}

static void first_message(int64_t granted)
{
	submit(1, 1);
	store_says(STORE_BLOCK_GET, STORE_OK, 0);
	store_says(STORE_LIMIT_LEASE, STORE_OK, granted);
	store_says(STORE_USER_EXISTS, STORE_OK, 0);
	log_says(append_of(1), LOG_OK);
	outcome(1, ERROR_NONE);
}

Test(limiter_tokens, leases_a_sixteenth_of_each_limit_and_spends_it_before_asking_again)
{
	const struct store_op *hour, *minute;
	struct got *g;

	submit(1, 1);
	store_says(STORE_BLOCK_GET, STORE_OK, 0);
	g = store_got(STORE_LIMIT_LEASE);
	hour = GOT(struct store_op, g);
	cr_assert(hour->n == 62 && hour->max == 1000 && hour->window_ms == 3600000);
	ANSWER(g, STORE_RESULT, struct store_result, NULL, .outcome = STORE_OK, .granted = 3);
	g = store_got(STORE_LIMIT_LEASE);
	minute = GOT(struct store_op, g);
	cr_assert(minute->n == 6 && minute->max == 100 && minute->window_ms == 60000);
	cr_assert(memcmp(hour->key, minute->key, sizeof(hour->key)) != 0);
	ANSWER(g, STORE_RESULT, struct store_result, NULL, .outcome = STORE_OK, .granted = 2);
	store_says(STORE_USER_EXISTS, STORE_OK, 0);
	log_says(append_of(1), LOG_OK);
	outcome(1, ERROR_NONE);
	accepted(2); /* of the same block */
	submit(3, 1);
	g = store_got(STORE_LIMIT_LEASE); /* the minute's two are spent, the hour's three not */
	cr_assert(GOT(struct store_op, g)->window_ms == 60000);
	ANSWER(g, STORE_RESULT, struct store_result, NULL, .outcome = STORE_OK, .granted = 9);
	log_says(append_of(3), LOG_OK);
	outcome(3, ERROR_NONE);
	submit(4, 1);
	g = store_got(STORE_LIMIT_LEASE);
	cr_assert(GOT(struct store_op, g)->window_ms == 3600000);
}

Test(limiter_tokens, a_small_limit_is_leased_one_by_one)
{
	const struct got *g;

	hourly_only(5);
	submit(1, 1);
	store_says(STORE_BLOCK_GET, STORE_OK, 0);
	g = store_got(STORE_LIMIT_LEASE);
	cr_assert(GOT(struct store_op, g)->n == 1);
}

Test(limiter_tokens, asks_nothing_of_the_store_without_limits)
{
	relay.max_messages_per_hour = 0;
	relay.max_messages_per_minute = 0;
	stop_actor(limiter);
	limiter = spawn_limiter();
	submit(1, 2);
	store_says(STORE_USER_EXISTS, STORE_OK, 0);
	log_says(append_of(1), LOG_OK);
	log_says(append_of(2), LOG_OK);
	outcome(1, ERROR_NONE);
	outcome(2, ERROR_NONE);
	cr_assert(count_got(fake_writer, STORE_OP) == 0);
}

Test(limiter_tokens, a_refused_lease_is_a_warning_that_tells_the_wait)
{
	const struct gateway_outcome *m;

	hourly_only(1000);
	first_message(1);
	submit(2, 1);
	store_says(STORE_LIMIT_LEASE, STORE_LIMIT, 7500);
	m = outcome(2, ERROR_RATE_LIMIT_WARNING);
	cr_assert(strcmp(m->text, "Slow down! (1001/1000) Retry in 8 s") == 0, "%s", m->text);
	submit(3, 1); /* inside the wait: not asked */
	m = outcome(3, ERROR_RATE_LIMIT_WARNING);
	cr_assert(strcmp(m->text, "Slow down! (1002/1000) Retry in 8 s") == 0, "%s", m->text);
	cr_assert(count_got(fake_writer, STORE_OP) == 0);
	skip_ms(7600);
	submit(4, 1);
	store_says(STORE_LIMIT_LEASE, STORE_OK, 1);
	log_says(append_of(4), LOG_OK);
	outcome(4, ERROR_NONE);
	no_more_outcomes();
}

Test(limiter_tokens, a_warning_does_not_overtake_a_send_that_is_with_the_log)
{
	const struct got *g;

	hourly_only(1000);
	submit(1, 2);
	store_says(STORE_BLOCK_GET, STORE_OK, 0);
	store_says(STORE_LIMIT_LEASE, STORE_OK, 1);
	store_says(STORE_USER_EXISTS, STORE_OK, 0);
	g = append_of(1);
	store_says(STORE_LIMIT_LEASE, STORE_LIMIT, 1000);
	no_more_outcomes();
	log_says(g, LOG_OK);
	outcome(1, ERROR_NONE);
	outcome(2, ERROR_RATE_LIMIT_WARNING);
}

/* max 4: two warnings, the third refusal is the block. */
static void get_blocked(void)
{
	const struct store_op *op;
	const struct got *g;

	hourly_only(4);
	first_message(1);
	submit(2, 1);
	store_says(STORE_LIMIT_LEASE, STORE_LIMIT, 60000);
	outcome(2, ERROR_RATE_LIMIT_WARNING);
	submit(3, 3);
	outcome(3, ERROR_RATE_LIMIT_WARNING);
	outcome(4, ERROR_RATE_LIMIT_BLOCKED);
	outcome(5, ERROR_USER_BLOCKED);
	g = store_got(STORE_BLOCK_SET);
	op = GOT(struct store_op, g);
	cr_assert(op->until_wall_ms > wall_ms() + 59000 &&
	          op->until_wall_ms <= wall_ms() + 60000);
	no_more_outcomes();
}

Test(limiter_tokens, more_refusals_than_half_the_limit_are_a_block_that_ends)
{
	get_blocked();
	skip_ms(58000); /* the store never said whether it has the block: it holds all the same */
	submit(6, 1);
	outcome(6, ERROR_USER_BLOCKED);
	skip_ms(2100);
	submit(7, 1);
	store_says(STORE_LIMIT_LEASE, STORE_OK, 1);
	store_says(STORE_USER_EXISTS, STORE_OK, 0);
	log_says(append_of(7), LOG_OK);
	outcome(7, ERROR_NONE);
}

Test(limiter_tokens, the_block_holds_for_a_new_limiter_that_reads_it_from_the_store)
{
	const struct got *g;

	hourly_only(4);
	submit(1, 2);
	g = store_got(STORE_BLOCK_GET);
	ANSWER(g, STORE_RESULT, struct store_result, NULL, .outcome = STORE_OK,
	       .until_wall_ms = wall_ms() + 30000);
	outcome(1, ERROR_USER_BLOCKED);
	outcome(2, ERROR_USER_BLOCKED); /* not asked again */
	cr_assert(count_got(fake_reader, STORE_OP) == 0);
	cr_assert(count_got(fake_log, LOG_APPEND) == 0);
}

Test(limiter_tokens, a_clock_that_is_set_back_does_not_prolong_the_block)
{
	get_blocked();
	set_wall_ms(-INT64_C(86400000));
	skip_ms(58000);
	submit(6, 1);
	outcome(6, ERROR_USER_BLOCKED);
	skip_ms(2100);
	submit(7, 1);
	store_says(STORE_LIMIT_LEASE, STORE_OK, 1);
	store_says(STORE_USER_EXISTS, STORE_OK, 0);
	log_says(append_of(7), LOG_OK);
	outcome(7, ERROR_NONE);
}

Test(limiter_tokens, a_clock_that_is_set_ahead_does_not_end_the_block)
{
	get_blocked();
	set_wall_ms(INT64_C(86400000));
	submit(6, 1);
	outcome(6, ERROR_USER_BLOCKED);
}

Test(limiter_tokens, a_block_of_the_store_lasts_no_longer_than_a_whole_one)
{
	hourly_only(4);
	submit(1, 1);
	ANSWER(store_got(STORE_BLOCK_GET), STORE_RESULT, struct store_result, NULL,
	       .outcome = STORE_OK, .until_wall_ms = wall_ms() + 86400000);
	outcome(1, ERROR_USER_BLOCKED);
	skip_ms(60100);
	submit(2, 1);
	store_says(STORE_LIMIT_LEASE, STORE_OK, 1);
	store_says(STORE_USER_EXISTS, STORE_OK, 0);
	log_says(append_of(2), LOG_OK);
	outcome(2, ERROR_NONE);
}

Test(limiter_tokens, the_block_is_asked_again_as_long_as_the_store_fails)
{
	const struct got *g;

	hourly_only(160);
	submit(1, 2);
	store_says(STORE_BLOCK_GET, STORE_FAILED, 0);
	store_says(STORE_LIMIT_LEASE, STORE_OK, 10);
	store_says(STORE_USER_EXISTS, STORE_OK, 0);
	log_says(append_of(1), LOG_OK);
	outcome(1, ERROR_NONE);
	g = store_got(STORE_BLOCK_GET);
	ANSWER(g, STORE_RESULT, struct store_result, NULL, .outcome = STORE_OK,
	       .until_wall_ms = wall_ms() + 30000);
	outcome(2, ERROR_USER_BLOCKED);
}

/* Answers leases with failures until the first refusal; returns how many passed. */
static uint32_t pass_while_failing(uint32_t from, uint32_t at_most)
{
	uint32_t n = from;

	for (; n < from + at_most; n++) {
		const struct got *g;

		submit(n, 1);
		if (n == from)
			store_says(STORE_BLOCK_GET, STORE_OK, 0);
		store_says(STORE_LIMIT_LEASE, STORE_FAILED, 0);
		if (n == from)
			store_says(STORE_USER_EXISTS, STORE_OK, 0);
		if (count_got(client, GATEWAY_OUTCOME) > 0)
			break;
		g = append_of(n);
		log_says(g, LOG_OK);
		outcome(n, ERROR_NONE);
	}
	return n - from;
}

Test(limiter_tokens, a_failing_store_leaves_a_tenth_of_the_limit)
{
	uint32_t passed;

	hourly_only(30);
	passed = pass_while_failing(1, 100);
	cr_assert(passed >= 3 && passed <= 4, "%u passed", passed);
	outcome(passed + 1, ERROR_RATE_LIMIT_WARNING);
	no_more_outcomes();
}

Test(limiter_tokens, a_store_that_is_gone_leaves_the_local_allowance_too)
{
	hourly_only(10);
	relay.store.reader = CX_NOBODY;
	relay.store.writer = CX_NOBODY;
	for (uint32_t n = 1; n <= 2; n++)
		accepted(n);
	submit(3, 1);
	outcome(3, ERROR_RATE_LIMIT_WARNING);
	skip_ms(3601000);
	accepted(4); /* a new window */
	no_more_outcomes();
}

/* ---- the end of an idle limiter ---- */

Test(limiter_tokens, tells_the_gateway_when_idle_for_a_minute_and_again)
{
	const struct got *g;

	hourly_only(1000);
	first_message(5);
	skip_ms(59000);
	cr_assert(count_got(fake_gateway, LIMITER_IDLE) == 0);
	skip_ms(1100);
	g = take(fake_gateway, LIMITER_IDLE);
	cr_assert(GOT(struct limiter_idle, g)->handled == 1);
	submit(2, 1);
	store_says(STORE_USER_EXISTS, STORE_OK, 0); /* a minute is over */
	log_says(append_of(2), LOG_OK);
	outcome(2, ERROR_NONE);
	skip_ms(60100);
	g = take(fake_gateway, LIMITER_IDLE);
	cr_assert(GOT(struct limiter_idle, g)->handled == 2);
}

Test(limiter_tokens, is_not_idle_while_the_log_has_a_send)
{
	hourly_only(1000);
	first_message(5);
	skip_ms(55000);
	submit(2, 1);
	(void)append_of(2);
	skip_ms(6000);
	cr_assert(count_got(fake_gateway, LIMITER_IDLE) == 0);
}

Test(limiter_tokens, gives_unused_tokens_back_when_it_ends)
{
	const struct store_op *op;
	const struct got *g;

	hourly_only(1000);
	first_message(5);
	stop_actor(limiter);
	g = store_got(STORE_LIMIT_LEASE);
	op = GOT(struct store_op, g);
	cr_assert(op->n == -4 && op->max == 1000 && op->window_ms == 3600000);
	cr_assert(count_got(fake_writer, STORE_OP) == 0);
}
