/* SPDX-License-Identifier: MIT */
#include "io/sqlite_checkpoint.h"

#include <string.h>

#include <cx/log.h>

#include "io/sqlite_db.h"
#include "io/sqlite_stats.h"

#define START_BYTES (32u << 20) /* by default */
#define AGAIN_BYTES (4u << 20)  /* after so much more when a reader was in the way */
#define PASSES_MAX 3
#define REST_FRAMES 256 /* what is left for the writer to copy */

/* SQLite syncs the database only when it has copied the last frame, which a copy beside a busy
 * writer never does: without this, the writer would have to wait for all of it. */
static bool sync_database(sqlite3 *db)
{
	sqlite3_file *file = NULL;
	int rc;

	if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK &&
	    file != NULL && file->pMethods != NULL) {
		rc = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
		if (rc != SQLITE_OK)
			cx_log(CX_ERROR, "sqlite.sync_failed", "code=%d", rc);
		return rc == SQLITE_OK;
	}
	return true;
}

/* Passive, so that nobody waits for it.  That it is told SQLITE_BUSY (the writer was just changing
 * the log's header) is no failure: there will be another turn. */
static bool checkpoint(sqlite3 *db, int *log, int *done)
{
	const int rc =
		sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, log, done);

	if (rc == SQLITE_OK)
		return true;
	if ((rc & 0xff) != SQLITE_BUSY)
		sqlite_db_log(db, "checkpoint");
	return false;
}

/* false: what was copied is not safe. */
static bool copy(sqlite3 *db)
{
	int log = 0, done = 0, before = 0, pass;

	for (pass = 0; pass < PASSES_MAX; pass++) {
		if (!checkpoint(db, &log, &done))
			continue;
		if (!sync_database(db))
			return false;
		if (done - before < REST_FRAMES)
			break;
		before = done;
	}
	return true;
}

static void *run(void *arg)
{
	struct sqlite_checkpoint *const c = arg;
	bool is_safe;

	pthread_setname_np(pthread_self(), "checkpoint");
	pthread_mutex_lock(&c->mutex);
	while (c->state != SQLITE_CHECKPOINT_QUIT) {
		if (c->state != SQLITE_CHECKPOINT_ASKED) {
			pthread_cond_wait(&c->cond, &c->mutex);
			continue;
		}
		pthread_mutex_unlock(&c->mutex);
		is_safe = copy(c->db);
		pthread_mutex_lock(&c->mutex);
		c->is_unsafe = c->is_unsafe || !is_safe;
		if (c->state == SQLITE_CHECKPOINT_ASKED)
			c->state = SQLITE_CHECKPOINT_DONE;
	}
	pthread_mutex_unlock(&c->mutex);
	return NULL;
}

enum cx_err sqlite_checkpoint_start(struct sqlite_checkpoint *c, const char *path)
{
	enum cx_err err;

	memset(c, 0, sizeof(*c));
	c->start_bytes = c->ask_at_bytes = START_BYTES;
	err = sqlite_db_open(path, SQLITE_DB_CHECKPOINTER, &c->db);
	if (err != CX_OK)
		return err;
	pthread_mutex_init(&c->mutex, NULL);
	pthread_cond_init(&c->cond, NULL);
	if (pthread_create(&c->thread, NULL, run, c) != 0) {
		sqlite_db_close(&c->db, NULL, 0);
		return sqlite_db_fail("cannot start the checkpoint thread");
	}
	c->running = true;
	return CX_OK;
}

static void set_state(struct sqlite_checkpoint *c, enum sqlite_checkpoint_state state)
{
	pthread_mutex_lock(&c->mutex);
	c->state = state;
	pthread_cond_signal(&c->cond);
	pthread_mutex_unlock(&c->mutex);
}

/* The last connection to close, the writer's, must not copy the rest and remove the log. */
static void keep_log(struct sqlite_checkpoint *c, sqlite3 *writer)
{
	if (c->ask_at_bytes == UINT64_MAX)
		return;
	c->ask_at_bytes = UINT64_MAX;
	sqlite_set_broken();
	if (sqlite3_db_config(writer, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL) != SQLITE_OK)
		sqlite_db_log(writer, "keep_log");
}

void sqlite_checkpoint_stop(struct sqlite_checkpoint *c, sqlite3 *writer)
{
	if (!c->running)
		return;
	set_state(c, SQLITE_CHECKPOINT_QUIT);
	pthread_join(c->thread, NULL);
	if (c->is_unsafe && writer != NULL)
		keep_log(c, writer);
	pthread_cond_destroy(&c->cond);
	pthread_mutex_destroy(&c->mutex);
	sqlite_db_close(&c->db, NULL, 0);
	c->running = false;
}

static bool finish(struct sqlite_checkpoint *c, sqlite3 *writer, uint64_t wal_bytes)
{
	int log = 0, done = 0;
	const bool emptied = checkpoint(writer, &log, &done) && log == done;

	set_state(c, SQLITE_CHECKPOINT_IDLE);
	c->ask_at_bytes = emptied ? c->start_bytes : wal_bytes + AGAIN_BYTES;
	if (emptied)
		sqlite_count(SQLITE_COUNT_CHECKPOINTS, 1);
	return emptied;
}

bool sqlite_checkpoint_turn(struct sqlite_checkpoint *c, sqlite3 *writer, uint64_t wal_bytes)
{
	enum sqlite_checkpoint_state state;
	bool is_unsafe;

	if (!c->running || wal_bytes < c->ask_at_bytes)
		return false;
	pthread_mutex_lock(&c->mutex);
	state = c->state;
	is_unsafe = c->is_unsafe;
	pthread_mutex_unlock(&c->mutex);
	if (is_unsafe) {
		keep_log(c, writer);
		return false;
	}
	if (state == SQLITE_CHECKPOINT_DONE)
		return finish(c, writer, wal_bytes);
	if (state == SQLITE_CHECKPOINT_IDLE)
		set_state(c, SQLITE_CHECKPOINT_ASKED);
	return false;
}
