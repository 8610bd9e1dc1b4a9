/* SPDX-License-Identifier: MIT */
#include "io/kafka_outbox.h"

#include <stdlib.h>
#include <string.h>

enum cx_err kafka_outbox_open(struct kafka_outbox *box, uint32_t messages, uint64_t bytes,
                              uint32_t batches)
{
	cx_assert(batches > 0 && batches <= KAFKA_BATCHES_MAX);
	*box = (struct kafka_outbox){ .cap = messages,
		                      .bytes_cap = bytes,
		                      .batches_cap = batches };
	box->entries = calloc(messages, sizeof(*box->entries)); /* touched as it is used */
	return box->entries == NULL ? CX_ENOMEM : CX_OK;
}

void kafka_outbox_close(struct kafka_outbox *box)
{
	while (box->first != NULL)
		kafka_outbox_remove(box, box->first);
	free(box->entries);
	box->entries = NULL;
}

bool kafka_outbox_has_room(const struct kafka_outbox *box, size_t len)
{
	return box->count < box->cap && (box->bytes + len <= box->bytes_cap || box->count == 0);
}

size_t kafka_entry_bytes(const struct kafka_entry *e)
{
	return cx_buf_len(e->buf) + e->key_len + KAFKA_ENTRY_HEAD;
}

/* ---- arrival ---- */

struct kafka_entry *kafka_outbox_add(struct kafka_outbox *box, struct cx_buf *buf)
{
	struct kafka_entry *e = box->free;

	cx_assert(box->count < box->cap);
	if (e != NULL)
		box->free = e->next;
	else
		e = &box->entries[box->used++];
	e->next = NULL;
	e->prev = box->last;
	e->buf = cx_buf_ref(buf);
	if (box->last != NULL)
		box->last->next = e;
	else
		box->first = e;
	box->last = e;
	box->count++;
	box->bytes += cx_buf_len(buf);
	return e;
}

void kafka_outbox_wait(struct kafka_outbox *box, struct kafka_entry *e)
{
	struct kafka_lane *const lane = &box->lanes[e->lane];

	cx_assert(e->lane < KAFKA_LANES);
	e->state = KAFKA_ENTRY_WAITING;
	e->lane_next = NULL;
	*(lane->last != NULL ? &lane->last->lane_next : &lane->first) = e;
	lane->last = e;
	lane->bytes += kafka_entry_bytes(e);
	box->waiting++;
}

static void leave_lane(struct kafka_outbox *box, struct kafka_entry *e)
{
	struct kafka_lane *const lane = &box->lanes[e->lane];

	cx_assert(e->state == KAFKA_ENTRY_WAITING && lane->first == e); /* inv. 2 */
	lane->first = e->lane_next;
	if (lane->first == NULL)
		lane->last = NULL;
	lane->bytes -= kafka_entry_bytes(e);
	box->waiting--;
}

/* ---- batches ---- */

static struct kafka_lane *older(struct kafka_lane *a, struct kafka_lane *b)
{
	return a == NULL || b->first->accepted_ms < a->first->accepted_ms ? b : a;
}

struct kafka_lane *kafka_outbox_oldest(struct kafka_outbox *box, bool is_idle)
{
	struct kafka_lane *found = NULL;

	if (box->waiting == 0)
		return NULL;
	for (unsigned i = 0; i < KAFKA_LANES; i++) {
		struct kafka_lane *const lane = &box->lanes[i];

		if (lane->first != NULL && !(is_idle && lane->has_batch))
			found = older(found, lane);
	}
	return found;
}

bool kafka_outbox_is_out(const struct kafka_outbox *box)
{
	for (unsigned i = 0; i < box->batches_cap; i++)
		if (box->batches[i].left > 0)
			return true;
	return false;
}

static bool has_free_batch(const struct kafka_outbox *box)
{
	for (unsigned i = 0; i < box->batches_cap; i++)
		if (box->batches[i].left == 0)
			return true;
	return false;
}

struct kafka_lane *kafka_outbox_next(struct kafka_outbox *box, uint64_t full_bytes,
                                     bool is_ripe)
{
	struct kafka_lane *found = NULL;

	if (box->waiting == 0 || !has_free_batch(box))
		return NULL;
	for (unsigned i = 0; i < KAFKA_LANES; i++) {
		struct kafka_lane *const lane = &box->lanes[i];

		if (lane->first != NULL && !lane->has_batch &&
		    (is_ripe || lane->bytes >= full_bytes))
			found = older(found, lane);
	}
	return found;
}

uint16_t kafka_outbox_batch(struct kafka_outbox *box, const struct kafka_lane *lane)
{
	uint16_t i = 0;

	while (i < box->batches_cap && box->batches[i].left > 0)
		i++;
	cx_assert(i < box->batches_cap);
	box->batches[i].lane = (uint16_t)(lane - box->lanes);
	return i;
}

void kafka_outbox_handed(struct kafka_outbox *box, struct kafka_lane *lane, uint16_t batch)
{
	struct kafka_entry *const e = lane->first;

	cx_assert(e != NULL);
	leave_lane(box, e);
	e->state = KAFKA_ENTRY_HANDED;
	e->batch = batch;
	box->batches[batch].left++;
	lane->has_batch = true;
}

static void leave_batch(struct kafka_outbox *box, struct kafka_entry *e)
{
	struct kafka_batch *const batch = &box->batches[e->batch];

	cx_assert(e->state == KAFKA_ENTRY_HANDED && batch->left > 0);
	if (--batch->left == 0)
		box->lanes[batch->lane].has_batch = false; /* inv. 4, 5 */
}

void kafka_outbox_returned(struct kafka_outbox *box, struct kafka_entry *e)
{
	leave_batch(box, e);
	e->state = KAFKA_ENTRY_RETURNED;
}

/* ---- end ---- */

void kafka_outbox_remove(struct kafka_outbox *box, struct kafka_entry *e)
{
	if (e->state == KAFKA_ENTRY_WAITING)
		leave_lane(box, e);
	else if (e->state == KAFKA_ENTRY_HANDED)
		leave_batch(box, e);
	if (e->prev != NULL)
		e->prev->next = e->next;
	else
		box->first = e->next;
	if (e->next != NULL)
		e->next->prev = e->prev;
	else
		box->last = e->prev;
	box->count--;
	box->bytes -= cx_buf_len(e->buf);
	cx_buf_unref(e->buf);
	e->buf = NULL;
	e->next = box->free;
	box->free = e;
}

void kafka_outbox_line_up(struct kafka_outbox *box)
{
	box->waiting = 0;
	for (unsigned i = 0; i < KAFKA_LANES; i++)
		box->lanes[i] = (struct kafka_lane){ .has_batch = box->lanes[i].has_batch };
	for (struct kafka_entry *e = box->first; e != NULL; e = e->next)
		if (e->state == KAFKA_ENTRY_WAITING)
			kafka_outbox_wait(box, e);
}

void kafka_outbox_rewind(struct kafka_outbox *box)
{
	for (struct kafka_entry *e = box->first; e != NULL; e = e->next)
		e->state = KAFKA_ENTRY_WAITING;
	memset(box->batches, 0, sizeof(box->batches));
	memset(box->lanes, 0, sizeof(box->lanes));
	kafka_outbox_line_up(box);
}
