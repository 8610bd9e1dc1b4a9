/* SPDX-License-Identifier: MIT */
/* One turn of one actor: take what came, handle a batch, and see what becomes of the actor. */
#include <stdlib.h>

#include "runtime/annotate.h"
#include "runtime/crossing.h"
#include "runtime/internal.h"

#define CLOCK_EVERY 16  /* messages between looks at the clock inside a turn */
#define TURN_NS 2000000 /* a turn ends after this, whatever waits */
#define TIMED_ONE_IN 64

/* Where each message is to take cx__dispatch. */
static const struct cx__on on_nothing[CX_MSG_LIMIT];

/* on: of the actor's kind; nobody's when each message must take cx__dispatch. */
static inline void handle(struct cx_worker *w, struct cx__actor *a, struct cx_msg *msg,
                          const struct cx__on *on)
{
	const struct cx__on *handler = &on[msg->type];

	if (__builtin_expect(msg->flags & CX__LOCAL, 1))
		cx__take_local(a); /* at once: it may send to itself in this turn */
	if (__builtin_expect(handler->size == msg->size && msg->to.gen == w->ctx.self.gen &&
	                             !(msg->flags & (CX__TIMER | CX__ANSWER)),
	                     1)) {
		cx__doing(w, msg->type);
		handler->fn(&w->ctx, a->state, msg);
		cx__msg_free_at(w->pool, msg);
	} else if (w->is_trace_on) {
		cx__dispatch_traced(w, a, msg);
	} else {
		cx__dispatch(w, a, msg);
	}
}

static inline bool is_slow_kind(const struct cx_worker *w, const struct cx__kind *kind)
{
	return w->kind_ns[kind->index] > CX__QUICK_TURN_NS;
}

/* Turns take long, as far as is known: what a handler sent does not wait for the next. */
static inline bool is_slow_here(const struct cx_worker *w, const struct cx__actor *a)
{
	return w->is_slow || is_slow_kind(w, cx__front(a)->kind);
}

/* Returns how many it handled, as all here that run messages. */
static __attribute__((noinline)) int32_t run_control(struct cx_worker *w, struct cx__actor *a)
{
	/* Not beyond what is there now: who sends to himself does not hold up the others. */
	const struct cx_msg *last = cx__msg_of(a->control_end);
	int32_t handled = 0;
	bool more = true;

	while (more && !a->ending) {
		struct cx_msg *msg = a->control_head;

		more = msg != last;
		cx__list_pop(&a->control_head, &a->control_end);
		handle(w, a, msg, on_nothing);
		handled++;
		if (is_slow_here(w, a))
			cx__parcel_flush(w);
	}
	return handled;
}

/* Messages that are handled without a look around: one where turns take long. */
static inline uint32_t at_once(const struct cx_worker *w, const struct cx__actor *a,
                               uint32_t limit)
{
	const uint32_t count = is_slow_here(w, a) ? 1 : CLOCK_EVERY;

	return count < limit ? count : limit;
}

/* May a turn go on?  Not over its limit, and not too long by the clock.  began_ns: 0 is not known yet.
 * Returns how many messages there may have been before this is asked again, or 0. */
static __attribute__((noinline)) uint32_t go_on(struct cx_worker *w, const struct cx__actor *a,
                                                uint64_t *began_ns, uint32_t done,
                                                uint32_t limit)
{
	uint64_t now_ns;

	if (is_slow_here(w, a))
		cx__parcel_flush(w);
	if (done >= limit)
		return 0;
	if (w->dedicated)
		return limit;
	now_ns = cx__clock_of(w);
	if (*began_ns == 0) /* from here on */
		*began_ns = now_ns;
	if (now_ns - *began_ns > TURN_NS)
		return 0;
	return done + at_once(w, a, limit - done);
}

/* What the turn leaves goes before what came meanwhile. */
static void put_back(struct cx__actor *a, struct cx_msg *first, struct cx_msg *last)
{
	last->link = a->mail_head;
	if (a->mail_head == NULL)
		a->mail_end = &last->link;
	a->mail_head = first;
}

/* What is left after at_once of them, from msg to last. */
static __attribute__((noinline)) uint32_t run_rest(struct cx_worker *w, struct cx__actor *a,
                                                   struct cx_msg *msg, struct cx_msg *last,
                                                   const struct cx__on *on, uint32_t done,
                                                   uint32_t limit)
{
	uint64_t began_ns = w->turn_began_ns;
	uint32_t ask_at = done;

	while (msg != NULL && !a->ending) {
		struct cx_msg *next = msg->link;

		if (done == ask_at)
			ask_at = go_on(w, a, &began_ns, done, limit);
		if (ask_at == 0)
			break;
		handle(w, a, msg, on);
		done++;
		msg = next;
	}
	if (msg != NULL)
		put_back(a, msg, last);
	return done;
}

/* The ordinary messages that are there now, one at least: who sends to himself does not hold up the others. */
static inline int32_t run_mail(struct cx_worker *w, struct cx__actor *a,
                               const struct cx__kind *kind, const struct cx__on *on)
{
	struct cx_msg *msg = a->mail_head, *const last = cx__msg_of(a->mail_end);
	uint32_t limit = kind->batch, done = 0, ask_at;

	if (__builtin_expect(w->turn_limit != 0, 0) && w->turn_limit < limit)
		limit = w->turn_limit;
	ask_at = at_once(w, a, limit);
	a->mail_head = NULL;
	a->mail_end = &a->mail_head;
	do {
		struct cx_msg *next = msg->link;

		handle(w, a, msg, on);
		msg = next;
		done++;
	} while (msg != NULL && done < ask_at && !a->ending);
	if (__builtin_expect(msg != NULL, 0))
		done = run_rest(w, a, msg, last, on, done, limit);
	return (int32_t)done;
}

static inline int32_t run_messages(struct cx_worker *w, struct cx__actor *a,
                                   const struct cx__kind *kind)
{
	int32_t handled = 0;

	if (__builtin_expect(a->control_head != NULL, 0))
		handled = run_control(w, a);
	/* control that was drained in this turn was sent before what was drained with it: it goes first */
	if (a->control_head == NULL && a->mail_head != NULL && !a->ending &&
	    a->status != CX__DOWN) {
		const bool is_plain = a->status == CX__LIVE && !w->is_trace_on;

		handled += run_mail(w, a, kind, is_plain ? kind->on : on_nothing);
	}
	return handled;
}

/* Takes what came over the stacks of an actor of any worker.  Returns how much there is. */
static inline int32_t take_in(struct cx__actor *a)
{
	/* relaxed, both: our own writes, or what the token brought */
	if (!a->is_any)
		return atomic_load_explicit(&a->local_depth, memory_order_relaxed);
	cx__drain(a);
	return atomic_load_explicit(&cx__front(a)->depth, memory_order_relaxed);
}

/* Take what was handled off depth.  Returns what is left; at 0 the token is gone: somebody else may
 * hold it already. */
static int32_t take_off(struct cx__actor *a)
{
	const int32_t taken = a->taken;
	int32_t left;

	a->taken = 0;
	/* acq_rel: pairs with the add in push_any */
	left = atomic_fetch_sub_explicit(&cx__front(a)->depth, taken, memory_order_acq_rel) -
	       taken;
	cx_assert(left >= 0);
	return left;
}

/* Rule 5.  The token is with us. */
static void park(struct cx_worker *w, struct cx__actor *a)
{
	atomic_exchange(&cx__front(a)->parked, 1);
	/* pairs with push_any: a control message pushed meanwhile is seen here or sees parked */
	if (!cx__stack_recheck_empty(&cx__front(a)->control) &&
	    atomic_exchange(&cx__front(a)->parked, 0) != 0) {
		cx__make_runnable(w, w->rt, a);
	}
}

/* After a turn of an actor of any worker: token gone, queued again, or parked. */
static void settle_any(struct cx_worker *w, struct cx__actor *a, bool is_down)
{
	cx__parcel_flush(w); /* before another may run it */
	if (take_off(a) == 0)
		return; /* not ours any more */
	/* What was drained and not handled (the failing one was before it) is on no stack any more. */
	if (is_down && a->control_head == NULL)
		park(w, a);
	else
		cx__make_runnable(w, w->rt, a);
}

/* After a turn: idle, queued again, or parked (rules 2, 3 and 5). */
static inline void settle(struct cx_worker *w, struct cx__actor *a, int32_t handled)
{
	const bool is_down = a->status == CX__DOWN;

	if (a->is_any) {
		a->taken += handled;
		settle_any(w, a, is_down);
		return;
	}
	if (a->is_filling &&
	    atomic_load_explicit(&a->local_depth, memory_order_relaxed) <= a->half / 2)
		cx__set_filling(a, false);
	if (a->control_head != NULL || (a->mail_head != NULL && !is_down))
		cx__queue_local(w, a);
}

/* ---- how long handlers take ---- */

/* Made at a kind's first turn here: most workers never see most kinds. */
static struct cx__handler_times *times_of(struct cx_worker *w, unsigned kind)
{
	struct cx__handler_times *times =
		atomic_load_explicit(&w->times[kind], memory_order_relaxed); /* our own write */

	if (times == NULL) {
		times = calloc(1, sizeof(*times));
		if (times == NULL)
			cx__out_of_memory("times of handlers", sizeof(*times));
		/* release: pairs with the load in figures.c, which must see zeroes */
		atomic_store_explicit(&w->times[kind], times, memory_order_release);
	}
	return times;
}

/* A look at the clock costs as much as a quick turn.  So the first turn after a poll is timed, which is
 * every turn of a worker with little to do, each turn where they are long, and one in TIMED_ONE_IN of
 * the others, for all of them.  The golden ratio chooses (Weyl's sequence): no regular order of turns can
 * hide from it.  Returns how many turns this one stands for; 0: it is not timed. */
static inline uint32_t weight_of_turn(const struct cx_worker *w)
{
	const uint64_t turn = atomic_load_explicit(&w->turns, memory_order_relaxed);

	if (__builtin_expect(w->after_poll | w->is_slow, 0))
		return 1;
	return turn * UINT64_C(0x9e3779b97f4a7c15) <= UINT64_MAX / TIMED_ONE_IN ? TIMED_ONE_IN
	                                                                        : 0;
}

static __attribute__((noinline)) void begin_anywhere(struct cx_worker *w,
                                                     const struct cx__actor *a)
{
	w->direct = CX__DIRECT_NOW_NEVER; /* rule 6 */
	/* parcel_turn did not know that it is the next */
	if (is_slow_kind(w, cx__front(a)->kind))
		cx__parcel_flush(w);
}

static __attribute__((noinline)) void end_anywhere(struct cx_worker *w)
{
	cx__direct_again(w);
}

static inline void begin(struct cx_worker *w, struct cx__actor *a, const struct cx__kind *kind,
                         int32_t depth)
{
	_Atomic uint32_t *max = &w->counts[kind->index].depth_max;

	if (depth > (int32_t)atomic_load_explicit(max, memory_order_relaxed))
		atomic_store_explicit(max, (uint32_t)depth, memory_order_relaxed);
	if (__builtin_expect(depth >= a->half, 0))
		cx__set_filling(a, true);
	cx__enter_actor(w, a);
	atomic_store_explicit(&w->doing_kind, kind->index, memory_order_relaxed);
}

/* What was sent does not wait for a long turn, this kind's or the next. */
static __attribute__((noinline)) void parcel_turn(struct cx_worker *w,
                                                  const struct cx__kind *kind)
{
	const struct cx__actor *next = w->run_head;

	if (is_slow_kind(w, kind) || (next != NULL && is_slow_kind(w, cx__front(next)->kind)))
		cx__parcel_push(w);
	else
		cx__parcel_turn(w);
}

static inline void end(struct cx_worker *w, const struct cx__kind *kind, int32_t messages)
{
	struct cx__kind_count *count = &w->counts[kind->index];

	w->ctx.actor = NULL;
	/* relaxed: who is not seen inside is outside */
	atomic_store_explicit(&w->doing_type, CX_MSG_NONE, memory_order_relaxed);
	cx__count(&count->messages, (uint64_t)messages);
	cx__count(&count->turns, 1);
	cx__count(&w->turns, 1);
	w->now_is_old = 1;
	if (__builtin_expect(w->parcel != NULL, 0)) /* before anybody looks at the clock */
		parcel_turn(w, kind);
}

/* Any turn.  Returns how many messages were handled. */
static __attribute__((noinline)) int32_t run_full(struct cx_worker *w, struct cx__actor *a)
{
	const struct cx__kind *kind;
	int32_t depth, handled;

	if (__builtin_expect(a->is_any, 0))
		begin_anywhere(w, a);
	a->queued = 0;
	depth = take_in(a);
	kind = cx__front(a)->kind; /* after it: a START that was taken in is of this kind */
	begin(w, a, kind, depth);
	handled = run_messages(w, a, kind);
	if (kind->batch_end != NULL && a->status == CX__LIVE && handled > 0)
		cx__batch_end(w, a);
	if (__builtin_expect(w->is_trace_on, 0)) {
		w->is_turn_tracing = 0;
		w->is_tracing = 0;
	}
	if (__builtin_expect(a->ending, 0))
		cx__actor_end(w, a);
	end(w, kind, handled);
	if (__builtin_expect(a->is_any, 0))
		end_anywhere(w);
	/* An ended actor's slot may have been spawned into already, but nobody runs it before this. */
	settle(w, a, handled);
	return handled;
}

/* Ordinary messages for an actor that lives and has a home: most turns. */
static inline bool is_quiet(const struct cx_worker *w, const struct cx__actor *a)
{
	return a->mail_head != NULL && a->control_head == NULL && a->unquiet == 0 &&
	       !w->is_trace_on;
}

/* run_full without what such a turn does not need. */
static inline int32_t run_quiet(struct cx_worker *w, struct cx__actor *a)
{
	const struct cx__kind *kind = cx__front(a)->kind;
	int32_t handled;

	a->queued = 0;
	begin(w, a, kind, atomic_load_explicit(&a->local_depth, memory_order_relaxed));
	handled = run_mail(w, a, kind, kind->on);
	if (kind->batch_end != NULL && a->status == CX__LIVE)
		cx__batch_end(w, a);
	if (__builtin_expect(a->ending, 0))
		cx__actor_end(w, a);
	end(w, kind, handled);
	if (__builtin_expect(a->unquiet != 0, 0))
		settle(w, a, handled);
	else if (a->mail_head != NULL || a->control_head != NULL)
		cx__queue_local(w, a);
	return handled;
}

static inline int32_t run_turn(struct cx_worker *w, struct cx__actor *a)
{
	return is_quiet(w, a) ? run_quiet(w, a) : run_full(w, a);
}

/* Means of the last 8 or so: one that was interrupted does not count for long. */
static void add_to_mean(uint64_t *mean_ns, uint64_t took_ns)
{
	*mean_ns = (7 * *mean_ns + took_ns) / 8;
}

/* What steal.c goes by.  is_cold: the first turn after a poll, whatever it does. */
static void judge(struct cx_worker *w, unsigned kind, uint64_t took_ns, bool is_cold)
{
	w->is_slow = took_ns > CX__QUICK_TURN_NS;
	add_to_mean(&w->kind_ns[kind], took_ns);
	if (!is_cold)
		add_to_mean(&w->turn_ns, took_ns);
}

/* Out of the way of the turns that are not timed. */
static __attribute__((noinline)) void run_timed(struct cx_worker *w, struct cx__actor *a,
                                                uint32_t weight)
{
	const uint64_t began_ns = cx__now_ns(w);
	const bool is_cold = w->after_poll;
	int32_t handled;
	uint64_t took_ns;
	uint32_t kind;

	w->after_poll = 0;
	w->turn_began_ns = began_ns;
	handled = run_turn(w, a);
	w->turn_began_ns = 0;
	/* relaxed: our own write, in run_turn; the actor may be another's by now */
	kind = atomic_load_explicit(&w->doing_kind, memory_order_relaxed);
	took_ns = cx__now_ns(w) - began_ns;
	cx__count(&w->counts[kind].busy_ns, took_ns * weight);
	if (handled > 0)
		cx__handler_times_add(times_of(w, kind), took_ns, (uint32_t)handled, weight);
	judge(w, kind, took_ns, is_cold);
}

void cx__worker_turn(struct cx_worker *w, struct cx__actor *a)
{
	const uint32_t weight = weight_of_turn(w);

	if (__builtin_expect(weight != 0, 0))
		run_timed(w, a, weight);
	else
		run_turn(w, a);
}
