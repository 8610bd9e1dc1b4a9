/* SPDX-License-Identifier: MIT */
#include "io/stack_partition_internal.h"

#include <stdlib.h>

#include "io/stack_keys.h"

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

static struct stack_window *window_of(struct stack_partition *s, int64_t number)
{
	struct stack_window *w = &s->windows[0];

	for (unsigned i = 0; i < STACK_SEEN_WINDOWS; i++) {
		if (s->windows[i].bits != NULL && s->windows[i].number == number)
			return &s->windows[i];
		if (w->bits != NULL &&
		    (s->windows[i].bits == NULL || s->windows[i].number < w->number))
			w = &s->windows[i];
	}
	free(w->bits);
	w->bits = calloc(1, STACK_SEEN_BUCKETS / 8);
	cx_assert(w->bits != NULL);
	w->number = number;
	return w;
}

bool stack_needs_ttl(struct stack_partition *s, int64_t number, const struct stack_seen *seen)
{
	uint8_t *const bits = window_of(s, number)->bits;
	const unsigned bucket = stack_seen_bucket(seen);
	const uint8_t bit = (uint8_t)(1u << (bucket & 7));
	const bool is_set = (bits[bucket >> 3] & bit) != 0;

	bits[bucket >> 3] |= bit;
	return !is_set;
}

void stack_batch_forget(struct stack_partition *s)
{
	for (unsigned i = 0; i < STACK_SEEN_WINDOWS; i++) {
		free(s->windows[i].bits);
		s->windows[i].bits = NULL;
	}
	stack_users_clear(&s->users);
}
