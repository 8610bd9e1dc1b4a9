/* SPDX-License-Identifier: MIT */
/* What every store owes (io/store.h), as cases that run on each of them.  A test file names how its store
 * is asked, then makes a test of each line of STORE_CASES:
 *
 *   #define X(name) Test(my_suite, name) { store_case_##name(); }
 *   STORE_CASES(X)
 *
 * Clocks are real, so a case waits only where time is what it is about. */
#ifndef TESTS_IO_STORE_CASES_H
#define TESTS_IO_STORE_CASES_H

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "io/store.h"

#define STORE_CASES(X)                                                      \
	X(a_user_is_made_found_changed_and_deleted)                         \
	X(a_name_that_is_taken_leaves_nothing_of_the_second)                \
	X(sessions_end_one_by_one_by_time_and_with_the_password)            \
	X(sessions_end_with_their_user)                                     \
	X(a_rehash_of_a_password_that_was_changed_meanwhile_is_not_written) \
	X(a_changed_password_does_not_end_sessions_twice)                   \
	X(a_session_by_the_old_password_is_not_made)                        \
	X(a_user_is_not_deleted_by_the_old_password)                        \
	X(a_session_tells_how_long_it_lives_yet)                            \
	X(blocks_last_until_their_time)                                     \
	X(a_device_is_put_changed_and_taken_away)                           \
	X(devices_over_the_limit_push_out_old_ones_never_the_new)           \
	X(a_window_lets_so_many_pass)                                       \
	X(a_window_ends)                                                    \
	X(a_bucket_gives_what_is_there_and_takes_back_up_to_its_brim)       \
	X(a_bucket_fills_with_time)                                         \
	X(a_smaller_limit_counts_at_once)                                   \
	X(nonsense_is_refused)                                              \
	X(the_health_question_is_answered)

/* How the store under test is asked; the result's buffer is borrowed until the test ends. */
static struct store_result store_do(struct store_op op, struct cx_buf *blob);

static inline struct uuid store_id(uint64_t n)
{
	struct uuid id = { { 0 } };

	memcpy(id.b, &n, sizeof(n));
	id.b[15] = 1;
	return id;
}

/* ---- users ---- */

static inline struct cx_buf *case_bundle(const char *data)
{
	const struct store_bundle b = { (const uint8_t *)"master", (const uint8_t *)data,
		                        (const uint8_t *)"signed", 6,
		                        (uint32_t)strlen(data),    6 };

	return store_bundle_pack(&b);
}

static inline struct store_op case_user_op(enum store_what what, uint64_t user,
                                           const char *name)
{
	struct store_op op = { .what = what, .user = store_id(user), .ttl_ms = 60000 };

	snprintf(op.text, sizeof(op.text), "%s", name);
	snprintf(op.hash, sizeof(op.hash), "hash of %s", name);
	return op;
}

static inline enum store_outcome case_create(uint64_t user, const char *name, uint64_t jti)
{
	struct store_op op = case_user_op(STORE_USER_CREATE, user, name);
	struct cx_buf *const blob = case_bundle(name);
	enum store_outcome outcome;

	op.jti = store_id(jti);
	outcome = store_do(op, blob).outcome;
	cx_buf_unref(blob);
	return outcome;
}

static inline struct store_result case_session(enum store_what what, uint64_t user,
                                               uint64_t jti, int64_t ttl_ms)
{
	const struct store_op op = {
		.what = what, .user = store_id(user), .jti = store_id(jti), .ttl_ms = ttl_ms
	};

	return store_do(op, NULL);
}

static inline bool case_has_bundle(uint64_t user, const char *data)
{
	const struct store_op op = { .what = STORE_BUNDLE_GET, .user = store_id(user) };
	struct cx_buf *const want = case_bundle(data);
	const struct store_result r = store_do(op, NULL);
	const bool is_it =
		r.outcome == STORE_OK && r.hdr.buf != NULL &&
		cx_buf_len(r.hdr.buf) == cx_buf_len(want) &&
		memcmp(cx_buf_bytes(r.hdr.buf), cx_buf_bytes(want), cx_buf_len(want)) == 0;

	cx_buf_unref(want);
	return is_it;
}

static inline void case_put_bundle(uint64_t user, const char *data)
{
	const struct store_op op = { .what = STORE_BUNDLE_PUT, .user = store_id(user) };
	struct cx_buf *const blob = case_bundle(data);

	cr_assert_eq(store_do(op, blob).outcome, STORE_OK);
	cx_buf_unref(blob);
}

static inline void store_case_a_user_is_made_found_changed_and_deleted(void)
{
	const struct uuid anna = store_id(1);
	struct cx_buf *const blob = case_bundle("x");
	struct store_op op = case_user_op(STORE_USER_BY_NAME, 0, "anna");
	struct store_result r;

	cr_assert_eq(store_do(op, NULL).outcome, STORE_NOT_FOUND);
	cr_assert_eq(case_create(1, "anna", 70), STORE_OK);
	r = store_do(op, NULL);
	cr_assert_eq(r.outcome, STORE_OK);
	cr_assert(uuid_equal(&r.user, &anna));
	cr_assert_str_eq(r.hash, "hash of anna");
	op = case_user_op(STORE_USER_BY_ID, 1, "");
	r = store_do(op, NULL);
	cr_assert_str_eq(r.text, "anna");
	cr_assert_str_eq(r.hash, "hash of anna");
	op.what = STORE_USER_EXISTS;
	cr_assert_eq(store_do(op, NULL).outcome, STORE_OK);
	op.what = STORE_BUNDLE_GET;
	cr_assert_str_eq(store_do(op, NULL).text, "anna");
	cr_assert(case_has_bundle(1, "anna"));
	cr_assert(case_has_bundle(1, "anna"), "the second time too");
	case_put_bundle(1, "other data");
	cr_assert(case_has_bundle(1, "other data"));
	op.what = STORE_BUNDLE_PUT;
	cr_assert_eq(store_do(op, NULL).outcome, STORE_FAILED, "without a bundle");
	op.what = STORE_USER_DELETE;
	cr_assert_eq(store_do(op, NULL).outcome, STORE_OK);
	cr_assert_eq(store_do(op, NULL).outcome, STORE_NOT_FOUND);
	op.what = STORE_USER_EXISTS;
	cr_assert_eq(store_do(op, NULL).outcome, STORE_NOT_FOUND);
	op.what = STORE_BUNDLE_GET;
	cr_assert_eq(store_do(op, NULL).outcome, STORE_NOT_FOUND);
	op.what = STORE_BUNDLE_PUT;
	cr_assert_eq(store_do(op, blob).outcome, STORE_NOT_FOUND);
	cr_assert_eq(case_create(5, "anna", 72), STORE_OK, "the name is free again");
	cx_buf_unref(blob);
}

static inline void store_case_a_name_that_is_taken_leaves_nothing_of_the_second(void)
{
	const struct store_op op = case_user_op(STORE_USER_EXISTS, 2, "");

	cr_assert_eq(case_create(1, "anna", 70), STORE_OK);
	cr_assert_eq(case_create(2, "anna", 71), STORE_TAKEN);
	cr_assert_eq(store_do(op, NULL).outcome, STORE_NOT_FOUND);
	cr_assert_eq(case_session(STORE_SESSION_GET, 0, 71, 0).outcome, STORE_NOT_FOUND);
	cr_assert_eq(case_create(2, "Anna", 71), STORE_OK, "names are compared as stored");
	cr_assert(case_has_bundle(1, "anna"));
	cr_assert(case_has_bundle(2, "Anna"));
}

/* ---- sessions ---- */

static inline void store_case_sessions_end_one_by_one_by_time_and_with_the_password(void)
{
	const struct uuid anna = store_id(1);
	struct store_op op = case_user_op(STORE_PASSWORD_SET, 1, "anna");
	struct store_result r;

	cr_assert_eq(case_create(1, "anna", 70), STORE_OK);
	for (uint64_t jti = 71; jti < 75; jti++)
		cr_assert_eq(
			case_session(STORE_SESSION_PUT, 1, jti, jti == 74 ? 1 : 60000).outcome,
			STORE_OK);
	usleep(20000);
	cr_assert_eq(case_session(STORE_SESSION_GET, 0, 74, 0).outcome, STORE_NOT_FOUND,
	             "over");
	r = case_session(STORE_SESSION_GET, 0, 70, 0);
	cr_assert_eq(r.outcome, STORE_OK);
	cr_assert_str_eq(r.text, "anna");
	cr_assert(uuid_equal(&r.user, &anna));
	cr_assert_eq(case_session(STORE_SESSION_DELETE, 0, 70, 0).outcome, STORE_OK);
	cr_assert_eq(case_session(STORE_SESSION_DELETE, 0, 70, 0).outcome, STORE_NOT_FOUND);
	cr_assert_eq(case_session(STORE_SESSION_GET, 0, 70, 0).outcome, STORE_NOT_FOUND);
	snprintf(op.hash, sizeof(op.hash), "rehash");
	cr_assert_eq(store_do(op, NULL).outcome, STORE_OK);
	cr_assert_eq(case_session(STORE_SESSION_GET, 0, 71, 0).outcome, STORE_OK,
	             "a rehash ends no session");
	op.jti = store_id(72);
	cr_assert_eq(store_do(op, NULL).outcome, STORE_OK);
	cr_assert_eq(case_session(STORE_SESSION_GET, 0, 72, 0).outcome, STORE_OK, "kept");
	cr_assert_eq(case_session(STORE_SESSION_GET, 0, 71, 0).outcome, STORE_NOT_FOUND);
	cr_assert_eq(case_session(STORE_SESSION_GET, 0, 73, 0).outcome, STORE_NOT_FOUND);
	op.user = store_id(9);
	cr_assert_eq(store_do(op, NULL).outcome, STORE_NOT_FOUND);
	cr_assert_eq(case_session(STORE_SESSION_PUT, 9, 80, 60000).outcome, STORE_NOT_FOUND,
	             "of nobody");
	op = case_user_op(STORE_USER_BY_ID, 1, "");
	cr_assert_str_eq(store_do(op, NULL).hash, "rehash");
}

static inline void store_case_sessions_end_with_their_user(void)
{
	const struct store_op op = case_user_op(STORE_USER_DELETE, 1, "");

	cr_assert_eq(case_create(1, "anna", 70), STORE_OK);
	cr_assert_eq(case_create(2, "bert", 71), STORE_OK);
	cr_assert_eq(case_session(STORE_SESSION_PUT, 1, 72, 60000).outcome, STORE_OK);
	cr_assert_eq(store_do(op, NULL).outcome, STORE_OK);
	cr_assert_eq(case_create(1, "anna", 73), STORE_OK, "the same id once more");
	cr_assert_eq(case_session(STORE_SESSION_GET, 0, 70, 0).outcome, STORE_NOT_FOUND);
	cr_assert_eq(case_session(STORE_SESSION_GET, 0, 72, 0).outcome, STORE_NOT_FOUND);
	cr_assert_eq(case_session(STORE_SESSION_GET, 0, 71, 0).outcome, STORE_OK, "not his");
}

/* ---- blocks ---- */

static inline int64_t case_wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* What a password allowed that was checked against `was`. */
static inline enum store_outcome case_write_if(enum store_what what, const char *was,
                                               const char *hash, uint64_t jti)
{
	struct store_op op = { .what = what, .user = store_id(1), .ttl_ms = 60000 };

	if (jti != 0)
		op.jti = store_id(jti);
	snprintf(op.hash, sizeof(op.hash), "%s", hash);
	snprintf(op.was_hash, sizeof(op.was_hash), "%s", was);
	return store_do(op, NULL).outcome;
}

static inline enum store_outcome case_lives(uint64_t jti)
{
	const struct store_op op = { .what = STORE_SESSION_GET, .jti = store_id(jti) };

	return store_do(op, NULL).outcome;
}

static inline void case_expect_hash(const char *hash)
{
	const struct store_result r = store_do(case_user_op(STORE_USER_BY_ID, 1, ""), NULL);

	cr_assert_str_eq(r.hash, hash);
}

static inline void store_case_a_rehash_of_a_password_that_was_changed_meanwhile_is_not_written(
	void)
{
	cr_assert_eq(case_create(1, "anna", 70), STORE_OK);
	cr_assert_eq(case_write_if(STORE_PASSWORD_SET, "hash of anna", "changed", 70),
	             STORE_OK);
	cr_assert_eq(case_write_if(STORE_PASSWORD_SET, "hash of anna", "rehash", 0),
	             STORE_CHANGED);
	case_expect_hash("changed");
	cr_assert_eq(case_write_if(STORE_PASSWORD_SET, "changed", "rehash", 0), STORE_OK);
	case_expect_hash("rehash");
	cr_assert_eq(case_lives(70), STORE_OK);
}

static inline void store_case_a_changed_password_does_not_end_sessions_twice(void)
{
	cr_assert_eq(case_create(1, "anna", 70), STORE_OK);
	cr_assert_eq(case_write_if(STORE_PASSWORD_SET, "hash of anna", "changed", 70),
	             STORE_OK);
	cr_assert_eq(case_write_if(STORE_PASSWORD_SET, "hash of anna", "again", 71),
	             STORE_CHANGED);
	cr_assert_eq(case_lives(70), STORE_OK);
	case_expect_hash("changed");
}

static inline void store_case_a_session_by_the_old_password_is_not_made(void)
{
	cr_assert_eq(case_create(1, "anna", 70), STORE_OK);
	cr_assert_eq(case_write_if(STORE_SESSION_PUT, "hash of anna", "", 71), STORE_OK);
	cr_assert_eq(case_write_if(STORE_PASSWORD_SET, "hash of anna", "changed", 70),
	             STORE_OK);
	cr_assert_eq(case_write_if(STORE_SESSION_PUT, "hash of anna", "", 72), STORE_CHANGED);
	cr_assert_eq(case_lives(71), STORE_NOT_FOUND);
	cr_assert_eq(case_lives(72), STORE_NOT_FOUND);
	cr_assert_eq(case_write_if(STORE_SESSION_PUT, "changed", "", 73), STORE_OK);
	cr_assert_eq(case_lives(73), STORE_OK);
}

static inline void store_case_a_user_is_not_deleted_by_the_old_password(void)
{
	cr_assert_eq(case_create(1, "anna", 70), STORE_OK);
	cr_assert_eq(case_write_if(STORE_PASSWORD_SET, "hash of anna", "changed", 70),
	             STORE_OK);
	cr_assert_eq(case_write_if(STORE_USER_DELETE, "hash of anna", "", 0), STORE_CHANGED);
	cr_assert_eq(case_lives(70), STORE_OK);
	cr_assert_eq(case_write_if(STORE_USER_DELETE, "changed", "", 0), STORE_OK);
	cr_assert_eq(case_lives(70), STORE_NOT_FOUND);
	cr_assert_eq(case_write_if(STORE_SESSION_PUT, "changed", "", 74), STORE_CHANGED,
	             "of nobody");
}

static inline void store_case_a_session_tells_how_long_it_lives_yet(void)
{
	const struct store_op op = { .what = STORE_SESSION_GET, .jti = store_id(70) };
	struct store_result r;

	cr_assert_eq(case_create(1, "anna", 70), STORE_OK);
	r = store_do(op, NULL);
	cr_assert(r.ttl_ms > 30000 && r.ttl_ms <= 60000, "%lld", (long long)r.ttl_ms);
	cr_assert_str_eq(r.text, "anna");
}

static inline void store_case_blocks_last_until_their_time(void)
{
	struct store_op get = { .what = STORE_BLOCK_GET, .key = "somebody" };
	struct store_op set = { .what = STORE_BLOCK_SET, .key = "somebody" };

	cr_assert_eq(store_do(get, NULL).outcome, STORE_OK);
	cr_assert_eq(store_do(get, NULL).until_wall_ms, 0);
	set.until_wall_ms = case_wall_ms() + 60000;
	cr_assert_eq(store_do(set, NULL).outcome, STORE_OK);
	cr_assert_eq(store_do(get, NULL).until_wall_ms, set.until_wall_ms);
	set.until_wall_ms = case_wall_ms() - 60000;
	cr_assert_eq(store_do(set, NULL).outcome, STORE_OK);
	cr_assert_eq(store_do(get, NULL).until_wall_ms, 0, "one that is over takes it away");
	set.until_wall_ms = case_wall_ms() + 150;
	cr_assert_eq(store_do(set, NULL).outcome, STORE_OK);
	usleep(200000);
	cr_assert_eq(store_do(get, NULL).until_wall_ms, 0);
}

/* ---- devices ---- */

static inline enum store_outcome case_device(enum store_what what, uint64_t user,
                                             uint8_t number, const char *filter)
{
	uint8_t hash[STORE_DEVICE_HASH_LEN] = { number };
	const struct store_device d = { .hash = hash,
		                        .token = (const uint8_t *)"sealed",
		                        .token_len = what == STORE_DEVICE_PUT ? 6 : 0 };
	struct store_op op = { .what = what, .user = store_id(user), .n = 1 };
	struct cx_buf *const blob = store_device_pack(&d);
	enum store_outcome outcome;

	snprintf(op.text, sizeof(op.text), "%s", filter);
	outcome = store_do(op, blob).outcome;
	cx_buf_unref(blob);
	return outcome;
}

static inline void store_case_a_device_is_put_changed_and_taken_away(void)
{
	const struct store_op without = { .what = STORE_DEVICE_PUT, .user = store_id(1) };

	cr_assert_eq(case_device(STORE_DEVICE_PUT, 1, 1, "silent"), STORE_NOT_FOUND,
	             "nobody's");
	cr_assert_eq(case_create(1, "anna", 70), STORE_OK);
	cr_assert_eq(case_create(2, "bert", 71), STORE_OK);
	cr_assert_eq(store_do(without, NULL).outcome, STORE_FAILED, "without a device");
	cr_assert_eq(case_device(STORE_DEVICE_UPDATE, 1, 1, "silent"), STORE_NOT_FOUND);
	cr_assert_eq(case_device(STORE_DEVICE_PUT, 1, 1, "silent"), STORE_OK);
	cr_assert_eq(case_device(STORE_DEVICE_PUT, 1, 1, "visible_dm"), STORE_OK, "again");
	cr_assert_eq(case_device(STORE_DEVICE_UPDATE, 1, 1, "silent"), STORE_OK);
	cr_assert_eq(case_device(STORE_DEVICE_DELETE, 2, 1, ""), STORE_NOT_FOUND, "not his");
	cr_assert_eq(case_device(STORE_DEVICE_DELETE, 1, 1, ""), STORE_OK);
	cr_assert_eq(case_device(STORE_DEVICE_DELETE, 1, 1, ""), STORE_NOT_FOUND);
}

static inline void store_case_devices_over_the_limit_push_out_old_ones_never_the_new(void)
{
	unsigned there = 0;

	cr_assert_eq(case_create(1, "anna", 70), STORE_OK);
	for (uint8_t i = 1; i <= STORE_DEVICES_MAX + 9; i++) {
		cr_assert_eq(case_device(STORE_DEVICE_PUT, 1, i, "silent"), STORE_OK);
		cr_assert_eq(case_device(STORE_DEVICE_UPDATE, 1, i, "silent"), STORE_OK);
	}
	for (uint8_t i = 1; i <= STORE_DEVICES_MAX + 9; i++)
		there += case_device(STORE_DEVICE_UPDATE, 1, i, "silent") == STORE_OK;
	cr_assert_eq(there, STORE_DEVICES_MAX);
}

/* ---- limits ---- */

static inline struct store_result case_limit(enum store_what what, int64_t max,
                                             int64_t window_ms, int64_t n)
{
	const struct store_op op = { .what = what,
		                     .key = "a key of 16 byte",
		                     .max = max,
		                     .window_ms = window_ms,
		                     .n = n };

	return store_do(op, NULL);
}

static inline struct store_result case_take(int64_t n)
{
	return case_limit(STORE_LIMIT_TAKE, 5, 600000, n);
}

/* A token each 10 s. */
static inline struct store_result case_lease(int64_t n)
{
	return case_limit(STORE_LIMIT_LEASE, 100, 1000000, n);
}

static inline void store_case_a_window_lets_so_many_pass(void)
{
	struct store_result r;

	for (int i = 0; i < 5; i++) {
		r = case_take(1);
		cr_assert_eq(r.outcome, STORE_OK, "%d", i);
		cr_assert_eq(r.granted, 1);
	}
	r = case_take(1);
	cr_assert_eq(r.outcome, STORE_LIMIT);
	cr_assert(r.retry_ms > 540000 && r.retry_ms <= 600000, "%lld", (long long)r.retry_ms);
	cr_assert_eq(case_take(0).outcome, STORE_LIMIT, "a question");
	cr_assert_eq(case_take(-2).outcome, STORE_OK);
	cr_assert_eq(case_take(0).outcome, STORE_OK);
	cr_assert_eq(case_take(3).outcome, STORE_LIMIT, "all or nothing");
	cr_assert_eq(case_take(2).outcome, STORE_OK);
	cr_assert_eq(case_limit(STORE_LIMIT_RESET, 0, 0, 0).outcome, STORE_OK);
	cr_assert_eq(case_take(-3).outcome, STORE_OK);
	cr_assert_eq(case_take(6).outcome, STORE_LIMIT, "what was given back is not saved up");
	cr_assert_eq(case_take(5).outcome, STORE_OK);
}

static inline void store_case_a_window_ends(void)
{
	int64_t retry_ms;

	cr_assert_eq(case_limit(STORE_LIMIT_TAKE, 1, 60000, 1).outcome, STORE_OK);
	retry_ms = case_limit(STORE_LIMIT_TAKE, 1, 600000, 1).retry_ms;
	cr_assert_gt(retry_ms, 540000, "the window of the question counts");
	usleep(310000);
	cr_assert_eq(case_limit(STORE_LIMIT_TAKE, 1, 300, 1).outcome, STORE_OK);
}

static inline void store_case_a_bucket_gives_what_is_there_and_takes_back_up_to_its_brim(void)
{
	struct store_result r = case_lease(60);

	cr_assert_eq(r.outcome, STORE_OK);
	cr_assert_eq(r.granted, 60);
	cr_assert_eq(case_lease(60).granted, 40, "what is there");
	r = case_lease(60);
	cr_assert_eq(r.outcome, STORE_LIMIT);
	cr_assert(r.retry_ms > 0 && r.retry_ms <= 10000, "%lld", (long long)r.retry_ms);
	cr_assert_eq(case_lease(-30).outcome, STORE_OK);
	cr_assert_eq(case_lease(100).granted, 30);
	cr_assert_eq(case_lease(-1000).outcome, STORE_OK);
	cr_assert_eq(case_lease(1000).granted, 100, "never over the brim");
	cr_assert_eq(case_limit(STORE_LIMIT_RESET, 0, 0, 0).outcome, STORE_OK);
	cr_assert_eq(case_lease(1000).granted, 100);
}

static inline int64_t case_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline int64_t case_lease_of_ten(void)
{
	const struct store_result r = case_limit(STORE_LIMIT_LEASE, 10, 20000, 10);

	cr_assert(r.granted > 0 || r.outcome == STORE_LIMIT);
	return r.granted;
}

/* A token each 2 s; on a machine that stands still for a while, as many as that time brings. */
static inline void store_case_a_bucket_fills_with_time(void)
{
	const int64_t began_ms = case_now_ms();
	int64_t granted = case_lease_of_ten(), most;

	cr_assert_eq(granted, 10);
	granted += case_lease_of_ten();
	usleep(2010000);
	granted += case_lease_of_ten();
	granted += case_lease_of_ten();
	most = 10 + (case_now_ms() - began_ms) / 2000;
	cr_assert(granted >= 11 && granted <= most, "%lld of %lld", (long long)granted,
	          (long long)most);
}

static inline void store_case_a_smaller_limit_counts_at_once(void)
{
	struct store_result r;

	case_lease(50);
	r = case_limit(STORE_LIMIT_LEASE, 10, 1000000, 10);
	cr_assert_eq(r.outcome, STORE_LIMIT, "of ten all are missing");
	cr_assert(r.retry_ms > 40000 && r.retry_ms <= 100000, "%lld", (long long)r.retry_ms);
}

static inline void store_case_nonsense_is_refused(void)
{
	cr_assert_eq(case_limit(STORE_LIMIT_TAKE, 0, 1000, 1).outcome, STORE_FAILED);
	cr_assert_eq(case_limit(STORE_LIMIT_LEASE, 5, 0, 1).outcome, STORE_FAILED);
	cr_assert_eq(case_limit(STORE_LIMIT_LEASE, INT64_MAX, 1000, 1).outcome, STORE_FAILED);
	cr_assert_eq(case_limit(STORE_LIMIT_TAKE, 5, INT64_MAX, 1).outcome, STORE_FAILED);
	cr_assert_eq(case_limit(STORE_LIMIT_TAKE, 5, 1000, INT64_MIN).outcome, STORE_FAILED);
	cr_assert_eq(case_limit(STORE_WHAT_COUNT, 1, 1, 1).outcome, STORE_FAILED);
}

static inline void store_case_the_health_question_is_answered(void)
{
	const struct store_op op = { .what = STORE_PING };

	cr_assert_eq(store_do(op, NULL).outcome, STORE_OK);
}

#endif
