/* SPDX-License-Identifier: MIT */
/* Commands, batches and scripts against a real server. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "support/redis_peer.h"

static const struct redis_script scripts[] = {
	{ "add", "return redis.call('INCRBY', KEYS[1], ARGV[1])" },
	{ "both", "return {KEYS[1], KEYS[2], ARGV[1], #ARGV}" },
};

static struct redis_server server;
static struct redis_bench bench;

static void setup(void)
{
	redis_server_prepare(&server);
	redis_server_run(&server);
	redis_bench_defaults(&bench, server.port);
	bench.conf.scripts = scripts;
	bench.conf.script_count = 2;
}

static void teardown(void)
{
	redis_bench_stop(&bench);
	redis_server_stop(&server);
}

TestSuite(redis, .init = setup, .fini = teardown, .timeout = 60);

Test(redis, every_kind_of_reply_comes_back_as_it_is)
{
	redis_bench_start(&bench);
	cr_assert_str_eq(redis_bench_call(&bench, "SET k v"), "+OK");
	cr_assert_str_eq(redis_bench_call(&bench, "GET k"), "\"v\"");
	cr_assert_str_eq(redis_bench_call(&bench, "GET none"), "nil");
	cr_assert_str_eq(redis_bench_call(&bench, "INCRBY n -7"), ":-7");
	cr_assert_str_eq(redis_bench_call(&bench, "XADD s 1-1 f x"), "\"1-1\"");
	cr_assert_str_eq(redis_bench_call(&bench, "XRANGE s - +"),
	                 "[1 [2 \"1-1\" [2 \"f\" \"x\"");
	cr_assert_str_eq(redis_bench_call(&bench, "XRANGE none - +"), "[0");
	cr_assert_eq(strncmp(redis_bench_call(&bench, "INCR k"), "-ERR", 4), 0);
	cr_assert_str_eq(redis_bench_call(&bench, "GET k"), "\"v\"");
}

struct batch_ask {
	struct cx_ref adapter;
	unsigned commands;
	size_t value_len;
	enum cx_err err;
};

/* RPUSH, and every tenth one a mistake. */
static void ask_batch(struct cx_ctx *ctx, void *arg)
{
	struct batch_ask *a = arg;
	struct redis_batch batch = { 0 };
	char *value = calloc(1, a->value_len + 1);
	uint64_t corr;

	memset(value, 'v', a->value_len);
	for (unsigned i = 0; i < a->commands; i++) {
		const struct redis_arg argv[] = {
			REDIS_TEXT("RPUSH"),
			{ i % 10 == 9 ? "text" : "list", 4 },
			{ value, a->value_len },
		};

		redis_batch_add(&batch, argv, 3);
	}
	a->err = redis_batch_send(ctx, a->adapter, &batch, 10000, &corr);
	cx_assert(batch.count == 0 && batch.len == 0);
	redis_batch_free(&batch);
	free(value);
}

Test(redis, a_batch_has_one_answer_with_all_replies_in_order)
{
	struct batch_ask a = { .commands = 12, .value_len = 3 };
	struct redis_event e;

	redis_bench_start(&bench);
	redis_bench_call(&bench, "SET text t");
	a.adapter = bench.adapter;
	redis_bench_run(&bench, 2, ask_batch, &a);
	cr_assert_eq(a.err, CX_OK);
	e = redis_bench_next();
	cr_assert_eq(e.outcome, REDIS_ANSWERED);
	cr_assert_eq(e.count, 12);
	cr_assert_str_eq(e.text, ":1 :2 :3 :4 :5 :6 :7 :8 :9 -WRONGTYPE Operation against a "
	                         "key holding the wrong kind of value :10 :11");
	cr_assert_str_eq(redis_bench_call(&bench, "LLEN list"), ":11");
}

Test(redis, requests_over_ten_megabytes_are_refused_before_they_are_sent)
{
	struct batch_ask a = { .commands = 2, .value_len = 5000000 };

	redis_bench_start(&bench);
	a.adapter = bench.adapter;
	redis_bench_run(&bench, 0, ask_batch, &a);
	cr_assert_eq(a.err, CX_EINVAL);
	a.commands = 0;
	redis_bench_run(&bench, 0, ask_batch, &a);
	cr_assert_eq(a.err, CX_EINVAL, "an empty batch");
	a.commands = REDIS_BATCH_MAX + 1;
	a.value_len = 1;
	redis_bench_run(&bench, 0, ask_batch, &a);
	cr_assert_eq(a.err, CX_EINVAL, "too many commands");
	cr_assert_not(redis_bench_comes(200));
	a.commands = 2;
	a.value_len = 4900000;
	redis_bench_run(&bench, 0, ask_batch, &a);
	cr_assert_eq(a.err, CX_OK);
	cr_assert_str_eq(redis_bench_next().text, ":1 :2");
	cr_assert_eq(strlen(redis_bench_call(&bench, "LRANGE list 0 -1")),
	             sizeof(((struct redis_event *)0)->text) - 1);
}

#define EACH 2000

static void ask_many(struct cx_ctx *ctx, void *arg)
{
	const struct redis_bench *b = arg;

	for (unsigned i = 0; i < EACH; i++) {
		char text[32];
		const int len = snprintf(text, sizeof(text), "%u/%u", cx_self(ctx).slot, i);
		const struct redis_arg argv[] = { REDIS_TEXT("ECHO"), { text, (size_t)len } };
		uint64_t corr;

		cx_assert(redis_call(ctx, b->adapter, argv, 2, 20000, &corr) == CX_OK);
	}
}

Test(redis, thousands_in_flight_from_several_actors_keep_their_order)
{
	unsigned next[REDIS_PROBES] = { 0 };
	struct redis_figures f;

	redis_bench_start(&bench);
	cr_assert(redis_bench_wait(redis_is_connected, 1));
	for (unsigned p = 0; p < REDIS_PROBES; p++)
		redis_bench_run(&bench, p, ask_many, &bench);
	for (unsigned i = 0; i < REDIS_PROBES * EACH; i++) {
		const struct redis_event e = redis_bench_next();
		char text[32];

		cr_assert_eq(e.type, (uint32_t)REDIS_REPLY, "%s", cx_err_name(e.err));
		snprintf(text, sizeof(text), "\"%u/%u\"", bench.probes[e.probe].slot,
		         next[e.probe]++);
		cr_assert_str_eq(e.text, text);
	}
	redis_figures(&f);
	cr_assert_eq(f.commands, REDIS_PROBES * EACH);
	cr_assert_eq(f.in_flight, 0);
	cr_assert_lt(f.sends, REDIS_PROBES * EACH / 4, "%zu sends: not gathered",
	             (size_t)f.sends);
	cr_assert_gt(f.latency_ns_sum, 0);
	cr_assert_geq(f.latency_ns_max, f.latency_ns_sum / f.latency_count);
}

Test(redis, what_is_over_the_limit_in_flight_is_refused_and_the_rest_answered)
{
	unsigned full = 0, answered = 0;
	struct redis_figures f;

	bench.conf.in_flight_max = 10;
	redis_bench_start(&bench);
	redis_bench_call(&bench, "SET k v");
	kill(server.pid, SIGSTOP);
	for (unsigned i = 0; i < 13; i++)
		redis_bench_ask(&bench, 0, 10000, "INCR n");
	while (full < 3) {
		const struct redis_event e = redis_bench_next();

		cr_assert_eq(e.type, (uint32_t)CX_MSG_ERROR);
		cr_assert_eq(e.err, CX_EFULL);
		full++;
	}
	cr_assert_not(redis_bench_comes(100));
	redis_figures(&f);
	cr_assert_eq(f.in_flight, 10);
	cr_assert_eq(f.refused, 3);
	kill(server.pid, SIGCONT);
	while (answered < 10) {
		cr_assert_eq(redis_bench_next().outcome, REDIS_ANSWERED);
		answered++;
	}
	cr_assert_str_eq(redis_bench_call(&bench, "GET n"), "\"10\"");
}

Test(redis, bytes_in_flight_are_limited_too)
{
	struct batch_ask a = { .commands = 1, .value_len = 600 };

	bench.conf.in_flight_bytes_max = 1000;
	redis_bench_start(&bench);
	redis_bench_call(&bench, "SET k v");
	a.adapter = bench.adapter;
	kill(server.pid, SIGSTOP);
	redis_bench_run(&bench, 0, ask_batch, &a);
	cr_assert_not(redis_bench_comes(50));
	redis_bench_run(&bench, 0, ask_batch, &a);
	cr_assert_eq(redis_bench_next().err, CX_EFULL);
	kill(server.pid, SIGCONT);
	cr_assert_str_eq(redis_bench_next().text, ":1");
}

struct script_ask {
	struct cx_ref adapter;
	unsigned script;
};

static void ask_script(struct cx_ctx *ctx, void *arg)
{
	static const struct redis_arg add[] = { REDIS_TEXT("n"), REDIS_TEXT("5") };
	static const struct redis_arg both[] = { REDIS_TEXT("a"), REDIS_TEXT("b"),
		                                 REDIS_TEXT("c"), REDIS_TEXT("") };
	const struct script_ask *a = arg;
	uint64_t corr;
	enum cx_err err;

	if (a->script == 0)
		err = redis_call_script(ctx, a->adapter, 0, 1, add, 2, 10000, &corr);
	else
		err = redis_call_script(ctx, a->adapter, a->script, 2, both, 4, 10000, &corr);
	cx_assert(err == CX_OK);
}

Test(redis, scripts_run_by_their_hash_and_survive_a_flush)
{
	struct script_ask a = { .script = 0 };
	const char *stats;

	redis_bench_start(&bench);
	a.adapter = bench.adapter;
	redis_bench_run(&bench, 0, ask_script, &a);
	cr_assert_str_eq(redis_bench_next().text, ":5");
	redis_bench_call(&bench, "SCRIPT FLUSH");
	redis_bench_call(&bench, "CONFIG RESETSTAT");
	for (int i = 0; i < 3; i++) {
		redis_bench_run(&bench, 0, ask_script, &a);
		cr_assert_eq(redis_bench_next().text[0], ':');
	}
	cr_assert_str_eq(redis_bench_call(&bench, "GET n"), "\"20\"", "each ran once");
	stats = redis_bench_call(&bench, "INFO commandstats");
	cr_assert_not_null(strstr(stats, "cmdstat_evalsha:calls=3,"), "%s", stats);
	cr_assert_not_null(strstr(stats, "cmdstat_eval:calls=1,"), "%s", stats);
	a.script = 1;
	redis_bench_run(&bench, 0, ask_script, &a);
	cr_assert_str_eq(redis_bench_next().text, "[4 \"a\" \"b\" \"c\" :2");
	a.script = 2;
	redis_bench_run(&bench, 0, ask_script, &a);
	cr_assert_eq(redis_bench_next().err, CX_EINVAL, "no such script");
}

Test(redis, it_logs_in_and_uses_its_database_and_name)
{
	const char *info;

	server.args[0] = "--user";
	server.args[1] = "relay";
	server.args[2] = "on";
	server.args[3] = ">s3cret%";
	server.args[4] = "~*";
	server.args[5] = "&*";
	server.args[6] = "+@all";
	server.args[7] = "--requirepass";
	server.args[8] = "other";
	redis_server_kill(&server);
	redis_server_run(&server);
	snprintf(bench.url.user, sizeof(bench.url.user), "relay");
	snprintf(bench.url.password, sizeof(bench.url.password), "s3cret%%");
	bench.url.has_user = bench.url.has_password = true;
	bench.url.db = 3;
	redis_bench_start(&bench);
	info = redis_bench_call(&bench, "CLIENT INFO");
	cr_assert_not_null(strstr(info, " db=3 "), "%s", info);
	cr_assert_not_null(strstr(info, " name=relay-test "), "%s", info);
	cr_assert_str_eq(redis_bench_call(&bench, "ACL WHOAMI"), "\"relay\"");
}

static unsigned times_in(const char *text, const char *word)
{
	unsigned n = 0;

	for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
		n++;
	return n;
}

Test(redis, a_wrong_password_is_not_a_connection_and_stands_in_no_log)
{
	const int fd = redis_log_to_file();
	char *log;

	server.args[0] = "--requirepass";
	server.args[1] = "right";
	redis_server_kill(&server);
	redis_server_run(&server);
	snprintf(bench.url.password, sizeof(bench.url.password), "wr0ng-one");
	bench.url.has_password = true;
	redis_bench_start(&bench);
	cr_assert(redis_bench_wait(redis_has_failed, 2));
	redis_bench_ask(&bench, 0, 100, "SET k v");
	cr_assert_eq(redis_bench_next().err, CX_ETIMEOUT);
	cr_assert(redis_bench_wait(redis_is_connected, 0));
	log = redis_log_read(fd);
	cr_assert_not_null(strstr(log, "the server refused AUTH: WRONGPASS"), "%s", log);
	cr_assert_null(strstr(log, "wr0ng"));
	free(log);
}

Test(redis, a_missing_password_is_found_out_before_commands_are_sent)
{
	server.args[0] = "--requirepass";
	server.args[1] = "right";
	redis_server_kill(&server);
	redis_server_run(&server);
	redis_bench_start(&bench);
	cr_assert(redis_bench_wait(redis_has_failed, 2));
	cr_assert(redis_bench_wait(redis_is_connected, 0));
}

Test(redis, the_doctor_warns_of_a_server_that_may_lose_messages_once)
{
	const int fd = redis_log_to_file();
	char *log;

	bench.conf.is_doctor = true;
	redis_bench_start(&bench);
	redis_bench_call(&bench, "PING");
	redis_server_kill(&server);
	server.args[0] = "--maxmemory-policy";
	server.args[1] = "allkeys-lru";
	redis_server_run(&server);
	cr_assert(redis_bench_wait(redis_has_connected, 2));
	cr_assert_eq(redis_bench_next().type, (uint32_t)REDIS_CHANGED);
	redis_bench_call(&bench, "PING");
	log = redis_log_read(fd);
	cr_assert_eq(times_in(log, "setting=appendonly"), 1, "%s", log);
	cr_assert_eq(times_in(log, "maxmemory-policy"), 0, "%s", log);
	free(log);
}

Test(redis, the_doctor_takes_a_refusal_and_a_good_server_for_silence)
{
	const int fd = redis_log_to_file();
	char *log;

	server.args[0] = "--rename-command";
	server.args[1] = "CONFIG";
	server.args[2] = "";
	redis_server_kill(&server);
	redis_server_run(&server);
	bench.conf.is_doctor = true;
	redis_bench_start(&bench);
	cr_assert_eq(strncmp(redis_bench_call(&bench, "CONFIG GET appendonly"), "-ERR", 4), 0);
	log = redis_log_read(fd);
	cr_assert_not_null(strstr(log, "redis.connected"), "%s", log);
	cr_assert_null(strstr(log, "redis.may_lose_messages"), "%s", log);
	free(log);
}
