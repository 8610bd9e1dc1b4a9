/* SPDX-License-Identifier: MIT */
#include "actors/ack_batcher_internal.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 64

static void *grown(void *at, uint32_t *cap, size_t size)
{
	void *more;

	*cap = *cap == 0 ? FIRST_CAP : *cap * 2;
	more = realloc(at, *cap * size);
	cx_assert(more != NULL);
	return more;
}

void ack_list_push(struct ack_list *l, uint32_t n)
{
	if (l->end == l->cap && l->head > l->cap / 2) {
		memmove(l->at, l->at + l->head, ack_list_count(l) * sizeof(*l->at));
		l->end -= l->head;
		l->head = 0;
	}
	if (l->end == l->cap)
		l->at = grown(l->at, &l->cap, sizeof(*l->at));
	l->at[l->end++] = n;
}

uint32_t ack_list_pop(struct ack_list *l)
{
	const uint32_t n = l->at[l->head++];

	if (l->head == l->end)
		l->head = l->end = 0;
	return n;
}

void ack_places_push(struct ack_places *l, struct ack_place place)
{
	if (l->count == l->cap)
		l->at = grown(l->at, &l->cap, sizeof(*l->at));
	l->at[l->count++] = place;
}

/* ---- slabs ---- */

void ack_queue_init(struct ack_queue *q)
{
	*q = (struct ack_queue){ .event_free = ACK_NONE, .entry_free = ACK_NONE };
	memset(q->buckets, 0xff, sizeof(q->buckets)); /* ACK_NONE */
}

void ack_queue_free(struct ack_queue *q)
{
	for (uint32_t i = 0; i < q->event_cap; i++)
		cx_buf_unref(q->events[i].json);
	free(q->events);
	free(q->entries);
	q->events = NULL;
	q->entries = NULL;
	q->event_cap = q->entry_cap = 0;
}

uint32_t ack_entry_new(struct ack_queue *q, struct ack_place place, bool is_swept)
{
	uint32_t n = q->entry_free;

	if (n == ACK_NONE) {
		const uint32_t first = q->entry_cap;

		q->entries = grown(q->entries, &q->entry_cap, sizeof(*q->entries));
		for (uint32_t i = first; i < q->entry_cap; i++)
			q->entries[i].left = i + 1 < q->entry_cap ? i + 1 : ACK_NONE;
		n = first;
	}
	q->entry_free = q->entries[n].left;
	q->entries[n] = (struct ack_entry){ .place = place, .is_swept = is_swept };
	return n;
}

void ack_entry_free(struct ack_queue *q, uint32_t entry)
{
	q->entries[entry].left = q->entry_free;
	q->entry_free = entry;
}

uint32_t ack_event_new(struct ack_queue *q, uint32_t entry, struct wire_slice json,
                       const uint8_t key[ACK_KEY_LEN])
{
	uint32_t n = q->event_free;

	if (n == ACK_NONE) {
		const uint32_t first = q->event_cap;

		q->events = grown(q->events, &q->event_cap, sizeof(*q->events));
		for (uint32_t i = first; i < q->event_cap; i++) {
			q->events[i].json = NULL;
			q->events[i].next = i + 1 < q->event_cap ? i + 1 : ACK_NONE;
		}
		n = first;
	}
	q->event_free = q->events[n].next;
	q->events[n] =
		(struct ack_event){ .json = cx_buf_copy(json.at, json.len), .entry = entry };
	memcpy(q->events[n].key, key, ACK_KEY_LEN);
	q->entries[entry].left++;
	q->event_count++;
	return n;
}

void ack_event_free(struct ack_queue *q, uint32_t event)
{
	struct ack_event *const e = &q->events[event];

	cx_buf_unref(e->json);
	e->json = NULL;
	e->next = q->event_free;
	q->event_free = event;
	q->event_count--;
}

static uint32_t *bucket_of(struct ack_queue *q, uint64_t corr)
{
	/* multiplicative hashing: Knuth, The Art of Computer Programming, 6.4 */
	return &q->buckets[(corr * UINT64_C(0x9e3779b97f4a7c15)) >> 52 & (ACK_BUCKETS - 1)];
}

void ack_fly(struct ack_queue *q, uint32_t event, uint64_t corr)
{
	uint32_t *const at = bucket_of(q, corr);

	q->events[event].corr = corr;
	q->events[event].next = *at;
	*at = event;
	q->flying++;
}

uint32_t ack_land(struct ack_queue *q, uint64_t corr)
{
	uint32_t *at = bucket_of(q, corr);

	while (*at != ACK_NONE && q->events[*at].corr != corr)
		at = &q->events[*at].next;
	if (*at != ACK_NONE) {
		const uint32_t event = *at;

		*at = q->events[event].next;
		q->flying--;
		return event;
	}
	return ACK_NONE;
}

/* ---- bytes ---- */

bool ack_events_next(struct wire_slice bytes, size_t *at, struct wire_slice *json)
{
	size_t len;

	if (bytes.len - *at < 2)
		return false;
	len = (size_t)bytes.at[*at] | (size_t)bytes.at[*at + 1] << 8;
	if (len > bytes.len - *at - 2)
		return false;
	*json = wire_slice(bytes.at + *at + 2, len);
	*at += 2 + len;
	return true;
}

bool ack_event_key(struct wire_slice json, uint8_t key[ACK_KEY_LEN])
{
	static const char name[] =
		"\"messageHash\":\""; /* our own writer's form, without blanks */
	const uint8_t *const end = json.at + json.len;
	const uint8_t *at = memmem(json.at, json.len, name, sizeof(name) - 1);

	if (at == NULL)
		return false;
	at += sizeof(name) - 1;
	if (end - at <= ACK_KEY_LEN || at[ACK_KEY_LEN] != '"')
		return false;
	for (unsigned i = 0; i < ACK_KEY_LEN; i++)
		if (!((at[i] >= '0' && at[i] <= '9') || (at[i] >= 'a' && at[i] <= 'f')))
			return false;
	memcpy(key, at, ACK_KEY_LEN);
	return true;
}
