/* SPDX-License-Identifier: MIT */
/* The inbox quota: exact at its boundary, whatever is still on its way. */
#include "kafka_log_cases.h"
#include "support/wall_jump.h"

enum { ANNA = 1, BERT = 2, CARL = 3 };

static void setup(void)
{
	kl_prepare();
	kl_settings.inbox_max_messages = 5;
}

TestSuite(kafka_log_quota, .init = setup, .fini = kl_finish, .timeout = 90);

static size_t frame_len(void)
{
	const struct kl_send s = { .sender = ANNA, .recipient = BERT, .id = 1 };
	struct cx_buf *const buf = kl_frame(&s);
	const size_t len = cx_buf_len(buf);

	cx_buf_unref(buf);
	return len;
}

Test(kafka_log_quota, the_last_message_that_fits_passes_and_the_next_is_refused)
{
	kl_is_written_at_once = true;
	kl_start();
	for (uint64_t i = 1; i <= 3; i++)
		kl_put_entry(BERT, inbox_id(i, 0), RECORD_MESSAGE, 100, 0);
	for (uint64_t i = 1; i <= 4; i++)
		kl_put_entry(BERT, inbox_id(3, i), RECORD_RECEIPT, 84, 0);
	kl_offset = 3;
	cr_assert_eq(kl_append(ANNA, BERT, 1), LOG_OK);
	cr_assert_eq(kl_append(CARL, BERT, 2), LOG_OK);
	cr_assert_eq(kl_append(ANNA, BERT, 3), LOG_INBOX_FULL, "both are on their way");
	cr_assert_str_eq(kl_claim(ANNA, 3), "nil", "the same id may be sent again");
	kl_inbox("XDEL", BERT, " 1-0");
	cr_assert_eq(kl_append(ANNA, BERT, 3), LOG_OK);
	cr_assert_eq(kl_append(ANNA, BERT, 4), LOG_INBOX_FULL);
	cr_assert_eq(kl_append(ANNA, CARL, 5), LOG_OK, "another inbox");
}

Test(kafka_log_quota, what_kafka_has_not_answered_is_waited_for_at_the_boundary)
{
	struct kl_record *r[5];

	kl_start();
	for (uint32_t i = 0; i < 5; i++) {
		kl_send_one(ANNA, BERT, 1 + i);
		r[i] = kl_next_record();
	}
	kl_send_one(CARL, BERT, 20);
	kl_send_one(ANNA, BERT, 21);
	cr_assert_not(kl_answer_comes(300), "refused too early");
	cr_assert_not(kl_record_comes(0), "passed the quota");
	kl_report(r[0], KAFKA_NOT_WRITTEN, -1);
	cr_assert_eq(kl_next_answer().outcome, LOG_FAILED);
	kl_next_record(); /* one of the two has its place */
	cr_assert_not(kl_record_comes(300));
	for (uint32_t i = 1; i < 5; i++) {
		kl_report(r[i], KAFKA_OK, i);
		cr_assert_eq(kl_next_answer().outcome, LOG_OK);
	}
	kl_report(&kl_records[5], KAFKA_OK, 9);
	cr_assert_eq(kl_next_answer().outcome, LOG_OK);
	cr_assert_eq(kl_next_answer().outcome, LOG_INBOX_FULL);
}

/* The first of its lane waits for the quota when one that Kafka was too busy for comes back. */
Test(kafka_log_quota, one_that_comes_back_goes_before_one_that_waits_for_the_quota)
{
	struct kl_record *r;

	kl_settings.inbox_max_messages = 1;
	kl_start();
	kl_send_one(ANNA, CARL, 1);
	r = kl_next_record();
	kl_send_one(CARL, BERT, 2);
	kl_next_record();
	kl_send((struct kl_send){
		.sender = ANNA, .recipient = BERT, .id = 3, .timeout_ms = 4000 });
	cr_assert_not(kl_answer_comes(200), "it waits for the one before");
	kl_report(r, KAFKA_BUSY, -1);
	r = kl_next_record();
	cr_assert_eq(strncmp(r->key, "11000000-0000-0000-0000-000003", 30), 0);
	cr_assert_eq(kl_next_answer().outcome, LOG_FAILED, "its time is over");
	kl_report(&kl_records[1], KAFKA_OK, 5);
	cr_assert_eq(kl_next_answer().outcome, LOG_OK);
	kl_report(r, KAFKA_OK, 6);
	cr_assert_eq(kl_next_answer().outcome, LOG_OK);
}

Test(kafka_log_quota, a_message_that_is_in_the_inbox_before_kafka_answers_counts_once)
{
	struct kl_record *r;

	kl_settings.inbox_max_messages = 2;
	kl_start();
	kl_send_one(ANNA, BERT, 1);
	r = kl_next_record();
	kl_put_entry(BERT, inbox_id(8, 0), RECORD_MESSAGE, 100, 0); /* the worker was faster */
	kl_send_one(CARL, BERT, 2);
	cr_assert_not(kl_answer_comes(200));
	kl_report(r, KAFKA_OK, 7);
	cr_assert_eq(kl_next_answer().outcome, LOG_OK);
	r = kl_next_record();
	kl_report(r, KAFKA_OK, 8);
	cr_assert_eq(kl_next_answer().outcome, LOG_OK);
	cr_assert_eq(kl_append(ANNA, BERT, 3), LOG_INBOX_FULL);
}

static void fill_bytes(uint64_t max_bytes)
{
	kl_settings.inbox_max_messages = 10000;
	kl_settings.inbox_max_bytes = max_bytes;
	kl_is_written_at_once = true;
	kl_start();
	kl_put_entry(BERT, inbox_id(1, 0), RECORD_MESSAGE, 100, 0);
	kl_offset = 1;
	cr_assert_eq(kl_append(ANNA, BERT, 1), LOG_OK);
}

Test(kafka_log_quota, bytes_may_reach_the_limit)
{
	fill_bytes(100 + 2 * frame_len());
	cr_assert_eq(kl_append(ANNA, BERT, 2), LOG_OK);
	cr_assert_eq(kl_append(ANNA, BERT, 3), LOG_INBOX_FULL);
}

Test(kafka_log_quota, one_byte_over_the_limit_is_refused)
{
	fill_bytes(100 + 2 * frame_len() - 1);
	cr_assert_eq(kl_append(ANNA, BERT, 2), LOG_INBOX_FULL);
}

Test(kafka_log_quota, expired_messages_do_not_count_and_are_dropped_from_the_front)
{
	kl_is_written_at_once = true;
	kl_start();
	for (uint64_t i = 1; i <= 4; i++)
		kl_put_entry(BERT, inbox_id(i, 0), RECORD_MESSAGE, 100,
		             kl_settings.message_ttl_ms + 60000);
	kl_put_entry(BERT, inbox_id(5, 0), RECORD_MESSAGE, 100, 0);
	kl_offset = 5;
	for (uint32_t i = 1; i <= 4; i++)
		cr_assert_eq(kl_append(ANNA, BERT, i), LOG_OK);
	cr_assert_eq(kl_append(ANNA, BERT, 9), LOG_INBOX_FULL);
	cr_assert_str_eq(kl_inbox("XLEN", BERT, ""), "1");
}

Test(kafka_log_quota, a_clock_that_is_set_forward_deletes_nothing)
{
	kl_start();
	for (uint64_t i = 1; i <= 5; i++)
		kl_put_entry(BERT, inbox_id(i, 0), RECORD_MESSAGE, 100, 0);
	wall_jump_ms = 30 * INT64_C(86400000);
	cr_assert_eq(kl_append(ANNA, BERT, 1), LOG_INBOX_FULL);
	wall_jump_ms = 0;
	cr_assert_str_eq(kl_inbox("XLEN", BERT, ""), "5");
}

Test(kafka_log_quota, a_large_inbox_far_from_its_limits_takes_messages)
{
	kl_settings.inbox_max_messages = 2000;
	kl_is_written_at_once = true;
	kl_start();
	for (uint64_t i = 1; i <= 600; i++) /* the bytes are not known by the number alone */
		kl_put_entry(BERT, inbox_id(i, 0), RECORD_MESSAGE, 100, 0);
	kl_offset = 600;
	for (uint32_t i = 1; i <= 50; i++)
		cr_assert_eq(kl_append(ANNA, BERT, i), LOG_OK);
	cr_assert_eq(kl_figures().redis_failures, 0);
}

static void make_gone(void)
{
	kl_inbox("DEL", BERT, "");
	cr_assert_str_eq(kl_inbox("SET", BERT, " gone"), "OK");
}

Test(kafka_log_quota, a_deleted_account_is_no_owner)
{
	kl_is_written_at_once = true;
	kl_start();
	make_gone();
	cr_assert_eq(kl_append(ANNA, BERT, 1), LOG_NO_OWNER);
	cr_assert_eq(kl_append(ANNA, BERT, 2), LOG_NO_OWNER, "believed");
	cr_assert_str_eq(kl_claim(ANNA, 1), "nil");
	cr_assert_eq(kl_append(ANNA, CARL, 3), LOG_OK);
	cr_assert_eq(kl_figures().no_owner, 2);
}

static void push_gone(void)
{
	struct redis_push *const m =
		(struct redis_push *)cx_post_new(REDIS_PUSH, sizeof(struct redis_push));
	const struct push_user_gone gone = { kl_uuid(BERT) };
	uint8_t bytes[64];

	m->hdr.buf = cx_buf_copy(bytes, push_write_user_gone(bytes, &gone, 1));
	cr_assert_eq(cx_post(kl_rt, kl_log, &m->hdr), CX_OK);
}

static void push_subscribed(void)
{
	cr_assert_eq(cx_post(kl_rt, kl_log,
	                     cx_post_new(REDIS_SUBSCRIBED, sizeof(struct redis_subscribed))),
	             CX_OK);
}

/* Tried again when the machine was so busy that the belief ran out by itself. */
static void expect_end_of_belief(void (*tell)(void))
{
	kl_settings.inbox_max_messages = 10000;
	kl_is_written_at_once = true;
	kl_start();
	for (uint32_t i = 1; i < 20; i++) {
		uint64_t from_ms;
		enum log_outcome before;

		kl_inbox("DEL", BERT, "");
		usleep((QUOTA_BELIEF_MS + 50) * 1000);
		from_ms = kl_now_ms();
		cr_assert_eq(kl_append(ANNA, BERT, 3 * i), LOG_OK);
		make_gone();
		before = kl_append(ANNA, BERT, 3 * i + 1);
		tell();
		cr_assert_eq(kl_append(ANNA, BERT, 3 * i + 2), LOG_NO_OWNER);
		if (kl_now_ms() - from_ms < QUOTA_BELIEF_MS) {
			cr_assert_eq(before, LOG_OK, "believed until the news");
			return;
		}
	}
	cr_assert_fail("the machine is too busy to tell");
}

Test(kafka_log_quota, news_of_a_deleted_account_end_what_was_believed_at_once)
{
	expect_end_of_belief(push_gone);
}

Test(kafka_log_quota, a_new_subscription_ends_what_was_believed)
{
	expect_end_of_belief(push_subscribed);
}

/* ---- the tables alone ---- */

TestSuite(kafka_log_tables, .timeout = 60);

Test(kafka_log_tables, owners_beyond_the_bound_are_forgotten_the_longest_idle_first)
{
	struct quota_table t = { .max_count = 10, .max_bytes = 1000 };
	struct uuid owner = kl_uuid(1);
	struct quota *const kept = quota_take(&t, &owner);

	for (uint32_t i = 2; i < 3 * QUOTA_OWNERS_MAX; i++) {
		owner = kl_uuid(i);
		quota_drop(&t, quota_take(&t, &owner));
		cr_assert_leq(t.owners.count, QUOTA_OWNERS_MAX);
	}
	owner = kl_uuid(1);
	cr_assert_eq(uuid_map_get(&t.owners, &owner), kept, "it is in use");
	owner = kl_uuid(3 * QUOTA_OWNERS_MAX - 1);
	cr_assert_not_null(uuid_map_get(&t.owners, &owner));
	owner = kl_uuid(2);
	cr_assert_null(uuid_map_get(&t.owners, &owner));
	quota_drop(&t, kept);
	quota_table_free(&t);
}

Test(kafka_log_tables, places_are_bounded_and_their_sums_stay_right)
{
	struct quota_table t = { .max_count = 100000, .max_bytes = 1000000 };
	const struct uuid owner = kl_uuid(1);
	struct quota *const q = quota_take(&t, &owner);

	for (uint64_t i = 1; i <= 5000; i++) {
		quota_begin(q, 10);
		quota_end(q, 10, i);
		cr_assert_leq(q->place_count, QUOTA_PLACES_MAX);
	}
	cr_assert_eq(q->placed_count, 5000);
	quota_looked(&t, q, QUOTA_LOOK_EXACT, 2500, 25000, 2500, NULL, 0);
	cr_assert_geq(q->placed_count, 2500, "nothing that is on its way is forgotten");
	cr_assert_leq(q->placed_count, 2500 + 5000 / QUOTA_PLACES_MAX * 4);
	cr_assert_eq(q->placed_bytes, q->placed_count * 10);
	quota_looked(&t, q, QUOTA_LOOK_EXACT, 5000, 50000, 5000, NULL, 0);
	cr_assert_eq(q->placed_count, 0);
	quota_begin(q, 10);
	quota_end(q, 10, 4999);
	cr_assert_eq(q->placed_count, 0, "it was counted there");
	quota_drop(&t, q);
	quota_table_free(&t);
}

Test(kafka_log_tables, a_look_that_is_older_than_the_news_settles_nothing)
{
	struct quota_table t = { .max_count = 1000, .max_bytes = 1 << 30 };
	const struct uuid owner = kl_uuid(1);
	struct quota *const q = quota_take(&t, &owner);

	q->is_looking = true;
	quota_doubt(&t, &owner);
	quota_looked(&t, q, QUOTA_LOOK_EXACT, 0, 0, 0, NULL, 0);
	cr_assert_eq(quota_judge(&t, q, 10, 1, 0), QUOTA_LOOK);
	q->is_looking = true;
	quota_looked(&t, q, QUOTA_LOOK_EXACT, 0, 0, 0, NULL, 0);
	cr_assert_eq(quota_judge(&t, q, 10, 1, 0), QUOTA_PASS);
	quota_drop(&t, q);
	quota_table_free(&t);
}

Test(kafka_log_tables, recent_messages_are_bounded_and_end)
{
	struct recent r = { 0 };
	struct stack_seen seen;
	const struct uuid sender = kl_uuid(1);

	for (uint32_t i = 0; i <= RECENT_MAX; i++) {
		const struct uuid key = kl_uuid(i);

		stack_seen_of(&seen, &sender, &key);
		recent_add(&r, &seen, 1000);
		cr_assert(recent_has(&r, &seen, 1000));
	}
	cr_assert_eq(r.map.count, RECENT_MAX);
	cr_assert_not(recent_has(&r, &seen, 1000 + RECENT_MS), "its time is over");
	const struct uuid first = kl_uuid(0);
	stack_seen_of(&seen, &sender, &first);
	cr_assert_not(recent_has(&r, &seen, 1000), "the oldest made room");
	recent_free(&r);
}
