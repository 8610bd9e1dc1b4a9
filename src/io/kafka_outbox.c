/* SPDX-License-Identifier: MIT */
#include "io/kafka_outbox.h"

#include <stdlib.h>

enum cx_err kafka_outbox_open(struct kafka_outbox *box, uint32_t messages, uint64_t bytes)
{
	*box = (struct kafka_outbox){ .cap = messages, .bytes_cap = bytes };
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
	e->state = KAFKA_ENTRY_WAITING;
	if (box->last != NULL)
		box->last->next = e;
	else
		box->first = e;
	box->last = e;
	if (box->first_waiting == NULL)
		box->first_waiting = e;
	box->count++;
	box->waiting++;
	box->bytes += cx_buf_len(buf);
	box->waiting_bytes += cx_buf_len(buf);
	return e;
}

static void leave_waiting(struct kafka_outbox *box, struct kafka_entry *e)
{
	cx_assert(e->state == KAFKA_ENTRY_WAITING);
	if (box->first_waiting == e)
		box->first_waiting = e->next; /* inv. 2 */
	box->waiting--;
	box->waiting_bytes -= cx_buf_len(e->buf);
}

void kafka_outbox_handed(struct kafka_outbox *box)
{
	struct kafka_entry *const e = box->first_waiting;

	cx_assert(e != NULL);
	leave_waiting(box, e);
	e->state = KAFKA_ENTRY_HANDED;
}

void kafka_outbox_remove(struct kafka_outbox *box, struct kafka_entry *e)
{
	if (e->state == KAFKA_ENTRY_WAITING)
		leave_waiting(box, e);
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

void kafka_outbox_rewind(struct kafka_outbox *box)
{
	for (struct kafka_entry *e = box->first; e != NULL; e = e->next)
		e->state = KAFKA_ENTRY_WAITING;
	box->first_waiting = box->first;
	box->waiting = box->count;
	box->waiting_bytes = box->bytes;
}
