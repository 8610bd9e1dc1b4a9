/* SPDX-License-Identifier: MIT */
/* Counters behind redis_figures: one set a worker, written by it alone, read by anybody. */
#ifndef IO_REDIS_FIGURES_H
#define IO_REDIS_FIGURES_H

#include "io/redis.h"

/* Thread: a worker's own, for its index. */
struct redis_figures *redis_figures_of(unsigned worker);

static inline void redis_count(uint64_t *figure, uint64_t n)
{
	/* relaxed: a figure, pairs with the load in redis_figures */
	__atomic_store_n(figure, *figure + n, __ATOMIC_RELAXED);
}

#endif
