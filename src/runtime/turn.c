/* SPDX-License-Identifier: MIT */
/* One turn of one actor: take what came, handle a batch, and see what becomes of the actor. */
#include "runtime/annotate.h"
#include "runtime/internal.h"

#define CLOCK_EVERY 16  /* messages between looks at the clock inside a turn */
#define TURN_NS 2000000 /* a turn ends after this, whatever waits */
#define UNTIMED_TURNS \
	7 /* of 8 quick turns; a read of the clock costs as much as a quick turn */
#define QUICK_TURN_NS 5000

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
	dispatch(w, a, msg);
}

static struct handled run_messages(struct cx_worker *w, struct cx__actor *a)
{
	struct cx__kind *kind = a->kind;
	uint64_t began_ns = w->now_is_old ? 0 : w->now_ns;
	uint32_t limit = kind->type->batch_max > 0 ? kind->type->batch_max : CX__BATCH;
	struct handled handled = { 0, 0 };

	if (w->turn_limit != 0 && w->turn_limit < limit)
		limit = w->turn_limit;
	while (a->control_head != NULL && !a->ending)
		run_one(w, a, &a->control_head, &handled);
	for (uint32_t n = 0; n < limit && a->mail_head != NULL && !a->ending; n++) {
		if (a->status == CX__DOWN)
			break;
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

/* The clock before this turn, when it is one of those that are timed; else 0. */
static uint64_t begin_turn(struct cx_worker *w)
{
	return (w->turn_number++ & w->untimed) == 0 ? cx__now_ns(w) : 0;
}

static void end_turn(struct cx_worker *w, struct cx__kind_count *count, uint64_t began_ns)
{
	const uint64_t weight = w->untimed + 1;

	w->now_is_old = 1;
	if (began_ns == 0)
		return;
	cx__count(&count->busy_ns, (cx__now_ns(w) - began_ns) * weight);
	w->untimed = w->now_ns - began_ns > QUICK_TURN_NS ? 0 : UNTIMED_TURNS;
}

void cx__worker_turn(struct cx_worker *w, struct cx__actor *a)
{
	const uint64_t began_ns = begin_turn(w);
	struct cx__kind_count *count;
	struct handled handled;

	if (a->any)
		a->has_token = 1; /* rule 3 */
	a->queued = 0;
	if (a->is_parked)
		unpark(a);
	cx__drain(a);
	note_depth(w, a);
	count = &w->counts[a->kind->index];
	w->ctx.actor = a;
	handled = run_messages(w, a);
	if (a->status == CX__LIVE && a->kind->type->batch_end != NULL &&
	    handled.local + handled.shared > 0)
		a->kind->type->batch_end(&w->ctx, a->state);
	if (a->ending)
		cx__actor_end(w, a);
	w->ctx.actor = NULL;
	cx__count(&count->messages, (uint64_t)(handled.local + handled.shared));
	cx__count(&count->turns, 1);
	cx__count(&w->turns, 1);
	end_turn(w, count, began_ns);
	/* An ended actor's slot may have been spawned into already, but nobody runs it before this. */
	settle(w, a, handled);
}
