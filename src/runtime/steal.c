/* SPDX-License-Identifier: MIT */
/* Actors that may run anywhere: who runs them.
 *
 * A worker that wakes another for each such actor pays more for the wake-up than for most turns, and what
 * both then take from each other crosses between their caches.  So the others are woken when turns are
 * long or much waits (`wants_help`); else the one who made an actor runnable runs it.
 * How long a turn will take nobody knows.  So one idle worker watches: it sleeps for 1 ms at a time, and takes
 * what waits where it went on slowly since the last look, or not at all.
 *
 *   worker W                            worker V
 *   push on the deque  (seq_cst)        sleeping = 1        (seq_cst)
 *   is there a watcher?  else           looks at all deques: watch, if one holds something or moved
 *   who sleeps?  is woken, to watch     else sleeps without an end
 * 1. Each side writes, then reads the other's words: what W pushed is seen by V, or V is seen asleep.
 * 2. Who stops watching says so, then looks again, or wakes another to watch when it has work itself.
 * 3. While somebody watches nobody else has to: an idle worker that sees one sleeps without an end.
 * A worker that was woken to watch and finds work of its own does that first: so long nobody watches.
 * Model: tests/models/watch.pml. */
#include "runtime/internal.h"

#define HELP_NS 20000 /* of work are worth a wake-up, which takes about as long */
#define WATCH_MS 1
#define WATCH_NS (WATCH_MS * UINT64_C(1000000))

static bool wants_help(struct cx_worker *w, const struct cx__actor *a)
{
	/* relaxed: it was set before whoever made the actor runnable knew it */
	const struct cx__kind *kind =
		atomic_load_explicit(&cx__front(a)->kind, memory_order_relaxed);
	const uint64_t waiting = w->run_len + cx__deque_len(&w->any);

	return w->kind_ns[kind->index] >= HELP_NS || waiting * w->turn_ns >= HELP_NS;
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

/* What thieves go by, and by the clock where they see an old one: relaxed. */
static void say(struct cx_worker *w, bool wants)
{
	const bool said = atomic_load_explicit(&w->wants_help, memory_order_relaxed) != 0;

	if (said != wants && (wants || cx__deque_is_empty(&w->any)))
		atomic_store_explicit(&w->wants_help, wants, memory_order_relaxed);
}

void cx__push_any(struct cx_worker *w, struct cx__actor *a)
{
	bool wants;

	if (w->rt->workers == 1) {
		cx__run_later(w, a);
		return;
	}
	wants = wants_help(w, a);
	say(w, wants);
	if (!cx__deque_push(&w->any, a)) {
		cx__run_later(w, a);
	} else if (wants) {
		if (!wake_sleeper(w))
			wake_watcher(w);
	} else if (atomic_load(&w->rt->watcher) == 0) {
		wake_sleeper(w);
	}
}

/* May w take from worker i?  Not what flows: of quick turns at least one in CX__QUICK_TURN_NS since the last
 * look. */
static bool is_open(struct cx_worker *w, unsigned i)
{
	struct cx_worker *owner = w->rt->worker[i];
	struct cx__watch *seen = &w->watch[i];
	const uint64_t top = atomic_load(&owner->any.top), now_ns = cx__now_ns(w);
	const uint64_t passed_ns = seen->since_ns != 0 ? now_ns - seen->since_ns : 0;
	const bool is_late =
		passed_ns >= WATCH_NS && (top - seen->top) * CX__QUICK_TURN_NS < passed_ns;
	const bool is_empty = cx__deque_is_empty(&owner->any);

	if (!is_empty || seen->top != top)
		w->watch_is_worth = 1;
	if (is_empty || seen->top != top || seen->since_ns == 0)
		*seen = (struct cx__watch){ top, now_ns };
	/* is_slow: what w took last took its time; if what waits does not, the next turn says so */
	return !is_empty &&
	       (is_late || w->is_slow ||
	        atomic_load_explicit(&owner->wants_help, memory_order_relaxed) != 0);
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

static bool some_wait(const struct cx_worker *w)
{
	for (unsigned i = 0; i < w->rt->workers; i++)
		if (!cx__deque_is_empty(&w->rt->worker[i]->any))
			return true;
	return false;
}

/* It sleeps without an end, after which it knows nothing. */
static int forget(struct cx_worker *w, int timeout_ms)
{
	for (unsigned i = 0; i < w->rt->workers; i++)
		w->watch[i].since_ns = 0;
	return timeout_ms;
}

int cx__watch(struct cx_worker *w, int timeout_ms)
{
	const bool is_worth = w->watch_is_worth;
	int nobody = 0;

	w->watch_is_worth = 0;
	if (is_worth) {
		if (!w->is_watching &&
		    !atomic_compare_exchange_strong(&w->rt->watcher, &nobody, w->index + 1))
			return forget(w, timeout_ms); /* inv. 3 */
		w->is_watching = 1;
		return timeout_ms < WATCH_MS ? timeout_ms : WATCH_MS;
	}
	if (!w->is_watching)
		return forget(w, timeout_ms);
	w->is_watching = 0;
	atomic_store(&w->rt->watcher, 0);
	return some_wait(w) ? 0 : forget(w, timeout_ms); /* inv. 2 */
}

void cx__watch_no_more(struct cx_worker *w)
{
	w->is_watching = 0;
	atomic_store(&w->rt->watcher, 0);
	if (some_wait(w)) /* inv. 2; its own too, which it may not come to for long */
		wake_sleeper(w);
}
