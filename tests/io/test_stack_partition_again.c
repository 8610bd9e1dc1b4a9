/* SPDX-License-Identifier: MIT */
/* The worker's partition owner while it reads the log again: what was acknowledged before does not
 * come back, whoever has the partition meanwhile, and where it begins on a Redis without a fence. */
#include "partition_cases.h"
#include "wire/delivery_event.h"

#define APART_MS (INT64_C(10) * 60 * 1000) /* clocks */

static struct stack_acked *acked;
static struct delivery_key key;

static void setup_acked(void)
{
	static const uint8_t secret[HASH_KEY_LEN] = { 7 };

	acked = stack_acked_new(1000);
	delivery_key_init(&key, secret);
	partition_bench_prepare(&bench);
	bench.settings.acked = acked;
	bench.settings.key = &key;
	partition_bench_start(&bench);
}

static void teardown_acked(void)
{
	teardown();
	stack_acked_free(acked);
}

TestSuite(stack_partition_again, .init = setup_acked, .fini = teardown_acked, .timeout = 180);

static void acknowledge_of(unsigned sender, unsigned number)
{
	const struct uuid from = partition_uuid(sender), id = partition_uuid(number);
	uint8_t hash[HASH_LEN];

	delivery_pair_hash(&key, &from, &id, 0, hash);
	cr_assert(stack_acked_add(acked, hash));
}

static void acknowledge(unsigned number)
{
	acknowledge_of(1, number); /* the sender of send_many */
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The next ask is for acknowledgements since then, give or take the test's own time. */
static void expect_ask(int64_t since_ms)
{
	const int64_t got = partition_bench_next(STACK_REBUILD).next_offset;

	cr_assert(got > since_ms - 20000 && got < since_ms + 20000, "%lld, not %lld",
	          (long long)got, (long long)since_ms);
}

static void expect_seek(int64_t offset)
{
	cr_assert_eq(partition_bench_next(KAFKA_SEEK).next_offset, offset);
}

static void empty_redis(void)
{
	redis_server_kill(&bench.server);
	redis_server_run(&bench.server);
}

/* Offsets 0 to 3 are done, then Redis is empty. */
static void lose_four(void)
{
	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send_many(0, 1, 0, 4);
	expect_done(4);
	empty_redis();
	expect_ask(now_ms() - PARTITION_TTL_MS - APART_MS);
}

Test(stack_partition_again, what_was_acknowledged_does_not_come_back_and_the_rest_does_in_order)
{
	partition_bench_assign(&bench, 1, 2, KAFKA_OFFSET_UNKNOWN);
	lose_four();
	send_many(0, 1, 4, 1);
	expect_quiet(KAFKA_SEEK);
	acknowledge(1);
	acknowledge(4);       /* of a record that Redis never had: it comes */
	acknowledge_of(2, 2); /* another's message with the same id */
	partition_bench_rebuilt(&bench);
	expect_seek(0);
	partition_bench_assign(&bench, 0, 3, 0);
	send_many(0, 3, 0, 5);
	expect_done(5);
	cr_assert_str_eq(ids(7), "1-0_3-0_4-0_5-0_");
	stack_partition_figures(&figures);
	cr_assert_eq(figures.acked, 1);
	cr_assert_eq(figures.rewinds, 1);
	cr_assert_eq(figures.rewound, 4);
	cr_assert_eq(partition_bench_waiting(STACK_REBUILD), 0, "partition 1 lost nothing");
}

static long publishes(void)
{
	return strtol(redis("EVAL return(string.match(redis.call('INFO','commandstats'),"
	                    "'cmdstat_publish:calls=(%%d+)'))or'0' 0",
	                    0),
	              NULL, 10);
}

/* Once, though each partition sees it; and again when it is emptied again. */
Test(stack_partition_again, that_redis_was_emptied_is_published_to_servers_and_workers)
{
	char life[40];

	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	partition_bench_assign(&bench, 1, 1, KAFKA_OFFSET_UNKNOWN);
	send_many(0, 1, 0, 1);
	expect_done(1);
	cr_assert_eq(publishes(), 2);
	snprintf(life, sizeof(life), "%s", redis("GET " PARTITION_PREFIX "life", 0));
	redis("FLUSHALL", 0);
	send_many(0, 1, 1, 1);
	expect_ask(now_ms() - PARTITION_TTL_MS - APART_MS);
	cr_assert_neq(strcmp(redis("GET " PARTITION_PREFIX "life", 0), life), 0);
	cr_assert_eq(publishes(), 4);
}

Test(stack_partition_again, what_a_client_repeats_of_what_was_acknowledged_stays_a_duplicate)
{
	const struct partition_record again[] = {
		{ .offset = 4, .from = 1, .to = 7, .id = 1 },
		{ .offset = 5, .from = 1, .to = 7, .id = 9 },
	};

	lose_four();
	acknowledge(1);
	acknowledge(2);
	partition_bench_rebuilt(&bench);
	expect_seek(0);
	partition_bench_assign(&bench, 0, 3, 0);
	send_many(0, 3, 0, 4);
	expect_done(4);
	send(0, 3, again, 2);
	expect_done(6);
	cr_assert_str_eq(ids(7), "1-0_4-0_6-0_");
	send_many(0, 3, 0, 4); /* and once more, as after a failure */
	partition_bench_redis(&bench, "PING");
	cr_assert_str_eq(ids(7), "1-0_4-0_6-0_");
	stack_partition_figures(&figures);
	cr_assert_eq(figures.duplicates, 1);
	cr_assert_eq(figures.acked, 2);
}

Test(stack_partition_again, a_batch_of_nothing_but_what_was_acknowledged_is_done)
{
	lose_four();
	for (unsigned i = 0; i < 4; i++)
		acknowledge(i);
	partition_bench_rebuilt(&bench);
	expect_seek(0);
	partition_bench_assign(&bench, 0, 3, 0);
	send_many(0, 3, 0, 4);
	expect_done(4);
	cr_assert_str_eq(ids(7), "");
}

Test(stack_partition_again, of_two_partitions_none_begins_before_both_are_answered)
{
	partition_bench_assign(&bench, 1, 2, KAFKA_OFFSET_UNKNOWN);
	send_many(1, 2, 0, 2);
	expect_done(2);
	lose_four();
	partition_bench_next(STACK_REBUILD);
	partition_bench_rebuilt(&bench);
	expect_quiet(KAFKA_SEEK);
	partition_bench_rebuilt(&bench);
	expect_seek(0);
	expect_seek(0);
}

Test(stack_partition_again, what_a_restarted_redis_has_lost_comes_without_what_was_acknowledged)
{
	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send_many(0, 1, 0, 2);
	expect_done(2);
	cr_assert_str_eq(redis("SAVE", 0), "OK");
	send_many(0, 1, 2, 3);
	expect_done(5);
	empty_redis(); /* but for what was saved */
	expect_ask(now_ms() - APART_MS);
	acknowledge(3);
	partition_bench_rebuilt(&bench);
	expect_seek(2);
	partition_bench_assign(&bench, 0, 2, 2);
	send_many(0, 2, 2, 3);
	expect_done(5);
	cr_assert_str_eq(ids(7), "1-0_2-0_3-0_5-0_");
}

Test(stack_partition_again, a_partition_that_is_taken_away_meanwhile_is_read_again_by_the_next)
{
	struct partition_event e;

	lose_four();
	partition_bench_revoke(&bench, 0, 1);
	e = partition_bench_next(KAFKA_REVOKED_DONE);
	cr_assert_eq(e.next_offset, KAFKA_OFFSET_UNKNOWN, "what is committed stays");
	partition_bench_rebuilt(&bench);
	expect_quiet(KAFKA_SEEK);
	partition_bench_assign(&bench, 0, 2, 4);
	expect_ask(now_ms() - PARTITION_TTL_MS - APART_MS);
	acknowledge(0);
	partition_bench_rebuilt(&bench);
	expect_seek(0);
	partition_bench_assign(&bench, 0, 3, 0);
	send_many(0, 3, 0, 4);
	expect_done(4);
	cr_assert_str_eq(ids(7), "2-0_3-0_4-0_");
}

/* The next owner knows from the fence alone that he has to ask: his process may have no hash. */
Test(stack_partition_again, whoever_gets_it_half_way_asks_before_he_goes_on)
{
	lose_four();
	partition_bench_rebuilt(&bench);
	expect_seek(0);
	partition_bench_assign(&bench, 0, 2, 0);
	send_many(0, 2, 0, 2);
	expect_done(2);
	partition_bench_revoke(&bench, 0, 2);
	partition_bench_next(KAFKA_REVOKED_DONE);
	partition_bench_assign(&bench, 0, 3, 2);
	expect_ask(now_ms() - PARTITION_TTL_MS - APART_MS);
	acknowledge(2);
	partition_bench_rebuilt(&bench);
	expect_seek(2);
	partition_bench_assign(&bench, 0, 4, 2);
	send_many(0, 4, 2, 4);
	expect_done(6);
	cr_assert_str_eq(ids(7), "1-0_2-0_4-0_5-0_6-0_");
	partition_bench_revoke(&bench, 0, 4);
	partition_bench_next(KAFKA_REVOKED_DONE);
	partition_bench_assign(&bench, 0, 5, 6);
	send_many(0, 5, 6, 1);
	expect_done(7);
	cr_assert_eq(partition_bench_waiting(STACK_REBUILD), 0, "it is over");
}

/* The place to read from is committed by then, so nothing but the fence tells of the loss. */
Test(stack_partition_again, whoever_gets_it_before_the_first_batch_asks_too)
{
	lose_four();
	partition_bench_rebuilt(&bench);
	expect_seek(0);
	partition_bench_assign(&bench, 0, 2, 0);
	partition_bench_revoke(&bench, 0, 2);
	partition_bench_next(KAFKA_REVOKED_DONE);
	partition_bench_assign(&bench, 0, 3, 0);
	expect_ask(now_ms() - PARTITION_TTL_MS - APART_MS);
	acknowledge(2);
	partition_bench_rebuilt(&bench);
	expect_seek(0);
	partition_bench_assign(&bench, 0, 4, 0);
	send_many(0, 4, 0, 4);
	expect_done(4);
	cr_assert_str_eq(ids(7), "1-0_2-0_4-0_");
}

Test(stack_partition_again, a_redis_that_is_emptied_again_meanwhile_begins_it_again)
{
	lose_four();
	partition_bench_rebuilt(&bench);
	expect_seek(0);
	partition_bench_assign(&bench, 0, 2, 0);
	send_many(0, 2, 0, 2);
	expect_done(2);
	empty_redis();
	partition_bench_next(STACK_REBUILD);
	acknowledge(0);
	acknowledge(3); /* not read again yet: still known to be one of those before */
	partition_bench_rebuilt(&bench);
	expect_seek(0);
	partition_bench_assign(&bench, 0, 3, 0);
	send_many(0, 3, 0, 5);
	expect_done(5);
	cr_assert_str_eq(ids(7), "2-0_3-0_5-0_");
}

/* ---- the first start ---- */

Test(stack_partition_again, a_committed_place_without_a_fence_means_that_redis_was_emptied)
{
	partition_bench_assign(&bench, 0, 1, 50);
	partition_bench_next(STACK_REBUILD);
	partition_bench_rebuilt(&bench);
	expect_seek(0);
}

Test(stack_partition_again, an_operator_can_say_that_it_begins_where_the_group_is)
{
	redis("SET " PARTITION_PREFIX "begin committed", 0);
	partition_bench_assign(&bench, 0, 1, 50);
	send_many(0, 1, 50, 3);
	expect_done(53);
	cr_assert_str_eq(ids(7), "51-0_52-0_53-0_");
	cr_assert_eq(partition_bench_waiting(KAFKA_SEEK), 0);
	empty_redis();
	partition_bench_next(STACK_REBUILD);
	partition_bench_rebuilt(&bench);
	expect_seek(0); /* said once, it is not said for ever */
}
