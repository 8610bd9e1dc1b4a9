/* SPDX-License-Identifier: MIT */
/* Asks in order: one ring of those that wait for a connection, and one in each connection. */
#ifndef IO_POSTGRES_QUEUE_H
#define IO_POSTGRES_QUEUE_H

#include "io/postgres.h"

struct postgres_entry {
	struct cx_caller caller;
	struct cx_buf *buf; /* NULL: a ping */
	uint64_t deadline_ms, sent_ns;
	uint32_t count; /* statements */
	uint32_t got;   /* answers to them */
	char sqlstate[6];
	bool is_refused;
};

struct postgres_ring {
	struct postgres_entry *at;
	uint32_t head, tail; /* grow and wrap */
	uint32_t mask;
};

/* At least `places` places. */
void postgres_ring_init(struct postgres_ring *ring, uint32_t places);
void postgres_ring_free(struct postgres_ring *ring);

static inline uint32_t postgres_ring_used(const struct postgres_ring *ring)
{
	return ring->tail - ring->head;
}

/* NULL: empty. */
struct postgres_entry *postgres_ring_head(const struct postgres_ring *ring);
/* There must be a place. */
void postgres_ring_push(struct postgres_ring *ring, const struct postgres_entry *e);
/* The entry is the caller's, with its buffer. */
struct postgres_entry postgres_ring_pop(struct postgres_ring *ring);

/* What one adapter has taken on, over all rings. */
struct postgres_load {
	uint32_t asks, asks_max;
	size_t bytes, bytes_max;
	struct postgres_figures *figures;
};

bool postgres_load_has_room(const struct postgres_load *load, size_t bytes);
void postgres_load_take(struct postgres_load *load, const struct postgres_entry *e);
/* The ask is over: its buffer and its place are given back. */
void postgres_load_drop(struct postgres_load *load, struct postgres_entry *e);

/* Drops those of the ring whose time is up. */
void postgres_ring_sweep(struct postgres_ring *ring, struct postgres_load *load,
                         uint64_t now_ms);

#endif
