/* SPDX-License-Identifier: MIT */
/* The worker's partition owner when Redis stops, loses what it had or is full, when partitions move,
 * and when another one's entries are in the way. */
#include <inttypes.h>
#include <signal.h>

#include "partition_cases.h"
#include "support/wall_jump.h"
#include "wire/delivery_event.h"

TestSuite(stack_partition_faults, .init = setup, .fini = teardown, .timeout = 180);

/* The stream holds offsets first.. in order and nothing else. */
static void expect_all(unsigned first, unsigned count)
{
	static const char script[] =
		"EVAL "
		"local\tn=tonumber(ARGV[1])for\ti,e\tin\tipairs(redis.call('XRANGE',KEYS[1],"
		"'-','+'))do\tif(e[1]~=string.format('%%d-0',n+i))then\treturn(e[1])"
		"end\tend\treturn("
		"redis.call('XLEN',KEYS[1])) 1 " INBOX " %u";
	char words[500];

	snprintf(words, sizeof(words), script, 7, first);
	cr_assert_eq(strtol(partition_bench_redis(&bench, words), NULL, 10), (long)count, "%s",
	             partition_bench_redis(&bench, words));
}

static void wait_for_failures(uint64_t n)
{
	for (unsigned i = 0; i < 2000 && figures.failures < n; i++) {
		usleep(10000);
		stack_partition_figures(&figures);
	}
	cr_assert_geq(figures.failures, n);
}

/* ---- Redis stops ---- */

Test(stack_partition_faults, when_redis_hangs_nothing_is_done_then_all_once_in_order)
{
	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send_many(0, 1, 0, 100);
	expect_done(100);
	kill(bench.server.pid, SIGSTOP);
	send_many(0, 1, 100, 3000);
	send_many(0, 1, 3100, 500);
	expect_quiet(KAFKA_DONE);
	kill(bench.server.pid, SIGCONT);
	expect_done(3600);
	expect_all(0, 3600);
}

/* A call for each would cost Redis three times as much as the records in it. */
Test(stack_partition_faults, what_came_while_redis_was_slow_goes_together)
{
	uint64_t before;

	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send_many(0, 1, 0, 1);
	expect_done(1);
	stack_partition_figures(&figures);
	before = figures.batches;
	kill(bench.server.pid, SIGSTOP);
	for (unsigned i = 0; i < 300; i++)
		send_many(0, 1, 1 + i, 1);
	send_many(0, 1, 301, 256); /* has no room behind others */
	for (unsigned i = 0; i < 10; i++)
		send_many(0, 1, 557 + i, 1);
	expect_quiet(KAFKA_DONE);
	kill(bench.server.pid, SIGCONT);
	expect_done(567);
	expect_all(0, 567);
	stack_partition_figures(&figures);
	/* two were under way, then 256 of them, 42, 256, and ten */
	cr_assert_eq(figures.batches - before, 6, "%" PRIu64, figures.batches - before);
	/* what comes behind joined ones finds its place */
	kill(bench.server.pid, SIGSTOP);
	for (unsigned i = 0; i < 20; i++)
		send_many(0, 1, 567 + i, 1);
	kill(bench.server.pid, SIGCONT);
	for (unsigned i = 0; i < 400; i++) { /* some while joined ones are under way */
		send_many(0, 1, 587 + i, 1);
		usleep(250);
	}
	expect_done(987);
	expect_all(0, 987);
}

/* The bench's Redis keeps what it has in memory only: a kill empties it. */
Test(stack_partition_faults, when_redis_is_emptied_the_log_is_read_again)
{
	struct partition_event e;

	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send_many(0, 1, 0, 100);
	expect_done(100);
	redis_server_kill(&bench.server);
	send_many(0, 1, 100, 1000);
	expect_quiet(KAFKA_DONE);
	redis_server_run(&bench.server);
	e = partition_bench_next(KAFKA_SEEK);
	cr_assert_eq(e.next_offset, 0);
	cr_assert_eq(e.epoch, 1);
	send_many(0, 1, 1100, 100); /* still of the old epoch */
	partition_bench_assign(&bench, 0, 2, 0);
	send_many(0, 2, 0, 1200);
	expect_done(1200);
	expect_all(0, 1200);
	stack_partition_figures(&figures);
	cr_assert_eq(figures.rewinds, 1);
	expect_quiet(KAFKA_SEEK);
}

Test(stack_partition_faults, a_quiet_partition_too_is_read_again_when_redis_is_emptied)
{
	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send_many(0, 1, 0, 10);
	expect_done(10);
	redis_server_kill(&bench.server);
	redis_server_run(&bench.server);
	cr_assert_eq(partition_bench_next(KAFKA_SEEK).next_offset, 0);
}

Test(stack_partition_faults, a_redis_that_was_emptied_and_lives_on_is_noticed_without_a_batch)
{
	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send_many(0, 1, 0, 10);
	expect_done(10);
	redis("FLUSHALL", 0);
	cr_assert_eq(partition_bench_next(KAFKA_SEEK).next_offset, 0);
}

Test(stack_partition_faults, of_a_redis_that_lost_its_last_writes_just_those_are_made_again)
{
	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send_many(0, 1, 0, 10);
	expect_done(10);
	cr_assert_str_eq(redis("SAVE", 0), "OK");
	send_many(0, 1, 10, 10);
	expect_done(20);
	redis_server_kill(&bench.server);
	redis_server_run(&bench.server);
	cr_assert_eq(partition_bench_next(KAFKA_SEEK).next_offset, 10);
	partition_bench_assign(&bench, 0, 2, 10);
	send_many(0, 2, 10, 15);
	expect_done(25);
	expect_all(0, 25);
}

Test(stack_partition_faults, a_clock_that_is_set_forward_loses_nothing)
{
	const struct partition_record one = { .offset = 0, .from = 1, .to = 7, .id = 1 };
	struct cx_buf *const records = partition_pack(&one, 1);

	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	wall_jump_ms = 30 * INT64_C(86400000);
	partition_bench_records(&bench, 0, 1, records, 1, 0, 1);
	expect_done(1);
	wall_jump_ms = 0;
	cr_assert_str_eq(ids(7), "1-0_");
}

Test(stack_partition_faults, a_redis_that_is_full_delays_and_loses_nothing)
{
	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send_many(0, 1, 0, 10);
	expect_done(10);
	redis("CONFIG SET maxmemory 100000", 0);
	send_many(0, 1, 10, 2000);
	wait_for_failures(2);
	cr_assert_eq(partition_bench_waiting(KAFKA_DONE), 0);
	redis("CONFIG SET maxmemory 0", 0);
	expect_done(2010);
	expect_all(0, 2010);
}

/* ---- partitions move ---- */

Test(stack_partition_faults, after_a_revocation_nothing_is_pushed_or_done)
{
	struct partition_event e;
	struct redis_figures f;

	route(7);
	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send_many(0, 1, 0, 10);
	expect_done(10);
	next_push(PUSH_ENTRIES);
	kill(bench.server.pid, SIGSTOP);
	send_many(0, 1, 10, 1000);
	EVENTUALLY((redis_figures(&f), f.in_flight > 0)); /* else it would drop them unsent */
	partition_bench_revoke(&bench, 0, 1);
	e = partition_bench_next(KAFKA_REVOKED_DONE);
	cr_assert_eq(e.next_offset, 10);
	cr_assert_eq(e.epoch, 1);
	kill(bench.server.pid, SIGCONT);
	send_many(0, 1, 1010, 10);
	expect_quiet(KAFKA_DONE);
	expect_quiet(REDIS_PUSH);
	partition_bench_assign(&bench, 0, 2, 10);
	send_many(0, 2, 10, 1000);
	expect_done(1010);
	expect_all(0, 1010);
	expect_look(7); /* of what the first one may have appended */
}

Test(stack_partition_faults, of_two_owners_the_one_that_is_behind_cannot_overtake)
{
	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send_many(0, 1, 0, 10);
	expect_done(10);
	/* What the other would leave; ours does not expect it, looks, and goes on from there. */
	redis("SET " PARTITION_PREFIX "fence:%u 10\tother", 0);
	send_many(0, 1, 10, 10);
	expect_done(20);
	expect_all(0, 20);
	stack_partition_figures(&figures);
	cr_assert_eq(figures.failures, 1);
}

/* ---- another partition's entries ---- */

Test(stack_partition_faults, a_user_whose_partition_changed_gets_all_behind_what_he_has)
{
	struct wire_slice bytes;
	size_t at = 0;

	route(7);
	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send_many(0, 1, 90, 3);
	expect_done(93);
	next_push(PUSH_ENTRIES);
	partition_bench_assign(&bench, 5, 2, KAFKA_OFFSET_UNKNOWN);
	for (unsigned i = 0; i < 3; i++)
		many[i] = (struct partition_record){
			.offset = i * 100, .from = 1, .to = 7, .id = 500 + i
		};
	send(5, 2, many, 3);
	bytes = next_push(PUSH_ENTRIES);
	expect_entry(bytes, &at, INBOX_ID(93, 1), UINT64_MAX, 0);
	expect_entry(bytes, &at, INBOX_ID(101, 0), INBOX_ID(93, 1), 100);
	expect_entry(bytes, &at, INBOX_ID(201, 0), INBOX_ID(101, 0), 200);
	expect_done(201);
	cr_assert_str_eq(ids(7), "91-0_92-0_93-0_93-1_101-0_201-0_");
	send(5, 2, many, 3);
	send_many(0, 1, 90, 3);
	expect_quiet(REDIS_PUSH);
	cr_assert_str_eq(ids(7), "91-0_92-0_93-0_93-1_101-0_201-0_", "repetitions");
}

/* ---- routes ---- */

#define OTHER UINT64_C(0x1111222233334444)

Test(stack_partition_faults, routes_are_read_once_and_follow_what_is_heard)
{
	const struct uuid user = partition_uuid(7);

	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send_many(0, 1, 0, 1);
	expect_done(1);
	route(7); /* nobody was told of it: the cache says nowhere */
	send_many(0, 1, 1, 1);
	expect_done(2);
	expect_quiet(REDIS_PUSH);
	stack_partition_figures(&figures);
	cr_assert_eq(figures.lookups, 1);
	partition_bench_route(&bench, &user, PARTITION_INSTANCE, true);
	expect_look(7); /* what was just appended may have missed him */
	send_many(0, 1, 2, 1);
	next_push(PUSH_ENTRIES);
	partition_bench_route(&bench, &user, OTHER, true);
	partition_bench_route(&bench, &user, PARTITION_INSTANCE, false);
	send_many(0, 1, 3, 1);
	expect_done(4);
	expect_quiet(REDIS_PUSH);
	partition_bench_subscribed(&bench);
	send_many(0, 1, 4, 1);
	next_push(PUSH_ENTRIES);
	stack_partition_figures(&figures);
	cr_assert_eq(figures.lookups, 2);
}

/* Another server may have him meanwhile, and nobody could say so. */
Test(stack_partition_faults, without_a_subscription_no_route_is_remembered)
{
	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send_many(0, 1, 0, 1);
	expect_done(1);
	partition_bench_unsubscribed(&bench);
	route(7);
	send_many(0, 1, 1, 1);
	next_push(PUSH_ENTRIES);
	expect_done(2);
	redis("DEL " ROUTE, 7);
	send_many(0, 1, 2, 1);
	expect_done(3);
	expect_quiet(REDIS_PUSH);
	stack_partition_figures(&figures);
	cr_assert_eq(figures.lookups, 3);
	partition_bench_subscribed(&bench);
	send_many(0, 1, 3, 1);
	expect_done(4);
	send_many(0, 1, 4, 1);
	expect_done(5);
	stack_partition_figures(&figures);
	cr_assert_eq(figures.lookups, 4, "it is, again");
}

Test(stack_partition_faults, no_look_for_who_got_nothing_lately)
{
	const struct uuid user = partition_uuid(8);

	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send_many(0, 1, 0, 1);
	expect_done(1);
	partition_bench_route(&bench, &user, PARTITION_INSTANCE, true);
	expect_quiet(REDIS_PUSH);
}
