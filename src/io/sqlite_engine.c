/* SPDX-License-Identifier: MIT */
#include "io/sqlite_engine.h"

#include <stdlib.h>
#include <string.h>

#include <cx/log.h>

#include "io/sqlite_db.h"
#include "io/sqlite_stats.h"

#define HOUR_MS 3600000
#define PROBE_MS 1000 /* a failing store tries itself so often */

uint32_t sqlite_hour(const struct sqlite_engine *e)
{
	/* hour 0 means a free slot */
	return e->expiry_ms < HOUR_MS ? 1 : (uint32_t)(e->expiry_ms / HOUR_MS);
}

void sqlite_clock(struct sqlite_engine *e, uint64_t now_ms, int64_t wall_ms)
{
	const int64_t step = 2 * (int64_t)(now_ms - e->now_ms);

	e->now_ms = now_ms;
	e->wall_ms = wall_ms;
	if (wall_ms < e->expiry_ms || wall_ms - e->expiry_ms < step)
		e->expiry_ms = wall_ms;
	else
		e->expiry_ms += step;
}

bool sqlite_has_file(struct sqlite_engine *e)
{
	const bool is_gone = !sqlite_file_is_there(&e->file);

	if (is_gone && !e->is_file_gone)
		cx_log(CX_ERROR, "sqlite.file_gone", "file=\"%s\"", e->file.db.path);
	e->is_file_gone = is_gone;
	return !is_gone;
}

/* ---- the transaction ---- */

bool sqlite_begin(struct sqlite_engine *e)
{
	if (e->in_transaction || e->broken)
		return !e->broken;
	if (!sqlite_run(e->sql[SQLITE_W_BEGIN])) {
		sqlite_db_log(e->db, "begin");
		e->broken = true;
		return false;
	}
	e->in_transaction = true;
	return true;
}

void sqlite_trouble(struct sqlite_engine *e, const char *what)
{
	sqlite_db_log(e->db, what);
	/* After some errors (disk full, I/O) SQLite takes the whole transaction back. */
	if (e->in_transaction && sqlite3_get_autocommit(e->db)) {
		e->in_transaction = false;
		e->broken = true;
	}
}

static void *grown(void *array, uint32_t *cap, size_t item)
{
	const uint32_t want = *cap == 0 ? 256 : *cap * 2;
	void *const more = realloc(array, want * item);

	cx_assert(more != NULL);
	*cap = want;
	return more;
}

struct sqlite_plan *sqlite_plan_add(struct sqlite_engine *e, enum record_kind kind,
                                    const struct uuid *owner, struct cx_buf *frame)
{
	struct sqlite_plan *p;

	if (e->plan_count == e->plan_cap)
		e->plan = grown(e->plan, &e->plan_cap, sizeof(*e->plan));
	if (e->plan_count == 0)
		e->batch_first_id = e->next_id;
	p = &e->plan[e->plan_count++];
	memset(p, 0, sizeof(*p));
	p->kind = kind;
	p->owner = *owner;
	if (kind == RECORD_MESSAGE || kind == RECORD_RECEIPT || kind == RECORD_USER_GONE)
		p->id = e->next_id++;
	p->frame = cx_buf_ref(frame);
	e->plan_bytes += record_size(frame == NULL ? 0 : cx_buf_len(frame));
	return p;
}

void sqlite_delta_add(struct sqlite_engine *e, const struct uuid *owner, int32_t messages,
                      int64_t bytes, int32_t row_receipts)
{
	struct sqlite_delta *d;

	if (e->delta_count == e->delta_cap)
		e->deltas = grown(e->deltas, &e->delta_cap, sizeof(*e->deltas));
	d = &e->deltas[e->delta_count++];
	*d = (struct sqlite_delta){ *owner, bytes, messages, row_receipts };
	sqlite_index_adjust(&e->index, owner, messages, bytes, row_receipts);
}

void sqlite_note_ended(struct sqlite_engine *e, const struct uuid *owner, uint64_t id)
{
	if (e->ended_count == e->ended_cap)
		e->ended = grown(e->ended, &e->ended_cap, sizeof(*e->ended));
	e->ended[e->ended_count++] = (struct log_place){ .owner = *owner, .id = id };
}

/* ---- gathering ---- */

static bool is_over_quota(const struct sqlite_engine *e, const struct uuid *owner, size_t len)
{
	const struct sqlite_owner *const o = sqlite_index_owner(&e->index, owner);

	return o != NULL && (o->messages >= e->settings->inbox_max_messages ||
	                     o->bytes + len > e->settings->inbox_max_bytes);
}

static bool is_gone(const struct sqlite_engine *e, const struct uuid *user)
{
	return e->gone.count > 0 && sqlite_ids_has(&e->gone, sqlite_id_of(e->salt, user, NULL));
}

enum log_outcome sqlite_append(struct sqlite_engine *e, const struct log_append_msg *m,
                               uint64_t *id, struct sqlite_id *mark)
{
	const size_t len = cx_buf_len(m->hdr.buf);
	struct sqlite_plan *p;

	*mark = sqlite_id_of(e->salt, &m->peer, &m->key);
	*id = 0;
	if (sqlite_ids_has(&e->ids, *mark))
		return LOG_DUPLICATE;
	if (is_gone(e, &m->owner))
		return LOG_NO_OWNER;
	if (is_over_quota(e, &m->owner, len))
		return LOG_INBOX_FULL;
	if (e->broken)
		return LOG_FAILED;
	sqlite_ids_add(&e->ids, *mark, sqlite_hour(e));
	sqlite_index_adjust(&e->index, &m->owner, 1, (int64_t)len, 0);
	p = sqlite_plan_add(e, RECORD_MESSAGE, &m->owner, m->hdr.buf);
	p->peer = m->peer;
	p->key = m->key;
	p->key_case = m->key_case;
	p->mark = *mark;
	*id = p->id;
	return LOG_OK;
}

bool sqlite_is_remembered(const struct sqlite_engine *e, struct sqlite_id mark)
{
	return sqlite_ids_has(&e->ids, mark);
}

/* The entry has a row: it goes in this transaction. */
static enum sqlite_settled settle_row(struct sqlite_engine *e, const struct log_settle_msg *m)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_ROW_SETTLE];
	int64_t len = -1;
	int rc;

	if (!sqlite_begin(e))
		return SQLITE_SETTLE_FAILED;
	sqlite3_bind_int64(s, 1, (int64_t)m->id);
	sqlite_bind_uuid(s, 2, &m->owner);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW)
		len = sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	if (rc != SQLITE_DONE) {
		sqlite_trouble(e, "settle");
		return SQLITE_SETTLE_FAILED;
	}
	if (len < 0)
		return SQLITE_SETTLED_BEFORE;
	sqlite_delta_add(e, &m->owner, -1, -len, 0);
	return SQLITE_SETTLED_NOW;
}

static enum sqlite_settled settle_entry(struct sqlite_engine *e, const struct log_settle_msg *m)
{
	const struct record *r;
	struct sqlite_entry *const entry = sqlite_index_find(&e->index, m->id, &r);
	struct sqlite_plan *p;

	if (entry == NULL || r->kind != RECORD_MESSAGE ||
	    memcmp(&r->owner, &m->owner, sizeof(r->owner)) != 0)
		return SQLITE_SETTLED_BEFORE;
	if (e->broken)
		return SQLITE_SETTLE_FAILED;
	if (entry->state == SQLITE_ENTRY_SETTLING)
		return SQLITE_SETTLED_NOW; /* earlier in this batch, receipt and all */
	entry->state = SQLITE_ENTRY_SETTLING;
	p = sqlite_plan_add(e, RECORD_SETTLE, &m->owner, NULL);
	p->ref = m->id;
	return SQLITE_SETTLED_NOW;
}

enum sqlite_settled sqlite_settle(struct sqlite_engine *e, const struct log_settle_msg *m)
{
	const uint32_t planned = e->plan_count, changed = e->delta_count;
	const enum sqlite_settled settled =
		m->id <= e->index.floor ? settle_row(e, m) : settle_entry(e, m);

	if (settled == SQLITE_SETTLED_NOW && m->hdr.buf != NULL && !is_gone(e, &m->peer) &&
	    (e->plan_count != planned || e->delta_count != changed)) {
		sqlite_bound_receipts(e, &m->peer);
		sqlite_plan_add(e, RECORD_RECEIPT, &m->peer, m->hdr.buf)->peer = m->owner;
	}
	return settled;
}

/* ---- the commit ---- */

static struct cx_buf *plan_bytes(const struct sqlite_engine *e)
{
	struct cx_buf *const bytes = cx_buf_new(e->plan_bytes);
	uint8_t *at = cx_buf_data(bytes);
	uint32_t i;

	for (i = 0; i < e->plan_count; i++) {
		const struct sqlite_plan *const p = &e->plan[i];
		const struct record head = {
			.kind = (uint8_t)p->kind,
			.id = p->id,
			.ref = p->ref,
			.wall_ms = e->wall_ms,
			.owner = p->owner,
			.peer = p->peer,
			.key = p->key,
			.key_case = p->key_case,
		};

		at += record_write(at, &head, p->frame == NULL ? NULL : cx_buf_bytes(p->frame),
		                   p->frame == NULL ? 0 : cx_buf_len(p->frame));
	}
	return bytes;
}

static bool write_segment(struct sqlite_engine *e)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_SEGMENT_PUT];
	bool ok;

	e->committed = plan_bytes(e);
	sqlite3_bind_int64(s, 1, e->next_row);
	sqlite3_bind_blob64(s, 2, cx_buf_bytes(e->committed), cx_buf_len(e->committed),
	                    SQLITE_STATIC);
	ok = sqlite_run(s);
	sqlite3_clear_bindings(s);
	return ok;
}

static void forget_plan(struct sqlite_engine *e)
{
	uint32_t i;

	for (i = 0; i < e->plan_count; i++)
		cx_buf_unref(e->plan[i].frame);
	e->plan_count = 0;
	e->plan_bytes = 0;
	e->delta_count = 0;
	e->broken = false;
}

/* As if the batch had never been: its ids, its sums, its marks. */
static void take_back(struct sqlite_engine *e)
{
	const struct record *r;
	struct sqlite_entry *entry;
	uint32_t i;

	if (e->plan_count > 0)
		e->next_id = e->batch_first_id;
	for (i = e->delta_count; i-- > 0;) {
		const struct sqlite_delta *const d = &e->deltas[i];

		sqlite_index_adjust(&e->index, &d->owner, -d->messages, -d->bytes,
		                    -d->row_receipts);
	}
	for (i = e->plan_count; i-- > 0;) {
		const struct sqlite_plan *const p = &e->plan[i];

		if (p->kind == RECORD_MESSAGE) {
			sqlite_ids_remove(&e->ids, p->mark);
			sqlite_index_adjust(&e->index, &p->owner, -1,
			                    -(int64_t)cx_buf_len(p->frame), 0);
		} else if (p->kind == RECORD_USER_GONE) {
			sqlite_ids_remove(&e->gone, p->mark);
		} else if (p->kind == RECORD_SETTLE) {
			entry = sqlite_index_find(&e->index, p->ref, &r);
			if (entry != NULL)
				entry->state = SQLITE_ENTRY_LIVE;
		}
	}
	e->ended_count = 0;
	cx_buf_unref(e->committed);
	e->committed = NULL;
}

static void take_effect(struct sqlite_engine *e)
{
	uint32_t i;

	e->committed_entries = false;
	if (e->committed == NULL)
		return;
	for (i = 0; i < e->plan_count && !e->committed_entries; i++)
		e->committed_entries = e->plan[i].id != 0;
	sqlite_index_apply(&e->index, SQLITE_APPLY_COMMITTED, e->next_row++, e->committed,
	                   e->batch_first_id, e->now_ms);
	sqlite_count(SQLITE_COUNT_RECORDS, e->plan_count);
}

static bool commit_transaction(struct sqlite_engine *e)
{
	if (e->plan_count > 0 && (!sqlite_begin(e) || !write_segment(e))) {
		if (e->in_transaction)
			sqlite_trouble(e, "append");
		return false;
	}
	if (e->broken || !sqlite_has_file(e))
		return false;
	if (e->in_transaction && !sqlite_run(e->sql[SQLITE_W_COMMIT])) {
		sqlite_trouble(e, "commit");
		return false;
	}
	return true;
}

enum cx_err sqlite_commit(struct sqlite_engine *e)
{
	const uint64_t since_ns = sqlite_clock_ns();
	bool ok;

	cx_buf_unref(e->committed);
	e->committed = NULL;
	if (e->plan_count == 0 && !e->in_transaction && !e->broken)
		return CX_OK;
	ok = commit_transaction(e);
	if (ok) {
		take_effect(e);
		sqlite_count_commit(sqlite_clock_ns() - since_ns);
	} else {
		if (!sqlite3_get_autocommit(e->db) && !sqlite_run(e->sql[SQLITE_W_ROLLBACK]))
			sqlite_db_log(e->db, "rollback");
		take_back(e);
		sqlite_count(SQLITE_COUNT_FAILURES, 1);
	}
	e->failing = !ok;
	e->probe_due_ms = e->now_ms + PROBE_MS;
	e->in_transaction = false;
	forget_plan(e);
	sqlite_set_health(ok);
	return ok ? CX_OK : CX_EIO;
}

/* ---- life ---- */

static int on_wal_frames(void *arg, sqlite3 *db, const char *name, int frames)
{
	(void)db;
	(void)name;
	((struct sqlite_engine *)arg)->wal_frames = frames;
	return SQLITE_OK;
}

static const char *const texts[SQLITE_WRITER_SQL_COUNT] = {
#define X(name, text) text,
	SQLITE_WRITER_SQL(X)
#undef X
};

enum cx_err sqlite_engine_open(struct sqlite_engine *e, const struct sqlite_settings *settings,
                               uint64_t now_ms, int64_t wall_ms)
{
	enum cx_err err;

	memset(e, 0, sizeof(*e));
	e->settings = settings;
	e->now_ms = now_ms;
	e->wall_ms = wall_ms;
	e->expiry_ms = wall_ms;
	err = sqlite_db_open(settings->path, SQLITE_DB_WRITER, &e->db);
	if (err == CX_OK)
		err = sqlite_db_migrate(e->db, settings->path);
	if (err == CX_OK)
		err = sqlite_db_prepare(e->db, texts, SQLITE_WRITER_SQL_COUNT, e->sql);
	if (err == CX_OK)
		err = sqlite_recover(e);
	if (err != CX_OK) {
		sqlite_engine_close(e);
		return err;
	}
	sqlite_db_extend_log(e->db);
	sqlite_file_note(&e->file, e->db);
	e->page_bytes = sqlite_db_page_bytes(e->db);
	sqlite3_wal_hook(e->db, on_wal_frames, e);
	return CX_OK;
}

void sqlite_engine_release(struct sqlite_engine *e)
{
	forget_plan(e);
	cx_buf_unref(e->committed);
	e->committed = NULL;
	sqlite_index_free(&e->index);
}

void sqlite_engine_close(struct sqlite_engine *e)
{
	sqlite_engine_release(e);
	sqlite_db_close(&e->db, e->sql, SQLITE_WRITER_SQL_COUNT);
	sqlite_ids_free(&e->ids);
	sqlite_ids_free(&e->gone);
	free(e->plan);
	free(e->deltas);
	free(e->moved);
	free(e->ended);
	memset(e, 0, sizeof(*e));
}
