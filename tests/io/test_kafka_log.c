/* SPDX-License-Identifier: MIT */
/* Claims and order, with a producer whose answers the test gives. */
#include "kafka_log_cases.h"

static void setup(void)
{
	kl_prepare();
	kl_start();
}

TestSuite(kafka_log, .init = setup, .fini = kl_finish, .timeout = 90);

enum { ANNA = 1, BERT = 2, CARL = 3, DORA = 4 };

Test(kafka_log, answers_ok_only_after_kafka_has_it)
{
	struct kl_record *r;
	struct kl_answer a;

	kl_send_one(ANNA, BERT, 1);
	r = kl_next_record();
	cr_assert_not(kl_answer_comes(200));
	kl_report(r, KAFKA_OK, 41);
	a = kl_next_answer();
	cr_assert_eq(a.outcome, LOG_OK);
	cr_assert_eq(a.id, inbox_id(42, 0));
	cr_assert_eq(kl_figures().in_flight, 0);
}

Test(kafka_log, a_repetition_is_a_duplicate_and_is_not_written_again)
{
	kl_is_written_at_once = true;
	cr_assert_eq(kl_append(ANNA, BERT, 1), LOG_OK);
	cr_assert_eq(kl_append(ANNA, BERT, 1), LOG_DUPLICATE);
	cr_assert_eq(kl_append(CARL, BERT, 1), LOG_OK, "the id of another sender");
	cr_assert_eq(kl_record_count, 2);
}

Test(kafka_log, a_repetition_of_what_is_pending_waits_for_its_outcome)
{
	struct kl_record *r;

	kl_send_one(ANNA, BERT, 1);
	r = kl_next_record();
	kl_send_one(ANNA, BERT, 1);
	kl_send_one(ANNA, BERT, 2);
	kl_report(kl_next_record(), KAFKA_OK, 2); /* it holds nothing back */
	cr_assert_eq(kl_next_answer().id, inbox_id(3, 0));
	cr_assert_not(kl_answer_comes(200));
	kl_report(r, KAFKA_OK, 1);
	cr_assert_eq(kl_next_answer().outcome, LOG_OK);
	cr_assert_eq(kl_next_answer().outcome, LOG_DUPLICATE);
	kl_send_one(ANNA, BERT, 3);
	r = kl_next_record();
	kl_send_one(ANNA, BERT, 3);
	kl_report(r, KAFKA_NOT_WRITTEN, -1);
	cr_assert_eq(kl_next_answer().outcome, LOG_FAILED);
	cr_assert_eq(kl_next_answer().outcome, LOG_FAILED);
	cr_assert_eq(kl_record_count, 3);
}

Test(kafka_log, what_the_worker_remembers_is_a_duplicate)
{
	kl_is_written_at_once = true;
	kl_remember(ANNA, 1);
	cr_assert_eq(kl_append(ANNA, BERT, 1), LOG_DUPLICATE);
	cr_assert_eq(kl_append(ANNA, BERT, 2), LOG_OK);
	cr_assert_eq(kl_append(BERT, ANNA, 1), LOG_OK, "an id of another sender");
	cr_assert_eq(kl_record_count, 2);
}

Test(kafka_log, a_claim_of_another_gateway_waits_until_the_message_is_remembered)
{
	const char *const other = kl_claim_by_other(ANNA, 1, 20000);

	kl_send_one(ANNA, BERT, 1);
	cr_assert_not(kl_answer_comes(400));
	kl_remember(ANNA, 1);
	cr_assert_eq(kl_next_answer().outcome, LOG_DUPLICATE);
	cr_assert_eq(kl_record_count, 0);
	cr_assert_str_eq(kl_claim(ANNA, 1), other);
	cr_assert_eq(kl_figures().pending_waits, 1);
}

Test(kafka_log, a_claim_of_another_gateway_that_lapses_is_taken_over)
{
	const uint64_t from_ms = kl_now_ms();
	const char *const other = kl_claim_by_other(ANNA, 1, 700);

	kl_is_written_at_once = true;
	cr_assert_eq(kl_append(ANNA, BERT, 1), LOG_OK);
	cr_assert_geq(kl_now_ms() - from_ms, 600);
	cr_assert_str_neq(kl_claim(ANNA, 1), other);
	cr_assert_str_neq(kl_claim(ANNA, 1), "nil");
}

Test(kafka_log, the_claim_of_a_gateway_that_is_killed_lapses_in_time_for_a_retry)
{
	const uint64_t from_ms = kl_now_ms();
	uint32_t id = 2;

	kl_send_one(ANNA, BERT, 1);
	kl_next_record(); /* and no word of it */
	while (strcmp(kl_claim(ANNA, 1), "nil") != 0) {
		cr_assert_leq(kl_now_ms() - from_ms, 6000,
		              "a retry has 12 s, and needs the rest of it");
		kl_send_one(CARL, BERT, id++); /* whoever asks */
		kl_report(kl_next_record(), KAFKA_OK, id);
		cr_assert_eq(kl_next_answer().outcome, LOG_OK);
		usleep(50000);
	}
	cr_assert_geq(kl_now_ms() - from_ms, 4500, "while Kafka changes a leader");
}

Test(kafka_log, a_claim_of_a_clock_that_is_far_ahead_does_not_stay)
{
	kl_is_written_at_once = true;
	kl_claim_by_other(ANNA, 1, 3600000);
	cr_assert_eq(kl_append(ANNA, BERT, 1), LOG_OK);
}

Test(kafka_log, of_many_asked_at_once_only_the_claimed_one_waits)
{
	kl_claim_by_other(ANNA, 7, 20000);
	kl_remember(ANNA, 3);
	kl_send((struct kl_send){ .sender = ANNA, .recipient = BERT, .id = 1, .count = 10 });
	for (uint32_t i = 1; i <= 5; i++) /* not the third, and none from the seventh on */
		kl_next_record();
	cr_assert_not(kl_record_comes(400));
	cr_assert_eq(kl_next_answer().outcome, LOG_DUPLICATE);
	cr_assert_eq(kl_figures().pending_waits, 1);
	cr_assert_eq(kl_figures().unclaimed, 0);
	kl_remember(ANNA, 7);
	cr_assert_eq(kl_next_answer().outcome, LOG_DUPLICATE);
	for (uint32_t i = 8; i <= 10; i++)
		kl_next_record();
}

/* An answer leaves a moment before the asker gives up.  A busy machine may lose that moment, so such a
 * test tries again. */
enum { GAVE_UP = -1, TRIES = 8 };

Test(kafka_log, a_claim_of_another_gateway_fails_the_append_at_its_deadline)
{
	int outcome = GAVE_UP;

	for (uint32_t id = 1; outcome == GAVE_UP && id < TRIES; id++) {
		const char *const other = kl_claim_by_other(ANNA, id, 20000);

		kl_send((struct kl_send){
			.sender = ANNA, .recipient = BERT, .id = id, .timeout_ms = 2000 });
		kl_send_one(ANNA, BERT, 100 + id);
		outcome = kl_next_answer().outcome;
		cr_assert_str_eq(kl_claim(ANNA, id), other, "it is not ours to free");
		kl_report(kl_next_record(), KAFKA_OK, id); /* the one behind it goes on */
		cr_assert_eq(kl_next_answer().outcome, LOG_OK);
	}
	cr_assert_eq(outcome, LOG_FAILED);
}

Test(kafka_log, what_was_not_written_frees_the_claim_and_may_be_sent_again)
{
	kl_send_one(ANNA, BERT, 1);
	kl_report(kl_next_record(), KAFKA_NOT_WRITTEN, -1);
	cr_assert_eq(kl_next_answer().outcome, LOG_FAILED);
	cr_assert_str_eq(kl_claim(ANNA, 1), "nil");
	kl_send_one(ANNA, BERT, 1);
	kl_report(kl_next_record(), KAFKA_OK, 7);
	cr_assert_eq(kl_next_answer().outcome, LOG_OK);
}

Test(kafka_log, a_claim_that_another_took_after_it_lapsed_is_not_freed)
{
	const char *other;

	kl_send_one(ANNA, BERT, 1);
	kl_next_record();
	other = kl_claim_by_other(ANNA, 1, 20000);
	kl_report(&kl_records[0], KAFKA_NOT_WRITTEN, -1);
	cr_assert_eq(kl_next_answer().outcome, LOG_FAILED);
	cr_assert_str_eq(kl_claim(ANNA, 1), other);
}

Test(kafka_log, what_may_have_been_written_keeps_the_claim)
{
	kl_send_one(ANNA, BERT, 1);
	kl_report(kl_next_record(), KAFKA_UNKNOWN, -1);
	cr_assert_eq(kl_next_answer().outcome, LOG_FAILED);
	cr_assert_str_neq(kl_claim(ANNA, 1), "nil");
	kl_send_one(ANNA, BERT, 1);
	cr_assert_not(kl_record_comes(400), "written twice");
	kl_remember(ANNA, 1);
	cr_assert_eq(kl_next_answer().outcome, LOG_DUPLICATE);
}

Test(kafka_log, an_append_without_an_answer_of_kafka_fails_in_time_and_keeps_the_claim)
{
	int outcome = GAVE_UP;

	for (uint32_t id = 1; outcome == GAVE_UP && id < TRIES; id++) {
		kl_send((struct kl_send){
			.sender = ANNA, .recipient = BERT, .id = id, .timeout_ms = 1500 });
		outcome = kl_next_answer().outcome;
		cr_assert_str_neq(kl_claim(ANNA, id), "nil");
		kl_report(kl_next_record(), KAFKA_OK, id); /* late: no second answer */
		cr_assert_not(kl_answer_comes(200));
	}
	cr_assert_eq(outcome, LOG_FAILED);
}

/* The numbers of the messages, as they reached the producer. */
static uint32_t number_at(const struct kl_record *r)
{
	const char *const at =
		memmem(cx_buf_bytes(r->value), cx_buf_len(r->value), "\"messageNumber\":", 16);

	cr_assert_not_null(at);
	return (uint32_t)strtoul(at + 16, NULL, 10);
}

Test(kafka_log, a_pending_append_holds_back_its_sender_alone)
{
	struct stack_seen seen;
	const struct redis_arg argv[] = { REDIS_TEXT("ZREM"), REDIS_TEXT(KL_PREFIX "claims"),
		                          kl_claim_member(ANNA, 1, &seen) };

	kl_claim_by_other(ANNA, 1, 20000);
	for (uint32_t i = 1; i <= 5; i++)
		kl_send_one(ANNA, i % 2 ? BERT : DORA, i);
	for (uint32_t i = 11; i <= 15; i++)
		kl_send_one(CARL, BERT, i);
	for (uint32_t i = 11; i <= 15; i++)
		cr_assert_eq(number_at(kl_next_record()), i);
	cr_assert_not(kl_record_comes(300), "overtook what stands in front");
	cr_assert_str_eq(kl_redis_args(argv, CX_COUNTOF(argv)), "1");
	for (uint32_t i = 1; i <= 5; i++)
		cr_assert_eq(number_at(kl_next_record()), i);
}

Test(kafka_log, keeps_the_order_of_each_sender_when_all_come_at_once)
{
	uint32_t last[4] = { 0 };

	for (uint32_t i = 1; i <= 300; i++)
		kl_send_one(1 + i % 4, BERT, i);
	for (uint32_t i = 1; i <= 300; i++) {
		const uint32_t n = number_at(kl_next_record());

		cr_assert_gt(n, last[n % 4]);
		last[n % 4] = n;
	}
}

Test(kafka_log, what_a_busy_producer_refused_goes_again_unless_a_later_one_went)
{
	struct kl_record *first, *second;

	kl_send_one(ANNA, BERT, 1);
	first = kl_next_record();
	kl_report(first, KAFKA_BUSY, -1);
	first = kl_next_record();
	cr_assert_eq(number_at(first), 1);
	kl_send_one(ANNA, BERT, 2);
	second = kl_next_record();
	kl_report(first, KAFKA_BUSY, -1);
	cr_assert_eq(kl_next_answer().outcome, LOG_FAILED, "it would come after the second");
	cr_assert_str_eq(kl_claim(ANNA, 1), "nil");
	kl_report(second, KAFKA_OK, 3);
	cr_assert_eq(kl_next_answer().outcome, LOG_OK);
	cr_assert_eq(kl_record_count, 3);
}

static void ask_garbage(struct cx_ctx *ctx, void *arg)
{
	struct cx_buf *const buf = cx_buf_copy("garbage", 7);
	struct kl_send s = { .sender = ANNA, .recipient = BERT, .id = 1, .frame = buf };

	(void)arg;
	kl_ask(ctx, &s);
	cx_buf_unref(buf);
}

Test(kafka_log, a_frame_that_is_no_message_fails_and_leaves_no_claim)
{
	kl_run(ask_garbage, NULL);
	cr_assert_eq(kl_next_answer().outcome, LOG_FAILED);
	cr_assert_str_eq(kl_claim(ANNA, 1), "nil");
	cr_assert_eq(kl_record_count, 0);
}

static void setup_small(void)
{
	kl_prepare();
	kl_fake_type.mailbox_cap = 4;
	kl_start();
}

TestSuite(kafka_log_full, .init = setup_small, .fini = kl_finish, .timeout = 90);

Test(kafka_log_full, a_producer_without_room_is_asked_again_in_order)
{
	kl_is_stuck = true;
	kl_send_one(ANNA, BERT, 1);
	cr_assert(kl_record_comes(KL_WAIT_MS));
	for (uint32_t i = 2; i <= 300; i++)
		kl_send_one(ANNA, BERT, i);
	usleep(300000); /* many times full */
	cr_assert_eq(kl_record_count, 1);
	pthread_mutex_lock(&kl_mutex);
	kl_is_stuck = false;
	pthread_cond_broadcast(&kl_arrived);
	pthread_mutex_unlock(&kl_mutex);
	for (uint32_t i = 1; i <= 300; i++)
		cr_assert_eq(number_at(kl_next_record()), i);
}
