/* SPDX-License-Identifier: MIT */
#include "io/postgres_figures.h"

#include "io/figures.h"

#define WORKERS_MAX 64

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
	uint64_t longest = 0;

	*out = (struct postgres_figures){ 0 };
	for (unsigned w = 0; w < WORKERS_MAX; w++) {
		uint64_t max_ns;

		figures_add(out, &all[w].figures, sizeof(*out)); /* pairs with postgres_count */
		max_ns = __atomic_load_n(&all[w].figures.latency_ns_max, __ATOMIC_RELAXED);
		longest = max_ns > longest ? max_ns : longest;
	}
	out->latency_ns_max = longest;
}
