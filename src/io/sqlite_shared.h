/* SPDX-License-Identifier: MIT */
/* The one open store of the process: made by sqlite_setup on the main thread, then each member
 * belongs to the thread of one actor. */
#ifndef IO_SQLITE_SHARED_H
#define IO_SQLITE_SHARED_H

#include "io/sqlite_checkpoint.h"
#include "io/sqlite_engine.h"

struct sqlite_shared {
	struct sqlite_engine engine; /* the writer's */
	struct sqlite_checkpoint checkpoint;
	sqlite3 *reader; /* the reader's */
	sqlite3_stmt *reader_sql[SQLITE_READER_SQL_COUNT];
	int lock_fd;
	bool is_open;
};

extern struct sqlite_shared sqlite_shared;

#endif
