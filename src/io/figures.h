/* SPDX-License-Identifier: MIT */
/* Figures that each worker counts for itself and anybody adds up: structs of uint64_t only. */
#ifndef IO_FIGURES_H
#define IO_FIGURES_H

#include <stddef.h>
#include <stdint.h>

/* Add one worker's figures, `size` bytes of them, to a sum.
 * Thread: any; the worker may count meanwhile, with relaxed stores. */
static inline void figures_add(void *sum, const void *of_worker, size_t size)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)of_worker;

	/* relaxed: nothing hangs on them */
	for (size_t i = 0; i < size / sizeof(*to); i++)
		to[i] += __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

#endif
