/* SPDX-License-Identifier: MIT */
/* A worker: poll the event loop, fire timers, run actors, sleep when there is nothing.
 *
 * Sleep and wake-up (who sends to a sleeping worker must wake it, once):
 *   worker                              sender
 *   sleeping = 1      (seq_cst)         push on inject     (locked instruction)
 *   inject empty?     else don't sleep  sleeping == 1?     then 1 -> 0, and wake
 * One of the two sees the other, so no wake-up is lost; the exchange makes it one eventfd write. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/annotate.h"
#include "runtime/internal.h"

#define CLOCK_EVERY 16  /* messages between looks at the clock inside a turn */
#define TURN_NS 2000000 /* a turn ends after this, whatever waits */
#define SLEEP_MAX_MS 60000
#define TIMED_ONE_IN 64

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

static uint64_t clock_ns(const struct cx_worker *w)
{
	return w->rt->sim != NULL ? cx__sim_now_ns(w->rt->sim) : cx__clock_ns();
}

void cx__worker_clock(struct cx_worker *w)
{
	struct timespec t;

	w->now_ns = clock_ns(w);
	w->now_ms = w->now_ns / 1000000;
	if (w->rt->sim != NULL) {
		w->wall_ms = cx__sim_wall_ms(w->rt->sim);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &t);
	w->wall_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void wake(struct cx_worker *w)
{
	if (atomic_load(&w->sleeping) != 0 && atomic_exchange(&w->sleeping, 0) != 0) {
		atomic_fetch_add_explicit(&w->wakeups, 1, memory_order_relaxed);
		w->loop_ops->wake(w->loop);
	}
}

static void push_local(struct cx_worker *w, struct cx__actor *a)
{
	a->runnable.next = NULL;
	if (w->run_tail == NULL)
		w->run_head = a;
	else
		w->run_tail->runnable.next = &a->runnable;
	w->run_tail = a;
	w->run_len++;
}

static struct cx__actor *actor_of(ck_stack_entry_t *link)
{
	return (struct cx__actor *)(void *)((uint8_t *)link -
	                                    offsetof(struct cx__actor, runnable));
}

static struct cx__actor *pop_local(struct cx_worker *w)
{
	struct cx__actor *a = w->run_head;

	if (a == NULL)
		return NULL;
	w->run_head = a->runnable.next == NULL ? NULL : actor_of(a->runnable.next);
	if (w->run_head == NULL)
		w->run_tail = NULL;
	w->run_len--;
	return a;
}

/* An actor that may run anywhere: where it was made runnable, unless somebody idle takes it. */
static void push_any(struct cx_worker *w, struct cx__actor *a)
{
	if (!cx__deque_push(&w->any, a)) {
		push_local(w, a);
		return;
	}
	for (unsigned i = 0; i < w->rt->workers; i++) {
		struct cx_worker *other = w->rt->worker[i];

		if (other != w &&
		    atomic_load_explicit(&other->sleeping, memory_order_relaxed)) {
			wake(other);
			return;
		}
	}
}

void cx__make_runnable(struct cx_worker *here, struct cx_runtime *rt, struct cx__actor *a)
{
	struct cx_worker *home = rt->worker[a->home];

	if (a->any && here != NULL && !here->dedicated) {
		push_any(here, a);
	} else if (home == here) {
		push_local(here, a);
	} else {
		cx__stack_push(&home->inject, &a->runnable);
		wake(home);
	}
}

static void take_injected(struct cx_worker *w)
{
	struct cx__actor *first = NULL;
	ck_stack_entry_t *entry;

	if (cx__stack_is_empty(&w->inject))
		return;
	entry = cx__stack_take_all(&w->inject);
	while (entry != NULL) { /* newest first: turn round */
		struct cx__actor *a = actor_of(entry);

		entry = entry->next;
		a->runnable.next = first == NULL ? NULL : &first->runnable;
		first = a;
	}
	while (first != NULL) {
		struct cx__actor *a = first;

		first = a->runnable.next == NULL ? NULL : actor_of(a->runnable.next);
		if (a->any)
			push_any(w, a);
		else
			push_local(w, a);
	}
}

static bool is_stale(struct cx_worker *w, struct cx__actor *a, const struct cx_msg *msg)
{
	if (msg->flags & CX__TIMER) {
		const struct cx_msg_timer *t = (const struct cx_msg_timer *)(const void *)msg;

		return t->timer->seq != msg->seq;
	}
	if ((msg->flags & CX__ANSWER) && !(msg->flags & CX__FINAL) &&
	    !cx__ask_close(w, a, msg->corr)) {
		cx__count(&w->counts[a->kind->index].late, 1);
		return true;
	}
	return false;
}

static void call_handler(struct cx_worker *w, struct cx__actor *a, const struct cx_msg *msg)
{
	struct cx__kind *kind = a->kind;
	const unsigned n = kind->map[msg->type];
	const struct cx_handler *handler;

	if (n == 0) {
		cx__count(&w->counts[kind->index].unhandled, 1);
		return;
	}
	handler = &kind->type->handlers[n - 1];
	cx_assert(handler->size == msg->size);
	handler->fn(&w->ctx, a->state, msg);
}

/* The message is handled, or not for this actor; then freed. */
static void dispatch(struct cx_worker *w, struct cx__actor *a, struct cx_msg *msg)
{
	struct cx__kind *kind = a->kind;
	const uint64_t n = atomic_load_explicit(&w->dispatched, memory_order_relaxed);

	/* relaxed: our own write, or a slot whose spawner's START we have drained */
	if (msg->to.gen != atomic_load_explicit(&a->gen, memory_order_relaxed)) {
		cx__count(&w->counts[kind->index].dead, 1);
		cx__dead_letter(w->rt, w, msg);
		return;
	}
	atomic_store_explicit(&w->doing_kind, kind->index, memory_order_relaxed);
	atomic_store_explicit(&w->doing_type, msg->type, memory_order_relaxed);
	atomic_store_explicit(&w->dispatched, n + 1, memory_order_relaxed);
	switch (msg->type) {
	case CX_MSG_START:
	case CX_MSG_RESTART:
		cx__actor_start(w, a, msg);
		break;
	case CX_MSG_STOP:
		cx_stop(&w->ctx);
		break;
	case CX__MSG_WATCH:
		cx__watch_add(w, a, msg);
		break;
	case CX__MSG_CRASH:
		if (a->status == CX__LIVE)
			cx_fail(&w->ctx, CX_MSG_AS(struct cx__failed, msg)->reason);
		break;
	default:
		if (a->status == CX__LIVE && !is_stale(w, a, msg))
			call_handler(w, a, msg);
		break;
	}
	atomic_store_explicit(&w->dispatched, n + 2, memory_order_relaxed);
	cx__msg_free(msg);
}

/* With tracing on: the time of a traced message's handler. */
static __attribute__((noinline)) void dispatch_traced(struct cx_worker *w, struct cx__actor *a,
                                                      struct cx_msg *msg)
{
	const unsigned kind = a->kind->index;
	const uint32_t type = msg->type;
	const uint32_t flow = msg->flags & CX__TRACED ? msg->seq : 0;
	const uint64_t began_ns = cx__clock_ns();

	w->is_tracing = flow != 0;
	dispatch(w, a, msg);
	if (w->is_tracing) { /* or it was marked by its handler */
		cx__trace_handled(w, kind, type, flow, began_ns);
		w->is_turn_tracing = 1;
	}
}

static void run(struct cx_worker *w, struct cx__actor *a, struct cx_msg *msg)
{
	if (__builtin_expect(w->is_trace_on, 0))
		dispatch_traced(w, a, msg);
	else
		dispatch(w, a, msg);
}

static void batch_end(struct cx_worker *w, struct cx__actor *a)
{
	const unsigned kind = a->kind->index;
	uint64_t began_ns;

	if (__builtin_expect(!w->is_turn_tracing, 1)) {
		a->kind->type->batch_end(&w->ctx, a->state);
		return;
	}
	began_ns = cx__clock_ns();
	w->is_tracing = 1;
	a->kind->type->batch_end(&w->ctx, a->state);
	cx__trace_handled(w, kind, CX_MSG_NONE, 0, began_ns);
}

static struct cx_msg *pop(struct cx_msg **head)
{
	struct cx_msg *msg = *head;

	*head = msg->link;
	return msg;
}

static int32_t run_messages(struct cx_worker *w, struct cx__actor *a)
{
	struct cx__kind *kind = a->kind;
	const uint64_t began_ns = w->now_ns;
	uint32_t limit = kind->type->batch_max > 0 ? kind->type->batch_max : CX__BATCH;
	int32_t handled = 0;

	if (w->turn_limit != 0 && w->turn_limit < limit)
		limit = w->turn_limit;
	while (a->control_head != NULL && !a->ending) {
		run(w, a, pop(&a->control_head));
		handled++;
	}
	for (uint32_t n = 0; n < limit && a->mail_head != NULL && !a->ending; n++) {
		if (a->status == CX__DOWN)
			break;
		run(w, a, pop(&a->mail_head));
		handled++;
		if (n % CLOCK_EVERY == CLOCK_EVERY - 1 && !w->dedicated &&
		    clock_ns(w) - began_ns > TURN_NS)
			break;
	}
	return handled;
}

static void note_depth(struct cx_worker *w, struct cx__actor *a)
{
	_Atomic uint32_t *max = &w->counts[a->kind->index].depth_max;
	const int32_t depth = atomic_load_explicit(&a->depth, memory_order_relaxed);

	if (depth > (int32_t)atomic_load_explicit(max, memory_order_relaxed))
		atomic_store_explicit(max, (uint32_t)depth, memory_order_relaxed);
}

/* After a turn: idle, queued again, or parked (rules 2 and 3). */
static void settle(struct cx_worker *w, struct cx__actor *a, int32_t handled, bool is_down)
{
	/* acq_rel: pairs with the add in cx__deliver */
	const int32_t left =
		atomic_fetch_sub_explicit(&a->depth, handled, memory_order_acq_rel) - handled;

	cx_assert(left >= 0);
	if (left == 0)
		return;
	if (!is_down) {
		cx__make_runnable(w, w->rt, a);
		return;
	}
	atomic_exchange(&a->parked, 1);
	/* pairs with cx__deliver: a control message pushed meanwhile is seen here or sees parked */
	if (!cx__stack_is_empty(&a->control) && atomic_exchange(&a->parked, 0) != 0)
		cx__make_runnable(w, w->rt, a);
}

/* Made at a kind's first turn here: most workers never see most kinds. */
static struct cx__handler_times *times_of(struct cx_worker *w, unsigned kind)
{
	struct cx__handler_times *times =
		atomic_load_explicit(&w->times[kind], memory_order_relaxed); /* our own write */

	if (times == NULL) {
		times = calloc(1, sizeof(*times));
		cx_assert(times != NULL);
		/* release: pairs with the load in figures.c, which must see zeroes */
		atomic_store_explicit(&w->times[kind], times, memory_order_release);
	}
	return times;
}

/* Timing each turn would cost a short one a fifth: what is between two looks at the clock does not
 * overlap with what follows them.  So the first turn after a poll is timed, which is every turn of a
 * worker with little to do, and one in TIMED_ONE_IN of the others, for all of them.  The golden ratio
 * chooses (Weyl's sequence): no regular order of turns can hide from it. */
static inline bool is_timed(const struct cx_worker *w)
{
	const uint64_t turn = atomic_load_explicit(&w->turns, memory_order_relaxed);

	return turn * UINT64_C(0x9e3779b97f4a7c15) <= UINT64_MAX / TIMED_ONE_IN ||
	       w->now_ns == w->tick_ns;
}

/* Out of the way of the turns that are not timed. */
static __attribute__((noinline)) void note_time(struct cx_worker *w, unsigned kind,
                                                uint64_t began_ns, int32_t handled)
{
	if (handled > 0)
		cx__handler_times_add(times_of(w, kind), w->now_ns - began_ns,
		                      (uint32_t)handled,
		                      began_ns == w->tick_ns ? 1 : TIMED_ONE_IN);
}

void cx__worker_turn(struct cx_worker *w, struct cx__actor *a)
{
	const uint64_t began_ns = w->now_ns;
	const bool timed = is_timed(w);
	struct cx__kind_count *count;
	int32_t handled;

	cx__drain(a);
	note_depth(w, a);
	count = &w->counts[a->kind->index];
	w->ctx.actor = a;
	handled = run_messages(w, a);
	if (a->status == CX__LIVE && a->kind->type->batch_end != NULL && handled > 0)
		batch_end(w, a);
	w->is_turn_tracing = 0;
	w->is_tracing = 0;
	if (a->ending)
		cx__actor_end(w, a);
	w->ctx.actor = NULL;
	w->now_ns = clock_ns(w);
	w->now_ms = w->now_ns / 1000000;
	cx__count(&count->messages, (uint64_t)handled);
	cx__count(&count->turns, 1);
	cx__count(&count->busy_ns, w->now_ns - began_ns);
	cx__count(&w->turns, 1);
	cx__count(&w->busy_ns, w->now_ns - began_ns);
	if (__builtin_expect(timed, 0))
		note_time(w, (unsigned)(count - w->counts), began_ns, handled);
	/* An ended actor's slot may have been spawned into already, but nobody runs it before this. */
	settle(w, a, handled, a->status == CX__DOWN);
}

/* The two queues in turn, so that neither starves the other. */
static struct cx__actor *next_runnable(struct cx_worker *w, unsigned turn)
{
	struct cx__actor *a = turn % 2 == 0 ? pop_local(w) : cx__deque_take(&w->any);

	if (a == NULL)
		a = turn % 2 == 0 ? cx__deque_take(&w->any) : pop_local(w);
	return a;
}

static struct cx__actor *steal(struct cx_worker *w)
{
	const unsigned workers = w->rt->workers;

	if (w->dedicated)
		return NULL;
	for (unsigned i = 1; i < workers; i++) {
		struct cx__actor *a =
			cx__deque_take(&w->rt->worker[(w->index + i) % workers]->any);

		if (a != NULL) {
			cx__count(&w->steals, 1);
			return a;
		}
	}
	return NULL;
}

static void run_round(struct cx_worker *w)
{
	const uint64_t began_ns = w->now_ns;

	for (unsigned turns = 0; turns < CX__TURNS_A_POLL; turns++) {
		struct cx__actor *a;

		take_injected(w);
		a = next_runnable(w, turns);
		if (a == NULL)
			a = steal(w);
		if (a == NULL)
			return;
		cx__worker_turn(w, a);
		if (w->now_ns - began_ns > CX__ROUND_NS)
			return;
	}
}

static bool has_work(struct cx_worker *w)
{
	if (w->run_head != NULL || !cx__stack_is_empty(&w->inject) ||
	    atomic_load(&w->stop) != 0)
		return true;
	for (unsigned i = 0; i < w->rt->workers && !w->dedicated; i++)
		if (!cx__deque_is_empty(&w->rt->worker[i]->any))
			return true;
	return false;
}

static void poll_loop(struct cx_worker *w)
{
	int timeout_ms = 0;

	if (!has_work(w)) {
		atomic_exchange(&w->sleeping, 1); /* see the head of this file */
		if (!has_work(w))
			timeout_ms = (int)cx__wheel_wait_ms(&w->wheel, w->now_ms, SLEEP_MAX_MS);
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

		if (a->home != w->index || a->state == NULL)
			continue;
		w->ctx.actor = a;
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
	w->tick_ns = w->now_ns;
	cx__wheel_advance(&w->wheel, w->now_ms, cx__timer_fire, w);
	atomic_store_explicit(&w->timers, w->wheel.count, memory_order_relaxed);
}

/* ---- for the simulator, which takes the next actor from anywhere ---- */

void cx__worker_gather(struct cx_worker *w)
{
	struct cx__actor *a;

	take_injected(w);
	while ((a = cx__deque_take(&w->any)) != NULL)
		push_local(w, a);
}

struct cx__actor *cx__runnable_first(const struct cx_worker *w)
{
	return w->run_head;
}

struct cx__actor *cx__runnable_next(const struct cx__actor *a)
{
	return a->runnable.next == NULL ? NULL : actor_of(a->runnable.next);
}

void cx__runnable_remove(struct cx_worker *w, struct cx__actor *a)
{
	struct cx__actor *before = NULL;

	for (struct cx__actor *at = w->run_head; at != a; at = cx__runnable_next(at))
		before = at;
	if (before == NULL)
		w->run_head = cx__runnable_next(a);
	else
		before->runnable.next = a->runnable.next;
	if (w->run_tail == a)
		w->run_tail = before;
	w->run_len--;
}

/* ---- the thread ---- */

void *cx__worker_main(void *arg)
{
	struct cx_worker *w = arg;

	cx__worker_enter(w);
	pthread_setname_np(pthread_self(), w->name);
	for (;;) {
		cx__worker_tick(w);
		run_round(w);
		atomic_store_explicit(&w->run_queue, w->run_len, memory_order_relaxed);
		if (atomic_load(&w->stop) != 0 && (!w->dedicated || w->run_head == NULL))
			break;
		poll_loop(w);
	}
	if (!w->dedicated)
		pthread_barrier_wait(&w->rt->quiet); /* from here on nobody runs turns */
	cx__worker_end_actors(w);
	while (atomic_load(&w->stop) != CX__STOP_WOKEN)
		sched_yield(); /* who told us to stop still wakes the loop */
	w->loop_ops->close(w->loop);
	return NULL;
}

struct cx_ctx *cx_io_enter(struct cx_worker *w, struct cx_ref self)
{
	struct cx__actor *a = cx__actor_at(w->rt, self.slot);

	cx_assert(w == here_worker && w->ctx.actor == NULL && a != NULL &&
	          atomic_load_explicit(&a->gen, memory_order_relaxed) == self.gen);
	cx__worker_clock(w); /* the poll may have slept */
	w->ctx.actor = a;
	return &w->ctx;
}

void cx_io_leave(struct cx_ctx *ctx)
{
	struct cx_worker *w = ctx->worker;
	struct cx__actor *a = ctx->actor;

	if (a->status == CX__LIVE && a->kind->type->batch_end != NULL)
		a->kind->type->batch_end(ctx, a->state);
	if (a->ending)
		cx__actor_end(w, a);
	w->ctx.actor = NULL;
}
