/* SPDX-License-Identifier: MIT */
/* Partitions of delivery events that come and go. */
#include "receipts_fixture.h"
#include "wire/push.h"

TestSuite(stack_receipts_places, .init = setup, .fini = teardown, .timeout = 60);

/* ---- partitions come and go ---- */

Test(stack_receipts_places, a_revoked_partition_is_answered_when_nothing_is_under_way)
{
	struct said s = { 0, false };

	assign(10);
	event(ANNA, 1);
	give();
	expect(KAFKA_DONE, 11);
	redis_bench_run(&bench, 3, send_revoked, &s);
	expect(KAFKA_REVOKED_DONE, 11);
	event(ANNA, 2);
	give();
	cr_assert_not(kafka_double_comes(300), "it is not ours any more");
	cr_assert_str_eq(ask("XLEN " INBOX(ANNA)), ":1");
}

Test(stack_receipts_places, a_revoked_partition_does_not_wait_for_what_fails)
{
	struct said s = { 0, false };

	assign(10);
	ask("ACL SETUSER default resetkeys ~none*");
	event(ANNA, 1);
	give();
	cr_assert_not(kafka_double_comes(300));
	redis_bench_run(&bench, 3, send_revoked, &s);
	expect(KAFKA_REVOKED_DONE, 10);
	ask("ACL SETUSER default allkeys");
	epoch++;
	assign(10);
	event(ANNA, 1);
	give();
	expect(KAFKA_DONE, 11);
	cr_assert_str_eq(ask("XLEN " INBOX(ANNA)), ":1");
}

Test(stack_receipts_places, records_of_an_older_epoch_are_passed_over)
{
	assign(0);
	event(ANNA, 1);
	epoch++;
	{
		struct said s = { 5, false };

		redis_bench_run(&bench, 3, send_assigned, &s);
	}
	epoch--;
	give();
	cr_assert_not(kafka_double_comes(300));
	cr_assert_str_eq(ask("EXISTS " INBOX(ANNA)), ":0");
}

/* ---- Redis that has lost data ---- */

static void done_one(unsigned message)
{
	event(ANNA, message);
	give();
	expect(KAFKA_DONE, next_offset);
}

/* What was lost comes again from the log, under its own ids. */
static void expect_that_messages_find_their_places(void)
{
	cr_assert_str_eq(ask("XADD " INBOX(ANNA) " 76-0 e x"), "\"76-0\"");
	cr_assert_str_eq(ask("XADD " INBOX(ANNA) " 77-0 e x"), "\"77-0\"");
}

Test(stack_receipts_places, an_inbox_that_lost_its_newest_message_keeps_its_place_free)
{
	seed(ANNA, "77-0");
	assign(0);
	done_one(1);
	ask("DEL " INBOX(ANNA));
	seed(ANNA, "40-0");
	seed(ANNA, "41-0");
	ask("XDEL " INBOX(
		ANNA) " 41-0"); /* the newest place counts, though its entry is gone */
	event(ANNA, 2);
	done_one(3);
	ask("XDEL " INBOX(ANNA) " 40-0");
	read_inbox(ANNA);
	cr_assert_eq(raw.count, 1);
	are_two(0, INBOX_ID(41, 1), 2, 3);
	expect_that_messages_find_their_places();
}

Test(stack_receipts_places, an_inbox_whose_newest_message_waits_gets_it_behind_that)
{
	seed(ANNA, "77-0");
	assign(0);
	done_one(1);
	ask("DEL " INBOX(ANNA));
	seed(ANNA, "9-0");
	seed(ANNA, "40-0");
	ask("XDEL " INBOX(ANNA) " 9-0");
	done_one(2);
	ask("XDEL " INBOX(ANNA) " 40-0");
	read_inbox(ANNA);
	cr_assert_eq(raw.count, 1);
	is_receipt(0, INBOX_ID(40, 1), 2);
	expect_that_messages_find_their_places();
}

Test(stack_receipts_places, a_place_is_kept_free_though_two_workers_know_what_was_lost)
{
	struct cx_ref first;

	seed(ANNA, "77-0");
	assign(0);
	done_one(1);
	first = receipts;
	redis_bench_run(&bench, 0, spawn, NULL);
	assign(1);
	done_one(2);
	ask("DEL " INBOX(ANNA));
	seed(ANNA, "40-0");
	done_one(3);
	receipts = first;
	assign(2);
	done_one(4);
	ask("XDEL " INBOX(ANNA) " 40-0");
	read_inbox(ANNA);
	cr_assert_eq(raw.count, 2);
	is_receipt(0, INBOX_ID(40, 1), 3);
	is_receipt(1, INBOX_ID(40, 2), 4);
	expect_that_messages_find_their_places();
}

Test(stack_receipts_places, an_inbox_that_is_gone_begins_below_all_messages)
{
	seed(ANNA, "77-0");
	assign(0);
	done_one(1);
	ask("DEL " INBOX(ANNA));
	done_one(2);
	read_inbox(ANNA);
	cr_assert_eq(raw.count, 1);
	is_receipt(0, INBOX_ID(0, 1), 2);
	cr_assert_neq(strcmp(ask("PTTL " INBOX(ANNA)), ":-1"), 0,
	              "a stream that is new ends some day");
	expect_that_messages_find_their_places();
}

/* The first is further back than Redis forgets. */
static void do_three(void)
{
	assign(0);
	for (unsigned n = 1; n <= 3; n++) {
		done_one(n);
		if (n < 3)
			cr_assert_not(kafka_double_comes(5500));
	}
}

static void tell_emptied(struct cx_ctx *ctx, void *arg)
{
	struct redis_push *const m = CX_MSG_NEW(ctx, REDIS_PUSH, struct redis_push);
	const struct push_lost lost = { { { 1 } } };
	uint8_t payload[PUSH_LOST_LEN(1)];

	(void)arg;
	m->hdr.buf = cx_buf_copy(payload, push_write_lost(payload, &lost, 1));
	cx_assert(cx_send(ctx, receipts, &m->hdr) == CX_OK);
}

Test(stack_receipts_places, what_was_done_just_before_redis_was_emptied_is_done_again)
{
	do_three();
	redis_bench_run(&bench, 3, tell_emptied, NULL);
	expect(KAFKA_SEEK, 1);
	event(ANNA, 4); /* of the place before: it comes again */
	give();
	cr_assert_not(kafka_double_comes(300));
	epoch++;
	assign(1);
	done_one(2);
	read_inbox(ANNA);
	cr_assert_eq(raw.count, 4);
	is_receipt(3, INBOX_ID(0, 4), 2);
}

static void tell_unsubscribed(struct cx_ctx *ctx, void *arg)
{
	struct cx_msg *const m = cx_msg_new(ctx, REDIS_UNSUBSCRIBED, sizeof(*m));

	(void)arg;
	cx_assert(cx_send_reserved(ctx, receipts, m) == CX_OK);
}

static void tell_subscribed(struct cx_ctx *ctx, void *arg)
{
	struct redis_subscribed *const m =
		CX_MSG_NEW(ctx, REDIS_SUBSCRIBED, struct redis_subscribed);

	(void)arg;
	cx_assert(cx_send_reserved(ctx, receipts, &m->hdr) == CX_OK);
}

Test(stack_receipts_places, what_was_done_just_before_redis_was_away_is_done_again)
{
	do_three();
	redis_bench_run(&bench, 3, tell_subscribed, NULL); /* it was not away */
	cr_assert_not(kafka_double_comes(300));
	redis_bench_run(&bench, 3, tell_unsubscribed, NULL);
	redis_bench_run(&bench, 3, tell_subscribed, NULL);
	expect(KAFKA_SEEK, 1);
}
