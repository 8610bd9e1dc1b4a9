/* SPDX-License-Identifier: MIT */
#include "sqlite_fixture.h"

static struct fixture f;

static void open_store(void)
{
	fixture_settings(&f);
	fixture_open(&f);
}

static void close_store(void)
{
	sqlite_engine_close(&f.engine);
	fixture_remove(&f);
}

TestSuite(sqlite_limits, .init = open_store, .fini = close_store, .timeout = 30);

static struct store_result ask(enum store_what what, int64_t max, int64_t window_ms, int64_t n)
{
	const struct store_op op = { .what = what,
		                     .key = "a key of 16 byte",
		                     .max = max,
		                     .window_ms = window_ms,
		                     .n = n };
	struct store_result result = { 0 };

	sqlite_store_write(&f.engine, &op, &result);
	commit(&f);
	return result;
}

static struct store_result take(int64_t n)
{
	return ask(STORE_LIMIT_TAKE, 5, 1000, n);
}

static struct store_result lease(int64_t n)
{
	return ask(STORE_LIMIT_LEASE, 100, 10000, n); /* a token each 100 ms */
}

Test(sqlite_limits, a_window_lets_so_many_pass)
{
	int i;

	for (i = 0; i < 5; i++)
		cr_assert_eq(take(1).outcome, STORE_OK, "%d", i);
	cr_assert_eq(take(1).outcome, STORE_LIMIT);
	cr_assert_eq(take(1).retry_ms, 1000);
	fixture_wait(&f, 999);
	cr_assert_eq(take(1).outcome, STORE_LIMIT);
	cr_assert_eq(take(1).retry_ms, 1);
	fixture_wait(&f, 1);
	cr_assert_eq(take(5).outcome, STORE_OK);
	cr_assert_eq(take(0).outcome, STORE_LIMIT, "a question");
	cr_assert_eq(take(-2).outcome, STORE_OK);
	cr_assert_eq(take(0).outcome, STORE_OK);
	cr_assert_eq(take(3).outcome, STORE_LIMIT, "all or nothing");
	cr_assert_eq(take(2).outcome, STORE_OK);
	cr_assert_eq(ask(STORE_LIMIT_RESET, 0, 0, 0).outcome, STORE_OK);
	cr_assert_eq(take(5).outcome, STORE_OK);
}

Test(sqlite_limits, a_bucket_fills_evenly)
{
	struct store_result r = lease(60);

	cr_assert_eq(r.outcome, STORE_OK);
	cr_assert_eq(r.granted, 60);
	r = lease(60);
	cr_assert_eq(r.granted, 40, "what is there");
	r = lease(60);
	cr_assert_eq(r.outcome, STORE_LIMIT);
	cr_assert_eq(r.retry_ms, 100);
	fixture_wait(&f, 99);
	cr_assert_eq(lease(1).outcome, STORE_LIMIT);
	cr_assert_eq(lease(1).retry_ms, 1);
	fixture_wait(&f, 1);
	cr_assert_eq(lease(5).granted, 1);
	fixture_wait(&f, 1050);
	cr_assert_eq(lease(100).granted, 10);
	fixture_wait(&f, 50);
	cr_assert_eq(lease(100).granted, 1, "halves are not lost");
	cr_assert_eq(lease(-30).outcome, STORE_OK);
	cr_assert_eq(lease(100).granted, 30);
	cr_assert_eq(lease(-1000).outcome, STORE_OK);
	cr_assert_eq(lease(1000).granted, 100, "never over the brim");
	fixture_wait(&f, 365 * DAY_MS);
	cr_assert_eq(lease(1000).granted, 100);
}

Test(sqlite_limits, survive_a_restart)
{
	take(4);
	lease(0);
	fixture_reopen(&f);
	cr_assert_eq(take(2).outcome, STORE_LIMIT);
	cr_assert_eq(take(1).outcome, STORE_OK);
}

static void jump(int64_t ms)
{
	f.wall_ms += ms;
	sqlite_clock(&f.engine, f.now_ms, f.wall_ms);
}

Test(sqlite_limits, a_clock_that_goes_back_blocks_for_a_window_at_most)
{
	take(5);
	jump(-30 * DAY_MS);
	cr_assert_eq(take(1).outcome, STORE_LIMIT);
	cr_assert_leq(take(1).retry_ms, 1000);
	fixture_wait(&f, 1000);
	cr_assert_eq(take(1).outcome, STORE_OK);
}

Test(sqlite_limits, a_clock_that_goes_back_does_not_dry_a_bucket)
{
	lease(100);
	jump(-30 * DAY_MS);
	cr_assert_eq(lease(1).outcome, STORE_LIMIT);
	cr_assert_eq(lease(1).retry_ms, 100);
	fixture_wait(&f, 100);
	cr_assert_eq(lease(1).outcome, STORE_OK);
}

Test(sqlite_limits, a_smaller_limit_counts_at_once)
{
	lease(50);
	cr_assert_eq(ask(STORE_LIMIT_LEASE, 10, 10000, 10).outcome, STORE_LIMIT,
	             "of ten all are missing");
	cr_assert_eq(ask(STORE_LIMIT_LEASE, 10, 10000, 10).retry_ms, 1000);
}

Test(sqlite_limits, nonsense_is_refused)
{
	cr_assert_eq(ask(STORE_LIMIT_TAKE, 0, 1000, 1).outcome, STORE_FAILED);
	cr_assert_eq(ask(STORE_LIMIT_LEASE, 5, 0, 1).outcome, STORE_FAILED);
	cr_assert_eq(ask(STORE_LIMIT_LEASE, INT64_MAX, 1000, 1).outcome, STORE_FAILED);
	cr_assert_eq(ask(STORE_LIMIT_TAKE, 5, INT64_MAX, 1).outcome, STORE_FAILED);
	cr_assert_eq(ask(STORE_LIMIT_TAKE, 5, 1000, INT64_MIN).outcome, STORE_FAILED);
	cr_assert_eq(ask(STORE_USER_BY_NAME, 1, 1, 1).outcome, STORE_FAILED, "a read");
}

Test(sqlite_limits, full_buckets_and_old_windows_are_swept)
{
	take(1);
	tidy_all(&f);
	cr_assert_eq(number(&f, "SELECT count(*) FROM limits"), 0);
	ask(STORE_LIMIT_LEASE, 100, 3600000, 100);
	tidy_all(&f);
	cr_assert_eq(number(&f, "SELECT count(*) FROM limits"), 1, "still being refilled");
	fixture_wait(&f, 3600000);
	tidy_all(&f);
	cr_assert_eq(number(&f, "SELECT count(*) FROM limits"), 0);
}
