/* SPDX-License-Identifier: MIT */
/* Looks at each worker's count of handler calls: one that stands still inside a turn for too long is
 * named.  A count instead of a clock read in each dispatch: it costs the worker two plain stores.
 *
 * It also adds up the mailboxes, a stretch of the actor table at each look: a counter for each kind
 * would cost every sender, and who asks for figures should not have to walk a table of millions. */
#include <time.h>

#include <cx/log.h>

#include "runtime/internal.h"

#define SLOTS_A_LOOK 4096
#define NO_ENTRY CX_SLOW_HANDLERS

struct seen {
	uint64_t calls;
	uint64_t since_ns;
	uint32_t entry; /* in the table of slow handlers, or NO_ENTRY */
	bool is_named;
};

struct walk {
	uint32_t slot; /* the next one */
	uint64_t depth[CX__KINDS_MAX];
};

/* The entry of this handler, a new one if need be; NO_ENTRY: the table is full. */
static uint32_t slow_entry(struct cx_runtime *rt, uint32_t kind, uint32_t type)
{
	const uint32_t count = atomic_load_explicit(&rt->slow_count, memory_order_relaxed);
	uint32_t i = 0;

	while (i < count &&
	       (atomic_load_explicit(&rt->slow[i].kind, memory_order_relaxed) != kind ||
	        atomic_load_explicit(&rt->slow[i].type, memory_order_relaxed) != type))
		i++;
	if (i < count || i == CX_SLOW_HANDLERS)
		return i;
	atomic_store_explicit(&rt->slow[i].kind, kind, memory_order_relaxed);
	atomic_store_explicit(&rt->slow[i].type, type, memory_order_relaxed);
	/* release: pairs with the load in cx_runtime_slow_handlers */
	atomic_store_explicit(&rt->slow_count, i + 1, memory_order_release);
	return i;
}

static void note_longest(struct cx_runtime *rt, uint32_t entry, uint64_t ns)
{
	if (entry != NO_ENTRY &&
	    ns > atomic_load_explicit(&rt->slow[entry].longest_ns, memory_order_relaxed))
		atomic_store_explicit(&rt->slow[entry].longest_ns, ns, memory_order_relaxed);
}

static void name(struct cx_runtime *rt, struct cx_worker *w, struct seen *seen)
{
	const uint32_t kind = atomic_load_explicit(&w->doing_kind, memory_order_relaxed);
	const uint32_t type = atomic_load_explicit(&w->doing_type, memory_order_relaxed);

	seen->is_named = true;
	seen->entry = slow_entry(rt, kind, type);
	if (seen->entry != NO_ENTRY)
		cx__count(&rt->slow[seen->entry].count, 1);
	atomic_fetch_add_explicit(&rt->outside[kind].slow, 1, memory_order_relaxed);
	cx_log(CX_WARN, "actor.slow", "kind=%s message=%s worker=%u over_ms=%u",
	       atomic_load(&rt->kinds[kind])->type->name, cx__msg_name(rt, type), w->index,
	       rt->conf.watchdog_ms);
}

static void look(struct cx_runtime *rt, struct cx_worker *w, struct seen *seen, uint64_t now_ns)
{
	/* acquire: pairs with doing in turn.c.  So a call that is seen begun is seen counted */
	const uint32_t type = atomic_load_explicit(&w->doing_type, memory_order_acquire);
	const uint64_t calls = atomic_load_explicit(&w->calls, memory_order_relaxed);
	const uint64_t inside_ns = now_ns - seen->since_ns;

	if (calls != seen->calls || type == CX_MSG_NONE) {
		*seen = (struct seen){ .calls = calls, .since_ns = now_ns, .entry = NO_ENTRY };
		return;
	}
	if (!seen->is_named && inside_ns >= (uint64_t)rt->conf.watchdog_ms * 1000000)
		name(rt, w, seen);
	if (seen->is_named)
		note_longest(rt, seen->entry, inside_ns);
}

static void add_depths(struct cx_runtime *rt, struct walk *walk)
{
	/* acquire: the chunks below it are in place */
	const uint32_t slots =
		atomic_load_explicit(&rt->chunk_count, memory_order_acquire) * CX__CHUNK;

	for (unsigned n = 0; n < SLOTS_A_LOOK && walk->slot < slots; n++) {
		struct cx__actor *a = cx__actor_at(rt, walk->slot++);
		const int32_t depth =
			atomic_load_explicit(&cx__front(a)->depth, memory_order_relaxed) +
			atomic_load_explicit(&a->local_depth, memory_order_relaxed);
		const struct cx__kind *kind;

		if (depth <= 0)
			continue; /* most */
		kind = atomic_load(&cx__front(a)->kind);
		if (kind != NULL)
			walk->depth[kind->index] += (uint64_t)depth;
	}
	if (walk->slot < slots)
		return;
	for (unsigned k = 0; k < CX__KINDS_MAX; k++)
		atomic_store_explicit(&rt->depth[k], walk->depth[k], memory_order_relaxed);
	*walk = (struct walk){ 0 };
}

void *cx__watchdog_main(void *arg)
{
	struct cx_runtime *rt = arg;
	struct seen seen[CX__WORKERS_MAX] = { 0 };
	struct walk walk = { 0 };
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
		add_depths(rt, &walk);
		pthread_cond_timedwait(&rt->watchdog_cond, &rt->watchdog_lock, &next);
	}
	pthread_mutex_unlock(&rt->watchdog_lock);
	return NULL;
}
