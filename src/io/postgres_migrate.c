/* SPDX-License-Identifier: MIT */
#include "io/postgres_migrate.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <string.h>

#include "io/postgres_adopt.h"
#include "wire/hash.h"

/* "construc": the key of the advisory lock that all migrations of this program take. */
#define LOCK_KEY "7165066974323701091"
#define CONNECT_TIMEOUT_SECS "10"
#define LOCK_TIMEOUT "60s"

struct migrate {
	PGconn *conn;
	const struct postgres_migration *list;
	size_t count;
	FILE *out;
	FILE *err;
};

enum step { STEP_AGAIN, STEP_DONE };

/* Notices may quote rows. */
static void no_notice(void *arg, const PGresult *res)
{
	(void)arg;
	(void)res;
}

/* The first line of what the server said, which unlike its DETAIL quotes no row. */
static void say_failed(const struct migrate *m, const char *what, const PGresult *res)
{
	const char *text = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;

	if (text)
		fprintf(m->err, "construct: %s: %s (SQLSTATE %s)\n", what, text,
		        state ? state : "none");
	else
		fprintf(m->err, "construct: %s: the connection was lost\n", what);
}

static enum cx_err run(const struct migrate *m, const char *what, const char *sql)
{
	PGresult *res = PQexec(m->conn, sql);
	const ExecStatusType status = PQresultStatus(res);
	const bool ok = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;

	if (!ok)
		say_failed(m, what, res);
	PQclear(res);
	return ok ? CX_OK : CX_EIO;
}

/* One yes or no. */
static enum cx_err ask(const struct migrate *m, const char *sql, bool *yes)
{
	PGresult *res = PQexec(m->conn, sql);
	const bool ok = PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1;

	if (ok)
		*yes = PQgetvalue(res, 0, 0)[0] == 't';
	else
		say_failed(m, "reading the database's state", res);
	PQclear(res);
	return ok ? CX_OK : CX_EIO;
}

static void digest(const struct postgres_migration *one, char hex[HASH_HEX_LEN + 1])
{
	const struct wire_slice text = { (const uint8_t *)one->sql, strlen(one->sql) };
	uint8_t hash[HASH_LEN];

	hash_sha256(text, hash);
	hash_hex(hash, sizeof(hash), hex);
	hex[HASH_HEX_LEN] = '\0';
}

static enum cx_err record(const struct migrate *m, const struct postgres_migration *one)
{
	char hex[HASH_HEX_LEN + 1];
	const char *values[] = { one->name, hex };
	PGresult *res;
	bool ok;

	digest(one, hex);
	res = PQexecParams(m->conn,
	                   "INSERT INTO construct_migrations (name, sha256) VALUES ($1, $2)", 2,
	                   NULL, values, NULL, NULL, 0);
	ok = PQresultStatus(res) == PGRES_COMMAND_OK;
	if (!ok)
		say_failed(m, one->name, res);
	PQclear(res);
	return ok ? CX_OK : CX_EIO;
}

static enum cx_err adopt(const struct migrate *m)
{
	enum cx_err err = postgres_adopt_check(m->conn, m->err);

	if (err == CX_OK)
		err = record(m, &m->list[0]);
	else if (err == CX_EPROTO)
		fputs("construct: this database of the old system is not adopted\n", m->err);
	else
		fputs("construct: the old system's tables could not be read\n", m->err);
	if (err == CX_OK)
		err = run(m, "adoption", "COMMIT");
	if (err == CX_OK)
		fprintf(m->out, "adopted: the tables of the old system are %s\n",
		        m->list[0].name);
	return err;
}

/* A database that was never migrated by us: with or without the old system in it. */
static enum cx_err begin_history(const struct migrate *m)
{
	bool old;
	enum cx_err err;

	err = run(m, "construct_migrations",
	          "CREATE TABLE construct_migrations (name text PRIMARY KEY,"
	          " sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())");
	if (err == CX_OK)
		err = ask(m, "SELECT to_regclass('_sqlx_migrations') IS NOT NULL", &old);
	if (err != CX_OK)
		return err;
	return old ? adopt(m) : run(m, "construct_migrations", "COMMIT");
}

static int row_of(const PGresult *rows, const char *name)
{
	for (int i = 0; i < PQntuples(rows); i++) {
		if (strcmp(PQgetvalue(rows, i, 0), name) == 0)
			return i;
	}
	return -1;
}

static bool is_known(const struct migrate *m, const char *name)
{
	for (size_t i = 0; i < m->count; i++) {
		if (strcmp(m->list[i].name, name) == 0)
			return true;
	}
	return false;
}

/* The first of the list that is not in `rows` (in order of names), after the others were compared
 * (inv. 3).  *next is NULL when all are there. */
static enum cx_err find_next(const struct migrate *m, const PGresult *rows,
                             const struct postgres_migration **next)
{
	const int applied = PQntuples(rows);
	enum cx_err err = CX_OK;

	*next = NULL;
	for (size_t i = 0; i < m->count; i++) {
		const struct postgres_migration *one = &m->list[i];
		const int row = row_of(rows, one->name);
		char hex[HASH_HEX_LEN + 1];

		digest(one, hex);
		if (row < 0 && !*next)
			*next = one;
		if (row < 0 || strcmp(PQgetvalue(rows, row, 1), hex) == 0)
			continue;
		fprintf(m->err,
		        "construct: %s was changed after it was applied (SHA-256 %.12s..., "
		        "applied %.12s...): put it back; a change is a new migration\n",
		        one->name, hex, PQgetvalue(rows, row, 1));
		err = CX_EPROTO;
	}
	if (err == CX_OK && *next && applied > 0 &&
	    strcmp((*next)->name, PQgetvalue(rows, applied - 1, 0)) < 0) {
		fprintf(m->err,
		        "construct: %s comes before %s, which is applied already: give it a "
		        "later number\n",
		        (*next)->name, PQgetvalue(rows, applied - 1, 0));
		err = CX_EPROTO;
	}
	return err;
}

static enum cx_err apply(const struct migrate *m, const struct postgres_migration *one)
{
	enum cx_err err = run(m, one->name, one->sql);

	if (err == CX_OK && PQtransactionStatus(m->conn) != PQTRANS_INTRANS) {
		fprintf(m->err, "construct: %s ends the transaction it is in\n", one->name);
		return CX_EPROTO;
	}
	if (err == CX_OK)
		err = record(m, one);
	if (err == CX_OK)
		err = run(m, one->name, "COMMIT");
	if (err == CX_OK)
		fprintf(m->out, "applied: %s\n", one->name);
	return err;
}

static enum cx_err finish(const struct migrate *m, const PGresult *rows)
{
	for (int i = 0; i < PQntuples(rows); i++) {
		if (!is_known(m, PQgetvalue(rows, i, 0)))
			fprintf(m->out, "note: %s was applied by a newer program\n",
			        PQgetvalue(rows, i, 0));
	}
	return run(m, "the last transaction", "COMMIT");
}

/* The transaction is open and holds the lock; each way out of here ends it, or fails. */
static enum cx_err step(const struct migrate *m, enum step *then)
{
	const struct postgres_migration *next;
	PGresult *rows;
	bool begun;
	enum cx_err err;

	*then = STEP_AGAIN;
	err = ask(m, "SELECT to_regclass('construct_migrations') IS NOT NULL", &begun);
	if (err != CX_OK)
		return err;
	if (!begun)
		return begin_history(m);
	rows = PQexec(m->conn, "SELECT name, sha256 FROM construct_migrations"
	                       " ORDER BY name COLLATE \"C\"");
	if (PQresultStatus(rows) != PGRES_TUPLES_OK) {
		say_failed(m, "construct_migrations", rows);
		PQclear(rows);
		return CX_EIO;
	}
	err = find_next(m, rows, &next);
	if (err == CX_OK && next) {
		err = apply(m, next);
	} else if (err == CX_OK) {
		*then = STEP_DONE;
		err = finish(m, rows);
	}
	PQclear(rows);
	return err;
}

/* Read committed, whatever the database's default: the snapshot must be younger than the lock. */
static enum cx_err migrate_all(const struct migrate *m)
{
	enum step then = STEP_AGAIN;
	enum cx_err err = CX_OK;

	while (err == CX_OK && then == STEP_AGAIN) {
		err = run(m, "waiting for another migration",
		          "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
		          " SET LOCAL lock_timeout = '" LOCK_TIMEOUT "';"
		          " SELECT pg_advisory_xact_lock(" LOCK_KEY ")");
		if (err == CX_OK)
			err = step(m, &then);
	}
	return err; /* an open transaction ends with the connection */
}

static bool is_option(const PQconninfoOption *option, const char *keyword)
{
	return strcmp(option->keyword, keyword) == 0 && option->val;
}

/* A password that is not percent-encoded lands in another part of the URL, and from there in error
 * messages: such parts are refused before anything is said about them. */
static bool is_split_well(const PQconninfoOption *options)
{
	for (; options->keyword; options++) {
		if (is_option(options, "port") &&
		    options->val[strspn(options->val, "0123456789,")])
			return false;
		if ((is_option(options, "host") || is_option(options, "dbname")) &&
		    strchr(options->val, '@'))
			return false;
	}
	return true;
}

static enum cx_err check_url(const char *url, FILE *err)
{
	char *why = NULL;
	PQconninfoOption *options = PQconninfoParse(url, &why);
	const bool ok = options && is_split_well(options);

	/* `why` may quote the URL. */
	PQfreemem(why);
	PQconninfoFree(options);
	if (!ok)
		fputs("construct: the URL of the database cannot be taken apart: "
		      "postgresql://USER:PASSWORD@HOST:PORT/NAME, special characters "
		      "percent-encoded\n",
		      err);
	return ok ? CX_OK : CX_EINVAL;
}

enum cx_err postgres_migrate(const char *url, const struct postgres_migration *list,
                             size_t count, FILE *out, FILE *err)
{
	/* What comes after the URL overrules it, what comes before is overruled. */
	const char *const keywords[] = { "connect_timeout", "dbname", "client_encoding",
		                         "application_name", NULL };
	const char *const values[] = { CONNECT_TIMEOUT_SECS, url, "UTF8", "construct migrate",
		                       NULL };
	struct migrate m = { NULL, list, count, out, err };
	enum cx_err result = check_url(url, err);

	if (result != CX_OK)
		return result;
	m.conn = PQconnectdbParams(keywords, values, 1);
	if (PQstatus(m.conn) != CONNECTION_OK) {
		fprintf(err, "construct: %s", PQerrorMessage(m.conn));
		result = CX_EIO;
	} else {
		PQsetNoticeReceiver(m.conn, no_notice, NULL);
		result = migrate_all(&m);
	}
	PQfinish(m.conn);
	return result;
}
