/* SPDX-License-Identifier: MIT */
/* One turn of one actor: take what came, handle a batch, and see what becomes of the actor. */
#include <stdlib.h>

#include "runtime/annotate.h"
#include "runtime/internal.h"

#define CLOCK_EVERY 16  /* messages between looks at the clock inside a turn */
#define TURN_NS 2000000 /* a turn ends after this, whatever waits */
#define TIMED_ONE_IN 64
#define QUICK_TURN_NS 5000 /* where they are longer, each turn is timed */

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
	cx__msg_free_at(w->pool, msg);
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

/* Messages handled, by the way they came. */
struct handled {
	int32_t shared, local;
};

static void run_one(struct cx_worker *w, struct cx__actor *a, struct cx_msg **head,
                    struct handled *handled)
{
	struct cx_msg *msg = pop(head);

	if (msg->flags & CX__LOCAL) {
		handled->local++;
		cx__add_local(a, -1); /* at once: it may send to itself in this turn */
	} else {
		handled->shared++;
	}
	if (__builtin_expect(w->is_trace_on, 0))
		dispatch_traced(w, a, msg);
	else
		dispatch(w, a, msg);
}

static struct handled run_messages(struct cx_worker *w, struct cx__actor *a)
{
	struct cx__kind *kind = a->kind;
	uint64_t began_ns = w->now_is_old ? 0 : w->now_ns;
	uint32_t limit = kind->type->batch_max > 0 ? kind->type->batch_max : CX__BATCH;
	/* Not beyond what is there now: who sends to himself does not hold up the others. */
	const struct cx_msg *last = a->control_tail;
	bool more = a->control_head != NULL;
	struct handled handled = { 0, 0 };

	if (w->turn_limit != 0 && w->turn_limit < limit)
		limit = w->turn_limit;
	while (more && !a->ending) {
		more = a->control_head != last;
		run_one(w, a, &a->control_head, &handled);
	}
	last = a->mail_tail;
	more = a->mail_head != NULL;
	for (uint32_t n = 0; n < limit && more && !a->ending && a->status != CX__DOWN; n++) {
		more = a->mail_head != last;
		run_one(w, a, &a->mail_head, &handled);
		if (n % CLOCK_EVERY == CLOCK_EVERY - 1 && !w->dedicated) {
			const uint64_t now_ns = cx__clock_of(w);

			if (began_ns == 0) /* not known: from here on */
				began_ns = now_ns;
			if (now_ns - began_ns > TURN_NS)
				break;
		}
	}
	return handled;
}

static int32_t depth_of(const struct cx__actor *a)
{
	return atomic_load_explicit(&a->depth, memory_order_relaxed) +
	       atomic_load_explicit(&a->local_depth, memory_order_relaxed);
}

static void note_depth(struct cx_worker *w, struct cx__actor *a)
{
	_Atomic uint32_t *max = &w->counts[a->kind->index].depth_max;
	const int32_t depth = depth_of(a);

	if (depth > (int32_t)atomic_load_explicit(max, memory_order_relaxed))
		atomic_store_explicit(max, (uint32_t)depth, memory_order_relaxed);
}

/* Take what was handled off depth.  Returns what is left; at 0 the token is gone: somebody else may
 * hold it already. */
static int32_t take_off(struct cx__actor *a)
{
	const int32_t taken = a->taken;
	int32_t left;

	a->taken = 0;
	/* acq_rel: pairs with the add in push_shared */
	left = atomic_fetch_sub_explicit(&a->depth, taken, memory_order_acq_rel) - taken;
	cx_assert(left >= 0);
	return left;
}

/* Rule 5.  The token is with us. */
static void park(struct cx_worker *w, struct cx__actor *a)
{
	a->is_parked = 1;
	atomic_exchange(&a->parked, 1);
	/* pairs with push_shared: a control message pushed meanwhile is seen here or sees parked */
	if (!cx__stack_recheck_empty(&a->control) && atomic_exchange(&a->parked, 0) != 0) {
		a->is_parked = 0;
		cx__make_runnable(w, w->rt, a);
	}
}

static void unpark(struct cx__actor *a)
{
	a->is_parked = 0;
	if (atomic_exchange(&a->parked, 0) == 0)
		a->has_token = 0; /* a sender took it: it is on its way through inject */
}

/* After a turn of an actor of any worker: token gone, queued again, or parked. */
static void settle_any(struct cx_worker *w, struct cx__actor *a, bool is_down)
{
	if (take_off(a) == 0)
		return; /* not ours any more */
	/* What was drained and not handled (the failing one was before it) is on no stack any more. */
	if (is_down && a->control_head == NULL)
		park(w, a);
	else
		cx__make_runnable(w, w->rt, a);
}

/* After a turn: idle, queued again, or parked (rules 2, 3 and 5). */
static void settle(struct cx_worker *w, struct cx__actor *a, struct handled handled)
{
	const bool is_down = a->status == CX__DOWN;

	a->taken += handled.shared;
	if (a->any) {
		settle_any(w, a, is_down);
		return;
	}
	if (a->has_token && a->taken > 0 && take_off(a) == 0)
		a->has_token = 0;
	if (is_down && a->control_head == NULL) {
		/* without the token the next message over the stack brings it */
		if (a->has_token && !a->queued)
			park(w, a);
	} else if (a->mail_head != NULL || a->control_head != NULL || a->has_token) {
		cx__queue_local(w, a);
	}
}

/* ---- how long handlers take ---- */

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

struct timing {
	uint64_t began_ns;
	uint32_t weight; /* turns that this one stands for; 0: it is not timed */
};

/* A look at the clock costs as much as a quick turn.  So the first turn after a poll is timed, which is
 * every turn of a worker with little to do, each turn where they are long, and one in TIMED_ONE_IN of
 * the others, for all of them.  The golden ratio chooses (Weyl's sequence): no regular order of turns can
 * hide from it. */
static inline struct timing begin_turn(struct cx_worker *w)
{
	const uint64_t turn = atomic_load_explicit(&w->turns, memory_order_relaxed);
	struct timing t = { 0, 0 };

	if (__builtin_expect(w->after_poll | w->is_slow, 0))
		t.weight = 1;
	else if (__builtin_expect(
			 turn * UINT64_C(0x9e3779b97f4a7c15) <= UINT64_MAX / TIMED_ONE_IN, 0))
		t.weight = TIMED_ONE_IN;
	if (t.weight != 0)
		t.began_ns = cx__now_ns(w);
	w->after_poll = 0;
	return t;
}

/* Out of the way of the turns that are not timed. */
static __attribute__((noinline)) void note_time(struct cx_worker *w, unsigned kind,
                                                const struct timing *t, int32_t handled)
{
	const uint64_t took_ns = cx__now_ns(w) - t->began_ns;

	cx__count(&w->counts[kind].busy_ns, took_ns * t->weight);
	if (handled > 0)
		cx__handler_times_add(times_of(w, kind), took_ns, (uint32_t)handled, t->weight);
	w->is_slow = took_ns > QUICK_TURN_NS;
}

void cx__worker_turn(struct cx_worker *w, struct cx__actor *a)
{
	const struct timing timing = begin_turn(w);
	const struct cx__kind *kind;
	struct handled handled;
	int32_t count;

	if (a->any)
		a->has_token = 1; /* rule 3 */
	a->queued = 0;
	if (a->is_parked)
		unpark(a);
	cx__drain(a);
	note_depth(w, a);
	kind = a->kind;
	w->ctx.actor = a;
	handled = run_messages(w, a);
	count = handled.local + handled.shared;
	if (a->status == CX__LIVE && kind->type->batch_end != NULL && count > 0)
		batch_end(w, a);
	w->is_turn_tracing = 0;
	w->is_tracing = 0;
	if (a->ending)
		cx__actor_end(w, a);
	w->ctx.actor = NULL;
	cx__count(&w->counts[kind->index].messages, (uint64_t)count);
	cx__count(&w->counts[kind->index].turns, 1);
	cx__count(&w->turns, 1);
	w->now_is_old = 1;
	if (__builtin_expect(timing.weight != 0, 0))
		note_time(w, kind->index, &timing, count);
	/* An ended actor's slot may have been spawned into already, but nobody runs it before this. */
	settle(w, a, handled);
}
