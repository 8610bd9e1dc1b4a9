/* SPDX-License-Identifier: MIT */
#include "io/inbox_pending.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 64
#define NONE UINT32_MAX

static uint32_t *chain_of(const struct inbox_pending *list, uint64_t corr)
{
	return &list->chains[(corr * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (list->cap - 1)];
}

static void link_place(struct inbox_pending *list, uint32_t place)
{
	uint32_t *const chain = chain_of(list, list->places[place].corr);

	list->places[place].next = *chain;
	*chain = place;
}

/* Only when no place is free, so all of the old ones are in use; those that joined are in no chain. */
static void grow(struct inbox_pending *list)
{
	const uint32_t old = list->cap, cap = old == 0 ? FIRST_CAP : old * 2;
	uint32_t n;

	list->places = realloc(list->places, cap * sizeof(*list->places));
	list->chains = realloc(list->chains, cap * sizeof(*list->chains));
	cx_assert(list->places != NULL && list->chains != NULL);
	for (n = old; n < cap; n++)
		list->places[n] = (struct pending){ .next = n + 1 < cap ? n + 1 : NONE };
	list->cap = cap;
	list->first_free = old;
	memset(list->chains, 0xff, cap * sizeof(*list->chains)); /* NONE */
	for (n = 0; n < old; n++)
		if (list->places[n].next != n)
			link_place(list, n);
}

static uint32_t take_place(struct inbox_pending *list, const struct pending *p)
{
	uint32_t place;

	cx_assert(p->corr != 0);
	if (list->cap == 0 || list->first_free == NONE)
		grow(list);
	place = list->first_free;
	list->first_free = list->places[place].next;
	list->places[place] = *p;
	list->places[place].joined = NONE;
	return place;
}

uint32_t inbox_pending_add(struct inbox_pending *list, const struct pending *p)
{
	const uint32_t place = take_place(list, p);

	link_place(list, place);
	return place;
}

void inbox_pending_join(struct inbox_pending *list, uint32_t place, const struct pending *p)
{
	struct pending with_corr = *p;
	uint32_t mine;

	cx_assert(place < list->cap && list->places[place].kind == p->kind &&
	          list->places[place].id == p->id &&
	          uuid_equal(&list->places[place].owner, &p->owner));
	with_corr.corr = list->places[place].corr;
	mine = take_place(list, &with_corr);
	list->places[mine].next = mine; /* in no chain */
	list->places[mine].joined = list->places[place].joined;
	list->places[place].joined = mine;
}

bool inbox_pending_take(struct inbox_pending *list, uint64_t corr, struct pending *out)
{
	uint32_t *at, place, joined;

	if (list->cap == 0 || corr == 0)
		return false;
	at = chain_of(list, corr);
	while (*at != NONE && list->places[*at].corr != corr)
		at = &list->places[*at].next;
	place = *at;
	if (place == NONE)
		return false;
	*out = list->places[place];
	*at = out->next;
	joined = out->joined;
	if (joined != NONE) { /* it stands for the answer from here on */
		list->places[joined].next = *at;
		*at = joined;
	}
	list->places[place] = (struct pending){ .next = list->first_free };
	list->first_free = place;
	return true;
}

void inbox_pending_free(struct inbox_pending *list)
{
	free(list->places);
	free(list->chains);
	*list = (struct inbox_pending){ 0 };
}
