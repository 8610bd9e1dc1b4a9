/* SPDX-License-Identifier: MIT */
/* Places in an inbox that is nearly full: what other gateways have on the way counts. */
#include "kafka_log_cases.h"

enum { ANNA = 1, BERT = 2, CARL = 3, DORA = 4 };

#define OTHER "another1"
#define LAPSES_MS 60000

static void setup(void)
{
	kl_prepare();
	kl_settings.inbox_max_messages = 2;
}

TestSuite(kafka_log_places, .init = setup, .fini = kl_finish, .timeout = 90);

static const char *flight(const char *command, uint32_t recipient, const char *more)
{
	const struct uuid user = kl_uuid(recipient);
	char key[STACK_KEY_MAX], words[STACK_KEY_MAX + 64];

	stack_key_flight(key, KL_PREFIX, &user);
	snprintf(words, sizeof(words), "%s %s%s", command, key, more);
	return kl_redis(words);
}

/* Another gateway's place for a message of 100 bytes, which it has had for age_ms. */
static void place_by_other(uint32_t sender, uint32_t recipient, uint32_t id, int64_t age_ms)
{
	const struct uuid s = kl_uuid(sender), k = kl_uuid(id), user = kl_uuid(recipient);
	uint8_t member[28] = { 0 };
	char key[STACK_KEY_MAX], score[24];
	struct stack_seen seen;

	stack_seen_of(&seen, &s, &k);
	memcpy(member, seen.h, 16);
	memcpy(member + 16, OTHER, 8);
	member[24] = 100;
	snprintf(score, sizeof(score), "%lld", (long long)(kl_wall_ms() + LAPSES_MS - age_ms));
	const struct redis_arg argv[] = {
		REDIS_TEXT("ZADD"),
		{ key, stack_key_flight(key, KL_PREFIX, &user) },
		{ score, strlen(score) },
		{ member, sizeof(member) },
	};

	cr_assert_str_eq(kl_redis_args(argv, 4), "1");
}

/* Never older while the test runs. */
static void young_place_by_other(uint32_t id)
{
	place_by_other(DORA, BERT, id, -LAPSES_MS / 2);
}

Test(kafka_log_places, what_another_gateway_has_on_the_way_is_waited_for_and_then_full)
{
	kl_is_written_at_once = true;
	kl_offset = 100;
	kl_start();
	young_place_by_other(50);
	cr_assert_eq(kl_append(ANNA, BERT, 1), LOG_OK);
	kl_send_one(ANNA, BERT, 2);
	cr_assert_not(kl_answer_comes(300), "it may come to nothing there");
	cr_assert_eq(kl_record_count, 1, "passed the quota");
	/* A worker does both in one step. In two, this order: the other one shows for a moment neither. */
	kl_put_entry(BERT, inbox_id(70, 0), RECORD_MESSAGE, 100, 0);
	kl_remember(DORA, 50);
	cr_assert_eq(kl_next_answer().outcome, LOG_INBOX_FULL, "it came");
}

Test(kafka_log_places, a_place_that_another_gateway_gives_back_is_free)
{
	kl_is_written_at_once = true;
	kl_start();
	young_place_by_other(50);
	young_place_by_other(51);
	kl_send_one(ANNA, BERT, 1);
	cr_assert_not(kl_answer_comes(300));
	flight("ZREMRANGEBYRANK", BERT, " 0 0");
	cr_assert_eq(kl_next_answer().outcome, LOG_OK);
}

Test(kafka_log_places, a_place_of_long_ago_is_taken_for_a_message_and_lapses_in_the_end)
{
	kl_is_written_at_once = true;
	kl_start();
	place_by_other(DORA, BERT, 50, 2000);
	place_by_other(DORA, BERT, 51, 2000);
	place_by_other(DORA, CARL, 52, LAPSES_MS + 1);
	place_by_other(DORA, CARL, 53, LAPSES_MS + 1);
	cr_assert_eq(kl_append(ANNA, BERT, 1), LOG_INBOX_FULL);
	cr_assert_eq(kl_append(ANNA, CARL, 1), LOG_OK);
}

Test(kafka_log_places, a_place_ends_when_the_worker_remembers_its_message)
{
	kl_settings.inbox_max_messages = 5;
	kl_is_written_at_once = true;
	kl_start();
	for (uint32_t i = 0; i < 4; i++) {
		young_place_by_other(50 + i);
		kl_remember(DORA, 50 + i);
	}
	cr_assert_eq(kl_append(ANNA, BERT, 1), LOG_OK);
	cr_assert_eq(kl_append(ANNA, BERT, 2), LOG_OK, "the four were read and acknowledged");
	cr_assert_str_eq(flight("ZCARD", BERT, ""), "2", "ours");
}

Test(kafka_log_places, a_place_is_held_until_it_is_known_what_became_of_the_message)
{
	struct kl_record *r;

	kl_start();
	kl_send_one(ANNA, BERT, 1);
	r = kl_next_record();
	cr_assert_str_eq(flight("ZCARD", BERT, ""), "1");
	cr_assert_gt(atoll(flight("PTTL", BERT, "")), 0);
	kl_report(r, KAFKA_NOT_WRITTEN, -1);
	cr_assert_eq(kl_next_answer().outcome, LOG_FAILED);
	cr_assert_str_eq(flight("ZCARD", BERT, ""), "0", "given back");
	kl_send_one(ANNA, BERT, 2);
	r = kl_next_record();
	kl_report(r, KAFKA_UNKNOWN, -1);
	cr_assert_eq(kl_next_answer().outcome, LOG_FAILED);
	cr_assert_str_eq(flight("ZCARD", BERT, ""), "1", "it may come");
}

Test(kafka_log_places, many_of_one_sender_get_exactly_what_is_free)
{
	uint32_t ok = 0, full = 0;

	kl_settings.inbox_max_messages = 40;
	kl_is_written_at_once = true;
	kl_start();
	for (uint32_t i = 0; i < 5; i++)
		place_by_other(DORA, BERT, 50 + i, 2000);
	kl_send((struct kl_send){ .sender = ANNA, .recipient = BERT, .id = 100, .count = 30 });
	kl_send((struct kl_send){ .sender = CARL, .recipient = BERT, .id = 200, .count = 30 });
	for (uint32_t i = 0; i < 60; i++) {
		const int outcome = kl_next_answer().outcome;

		ok += outcome == LOG_OK;
		full += outcome == LOG_INBOX_FULL;
	}
	cr_assert_eq(ok, 35);
	cr_assert_eq(full, 25);
}

Test(kafka_log_places, bytes_of_others_count_too)
{
	kl_settings.inbox_max_messages = 100;
	kl_settings.inbox_max_bytes = 1000;
	kl_is_written_at_once = true;
	kl_start();
	for (uint32_t i = 0; i < 9; i++)
		place_by_other(DORA, BERT, 50 + i, 2000); /* 900 bytes */
	cr_assert_eq(kl_append(ANNA, BERT, 1), LOG_INBOX_FULL);
	cr_assert_eq(kl_append(ANNA, CARL, 2), LOG_OK);
}

Test(kafka_log_places, far_from_its_limit_an_inbox_has_no_places)
{
	kl_settings.inbox_max_messages = 1000;
	kl_settings.inbox_max_bytes = 1 << 30;
	kl_is_written_at_once = true;
	kl_start();
	for (uint32_t i = 1; i <= 20; i++)
		cr_assert_eq(kl_append(ANNA, BERT, i), LOG_OK);
	cr_assert_str_eq(flight("EXISTS", BERT, ""), "0");
	for (uint32_t i = 0; i < 500; i++)
		kl_put_entry(CARL, inbox_id(1 + i, 0), RECORD_MESSAGE, 100, 0);
	kl_offset = 5000;
	cr_assert_eq(kl_append(ANNA, CARL, 100), LOG_OK);
	cr_assert_str_eq(flight("ZCARD", CARL, ""), "1");
}
