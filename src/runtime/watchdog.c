/* SPDX-License-Identifier: MIT */
/* Looks at each worker's dispatch counter: one that stands inside a handler for too long is named.
 * A counter instead of a clock read in each dispatch: it costs the worker two plain stores. */
#include <time.h>

#include <cx/log.h>

#include "runtime/internal.h"

struct seen {
	uint64_t dispatched;
	uint64_t since_ns;
	bool is_named;
};

static void look(struct cx_runtime *rt, struct cx_worker *w, struct seen *seen, uint64_t now_ns)
{
	const uint64_t n = atomic_load_explicit(&w->dispatched, memory_order_relaxed);
	uint32_t kind;

	if (n != seen->dispatched || n % 2 == 0) {
		*seen = (struct seen){ .dispatched = n, .since_ns = now_ns };
		return;
	}
	if (seen->is_named ||
	    now_ns - seen->since_ns < (uint64_t)rt->conf.watchdog_ms * 1000000)
		return;
	seen->is_named = true;
	kind = atomic_load_explicit(&w->doing_kind, memory_order_relaxed);
	atomic_fetch_add_explicit(&rt->outside[kind].slow, 1, memory_order_relaxed);
	cx_log(CX_WARN, "actor.slow", "kind=%s message=%s worker=%u over_ms=%u",
	       atomic_load(&rt->kinds[kind])->type->name,
	       cx__msg_name(rt, atomic_load_explicit(&w->doing_type, memory_order_relaxed)),
	       w->index, rt->conf.watchdog_ms);
}

void *cx__watchdog_main(void *arg)
{
	struct cx_runtime *rt = arg;
	struct seen seen[CX__WORKERS_MAX] = { 0 };
	const uint64_t step_ns = (uint64_t)rt->conf.watchdog_ms * 1000000 / 2;

	pthread_setname_np(pthread_self(), "cx-watchdog");
	pthread_mutex_lock(&rt->watchdog_lock);
	while (!rt->stopping) {
		const uint64_t now_ns = cx__clock_ns();
		const uint64_t next_ns = now_ns + step_ns;
		const struct timespec next = { .tv_sec = (time_t)(next_ns / 1000000000),
			                       .tv_nsec = (long)(next_ns % 1000000000) };

		for (unsigned i = 0; i < rt->workers; i++)
			look(rt, rt->worker[i], &seen[i], now_ns);
		pthread_cond_timedwait(&rt->watchdog_cond, &rt->watchdog_lock, &next);
	}
	pthread_mutex_unlock(&rt->watchdog_lock);
	return NULL;
}
