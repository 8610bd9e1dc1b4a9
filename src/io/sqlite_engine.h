/* SPDX-License-Identifier: MIT */
/* The writer's state and what it does with it, without actors: so that tests and the benchmark
 * drive it directly.  Private to src/io/sqlite*.c, tests and bench.
 *
 *   gather   sqlite_append, sqlite_settle, sqlite_receipts_done, sqlite_store_write: their results
 *            are promises, nothing is durable
 *   commit   sqlite_commit makes all of them true, or none (then the promises are void)
 *   upkeep   between commits: empty segments go, old entries get rows, what is over its time ends
 *
 * Within a batch nothing changes in the index but what the batch itself reserves; settles and new
 * entries take effect when the committed bytes are applied.  Taking a batch back is therefore:
 * forget its ids, undo its reservations. */
#ifndef IO_SQLITE_ENGINE_H
#define IO_SQLITE_ENGINE_H

#include <sqlite3.h>

#include <cx/buf.h>

#include "io/log.h"
#include "io/sqlite.h"
#include "io/sqlite_file.h"
#include "io/sqlite_ids.h"
#include "io/sqlite_index.h"
#include "io/sqlite_sql.h"
#include "io/store.h"

/* A record of the batch, before it is written. */
struct sqlite_plan {
	uint64_t id; /* 0: of a kind that takes none */
	uint64_t ref;
	struct uuid owner, peer, key;
	uint32_t key_case;
	enum record_kind kind;
	struct cx_buf *frame;
	struct sqlite_id mark; /* MESSAGE: remembered; USER_GONE: the mark of his grave */
};

/* What a statement of the batch did to an owner's sums. */
struct sqlite_delta {
	struct uuid owner;
	int64_t bytes;
	int32_t messages, row_receipts;
};

struct sqlite_engine {
	const struct sqlite_settings *settings;
	sqlite3 *db;
	sqlite3_stmt *sql[SQLITE_WRITER_SQL_COUNT];
	uint8_t salt[SQLITE_IDS_SALT_BYTES];
	struct sqlite_ids ids;
	struct sqlite_ids gone; /* users deleted in the last hour or two */
	struct sqlite_index index;
	uint64_t next_id;
	int64_t next_row;

	/* the batch */
	struct sqlite_plan *plan;
	uint32_t plan_count, plan_cap;
	size_t plan_bytes;
	uint64_t batch_first_id;
	struct sqlite_delta *deltas;
	uint32_t delta_count, delta_cap;
	bool in_transaction;
	bool broken; /* the transaction was lost: nothing of this batch can be kept */
	struct cx_buf *committed; /* the last commit's bytes, until the next commit; or NULL */
	bool committed_entries;   /* they hold something for the partitions */

	/* entries that this batch (or step of the upkeep) ends by itself: true with the commit */
	struct log_place *ended;
	uint32_t ended_count, ended_cap;

	/* time */
	uint64_t now_ms;
	int64_t wall_ms;
	int64_t expiry_ms; /* the wall clock as far as forgetting goes: see sqlite_clock */

	/* upkeep */
	uint64_t upkeep_due_ms;
	uint64_t sweep_due_ms;
	bool sweeping;
	uint8_t limits_cursor[16];
	struct log_place *moved; /* of the last upkeep step */
	uint32_t moved_count, moved_cap;
	bool tidy_worked; /* the last step that moved or deleted */
	bool failing;     /* the last commit did not work */
	struct sqlite_file file;
	uint64_t file_due_ms; /* when to look whether it is still there */
	bool is_file_gone;
	uint64_t probe_due_ms;

	int wal_frames; /* in the write-ahead log */
	uint32_t page_bytes;
};

/* The time of what follows.  Messages and ids are forgotten by a clock that follows the wall
 * clock down at once, up at twice the speed of real time at most: a clock that jumps ahead does
 * not wipe inboxes. */
void sqlite_clock(struct sqlite_engine *e, uint64_t now_ms, int64_t wall_ms);

/* Open, recover.  Returns CX_EIO with the text of sqlite_db_error. */
CX_NODISCARD enum cx_err sqlite_engine_open(struct sqlite_engine *e,
                                            const struct sqlite_settings *settings,
                                            uint64_t now_ms, int64_t wall_ms);
/* Gives back every buffer, on the thread that made them; only closing may follow. */
void sqlite_engine_release(struct sqlite_engine *e);
void sqlite_engine_close(struct sqlite_engine *e);

/* LOG_OK (*id is its id), LOG_DUPLICATE, LOG_NO_OWNER, LOG_INBOX_FULL or LOG_FAILED.
 * Keeps: a reference on frame until the commit. */
enum log_outcome sqlite_append(struct sqlite_engine *e, const struct log_append_msg *m,
                               uint64_t *id, struct sqlite_id *mark);
/* An id of a batch that failed is not remembered: the answer to its duplicates is LOG_FAILED. */
bool sqlite_is_remembered(const struct sqlite_engine *e, struct sqlite_id mark);

enum sqlite_settled {
	SQLITE_SETTLED_BEFORE, /* nothing to do */
	SQLITE_SETTLED_NOW,    /* true with the commit */
	SQLITE_SETTLE_FAILED,
};
enum sqlite_settled sqlite_settle(struct sqlite_engine *e, const struct log_settle_msg *m);
void sqlite_receipts_done(struct sqlite_engine *e, const struct log_receipts_done_msg *m);

/* One of the writes of store.h; fills result.  STORE_FAILED spoils nothing but itself. */
void sqlite_store_write(struct sqlite_engine *e, const struct store_op *op,
                        struct store_result *result);

/* Make the batch durable.  CX_OK: e->committed holds the bytes (or NULL when there were none), and
 * e->ended what ended with it, for the caller to tell and to set to none.
 * CX_EIO: nothing of it happened, ids and sums are as before it. */
CX_NODISCARD enum cx_err sqlite_commit(struct sqlite_engine *e);

/* One bounded step, if one is due; `rows`: at least so many entries to move when over a limit.
 * e->moved tells which entries have rows now, e->ended which are no more.  Returns ms until the next step is due. */
uint32_t sqlite_upkeep(struct sqlite_engine *e, uint32_t rows);

/* ---- between the engine's files ---- */

CX_NODISCARD bool sqlite_begin(struct sqlite_engine *e);
/* A statement failed: finds out whether the transaction is lost with it. */
void sqlite_trouble(struct sqlite_engine *e, const char *what);
/* One more record in the batch; takes an id for kinds that have one. */
struct sqlite_plan *sqlite_plan_add(struct sqlite_engine *e, enum record_kind kind,
                                    const struct uuid *owner, struct cx_buf *frame);
void sqlite_delta_add(struct sqlite_engine *e, const struct uuid *owner, int32_t messages,
                      int64_t bytes, int32_t row_receipts);
CX_NODISCARD enum cx_err sqlite_recover(struct sqlite_engine *e);
/* Says so in the log when it is gone. */
bool sqlite_has_file(struct sqlite_engine *e);
uint32_t sqlite_hour(const struct sqlite_engine *e);
/* Entry id of owner goes with this batch. */
void sqlite_note_ended(struct sqlite_engine *e, const struct uuid *owner, uint64_t id);
/* One more receipt comes for owner: those over the bound go, oldest first, a part of the bound at a
 * time and once a batch. */
void sqlite_bound_receipts(struct sqlite_engine *e, const struct uuid *owner);
enum store_outcome sqlite_limit_write(struct sqlite_engine *e, const struct store_op *op,
                                      struct store_result *result);

#endif
