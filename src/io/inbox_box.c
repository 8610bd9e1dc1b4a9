/* SPDX-License-Identifier: MIT */
#include "io/inbox_box.h"

#include <stdlib.h>

#define FIRST_CAP 4

struct box *box_new(const struct uuid *owner)
{
	struct box *box = calloc(1, sizeof(*box));

	cx_assert(box != NULL);
	box->owner = *owner;
	box->ops_end = &box->ops;
	return box;
}

void box_free(struct box *box)
{
	box_clear(box);
	free(box->ring);
	free(box);
}

static void reserve(struct box *box, uint32_t more)
{
	const uint32_t count = box->end - box->first;
	uint32_t cap = box->cap == 0 ? FIRST_CAP : box->cap;
	struct box_entry *ring;

	while (cap < count + more)
		cap *= 2;
	if (cap == box->cap)
		return;
	ring = malloc(cap * sizeof(*ring));
	cx_assert(ring != NULL);
	for (uint32_t n = box->first; n != box->end; n++)
		ring[n & (cap - 1)] = *box_at(box, n);
	free(box->ring);
	box->ring = ring;
	box->cap = cap;
}

void box_append(struct box *box, const struct box_entry *entry)
{
	reserve(box, 1);
	*box_at(box, box->end) = *entry;
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
			.wall_ms = row->wall_ms,
			.kind = row->kind,
		};
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

struct box_entry *box_find_key(const struct box *box, enum box_entry_state state,
                               const struct uuid *key, const struct uuid *from)
{
	for (uint32_t n = box->first; n != box->end; n++) {
		struct box_entry *e = box_at(box, n);

		if (e->state == state && e->kind == RECORD_MESSAGE &&
		    uuid_equal(&e->key, key) && (from == NULL || uuid_equal(&e->peer, from)))
			return e;
	}
	return NULL;
}

static void give_up(struct box_entry *entry)
{
	cx_buf_unref(entry->buf);
	entry->buf = NULL;
	entry->state = BOX_GONE;
}

void box_remove(struct box *box, struct box_entry *entry)
{
	give_up(entry);
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
		give_up(box_at(box, n));
	box->first = box->end;
}
