/* SPDX-License-Identifier: MIT */
/* Actors that may run anywhere: who runs them.
 *
 * A worker that wakes another for each such actor pays more for the wake-up than for most turns, and what
 * both then take from each other crosses between their caches.  So the others are woken when turns are
 * long or much waits (`wants_help`); else the one who made an actor runnable runs it next.
 * How long a turn will take nobody knows.  So that nothing waits behind a long one while a worker is idle,
 * one idle worker watches: it sleeps for 1 ms at a time and takes what its owner did not take since.
 *
 *   worker W                            worker V
 *   push on the deque  (seq_cst)        sleeping = 1        (seq_cst)
 *   is there a watcher?  else           looks at all deques: watch, if one holds something or moved
 *   who sleeps?  is woken, to watch     else sleeps without an end
 * 1. Each side writes, then reads the other's words: what W pushed is seen by V, or V is seen asleep.
 * 2. Who stops watching says so, then looks again, or wakes another to watch when it has work itself.
 * 3. While somebody watches nobody else has to: an idle worker that sees one sleeps without an end.
 * Model: tests/models/watch.pml. */
#include "runtime/internal.h"

#define HELP_NS 20000 /* of work are worth a wake-up, which takes about as long */
#define WATCH_MS 1

static bool wants_help(const struct cx_worker *w)
{
	const uint64_t waiting = w->run_len + cx__deque_len((struct cx__deque *)&w->any);

	return w->is_long || w->long_kinds != 0 || waiting * w->turn_ns >= HELP_NS;
}

/* One that sleeps without an end, if there is one. */
static bool wake_sleeper(struct cx_worker *w)
{
	for (unsigned i = 0; i < w->rt->workers; i++) {
		struct cx_worker *other = w->rt->worker[i];

		if (other != w && atomic_load(&other->sleeping) != 0 &&
		    (int)i + 1 != atomic_load(&w->rt->watcher)) {
			cx__wake(other);
			return true;
		}
	}
	return false;
}

static void wake_watcher(struct cx_worker *w)
{
	const int watcher = atomic_load_explicit(&w->rt->watcher, memory_order_relaxed);

	/* relaxed: who is missed here comes by itself within WATCH_MS */
	if (watcher != 0 && w->rt->worker[watcher - 1] != w)
		cx__wake(w->rt->worker[watcher - 1]);
}

void cx__push_any(struct cx_worker *w, struct cx__actor *a)
{
	const uint8_t wants = w->rt->workers > 1 && wants_help(w);

	/* relaxed: thieves go by it, and by the clock where they see an old one */
	if (atomic_load_explicit(&w->wants_help, memory_order_relaxed) != wants)
		atomic_store_explicit(&w->wants_help, wants, memory_order_relaxed);
	if (w->rt->workers == 1 || !cx__deque_push(&w->any, a)) {
		cx__run_later(w, a);
		return;
	}
	if (wants) {
		if (!wake_sleeper(w))
			wake_watcher(w);
	} else if (atomic_load(&w->rt->watcher) == 0) {
		wake_sleeper(w);
	}
}

/* May w take from worker i?  Not what flows; what stood still since it was first seen so, may be taken
 * until its owner takes something again. */
static bool is_open(struct cx_worker *w, unsigned i)
{
	struct cx_worker *owner = w->rt->worker[i];
	struct cx__watch *seen = &w->watch[i];
	const uint64_t top = atomic_load(&owner->any.top);

	if (seen->top != top) {
		*seen = (struct cx__watch){ top, cx__now_ns(w) };
		w->watch_is_worth = 1; /* something moves there */
	}
	if (cx__deque_is_empty(&owner->any)) {
		seen->since_ns = cx__now_ns(w);
		return false;
	}
	w->watch_is_worth = 1;
	return atomic_load_explicit(&owner->wants_help, memory_order_relaxed) != 0 ||
	       cx__now_ns(w) - seen->since_ns >= WATCH_MS * 1000000;
}

bool cx__can_steal(struct cx_worker *w)
{
	for (unsigned i = 0; i < w->rt->workers && !w->dedicated; i++)
		if (i != w->index && is_open(w, i))
			return true;
	return false;
}

struct cx__actor *cx__steal(struct cx_worker *w)
{
	const unsigned workers = w->rt->workers;

	if (w->dedicated)
		return NULL;
	for (unsigned n = 1; n < workers; n++) {
		const unsigned i = (w->index + n) % workers;
		struct cx__actor *a;

		if (!is_open(w, i))
			continue;
		a = cx__deque_take(&w->rt->worker[i]->any);
		if (a != NULL) {
			w->watch[i].top++; /* it was not the owner */
			cx__count(&w->steals, 1);
			return a;
		}
	}
	return NULL;
}

static bool others_hold_some(const struct cx_worker *w)
{
	for (unsigned i = 0; i < w->rt->workers; i++)
		if (i != w->index && !cx__deque_is_empty(&w->rt->worker[i]->any))
			return true;
	return false;
}

int cx__watch(struct cx_worker *w, int timeout_ms)
{
	const bool is_worth = w->watch_is_worth;
	int nobody = 0;

	w->watch_is_worth = 0;
	if (is_worth) {
		if (!w->is_watching &&
		    !atomic_compare_exchange_strong(&w->rt->watcher, &nobody, w->index + 1))
			return timeout_ms; /* inv. 3 */
		w->is_watching = 1;
		return timeout_ms < WATCH_MS ? timeout_ms : WATCH_MS;
	}
	if (!w->is_watching)
		return timeout_ms;
	w->is_watching = 0;
	atomic_store(&w->rt->watcher, 0);
	return others_hold_some(w) ? 0 : timeout_ms; /* inv. 2 */
}

void cx__watch_no_more(struct cx_worker *w)
{
	w->is_watching = 0;
	atomic_store(&w->rt->watcher, 0);
	if (others_hold_some(w)) /* inv. 2 */
		wake_sleeper(w);
}
