/* SPDX-License-Identifier: MIT */
/* Asks, transactions and limits against a real server. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "postgres_cases.h"

TestSuite(postgres, .init = setup, .fini = teardown, .timeout = 120);

Test(postgres, answers_hold_rows_nulls_and_counts)
{
	stack_bench_start(&bench);
	cr_assert_str_eq(sql(ECHO, "hello").text, "1/1x3 hello NULL ");
	cr_assert_str_eq(sql(ECHO, "").text, "1/1x3  NULL ");
	cr_assert_str_eq(sql(ADD, "thing").text, "1/0x0");
	cr_assert_str_eq(sql(NOTHING, "nobody").text, "0/0x0");
	cr_assert_str_eq(sql(NOTHING, "thing").text, "1/0x0");
	cr_assert_str_eq(sql(LIST, "3").text, "3/3x2 1 1 2 4 3 9");
	cr_assert_str_eq(sql(LIST, "0").text, "0/0x2");
}

Test(postgres, a_transaction_is_done_as_a_whole_or_not_at_all)
{
	struct transaction t = {
		.first = "a", .second = "b", .last = COUNT, .last_param = "a"
	};
	struct stack_event e;

	stack_bench_start(&bench);
	t.pg = bench.pg_ref;
	stack_bench_run(&bench, ask_transaction, &t);
	cr_assert_eq(t.err, CX_OK);
	e = stack_bench_next();
	cr_assert_eq(e.outcome, POSTGRES_DONE);
	cr_assert_eq(e.count, 3);
	cr_assert_str_eq(e.text, "1/0x0;1/0x0;1/1x1 1", "it sees its own writes");
	t.first = "c"; /* b is there already */
	t.last = SQL_COUNT;
	stack_bench_run(&bench, ask_transaction, &t);
	e = stack_bench_next();
	cr_assert_eq(e.outcome, POSTGRES_REFUSED);
	cr_assert_str_eq(e.sqlstate, "23505");
	cr_assert_str_eq(count_of("c"), "0", "the first statement is undone");
	t.second = "d";
	t.last = WRONG; /* the last statement fails */
	t.last_param = "no uuid";
	stack_bench_run(&bench, ask_transaction, &t);
	cr_assert_str_eq(stack_bench_next().sqlstate, "22P02");
	cr_assert_str_eq(count_of("c"), "0");
	cr_assert_str_eq(count_of("d"), "0");
	cr_assert_str_eq(sql(ECHO, "on").text, "1/1x3 on NULL ", "the connection goes on");
}

#define EACH 2000

static unsigned asked_more;

static void ask_many(struct cx_ctx *ctx, void *arg)
{
	const struct stack_bench *const b = arg;

	for (unsigned i = 0; i < EACH; i++) {
		char text[16];
		const int len = snprintf(text, sizeof(text), "n%u", i);
		const struct postgres_param param = { text, (size_t)len };
		uint64_t corr;

		asked_more += postgres_ask(ctx, b->pg_ref, i % 10 == 9 ? WRONG : ECHO, &param,
		                           1, 30000, &corr) == CX_OK;
	}
}

Test(postgres, hundreds_in_flight_are_all_answered_and_errors_hit_only_their_own_ask)
{
	unsigned done = 0, refused = 0;
	struct postgres_figures f;

	bench.pg_conf.queue_max = 4096;
	stack_bench_start(&bench);
	cr_assert(stack_bench_wait(postgres_is_connected, 2));
	stack_bench_run(&bench, ask_many, &bench);
	cr_assert_eq(asked_more, EACH);
	for (unsigned i = 0; i < EACH; i++) {
		const struct stack_event e = stack_bench_next();

		cr_assert_eq(e.type, (uint32_t)POSTGRES_RESULT, "%s", cx_err_name(e.err));
		done += e.outcome == POSTGRES_DONE && strstr(e.text, "NULL") != NULL;
		refused += e.outcome == POSTGRES_REFUSED && strcmp(e.sqlstate, "22P02") == 0;
	}
	cr_assert_eq(done, EACH * 9 / 10);
	cr_assert_eq(refused, EACH / 10);
	postgres_figures(&f);
	cr_assert_eq(f.in_flight, 0);
	cr_assert_eq(f.errors, EACH / 10);
	cr_assert_eq(f.queries, EACH * 9 / 10);
	cr_assert_eq(f.latency_count, EACH);
	cr_assert_gt(f.latency_ns_sum, 0);
	cr_assert_geq(f.latency_ns_max, f.latency_ns_sum / f.latency_count);
}

Test(postgres, a_slow_statement_holds_up_its_own_connection_only)
{
	bench.pg_conf.ping_ms = 10000;
	stack_bench_start(&bench);
	cr_assert(stack_bench_wait(postgres_is_connected, 2));
	stack_bench_sql(&bench, SLEEP, "60", 40000);
	for (int i = 0; i < 20; i++)
		cr_assert_str_eq(sql(ECHO, "quick").text, "1/1x3 quick NULL ");
	cr_assert_str_eq(postgres_server_ask(&bench.pg,
	                                     "SELECT pg_cancel_backend(pid) FROM"
	                                     " pg_stat_activity WHERE wait_event = 'PgSleep'"),
	                 "t", "it still sleeps");
	cr_assert_str_eq(stack_bench_next().sqlstate, "57014", "cancelled");
}

Test(postgres, what_is_over_the_queue_is_busy_and_the_rest_answered)
{
	struct postgres_figures f;

	bench.pg_conf.queue_max = 6;
	bench.pg_conf.connections = 1;
	bench.pg_conf.pipeline_max = 2;
	stack_bench_start(&bench);
	cr_assert(stack_bench_wait(postgres_is_connected, 1));
	postgres_server_signal(&bench.pg, SIGSTOP);
	for (unsigned i = 0; i < 8; i++)
		stack_bench_sql(&bench, ECHO, "x", 20000);
	for (unsigned i = 0; i < 2; i++)
		cr_assert_eq(stack_bench_next().err, CX_EFULL);
	cr_assert_not(stack_bench_comes(100));
	postgres_figures(&f);
	cr_assert_eq(f.in_flight, 6);
	cr_assert_eq(f.refused, 2);
	postgres_server_signal(&bench.pg, SIGCONT);
	for (unsigned i = 0; i < 6; i++)
		cr_assert_str_eq(stack_bench_next().text, "1/1x3 x NULL ");
}

static void ask_wrongly(struct cx_ctx *ctx, void *arg)
{
	struct transaction *const t = arg;
	struct postgres_batch batch = { 0 };
	static char big[POSTGRES_ASK_BYTES_MAX];
	const struct postgres_param param = { big, sizeof(big) };
	uint64_t corr;

	cx_assert(postgres_batch_send(ctx, t->pg, &batch, 1000, &corr) == CX_EINVAL);
	for (unsigned i = 0; i <= POSTGRES_BATCH_MAX; i++)
		postgres_batch_add(&batch, ECHO, &param, 0);
	cx_assert(postgres_batch_send(ctx, t->pg, &batch, 1000, &corr) == CX_EINVAL);
	cx_assert(postgres_ask(ctx, t->pg, ECHO, &param, 1, 1000, &corr) == CX_EINVAL);
	postgres_batch_add(&batch, ECHO, &param, 1);
	cx_assert(postgres_batch_send(ctx, t->pg, &batch, 1000, &corr) == CX_EINVAL);
	t->err = postgres_ask(ctx, t->pg, SQL_COUNT, NULL, 0, 20000, &corr);
	postgres_batch_free(&batch);
}

Test(postgres, what_is_too_big_or_unknown_is_refused_before_it_is_sent)
{
	struct transaction t = { 0 };

	stack_bench_start(&bench);
	t.pg = bench.pg_ref;
	stack_bench_run(&bench, ask_wrongly, &t);
	cr_assert_eq(t.err, CX_OK);
	cr_assert_eq(stack_bench_next().err, CX_EINVAL, "no such statement");
	cr_assert_not(stack_bench_comes(100));
}

Test(postgres, an_answer_over_the_limit_is_refused_and_a_big_one_comes)
{
	stack_bench_start(&bench);
	cr_assert_eq(strncmp(sql(MANY, "12000000").text, "1/1x1 xxx", 9), 0);
	cr_assert_str_eq(sql(MANY, "17000000").sqlstate, "54000");
	cr_assert_str_eq(sql(ECHO, "on").text, "1/1x3 on NULL ");
}

Test(postgres, a_wrong_password_is_no_connection_and_stands_in_no_log)
{
	const int fd = redis_log_to_file();
	char *log;

	snprintf(bench.pg.url, sizeof(bench.pg.url),
	         "postgresql://relay:wr0ng-one@127.0.0.1:%u/postgres", bench.pg.port);
	stack_bench_start(&bench);
	cr_assert(stack_bench_wait(postgres_has_failed, 3));
	cr_assert(stack_bench_wait(postgres_is_connected, 0));
	stack_bench_sql(&bench, ECHO, "x", 100);
	cr_assert_eq(stack_bench_next().err, CX_ETIMEOUT);
	log = redis_log_read(fd);
	cr_assert_not_null(strstr(log, "postgres.lost"), "%s", log);
	cr_assert_not_null(strstr(log, "password authentication failed"), "%s", log);
	cr_assert_null(strstr(log, "wr0ng"), "%s", log);
	free(log);
}

Test(postgres, a_url_that_cannot_be_used_ends_the_adapter_and_is_not_logged)
{
	const int fd = redis_log_to_file();
	enum cx_err err;
	char *log;

	bench.pg_conf.url = "postgresql://relay:s3cr%zzet@127.0.0.1/postgres?nonsense=1";
	stack_bench_start(&bench);
	err = stack_bench_try_sql(&bench, ECHO, "x", 5000);
	cr_assert_eq(err == CX_OK ? stack_bench_next().err : err, CX_EGONE);
	log = redis_log_read(fd);
	cr_assert_not_null(strstr(log, "postgres.no_url"), "%s", log);
	cr_assert_null(strstr(log, "s3cr"), "%s", log);
	free(log);
}

Test(postgres, a_name_is_looked_up_and_refused_values_stand_in_no_log)
{
	const int fd = redis_log_to_file();
	char *log;

	snprintf(bench.pg.url, sizeof(bench.pg.url),
	         "postgresql://relay:" POSTGRES_SERVER_PASSWORD "@localhost:%u/postgres",
	         bench.pg.port);
	stack_bench_start(&bench);
	cr_assert(stack_bench_wait(postgres_is_connected, 2));
	cr_assert_str_eq(sql(WRONG, "pr1vate").sqlstate, "22P02");
	cr_assert_str_eq(sql(ECHO, "x").text, "1/1x3 x NULL ");
	cr_assert_str_eq(postgres_server_ask(&bench.pg,
	                                     "SELECT count(*) FROM pg_stat_activity"
	                                     " WHERE application_name = 'relay-test'"),
	                 "2");
	log = redis_log_read(fd);
	cr_assert_not_null(strstr(log, "statement=wrong sqlstate=22P02"), "%s", log);
	cr_assert_null(strstr(log, "pr1vate"), "%s", log);
	cr_assert_null(strstr(log, POSTGRES_SERVER_PASSWORD), "%s", log);
	free(log);
}
