/* SPDX-License-Identifier: MIT */
/* The server's inbox and a Redis that answers when and as the test likes. */
#include "stack_inbox_fake.h"

TestSuite(stack_inbox_faults, .init = set_up, .fini = fixture_end, .timeout = 30);

static void ask_read(uint64_t after)
{
	ask_read_of(OWNER, after, 65536);
}

/* Messages 1..n are known, and that there is nothing else. */
static void know(unsigned n)
{
	presence(true);
	ask_read(0);
	add_entries(1, n);
	say(call());
	take(asker, INBOX_ENTRIES);
}

/* ---- G3: nothing comes after its acknowledgement ---- */

Test(stack_inbox_faults, what_is_settled_while_a_read_is_under_way_is_left_out_of_it)
{
	const struct got *read;

	know(3);
	ask_read(0);
	read = call();
	ask_settle(2);
	say_deleted(call(), 1);
	cr_assert_eq(settled(), INBOX_OK);
	add_entries(1, 3); /* as it was before */
	say(read);
	cr_assert_str_eq(entries(), "1-0 3-0 | 3-0");
}

Test(stack_inbox_faults, what_is_being_settled_is_left_out_and_comes_again_when_it_failed)
{
	const struct got *settle;

	know(3);
	ask_settle(2);
	settle = call();
	ask_read(0);
	add_entries(1, 3);
	say(call());
	cr_assert_str_eq(entries(), "1-0 3-0 | 3-0");
	bounce(settle);
	cr_assert_eq(settled(), INBOX_FAILED);
	ask_read(0);
	add_entries(1, 3);
	say(call());
	cr_assert_str_eq(entries(), "1-0 2-0 3-0 | 3-0");
	ask_settle(2);
	say_deleted(call(), 1);
	cr_assert_eq(settled(), INBOX_OK);
}

Test(stack_inbox_faults, the_index_of_one_who_left_stays_while_his_read_is_under_way)
{
	const struct got *read;

	know(3);
	ask_read(0);
	read = call();
	ask_settle(2);
	presence(false);
	say_deleted(call(), 1);
	cr_assert_eq(settled(), INBOX_OK);
	add_entries(1, 3);
	say(read);
	cr_assert_str_eq(entries(), "1-0 3-0 | 3-0");
}

static void do_settle_and_read(struct cx_ctx *ctx, void *arg)
{
	const struct uuid owner = uuid_of(OWNER), keys[] = { uuid_of(1), uuid_of(3) };
	uint64_t corr;

	(void)arg;
	cx_assert(inbox_read(ctx, &inbox, &owner, 0, 4096, 10000, &corr) == CX_OK);
	for (int i = 0; i < 2; i++)
		cx_assert(inbox_settle(ctx, &inbox, &owner, &keys[i], NULL, 15000, &corr) ==
		          CX_OK);
}

Test(stack_inbox_faults, a_turn_is_one_call_that_writes_events_before_it_deletes)
{
	const struct got *settle, *read;
	const uint8_t *add_at, *delete_at;

	know(3);
	do_as(asker, do_settle_and_read, NULL);
	settle = call();
	read = call();
	cr_assert(has_text(read, "XRANGE"), "settles go first");
	cr_assert_eq(GOT(struct redis_call_msg, settle)->count, 2);
	add_at = memmem(cx_buf_bytes(settle->buf), cx_buf_len(settle->buf), "XADD", 4);
	delete_at = memmem(cx_buf_bytes(settle->buf), cx_buf_len(settle->buf), "XDEL", 4);
	cr_assert(add_at != NULL && delete_at != NULL && add_at < delete_at);
	cr_assert(has_text(settle, "1-0\r\n") && has_text(settle, "3-0\r\n"));
	say_deleted(settle, 1);
	cr_assert_eq(settled(), INBOX_OK);
	cr_assert_eq(settled(), INBOX_OK);
}

Test(stack_inbox_faults, a_push_that_overtakes_a_read_is_not_said_to_be_in_it)
{
	const struct put p = message(ID(4));
	const struct got *read;

	know(3);
	ask_read(0);
	read = call();
	learn(&p, 1, ID(3));
	add_entries(1, 3); /* as it was before */
	say(read);
	cr_assert_str_eq(entries(), "1-0 2-0 3-0 | 3-0");
	ask_read(ID(4));
	add_entries(1, 0);
	say(call());
	cr_assert_str_eq(entries(), "| 4-0");
	ask_read(ID(3));
	add_entries(1, 0); /* another server's user has settled it */
	say(call());
	cr_assert_str_eq(entries(), "| 4-0", "pushes that come after 4 need no read");
}

/* ---- what is known ---- */

Test(stack_inbox_faults, an_unknown_message_is_looked_for_beyond_what_is_known_only)
{
	const struct got *find;

	know(3);
	ask_settle(9);
	find = call();
	cr_assert(is_script(find) && has_text(find, "3-1\r\n"));
	add_heads(4, 3, true);
	say(find);
	cr_assert_eq(settled(), INBOX_UNKNOWN);
}

Test(stack_inbox_faults, pushes_that_follow_each_other_are_known_and_others_are_not)
{
	const struct put in_order[] = { message(ID(4)), message(ID(5)) };
	const struct put later = message(ID(8));

	know(3);
	learn(in_order, 2, ID(3));
	ask_settle(5);
	say_deleted(call(), 1);
	cr_assert_eq(settled(), INBOX_OK);
	learn(&later, 1, ID(6)); /* 6 was lost */
	ask_settle(8);
	add_heads(6, 8, true);
	say(call());
	say_deleted(call(), 1);
	cr_assert_eq(settled(), INBOX_OK);
	ask_settle(6);
	cr_assert_not(is_script(call()), "the search has found it by the way");
	learn(&later, 1, INBOX_PREV_UNKNOWN);
	presence(false);
}

Test(stack_inbox_faults, one_who_left_is_forgotten)
{
	const struct put p = message(ID(4));

	know(3);
	presence(false);
	learn(&p, 1, ID(3));
	ask_settle(2);
	cr_assert(is_script(take(redis, REDIS_CALL)), "it was known");
}

Test(stack_inbox_faults,
     settles_that_come_while_the_stream_is_searched_wait_for_their_own_search)
{
	const struct got *find;

	ask_settle(1);
	find = call();
	ask_settle(4);
	cr_assert_eq(count_got(redis, REDIS_CALL), 0, "one search a user");
	add_heads(1, 3, true); /* 4 was appended behind it */
	say(find);
	find = call();
	if (!is_script(find)) { /* the settle of 1 goes at the turn's end */
		say_deleted(find, 1);
		find = call();
	} else {
		say_deleted(call(), 1);
	}
	cr_assert_eq(settled(), INBOX_OK);
	add_heads(4, 4, true);
	say(find);
	say_deleted(call(), 1);
	cr_assert_eq(settled(), INBOX_OK);
}

Test(stack_inbox_faults, a_message_that_should_be_known_and_is_not_can_be_settled)
{
	presence(true);
	ask_read(0);
	add_array(0);
	say(call());
	learn((const struct put[]){ message(ID(5)) }, 1, 0);
	take(asker, INBOX_ENTRIES);
	ask_read(0);
	add_entries(4, 5); /* Redis has 4 again, which it had lost */
	say(call());
	cr_assert_str_eq(entries(), "4-0 5-0 | 5-0");
	ask_settle(4);
	add_heads(4, 5, true);
	say(call());
	say_deleted(call(), 1);
	cr_assert_eq(settled(), INBOX_OK);
}

Test(stack_inbox_faults, what_is_too_much_for_the_index_fails_and_is_not_unknown)
{
	stop_actor(inbox_ref);
	inbox_settings.index_max = 4;
	inbox_start(redis);
	presence(true);
	ask_settle(6);
	add_heads(1, 6, true);
	say(call());
	cr_assert_eq(settled(), INBOX_FAILED);
	ask_settle(3);
	add_heads(1, 4, false);
	say(call());
	say_deleted(call(), 1);
	cr_assert_eq(settled(), INBOX_OK);
}

/* ---- receipts that another server may not have shown ---- */

static void confirm(uint64_t upto)
{
	TELL(hub, inbox_ref, INBOX_RECEIPTS_DONE, struct inbox_receipts_done_msg, NULL,
	     .owner = uuid_of(OWNER), .upto = upto);
	quiet();
}

/* Receipts 4 and 5 behind messages 1 to 3. */
static void know_receipts(void)
{
	struct put puts[] = { message(ID(4)), message(ID(5)) };

	puts[0].kind = puts[1].kind = RECORD_RECEIPT;
	know(3);
	learn(puts, 2, ID(3));
}

static void say_fields(const struct got *asked, const char *field, const char *other)
{
	cr_assert(has_text(asked, "HKEYS") && has_text(asked, PREFIX "route:{"));
	add_array(2);
	add_text(REDIS_STRING, field);
	add_text(REDIS_STRING, other);
	say(asked);
}

static void expect_gone(const char *first, const char *second)
{
	const struct got *delete = call();

	cr_assert(has_text(delete, "XDEL") && has_text(delete, first) &&
	          has_text(delete, second));
	cr_assert_eq(count_got(redis, REDIS_CALL), 0);
}

Test(stack_inbox_faults, of_one_who_is_here_alone_receipts_go_at_once)
{
	know_receipts();
	confirm(ID(5));
	say_fields(call(), "0000000000abcdef/64", "0000000000abcdef/128");
	expect_gone("4-0", "5-0");
	skip_ms(100000);
	cr_assert_eq(count_got(redis, REDIS_CALL), 0, "once");
}

Test(stack_inbox_faults, of_one_who_is_elsewhere_too_they_go_after_the_look_there)
{
	know_receipts();
	confirm(ID(4));
	say_fields(call(), "0000000000abcdef/64", "0000000000abcdf0/64");
	skip_ms(50000);
	confirm(ID(5));
	say_fields(call(), "0000000000abcdf0/64", "0000000000abcdef/64");
	confirm(ID(5)); /* nothing new */
	skip_ms(20000);
	cr_assert_eq(count_got(redis, REDIS_CALL), 0, "70 s: it may be looking yet");
	presence(false);
	skip_ms(25000);
	expect_gone("4-0", "XDEL");
	skip_ms(50000);
	expect_gone("5-0", "XDEL");
}

Test(stack_inbox_faults, of_one_of_whom_nothing_is_known_they_go_late)
{
	know_receipts();
	confirm(ID(4));
	ANSWER(call(), REDIS_REPLY, struct redis_reply, NULL, .outcome = REDIS_LOST);
	confirm(ID(5));
	bounce(call());
	quiet();
	cr_assert_eq(count_got(redis, REDIS_CALL), 0);
	skip_ms(95000);
	expect_gone("4-0", "5-0");
}

/* ---- another Redis, which has not all of what the last one had ---- */

#define OTHERS_MS 2000 /* that other servers have to delete again what they deleted */

static void change_redis(void)
{
	TELL(hub, inbox_ref, REDIS_CHANGED, struct redis_changed, NULL, .run_id = "other");
	quiet();
}

/* They are appended again under the same ids: nobody may be told that he has read so far. */
Test(stack_inbox_faults, after_another_redis_came_nothing_is_said_to_be_read_that_it_has_not)
{
	const struct put p = message(ID(4));
	const struct got *read;

	know(3);
	learn(&p, 1, ID(3));
	ask_read(ID(3));
	read = call();
	change_redis();
	add_entries(1, 0);
	say(read);
	cr_assert_str_eq(entries(), "| 3-0", "it was asked when 4 was known");
	skip_ms(OTHERS_MS);
	ask_read(ID(3));
	add_entries(1, 0);
	say(call());
	cr_assert_str_eq(entries(), "| 3-0");
}

Test(stack_inbox_faults, what_was_settled_in_another_redis_can_be_settled_again)
{
	know(3);
	ask_settle(2);
	say_deleted(call(), 1);
	cr_assert_eq(settled(), INBOX_OK);
	change_redis(); /* which has lost that */
	call();
	ask_settle(2);
	add_heads(1, 3, true);
	say(call());
	say_deleted(call(), 1);
	cr_assert_eq(settled(), INBOX_OK);
}

Test(stack_inbox_faults, what_was_deleted_in_the_last_seconds_is_deleted_again_in_another_redis)
{
	know(3);
	ask_settle(1);
	say_deleted(call(), 1);
	skip_ms(6000);
	ask_settle(2);
	say_deleted(call(), 1);
	skip_ms(4000);
	ask_settle(3);
	say_deleted(call(), 1);
	skip_ms(60000); /* Redis was away */
	change_redis();
	expect_gone("2-0", "3-0");
	change_redis();
	{
		const struct got *delete = call();

		cr_assert(has_text(delete, "2-0") && has_text(delete, "3-0"));
		cr_assert_not(has_text(delete, "1-0"), "the disk has that for long");
	}
}

Test(stack_inbox_faults,
     nobody_reads_in_another_redis_before_all_servers_may_have_deleted_again)
{
	know(3);
	change_redis();
	skip_ms(OTHERS_MS - 100);
	ask_read(0);
	cr_assert_eq(count_got(redis, REDIS_CALL), 0);
	cr_assert_eq(GOT(struct inbox_entries, take(asker, INBOX_ENTRIES))->failed, 1);
	skip_ms(200);
	ask_read(0);
	add_entries(1, 3);
	say(call());
	cr_assert_str_eq(entries(), "1-0 2-0 3-0 | 3-0");
}

Test(stack_inbox_faults, receipts_of_another_redis_are_not_deleted)
{
	const struct got *asked;

	know_receipts();
	confirm(ID(4));
	say_fields(call(), "0000000000abcdef/64", "0000000000abcdf0/64");
	confirm(ID(5));
	asked = call();
	change_redis();
	say_fields(asked, "0000000000abcdef/64", "0000000000abcdef/128");
	skip_ms(100000);
	cr_assert_eq(count_got(redis, REDIS_CALL), 0);
}

/* ---- a Redis that does not answer, or answers no ---- */

Test(stack_inbox_faults, without_an_answer_a_settle_fails_in_time)
{
	know(3);
	ask_settle(2);
	call();
	skip_ms(7000);
	cr_assert_eq(settled(), INBOX_FAILED);
	ask_settle(1); /* not sent at all: he will try again */
	bounce(call());
	cr_assert_eq(settled(), INBOX_FAILED);
	ask_settle(4);
	cr_assert(is_script(call()));
	skip_ms(7000);
	cr_assert_eq(settled(), INBOX_FAILED);
	cr_assert_eq(count_got(acks, ACK_BATCHER_ADD), 0,
	             "who looks after the outbox finds it");
}

Test(stack_inbox_faults, what_is_found_too_late_is_not_settled)
{
	const struct got *find;

	ask_settle(5);
	find = call();
	skip_ms(4000);
	add_heads(1, 3, false);
	say(find);
	find = call();
	skip_ms(4000);
	add_heads(4, 5, true);
	say(find);
	cr_assert_eq(settled(), INBOX_FAILED);
	cr_assert_eq(count_got(redis, REDIS_CALL), 0);
}

Test(stack_inbox_faults, who_joined_a_settle_gets_its_failure_too)
{
	const struct got *settle;

	know(3);
	ask_settle(2);
	settle = call();
	ask_settle(2);
	cr_assert_eq(count_got(redis, REDIS_CALL), 0);
	ANSWER(settle, REDIS_REPLY, struct redis_reply, NULL, .outcome = REDIS_LOST);
	cr_assert_eq(settled(), INBOX_FAILED);
	cr_assert_eq(settled(), INBOX_FAILED);
}

Test(stack_inbox_faults, an_outbox_that_takes_nothing_is_a_failure_and_the_event_goes_out)
{
	const struct ack_batcher_add_msg *m;

	know(3);
	ask_settle(2);
	add_text(REDIS_ERROR, "OOM command not allowed when used memory > 'maxmemory'.");
	add_integer(1);
	say(call());
	cr_assert_eq(settled(), INBOX_FAILED);
	m = GOT(struct ack_batcher_add_msg, take(acks, ACK_BATCHER_ADD));
	cr_assert_eq(m->count, 1);
	cr_assert_eq(m->outbox_ms, 0);
}

Test(stack_inbox_faults, a_read_that_is_not_answered_fails_and_the_next_asks_for_less)
{
	ask_read(0);
	cr_assert(has_text(call(), "\r\n164\r\n"));
	skip_ms(9500);
	cr_assert_str_eq(entries(), "| 0-0 failed");
	presence(true);
	ask_read(7);
	ANSWER(call(), REDIS_REPLY, struct redis_reply, NULL, .outcome = REDIS_LOST);
	cr_assert_str_eq(entries(), "| 0-7 failed");
	ask_read(7);
	cr_assert(has_text(call(), "\r\n82\r\n"));
	add_text(REDIS_ERROR, "LOADING Redis is loading the dataset in memory");
	ask_read(9);
	say(call());
	cr_assert_str_eq(entries(), "| 0-9 failed");
}

Test(stack_inbox_faults, stopping_answers_those_who_wait)
{
	know(3);
	ask_settle(2);
	ask_settle(9);
	ask_read(0);
	quiet();
	stop_actor(inbox_ref);
	cr_assert_eq(settled(), INBOX_FAILED);
	cr_assert_eq(settled(), INBOX_FAILED);
	cr_assert_str_eq(entries(), "| 0-0 failed");
}
