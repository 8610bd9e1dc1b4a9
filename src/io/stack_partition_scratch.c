/* SPDX-License-Identifier: MIT */
#include "io/stack_partition_internal.h"

#include <stdlib.h>

#include "io/stack_keys.h"

#define BUCKETS 65536u

/* ---- room ---- */

void *stack_grow(uint8_t **at, size_t *cap, size_t need)
{
	size_t wanted = *cap > 0 ? *cap : 65536;

	while (wanted < need)
		wanted *= 2;
	if (wanted > *cap) {
		*at = realloc(*at, wanted);
		cx_assert(*at != NULL);
		*cap = wanted;
	}
	return *at;
}

uint8_t *stack_scratch_room(struct stack_partition *s, size_t len)
{
	stack_grow(&s->scratch, &s->scratch_cap, s->scratch_len + len);
	return s->scratch + s->scratch_len;
}

struct stack_span stack_scratch_took(struct stack_partition *s, size_t len)
{
	s->scratch_len += len;
	return (struct stack_span){ s->scratch_len - len, len };
}

void stack_batch_scratch_init(struct stack_partition *s)
{
	s->argv = calloc(STACK_KEYS_MAX + STACK_ARGS_MAX, sizeof(*s->argv));
	s->keys = calloc(STACK_KEYS_MAX, sizeof(*s->keys));
	s->args = calloc(STACK_ARGS_MAX, sizeof(*s->args));
	cx_assert(s->argv != NULL && s->keys != NULL && s->args != NULL);
}

void stack_batch_scratch_free(struct stack_partition *s)
{
	while (s->free != NULL) {
		struct stack_work *const w = s->free;

		s->free = w->next;
		free(w->entries);
		free(w);
	}
	free(s->argv);
	free(s->keys);
	free(s->args);
	free(s->scratch);
}

struct stack_work *stack_work_take(struct stack_partition *s)
{
	struct stack_work *w = s->free;

	if (w != NULL)
		s->free = w->next;
	else
		w = calloc(1, sizeof(*w));
	cx_assert(w != NULL);
	w->item_count = w->lookup_count = 0;
	w->entries_len = 0;
	return w;
}

void stack_work_drop(struct stack_partition *s, struct stack_batch *b)
{
	if (b->work == NULL)
		return;
	s->bytes_asked -= b->end - b->at;
	b->work->next = s->free;
	s->free = b->work;
	b->work = NULL;
}

/* ---- TTLs ---- */

static struct stack_generation *generation_of(struct stack_partition *s, int64_t number)
{
	struct stack_generation *g = &s->generations[0];

	for (unsigned i = 0; i < STACK_SEEN_GENERATIONS; i++) {
		if (s->generations[i].bits != NULL && s->generations[i].number == number)
			return &s->generations[i];
		if (g->bits != NULL &&
		    (s->generations[i].bits == NULL || s->generations[i].number < g->number))
			g = &s->generations[i];
	}
	free(g->bits);
	g->bits = calloc(1, BUCKETS / 8);
	cx_assert(g->bits != NULL);
	g->number = number;
	return g;
}

bool stack_needs_ttl(struct stack_partition *s, int64_t number, const struct stack_seen *seen)
{
	uint8_t *const bits = generation_of(s, number)->bits;
	const unsigned bucket = (unsigned)seen->h[0] << 8 | seen->h[1];
	const uint8_t bit = (uint8_t)(1u << (bucket & 7));
	const bool is_set = (bits[bucket >> 3] & bit) != 0;

	bits[bucket >> 3] |= bit;
	return !is_set;
}

void stack_batch_forget(struct stack_partition *s)
{
	for (unsigned i = 0; i < STACK_SEEN_GENERATIONS; i++) {
		free(s->generations[i].bits);
		s->generations[i].bits = NULL;
	}
	stack_users_clear(&s->users);
}
