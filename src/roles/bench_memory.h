/* SPDX-License-Identifier: MIT */
/* Memory of the load generator: there or the end of the program. */
#ifndef CONSTRUCT_ROLES_BENCH_MEMORY_H
#define CONSTRUCT_ROLES_BENCH_MEMORY_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

static inline void *bench_must(void *memory)
{
	if (!memory) {
		fputs("bench: out of memory\n", stderr);
		exit(1);
	}
	return memory;
}

/* Zeroed. */
static inline void *bench_alloc(size_t count, size_t size)
{
	return bench_must(calloc(count ? count : 1, size));
}

static inline void *bench_realloc(void *memory, size_t size)
{
	return bench_must(realloc(memory, size));
}

#endif
