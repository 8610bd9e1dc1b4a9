/* SPDX-License-Identifier: MIT */
/* The store while one of its backends is gone: it says so, and never "not found". */
#include <signal.h>

#include "store_cases.h"
#include "support/stack_bench.h"

static struct stack_bench bench;

#define TIMEOUT_MS 400

/* The store has a short deadline from make_anna on. */
static void setup(void)
{
	stack_bench_prepare(&bench, true);
	bench.redis_conf.dead_ms = 1000;
	bench.redis_conf.connect_ms = 1000;
	bench.pg_conf.dead_ms = 2000;
	bench.pg_conf.connect_ms = 2000;
	stack_bench_start(&bench);
}

static void teardown(void)
{
	stack_bench_end(&bench);
}

TestSuite(stack_store_faults, .init = setup, .fini = teardown, .timeout = 120);

static struct store_result store_do(struct store_op op, struct cx_buf *blob)
{
	return stack_bench_store(&bench, op, blob);
}

/* A busy machine may need longer than the short deadline: what must work is asked again. */
static void until_ok(struct store_op op, struct cx_buf *blob)
{
	for (int i = 0; i < 100; i++) {
		if (store_do(op, blob).outcome == STORE_OK)
			return;
		usleep(50000);
	}
	cr_assert_fail("operation %d does not work any more", (int)op.what);
}

/* The same for what must be answered, whatever the answer. */
static struct store_result answered(struct store_op op)
{
	struct store_result r = store_do(op, NULL);

	for (int i = 0; i < 100 && r.outcome == STORE_FAILED; i++) {
		usleep(50000);
		r = store_do(op, NULL);
	}
	return r;
}

static bool has_annas_bundle(void)
{
	for (int i = 0; i < 100; i++) {
		if (case_has_bundle(1, "anna"))
			return true;
		usleep(50000);
	}
	return false;
}

/* An operation that both backends, or only one of them, are needed for. */
static struct store_op any_op(enum store_what what, struct cx_buf **blob)
{
	static const uint8_t hash[STORE_DEVICE_HASH_LEN] = { 7 };
	const struct store_device d = { .hash = hash,
		                        .token = (const uint8_t *)"sealed",
		                        .token_len = 6 };
	struct store_op op = case_user_op(what, what == STORE_USER_CREATE ? 2 : 1, "anna");

	op.jti = store_id(0x70);
	op.max = op.n = 5;
	op.window_ms = 60000;
	op.until_wall_ms = case_wall_ms() + 60000;
	*blob = NULL;
	if (what == STORE_USER_CREATE) {
		snprintf(op.text, sizeof(op.text), "bert");
		op.jti = store_id(0x75);
	}
	if (what == STORE_USER_CREATE || what == STORE_BUNDLE_PUT)
		*blob = case_bundle("data");
	if (what == STORE_DEVICE_PUT || what == STORE_DEVICE_UPDATE ||
	    what == STORE_DEVICE_DELETE)
		*blob = store_device_pack(&d);
	return op;
}

static enum store_outcome ask_any(enum store_what what)
{
	struct cx_buf *blob;
	const struct store_op op = any_op(what, &blob);
	const enum store_outcome outcome = store_do(op, blob).outcome;

	cx_buf_unref(blob);
	return outcome;
}

static void make_anna(void)
{
	struct cx_buf *blob;
	struct store_op op = any_op(STORE_PING, &blob);

	until_ok(op, blob);
	cr_assert_eq(case_create(1, "anna", 0x70), STORE_OK);
	op = any_op(STORE_DEVICE_PUT, &blob);
	until_ok(op, blob);
	cx_buf_unref(blob);
	stack_bench_stop(&bench);
	bench.store_conf.timeout_ms = TIMEOUT_MS;
	stack_bench_start(&bench);
	until_ok(any_op(STORE_PING, &blob), NULL);
}

/* Of what must work, once more where a busy machine needed longer. */
static enum store_outcome ask_in_time(enum store_what what)
{
	enum store_outcome outcome = ask_any(what);

	for (int i = 0; i < 20 && outcome == STORE_FAILED; i++)
		outcome = ask_any(what);
	return outcome;
}

/* Served by the other backend alone. */
static bool needs_redis(enum store_what what)
{
	switch (what) {
	case STORE_USER_BY_NAME:
	case STORE_USER_BY_ID:
	case STORE_USER_EXISTS:
	case STORE_BUNDLE_GET:
	case STORE_DEVICE_PUT:
	case STORE_DEVICE_UPDATE:
	case STORE_DEVICE_DELETE:
		return false;
	default:
		return true;
	}
}

static bool needs_postgres(enum store_what what)
{
	switch (what) {
	case STORE_SESSION_DELETE:
	case STORE_LIMIT_TAKE:
	case STORE_LIMIT_RESET:
	case STORE_LIMIT_LEASE:
	case STORE_BLOCK_SET:
	case STORE_BLOCK_GET:
		return false;
	default:
		return true;
	}
}

static void check_all(bool (*needs)(enum store_what what))
{
	for (int what = 0; what < STORE_WHAT_COUNT; what++) {
		const enum store_outcome outcome = needs((enum store_what)what)
		                                           ? ask_any((enum store_what)what)
		                                           : ask_in_time((enum store_what)what);

		cr_assert_eq(outcome, needs((enum store_what)what) ? STORE_FAILED : STORE_OK,
		             "operation %d: outcome %d", what, (int)outcome);
	}
}

Test(stack_store_faults, without_redis_what_needs_it_fails_and_writes_nothing)
{
	struct store_op op = case_user_op(STORE_USER_BY_ID, 2, "");

	make_anna();
	redis_server_kill(&bench.redis);
	check_all(needs_redis);
	cr_assert_eq(answered(op).outcome, STORE_NOT_FOUND, "bert was not made");
	op.user = store_id(1);
	cr_assert_str_eq(answered(op).hash, "hash of anna");
	cr_assert(has_annas_bundle(), "nor was the bundle changed");
	redis_server_run(&bench.redis);
	op.what = STORE_PING;
	until_ok(op, NULL);
	cr_assert_eq(ask_in_time(STORE_SESSION_GET), STORE_NOT_FOUND,
	             "this Redis kept nothing");
}

Test(stack_store_faults, without_postgres_what_needs_it_fails_and_limits_go_on)
{
	const struct store_op ping = { .what = STORE_PING };
	struct store_op op = case_user_op(STORE_USER_BY_ID, 1, "");

	make_anna();
	postgres_server_kill(&bench.pg);
	check_all(needs_postgres);
	postgres_server_run(&bench.pg);
	until_ok(ping, NULL);
	cr_assert_str_eq(answered(op).text, "anna", "a delete that failed deleted nothing");
	cr_assert(has_annas_bundle());
}

Test(stack_store_faults, a_stopped_backend_costs_the_deadline)
{
	const struct store_op ping = { .what = STORE_PING };

	make_anna();
	postgres_server_signal(&bench.pg, SIGSTOP);
	cr_assert_eq(ask_any(STORE_USER_EXISTS), STORE_FAILED);
	cr_assert_eq(ask_any(STORE_SESSION_GET), STORE_FAILED);
	postgres_server_signal(&bench.pg, SIGCONT);
	until_ok(ping, NULL);
	kill(bench.redis.pid, SIGSTOP);
	cr_assert_eq(ask_any(STORE_SESSION_GET), STORE_FAILED);
	cr_assert_eq(ask_any(STORE_LIMIT_TAKE), STORE_FAILED);
	kill(bench.redis.pid, SIGCONT);
	until_ok(ping, NULL);
	cr_assert_eq(ask_in_time(STORE_SESSION_GET), STORE_OK);
}

/* Messages wait for it: a queue of them must not wait for each. */
Test(stack_store_faults,
     of_a_postgres_that_does_not_answer_only_the_first_look_for_a_user_waits)
{
	const struct store_op exists = case_user_op(STORE_USER_EXISTS, 1, "");
	int64_t began_ms;

	make_anna();
	until_ok(exists, NULL);
	postgres_server_signal(&bench.pg, SIGSTOP);
	cr_assert_eq(store_do(exists, NULL).outcome, STORE_FAILED);
	began_ms = case_wall_ms();
	for (int i = 0; i < 10; i++)
		cr_assert_eq(store_do(exists, NULL).outcome, STORE_FAILED);
	cr_assert_lt(case_wall_ms() - began_ms, 5 * TIMEOUT_MS, "each of them waits");
	postgres_server_signal(&bench.pg, SIGCONT);
	until_ok(exists, NULL);
}

Test(stack_store_faults, a_redis_that_takes_no_writes_is_not_healthy_and_no_limit_passes)
{
	const struct store_op ping = { .what = STORE_PING };

	make_anna();
	stack_bench_redis(&bench, "CONFIG SET min-replicas-to-write 1");
	cr_assert_str_eq(stack_bench_redis(&bench, "PING"), "PONG");
	cr_assert_eq(store_do(ping, NULL).outcome, STORE_FAILED);
	cr_assert_eq(ask_any(STORE_LIMIT_TAKE), STORE_FAILED);
	cr_assert_eq(ask_any(STORE_SESSION_PUT), STORE_FAILED);
	cr_assert_eq(ask_any(STORE_BUNDLE_PUT), STORE_FAILED);
	cr_assert_eq(ask_in_time(STORE_SESSION_GET), STORE_OK);
}

Test(stack_store_faults, a_busy_pool_is_a_failure_that_comes_at_once)
{
	struct store_op op = case_user_op(STORE_USER_EXISTS, 1, "");
	struct postgres_figures f;

	make_anna();
	stack_bench_stop(&bench);
	bench.pg_conf.queue_max = 1;
	bench.store_conf.timeout_ms = 20000;
	stack_bench_start(&bench);
	until_ok(op, NULL);
	postgres_server_signal(&bench.pg, SIGSTOP);
	stack_bench_sql(&bench, 0, NULL, 3000); /* takes the only place */
	cr_assert_eq(store_do(op, NULL).outcome, STORE_FAILED);
	postgres_figures(&f);
	cr_assert_eq(f.refused, 1);
	postgres_server_signal(&bench.pg, SIGCONT);
	stack_bench_next();
	until_ok(op, NULL);
}
