/* SPDX-License-Identifier: MIT */
/* Moves what the write-ahead log holds into the database file without holding up commits.
 *
 * A thread of its own copies and syncs the bulk while the writer goes on; then the writer copies
 * the little that came in meanwhile, between two commits, and the next commit starts the log
 * from its beginning.  The log file is never shortened while the program runs: writing over
 * blocks that are there syncs twice as fast as making it longer.
 *
 * When a sync of the database file fails, what was copied may be lost though the system says it only
 * once, and SQLite counts it as copied.  The log still has it, so from then on the log is kept: no more
 * is copied, the store is called ill, and the next start copies all of it anew. */
#ifndef IO_SQLITE_CHECKPOINT_H
#define IO_SQLITE_CHECKPOINT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <sqlite3.h>

#include <cx/err.h>

enum sqlite_checkpoint_state {
	SQLITE_CHECKPOINT_IDLE,
	SQLITE_CHECKPOINT_ASKED,
	SQLITE_CHECKPOINT_DONE,
	SQLITE_CHECKPOINT_QUIT,
};

struct sqlite_checkpoint {
	pthread_t thread;
	pthread_mutex_t mutex; /* of state */
	pthread_cond_t cond;
	sqlite3 *db; /* the thread's */
	enum sqlite_checkpoint_state state;
	bool running;
	bool is_unsafe;        /* the thread's, under mutex: a sync failed */
	uint64_t start_bytes;  /* a log of this size is copied */
	uint64_t ask_at_bytes; /* the writer's */
};

/* Thread: main.  Returns CX_EIO with the text of sqlite_db_error. */
CX_NODISCARD enum cx_err sqlite_checkpoint_start(struct sqlite_checkpoint *c, const char *path);
/* Before the writer's connection is closed (NULL: it was never open). */
void sqlite_checkpoint_stop(struct sqlite_checkpoint *c, sqlite3 *writer);

/* After a commit: the log has wal_bytes.  Returns true when the log was emptied.
 * Thread: the writer's.  Blocks: some syncs, once for each filling of the log. */
bool sqlite_checkpoint_turn(struct sqlite_checkpoint *c, sqlite3 *writer, uint64_t wal_bytes);

#endif
