/* SPDX-License-Identifier: MIT */
/* Order, deadlines and recipients; limits are in test_user_limiter_tokens.c. */
#include "actors/limiter_fixture.h"

TestSuite(user_limiter, .init = set_up, .fini = fixture_end, .timeout = 30);

/* ---- order ---- */

Test(user_limiter, answers_in_the_order_of_submission_when_the_log_answers_out_of_order)
{
	const struct got *g[3];

	submit(1, 3);
	open_with(10);
	for (uint32_t i = 0; i < 3; i++)
		g[i] = append_of(i + 1);
	log_says(g[2], LOG_OK);
	log_says(g[1], LOG_DUPLICATE);
	no_more_outcomes();
	log_says(g[0], LOG_OK);
	outcome(1, ERROR_NONE);
	outcome(2, ERROR_DUPLICATE_MESSAGE);
	outcome(3, ERROR_NONE);
	no_more_outcomes();
}

Test(user_limiter, gives_each_outcome_of_the_log_its_code)
{
	static const enum error_code codes[] = {
		[LOG_OK] = ERROR_NONE,
		[LOG_DUPLICATE] = ERROR_DUPLICATE_MESSAGE,
		[LOG_INBOX_FULL] = ERROR_INBOX_FULL,
		[LOG_NO_OWNER] = ERROR_USER_NOT_FOUND,
		[LOG_FAILED] = ERROR_KAFKA_FAILURE,
	};

	submit(0, 5);
	open_with(10);
	for (uint32_t i = 0; i < 5; i++)
		log_says(append_of(i), (enum log_outcome)i);
	for (uint32_t i = 0; i < 5; i++)
		outcome(i, codes[i]);
	no_more_outcomes();
}

Test(user_limiter, a_failure_in_the_middle_stays_in_the_middle)
{
	const struct got *g[3];

	submit(1, 3);
	open_with(10);
	for (uint32_t i = 0; i < 3; i++)
		g[i] = append_of(i + 1);
	bounce(g[1]); /* the log ended: no answer of its own */
	log_says(g[2], LOG_OK);
	no_more_outcomes();
	log_says(g[0], LOG_OK);
	outcome(1, ERROR_NONE);
	outcome(2, ERROR_KAFKA_FAILURE);
	outcome(3, ERROR_NONE);
	no_more_outcomes();
}

Test(user_limiter, a_refusal_of_the_connection_keeps_its_place_and_its_frame)
{
	const struct got *first;

	submit(1, 1);
	submit_to(2, 1, 2, ERROR_FORBIDDEN);
	submit(3, 1);
	open_with(10);
	first = append_of(1);
	log_says(append_of(3), LOG_OK);
	no_more_outcomes();
	log_says(first, LOG_OK);
	outcome(1, ERROR_NONE);
	outcome(2, ERROR_FORBIDDEN);
	outcome(3, ERROR_NONE);
	no_more_outcomes();
}

Test(user_limiter, asks_the_recipient_strictly_in_order)
{
	submit_to(1, 1, 7, ERROR_NONE);
	submit_to(2, 1, 8, ERROR_NONE);
	store_says(STORE_BLOCK_GET, STORE_OK, 0);
	store_says(STORE_LIMIT_LEASE, STORE_OK, 9);
	store_says(STORE_LIMIT_LEASE, STORE_OK, 9);
	cr_assert(count_got(fake_reader, STORE_OP) == 1);
	cr_assert(count_got(fake_log, LOG_APPEND) == 0);
	store_says(STORE_USER_EXISTS, STORE_NOT_FOUND, 0);
	outcome(1, ERROR_USER_NOT_FOUND);
	store_says(STORE_USER_EXISTS, STORE_OK, 0);
	log_says(append_of(2), LOG_OK);
	outcome(2, ERROR_NONE);
	no_more_outcomes();
}

Test(user_limiter, takes_more_sends_than_its_first_ring_holds)
{
	submit(0, 50);
	open_with(64);
	for (uint32_t i = 0; i < 50; i++)
		log_says(append_of(i), LOG_OK);
	for (uint32_t i = 0; i < 50; i++)
		outcome(i, ERROR_NONE);
	no_more_outcomes();
}

/* ---- exactly one answer ---- */

Test(user_limiter, a_log_that_never_answers_ends_each_send_at_its_deadline)
{
	submit(1, 2);
	open_with(10);
	(void)append_of(1);
	(void)append_of(2);
	skip_ms(11000);
	no_more_outcomes();
	skip_ms(1100);
	outcome(1, ERROR_KAFKA_FAILURE);
	outcome(2, ERROR_KAFKA_FAILURE);
	no_more_outcomes();
}

Test(user_limiter, an_answer_after_the_deadline_changes_nothing)
{
	const struct got *g;

	submit(1, 1);
	open_with(10);
	g = append_of(1);
	skip_ms(12100);
	outcome(1, ERROR_KAFKA_FAILURE);
	log_says(g, LOG_OK);
	no_more_outcomes();
}

Test(user_limiter, a_store_that_never_answers_does_not_swallow_a_send)
{
	submit(1, 3);
	skip_ms(5100);
	skip_ms(5100);
	no_more_outcomes();
	skip_ms(1900); /* 12 s: the last question got what was left */
	outcome(1, ERROR_KAFKA_FAILURE);
	outcome(2, ERROR_KAFKA_FAILURE); /* and those behind it are not asked about any more */
	outcome(3, ERROR_KAFKA_FAILURE);
	no_more_outcomes();
	cr_assert(count_got(fake_log, LOG_APPEND) == 0);
}

Test(user_limiter, a_full_log_is_tried_again_in_order)
{
	relay.logs[0] = spawn_at(&tight_fake_type, NULL);
	submit(1, 4);
	open_with(10); /* all four go in one turn: one is taken, three are refused */
	for (uint32_t i = 1; i <= 4; i++) {
		struct got *g = take(relay.logs[0], LOG_APPEND);
		const struct uuid key = uuid_of(i);

		cr_assert(uuid_equal(&GOT(struct log_append_msg, g)->key, &key));
		log_says(g, LOG_OK);
		outcome(i, ERROR_NONE);
		skip_ms(10);
	}
	no_more_outcomes();
}

Test(user_limiter, a_log_that_is_gone_fails_sends_at_the_deadline_and_later_ones_work)
{
	relay.logs[0] = CX_NOBODY;
	submit(1, 1);
	open_with(10);
	skip_ms(6000);
	no_more_outcomes();
	skip_ms(6100);
	outcome(1, ERROR_KAFKA_FAILURE);
	relay.logs[0] = fake_log;
	submit(2, 1);
	log_says(append_of(2), LOG_OK);
	outcome(2, ERROR_NONE);
}

/* ---- recipients ---- */

Test(user_limiter, remembers_a_recipient_for_a_minute)
{
	submit(1, 1);
	open_with(10);
	log_says(append_of(1), LOG_OK);
	submit(2, 1);
	log_says(append_of(2), LOG_OK); /* not asked again */
	skip_ms(61000);
	submit(3, 1);
	store_says(STORE_USER_EXISTS, STORE_NOT_FOUND, 0);
	outcome(1, ERROR_NONE);
	outcome(2, ERROR_NONE);
	outcome(3, ERROR_USER_NOT_FOUND);
}

Test(user_limiter, a_recipient_that_cannot_be_looked_up_is_accepted_and_not_remembered)
{
	submit(1, 2);
	store_says(STORE_BLOCK_GET, STORE_OK, 0);
	store_says(STORE_LIMIT_LEASE, STORE_OK, 9);
	store_says(STORE_LIMIT_LEASE, STORE_OK, 9);
	store_says(STORE_USER_EXISTS, STORE_FAILED, 0);
	log_says(append_of(1), LOG_OK);
	outcome(1, ERROR_NONE);
	bounce(store_got(STORE_USER_EXISTS));
	log_says(append_of(2), LOG_OK);
	outcome(2, ERROR_NONE);
	no_more_outcomes();
}
