/* SPDX-License-Identifier: MIT */
#include "io/inbox_box.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 4
#define CHAINS_FROM 64 /* a ring of so many places has chains */

struct box *box_new(const struct uuid *owner, uint64_t seed)
{
	struct box *box = calloc(1, sizeof(*box));

	cx_assert(box != NULL);
	box->owner = *owner;
	box->seed = seed;
	box->ops_end = &box->ops;
	return box;
}

void box_free(struct box *box)
{
	box_clear(box);
	free(box->ring);
	free(box->chains);
	free(box);
}

/* ---- chains (inv. 4) ---- */

static struct box_chain *chain_of(const struct box *box, const struct uuid *key)
{
	return &box->chains[uuid_hash_seeded(key, box->seed) & (box->cap - 1)];
}

static uint32_t place(const struct box *box, const struct box_entry *entry)
{
	return (uint32_t)(entry - box->ring);
}

static void link_last(struct box *box, struct box_entry *entry)
{
	struct box_chain *const chain = chain_of(box, &entry->key);

	entry->next_in_key = BOX_NONE;
	if (chain->first == BOX_NONE)
		chain->first = place(box, entry);
	else
		box->ring[chain->last].next_in_key = place(box, entry);
	chain->last = place(box, entry);
}

static void link_first(struct box *box, struct box_entry *entry)
{
	struct box_chain *const chain = chain_of(box, &entry->key);

	entry->next_in_key = chain->first;
	if (chain->first == BOX_NONE)
		chain->last = place(box, entry);
	chain->first = place(box, entry);
}

static void unlink_key(struct box *box, const struct box_entry *entry)
{
	struct box_chain *const chain = chain_of(box, &entry->key);
	uint32_t *at = &chain->first, before = BOX_NONE;

	while (*at != place(box, entry)) {
		before = *at;
		at = &box->ring[before].next_in_key;
	}
	*at = entry->next_in_key;
	if (chain->last == place(box, entry))
		chain->last = before;
}

static bool has_chain(const struct box *box, const struct box_entry *entry)
{
	return box->chains != NULL && entry->kind == RECORD_MESSAGE && entry->state != BOX_GONE;
}

static void make_chains(struct box *box)
{
	free(box->chains);
	box->chains = NULL;
	if (box->cap < CHAINS_FROM)
		return;
	box->chains = malloc(box->cap * sizeof(*box->chains));
	cx_assert(box->chains != NULL);
	memset(box->chains, 0xff, box->cap * sizeof(*box->chains)); /* BOX_NONE */
	for (uint32_t n = box->first; n != box->end; n++)
		if (has_chain(box, box_at(box, n)))
			link_last(box, box_at(box, n));
}

/* ---- entries ---- */

static uint32_t count_kept(const struct box *box)
{
	uint32_t kept = 0;

	for (uint32_t n = box->first; n != box->end; n++)
		kept += box_at(box, n)->state != BOX_GONE;
	return kept;
}

/* Room for more; those that are GONE make room first, so that one old entry that nobody acknowledges
 * does not keep the places of all that came and went behind it. */
static void reserve(struct box *box, uint32_t more)
{
	uint32_t cap = box->cap == 0 ? FIRST_CAP : box->cap;
	struct box_entry *ring;
	uint32_t kept, end = 0;

	if (box->end - box->first + more <= box->cap)
		return;
	kept = count_kept(box);
	while (kept + more > cap - cap / 4)
		cap *= 2;
	ring = malloc(cap * sizeof(*ring));
	cx_assert(ring != NULL);
	for (uint32_t n = box->first; n != box->end; n++)
		if (box_at(box, n)->state != BOX_GONE)
			ring[end++] = *box_at(box, n);
	free(box->ring);
	box->ring = ring;
	box->cap = cap;
	box->first = 0;
	box->end = end;
	make_chains(box);
}

void box_append(struct box *box, const struct box_entry *entry)
{
	reserve(box, 1);
	*box_at(box, box->end) = *entry;
	if (has_chain(box, entry))
		link_last(box, box_at(box, box->end));
	box->end++;
}

void box_load(struct box *box, const struct log_index_entry *rows, uint32_t count)
{
	const uint64_t below = box_is_empty(box) ? UINT64_MAX : box_at(box, box->first)->id;

	while (count > 0 && rows[count - 1].id >= below)
		count--;
	reserve(box, count);
	for (uint32_t i = count; i-- > 0;) {
		const struct log_index_entry *row = &rows[i];

		box->first--;
		*box_at(box, box->first) = (struct box_entry){
			.id = row->id,
			.peer = row->peer,
			.key = row->key,
			.key_case = row->key_case,
			.len = row->frame_len,
			.kind = row->kind,
		};
		if (has_chain(box, box_at(box, box->first)))
			link_first(box, box_at(box, box->first));
	}
	if (count > 0 && rows[count - 1].id > box->tail)
		box->tail = rows[count - 1].id;
}

uint32_t box_after(const struct box *box, uint64_t after)
{
	uint32_t low = 0, high = box->end - box->first;

	while (low < high) {
		const uint32_t mid = low + (high - low) / 2;

		if (box_at(box, box->first + mid)->id > after)
			high = mid;
		else
			low = mid + 1;
	}
	return box->first + low;
}

struct box_entry *box_find(const struct box *box, uint64_t id)
{
	const uint32_t n = id == 0 ? box->end : box_after(box, id - 1);

	return n != box->end && box_at(box, n)->id == id ? box_at(box, n) : NULL;
}

static bool is_match(const struct box_entry *e, enum box_entry_state state,
                     const struct uuid *key, const struct uuid *from)
{
	return e->state == state && e->kind == RECORD_MESSAGE && uuid_equal(&e->key, key) &&
	       (from == NULL || uuid_equal(&e->peer, from));
}

struct box_entry *box_find_key(const struct box *box, enum box_entry_state state,
                               const struct uuid *key, const struct uuid *from)
{
	if (box->chains == NULL) {
		for (uint32_t n = box->first; n != box->end; n++)
			if (is_match(box_at(box, n), state, key, from))
				return box_at(box, n);
		return NULL;
	}
	for (uint32_t at = chain_of(box, key)->first; at != BOX_NONE;
	     at = box->ring[at].next_in_key)
		if (is_match(&box->ring[at], state, key, from))
			return &box->ring[at];
	return NULL;
}

static void give_up(struct box *box, struct box_entry *entry)
{
	if (has_chain(box, entry))
		unlink_key(box, entry);
	cx_buf_unref(entry->buf);
	entry->buf = NULL;
	entry->state = BOX_GONE;
}

void box_remove(struct box *box, struct box_entry *entry)
{
	give_up(box, entry);
	while (!box_is_empty(box) && box_at(box, box->first)->state == BOX_GONE)
		box->first++;
}

void box_spilled(struct box *box, uint64_t id)
{
	struct box_entry *entry = box_find(box, id);

	if (entry == NULL)
		return;
	cx_buf_unref(entry->buf);
	entry->buf = NULL;
}

void box_clear(struct box *box)
{
	for (uint32_t n = box->first; n != box->end; n++)
		give_up(box, box_at(box, n));
	box->first = box->end;
}

struct cx_buf *box_waiting_of(const struct box *box, struct cx_buf *rows, uint64_t *last,
                              uint32_t *count)
{
	const uint8_t *at = cx_buf_bytes(rows);
	const uint8_t *end = at + cx_buf_len(rows);
	struct cx_buf *out = cx_buf_new(cx_buf_len(rows));
	const struct record *r;
	size_t used = 0;
	bool torn;

	while ((r = record_next(&at, end, &torn)) != NULL) {
		const struct box_entry *e = box_find(box, r->id);

		*last = r->id;
		if (e == NULL || !box_is_readable(e))
			continue;
		memcpy(cx_buf_data(out) + used, r, r->size);
		used += r->size;
		(*count)++;
	}
	cx_buf_trim(out, used);
	return out;
}

void box_drop_ghost(struct box *box, uint64_t id, struct cx_buf *rows)
{
	struct box_entry *e = box_find(box, id);
	const struct record *first =
		rows == NULL ? NULL : (const struct record *)(const void *)cx_buf_bytes(rows);

	if (e != NULL && e->state == BOX_WAITING && (first == NULL || first->id != id))
		box_remove(box, e);
}
