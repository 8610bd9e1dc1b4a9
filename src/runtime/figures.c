/* SPDX-License-Identifier: MIT */
/* Sums of the workers' counters.  Each counter has one writer, so a sum is exact for a moment that
 * lies between the start and the end of the call. */
#include "runtime/internal.h"

static uint64_t get(const _Atomic uint64_t *c)
{
	return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)c, memory_order_relaxed);
}

static void add(struct cx_kind_stats *sum, struct cx__kind_count *c, uint64_t *ended)
{
	const uint32_t depth = atomic_load_explicit(&c->depth_max, memory_order_relaxed);

	sum->spawned += get(&c->spawned);
	*ended += get(&c->ended);
	sum->messages += get(&c->messages);
	sum->turns += get(&c->turns);
	sum->busy_ns += get(&c->busy_ns);
	sum->refused += get(&c->refused);
	sum->dead_letters += get(&c->dead);
	sum->late_replies += get(&c->late);
	sum->slow += get(&c->slow);
	sum->restarts += get(&c->restarts);
	sum->unhandled += get(&c->unhandled);
	if (depth > sum->depth_max)
		sum->depth_max = depth;
}

size_t cx_runtime_kinds(struct cx_runtime *rt, struct cx_kind_stats *out, size_t cap)
{
	const uint32_t kinds = atomic_load_explicit(&rt->kind_count, memory_order_acquire);

	for (uint32_t k = 0; k < kinds && k < cap; k++) {
		const struct cx_actor_type *type =
			atomic_load_explicit(&rt->kinds[k], memory_order_relaxed)->type;
		uint64_t ended = 0;

		out[k] = (struct cx_kind_stats){ .name = type->name,
			                         .mailbox_cap = type->mailbox_cap };
		for (unsigned i = 0; i < rt->all_workers; i++)
			add(&out[k], &rt->worker[i]->counts[k], &ended);
		add(&out[k], &rt->outside[k], &ended);
		out[k].live = out[k].spawned - ended;
	}
	return kinds;
}

size_t cx_runtime_worker_stats(struct cx_runtime *rt, struct cx_worker_stats *out, size_t cap)
{
	for (unsigned i = 0; i < rt->all_workers && i < cap; i++) {
		struct cx_worker *w = rt->worker[i];

		out[i] = (struct cx_worker_stats){
			.turns = get(&w->turns),
			.polls = get(&w->polls),
			.sleeps = get(&w->sleeps),
			.wakeups = get(&w->wakeups),
			.steals = get(&w->steals),
			.busy_ns = get(&w->busy_ns),
			.pool_bytes = cx__pool_bytes(w->pool),
			.timers = get(&w->timers),
			.run_queue = atomic_load_explicit(&w->run_queue, memory_order_relaxed),
		};
	}
	return rt->all_workers;
}
