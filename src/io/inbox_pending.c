/* SPDX-License-Identifier: MIT */
#include "io/inbox_pending.h"

#include <stdlib.h>

#define FIRST_CAP 64

static struct pending *at(const struct inbox_pending *list, uint32_t n)
{
	return &list->ring[n & (list->cap - 1)];
}

static void grow(struct inbox_pending *list)
{
	const uint32_t cap = list->cap == 0 ? FIRST_CAP : list->cap * 2;
	struct pending *ring = malloc(cap * sizeof(*ring));

	cx_assert(ring != NULL);
	for (uint32_t n = list->first; n != list->end; n++)
		ring[n & (cap - 1)] = *at(list, n);
	free(list->ring);
	list->ring = ring;
	list->cap = cap;
}

void inbox_pending_add(struct inbox_pending *list, const struct pending *p)
{
	if (list->end - list->first == list->cap)
		grow(list);
	*at(list, list->end) = *p;
	list->end++;
}

/* Answers come nearly in order, so the search is short. */
bool inbox_pending_take(struct inbox_pending *list, uint64_t corr, struct pending *out)
{
	uint32_t n = list->first;

	while (n != list->end && at(list, n)->corr != corr)
		n++;
	if (n == list->end || corr == 0)
		return false;
	*out = *at(list, n);
	at(list, n)->corr = 0;
	while (list->first != list->end && at(list, list->first)->corr == 0)
		list->first++;
	return true;
}

uint64_t inbox_pending_settle(const struct inbox_pending *list, const struct uuid *owner,
                              uint64_t id)
{
	for (uint32_t n = list->first; n != list->end; n++) {
		const struct pending *p = at(list, n);

		if (p->corr != 0 && p->kind == PENDING_SETTLE && p->id == id &&
		    uuid_equal(&p->owner, owner))
			return p->corr;
	}
	return 0;
}

void inbox_pending_free(struct inbox_pending *list)
{
	free(list->ring);
	*list = (struct inbox_pending){ 0 };
}
