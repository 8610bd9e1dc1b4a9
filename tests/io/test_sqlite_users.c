/* SPDX-License-Identifier: MIT */
#include "sqlite_probe.h"

TestSuite(sqlite_users, .init = setup, .fini = teardown, .timeout = 90);

static struct cx_buf *bundle(const char *data)
{
	const struct store_bundle b = { (const uint8_t *)"master", (const uint8_t *)data,
		                        (const uint8_t *)"signed", 6,
		                        (uint32_t)strlen(data),    6 };

	return store_bundle_pack(&b);
}

static struct store_op user_op(enum store_what what, uint64_t user, const char *name)
{
	struct store_op op = { .what = what, .user = id_of(user), .ttl_ms = 60000 };

	snprintf(op.text, sizeof(op.text), "%s", name);
	snprintf(op.hash, sizeof(op.hash), "hash of %s", name);
	return op;
}

static enum store_outcome create(uint64_t user, const char *name, uint64_t jti)
{
	struct store_op op = user_op(STORE_USER_CREATE, user, name);
	struct cx_buf *const blob = bundle("data");
	enum store_outcome outcome;

	op.jti = id_of(jti);
	outcome = (enum store_outcome)store_op(op, blob)->outcome;
	cx_buf_unref(blob);
	return outcome;
}

Test(sqlite_users, a_user_is_made_found_changed_and_deleted)
{
	const struct uuid anna = id_of(1);
	struct cx_buf *blob = bundle("data");
	struct store_op op = user_op(STORE_USER_BY_NAME, 0, "anna");
	const struct event *e;

	cr_assert_eq(store_op(op, NULL)->outcome, STORE_NOT_FOUND);
	cr_assert_eq(create(1, "anna", 70), STORE_OK);
	cr_assert_eq(create(2, "anna", 71), STORE_TAKEN);
	cr_assert_eq(create(2, "Anna", 71), STORE_OK, "names are compared as stored");
	e = store_op(op, NULL);
	cr_assert_eq(e->outcome, STORE_OK);
	cr_assert(uuid_equal(&e->result.user, &anna));
	cr_assert_str_eq(e->result.hash, "hash of anna");
	op = user_op(STORE_USER_BY_ID, 1, "");
	e = store_op(op, NULL);
	cr_assert_str_eq(e->result.text, "anna");
	op.what = STORE_USER_EXISTS;
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	op.what = STORE_BUNDLE_GET;
	e = store_op(op, NULL);
	cr_assert_str_eq(e->result.text, "anna");
	cr_assert_eq(cx_buf_len(e->buf), cx_buf_len(blob));
	cr_assert_eq(memcmp(cx_buf_bytes(e->buf), cx_buf_bytes(blob), cx_buf_len(blob)), 0);
	cx_buf_unref(blob);
	blob = bundle("other data");
	op.what = STORE_BUNDLE_PUT;
	cr_assert_eq(store_op(op, blob)->outcome, STORE_OK);
	op.what = STORE_BUNDLE_GET;
	e = store_op(op, NULL);
	cr_assert_eq(memcmp(cx_buf_bytes(e->buf), cx_buf_bytes(blob), cx_buf_len(blob)), 0);
	op.what = STORE_USER_DELETE;
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_NOT_FOUND);
	op.what = STORE_BUNDLE_GET;
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_NOT_FOUND);
	op.what = STORE_BUNDLE_PUT;
	cr_assert_eq(store_op(op, blob)->outcome, STORE_NOT_FOUND);
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_FAILED, "without a bundle");
	op = user_op(STORE_SESSION_GET, 0, "");
	op.jti = id_of(70);
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_NOT_FOUND);
	cr_assert_eq(append_one(1, 2, 10)->outcome, LOG_NO_OWNER);
	cr_assert_eq(create(5, "anna", 72), STORE_OK, "the name is free again");
	cx_buf_unref(blob);
}

Test(sqlite_users, sessions_end_one_by_one_by_time_and_with_the_password)
{
	struct store_op op = { .user = id_of(1), .ttl_ms = 60000 };
	const struct event *e;
	uint64_t jti;

	cr_assert_eq(create(1, "anna", 70), STORE_OK);
	for (jti = 71; jti < 75; jti++) {
		op.what = STORE_SESSION_PUT;
		op.jti = id_of(jti);
		op.ttl_ms = jti == 74 ? 1 : 60000;
		cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	}
	usleep(20000);
	op.what = STORE_SESSION_GET;
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_NOT_FOUND, "over");
	op.jti = id_of(70);
	e = store_op(op, NULL);
	cr_assert_eq(e->outcome, STORE_OK);
	cr_assert_str_eq(e->result.text, "anna");
	op.what = STORE_SESSION_DELETE;
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_NOT_FOUND);
	op.what = STORE_PASSWORD_SET;
	op.jti = id_of(0);
	memset(&op.jti, 0, sizeof(op.jti));
	snprintf(op.hash, sizeof(op.hash), "rehash");
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	op.what = STORE_SESSION_GET;
	op.jti = id_of(71);
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK, "a rehash ends no session");
	op.what = STORE_PASSWORD_SET;
	op.jti = id_of(72);
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	op.what = STORE_SESSION_GET;
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	op.jti = id_of(71);
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_NOT_FOUND);
	op.what = STORE_PASSWORD_SET;
	op.user = id_of(9);
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_NOT_FOUND);
	op.what = STORE_SESSION_PUT;
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_NOT_FOUND, "of nobody");
}

/* What a password allowed that was checked against `was`. */
static enum store_outcome write_if(enum store_what what, const char *was, const char *hash,
                                   uint64_t jti)
{
	struct store_op op = { .what = what, .user = id_of(1), .ttl_ms = 60000 };

	if (jti != 0)
		op.jti = id_of(jti);
	snprintf(op.hash, sizeof(op.hash), "%s", hash);
	snprintf(op.was_hash, sizeof(op.was_hash), "%s", was);
	return (enum store_outcome)store_op(op, NULL)->outcome;
}

static enum store_outcome session(uint64_t jti)
{
	struct store_op op = { .what = STORE_SESSION_GET, .jti = id_of(jti) };

	return (enum store_outcome)store_op(op, NULL)->outcome;
}

static void expect_hash(const char *hash)
{
	struct store_op op = user_op(STORE_USER_BY_ID, 1, "");

	cr_assert_str_eq(store_op(op, NULL)->result.hash, hash);
}

Test(sqlite_users, a_rehash_of_a_password_that_was_changed_meanwhile_is_not_written)
{
	cr_assert_eq(create(1, "anna", 70), STORE_OK);
	cr_assert_eq(write_if(STORE_PASSWORD_SET, "hash of anna", "changed", 70), STORE_OK);
	cr_assert_eq(write_if(STORE_PASSWORD_SET, "hash of anna", "rehash", 0), STORE_CHANGED);
	expect_hash("changed");
	cr_assert_eq(write_if(STORE_PASSWORD_SET, "changed", "rehash", 0), STORE_OK);
	expect_hash("rehash");
	cr_assert_eq(session(70), STORE_OK);
}

Test(sqlite_users, a_changed_password_does_not_end_sessions_twice)
{
	cr_assert_eq(create(1, "anna", 70), STORE_OK);
	cr_assert_eq(write_if(STORE_PASSWORD_SET, "hash of anna", "changed", 70), STORE_OK);
	cr_assert_eq(write_if(STORE_PASSWORD_SET, "hash of anna", "again", 71), STORE_CHANGED);
	cr_assert_eq(session(70), STORE_OK);
	expect_hash("changed");
}

Test(sqlite_users, a_session_by_the_old_password_is_not_made)
{
	cr_assert_eq(create(1, "anna", 70), STORE_OK);
	cr_assert_eq(write_if(STORE_SESSION_PUT, "hash of anna", "", 71), STORE_OK);
	cr_assert_eq(write_if(STORE_PASSWORD_SET, "hash of anna", "changed", 70), STORE_OK);
	cr_assert_eq(write_if(STORE_SESSION_PUT, "hash of anna", "", 72), STORE_CHANGED);
	cr_assert_eq(session(71), STORE_NOT_FOUND);
	cr_assert_eq(session(72), STORE_NOT_FOUND);
	cr_assert_eq(write_if(STORE_SESSION_PUT, "changed", "", 73), STORE_OK);
}

Test(sqlite_users, a_user_is_not_deleted_by_the_old_password)
{
	cr_assert_eq(create(1, "anna", 70), STORE_OK);
	cr_assert_eq(write_if(STORE_PASSWORD_SET, "hash of anna", "changed", 70), STORE_OK);
	cr_assert_eq(write_if(STORE_USER_DELETE, "hash of anna", "", 0), STORE_CHANGED);
	cr_assert_eq(session(70), STORE_OK);
	cr_assert_eq(write_if(STORE_USER_DELETE, "changed", "", 0), STORE_OK);
	cr_assert_eq(session(70), STORE_NOT_FOUND);
	cr_assert_eq(write_if(STORE_SESSION_PUT, "changed", "", 74), STORE_CHANGED,
	             "of nobody");
}

Test(sqlite_users, a_session_tells_how_long_it_lives_yet)
{
	struct store_op op = { .what = STORE_SESSION_GET, .jti = id_of(70) };
	const struct event *e;

	cr_assert_eq(create(1, "anna", 70), STORE_OK);
	e = store_op(op, NULL);
	cr_assert(e->result.ttl_ms > 30000 && e->result.ttl_ms <= 60000);
	cr_assert_str_eq(e->result.text, "anna");
}

Test(sqlite_users, blocks_last_until_their_time)
{
	struct store_op op = { .what = STORE_BLOCK_GET, .key = "somebody" };
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	cr_assert_eq(store_op(op, NULL)->result.until_wall_ms, 0);
	op.what = STORE_BLOCK_SET;
	op.until_wall_ms = (int64_t)t.tv_sec * 1000 + 60000;
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	op.what = STORE_BLOCK_GET;
	cr_assert_eq(store_op(op, NULL)->result.until_wall_ms, op.until_wall_ms);
	op.what = STORE_BLOCK_SET;
	op.until_wall_ms = (int64_t)t.tv_sec * 1000 - 60000;
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	op.what = STORE_BLOCK_GET;
	cr_assert_eq(store_op(op, NULL)->result.until_wall_ms, 0);
}

/* ---- devices ---- */

static enum store_outcome device(enum store_what what, uint64_t user, uint8_t number,
                                 const char *filter)
{
	uint8_t hash[STORE_DEVICE_HASH_LEN] = { number };
	const struct store_device d = { .hash = hash,
		                        .token = (const uint8_t *)"sealed",
		                        .token_len = what == STORE_DEVICE_PUT ? 6 : 0 };
	struct store_op op = { .what = what, .user = id_of(user), .n = 1 };
	struct cx_buf *const blob = store_device_pack(&d);
	enum store_outcome outcome;

	snprintf(op.text, sizeof(op.text), "%s", filter);
	outcome = (enum store_outcome)store_op(op, blob)->outcome;
	cx_buf_unref(blob);
	return outcome;
}

Test(sqlite_users, a_device_is_put_changed_and_taken_away)
{
	cr_assert_eq(device(STORE_DEVICE_PUT, 1, 1, "silent"), STORE_NOT_FOUND, "no such user");
	cr_assert_eq(create(1, "anna", 70), STORE_OK);
	cr_assert_eq(create(2, "bert", 71), STORE_OK);
	cr_assert_eq(device(STORE_DEVICE_UPDATE, 1, 1, "silent"), STORE_NOT_FOUND);
	cr_assert_eq(device(STORE_DEVICE_PUT, 1, 1, "silent"), STORE_OK);
	cr_assert_eq(device(STORE_DEVICE_PUT, 1, 1, "visible_dm"), STORE_OK, "again");
	cr_assert_eq(device(STORE_DEVICE_UPDATE, 1, 1, "silent"), STORE_OK);
	cr_assert_eq(device(STORE_DEVICE_DELETE, 2, 1, ""), STORE_NOT_FOUND, "not his");
	cr_assert_eq(device(STORE_DEVICE_DELETE, 1, 1, ""), STORE_OK);
	cr_assert_eq(device(STORE_DEVICE_DELETE, 1, 1, ""), STORE_NOT_FOUND);
}

Test(sqlite_users, devices_over_the_limit_push_out_old_ones_never_the_new)
{
	unsigned there = 0;

	cr_assert_eq(create(1, "anna", 70), STORE_OK);
	for (uint8_t i = 1; i <= STORE_DEVICES_MAX + 9; i++) {
		cr_assert_eq(device(STORE_DEVICE_PUT, 1, i, "silent"), STORE_OK);
		cr_assert_eq(device(STORE_DEVICE_UPDATE, 1, i, "silent"), STORE_OK);
	}
	for (uint8_t i = 1; i <= STORE_DEVICES_MAX + 9; i++)
		there += device(STORE_DEVICE_UPDATE, 1, i, "silent") == STORE_OK;
	cr_assert_eq(there, STORE_DEVICES_MAX);
}
