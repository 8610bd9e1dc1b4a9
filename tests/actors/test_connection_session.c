/* SPDX-License-Identifier: MIT */
/* Whose a connection is, and for how long: its session in the store, a second login, the time to
 * authenticate. */
#include "actors/connection_fixture.h"

TestSuite(connection_session, .init = set_up, .fini = fixture_end, .timeout = 60);

/* The store is asked about that session; the test answers. */
static const struct got *asked(uint32_t jti)
{
	const struct got *g = take(fake_reader, STORE_OP);
	const struct uuid id = uuid_of(jti);

	cr_assert_eq(GOT(struct store_op, g)->what, STORE_SESSION_GET);
	cr_assert(uuid_equal(&GOT(struct store_op, g)->jti, &id));
	return g;
}

static void store_says(const struct got *g, enum store_outcome result, uint32_t id,
                       int64_t left_ms)
{
	ANSWER(g, STORE_RESULT, struct store_result, NULL, .what = STORE_SESSION_GET,
	       .outcome = result, .user = uuid_of(id), .ttl_ms = left_ms);
	quiet();
}

static int questions(void)
{
	return count_got(fake_reader, STORE_OP);
}

/* The socket lives: the last ping is answered. */
static void pass_ms(int64_t ms)
{
	while (ms > 0) {
		const int64_t step = ms < 20000 ? ms : 20000;

		skip_ms(step);
		TELL(ws, conn, WS_PONG, struct ws_pong_in, NULL, .number = 1);
		quiet();
		ms -= step;
	}
}

/* ---- the session in the store ---- */

Test(connection_session, asks_for_the_session_again_once_the_hub_knows_of_it)
{
	log_in_as(1, 70);
	take(fake_hub, HUB_JOIN);
	store_says(asked(70), STORE_OK, 1, 3600000);
	cr_assert_eq(closes(), 0);
	cr_assert_eq(questions(), 0);
}

Test(connection_session, closes_when_the_session_ended_while_it_joined)
{
	log_in_as(1, 70);
	take(fake_hub, HUB_JOIN);
	store_says(asked(70), STORE_NOT_FOUND, 0, 0);
	expect_closed(4401);
	take(fake_hub, HUB_LEAVE);
}

Test(connection_session, closes_when_the_session_is_another_users)
{
	log_in_as(1, 70);
	store_says(asked(70), STORE_OK, 2, 3600000);
	expect_closed(4401);
}

Test(connection_session, a_store_that_cannot_be_asked_is_asked_again)
{
	log_in_as(1, 70);
	store_says(asked(70), STORE_FAILED, 0, 0);
	pass_ms(5001);
	bounce(asked(70));
	cr_assert_eq(closes(), 0);
	pass_ms(5001);
	store_says(asked(70), STORE_NOT_FOUND, 0, 0);
	expect_closed(4401);
}

Test(connection_session, closes_soon_after_the_session_has_expired)
{
	log_in_as(1, 70);
	store_says(asked(70), STORE_OK, 1, 600000);
	pass_ms(599000);
	cr_assert_eq(questions(), 0);
	pass_ms(2000);
	store_says(asked(70), STORE_NOT_FOUND, 0, 0);
	expect_closed(4401);
}

Test(connection_session, a_session_that_the_store_still_has_goes_on)
{
	log_in_as(1, 70);
	store_says(asked(70), STORE_OK, 1, 60000);
	pass_ms(61000);
	store_says(asked(70), STORE_OK, 1,
	           -5); /* its clock went back: not a question each turn */
	cr_assert_eq(questions(), 0);
	pass_ms(1100);
	store_says(asked(70), STORE_OK, 1, 3600000);
	cr_assert_eq(closes(), 0);
}

Test(connection_session, an_answer_about_the_session_before_this_one_is_nothing)
{
	const struct got *old;

	log_in_as(1, 70);
	old = asked(70);
	log_in_as(1, 71);
	store_says(old, STORE_NOT_FOUND, 0, 0);
	cr_assert_eq(closes(), 0);
	store_says(asked(71), STORE_OK, 1, 60000);
}

Test(connection_session, after_a_request_without_answer_the_session_is_in_doubt)
{
	log_in_as(1, 70);
	store_says(asked(70), STORE_OK, 1, 3600000);
	send_login(); /* or a logout, which spares the asker */
	take(fake_account, ACCOUNT_REQUEST);
	pass_ms(12001);
	pass_ms(31000);
	store_says(asked(70), STORE_NOT_FOUND, 0, 0);
	expect_closed(4401);
}

static void gap(uint32_t within_ms)
{
	TELL(fake_hub, conn, HUB_LOOK, struct hub_look, NULL, .user = uuid_of(1),
	     .within_ms = within_ms, .after_gap = 1);
	quiet();
}

Test(connection_session, closes_when_the_session_ended_while_kicks_were_not_heard)
{
	log_in_as(1, 70);
	store_says(asked(70), STORE_OK, 1, 3600000);
	gap(0);
	skip_ms(1100);
	store_says(asked(70), STORE_NOT_FOUND, 0, 0);
	expect_closed(4401);
}

Test(connection_session, one_gap_after_the_other_does_not_put_off_the_question)
{
	log_in_as(1, 70);
	store_says(asked(70), STORE_OK, 1, 3600000);
	for (int i = 0; i < 12; i++) {
		gap(10000);
		skip_ms(1000);
	}
	asked(70);
}

Test(connection_session, an_answer_from_before_a_gap_settles_nothing)
{
	const struct got *old;

	log_in_as(1, 70);
	old = asked(70);
	gap(0);
	store_says(old, STORE_OK, 1, 3600000);
	skip_ms(1100);
	store_says(asked(70), STORE_NOT_FOUND, 0, 0);
	expect_closed(4401);
}

Test(connection_session, a_look_for_one_user_asks_nothing_about_the_session)
{
	log_in_as(1, 70);
	store_says(asked(70), STORE_OK, 1, 3600000);
	TELL(fake_hub, conn, HUB_LOOK, struct hub_look, NULL, .user = uuid_of(1));
	pass_ms(2000);
	cr_assert_eq(questions(), 0);
}

Test(connection_session, is_closed_when_its_own_session_is_ended_by_its_request)
{
	log_in_as(1, 70);
	send_login(); /* stands for changePassword by another session's token */
	account_answers(ACCOUNT_ENDED, 1, 71);
	expect_closed(4401);
	take(fake_hub, HUB_LEAVE);
}

/* ---- a second login ---- */

static void push_kind(uint8_t kind, uint32_t owner, uint64_t id, uint64_t prev)
{
	struct cx_buf *buf = cx_buf_new(sizeof(struct record) + 8);

	TELL(fake_hub, conn, HUB_PUSH, struct hub_push, buf,
	     .item = { .owner = uuid_of(owner),
	               .id = id,
	               .prev = prev,
	               .len = 8,
	               .kind = kind,
	               .fresh = 1 });
	cx_buf_unref(buf);
	quiet();
}

static void push(uint32_t owner, uint64_t id, uint64_t prev)
{
	push_kind(RECORD_MESSAGE, owner, id, prev);
}

static uint64_t read_after(uint32_t owner)
{
	const struct got *g = take(fake_inbox, INBOX_READ);
	const struct uuid id = uuid_of(owner);

	cr_assert(uuid_equal(&GOT(struct inbox_read_msg, g)->owner, &id));
	ANSWER(g, INBOX_ENTRIES, struct inbox_entries, NULL, .next = 0);
	quiet();
	return GOT(struct inbox_read_msg, g)->after;
}

Test(connection_session, the_same_user_again_goes_on_where_the_cursor_is)
{
	log_in_as(1, 70);
	cr_assert_eq(read_after(1), 0);
	push(1, 5, 0);
	take(ws, WS_SEND);
	log_in_as(1, 71);
	cr_assert_eq(read_after(1), 5);
	take(fake_hub, HUB_JOIN);
	take(fake_hub, HUB_JOIN); /* with the new session, in its old place */
	cr_assert_eq(count_got(fake_hub, HUB_LEAVE), 0);
	push(1, 5, 0);
	cr_assert_eq(count_got(ws, WS_SEND), 0, "twice on one connection");
}

Test(connection_session, the_same_user_after_a_logout_goes_on_too)
{
	log_in_as(1, 70);
	cr_assert_eq(read_after(1), 0);
	push(1, 5, 0);
	take(ws, WS_SEND);
	send_login(); /* stands for a logout */
	account_answers(ACCOUNT_LEFT, 1, 70);
	log_in_as(1, 71);
	cr_assert_eq(read_after(1), 5);
}

Test(connection_session, another_user_begins_anew_and_gets_nothing_of_the_one_before)
{
	log_in_as(1, 70);
	cr_assert_eq(read_after(1), 0);
	push(1, 5, 0);
	take(ws, WS_SEND);
	log_in_as(2, 71);
	cr_assert_eq(read_after(2), 0);
	push(1, 9, 0); /* was on its way */
	cr_assert_eq(count_got(ws, WS_SEND), 0, "another user's message");
	push(2, 7, 0);
	take(ws, WS_SEND);
}

Test(connection_session,
     receipts_that_went_out_before_a_second_login_are_confirmed_all_the_same)
{
	const struct ws_control_msg *ping;

	log_in_as(1, 70);
	cr_assert_eq(read_after(1), 0);
	push_kind(RECORD_RECEIPT, 1, 5, 0);
	take(ws, WS_SEND);
	send_login();
	account_answers(ACCOUNT_LEFT, 1, 70);
	log_in_as(1, 71);
	skip_ms(150);
	do
		ping = GOT(struct ws_control_msg, take(ws, WS_CONTROL));
	while (count_got(ws, WS_CONTROL) > 0);
	TELL(ws, conn, WS_PONG, struct ws_pong_in, NULL, .number = ping->number);
	cr_assert_eq(GOT(struct hub_confirm_msg, take(fake_hub, HUB_CONFIRM))->upto, 5);
}

/* ---- the time to authenticate ---- */

Test(connection_session, an_unknown_client_is_closed_after_thirty_seconds)
{
	skip_ms(29900);
	cr_assert_eq(closes(), 0);
	skip_ms(200);
	expect_closed(4401);
}

Test(connection_session, logins_one_behind_the_other_win_no_time)
{
	for (int i = 0; i < 5; i++)
		send_login();
	for (int i = 0; i < 2; i++) {
		skip_ms(11000);
		account_answers(ACCOUNT_NOTHING, 0, 0);
	}
	skip_ms(10000);
	cr_assert_eq(closes(), 0, "one is on its way");
	account_answers(ACCOUNT_NOTHING, 0, 0);
	expect_closed(4401);
	cr_assert_eq(count_got(fake_account, ACCOUNT_REQUEST), 0);
}

Test(connection_session, a_login_that_was_on_its_way_at_the_thirty_seconds_counts)
{
	skip_ms(29000);
	send_login();
	skip_ms(2000);
	account_answers(ACCOUNT_AUTHENTICATED, 1, 70);
	cr_assert_eq(closes(), 0);
}
