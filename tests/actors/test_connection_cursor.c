/* SPDX-License-Identifier: MIT */
/* The inbox on its way to a client. */
#include "actors/connection_fixture.h"

TestSuite(connection_cursor, .init = set_up, .fini = fixture_end, .timeout = 60);

/* ---- the cursor (G2): what is older comes first, whatever fails ---- */

static void entries_fail(void)
{
	ANSWER(take(fake_inbox, INBOX_READ), INBOX_ENTRIES, struct inbox_entries, NULL,
	       .failed = 1);
}

static void push_bytes(enum record_kind kind, uint64_t id, uint64_t prev, uint32_t len)
{
	struct cx_buf *buf = cx_buf_new(record_size(len));

	memset(cx_buf_data(buf), 'x', cx_buf_len(buf));
	TELL(fake_hub, conn, HUB_PUSH, struct hub_push, buf,
	     .item = { .owner = uuid_of(1),
	               .id = id,
	               .prev = prev,
	               .len = len,
	               .kind = kind,
	               .fresh = 1 });
	cx_buf_unref(buf);
}

static void push(enum record_kind kind, uint64_t id, uint64_t prev)
{
	push_bytes(kind, id, prev, 4);
}

static void push_entry(uint64_t id, uint64_t prev)
{
	push(RECORD_MESSAGE, id, prev);
}

Test(connection_cursor, a_push_after_a_failed_read_is_not_written_but_read_for)
{
	const struct got *g;

	log_in();
	entries_fail();
	push_entry(20, 0); /* the first of all, it says, and in the box it is */
	g = take(fake_inbox, INBOX_READ);
	cr_assert_eq(GOT(struct inbox_read_msg, g)->after, 0);
	cr_assert_eq(count_got(ws, WS_SEND), 0);
	ANSWER(g, INBOX_ENTRIES, struct inbox_entries, NULL, .failed = 1);
	skip_ms(1100); /* tried again by itself */
	ANSWER(take(fake_inbox, INBOX_READ), INBOX_ENTRIES, struct inbox_entries, NULL,
	       .next = 20);
	push_entry(21, 20);
	cr_assert_eq(count_got(ws, WS_SEND), 1, "from here on it is known what is before");
}

Test(connection_cursor, a_push_during_a_read_that_was_tried_again_waits_for_no_tick)
{
	const struct got *g;

	log_in();
	entries_fail();
	skip_ms(1100);
	g = take(fake_inbox, INBOX_READ);
	push_entry(20, INBOX_PREV_UNKNOWN);
	ANSWER(g, INBOX_ENTRIES, struct inbox_entries, NULL, .next = 10);
	g = take(fake_inbox, INBOX_READ);
	cr_assert_eq(GOT(struct inbox_read_msg, g)->after, 10);
}

Test(connection_cursor, a_push_before_which_nobody_knows_what_waits_is_read_for)
{
	log_in();
	ANSWER(take(fake_inbox, INBOX_READ), INBOX_ENTRIES, struct inbox_entries, NULL,
	       .next = 0);
	push_entry(20, INBOX_PREV_UNKNOWN);
	cr_assert_eq(count_got(ws, WS_SEND), 0);
	take(fake_inbox, INBOX_READ);
}

/* ---- looks: what was not pushed ---- */

static void look(uint32_t user, uint32_t within_ms)
{
	TELL(fake_hub, conn, HUB_LOOK, struct hub_look, NULL, .user = uuid_of(user),
	     .within_ms = within_ms);
	quiet();
}

static void reads_up_to(uint64_t next)
{
	ANSWER(take(fake_inbox, INBOX_READ), INBOX_ENTRIES, struct inbox_entries, NULL,
	       .next = next);
	quiet();
}

Test(connection_cursor, a_look_reads_on)
{
	log_in();
	reads_up_to(10);
	look(1, 0);
	cr_assert_eq(GOT(struct inbox_read_msg, take(fake_inbox, INBOX_READ))->after, 10);
}

Test(connection_cursor, a_look_during_a_read_is_a_read_after_it)
{
	log_in();
	look(1, 0); /* the read on its way may have been answered before what there is to see */
	cr_assert_eq(count_got(fake_inbox, INBOX_READ), 1);
	reads_up_to(10);
	push_entry(12, 10); /* held until that read has ended, too */
	cr_assert_eq(count_got(ws, WS_SEND), 0);
	reads_up_to(10);
	cr_assert_eq(count_got(ws, WS_SEND), 1);
	cr_assert_eq(count_got(fake_inbox, INBOX_READ), 0);
}

Test(connection_cursor, a_look_of_whom_it_was_before_is_nothing)
{
	log_in_as(1, 70);
	reads_up_to(0);
	look(2, 0);
	cr_assert_eq(count_got(fake_inbox, INBOX_READ), 0);
}

Test(connection_cursor, a_look_of_all_is_spread_and_a_push_before_it_is_not_trusted)
{
	log_in();
	reads_up_to(10);
	look(1, 5000);
	skip_ms(5100);
	cr_assert_eq(count_got(fake_inbox, INBOX_READ), 1);
	reads_up_to(10);
	look(1, 5000);
	push_entry(12, 10);
	cr_assert_eq(count_got(ws, WS_SEND), 0);
	cr_assert_eq(count_got(fake_inbox, INBOX_READ), 1);
}

/* ---- a Redis that has lost data ---- */

static void read_anew(void)
{
	TELL(fake_hub, conn, HUB_LOOK, struct hub_look, NULL, .user = uuid_of(1), .anew = 1);
	quiet();
}

Test(connection_cursor, after_a_loss_all_is_read_anew_and_no_message_is_shown_twice)
{
	log_in();
	relay.receipts_apart = true;
	reads_up_to(10);
	push_entry(12, 10);
	cr_assert_eq(count_got(ws, WS_SEND), 1);
	read_anew();
	reads_up_to(3);
	push(RECORD_RECEIPT, 4, 3);
	cr_assert_eq(count_got(ws, WS_SEND), 2, "below where it was, and new");
	push_entry(12, 4);
	cr_assert_eq(count_got(ws, WS_SEND), 2);
	push_entry(13, 12);
	cr_assert_eq(count_got(ws, WS_SEND), 3);
	for (int i = 0; i < 2; i++) { /* lost again, and again */
		read_anew();
		reads_up_to(3);
	}
	push_entry(13, 3);
	cr_assert_eq(count_got(ws, WS_SEND), 3);
}

/* A read of the emptied inbox ended at what is known to be there, before the loss was known. */
Test(connection_cursor, after_a_loss_what_was_passed_over_unseen_is_shown)
{
	log_in();
	relay.receipts_apart = true;
	reads_up_to(10);
	push_entry(12, 10);
	push_entry(20, 18);
	reads_up_to(20);
	cr_assert_eq(count_got(ws, WS_SEND), 1, "18 and 20 are not there");
	read_anew();
	reads_up_to(0);
	push_entry(12, 0);
	cr_assert_eq(count_got(ws, WS_SEND), 1);
	push_entry(18, 12);
	push_entry(20, 18);
	cr_assert_eq(count_got(ws, WS_SEND), 3);
}

/* Of two in a row that were passed over, the first is shown once, however often all is lost. */
Test(connection_cursor, after_a_loss_what_was_passed_over_is_shown_once)
{
	log_in();
	relay.receipts_apart = true;
	reads_up_to(10);
	push_entry(12, 10);
	push_entry(20, 18);
	reads_up_to(20);
	for (int i = 0; i < 2; i++) {
		read_anew();
		reads_up_to(0);
		push_entry(18, 0);
		push_entry(20, 18);
		cr_assert_eq(count_got(ws, WS_SEND), 3, "12, 18, 20");
	}
	cr_assert_eq(closes(), 0);
}

/* A push of before the loss came behind that read: what was passed over is older than what is shown,
 * perhaps of the same sender. */
Test(connection_cursor, after_a_loss_what_was_passed_over_is_not_shown_behind_a_later_one)
{
	log_in();
	relay.receipts_apart = true;
	reads_up_to(10);
	push_entry(12, 10);
	push_entry(18, 16);
	push_entry(20, 18);
	reads_up_to(18);
	cr_assert_eq(count_got(ws, WS_SEND), 2, "12 and 20");
	read_anew();
	reads_up_to(0);
	push_entry(12, 0);
	cr_assert_eq(closes(), 0, "shown");
	push_entry(18, 12);
	push_entry(22, 18);
	cr_assert_eq(count_got(ws, WS_SEND), 2);
	cr_assert_eq(closes(), 1, "18 comes with the next connection");
	cr_assert_eq(count_got(fake_hub, HUB_LEAVE), 1);
}

/* The first read ends where the inbox does: all before that is acknowledged, as far as this Redis
 * knows.  The one that knows less is of no use to this connection, and holds back nothing else. */
Test(connection_cursor, after_a_loss_one_from_before_the_first_read_closes)
{
	const struct got *read;

	log_in();
	relay.receipts_apart = true;
	reads_up_to(10);
	push_entry(12, 10);
	read_anew();
	read = take(fake_inbox, INBOX_READ);
	push_entry(8, 0);
	push_entry(9, 8);
	push_entry(14, 9);
	ANSWER(read, INBOX_ENTRIES, struct inbox_entries, NULL, .next = 0);
	quiet();
	cr_assert_eq(count_got(ws, WS_SEND), 1, "12, and none of those that were held");
	cr_assert_eq(closes(), 1);
}

Test(connection_cursor, after_a_loss_what_was_on_its_way_counts_for_nothing)
{
	const struct got *before;

	log_in();
	before = take(fake_inbox, INBOX_READ);
	push_entry(60, 50);
	read_anew();
	ANSWER(before, INBOX_ENTRIES, struct inbox_entries, NULL, .next = 50);
	quiet();
	cr_assert_eq(GOT(struct inbox_read_msg, take(fake_inbox, INBOX_READ))->after, 0);
	cr_assert_eq(count_got(ws, WS_SEND), 0);
	cr_assert_eq(count_got(fake_inbox, INBOX_READ), 0);
}

/* ---- pushes during a read ---- */

Test(connection_cursor, pushes_during_a_read_are_written_behind_it_without_another_read)
{
	log_in();
	push_entry(12, 10);
	push_entry(13, 12);
	cr_assert_eq(count_got(ws, WS_SEND), 0);
	reads_up_to(10);
	cr_assert_eq(count_got(ws, WS_SEND), 2);
	cr_assert_eq(count_got(fake_inbox, INBOX_READ), 0);
}

Test(connection_cursor, a_push_that_the_read_brought_is_not_written_again)
{
	log_in();
	relay.receipts_apart = true;
	push(RECORD_RECEIPT, 9, 0);
	push_entry(12, 10);
	reads_up_to(10);
	cr_assert_eq(count_got(ws, WS_SEND), 1);
	cr_assert_eq(count_got(fake_inbox, INBOX_READ), 0);
}

Test(connection_cursor,
     a_receipt_whose_push_comes_behind_the_read_that_brought_it_is_not_written_again)
{
	log_in();
	relay.receipts_apart = true;
	reads_up_to(10);
	push_entry(11, 10); /* what was pushed is beyond what is certain */
	cr_assert_eq(count_got(ws, WS_SEND), 1);
	push(RECORD_RECEIPT, 13, 12); /* two batches of receipts, the later one first */
	reads_up_to(13);
	push(RECORD_RECEIPT, 12, 11);
	cr_assert_eq(count_got(ws, WS_SEND), 1);
	push_entry(20, 13);
	push(RECORD_RECEIPT, 15, 13);
	cr_assert_eq(count_got(ws, WS_SEND), 3, "one that no read brought is written late");
}

Test(connection_cursor, a_push_behind_a_gap_is_read_for_after_the_read_during_which_it_came)
{
	log_in();
	push_entry(12, 11);
	push_entry(13, 12);
	reads_up_to(10);
	cr_assert_eq(count_got(ws, WS_SEND), 0);
	reads_up_to(12);
	cr_assert_eq(count_got(ws, WS_SEND), 1, "13 was held once more");
	cr_assert_eq(count_got(fake_inbox, INBOX_READ), 0);
}

Test(connection_cursor, pushes_during_a_read_that_fails_wait_for_the_one_that_does_not)
{
	log_in();
	push_entry(12, 10);
	entries_fail();
	cr_assert_eq(count_got(ws, WS_SEND), 0);
	skip_ms(1100);
	reads_up_to(10);
	cr_assert_eq(GOT(struct inbox_read_msg, take(fake_inbox, INBOX_READ))->after, 10);
}

Test(connection_cursor, more_pushes_during_a_read_than_are_held_are_read)
{
	log_in();
	for (uint64_t id = 1; id <= 65; id++)
		push_entry(id, id - 1);
	reads_up_to(0);
	cr_assert_eq(count_got(ws, WS_SEND), 0, "65 is known to wait: one read brings all");
	reads_up_to(65);
	cr_assert_eq(count_got(ws, WS_SEND), 0);
	cr_assert_eq(count_got(fake_inbox, INBOX_READ), 0);
}

/* The frames of one entry, one after the other, each a message of its own for the client. */
static void expect_receipts(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct ws_send_msg *m = GOT(struct ws_send_msg, take(ws, WS_SEND));

		cr_assert_eq(m->offset, sizeof(struct record) + i * SERVER_FRAME_DELIVERED_LEN);
		cr_assert_eq(m->len, SERVER_FRAME_DELIVERED_LEN);
	}
	cr_assert_eq(count_got(ws, WS_SEND), 0);
}

Test(connection_cursor,
     the_receipts_of_one_entry_are_messages_of_their_own_and_confirmed_together)
{
	const struct ws_control_msg *ping;

	log_in();
	reads_up_to(10);
	skip_ms(200);
	while (count_got(ws, WS_CONTROL) > 0)
		take(ws, WS_CONTROL);
	push_bytes(RECORD_RECEIPT, 11, 10, 3 * SERVER_FRAME_DELIVERED_LEN);
	expect_receipts(3);
	ping = GOT(struct ws_control_msg, take(ws, WS_CONTROL));
	for (uint64_t id = 12; id < 16; id++) { /* 64, and one */
		push_bytes(RECORD_RECEIPT, id, id - 1, 16 * SERVER_FRAME_DELIVERED_LEN);
		expect_receipts(16);
	}
	push_bytes(RECORD_RECEIPT, 16, 15, SERVER_FRAME_DELIVERED_LEN);
	expect_receipts(1);
	cr_assert_eq(count_got(ws, WS_CONTROL), 0, "one ping at a time");
	TELL(ws, conn, WS_PONG, struct ws_pong_in, NULL, .number = ping->number);
	cr_assert_eq(GOT(struct hub_confirm_msg, take(fake_hub, HUB_CONFIRM))->upto, 11);
	ping = GOT(struct ws_control_msg, take(ws, WS_CONTROL));
	TELL(ws, conn, WS_PONG, struct ws_pong_in, NULL, .number = ping->number);
	cr_assert_eq(GOT(struct hub_confirm_msg, take(fake_hub, HUB_CONFIRM))->upto, 16);
}

/* ---- ticks ---- */

Test(connection_cursor, a_tick_for_a_confirmation_reads_nothing)
{
	log_in();
	reads_up_to(10);
	skip_ms(10);
	push(RECORD_RECEIPT, 11, 10);
	push(RECORD_RECEIPT, 12, 11);
	skip_ms(2000);
	cr_assert_eq(count_got(fake_inbox, INBOX_READ), 0);
}

Test(connection_cursor, what_was_not_pushed_is_looked_for_after_half_a_minute)
{
	log_in();
	reads_up_to(10);
	skip_ms(29000);
	cr_assert_eq(count_got(fake_inbox, INBOX_READ), 0);
	skip_ms(1100);
	cr_assert_eq(count_got(fake_inbox, INBOX_READ), 1);
}
