/* SPDX-License-Identifier: MIT */
/* Sums of the workers' counters.  Each counter has one writer, so a sum is exact for a moment that
 * lies between the start and the end of the call. */
#include "runtime/internal.h"

static uint64_t get(const _Atomic uint64_t *c)
{
	return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)c, memory_order_relaxed);
}

uint64_t cx_handler_times_end_ns(unsigned bucket)
{
	unsigned shift;

	if (bucket < 2 * CX__TIMES_CUTS)
		return bucket;
	shift = bucket / CX__TIMES_CUTS - 1;
	return ((uint64_t)(bucket - shift * CX__TIMES_CUTS + 1) << shift) - 1;
}

uint64_t cx_handler_times_quantile_ns(const struct cx_handler_times *times, double quantile)
{
	uint64_t total = 0, seen = 0;
	unsigned last = 0;
	double rank;

	for (unsigned b = 0; b < CX_HANDLER_BUCKETS; b++)
		total += times->count[b];
	rank = quantile * (double)total;
	for (unsigned b = 0; b < CX_HANDLER_BUCKETS; b++) {
		if (times->count[b] == 0)
			continue;
		last = b;
		seen += times->count[b];
		if ((double)seen >= rank)
			break;
	}
	return total == 0 ? 0 : cx_handler_times_end_ns(last);
}

void cx_runtime_handler_times(struct cx_runtime *rt, size_t kind, struct cx_handler_times *out)
{
	*out = (struct cx_handler_times){ { 0 } };
	for (unsigned i = 0; i < rt->all_workers && kind < CX__KINDS_MAX; i++) {
		/* acquire: pairs with times_of in worker.c */
		const struct cx__handler_times *times =
			atomic_load_explicit(&rt->worker[i]->times[kind], memory_order_acquire);

		for (unsigned b = 0; times != NULL && b < CX_HANDLER_BUCKETS; b++)
			out->count[b] += get(&times->count[b]);
	}
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
		struct cx_handler_times times;
		const struct cx_actor_type *type =
			atomic_load_explicit(&rt->kinds[k], memory_order_relaxed)->type;
		uint64_t ended = 0;

		out[k] = (struct cx_kind_stats){ .name = type->name,
			                         .mailbox_cap = type->mailbox_cap };
		for (unsigned i = 0; i < rt->all_workers; i++)
			add(&out[k], &rt->worker[i]->counts[k], &ended);
		add(&out[k], &rt->outside[k], &ended);
		out[k].live = out[k].spawned - ended;
		out[k].depth = get(&rt->depth[k]);
		cx_runtime_handler_times(rt, k, &times);
		out[k].handler_p50_ns = cx_handler_times_quantile_ns(&times, 0.5);
		out[k].handler_p99_ns = cx_handler_times_quantile_ns(&times, 0.99);
	}
	return kinds;
}

size_t cx_runtime_worker_stats(struct cx_runtime *rt, struct cx_worker_stats *out, size_t cap)
{
	for (unsigned i = 0; i < rt->all_workers && i < cap; i++) {
		struct cx_worker *w = rt->worker[i];

		out[i] = (struct cx_worker_stats){
			.name = w->name,
			.turns = get(&w->turns),
			.polls = get(&w->polls),
			.sleeps = get(&w->sleeps),
			.wakeups = get(&w->wakeups),
			.steals = get(&w->steals),
			.busy_ns = get(&w->busy_ns),
			.pool_bytes = cx__pool_bytes(w->pool),
			.timers = get(&w->timers),
			.run_queue = atomic_load_explicit(&w->run_queue, memory_order_relaxed) +
			             cx__deque_len(&w->any),
		};
	}
	return rt->all_workers;
}

size_t cx_runtime_slow_handlers(struct cx_runtime *rt, struct cx_slow_handler *out, size_t cap)
{
	/* acquire: pairs with the release in watchdog.c */
	const uint32_t count = atomic_load_explicit(&rt->slow_count, memory_order_acquire);

	for (uint32_t i = 0; i < count && i < cap; i++) {
		const struct cx__slow *s = &rt->slow[i];
		const uint32_t kind = atomic_load_explicit(&s->kind, memory_order_relaxed);
		const uint32_t type = atomic_load_explicit(&s->type, memory_order_relaxed);

		out[i] = (struct cx_slow_handler){
			.kind = atomic_load(&rt->kinds[kind])->type->name,
			.message = cx__msg_name(rt, type),
			.count = get(&s->count),
			.longest_ms = get(&s->longest_ns) / 1000000,
		};
	}
	return count;
}
