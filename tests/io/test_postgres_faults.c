/* SPDX-License-Identifier: MIT */
/* Servers that die, stop or cut a connection. */
#include <signal.h>
#include <unistd.h>

#include "postgres_cases.h"

TestSuite(postgres_faults, .init = setup, .fini = teardown, .timeout = 120);

Test(postgres_faults,
     what_was_sent_to_a_killed_server_is_unknown_and_the_rest_waits_for_the_next)
{
	struct postgres_figures f;
	unsigned unknown = 0;

	bench.pg_conf.connections = 1;
	bench.pg_conf.pipeline_max = 3;
	bench.pg_conf.ping_ms = 20000; /* a ping takes a place */
	stack_bench_start(&bench);
	cr_assert(stack_bench_wait(postgres_is_connected, 1));
	postgres_server_signal(&bench.pg, SIGSTOP); /* so that it takes nothing any more */
	for (unsigned i = 0; i < 5; i++)
		stack_bench_sql(&bench, ECHO, "x", 25000);
	cr_assert(stack_bench_wait(postgres_is_in_flight, 5));
	cr_assert_not(stack_bench_comes(100));
	postgres_server_kill(&bench.pg);
	while (unknown < 3) {
		const struct stack_event e = stack_bench_next();

		cr_assert_eq(e.type, (uint32_t)POSTGRES_RESULT, "%s", cx_err_name(e.err));
		cr_assert_eq(e.outcome, POSTGRES_UNKNOWN);
		unknown++;
	}
	cr_assert_not(stack_bench_comes(200), "the others were not sent");
	postgres_server_run(&bench.pg);
	for (unsigned i = 0; i < 2; i++)
		cr_assert_str_eq(stack_bench_next().text, "1/1x3 x NULL ");
	postgres_figures(&f);
	cr_assert_eq(f.unknown, 3);
	cr_assert_eq(f.in_flight, 0);
	cr_assert_eq(f.connected, 1);
}

Test(postgres_faults, asks_wait_for_a_server_that_is_not_there_yet)
{
	postgres_server_kill(&bench.pg);
	stack_bench_start(&bench);
	stack_bench_sql(&bench, ADD, "late", 100);
	stack_bench_sql(&bench, ADD, "early", 30000);
	cr_assert_eq(stack_bench_next().err, CX_ETIMEOUT);
	cr_assert(stack_bench_wait(postgres_has_failed, 4));
	postgres_server_run(&bench.pg);
	cr_assert_str_eq(stack_bench_next().text, "1/0x0");
	cr_assert_str_eq(count_of("early"), "1");
	cr_assert_str_eq(count_of("late"), "0", "what expired is never sent");
}

Test(postgres_faults, the_expired_make_room_for_others_while_there_is_no_server)
{
	postgres_server_kill(&bench.pg);
	bench.pg_conf.queue_max = 4;
	stack_bench_start(&bench);
	for (unsigned i = 0; i < 4; i++)
		stack_bench_sql(&bench, ECHO, "x", 50);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(stack_bench_next().err, CX_ETIMEOUT);
	usleep(150000);
	stack_bench_sql(&bench, ECHO, "x", 300);
	cr_assert_eq(stack_bench_next().err, CX_ETIMEOUT, "it waited, and was not refused");
}

Test(postgres_faults, a_stopped_server_costs_the_deadline_then_the_connection)
{
	bench.pg_conf.connections = 1;
	bench.pg_conf.dead_ms = 1500;
	bench.pg_conf.connect_ms = 500;
	stack_bench_start(&bench);
	cr_assert_str_eq(sql(ECHO, "x").text, "1/1x3 x NULL ");
	postgres_server_signal(&bench.pg, SIGSTOP);
	stack_bench_sql(&bench, ECHO, "x", 300);
	cr_assert_eq(stack_bench_next().err, CX_ETIMEOUT);
	cr_assert(stack_bench_wait(postgres_is_connected, 0), "nobody believes in it for ever");
	cr_assert(stack_bench_wait(postgres_has_failed, 3), "connecting has a deadline too");
	stack_bench_sql(&bench, ECHO, "again", 25000);
	postgres_server_signal(&bench.pg, SIGCONT);
	cr_assert_str_eq(stack_bench_next().text, "1/1x3 again NULL ");
}

Test(postgres_faults, an_idle_connection_to_a_stopped_server_is_found_out)
{
	bench.pg_conf.connections = 1;
	bench.pg_conf.dead_ms = 500;
	stack_bench_start(&bench);
	cr_assert(stack_bench_wait(postgres_is_connected, 1));
	usleep(200000);
	cr_assert(stack_bench_wait(postgres_is_connected, 1), "pings are answered");
	postgres_server_signal(&bench.pg, SIGSTOP);
	cr_assert(stack_bench_wait(postgres_is_connected, 0));
	postgres_server_signal(&bench.pg, SIGCONT);
}

Test(postgres_faults, a_connection_cut_inside_a_transaction_leaves_nothing_of_it)
{
	struct transaction t = {
		.first = "a", .second = "b", .last = SLEEP, .last_param = "60"
	};
	struct stack_event e;

	bench.pg_conf.connections = 1;
	stack_bench_start(&bench);
	cr_assert(stack_bench_wait(postgres_is_connected, 1));
	t.pg = bench.pg_ref;
	stack_bench_run(&bench, ask_transaction, &t);
	for (int i = 0; i < 500; i++) { /* until it sleeps: both rows are written by then */
		if (strcmp(postgres_server_ask(&bench.pg,
		                               "SELECT count(*) FROM pg_stat_activity WHERE"
		                               " wait_event = 'PgSleep'"),
		           "1") == 0)
			break;
		usleep(20000);
	}
	cr_assert_str_eq(postgres_server_ask(&bench.pg,
	                                     "SELECT pg_terminate_backend(pid) FROM"
	                                     " pg_stat_activity WHERE wait_event = 'PgSleep'"),
	                 "t");
	e = stack_bench_next();
	cr_assert_eq(e.type, (uint32_t)POSTGRES_RESULT);
	cr_assert_eq(e.outcome, POSTGRES_UNKNOWN);
	cr_assert_str_eq(count_of("a"), "0");
	cr_assert_str_eq(count_of("b"), "0");
	t.last = SQL_COUNT;
	stack_bench_run(&bench, ask_transaction, &t);
	cr_assert_str_eq(stack_bench_next().text, "1/0x0;1/0x0", "on the next connection");
}

Test(postgres_faults, a_server_that_says_goodbye_to_idle_connections_is_come_back_to)
{
	stack_bench_start(&bench);
	cr_assert(stack_bench_wait(postgres_is_connected, 2));
	postgres_server_ask(&bench.pg, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
	                               " WHERE application_name = 'relay-test'");
	cr_assert(stack_bench_wait(postgres_has_connected, 4));
	cr_assert_str_eq(sql(ECHO, "x").text, "1/1x3 x NULL ");
}

Test(postgres_faults, what_waits_and_what_is_in_flight_ends_with_the_adapter)
{
	bench.pg_conf.connections = 1;
	bench.pg_conf.pipeline_max = 1;
	stack_bench_start(&bench);
	cr_assert(stack_bench_wait(postgres_is_connected, 1));
	stack_bench_sql(&bench, SLEEP, "30", 60000);
	stack_bench_sql(&bench, ECHO, "x", 60000);
	cr_assert(stack_bench_wait(postgres_is_in_flight, 2));
	stack_bench_stop(&bench);
	cr_assert(stack_bench_wait(postgres_is_in_flight, 0));
	cr_assert(stack_bench_wait(postgres_is_connected, 0));
}

Test(postgres_faults, a_server_that_became_read_only_is_left_for_what_the_address_leads_to)
{
	bench.pg_conf.connections = 1;
	stack_bench_start(&bench);
	cr_assert(stack_bench_wait(postgres_is_connected, 1));
	postgres_server_ask(&bench.pg,
	                    "ALTER ROLE relay SET default_transaction_read_only = on");
	postgres_server_ask(&bench.pg, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
	                               " WHERE application_name = 'relay-test'");
	cr_assert(stack_bench_wait(postgres_has_connected, 2));
	cr_assert_str_eq(sql(ECHO, "x").text, "1/1x3 x NULL ");
	postgres_server_ask(&bench.pg,
	                    "BEGIN READ WRITE;"
	                    " ALTER ROLE relay RESET default_transaction_read_only; COMMIT");
	cr_assert_str_eq(sql(ADD, "a").sqlstate, "25006");
	cr_assert(stack_bench_wait(postgres_has_connected, 3));
	cr_assert_str_eq(sql(ADD, "a").text, "1/0x0");
}
