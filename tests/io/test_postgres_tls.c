/* SPDX-License-Identifier: MIT */
/* sslmode=verify-full: the right certificate is spoken to, any other is not. */
#include "postgres_cases.h"
#include "support/tls_pair.h"

static struct tls_pair right, other;

static void setup_tls(void)
{
	setup();
	tls_pair_make(&right, "localhost");
	tls_pair_make(&other, "localhost");
	postgres_server_use_tls(&bench.pg, right.cert_file, right.key_file);
}

static void teardown_tls(void)
{
	teardown();
	tls_pair_remove(&right);
	tls_pair_remove(&other);
}

TestSuite(postgres_tls, .init = setup_tls, .fini = teardown_tls, .timeout = 120);

static void start_with(const char *host, const char *authority)
{
	static char url[300];

	snprintf(url, sizeof(url),
	         "postgresql://relay:" POSTGRES_SERVER_PASSWORD
	         "@%s:%u/postgres?sslmode=verify-full&sslrootcert=%s",
	         host, bench.pg.port, authority);
	bench.pg_conf.url = url;
	stack_bench_start(&bench);
}

static void check_refused(void)
{
	struct postgres_figures f;

	cr_assert(stack_bench_wait(postgres_has_failed, 3));
	stack_bench_sql(&bench, ECHO, "x", 100);
	cr_assert_eq(stack_bench_next().err, CX_ETIMEOUT);
	cr_assert(stack_bench_wait(postgres_is_connected, 0));
	postgres_figures(&f);
	cr_assert_eq(f.connects, 0);
}

Test(postgres_tls, the_right_certificate_is_spoken_to_and_big_answers_come_whole)
{
	start_with("localhost", right.cert_file);
	cr_assert(stack_bench_wait(postgres_is_connected, 2));
	cr_assert_str_eq(sql(ECHO, "x").text, "1/1x3 x NULL ");
	cr_assert_str_eq(postgres_server_ask(&bench.pg,
	                                     "SELECT count(*) FROM pg_stat_ssl JOIN"
	                                     " pg_stat_activity USING (pid) WHERE ssl AND"
	                                     " application_name = 'relay-test'"),
	                 "2");
	for (int i = 0; i < 20; i++)
		cr_assert_eq(
			strncmp(sql(MANY, i % 2 ? "3000000" : "20000").text, "1/1x1 xxx", 9),
			0);
}

Test(postgres_tls, another_authority_is_refused)
{
	start_with("localhost", other.cert_file);
	check_refused();
}

Test(postgres_tls, a_certificate_for_another_name_is_refused)
{
	start_with("127.0.0.1", right.cert_file);
	check_refused();
}

Test(postgres_tls, a_server_without_tls_is_refused)
{
	postgres_server_kill(&bench.pg);
	bench.pg.args[0] = NULL;
	postgres_server_run(&bench.pg);
	start_with("localhost", right.cert_file);
	check_refused();
}
