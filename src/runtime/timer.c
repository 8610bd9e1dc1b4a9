/* SPDX-License-Identifier: MIT */
/* Timers of actors: in the wheel of the actor's worker, and in the actor's own list, so that they end
 * with it. */
#include "runtime/internal.h"

void cx__timer_fire(void *arg, struct cx_timer *timer)
{
	struct cx_worker *w = arg;
	struct cx__actor *a = timer->actor;
	struct cx_msg_timer *m;
	struct cx_ref to;
	enum cx_err err;

	if (timer->msg_type == 0) {
		cx__ask_expired(w, timer);
		return;
	}
	if (timer->due_ms > w->wheel.now_ms) { /* further away than the wheel reaches */
		cx__wheel_add(&w->wheel, timer);
		return;
	}
	*timer->owner_prev = timer->owner_next;
	if (timer->owner_next != NULL)
		timer->owner_next->owner_prev = timer->owner_prev;
	timer->owner_prev = NULL;
	m = (struct cx_msg_timer *)(void *)cx__msg_new(w, timer->msg_type, sizeof(*m));
	m->timer = timer;
	m->seq = timer->seq;
	m->hdr.flags = CX__TIMER;
	to.slot = a->slot;
	to.gen = atomic_load_explicit(&cx__front(a)->gen, memory_order_relaxed);
	err = cx__deliver(w->rt, w, to, &m->hdr, CX__CONTROL);
	cx_assert(err == CX_OK); /* timers end with their actor, on this worker */
}

bool cx_timer_is_armed(const struct cx_timer *timer)
{
	return timer->owner_prev != NULL;
}

void cx_timer_cancel(struct cx_ctx *ctx, struct cx_timer *timer)
{
	timer->seq++; /* a fired one that waits in the mailbox is stale now */
	if (!cx_timer_is_armed(timer))
		return;
	cx__wheel_remove(&ctx->worker->wheel, timer);
	*timer->owner_prev = timer->owner_next;
	if (timer->owner_next != NULL)
		timer->owner_next->owner_prev = timer->owner_prev;
	timer->owner_prev = NULL;
}

void cx_timer_arm(struct cx_ctx *ctx, struct cx_timer *timer, uint64_t after_ms,
                  uint32_t msg_type)
{
	struct cx__actor *a = ctx->actor;

	cx_assert(!cx__front(a)->any && msg_type != 0);
	cx__demand(msg_type < CX_MSG_LIMIT &&
	                   cx__front(a)->kind->on[msg_type].size == sizeof(struct cx_msg_timer),
	           "the actor has no handler of a struct cx_msg_timer for this timer");
	cx_timer_cancel(ctx, timer);
	timer->actor = a;
	timer->msg_type = msg_type;
	timer->due_ms = cx__now_ms(ctx->worker) + after_ms + 1;
	timer->owner_next = a->timers;
	timer->owner_prev = &a->timers;
	if (timer->owner_next != NULL)
		timer->owner_next->owner_prev = &timer->owner_next;
	a->timers = timer;
	cx__wheel_add(&ctx->worker->wheel, timer);
}

void cx__timers_cancel_all(struct cx_worker *w, struct cx__actor *a)
{
	while (a->timers != NULL) {
		struct cx_timer *timer = a->timers;

		a->timers = timer->owner_next;
		if (a->timers != NULL)
			a->timers->owner_prev = &a->timers;
		timer->owner_prev = NULL;
		cx__wheel_remove(&w->wheel, timer);
	}
}
