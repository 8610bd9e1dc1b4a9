/* SPDX-License-Identifier: MIT */
/* A worker: poll the event loop, fire timers, run actors, sleep when there is nothing.
 *
 * Sleep and wake-up (who sends to a sleeping worker must wake it, once):
 *   worker                              sender
 *   sleeping = 1      (seq_cst)         push on mail or inject  (seq_cst)
 *   both empty?       else don't sleep  sleeping == 1?          then 1 -> 0, and wake
 * 1. Each side writes, then reads the other's word, with nothing weaker than sequential consistency
 *    between: one of the two sees the other, so no wake-up is lost.
 * 2. The worker looks again after the flag is up, at all that a sender may have pushed before it saw it.
 * 3. Whoever exchanges 1 -> 0 owes the wake-up: one eventfd write for each sleep at most.
 * 4. A wake-up that comes late ends a later sleep early, nothing more.
 * 5. The flag is down again from the first callback of the poll on: the worker looks at all after it.
 * Model: tests/models/wake.pml; it loses a wake-up when either side is weakened. */
#include <sched.h>
#include <string.h>
#include <time.h>

#include "runtime/annotate.h"
#include "runtime/crossing.h"
#include "runtime/internal.h"

#define LOOK_EVERY 32 /* turns between looks at the clock in a round */
#define SLEEP_MAX_MS 60000

static _Thread_local struct cx_worker *here_worker;

struct cx_worker *cx__worker_here(void)
{
	return here_worker;
}

uint64_t cx__clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

uint64_t cx__clock_of(const struct cx_worker *w)
{
	return w->rt->sim != NULL ? cx__sim_now_ns(w->rt->sim) : cx__clock_ns();
}

void cx__worker_clock(struct cx_worker *w)
{
	w->now_ns = cx__clock_of(w);
	w->now_is_old = 0;
	w->wall_is_old = 1;
}

int64_t cx__wall_ms(struct cx_worker *w)
{
	struct timespec t;

	if (!w->wall_is_old)
		return w->wall_ms;
	w->wall_is_old = 0;
	if (w->rt->sim != NULL) {
		w->wall_ms = cx__sim_wall_ms(w->rt->sim);
		return w->wall_ms;
	}
	clock_gettime(CLOCK_REALTIME, &t);
	w->wall_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
	return w->wall_ms;
}

uint64_t cx__now_ns(struct cx_worker *w)
{
	if (w->now_is_old) {
		w->now_ns = cx__clock_of(w);
		w->now_is_old = 0;
	}
	return w->now_ns;
}

void cx__wake(struct cx_worker *w)
{
	if (atomic_load(&w->sleeping) != 0 && atomic_exchange(&w->sleeping, 0) != 0) {
		atomic_fetch_add_explicit(&w->wakeups, 1, memory_order_relaxed);
		w->loop_ops->wake(w->loop);
	}
}

static struct cx__actor *pop_local(struct cx_worker *w)
{
	struct cx__actor *a = w->run_head;

	if (a == NULL)
		return NULL;
	w->run_head = a->run_next;
	if (w->run_head == NULL)
		w->run_end[0] = &w->run_head;
	a->run_next = NULL;
	w->run_len--;
	return a;
}

static struct cx__actor *actor_of(ck_stack_entry_t *inject)
{
	struct cx__slots *slots = cx__slots_of(inject);
	const struct cx__front *front =
		(const struct cx__front *)((uintptr_t)inject -
	                                   offsetof(struct cx__front, inject));

	return &slots->actor[front - slots->front];
}

void cx__make_runnable(struct cx_worker *here, struct cx_runtime *rt, struct cx__actor *a)
{
	struct cx_worker *home = rt->worker[cx__front(a)->home];

	if (here != NULL && !here->dedicated) {
		cx__push_any(here, a);
	} else {
		cx__stack_push(&home->inject, &cx__front(a)->inject);
		cx__wake(home);
	}
}

static __attribute__((noinline)) void take_all_injected(struct cx_worker *w)
{
	ck_stack_entry_t *entry = cx__stack_take_all(&w->inject), *first = NULL;

	while (entry != NULL) { /* newest first: turn round */
		ck_stack_entry_t *next = entry->next;

		entry->next = first;
		first = entry;
		entry = next;
	}
	while (first != NULL) {
		struct cx__actor *a = actor_of(first);

		first = first->next; /* now the link may be used again */
		cx__push_any(w, a);
	}
}

static __attribute__((noinline)) void take_some(struct cx_worker *w)
{
	cx__take_mail(w);
	if (!cx__stack_is_empty(&w->inject))
		take_all_injected(w);
}

static inline void take_in(struct cx_worker *w)
{
	if (__builtin_expect(!cx__stack_is_empty(&w->mail) || !cx__stack_is_empty(&w->inject),
	                     0))
		take_some(w);
}

/* The two queues in turn, so that neither starves the other.  Turns are counted for good, not in each
 * round: a round may end after one of them. */
static struct cx__actor *next_runnable(struct cx_worker *w)
{
	const bool local_first =
		atomic_load_explicit(&w->turns, memory_order_relaxed) % 2 == 0; /* ours */
	struct cx__actor *a;

	if (cx__deque_is_empty(&w->any)) /* we alone fill it */
		return pop_local(w);
	a = local_first ? pop_local(w) : cx__deque_take(&w->any);
	if (a == NULL)
		a = local_first ? cx__deque_take(&w->any) : pop_local(w);
	return a;
}

/* After CX__TURNS_A_POLL turns, but not before CX__QUICK_ROUND_NS: a poll with its looks at the clock costs
 * as much as dozens of quick turns.  At the latest after CX__ROUND_NS, as of the last look or timed turn. */
static inline bool is_round_over(const struct cx_worker *w, uint64_t began_ns, unsigned turns)
{
	return w->now_ns - began_ns >
	       (turns < CX__TURNS_A_POLL ? CX__ROUND_NS : CX__QUICK_ROUND_NS);
}

static void run_round(struct cx_worker *w)
{
	const uint64_t began_ns = cx__now_ns(w);
	unsigned turns = 0;

	do {
		struct cx__actor *a;

		take_in(w);
		a = next_runnable(w);
		if (a == NULL)
			a = cx__steal(w);
		if (a == NULL)
			break;
		if (__builtin_expect(w->is_watching, 0))
			cx__watch_no_more(w);
		cx__worker_turn(w, a);
		if (++turns % LOOK_EVERY == 0)
			cx__now_ns(w);
	} while (!is_round_over(w, began_ns, turns));
	if (turns > 0)
		cx__count(&w->busy_ns, cx__now_ns(w) - began_ns);
}

bool cx__has_work(struct cx_worker *w)
{
	if (w->run_head != NULL || !cx__stack_recheck_empty(&w->mail) ||
	    !cx__stack_recheck_empty(&w->inject) || atomic_load(&w->stop) != 0)
		return true;
	return !cx__deque_is_empty(&w->any) || cx__can_steal(w);
}

static void poll_loop(struct cx_worker *w)
{
	int timeout_ms = 0;

	cx__parcel_flush(w);
	if (!cx__has_work(w)) {
		if (w->rt->conf.rest_us > 0)
			cx__rest(w);
		else if (w->loop_ops == &cx__loop_ops && w->rt->workers > 1 && !w->dedicated)
			cx__spin(w);
	}
	if (!cx__has_work(w)) {
		atomic_exchange(&w->sleeping, 1); /* see the head of this file */
		if (!cx__has_work(w))
			timeout_ms =
				(int)cx__wheel_wait_ms(&w->wheel, cx__now_ms(w), SLEEP_MAX_MS);
		if (timeout_ms > 0 && !w->dedicated)
			timeout_ms = cx__watch(w, timeout_ms);
		if (timeout_ms > 0)
			cx__count(&w->sleeps, 1);
	}
	cx__count(&w->polls, 1);
	w->loop_ops->poll(w->loop, timeout_ms);
	atomic_store(&w->sleeping, 0);
}

void cx__worker_end_actors(struct cx_worker *w)
{
	struct cx_runtime *rt = w->rt;
	const uint32_t chunks = atomic_load_explicit(&rt->chunk_count, memory_order_acquire);

	for (uint32_t slot = 0; slot < chunks * CX__CHUNK; slot++) {
		struct cx__actor *a = cx__actor_at(rt, slot);

		if (cx__front(a)->home != w->index || a->state == NULL)
			continue;
		cx__enter_actor(w, a);
		a->supervisor = CX_NOBODY;
		cx__actor_end(w, a);
	}
	w->ctx.actor = NULL;
}

void cx__worker_enter(struct cx_worker *w)
{
	here_worker = w;
	cx__pool_enter(w == NULL ? NULL : w->pool);
}

void cx__worker_tick(struct cx_worker *w)
{
	cx__worker_clock(w);
	w->after_poll = 1;
	cx__wheel_advance(&w->wheel, cx__now_ms(w), cx__timer_fire, w);
	atomic_store_explicit(&w->timers, w->wheel.count, memory_order_relaxed);
}

/* ---- for the simulator, which takes the next actor from anywhere ---- */

void cx__worker_gather(struct cx_worker *w)
{
	struct cx__actor *a;

	take_in(w);
	while ((a = cx__deque_take(&w->any)) != NULL)
		cx__run_later(w, a);
}

struct cx__actor *cx__runnable_first(const struct cx_worker *w)
{
	return w->run_head;
}

struct cx__actor *cx__runnable_next(const struct cx__actor *a)
{
	return a->run_next;
}

void cx__runnable_remove(struct cx_worker *w, struct cx__actor *a)
{
	struct cx__actor **link = &w->run_head;

	while (*link != a)
		link = &(*link)->run_next;
	*link = a->run_next;
	if (a->run_next == NULL)
		w->run_end[0] = link;
	a->run_next = NULL;
	w->run_len--;
}

/* ---- the thread ---- */

/* A stop that comes at once does not overtake the start of who was booted: an adapter's stop gives back what
 * its set-up took.  A slot's first tenant has generation 3, so whoever came later does not hold up the end. */
static bool has_booted(const struct cx_worker *w)
{
	for (uint32_t slot = 0; slot < w->rt->boot_slots; slot++) {
		const struct cx__actor *a = cx__actor_at(w->rt, slot);

		if (cx__front(a)->home == w->index && !cx__front(a)->any && a->state == NULL &&
		    atomic_load_explicit(&cx__front(a)->gen, memory_order_relaxed) == 3)
			return false; /* START makes the state */
	}
	return true;
}

/* Of those with a thread of their own, which handle what they were sent. */
static bool is_done(const struct cx_worker *w)
{
	return w->run_head == NULL && cx__stack_recheck_empty(&w->mail);
}

void *cx__worker_main(void *arg)
{
	struct cx_worker *w = arg;

	cx__worker_enter(w);
	pthread_setname_np(pthread_self(), w->name);
	for (;;) {
		cx__worker_tick(w);
		run_round(w);
		atomic_store_explicit(&w->run_queue, w->run_len, memory_order_relaxed);
		if (atomic_load(&w->stop) != 0 && (!w->dedicated || is_done(w)) &&
		    has_booted(w))
			break;
		poll_loop(w);
	}
	cx__parcel_flush(w);
	if (!w->dedicated)
		pthread_barrier_wait(&w->rt->quiet); /* from here on nobody runs turns */
	cx__take_mail(w);
	cx__worker_end_actors(w);
	cx__parcel_flush(w); /* actors' last words, to those with a thread of their own */
	while (atomic_load(&w->stop) != CX__STOP_WOKEN)
		sched_yield(); /* who told us to stop still wakes the loop */
	w->loop_ops->close(w->loop);
	return NULL;
}

struct cx_ctx *cx_io_enter(struct cx_worker *w, struct cx_ref self)
{
	struct cx__actor *a = cx__actor_at(w->rt, self.slot);

	cx_assert(w == here_worker && w->ctx.actor == NULL && a != NULL &&
	          atomic_load_explicit(&cx__front(a)->gen, memory_order_relaxed) == self.gen);
	cx__worker_clock(w); /* the poll may have slept */
	/* awake from here on: it looks at all before it sleeps again.  relaxed: who reads 1 is us */
	if (atomic_load_explicit(&w->sleeping, memory_order_relaxed) != 0)
		atomic_store(&w->sleeping, 0);
	if (__builtin_expect(w->is_watching, 0))
		cx__watch_no_more(w);
	cx__enter_actor(w, a);
	/* what it is told by other ways came after what is on the stack now: cx__deliver takes that in */
	w->direct = CX__DIRECT_NOW_NEVER;
	return &w->ctx;
}

void cx_io_leave(struct cx_ctx *ctx)
{
	struct cx_worker *w = ctx->worker;
	struct cx__actor *a = ctx->actor;

	if (a->status == CX__LIVE && cx__front(a)->kind->type->batch_end != NULL)
		cx__front(a)->kind->type->batch_end(ctx, a->state);
	if (a->ending)
		cx__actor_end(w, a);
	w->ctx.actor = NULL;
	cx__direct_again(w);
	cx__parcel_turn(w);
}
