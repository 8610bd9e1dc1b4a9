/* SPDX-License-Identifier: MIT */
/* postgres_migrate against a real server: migrate_cases URL, a user who may make databases.  Each
 * case has a database of its own.  Last line: `N passed, N failed`. */
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/postgres_migrate.h"

#define SQL(name, text)                                               \
	{                                                             \
		name, (const unsigned char *)(text), sizeof(text) - 1 \
	}
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))
#define TIMEOUT_SECS 60

static char url[4096];    /* of the case's database */
static char output[8192]; /* both streams of the last run */
static bool failed;

static const struct postgres_migration base[] = {
	{ "001_a.sql", "CREATE TABLE a (n int)" },
	{ "002_b.sql", "CREATE TABLE b (n int); INSERT INTO b VALUES (1)" },
};

static void expect(bool ok, const char *what)
{
	if (!ok) {
		printf("    not so: %s; it printed: %s\n", what, output);
		failed = true;
	}
}
#define EXPECT(what) expect((what), #what)

static enum cx_err migrate(const struct postgres_migration *list, size_t count)
{
	FILE *stream = fmemopen(output, sizeof(output) - 1, "w");
	enum cx_err err = postgres_migrate(url, list, count, stream, stream);

	fputc('\0', stream);
	fclose(stream);
	return err;
}

static bool printed(const char *text)
{
	return strstr(output, text) != NULL;
}

/* The first value, or NULL-like "(error)". */
static const char *sql(const char *at, const char *text)
{
	static char value[256];
	PGconn *conn = PQconnectdb(at);
	PGresult *res = PQexec(conn, text);
	const bool rows = PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) > 0;

	snprintf(value, sizeof(value), "%s",
	         rows                                      ? PQgetvalue(res, 0, 0)
	         : PQresultStatus(res) == PGRES_COMMAND_OK ? "(done)"
	                                                   : "(error)");
	PQclear(res);
	PQfinish(conn);
	return value;
}

static bool is(const char *text, const char *want)
{
	return strcmp(sql(url, text), want) == 0;
}

static void an_empty_database_gets_all_in_order(void)
{
	EXPECT(migrate(base, COUNT(base)) == CX_OK);
	EXPECT(printed("applied: 001_a.sql\napplied: 002_b.sql\n"));
	EXPECT(is("SELECT string_agg(name, ' ' ORDER BY applied_at) FROM construct_migrations",
	          "001_a.sql 002_b.sql"));
	EXPECT(is("SELECT length(min(sha256)) FROM construct_migrations", "64"));
}

static void a_second_run_does_nothing(void)
{
	EXPECT(migrate(base, COUNT(base)) == CX_OK);
	EXPECT(migrate(base, COUNT(base)) == CX_OK);
	EXPECT(!printed("applied"));
	EXPECT(is("SELECT count(*) FROM b", "1"));
}

static void only_what_is_new_is_applied(void)
{
	EXPECT(migrate(base, 1) == CX_OK);
	EXPECT(migrate(base, COUNT(base)) == CX_OK);
	EXPECT(printed("applied: 002_b.sql") && !printed("001_a"));
}

static void a_failure_in_the_middle_leaves_no_trace(void)
{
	const struct postgres_migration bad[] = {
		base[0],
		{ "002_bad.sql", "CREATE TABLE half (n int); INSERT INTO half VALUES (1);"
		                 "SELECT 1 / 0; CREATE TABLE other (n int)" },
		{ "003_c.sql", "CREATE TABLE c (n int)" },
	};

	EXPECT(migrate(bad, COUNT(bad)) == CX_EIO);
	EXPECT(printed("applied: 001_a.sql") && printed("002_bad.sql: division by zero"));
	EXPECT(is("SELECT to_regclass('half') IS NULL AND to_regclass('c') IS NULL", "t"));
	EXPECT(is("SELECT string_agg(name, ' ') FROM construct_migrations", "001_a.sql"));
	EXPECT(migrate(base, COUNT(base)) == CX_OK);
}

static void an_error_quotes_no_row(void)
{
	const struct postgres_migration bad[] = {
		{ "001_a.sql", "CREATE TABLE a (name text UNIQUE);"
		               "INSERT INTO a VALUES ('private'), ('private')" },
	};

	EXPECT(migrate(bad, COUNT(bad)) == CX_EIO);
	EXPECT(printed("001_a.sql: duplicate key") && printed("23505") && !printed("private"));
}

static void a_changed_file_is_named_and_nothing_is_applied(void)
{
	const struct postgres_migration changed[] = {
		{ "001_a.sql", "CREATE TABLE a (n int) " },
		base[1],
	};

	EXPECT(migrate(base, 1) == CX_OK);
	EXPECT(migrate(changed, COUNT(changed)) == CX_EPROTO);
	EXPECT(printed("001_a.sql was changed after it was applied"));
	EXPECT(is("SELECT to_regclass('b') IS NULL", "t"));
}

static void a_migration_before_an_applied_one_is_refused(void)
{
	const struct postgres_migration late[] = {
		base[0],
		{ "001_late.sql", "CREATE TABLE late (n int)" },
		base[1],
	};

	EXPECT(migrate(base, COUNT(base)) == CX_OK);
	EXPECT(migrate(late, COUNT(late)) == CX_EPROTO);
	EXPECT(printed("001_late.sql comes before 002_b.sql"));
	EXPECT(is("SELECT to_regclass('late') IS NULL", "t"));
}

static void a_newer_database_is_left_alone(void)
{
	EXPECT(migrate(base, COUNT(base)) == CX_OK);
	EXPECT(migrate(base, 1) == CX_OK);
	EXPECT(printed("note: 002_b.sql was applied by a newer program"));
}

static void a_migration_that_commits_is_refused(void)
{
	const struct postgres_migration bad[] = {
		{ "001_a.sql", "CREATE TABLE a (n int); COMMIT" },
	};

	EXPECT(migrate(bad, COUNT(bad)) == CX_EPROTO);
	EXPECT(printed("001_a.sql ends the transaction it is in"));
	EXPECT(is("SELECT count(*) FROM construct_migrations", "0"));
}

/* As a database with these defaults would have it: the snapshot of a repeatable read would be older
 * than the lock, and a read-only session could do nothing. */
static void defaults_of_the_database_do_not_matter(void)
{
	EXPECT(is("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET "
	          "default_transaction_isolation"
	          " = ''repeatable read''', current_database()); EXECUTE format('ALTER "
	          "DATABASE %I"
	          " SET default_transaction_read_only = on', current_database()); END $$",
	          "(done)"));
	EXPECT(migrate(base, COUNT(base)) == CX_OK);
}

static void an_unusable_url_is_not_printed(void)
{
	static const char *const urls[] = {
		"postgresql://u:se/cret@127.0.0.1:5432/d",
		"postgresql://u:se@cret@127.0.0.1/d",
		"postgresql://u:12/cret@127.0.0.1/d",
		"postgresql://u:%zzcret@127.0.0.1/d",
		"postgresql://u:p@127.0.0.1:cret/d",
		"postgresql://u:p@127.0.0.1/d?cret=1",
	};

	for (size_t i = 0; i < COUNT(urls); i++) {
		snprintf(url, sizeof(url), "%s", urls[i]);
		EXPECT(migrate(base, COUNT(base)) == CX_EINVAL);
		EXPECT(!printed("cret"));
	}
}

static void a_dead_server_is_told_without_the_password(void)
{
	snprintf(url, sizeof(url), "postgresql://u:cret@127.0.0.1:1/d");
	EXPECT(migrate(base, COUNT(base)) == CX_EIO);
	EXPECT(printed("127.0.0.1") && !printed("cret"));
}

#define CASE(name)          \
	{                   \
#name, name \
	}
static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	CASE(an_empty_database_gets_all_in_order),
	CASE(a_second_run_does_nothing),
	CASE(only_what_is_new_is_applied),
	CASE(a_failure_in_the_middle_leaves_no_trace),
	CASE(an_error_quotes_no_row),
	CASE(a_changed_file_is_named_and_nothing_is_applied),
	CASE(a_migration_before_an_applied_one_is_refused),
	CASE(a_newer_database_is_left_alone),
	CASE(a_migration_that_commits_is_refused),
	CASE(defaults_of_the_database_do_not_matter),
	CASE(an_unusable_url_is_not_printed),
	CASE(a_dead_server_is_told_without_the_password),
};

int main(int argc, char **argv)
{
	const char *slash = argc == 2 ? strrchr(argv[1], '/') : NULL;
	unsigned passed = 0;

	if (!slash) {
		fprintf(stderr, "usage: migrate_cases postgresql://.../NAME\n");
		return 2;
	}
	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[128];

		alarm(TIMEOUT_SECS);
		snprintf(text, sizeof(text), "CREATE DATABASE case_%zu", i);
		failed = strcmp(sql(argv[1], text), "(done)") != 0;
		snprintf(url, sizeof(url), "%.*s/case_%zu", (int)(slash - argv[1]), argv[1], i);
		if (!failed)
			cases[i].run();
		snprintf(text, sizeof(text), "DROP DATABASE case_%zu", i);
		(void)sql(argv[1], text);
		printf("  %-4s %s\n", failed ? "FAIL" : "ok", cases[i].name);
		passed += !failed;
	}
	printf("migrate: %u passed, %zu failed\n", passed, COUNT(cases) - passed);
	return passed == COUNT(cases) ? 0 : 1;
}
