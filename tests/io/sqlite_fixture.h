/* SPDX-License-Identifier: MIT */
/* A store in a folder of its own, for the tests of src/io/sqlite*. */
#ifndef TESTS_IO_SQLITE_FIXTURE_H
#define TESTS_IO_SQLITE_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "io/sqlite_db.h"
#include "io/sqlite_engine.h"

#define HOUR_MS INT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)
#define WALL_MS INT64_C(1750000000000)

struct fixture {
	char folder[64];
	char path[96];
	struct sqlite_settings settings;
	struct sqlite_engine engine;
	uint64_t now_ms;
	int64_t wall_ms;
};

static inline void fixture_settings(struct fixture *f)
{
	snprintf(f->folder, sizeof(f->folder), "/tmp/construct-test-XXXXXX");
	cr_assert_not_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof(f->path), "%s/construct.db", f->folder);
	f->settings = (struct sqlite_settings){
		.path = f->path,
		.message_ttl_ms = 7 * DAY_MS,
		.dedup_window_ms = 8 * DAY_MS,
		.inbox_max_messages = 10000,
		.inbox_max_bytes = 64 << 20,
		.spill_bytes = 16 << 20,
		.spill_age_ms = 10000,
	};
	f->now_ms = 1000000;
	f->wall_ms = WALL_MS;
}

static inline void fixture_open(struct fixture *f)
{
	const enum cx_err err =
		sqlite_engine_open(&f->engine, &f->settings, f->now_ms, f->wall_ms);

	cr_assert_eq(err, CX_OK, "%s", sqlite_db_error());
}

static inline void fixture_reopen(struct fixture *f)
{
	sqlite_engine_close(&f->engine);
	fixture_open(f);
}

static inline void fixture_remove(struct fixture *f)
{
	static const char *const tails[] = { "", "-wal", "-shm", "-lock" };
	char name[128];
	unsigned i;

	for (i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "%s%s", f->path, tails[i]);
		unlink(name);
	}
	rmdir(f->folder);
}

/* Time passes. */
static inline void fixture_wait(struct fixture *f, int64_t ms)
{
	f->now_ms += (uint64_t)ms;
	f->wall_ms += ms;
	sqlite_clock(&f->engine, f->now_ms, f->wall_ms);
}

static inline struct uuid id_of(uint64_t n)
{
	struct uuid id = { { 0 } };

	memcpy(id.b, &n, sizeof(n));
	id.b[15] = 1;
	return id;
}

static inline enum log_outcome append_len(struct fixture *f, uint64_t owner, uint64_t peer,
                                          uint64_t key, size_t len, uint64_t *id)
{
	struct log_append_msg m = { .owner = id_of(owner),
		                    .peer = id_of(peer),
		                    .key = id_of(key) };
	enum log_outcome outcome;
	struct sqlite_id mark;
	uint64_t ignored;

	m.hdr.buf = cx_buf_new(len);
	memset(cx_buf_data(m.hdr.buf), (int)(key & 0xff), len);
	m.key_case = (uint32_t)key;
	outcome = sqlite_append(&f->engine, &m, id == NULL ? &ignored : id, &mark);
	cx_buf_unref(m.hdr.buf);
	return outcome;
}

static inline enum log_outcome append(struct fixture *f, uint64_t owner, uint64_t peer,
                                      uint64_t key, uint64_t *id)
{
	return append_len(f, owner, peer, key, 100, id);
}

/* peer 0: no receipt. */
static inline enum sqlite_settled settle(struct fixture *f, uint64_t owner, uint64_t id,
                                         uint64_t peer)
{
	struct log_settle_msg m = { .owner = id_of(owner), .peer = id_of(peer), .id = id };
	enum sqlite_settled settled;

	m.hdr.buf = peer == 0 ? NULL : cx_buf_copy("receipt", 7);
	settled = sqlite_settle(&f->engine, &m);
	cx_buf_unref(m.hdr.buf);
	return settled;
}

static inline void receipts_done(struct fixture *f, uint64_t owner, uint64_t upto)
{
	const struct log_receipts_done_msg m = { .owner = id_of(owner), .upto = upto };

	sqlite_receipts_done(&f->engine, &m);
}

static inline void commit(struct fixture *f)
{
	cr_assert_eq(sqlite_commit(&f->engine), CX_OK);
}

/* Moves and deletes whatever may be moved, deleted and swept. */
static inline void tidy_all(struct fixture *f)
{
	unsigned i;

	for (i = 0; i < 300; i++) {
		fixture_wait(f, i == 100 ? 61000 : 60);
		sqlite_upkeep(&f->engine, 0);
	}
}

static inline int64_t number(struct fixture *f, const char *sql)
{
	sqlite3_stmt *s;
	int64_t n;

	cr_assert_eq(sqlite3_prepare_v2(f->engine.db, sql, -1, &s, NULL), SQLITE_OK, "%s: %s",
	             sql, sqlite3_errmsg(f->engine.db));
	cr_assert_eq(sqlite3_step(s), SQLITE_ROW);
	n = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return n;
}

static inline uint32_t messages_of(struct fixture *f, uint64_t owner)
{
	const struct uuid id = id_of(owner);
	const struct sqlite_owner *const o = sqlite_index_owner(&f->engine.index, &id);

	return o == NULL ? 0 : o->messages;
}

/* From the next commit on, COMMIT fails as it would with a full disk: nothing is stored. */
static inline int refuse_commit(void *arg)
{
	(void)arg;
	return 1;
}
static inline void fail_commits(struct fixture *f, bool fail)
{
	sqlite3_commit_hook(f->engine.db, fail ? refuse_commit : NULL, NULL);
}

#endif
