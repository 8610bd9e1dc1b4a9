/* SPDX-License-Identifier: MIT */
/* What keeps the file small and the memory bounded, in steps short enough to stand between two
 * commits.  These transactions are not synced: each only rewrites what the file holds in another
 * form, the next commit's sync covers them, and a crash before it just leaves the old form. */
#include <stdlib.h>
#include <string.h>

#include <cx/log.h>

#include "io/sqlite_db.h"
#include "io/sqlite_engine.h"
#include "io/sqlite_stats.h"

#define HOUR_MS 3600000
#define STEP_MS 50        /* between steps when nothing presses */
#define SWEEP_MS 60000    /* between looks for what is over its time */
#define PAUSE_MS 1000     /* after a step that failed */
#define FILE_MS 1000      /* between looks whether the file is there */
#define STEP_ROWS 256     /* entries moved to rows in one step, at least */
#define STEP_BYTES 262144 /* and no more bytes than this, unless more come in */
#define DROP_SEGMENTS 64  /* segments deleted in one step */
#define SWEEP_ROWS 256    /* of an inbox looked at in one step */
#define TABLES_A_STEP 16  /* of remembered ids swept in one step */

struct step {
	uint64_t floor;
	int64_t last_row; /* segments up to this row are deleted; 0: none */
	uint32_t drops;
	uint8_t *hashes; /* of the messages in them */
	size_t hash_bytes, hash_cap;
};

static bool put_meta(struct sqlite_engine *e, const char *name, int64_t value)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_META_PUT];

	sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 2, value);
	return sqlite_run(s);
}

/* ---- entries get rows ---- */

static bool put_row(struct sqlite_engine *e, const struct record *r)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_ROW_PUT];

	sqlite3_bind_int64(s, 1, (int64_t)r->id);
	sqlite_bind_uuid(s, 2, &r->owner);
	sqlite3_bind_int(s, 3, r->kind);
	sqlite_bind_uuid(s, 4, &r->peer);
	sqlite_bind_uuid(s, 5, &r->key);
	sqlite3_bind_int64(s, 6, (int64_t)r->key_case);
	sqlite3_bind_int64(s, 7, r->wall_ms);
	sqlite3_bind_int64(s, 8, r->frame_len);
	sqlite3_bind_blob(s, 9, r->frame, (int)r->frame_len, SQLITE_STATIC);
	return sqlite_run(s);
}

static void note_moved(struct sqlite_engine *e, const struct record *r)
{
	if (e->moved_count == e->moved_cap) {
		e->moved_cap = e->moved_cap == 0 ? STEP_ROWS : e->moved_cap * 2;
		e->moved = realloc(e->moved, e->moved_cap * sizeof(*e->moved));
		cx_assert(e->moved != NULL);
	}
	e->moved[e->moved_count].owner = r->owner;
	e->moved[e->moved_count++].id = r->id;
}

static bool must_spill(const struct sqlite_engine *e, const struct sqlite_segment *s,
                       uint64_t freed)
{
	return e->index.bytes - freed > e->settings->spill_bytes ||
	       e->now_ms - s->born_ms > e->settings->spill_age_ms;
}

/* The next live entry of segment s from index *i on, or NULL. */
static const struct record *next_live(const struct sqlite_segment *s, uint32_t *i)
{
	while (*i < s->count && s->entries[*i].state == SQLITE_ENTRY_DEAD)
		(*i)++;
	return *i == s->count ? NULL : sqlite_segment_record(s, *i);
}

/* Writes rows for the oldest entries that must move. */
static bool spill(struct sqlite_engine *e, struct step *step, uint32_t rows)
{
	uint64_t freed = 0;
	size_t bytes = 0;
	uint32_t k, i;

	if (rows < STEP_ROWS)
		rows = STEP_ROWS;
	for (k = 0; k < e->index.count; k++) {
		struct sqlite_segment *const s = sqlite_index_at(&e->index, k);
		const struct record *r;

		if (s->live > 0 && !must_spill(e, s, freed))
			break;
		for (i = s->spilled; (r = next_live(s, &i)) != NULL; i++) {
			if (e->moved_count >= rows ||
			    (bytes > STEP_BYTES && e->moved_count >= STEP_ROWS / 8))
				return true;
			if (!put_row(e, r))
				return false;
			note_moved(e, r);
			bytes += r->size;
			step->floor = r->id;
		}
		freed += cx_buf_len(s->bytes);
		if (s->count > 0)
			step->floor = s->first + s->count - 1;
	}
	return true;
}

/* ---- segments in which nothing waits any more go, their ids stay known ---- */

static void gather_hashes(const struct sqlite_engine *e, const struct sqlite_segment *s,
                          struct step *step)
{
	const uint8_t *at = cx_buf_bytes(s->bytes), *const end = at + cx_buf_len(s->bytes);
	const struct record *r;
	bool torn;

	while ((r = record_next(&at, end, &torn)) != NULL) {
		struct sqlite_id id;

		if (r->kind != RECORD_MESSAGE)
			continue;
		if (step->hash_bytes + SQLITE_ID_BYTES > step->hash_cap) {
			step->hash_cap = step->hash_cap == 0 ? 8192 : step->hash_cap * 2;
			step->hashes = realloc(step->hashes, step->hash_cap);
			cx_assert(step->hashes != NULL);
		}
		id = sqlite_id_of(e->salt, &r->peer, &r->key);
		memcpy(step->hashes + step->hash_bytes, id.hash, SQLITE_ID_BYTES);
		step->hash_bytes += SQLITE_ID_BYTES;
	}
}

/* What this step moves is still marked as live, hence the floor. */
static bool is_empty(const struct sqlite_segment *s, uint64_t floor)
{
	return s->live == 0 || s->first + s->count - 1 <= floor;
}

static bool drop(struct sqlite_engine *e, struct step *step)
{
	sqlite3_stmt *const put = e->sql[SQLITE_W_DEDUP_PUT],
			    *const del = e->sql[SQLITE_W_SEGMENT_DELETE];
	uint32_t k;

	for (k = 0; k < e->index.count && k < DROP_SEGMENTS; k++) {
		struct sqlite_segment *const s = sqlite_index_at(&e->index, k);

		if (!is_empty(s, step->floor))
			break;
		gather_hashes(e, s, step);
		step->last_row = s->row;
		step->drops++;
		if (s->count > 0 && s->first + s->count - 1 > step->floor)
			step->floor = s->first + s->count - 1;
	}
	if (step->drops == 0)
		return true;
	sqlite3_bind_int64(del, 1, step->last_row);
	if (!sqlite_run(del))
		return false;
	if (step->hash_bytes == 0)
		return true;
	sqlite3_bind_int64(put, 1, sqlite_hour(e));
	sqlite3_bind_blob(put, 2, step->hashes, (int)step->hash_bytes, SQLITE_STATIC);
	return sqlite_run(put);
}

/* The step is in the file: memory follows. */
static void take_effect(struct sqlite_engine *e, const struct step *step)
{
	uint32_t k, left = e->moved_count;

	for (k = 0; k < e->index.count && left > 0; k++) {
		struct sqlite_segment *const s = sqlite_index_at(&e->index, k);
		uint32_t i;

		for (i = s->spilled; left > 0 && next_live(s, &i) != NULL; i++) {
			sqlite_index_spilled(&e->index, s, i);
			left--;
		}
		s->spilled = i;
	}
	e->index.floor = step->floor;
	for (k = 0; k < step->drops; k++)
		sqlite_index_pop(&e->index);
	sqlite_count(SQLITE_COUNT_SPILLED, e->moved_count);
}

static bool step_statements(struct sqlite_engine *e, struct step *step, uint32_t rows)
{
	return spill(e, step, rows) && drop(e, step) &&
	       (step->floor == e->index.floor || put_meta(e, "floor", (int64_t)step->floor)) &&
	       sqlite_run(e->sql[SQLITE_W_COMMIT]);
}

static bool is_tidy_due(struct sqlite_engine *e)
{
	const struct sqlite_segment *s;

	if (e->index.count == 0)
		return false;
	s = sqlite_index_at(&e->index, 0);
	return s->live == 0 || must_spill(e, s, 0);
}

/* Between "no sync" and "sync again" stands one transaction; outside any, else the pragma fails. */
static void set_sync(struct sqlite_engine *e, const char *pragma)
{
	if (sqlite3_exec(e->db, pragma, NULL, NULL, NULL) != SQLITE_OK)
		sqlite_db_log(e->db, "pragma");
}

static void give_up(struct sqlite_engine *e, const char *what)
{
	sqlite_trouble(e, what);
	if (!sqlite3_get_autocommit(e->db) && !sqlite_run(e->sql[SQLITE_W_ROLLBACK]))
		sqlite_db_log(e->db, "rollback");
}

/* Rows and deletions.  Returns whether it did something that the next step may go on with. */
static bool tidy(struct sqlite_engine *e, uint32_t rows)
{
	struct step step = { .floor = e->index.floor };
	bool ok = false;

	set_sync(e, "PRAGMA synchronous=NORMAL");
	if (sqlite_begin(e)) {
		ok = step_statements(e, &step, rows);
		if (ok)
			take_effect(e, &step);
		else
			give_up(e, "upkeep");
	}
	e->in_transaction = false;
	e->broken = false;
	if (!ok)
		e->moved_count = 0;
	set_sync(e, "PRAGMA synchronous=FULL");
	free(step.hashes);
	return ok;
}

/* ---- what is over its time ---- */

struct expired {
	struct uuid owner;
	int64_t id, len;
	bool is_message;
};

/* Looks at the oldest rows; -1: could not. */
static int find_expired(struct sqlite_engine *e, struct expired found[SWEEP_ROWS])
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_ROW_OLDEST];
	const int64_t limit = e->expiry_ms - e->settings->message_ttl_ms;
	int rc, n = 0;

	sqlite3_bind_int(s, 1, SWEEP_ROWS);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		if (sqlite3_column_int64(s, 4) >= limit)
			continue;
		found[n].id = sqlite3_column_int64(s, 0);
		found[n].owner = sqlite_column_uuid(s, 1);
		found[n].is_message = sqlite3_column_int(s, 2) == RECORD_MESSAGE;
		found[n].len = sqlite3_column_int64(s, 3);
		n++;
	}
	sqlite3_reset(s);
	return rc == SQLITE_DONE ? n : -1;
}

static bool expire_rows(struct sqlite_engine *e, bool *more)
{
	sqlite3_stmt *const del = e->sql[SQLITE_W_ROW_DELETE];
	struct expired found[SWEEP_ROWS];
	const int n = find_expired(e, found);
	int i;

	for (i = 0; i < n; i++) {
		sqlite3_bind_int64(del, 1, found[i].id);
		if (!sqlite_run(del))
			return false;
		sqlite_note_ended(e, &found[i].owner, (uint64_t)found[i].id);
		if (found[i].is_message)
			sqlite_delta_add(e, &found[i].owner, -1, -found[i].len, 0);
		else
			sqlite_delta_add(e, &found[i].owner, 0, 0, -1);
	}
	*more |= n > 0;
	return n >= 0;
}

static bool expire_ids(struct sqlite_engine *e, bool *more)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_DEDUP_OLDEST],
			    *const del = e->sql[SQLITE_W_DEDUP_DELETE];
	const int64_t window = e->settings->dedup_window_ms / HOUR_MS + 1;
	const int64_t hour = (int64_t)sqlite_hour(e) - window;
	int64_t last = 0;
	int rc;

	if (hour <= 1)
		return true;
	sqlite_ids_expire(&e->ids, (uint32_t)hour, TABLES_A_STEP);
	*more |= e->ids.swept != 0;
	while ((rc = sqlite3_step(s)) == SQLITE_ROW && sqlite3_column_int64(s, 1) < hour)
		last = sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	if (last == 0)
		return rc == SQLITE_ROW || rc == SQLITE_DONE;
	*more = true;
	sqlite3_bind_int64(del, 1, last);
	return sqlite_run(del);
}

static bool expire_limits(struct sqlite_engine *e, bool *more)
{
	sqlite3_stmt *const next = e->sql[SQLITE_W_LIMITS_NEXT],
			    *const s = e->sql[SQLITE_W_LIMITS_SWEEP];
	struct uuid last;
	bool found;

	sqlite3_bind_blob(next, 1, e->limits_cursor, sizeof(e->limits_cursor), SQLITE_STATIC);
	found = sqlite3_step(next) == SQLITE_ROW && sqlite3_column_type(next, 0) == SQLITE_BLOB;
	if (found)
		last = sqlite_column_uuid(next, 0);
	sqlite3_reset(next);
	if (!found) {
		memset(e->limits_cursor, 0, sizeof(e->limits_cursor));
		return true;
	}
	sqlite3_bind_blob(s, 1, e->limits_cursor, sizeof(e->limits_cursor), SQLITE_STATIC);
	sqlite_bind_uuid(s, 2, &last);
	sqlite3_bind_int64(s, 3, e->expiry_ms);
	*more = true;
	if (!sqlite_run(s))
		return false;
	memcpy(e->limits_cursor, last.b, sizeof(e->limits_cursor));
	return true;
}

static bool expire_by(struct sqlite_engine *e, enum sqlite_writer_sql which, int64_t limit,
                      bool *more)
{
	sqlite3_bind_int64(e->sql[which], 1, limit);
	if (!sqlite_run(e->sql[which]))
		return false;
	*more |= which == SQLITE_W_SESSIONS_SWEEP && sqlite3_changes(e->db) > 0;
	return true;
}

static bool sweep_statements(struct sqlite_engine *e, bool *more)
{
	return expire_rows(e, more) && expire_ids(e, more) && expire_limits(e, more) &&
	       expire_by(e, SQLITE_W_SESSIONS_SWEEP, e->expiry_ms, more) &&
	       expire_by(e, SQLITE_W_BLOCKS_SWEEP, e->expiry_ms, more) &&
	       expire_by(e, SQLITE_W_DAMAGED_SWEEP, e->expiry_ms - e->settings->message_ttl_ms,
	                 more);
}

/* One step of the sweep, committed like any batch: sums are taken back when it fails. */
static void sweep(struct sqlite_engine *e)
{
	bool more = false;

	if (!sqlite_begin(e) || !sweep_statements(e, &more)) {
		if (e->in_transaction)
			sqlite_trouble(e, "sweep");
		e->broken = true;
	}
	if (sqlite_commit(e) != CX_OK)
		more = false;
	sqlite_ids_expire(&e->gone, sqlite_hour(e) - 1, TABLES_A_STEP);
	e->sweeping = more;
	e->sweep_due_ms = e->now_ms + (more ? STEP_MS : SWEEP_MS);
}

/* A store that failed finds out by itself when it is well again. */
static void probe(struct sqlite_engine *e)
{
	if (sqlite_begin(e) && !put_meta(e, "probe", e->wall_ms)) {
		sqlite_trouble(e, "probe");
		e->broken = true;
	}
	if (sqlite_commit(e) == CX_OK)
		cx_log(CX_INFO, "sqlite.recovered", "file=\"%s\"", e->settings->path);
}

/* Each commit looks by itself; this is for the time in which there is none. */
static void look_for_file(struct sqlite_engine *e)
{
	if (e->now_ms < e->file_due_ms)
		return;
	e->file_due_ms = e->now_ms + FILE_MS;
	if (sqlite_has_file(e) || e->failing)
		return;
	e->failing = true;
	e->probe_due_ms = e->now_ms + FILE_MS;
	sqlite_set_health(false);
}

static uint32_t until(const struct sqlite_engine *e, uint64_t due_ms)
{
	return due_ms <= e->now_ms ? 1 : (uint32_t)(due_ms - e->now_ms);
}

/* When there is reason to look again. */
static uint32_t next_due(struct sqlite_engine *e)
{
	uint32_t ms = until(e, e->sweep_due_ms);
	uint32_t other;

	other = until(e, e->file_due_ms);
	ms = other < ms ? other : ms;
	if (e->failing) {
		other = until(e, e->probe_due_ms);
		ms = other < ms ? other : ms;
	}
	if (e->index.count > 0) {
		const struct sqlite_segment *const s = sqlite_index_at(&e->index, 0);

		other = is_tidy_due(e) ? until(e, e->upkeep_due_ms)
		                       : until(e, s->born_ms + e->settings->spill_age_ms + 1);
		ms = other < ms ? other : ms;
	}
	return ms;
}

uint32_t sqlite_upkeep(struct sqlite_engine *e, uint32_t rows)
{
	const bool over = e->index.bytes > e->settings->spill_bytes;

	cx_assert(e->plan_count == 0 && !e->in_transaction);
	e->moved_count = 0;
	if (e->sweep_due_ms == 0)
		e->sweep_due_ms = e->now_ms + SWEEP_MS;
	if (is_tidy_due(e) && ((over && e->tidy_worked) || e->now_ms >= e->upkeep_due_ms)) {
		e->tidy_worked = tidy(e, rows);
		e->upkeep_due_ms = e->now_ms + (e->tidy_worked ? STEP_MS : PAUSE_MS);
	}
	if (e->now_ms >= e->sweep_due_ms)
		sweep(e);
	if (e->failing && e->now_ms >= e->probe_due_ms)
		probe(e);
	look_for_file(e);
	sqlite_gauge(SQLITE_GAUGE_SEGMENTS, e->index.count);
	sqlite_gauge(SQLITE_GAUGE_REMEMBERED, e->ids.count);
	return next_due(e);
}
