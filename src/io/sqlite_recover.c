/* SPDX-License-Identifier: MIT */
/* What the writer must know before it may take the first message: what waits, which ids were
 * seen, where the numbering goes on.  All of it is in the file. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <cx/log.h>

#include "io/sqlite_db.h"
#include "io/sqlite_engine.h"

#define HOUR_MS 3600000

static bool load_salt(struct sqlite_engine *e)
{
	sqlite3_stmt *const get = e->sql[SQLITE_W_META_GET], *const put =
								     e->sql[SQLITE_W_META_PUT];
	bool found;

	sqlite3_bind_text(get, 1, "dedup_salt", -1, SQLITE_STATIC);
	found = sqlite3_step(get) == SQLITE_ROW &&
	        sqlite3_column_bytes(get, 0) == (int)sizeof(e->salt);
	if (found)
		memcpy(e->salt, sqlite3_column_blob(get, 0), sizeof(e->salt));
	sqlite3_reset(get);
	if (found)
		return true;
	if (getrandom(e->salt, sizeof(e->salt), 0) != (ssize_t)sizeof(e->salt))
		return false;
	sqlite3_bind_text(put, 1, "dedup_salt", -1, SQLITE_STATIC);
	sqlite3_bind_blob(put, 2, e->salt, sizeof(e->salt), SQLITE_STATIC);
	return sqlite_run(put);
}

/* The numbering goes on after the highest id ever given: of the segments (their records come
 * later), of the rows, and of what stood in segments that are gone. */
static bool load_floor(struct sqlite_engine *e)
{
	sqlite3_stmt *const get = e->sql[SQLITE_W_META_GET], *const last =
								     e->sql[SQLITE_W_ROW_LAST];
	uint64_t row = 0;
	int rc;

	sqlite3_bind_text(get, 1, "floor", -1, SQLITE_STATIC);
	rc = sqlite3_step(get);
	if (rc == SQLITE_ROW)
		e->index.floor = (uint64_t)sqlite3_column_int64(get, 0);
	sqlite3_reset(get);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return false;
	rc = sqlite3_step(last);
	if (rc == SQLITE_ROW)
		row = (uint64_t)sqlite3_column_int64(last, 0);
	sqlite3_reset(last);
	e->next_id = (row > e->index.floor ? row : e->index.floor) + 1;
	return rc == SQLITE_ROW;
}

static bool load_sums(struct sqlite_engine *e)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_ROW_SUMS];
	int rc;

	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		const struct uuid owner = sqlite_column_uuid(s, 0);

		sqlite_index_adjust(&e->index, &owner, sqlite3_column_int(s, 1),
		                    sqlite3_column_int64(s, 2), sqlite3_column_int(s, 3));
	}
	sqlite3_reset(s);
	return rc == SQLITE_DONE;
}

static bool load_ids(struct sqlite_engine *e)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_DEDUP_ALL];
	int rc;

	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		const uint32_t hour = (uint32_t)sqlite3_column_int64(s, 0);
		const uint8_t *const bytes = sqlite3_column_blob(s, 1);
		const int len = sqlite3_column_bytes(s, 1);
		int at;

		for (at = 0; hour != 0 && at + SQLITE_ID_BYTES <= len; at += SQLITE_ID_BYTES) {
			struct sqlite_id id;

			memcpy(id.hash, bytes + at, SQLITE_ID_BYTES);
			sqlite_ids_add(&e->ids, id, hour);
		}
	}
	sqlite3_reset(s);
	return rc == SQLITE_DONE;
}

static bool is_kind(uint8_t kind)
{
	return kind >= RECORD_MESSAGE && kind <= RECORD_USER_GONE;
}

/* How many bytes from the start are a segment as this program writes them: records of known
 * kinds, ids counting up by one and none from before. */
static size_t sound_bytes(const struct cx_buf *bytes, uint64_t next_id)
{
	const uint8_t *const start = cx_buf_bytes(bytes), *const end =
								  start + cx_buf_len(bytes);
	const uint8_t *at = start;
	const struct record *r;
	uint64_t expected = 0;
	size_t sound = 0;
	bool torn;

	while ((r = record_next(&at, end, &torn)) != NULL) {
		const bool has_id = r->kind != RECORD_SETTLE && r->kind != RECORD_RECEIPTS_DONE;

		if (!is_kind(r->kind) || has_id != (r->id != 0))
			break;
		if (has_id && (expected == 0 ? r->id < next_id : r->id != expected))
			break;
		if (has_id)
			expected = r->id + 1;
		sound = (size_t)(at - start);
	}
	return sound;
}

static void remember_messages(struct sqlite_engine *e, const struct cx_buf *bytes)
{
	const uint8_t *at = cx_buf_bytes(bytes), *const end = at + cx_buf_len(bytes);
	const struct record *r;
	bool torn;

	while ((r = record_next(&at, end, &torn)) != NULL)
		if (r->kind == RECORD_MESSAGE)
			sqlite_ids_add(&e->ids, sqlite_id_of(e->salt, &r->peer, &r->key),
			               r->wall_ms < HOUR_MS ? 1
			                                    : (uint32_t)(r->wall_ms / HOUR_MS));
}

/* Keep what cannot be read for whoever may want to look at it. */
static void keep_damaged(struct sqlite_engine *e, int64_t row)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_SEGMENT_DAMAGED];

	sqlite3_bind_int64(s, 1, row);
	sqlite3_bind_int64(s, 2, e->wall_ms);
	if (!sqlite_run(s))
		sqlite_db_log(e->db, "keep_damaged_segment");
}

/* last_id: of the segments before this one. */
static void load_segment(struct sqlite_engine *e, int64_t row, uint64_t *last_id)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_SEGMENT_GET];
	struct cx_buf *bytes = NULL;
	size_t len = 0, sound = 0;

	sqlite3_bind_int64(s, 1, row);
	if (sqlite3_step(s) == SQLITE_ROW) {
		len = (size_t)sqlite3_column_bytes(s, 0);
		bytes = cx_buf_copy(sqlite3_column_blob(s, 0), len);
		sound = sound_bytes(bytes, *last_id + 1);
	}
	sqlite3_reset(s);
	if (bytes == NULL || sound != len) {
		cx_log(CX_ERROR, "sqlite.segment_damaged",
		       "file=\"%s\" segment=%lld bytes=%zu readable=%zu", e->settings->path,
		       (long long)row, len, sound);
		keep_damaged(e, row);
	}
	if (bytes != NULL) {
		cx_buf_trim(bytes, sound);
		remember_messages(e, bytes);
		*last_id = sqlite_index_apply(&e->index, SQLITE_APPLY_RECOVERED, row, bytes,
		                              *last_id + 1, e->now_ms) -
		           1;
		if (*last_id >= e->next_id)
			e->next_id = *last_id + 1;
		cx_buf_unref(bytes);
	}
	e->next_row = row + 1;
}

/* The rows' numbers first: one that cannot be read must not hide the others. */
static bool list_segments(struct sqlite_engine *e, int64_t **rows, size_t *count)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_SEGMENT_LIST];
	size_t cap = 0;
	int rc;

	*rows = NULL;
	*count = 0;
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		if (*count == cap) {
			cap = cap == 0 ? 256 : cap * 2;
			*rows = realloc(*rows, cap * sizeof(**rows));
			cx_assert(*rows != NULL);
		}
		(*rows)[(*count)++] = sqlite3_column_int64(s, 0);
	}
	sqlite3_reset(s);
	return rc == SQLITE_DONE;
}

enum cx_err sqlite_recover(struct sqlite_engine *e)
{
	int64_t *rows = NULL;
	uint64_t last_id = 0;
	size_t count = 0, i;
	bool ok;

	e->next_row = 1;
	ok = load_salt(e) && load_floor(e) && load_sums(e) && load_ids(e) &&
	     list_segments(e, &rows, &count);
	for (i = 0; ok && i < count; i++)
		load_segment(e, rows[i], &last_id);
	free(rows);
	if (!ok)
		return sqlite_db_fail("cannot read the database %s: %s", e->settings->path,
		                      sqlite3_errmsg(e->db));
	return CX_OK;
}
