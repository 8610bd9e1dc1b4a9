/* SPDX-License-Identifier: MIT */
/* One message in its actor: all that the short way in turn.c does not do. */
#include "runtime/internal.h"

static bool is_stale(struct cx_worker *w, struct cx__actor *a, const struct cx_msg *msg)
{
	if (msg->flags & CX__TIMER) {
		const struct cx_msg_timer *t = (const struct cx_msg_timer *)(const void *)msg;

		return t->timer->seq != t->seq;
	}
	if ((msg->flags & CX__ANSWER) && !(msg->flags & CX__FINAL) &&
	    !cx__ask_close(w, a, msg->corr)) {
		cx__count(&w->counts[cx__front(a)->kind->index].late, 1);
		return true;
	}
	return false;
}

static void call_handler(struct cx_worker *w, struct cx__actor *a, const struct cx_msg *msg)
{
	struct cx__kind *kind = cx__front(a)->kind;
	const struct cx__on *on = &kind->on[msg->type];

	if (on->fn == NULL) {
		cx__count(&w->counts[kind->index].unhandled, 1);
		return;
	}
	cx_assert(on->size == msg->size);
	on->fn(&w->ctx, a->state, msg);
}

void cx__dispatch(struct cx_worker *w, struct cx__actor *a, struct cx_msg *msg)
{
	if (msg->to.gen != w->ctx.self.gen) {
		cx__count(&w->counts[cx__front(a)->kind->index].dead, 1);
		cx__dead_letter(w->rt, w, msg);
		return;
	}
	cx__doing(w, msg->type);
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
	cx__msg_free_at(w->pool, msg);
}

void cx__dispatch_traced(struct cx_worker *w, struct cx__actor *a, struct cx_msg *msg)
{
	const unsigned kind = cx__front(a)->kind->index;
	const uint32_t type = msg->type;
	const uint32_t flow = msg->flags & CX__TRACED ? msg->flow : 0;
	const uint64_t began_ns = cx__clock_ns();

	w->is_tracing = flow != 0;
	cx__dispatch(w, a, msg);
	if (w->is_tracing) { /* or it was marked by its handler */
		cx__trace_handled(w, kind, type, flow, began_ns);
		w->is_turn_tracing = 1;
	}
}

void cx__batch_end(struct cx_worker *w, struct cx__actor *a)
{
	const unsigned kind = cx__front(a)->kind->index;
	uint64_t began_ns;

	if (__builtin_expect(!w->is_turn_tracing, 1)) {
		cx__front(a)->kind->batch_end(&w->ctx, a->state);
		return;
	}
	began_ns = cx__clock_ns();
	w->is_tracing = 1;
	cx__front(a)->kind->batch_end(&w->ctx, a->state);
	cx__trace_handled(w, kind, CX_MSG_NONE, 0, began_ns);
}
