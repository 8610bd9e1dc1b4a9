/* SPDX-License-Identifier: MIT */
#include "io/sqlite_index.h"

#include <stdlib.h>
#include <string.h>

#include <cx/actor.h>

#define OWNERS_SMALLEST 64u

/* ---- owners: open addressing, linear probing, no tombstones ---- */

static uint32_t owner_home(const struct sqlite_index *index, const struct uuid *id)
{
	return (uint32_t)uuid_hash(id) & (index->owner_cap - 1);
}

static bool is_free(const struct sqlite_owner *o)
{
	return o->messages == 0 && o->row_receipts == 0 && o->receipt_first == 0;
}

static uint32_t owner_slot(const struct sqlite_index *index, const struct uuid *id)
{
	uint32_t i = owner_home(index, id);

	while (!is_free(&index->owners[i]) &&
	       memcmp(&index->owners[i].id, id, sizeof(*id)) != 0)
		i = (i + 1) & (index->owner_cap - 1);
	return i;
}

static void owners_grow(struct sqlite_index *index)
{
	struct sqlite_owner *const old = index->owners;
	const uint32_t old_cap = index->owner_cap;
	uint32_t i;

	index->owner_cap = old_cap == 0 ? OWNERS_SMALLEST : old_cap * 2;
	index->owners = calloc(index->owner_cap, sizeof(*index->owners));
	cx_assert(index->owners != NULL);
	for (i = 0; i < old_cap; i++)
		if (!is_free(&old[i]))
			index->owners[owner_slot(index, &old[i].id)] = old[i];
	free(old);
}

/* The owner's slot, which the caller makes not free before anything else happens. */
static struct sqlite_owner *owner_take(struct sqlite_index *index, const struct uuid *id)
{
	struct sqlite_owner *o;

	if ((index->owner_count + 1) * 4 > index->owner_cap * 3)
		owners_grow(index);
	o = &index->owners[owner_slot(index, id)];
	if (is_free(o)) {
		memset(o, 0, sizeof(*o));
		o->id = *id;
		index->owner_count++;
	}
	return o;
}

static struct sqlite_owner *owner_find(const struct sqlite_index *index, const struct uuid *id)
{
	struct sqlite_owner *o;

	if (index->owner_count == 0)
		return NULL;
	o = &index->owners[owner_slot(index, id)];
	return is_free(o) ? NULL : o;
}

/* Nothing waits for the owner at o any more: give the slot back. */
static void owner_drop(struct sqlite_index *index, struct sqlite_owner *o)
{
	const uint32_t mask = index->owner_cap - 1;
	uint32_t gap = (uint32_t)(o - index->owners), i = gap;

	memset(o, 0, sizeof(*o));
	index->owner_count--;
	for (;;) {
		uint32_t home;

		i = (i + 1) & mask;
		if (is_free(&index->owners[i]))
			return;
		home = owner_home(index, &index->owners[i].id);
		if (((i - home) & mask) < ((i - gap) & mask))
			continue;
		index->owners[gap] = index->owners[i];
		memset(&index->owners[i], 0, sizeof(index->owners[i]));
		gap = i;
	}
}

const struct sqlite_owner *sqlite_index_owner(const struct sqlite_index *index,
                                              const struct uuid *id)
{
	return owner_find(index, id);
}

struct sqlite_owner *sqlite_index_owner_mark(struct sqlite_index *index, const struct uuid *id)
{
	return owner_find(index, id);
}

void sqlite_index_adjust(struct sqlite_index *index, const struct uuid *id, int32_t messages,
                         int64_t bytes, int32_t row_receipts)
{
	struct sqlite_owner *o;

	if (messages == 0 && row_receipts == 0)
		return;
	if (messages < 0 || row_receipts < 0) {
		o = owner_find(index, id);
		if (o == NULL)
			return; /* deleted in the meantime */
	} else {
		o = owner_take(index, id);
	}
	o->messages = (uint32_t)((int64_t)o->messages + messages);
	o->bytes = (uint64_t)((int64_t)o->bytes + bytes);
	o->row_receipts = (uint32_t)((int64_t)o->row_receipts + row_receipts);
	if (is_free(o))
		owner_drop(index, o);
}

/* ---- segments ---- */

struct sqlite_segment *sqlite_index_at(struct sqlite_index *index, uint32_t i)
{
	return &index->segments[(index->head + i) % index->cap];
}

static struct sqlite_segment *segment_push(struct sqlite_index *index)
{
	if (index->count == index->cap) {
		const uint32_t cap = index->cap == 0 ? 256 : index->cap * 2;
		struct sqlite_segment *const grown = calloc(cap, sizeof(*grown));
		uint32_t i;

		cx_assert(grown != NULL);
		for (i = 0; i < index->count; i++)
			grown[i] = *sqlite_index_at(index, i);
		free(index->segments);
		index->segments = grown;
		index->cap = cap;
		index->head = 0;
	}
	return sqlite_index_at(index, index->count++);
}

/* The segment whose ids could hold id: the last one that starts at or before it. */
static struct sqlite_segment *segment_of(struct sqlite_index *index, uint64_t id)
{
	uint32_t low = 0, high = index->count;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (sqlite_index_at(index, middle)->first <= id)
			low = middle + 1;
		else
			high = middle;
	}
	return low == 0 ? NULL : sqlite_index_at(index, low - 1);
}

static const struct record *record_at(const struct sqlite_segment *s,
                                      const struct sqlite_entry *e)
{
	return (const struct record *)(const void *)(cx_buf_bytes(s->bytes) + e->offset);
}

const struct record *sqlite_segment_record(const struct sqlite_segment *segment, uint32_t i)
{
	return record_at(segment, &segment->entries[i]);
}

static struct sqlite_entry *entry_of(struct sqlite_index *index, uint64_t id,
                                     struct sqlite_segment **segment)
{
	struct sqlite_segment *const s = segment_of(index, id);

	if (s == NULL || id - s->first >= s->count ||
	    s->entries[id - s->first].state == SQLITE_ENTRY_DEAD)
		return NULL;
	*segment = s;
	return &s->entries[id - s->first];
}

struct sqlite_entry *sqlite_index_find(struct sqlite_index *index, uint64_t id,
                                       const struct record **record)
{
	struct sqlite_segment *s;
	struct sqlite_entry *const e = entry_of(index, id, &s);

	if (e != NULL)
		*record = record_at(s, e);
	return e;
}

static void entry_end(struct sqlite_segment *s, struct sqlite_entry *e)
{
	e->state = SQLITE_ENTRY_DEAD;
	s->live--;
}

static void apply_settle(struct sqlite_index *index, const struct record *settle)
{
	struct sqlite_segment *s;
	struct sqlite_entry *const e = entry_of(index, settle->ref, &s);
	const struct record *r;

	if (e == NULL)
		return;
	r = record_at(s, e);
	if (r->kind != RECORD_MESSAGE ||
	    memcmp(&r->owner, &settle->owner, sizeof(r->owner)) != 0)
		return;
	entry_end(s, e);
	sqlite_index_adjust(index, &r->owner, -1, -(int64_t)r->frame_len, 0);
}

static void apply_receipts_done(struct sqlite_index *index, const struct record *done)
{
	struct sqlite_owner *const o = owner_find(index, &done->owner);
	struct sqlite_segment *s;

	if (o == NULL || o->receipt_first == 0)
		return;
	while (o->receipt_first != 0 && o->receipt_first <= done->ref) {
		struct sqlite_entry *const e = entry_of(index, o->receipt_first, &s);

		cx_assert(e != NULL);
		o->receipt_first = e->next_receipt;
		o->receipts--;
		entry_end(s, e);
	}
	if (o->receipt_first == 0)
		o->receipt_last = 0;
	if (is_free(o))
		owner_drop(index, o);
}

static void apply_user_gone(struct sqlite_index *index, const struct uuid *owner)
{
	struct sqlite_owner *const o = owner_find(index, owner);
	uint32_t i, k;

	if (o == NULL)
		return;
	for (i = 0; i < index->count; i++) {
		struct sqlite_segment *const s = sqlite_index_at(index, i);

		for (k = 0; k < s->count && s->live > 0; k++)
			if (s->entries[k].state != SQLITE_ENTRY_DEAD &&
			    memcmp(&record_at(s, &s->entries[k])->owner, owner,
			           sizeof(*owner)) == 0)
				entry_end(s, &s->entries[k]);
	}
	owner_drop(index, o);
}

static void chain_receipt(struct sqlite_index *index, const struct record *r)
{
	struct sqlite_owner *const o = owner_take(index, &r->owner);
	struct sqlite_segment *s;

	if (o->receipt_first == 0)
		o->receipt_first = r->id;
	else
		entry_of(index, o->receipt_last, &s)->next_receipt = r->id;
	o->receipt_last = r->id;
	o->receipts++;
}

static void apply_entry(struct sqlite_index *index, enum sqlite_apply how,
                        struct sqlite_segment *s, const struct record *r)
{
	struct sqlite_entry *const e = &s->entries[r->id - s->first];

	e->offset = (uint32_t)((const uint8_t *)r - cx_buf_bytes(s->bytes));
	if (r->id <= index->floor)
		return; /* it was spilled before, and its row says what became of it */
	e->state = SQLITE_ENTRY_LIVE;
	s->live++;
	if (r->kind == RECORD_RECEIPT)
		chain_receipt(index, r);
	else if (how == SQLITE_APPLY_RECOVERED)
		sqlite_index_adjust(index, &r->owner, 1, (int64_t)r->frame_len, 0);
}

static bool takes_id(const struct record *r)
{
	return r->kind == RECORD_MESSAGE || r->kind == RECORD_RECEIPT ||
	       r->kind == RECORD_USER_GONE;
}

/* First and number of the ids in it; sets s->spilled past those that have rows. */
static void measure(const struct sqlite_index *index, struct sqlite_segment *s,
                    uint64_t next_id)
{
	const uint8_t *at = cx_buf_bytes(s->bytes), *const end = at + cx_buf_len(s->bytes);
	const struct record *r;
	uint64_t last = 0;
	bool torn;

	s->first = next_id;
	while ((r = record_next(&at, end, &torn)) != NULL)
		if (takes_id(r)) {
			if (last == 0)
				s->first = r->id;
			last = r->id;
		}
	s->count = last == 0 ? 0 : (uint32_t)(last - s->first + 1);
	if (index->floor >= s->first)
		s->spilled = last <= index->floor ? s->count
		                                  : (uint32_t)(index->floor - s->first + 1);
}

uint64_t sqlite_index_apply(struct sqlite_index *index, enum sqlite_apply how, int64_t row,
                            struct cx_buf *bytes, uint64_t next_id, uint64_t now_ms)
{
	struct sqlite_segment *const s = segment_push(index);
	const uint8_t *at = cx_buf_bytes(bytes), *const end = at + cx_buf_len(bytes);
	const struct record *r;
	bool torn;

	memset(s, 0, sizeof(*s));
	s->row = row;
	s->bytes = cx_buf_ref(bytes);
	s->born_ms = now_ms;
	measure(index, s, next_id);
	if (s->count > 0) {
		s->entries = calloc(s->count, sizeof(*s->entries));
		cx_assert(s->entries != NULL);
	}
	index->bytes += cx_buf_len(bytes);
	while ((r = record_next(&at, end, &torn)) != NULL) {
		if (r->kind == RECORD_MESSAGE || r->kind == RECORD_RECEIPT)
			apply_entry(index, how, s, r);
		else if (r->kind == RECORD_SETTLE)
			apply_settle(index, r);
		else if (r->kind == RECORD_RECEIPTS_DONE)
			apply_receipts_done(index, r);
		else if (r->kind == RECORD_USER_GONE)
			apply_user_gone(index, &r->owner);
	}
	return s->first + s->count;
}

void sqlite_index_spilled(struct sqlite_index *index, struct sqlite_segment *segment,
                          uint32_t i)
{
	struct sqlite_entry *const e = &segment->entries[i];
	const struct record *const r = sqlite_segment_record(segment, i);
	struct sqlite_owner *o;

	if (r->kind == RECORD_RECEIPT) {
		o = owner_find(index, &r->owner);
		cx_assert(o != NULL && o->receipt_first == r->id);
		o->receipt_first = e->next_receipt;
		if (o->receipt_first == 0)
			o->receipt_last = 0;
		o->receipts--;
		o->row_receipts++;
	}
	entry_end(segment, e);
}

void sqlite_index_pop(struct sqlite_index *index)
{
	struct sqlite_segment *const s = sqlite_index_at(index, 0);

	cx_assert(index->count > 0 && s->live == 0);
	index->bytes -= cx_buf_len(s->bytes);
	cx_buf_unref(s->bytes);
	free(s->entries);
	memset(s, 0, sizeof(*s));
	index->head = (index->head + 1) % index->cap;
	index->count--;
}

void sqlite_index_free(struct sqlite_index *index)
{
	uint32_t i;

	for (i = 0; i < index->count; i++) {
		cx_buf_unref(sqlite_index_at(index, i)->bytes);
		free(sqlite_index_at(index, i)->entries);
	}
	free(index->segments);
	free(index->owners);
	memset(index, 0, sizeof(*index));
}
