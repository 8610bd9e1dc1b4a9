/* SPDX-License-Identifier: MIT */
/* Receipts: no quota refuses them, since they come of what others do; so their number is bounded by
 * dropping the oldest.  Who never confirms any loses old ones, and nobody else anything. */
#include "io/sqlite_db.h"
#include "io/sqlite_engine.h"
#include "io/sqlite_stats.h"

#define INBOXES 4 /* as many receipts as this many inboxes have messages */
#define PARTS 16  /* the part of the bound that goes at once, so that it is done seldom */

void sqlite_receipts_done(struct sqlite_engine *e, const struct log_receipts_done_msg *m)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_ROW_RECEIPTS_DONE];
	const struct sqlite_owner *const o = sqlite_index_owner(&e->index, &m->owner);
	const bool has_rows = o != NULL && o->row_receipts > 0;

	if (o == NULL || e->broken)
		return;
	if (o->receipt_first != 0 && o->receipt_first <= m->upto)
		sqlite_plan_add(e, RECORD_RECEIPTS_DONE, &m->owner, NULL)->ref = m->upto;
	if (!has_rows || !sqlite_begin(e))
		return;
	sqlite_bind_uuid(s, 1, &m->owner);
	sqlite3_bind_int64(s, 2, (int64_t)m->upto);
	if (!sqlite_run(s))
		sqlite_trouble(e, "receipts_done");
	else if (sqlite3_changes(e->db) > 0)
		sqlite_delta_add(e, &m->owner, 0, 0, -sqlite3_changes(e->db));
}

/* The oldest n of the owner's rows.  Returns how many went. */
static uint32_t drop_rows(struct sqlite_engine *e, const struct uuid *owner, uint32_t n)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_ROW_RECEIPTS_DROP];
	uint32_t dropped = 0;
	int rc;

	if (!sqlite_begin(e))
		return 0;
	sqlite_bind_uuid(s, 1, owner);
	sqlite3_bind_int64(s, 2, n);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		sqlite_note_ended(e, owner, (uint64_t)sqlite3_column_int64(s, 0));
		dropped++;
	}
	sqlite3_reset(s);
	if (rc != SQLITE_DONE) {
		/* what it deleted is taken back with the batch */
		sqlite_trouble(e, "receipts_drop");
		e->broken = true;
		return dropped;
	}
	if (dropped > 0)
		sqlite_delta_add(e, owner, 0, 0, -(int32_t)dropped);
	return dropped;
}

/* The oldest n of those in segments. */
static void drop_entries(struct sqlite_engine *e, const struct uuid *owner, uint32_t n)
{
	const struct sqlite_owner *const o = sqlite_index_owner(&e->index, owner);
	uint64_t id = o == NULL ? 0 : o->receipt_first, last = 0;
	const struct record *r;

	for (; n > 0 && id != 0; n--) {
		sqlite_note_ended(e, owner, id);
		last = id;
		id = sqlite_index_find(&e->index, id, &r)->next_receipt;
	}
	if (last != 0)
		sqlite_plan_add(e, RECORD_RECEIPTS_DONE, owner, NULL)->ref = last;
}

void sqlite_bound_receipts(struct sqlite_engine *e, const struct uuid *owner)
{
	const uint64_t bound = UINT64_C(1) * INBOXES * e->settings->inbox_max_messages;
	struct sqlite_owner *const o = sqlite_index_owner_mark(&e->index, owner);
	uint64_t count, drop;
	uint32_t rows;

	if (o == NULL || e->broken || o->bounded_in == (uint32_t)e->next_row)
		return;
	count = (uint64_t)o->row_receipts + o->receipts;
	if (count < bound)
		return;
	o->bounded_in = (uint32_t)e->next_row;
	drop = count - bound + bound / PARTS + 1;
	rows = o->row_receipts > 0 ? drop_rows(e, owner, (uint32_t)drop) : 0;
	if (rows < drop && !e->broken)
		drop_entries(e, owner, (uint32_t)drop - rows);
	sqlite_count(SQLITE_COUNT_RECEIPTS_DROPPED, drop);
}
