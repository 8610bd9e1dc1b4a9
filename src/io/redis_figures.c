/* SPDX-License-Identifier: MIT */
#include "io/redis_figures.h"

#include "io/figures.h"

#define WORKERS_MAX 64

struct line {
	_Alignas(64) struct redis_figures figures;
};

static struct line all[WORKERS_MAX];

struct redis_figures *redis_figures_of(unsigned worker)
{
	cx_assert(worker < WORKERS_MAX);
	return &all[worker].figures;
}

void redis_figures(struct redis_figures *out)
{
	uint64_t longest = 0;

	*out = (struct redis_figures){ 0 };
	for (unsigned w = 0; w < WORKERS_MAX; w++) {
		uint64_t max_ns;

		figures_add(out, &all[w].figures, sizeof(*out)); /* pairs with redis_count */
		max_ns = __atomic_load_n(&all[w].figures.latency_ns_max, __ATOMIC_RELAXED);
		longest = max_ns > longest ? max_ns : longest;
	}
	out->latency_ns_max = longest;
}
