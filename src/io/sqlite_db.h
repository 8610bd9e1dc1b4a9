/* SPDX-License-Identifier: MIT */
/* The database file: opening, locking, schema, and small helpers round prepared statements.
 * Private to src/io/sqlite*.c. */
#ifndef IO_SQLITE_DB_H
#define IO_SQLITE_DB_H

#include <stdbool.h>
#include <stdint.h>

#include <sqlite3.h>

#include <cx/err.h>

#include "wire/uuid.h"

enum sqlite_db_role { SQLITE_DB_WRITER, SQLITE_DB_READER, SQLITE_DB_CHECKPOINTER };

/* A connection with its pragmas set.  Returns CX_EIO with the text of sqlite_db_error. */
CX_NODISCARD enum cx_err sqlite_db_open(const char *path, enum sqlite_db_role role,
                                        sqlite3 **out);

/* Brings the schema up to date; refuses files of others and of newer programs. */
CX_NODISCARD enum cx_err sqlite_db_migrate(sqlite3 *db, const char *path);

/* Prepares count statements for the connection's life. */
CX_NODISCARD enum cx_err sqlite_db_prepare(sqlite3 *db, const char *const *texts,
                                           unsigned count, sqlite3_stmt **out);
/* Makes the write-ahead log's file long before it is used: a sync of blocks that are there takes a
 * third of the time of one that also stores a new length.  Before the first write only. */
void sqlite_db_extend_log(sqlite3 *db);

uint32_t sqlite_db_page_bytes(sqlite3 *db);
void sqlite_db_close(sqlite3 **db, sqlite3_stmt **statements, unsigned count);

/* The text of the last failure of the calls above; main thread. */
const char *sqlite_db_error(void);
/* Set it.  Returns CX_EIO. */
enum cx_err sqlite_db_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Logs what the connection says went wrong, under one event name. */
void sqlite_db_log(sqlite3 *db, const char *what);

void sqlite_bind_uuid(sqlite3_stmt *s, int at, const struct uuid *id);
/* Wrong length in the file: all zero. */
struct uuid sqlite_column_uuid(sqlite3_stmt *s, int at);
/* Copies text with its end mark; what is too long is cut. */
void sqlite_column_name(sqlite3_stmt *s, int at, char *out, size_t room);

/* Runs a statement that gives no rows, and resets it. */
CX_NODISCARD bool sqlite_run(sqlite3_stmt *s);

#endif
