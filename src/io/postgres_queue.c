/* SPDX-License-Identifier: MIT */
#include "io/postgres_queue.h"

#include <stdlib.h>

#include "io/postgres_figures.h"

void postgres_ring_init(struct postgres_ring *ring, uint32_t places)
{
	uint32_t size = 4;

	while (size < places)
		size *= 2;
	*ring = (struct postgres_ring){ .mask = size - 1 };
	ring->at = calloc(size, sizeof(*ring->at));
	cx_assert(ring->at != NULL);
}

void postgres_ring_free(struct postgres_ring *ring)
{
	free(ring->at);
	*ring = (struct postgres_ring){ 0 };
}

struct postgres_entry *postgres_ring_head(const struct postgres_ring *ring)
{
	return ring->head == ring->tail ? NULL : &ring->at[ring->head & ring->mask];
}

void postgres_ring_push(struct postgres_ring *ring, const struct postgres_entry *e)
{
	cx_assert(postgres_ring_used(ring) <= ring->mask);
	ring->at[ring->tail++ & ring->mask] = *e;
}

struct postgres_entry postgres_ring_pop(struct postgres_ring *ring)
{
	cx_assert(ring->head != ring->tail);
	return ring->at[ring->head++ & ring->mask];
}

bool postgres_load_has_room(const struct postgres_load *load, size_t bytes)
{
	return load->asks < load->asks_max && load->bytes + bytes <= load->bytes_max;
}

void postgres_load_take(struct postgres_load *load, const struct postgres_entry *e)
{
	load->asks++;
	load->bytes += cx_buf_len(e->buf);
	postgres_count(&load->figures->in_flight, 1);
}

void postgres_load_drop(struct postgres_load *load, struct postgres_entry *e)
{
	if (e->buf == NULL)
		return; /* a ping takes no place */
	cx_assert(load->asks > 0);
	load->asks--;
	load->bytes -= cx_buf_len(e->buf);
	postgres_count(&load->figures->in_flight, UINT64_MAX);
	cx_buf_unref(e->buf);
	e->buf = NULL;
}

void postgres_ring_sweep(struct postgres_ring *ring, struct postgres_load *load,
                         uint64_t now_ms)
{
	uint32_t kept = ring->head;

	for (uint32_t i = ring->head; i != ring->tail; i++) {
		struct postgres_entry *const e = &ring->at[i & ring->mask];

		if (now_ms > e->deadline_ms) {
			postgres_load_drop(load, e);
			postgres_count(&load->figures->late, 1);
		} else {
			ring->at[kept++ & ring->mask] = *e;
		}
	}
	ring->tail = kept;
}
