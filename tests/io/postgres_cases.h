/* SPDX-License-Identifier: MIT */
/* The statements and asks that tests of the PostgreSQL adapter share. */
#ifndef TESTS_IO_POSTGRES_CASES_H
#define TESTS_IO_POSTGRES_CASES_H

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "support/stack_bench.h"

enum sql { ECHO, ADD, SLEEP, WRONG, MANY, NOTHING, COUNT, LIST, SQL_COUNT };

static const struct postgres_statement statements[SQL_COUNT] = {
	[ECHO] = { "echo", "SELECT $1::text, NULL, ''::text" },
	[ADD] = { "add", "INSERT INTO things (name) VALUES ($1::text)" },
	[SLEEP] = { "sleep", "SELECT pg_sleep($1::text::float8)::text" },
	[WRONG] = { "wrong", "SELECT $1::text::uuid" },
	[MANY] = { "many", "SELECT repeat('x', $1::text::int)" },
	[NOTHING] = { "nothing", "UPDATE things SET name = name WHERE name = $1::text" },
	[COUNT] = { "count", "SELECT count(*)::text FROM things WHERE name = $1::text" },
	[LIST] = { "list", "SELECT i::text, (i * i)::text FROM"
	                   " generate_series(1, $1::text::int) AS i" },
};

static struct stack_bench bench;

static inline void setup(void)
{
	stack_bench_prepare(&bench, false);
	bench.pg_conf.statements = statements;
	bench.pg_conf.statement_count = SQL_COUNT;
	postgres_server_ask(&bench.pg, "CREATE TABLE things (name text NOT NULL UNIQUE)");
}

static inline void teardown(void)
{
	stack_bench_end(&bench);
}

/* Ask and wait. */
static inline struct stack_event sql(enum sql statement, const char *param)
{
	struct stack_event e;

	stack_bench_sql(&bench, statement, param, 20000);
	e = stack_bench_next();
	cr_assert_eq(e.type, (uint32_t)POSTGRES_RESULT, "%s", cx_err_name(e.err));
	return e;
}

static inline const char *count_of(const char *name)
{
	char text[100];

	snprintf(text, sizeof(text), "SELECT count(*) FROM things WHERE name = '%s'", name);
	return postgres_server_ask(&bench.pg, text);
}

/* Two names as one transaction, then a statement that sleeps or fails. */
struct transaction {
	struct cx_ref pg;
	const char *first, *second;
	enum sql last; /* SQL_COUNT: none */
	const char *last_param;
	enum cx_err err;
};

static inline void ask_transaction(struct cx_ctx *ctx, void *arg)
{
	struct transaction *const t = arg;
	const char *const texts[] = { t->first, t->second, t->last_param };
	struct postgres_batch batch = { 0 };
	uint64_t corr;

	for (unsigned i = 0; i < (t->last == SQL_COUNT ? 2 : 3); i++) {
		const struct postgres_param param = { texts[i], strlen(texts[i]) };

		postgres_batch_add(&batch, i < 2 ? ADD : t->last, &param, 1);
	}
	t->err = postgres_batch_send(ctx, t->pg, &batch, 20000, &corr);
	cx_assert(batch.count == 0 && batch.len == 0);
	postgres_batch_free(&batch);
}

#endif
