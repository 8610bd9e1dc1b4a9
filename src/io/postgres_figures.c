/* SPDX-License-Identifier: MIT */
#include "io/postgres_figures.h"

#define WORKERS_MAX 64
#define FIELDS (sizeof(struct postgres_figures) / sizeof(uint64_t))

struct line {
	_Alignas(64) struct postgres_figures figures;
};

static struct line all[WORKERS_MAX];

struct postgres_figures *postgres_figures_of(unsigned worker)
{
	cx_assert(worker < WORKERS_MAX);
	return &all[worker].figures;
}

void postgres_figures(struct postgres_figures *out)
{
	uint64_t *to = (uint64_t *)out;
	uint64_t longest = 0;

	*out = (struct postgres_figures){ 0 };
	for (unsigned w = 0; w < WORKERS_MAX; w++) {
		const uint64_t *from = (const uint64_t *)&all[w].figures;
		uint64_t max_ns;

		/* relaxed: figures, pairs with postgres_count */
		for (size_t i = 0; i < FIELDS; i++)
			to[i] += __atomic_load_n(&from[i], __ATOMIC_RELAXED);
		max_ns = __atomic_load_n(&all[w].figures.latency_ns_max, __ATOMIC_RELAXED);
		longest = max_ns > longest ? max_ns : longest;
	}
	out->latency_ns_max = longest;
}
