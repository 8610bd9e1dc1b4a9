/* SPDX-License-Identifier: MIT */
/* Counters behind postgres_figures: one set a worker, written by it alone, read by anybody. */
#ifndef IO_POSTGRES_FIGURES_H
#define IO_POSTGRES_FIGURES_H

#include "io/postgres.h"

/* Thread: a worker's own, for its index. */
struct postgres_figures *postgres_figures_of(unsigned worker);

static inline void postgres_count(uint64_t *figure, uint64_t n)
{
	/* relaxed: a figure, pairs with the load in postgres_figures */
	__atomic_store_n(figure, *figure + n, __ATOMIC_RELAXED);
}

#endif
