/* SPDX-License-Identifier: MIT */
/* What was deleted lately, to be deleted once more when Redis has lost its last writes.
 *
 * 1. A message's id is its place in the log, so in whatever Redis it names the same message: deleting it
 *    again does no harm.  Ids of other shapes are not kept: they may name others by then.
 * 2. Kept is what was deleted in the STACK_LOST_MS before the newest: while Redis is away nothing is, so
 *    an outage takes nothing out. */
#include <stdlib.h>
#include <string.h>

#include "io/stack_inbox_internal.h"
#include "io/stack_keys.h"

#define KEPT_MAX 65536u /* of a worker: 2 MiB, from a power of two on */
#define FIRST_CAP 256u

struct deleted {
	struct uuid owner;
	uint64_t id;
	uint64_t at_ms;
};

static struct deleted *at(const struct deleted_lately *l, uint32_t n)
{
	return &l->ring[(l->first + n) & (l->cap - 1)];
}

static void grow(struct deleted_lately *l)
{
	const uint32_t cap = l->cap == 0 ? FIRST_CAP : 2 * l->cap;
	struct deleted *const ring = malloc(cap * sizeof(*ring));

	cx_assert(ring != NULL);
	for (uint32_t i = 0; i < l->count; i++)
		ring[i] = *at(l, i);
	free(l->ring);
	*l = (struct deleted_lately){ .ring = ring, .count = l->count, .cap = cap };
}

static void drop_oldest(struct deleted_lately *l)
{
	l->first++;
	l->count--;
}

void lately_note(struct deleted_lately *l, const struct uuid *owner, uint64_t id,
                 uint64_t now_ms)
{
	if (inbox_id_seq(id) != 0)
		return;
	while (l->count > 0 && at(l, 0)->at_ms + STACK_LOST_MS < now_ms)
		drop_oldest(l);
	if (l->count == KEPT_MAX)
		drop_oldest(l);
	if (l->count == l->cap)
		grow(l);
	*at(l, l->count++) = (struct deleted){ *owner, id, now_ms };
}

static int by_owner(const void *a, const void *b)
{
	return memcmp(&((const struct deleted *)a)->owner, &((const struct deleted *)b)->owner,
	              sizeof(struct uuid));
}

void lately_repeat(struct cx_ctx *ctx, struct stack_inbox *s)
{
	struct deleted_lately *const l = &s->lately;
	struct deleted *const all = malloc((l->count + 1) * sizeof(*all));
	uint64_t ids[XDEL_MAX];

	cx_assert(all != NULL);
	for (uint32_t i = 0; i < l->count; i++)
		all[i] = *at(l, i);
	qsort(all, l->count, sizeof(*all), by_owner);
	for (uint32_t i = 0, n; i < l->count; i += n) {
		for (n = 0; n < XDEL_MAX && i + n < l->count &&
		            uuid_equal(&all[i + n].owner, &all[i].owner);
		     n++)
			ids[n] = all[i + n].id;
		chore_delete(ctx, s, &all[i].owner, ids, n);
	}
	free(all);
}

void lately_free(struct deleted_lately *l)
{
	free(l->ring);
	*l = (struct deleted_lately){ 0 };
}
