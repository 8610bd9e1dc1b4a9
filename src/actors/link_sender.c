/* SPDX-License-Identifier: MIT */
#include "actors/link_sender.h"

#include <stdlib.h>

#define RING_FIRST 16

void link_list_add(struct link_list *list, struct link_sender *s)
{
	s->next = NULL;
	s->prev = list->tail;
	if (s->prev != NULL)
		s->prev->next = s;
	else
		list->head = s;
	list->tail = s;
}

void link_list_take(struct link_list *list, struct link_sender *s)
{
	if (s->prev != NULL)
		s->prev->next = s->next;
	else
		list->head = s->next;
	if (s->next != NULL)
		s->next->prev = s->prev;
	else
		list->tail = s->prev;
	s->next = s->prev = NULL;
}

struct link_sender *link_sender_new(const struct uuid *user)
{
	struct link_sender *s = calloc(1, sizeof(*s));

	cx_assert(s != NULL);
	s->user = *user;
	return s;
}

void link_sender_free(struct link_sender *s)
{
	for (uint64_t n = s->first; n < s->last; n++)
		cx_buf_unref(link_sender_at(s, n)->buf);
	free(s->ring);
	free(s);
}

static void grow(struct link_sender *s)
{
	const uint64_t cap = s->cap == 0 ? RING_FIRST : s->cap * 2;
	struct link_send *ring = malloc(cap * sizeof(*ring));

	cx_assert(ring != NULL);
	for (uint64_t n = s->first; n < s->last; n++)
		ring[n & (cap - 1)] = *link_sender_at(s, n);
	free(s->ring);
	s->ring = ring;
	s->cap = cap;
}

struct link_send *link_sender_push(struct link_sender *s)
{
	if (s->last - s->first == s->cap)
		grow(s);
	return link_sender_at(s, s->last++);
}

void link_send_finish(struct link_send *e, enum error_code code)
{
	e->step = LINK_DONE;
	e->code = code;
	cx_buf_unref(e->buf);
	e->buf = NULL;
}

uint32_t link_sender_expire(struct link_sender *s, uint64_t now_ms)
{
	uint32_t count = 0;

	for (uint64_t n = s->first; n < s->last; n++) {
		struct link_send *e = link_sender_at(s, n);

		if (e->deadline_ms > now_ms)
			break; /* later ones have later deadlines */
		if (e->step != LINK_WAITING && e->step != LINK_LOST)
			continue;
		link_send_finish(e, ERROR_KAFKA_FAILURE);
		count++;
	}
	return count;
}

struct link_send *link_sender_next(struct link_sender *s)
{
	for (; s->next_send < s->last; s->next_send++)
		if (link_sender_at(s, s->next_send)->step != LINK_DONE)
			return link_sender_at(s, s->next_send);
	return NULL;
}

/* One window at most was sent, so this looks at no more than that. */
static bool is_passed(const struct link_sender *s, uint64_t n)
{
	const struct uuid *owner = &link_sender_at(s, n)->owner;

	for (uint64_t later = n + 1; later < s->next_send; later++) {
		const struct link_send *e = link_sender_at(s, later);

		if (e->step == LINK_DONE && e->code == ERROR_NONE &&
		    uuid_equal(&e->owner, owner))
			return true;
	}
	return false;
}

uint32_t link_sender_rewind(struct link_sender *s)
{
	uint64_t from = s->next_send;
	uint32_t count = 0;

	cx_assert(s->flying == 0); /* inv. 3 */
	for (uint64_t n = s->next_send; n-- > s->first;) {
		struct link_send *e = link_sender_at(s, n);

		if (e->step != LINK_LOST)
			continue;
		if (is_passed(s, n)) {
			link_send_finish(e, ERROR_KAFKA_FAILURE);
			count++;
		} else {
			from = n;
		}
	}
	s->next_send = from;
	return count;
}
