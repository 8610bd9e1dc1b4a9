/* SPDX-License-Identifier: MIT */
/* Brings a PostgreSQL database to the newest schema: for an operator's command, which has a process
 * of its own and may wait.
 *
 *   1. Each migration is one transaction, with its row in construct_migrations (name, SHA-256): it
 *      is there as a whole or not at all.
 *   2. Every transaction begins with the same advisory lock and reads the table again, so any
 *      number of these may run at once.  The lock is the transaction's, not the session's, which
 *      a pooler in transaction mode would lose.
 *   3. A migration that was applied never changes, and none is put before one that was applied.
 *   4. A database of the system before this one (it has _sqlx_migrations) is adopted: its tables
 *      are checked, and the first migration counts as applied. */
#ifndef IO_POSTGRES_MIGRATE_H
#define IO_POSTGRES_MIGRATE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cx/err.h>

struct postgres_migration {
	const char *name; /* NNN_name.sql; the order of the names is the order of the list */
	const char *sql;
};

/* Apply to the database at `url` (postgresql://...) what it lacks of `list`, whose first entry is
 * the schema that an adopted database has.  Prints a line for each to `out`, and why it stopped to
 * `err`: neither ever holds the URL, its password or a row's content.  What a newer program applied
 * is left alone, with a note: going back to this one must stay possible.
 * Thread: main.  Blocks: until done; 10 s for the connection, 60 s for each lock.  Keeps: nothing.
 * Returns CX_OK; CX_EINVAL: the URL cannot be used; CX_EIO: not reachable, or a migration failed;
 * CX_EPROTO: the database is not what this program knows.  After an error the migrations printed
 * before it are applied, the others have left no trace. */
CX_NODISCARD enum cx_err postgres_migrate(const char *url,
                                          const struct postgres_migration *list, size_t count,
                                          FILE *out, FILE *err);

#endif
