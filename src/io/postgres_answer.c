/* SPDX-License-Identifier: MIT */
/* An ask is answered at its Sync, not before: until then its transaction is not committed. */
#include "io/postgres_answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include <cx/log.h>

#include "io/postgres_figures.h"
#include "io/postgres_request.h"

#define IDLE_BYTES (64 * 1024) /* more is given back */

static size_t size_of(const PGresult *res, int rows, int columns)
{
	size_t size = 2 * sizeof(uint32_t) + sizeof(uint64_t);

	for (int row = 0; row < rows; row++)
		for (int column = 0; column < columns; column++)
			size += sizeof(uint32_t) + (size_t)PQgetlength(res, row, column);
	return size;
}

static void put(struct postgres_conn *c, const void *bytes, size_t len)
{
	if (len > 0)
		memcpy(c->answer + c->answer_len, bytes, len);
	c->answer_len += len;
}

static void put_value(struct postgres_conn *c, const PGresult *res, int row, int column)
{
	const uint32_t len = PQgetisnull(res, row, column)
	                             ? POSTGRES_LEN_NULL
	                             : (uint32_t)PQgetlength(res, row, column);

	put(c, &len, sizeof(len));
	if (len != POSTGRES_LEN_NULL)
		put(c, PQgetvalue(res, row, column), len);
}

static bool add(struct postgres_conn *c, const PGresult *res)
{
	const int rows = PQntuples(res), columns = PQnfields(res);
	const uint32_t head[2] = { (uint32_t)rows, (uint32_t)columns };
	/* the library's parameter lacks a const */
	const char *const tuples = PQcmdTuples((PGresult *)(uintptr_t)res);
	const uint64_t affected = strtoull(tuples, NULL, 10);
	const size_t size = size_of(res, rows, columns);

	if (size > POSTGRES_ANSWER_BYTES_MAX - c->answer_len)
		return false;
	if (c->answer_len + size > c->answer_cap) {
		c->answer_cap = 2 * (c->answer_len + size);
		c->answer = realloc(c->answer, c->answer_cap);
		cx_assert(c->answer != NULL);
	}
	put(c, head, sizeof(head));
	put(c, &affected, sizeof(affected));
	for (int row = 0; row < rows; row++)
		for (int column = 0; column < columns; column++)
			put_value(c, res, row, column);
	return true;
}

static void forget(struct postgres_conn *c)
{
	c->answer_len = 0;
	if (c->answer_cap > IDLE_BYTES) {
		free(c->answer);
		c->answer = NULL;
		c->answer_cap = 0;
	}
}

/* ---- what is done with them ---- */

static void measure(struct cx_ctx *ctx, struct postgres_figures *f,
                    const struct postgres_entry *e)
{
	const uint64_t now_ns = cx_now_ns(ctx);
	const uint64_t took_ns = now_ns > e->sent_ns ? now_ns - e->sent_ns : 0;

	postgres_count(&f->queries, e->got);
	postgres_count(&f->errors, e->is_refused);
	postgres_count(&f->latency_ns_sum, took_ns);
	postgres_count(&f->latency_count, 1);
	if (took_ns > f->latency_ns_max)
		postgres_count(&f->latency_ns_max, took_ns - f->latency_ns_max);
}

static void finish(struct cx_ctx *ctx, struct postgres_conn *c)
{
	struct postgres_entry e = postgres_ring_pop(&c->sent);
	struct postgres_result *m;

	if (e.buf == NULL)
		return;
	measure(ctx, c->shared->figures, &e);
	c->is_readonly |= e.is_refused && strcmp(e.sqlstate, "25006") == 0;
	if (cx_now_ms(ctx) > e.deadline_ms + 1) {
		postgres_count(&c->shared->figures->late, 1); /* nobody waits */
	} else {
		m = CX_MSG_NEW(ctx, POSTGRES_RESULT, struct postgres_result);
		m->outcome = e.is_refused ? POSTGRES_REFUSED : POSTGRES_DONE;
		memcpy(m->sqlstate, e.sqlstate, sizeof(m->sqlstate));
		if (!e.is_refused) {
			m->count = e.count;
			m->hdr.buf = cx_buf_copy(c->answer, c->answer_len);
		}
		cx_answer(ctx, e.caller, &m->hdr);
	}
	forget(c);
	postgres_load_drop(&c->shared->load, &e);
}

/* Which statement, and the server's code; its text may quote a value. */
static void refuse(struct postgres_conn *c, struct postgres_entry *e, const char *sqlstate)
{
	struct postgres_walk walk = postgres_walk_start(e->buf);
	struct postgres_call call = { 0 };

	for (uint32_t i = 0; i <= e->got; i++)
		if (!postgres_call_next(&walk, &call))
			break;
	e->is_refused = true;
	snprintf(e->sqlstate, sizeof(e->sqlstate), "%s", sqlstate != NULL ? sqlstate : "XX000");
	cx_log(CX_WARN, "postgres.refused", "statement=%s sqlstate=%s",
	       c->shared->statements[call.statement].name, e->sqlstate);
}

/* False: it must not come. */
static bool take_result(struct cx_ctx *ctx, struct postgres_conn *c, const PGresult *res)
{
	struct postgres_entry *const e = postgres_ring_head(&c->sent);

	switch (PQresultStatus(res)) {
	case PGRES_PIPELINE_SYNC:
		if (!e->is_refused && e->got != e->count)
			return false;
		finish(ctx, c);
		return true;
	case PGRES_COMMAND_OK:
	case PGRES_TUPLES_OK:
		if (e->got >= e->count)
			return false;
		if (!add(c, res))
			refuse(c, e, "54000");
		e->got++;
		return true;
	case PGRES_PIPELINE_ABORTED:
		return true;
	case PGRES_FATAL_ERROR:
		if (e->buf == NULL)
			return false;
		refuse(c, e, PQresultErrorField(res, PG_DIAG_SQLSTATE));
		return PQstatus(c->pg) == CONNECTION_OK;
	default:
		return false;
	}
}

bool postgres_answer_read(struct cx_ctx *ctx, struct postgres_conn *c)
{
	unsigned nothing = 0;

	while (!PQisBusy(c->pg) && postgres_ring_used(&c->sent) > 0 && nothing < 3) {
		PGresult *const res = PQgetResult(c->pg);
		bool is_right = true;

		if (res == NULL) {
			nothing++; /* between two statements */
		} else {
			nothing = 0;
			is_right = take_result(ctx, c, res);
		}
		PQclear(res);
		if (!is_right)
			return false;
	}
	return nothing < 3;
}
