/* SPDX-License-Identifier: MIT */
/* The store on a real PostgreSQL and a real Redis: what every store owes, and the keys that existing
 * deployments hold. */
#include <stdlib.h>

#include "store_cases.h"
#include "support/stack_bench.h"

static struct stack_bench bench;

static void setup(void)
{
	stack_bench_prepare(&bench, true);
	stack_bench_start(&bench);
}

static void teardown(void)
{
	stack_bench_end(&bench);
}

TestSuite(stack_store, .init = setup, .fini = teardown, .timeout = 120);

static struct store_result store_do(struct store_op op, struct cx_buf *blob)
{
	return stack_bench_store(&bench, op, blob);
}

#define X(name)                      \
	Test(stack_store, name)      \
	{                            \
		store_case_##name(); \
	}
STORE_CASES(X)
#undef X

#define USER "01000000-0000-0000-0000-000000000001"
#define JTI(last) last "000000-0000-0000-0000-000000000001"

static int64_t number(const char *words)
{
	return strtoll(stack_bench_redis(&bench, words), NULL, 10);
}

Test(stack_store, sessions_of_an_older_server_stay_valid_and_end_with_the_password)
{
	struct store_op op = case_user_op(STORE_PASSWORD_SET, 1, "anna");

	cr_assert_eq(case_create(1, "anna", 0x70), STORE_OK);
	stack_bench_redis(&bench, "SET session:" JTI("71") " " USER " EX 100");
	stack_bench_redis(&bench, "DEL user_sessions:" USER); /* theirs has no TTL */
	stack_bench_redis(&bench, "SADD user_sessions:" USER " " JTI("71") " no-id");
	cr_assert_str_eq(case_session(STORE_SESSION_GET, 0, 0x71, 0).text, "anna");
	cr_assert_eq(case_session(STORE_SESSION_PUT, 1, 0x72, 60000).outcome, STORE_OK);
	cr_assert_gt(number("PTTL user_sessions:" USER), 60000,
	             "an old set is kept long enough");
	op.jti = store_id(0x72);
	cr_assert_eq(store_do(op, NULL).outcome, STORE_OK);
	cr_assert_eq(case_session(STORE_SESSION_GET, 0, 0x71, 0).outcome, STORE_NOT_FOUND);
	cr_assert_eq(case_session(STORE_SESSION_GET, 0, 0x72, 0).outcome, STORE_OK);
	cr_assert_str_eq(stack_bench_redis(&bench, "EXISTS session:" JTI("71")), "0");
}

Test(stack_store, sessions_are_written_as_an_older_server_reads_them)
{
	cr_assert_eq(case_create(1, "anna", 0x70), STORE_OK);
	cr_assert_str_eq(stack_bench_redis(&bench, "GET session:" JTI("70")), USER);
	cr_assert_str_eq(stack_bench_redis(&bench, "SMEMBERS user_sessions:" USER), "[1");
	cr_assert_str_eq(
		stack_bench_redis(&bench, "SISMEMBER user_sessions:" USER " " JTI("70")), "1");
	cr_assert(number("PTTL session:" JTI("70")) > 0);
	cr_assert(number("PTTL user_sessions:" USER) > 0);
	cr_assert_eq(case_session(STORE_SESSION_PUT, 1, 0x71, 900000).outcome, STORE_OK);
	cr_assert_gt(number("PTTL user_sessions:" USER), 800000, "as long as the longest");
	cr_assert_eq(case_session(STORE_SESSION_PUT, 1, 0x72, 1000).outcome, STORE_OK);
	cr_assert_gt(number("PTTL user_sessions:" USER), 800000);
	cr_assert_eq(case_session(STORE_SESSION_DELETE, 0, 0x70, 0).outcome, STORE_OK);
	cr_assert_str_eq(stack_bench_redis(&bench, "SCARD user_sessions:" USER), "2");
}

Test(stack_store, a_session_of_a_user_who_is_gone_is_no_session)
{
	stack_bench_redis(&bench, "SET session:" JTI("70") " " USER " EX 100");
	cr_assert_eq(case_session(STORE_SESSION_GET, 0, 0x70, 0).outcome, STORE_NOT_FOUND);
	stack_bench_redis(&bench, "SET session:" JTI("70") " nonsense EX 100");
	cr_assert_eq(case_session(STORE_SESSION_GET, 0, 0x70, 0).outcome, STORE_NOT_FOUND);
}

Test(stack_store, hundreds_of_sessions_end_at_once)
{
	const struct store_op op = case_user_op(STORE_USER_DELETE, 1, "");
	char words[200];

	cr_assert_eq(case_create(1, "anna", 0x70), STORE_OK);
	for (unsigned i = 0; i < 350; i++) {
		snprintf(words, sizeof(words),
		         "SET session:%08x-0000-0000-0000-000000000002 " USER, i);
		stack_bench_redis(&bench, words);
		snprintf(words, sizeof(words),
		         "SADD user_sessions:" USER " %08x-0000-0000-0000-000000000002", i);
		stack_bench_redis(&bench, words);
	}
	cr_assert_gt(number("DBSIZE"), 350);
	cr_assert_eq(store_do(op, NULL).outcome, STORE_OK);
	cr_assert_str_eq(stack_bench_redis(&bench, "DBSIZE"), "1",
	                 "but the doubt in the cache");
}

Test(stack_store, names_of_sessions_that_are_over_leave_the_set_at_later_logins)
{
	int64_t names;

	cr_assert_eq(case_create(1, "anna", 0x1070), STORE_OK);
	for (uint64_t jti = 1; jti <= 60; jti++)
		cr_assert_eq(case_session(STORE_SESSION_PUT, 1, 0x1000 + jti, 1).outcome,
		             STORE_OK);
	cr_assert_leq(number("SCARD user_sessions:" USER), 50, "not all that ever were");
	for (uint64_t jti = 1; jti <= 40; jti++)
		cr_assert_eq(case_session(STORE_SESSION_PUT, 1, 0x2000 + jti, 60000).outcome,
		             STORE_OK);
	names = number("SCARD user_sessions:" USER);
	cr_assert_geq(names, 41, "one that lives is never taken out");
	for (uint64_t jti = 1; jti <= 40; jti++)
		cr_assert_eq(case_session(STORE_SESSION_GET, 1, 0x2000 + jti, 0).outcome,
		             STORE_OK);
	cr_assert_eq(store_do(case_user_op(STORE_USER_DELETE, 1, ""), NULL).outcome, STORE_OK);
	cr_assert_str_eq(stack_bench_redis(&bench, "DBSIZE"), "1");
}

Test(stack_store, no_key_is_left_without_a_ttl_and_a_user_takes_his_keys_along)
{
	struct store_op op = { .user = store_id(1), .key = "somebody" };

	cr_assert_eq(case_create(1, "anna", 0x70), STORE_OK);
	cr_assert(case_has_bundle(1, "anna"));
	op.max = op.n = 5;
	op.window_ms = 60000;
	op.what = STORE_LIMIT_TAKE;
	cr_assert_eq(store_do(op, NULL).outcome, STORE_OK);
	memcpy(op.key, op.user.b, sizeof(op.key));
	op.what = STORE_LIMIT_LEASE;
	cr_assert_eq(store_do(op, NULL).outcome, STORE_OK);
	op.what = STORE_BLOCK_SET;
	op.until_wall_ms = case_wall_ms() + 60000;
	cr_assert_eq(store_do(op, NULL).outcome, STORE_OK);
	op.what = STORE_PING;
	cr_assert_eq(store_do(op, NULL).outcome, STORE_OK);
	cr_assert_str_eq(stack_bench_redis(&bench, "DBSIZE"), "7");
	for (int i = 0; i < 200; i++) { /* a key at random, each often enough */
		char words[100];

		snprintf(words, sizeof(words), "PTTL %s",
		         stack_bench_redis(&bench, "RANDOMKEY"));
		cr_assert_gt(number(words), 0, "%s", words);
	}
	memset(op.key, 0, sizeof(op.key));
	memcpy(op.key, "somebody", 8);
	op.what = STORE_USER_DELETE;
	cr_assert_eq(store_do(op, NULL).outcome, STORE_OK);
	cr_assert_str_eq(stack_bench_redis(&bench, "DBSIZE"), "2", "ping and doubt");
}

Test(stack_store, a_bundle_comes_from_the_cache_and_a_change_is_seen_at_once)
{
	struct stack_store_figures f;

	cr_assert_eq(case_create(1, "anna", 0x70), STORE_OK);
	cr_assert(case_has_bundle(1, "anna"));
	stack_bench_redis(&bench, "PING"); /* the filling went before it */
	cr_assert(case_has_bundle(1, "anna"));
	stack_store_figures(&f);
	cr_assert_eq(f.cache_misses, 1);
	cr_assert_eq(f.cache_hits, 1);
	case_put_bundle(1, "new");
	cr_assert(case_has_bundle(1, "new"));
	stack_bench_redis(&bench, "PING");
	cr_assert_str_eq(stack_bench_redis(&bench, "GET key_bundle:" USER), "!",
	                 "a reader who is late cannot fill it with what was before");
	stack_bench_redis(&bench, "SET key_bundle:" USER " {\"an_older\":\"server's\"} EX 100");
	cr_assert(case_has_bundle(1, "new"), "what is not ours is a miss");
	stack_store_figures(&f);
	cr_assert_eq(f.cache_hits, 1);
}

Test(stack_store, a_clock_that_went_back_blocks_for_a_window_at_most)
{
	/* "a key of 16 byte" in hex; words cannot hold a blank, so the script makes it */
	static const char set[] =
		"EVAL redis.call('SET',KEYS[1],ARGV[1]..string.char(32)..ARGV[2],'EX','100') 1"
		" limit:{61206b6579206f662031362062797465} %d %lld";
	struct store_result r;
	char words[220];

	snprintf(words, sizeof(words), set, 5, (long long)case_wall_ms() + 86400000);
	stack_bench_redis(&bench, words);
	r = case_take(1);
	cr_assert_eq(r.outcome, STORE_LIMIT);
	cr_assert_eq(r.retry_ms, 600000);
	usleep(5000);
	cr_assert_lt(case_take(1).retry_ms, 600000, "the wait does not start anew");
	/* a bucket of which all tokens are missing, since tomorrow */
	snprintf(words, sizeof(words), set, 100000000, (long long)case_wall_ms() + 86400000);
	stack_bench_redis(&bench, words);
	r = case_lease(1);
	cr_assert_eq(r.outcome, STORE_LIMIT);
	cr_assert_eq(r.retry_ms, 10000);
	usleep(5000);
	cr_assert_lt(case_lease(1).retry_ms, 10000);
}

/* What the script does with numbers is what the embedded store does with them. */
Test(stack_store, halves_of_tokens_are_not_lost)
{
	static const char set[] =
		"EVAL redis.call('SET',KEYS[1],ARGV[1]..string.char(32)..ARGV[2],'EX','100') 1"
		" limit:{61206b6579206f662031362062797465} %d %lld";
	char words[220];
	struct store_result r;

	/* all of 100 are missing, and 15 tokens' time has passed; half a token is left over */
	snprintf(words, sizeof(words), set, 100000000, (long long)case_wall_ms() - 155000);
	stack_bench_redis(&bench, words);
	r = case_lease(100);
	cr_assert_eq(r.granted, 15);
	r = case_lease(100);
	cr_assert_eq(r.outcome, STORE_LIMIT);
	cr_assert(r.retry_ms > 0 && r.retry_ms <= 5000, "%lld", (long long)r.retry_ms);
}

/* docs/redis-keys.md, "Size of a user". */
Test(stack_store, the_size_of_an_idle_user_is_as_written)
{
	const struct store_op lease = { .what = STORE_LIMIT_LEASE,
		                        .key = "a key of 16 byte",
		                        .max = 1000,
		                        .window_ms = 3600000,
		                        .n = 100 };
	int64_t session, set_of_one, set_of_two, limit;

	cr_assert_eq(case_create(1, "anna", 0x70), STORE_OK);
	session = number("MEMORY USAGE session:" JTI("70"));
	set_of_one = number("MEMORY USAGE user_sessions:" USER);
	cr_assert_eq(case_session(STORE_SESSION_PUT, 1, 0x71, 60000).outcome, STORE_OK);
	set_of_two = number("MEMORY USAGE user_sessions:" USER " SAMPLES 0");
	cr_assert_eq(store_do(lease, NULL).outcome, STORE_OK);
	limit = number("MEMORY USAGE limit:{61206b6579206f662031362062797465}");
	printf("bytes: session %lld, set of one %lld, of two %lld, limit %lld\n",
	       (long long)session, (long long)set_of_one, (long long)set_of_two,
	       (long long)limit);
	cr_assert(session > 0 && session <= 140);
	cr_assert(set_of_one > 0 && set_of_one <= 270);
	cr_assert_leq(set_of_two - set_of_one, 80);
	cr_assert(limit > 0 && limit <= 130);
}
