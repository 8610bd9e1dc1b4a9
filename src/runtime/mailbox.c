/* SPDX-License-Identifier: MIT */
/* Mailbox: two lists (ordinary, control) that the home worker appends to; of an actor of any worker two
 * intrusive stacks that all threads push and the runner takes whole, and one depth of these that is bound,
 * scheduling edge and figure (internal.h, rules 1 to 3).
 *
 * "Add first, undo when full" would be shorter and wrong: the undo can bring depth to 0 while the
 * actor is queued, the next sender sees 0 and queues it twice.  So full is decided before the add,
 * and the limit may be overshot by the number of sending threads - 1 (and see crossing.c, 4).
 *
 * 1. depth is added to before the push and taken from after the message was handled (came to its home): never
 *    negative.
 * 2. A runner may find depth 1 and no message yet: it is queued again, and comes back for it.
 * 3. The stacks keep each sender's order; the runner alone reads what it drained.
 * Model: tests/models/mailbox.pml. */
#include <stdlib.h>
#include <string.h>

#include "runtime/annotate.h"
#include "runtime/crossing.h"
#include "runtime/internal.h"

_Static_assert(sizeof(struct cx__slots) <= CX__CHUNK * 192,
               "an idle actor stays under 256 bytes");
_Static_assert(sizeof(struct cx__slots) % 4096 == 0, "whole pages");
_Static_assert(sizeof(struct cx__slots) <= CX__SLOTS_ALIGN &&
                       (CX__SLOTS_ALIGN & (CX__SLOTS_ALIGN - 1)) == 0,
               "each lies between two multiples");
_Static_assert(offsetof(struct cx__slots, actor) % CX__APART == 0,
               "what others write and what the runner writes lie apart");
_Static_assert(offsetof(struct cx__actor, unquiet) < CX__LINE, "one line");
_Static_assert(offsetof(struct cx_msg, link) == 0 && sizeof(ck_stack_entry_t) == sizeof(void *),
               "a message is its own stack entry");

struct cx_msg *cx__msg_take_slow(struct cx__pool *pool, uint32_t type, size_t size)
{
	uintptr_t origin = CX__ORIGIN_MALLOC;
	struct cx_msg *msg;
	uint16_t cls;

	cx_assert(size >= sizeof(*msg) && size <= CX__MSG_MAX && type < CX_MSG_LIMIT);
	msg = cx__pool_take(pool, size, &cls);
	memset(msg, 0, size);
	if (pool != NULL)
		origin = (uintptr_t)pool | cls;
	msg->origin = origin;
	msg->type = (uint16_t)type;
	msg->size = (uint16_t)size;
	return msg;
}

struct cx_msg *cx__msg_new(struct cx_worker *here, uint32_t type, size_t size)
{
	return here != NULL ? cx__msg_take(here->pool, type, size)
	                    : cx__msg_take_slow(NULL, type, size);
}

/* What START, RESTART and the private ids carry is believed, so only the runtime makes them. */
static inline void check_id(uint32_t type)
{
	cx__demand(__builtin_expect(type - CX_MSG_USER < CX_MSG_LIMIT - CX_MSG_USER, 1) ||
	                   type == CX_MSG_ERROR || type == CX_MSG_DOWN || type == CX_MSG_STOP,
	           "a message id that is the runtime's alone, or not below CX_MSG_LIMIT");
}

struct cx_msg *cx_msg_new(struct cx_ctx *ctx, uint32_t type, size_t size)
{
	check_id(type);
	return cx__msg_take(ctx->worker->pool, type, size);
}

void cx__msg_free_slow(struct cx_msg *msg)
{
	const uint16_t cls = (uint16_t)(msg->origin & CX__ORIGIN_CLASS);

	cx_buf_unref(msg->buf);
	if (msg->origin == CX__ORIGIN_MALLOC)
		free(msg);
	else
		cx__pool_give((struct cx__pool *)(msg->origin & ~CX__ORIGIN_CLASS), msg, cls);
}

void cx_msg_drop(struct cx_msg *msg)
{
	cx__msg_free(msg);
}

static void count_dead(struct cx_runtime *rt, struct cx_worker *here, struct cx__actor *a)
{
	struct cx__kind *kind = cx__front(a)->kind;

	if (kind == NULL)
		return;
	if (here != NULL)
		cx__count(&here->counts[kind->index].dead, 1);
	else
		atomic_fetch_add_explicit(&rt->outside[kind->index].dead, 1,
		                          memory_order_relaxed);
}

void cx__dead_letter(struct cx_runtime *rt, struct cx_worker *here, struct cx_msg *msg)
{
	struct cx_msg *answer = NULL;

	if (msg->type == CX__MSG_WATCH) {
		struct cx_msg_down *down = (struct cx_msg_down *)(void *)cx__msg_new(
			here, CX_MSG_DOWN, sizeof(*down));

		down->who = msg->to;
		down->reason = CX_EGONE;
		if (cx__deliver(rt, here, msg->from, &down->hdr, CX__CONTROL) != CX_OK)
			answer = NULL; /* the watcher is gone too */
	} else if (msg->flags & CX__ASK) {
		answer = cx__msg_new(here, CX_MSG_ERROR, sizeof(struct cx_msg_error));
		((struct cx_msg_error *)(void *)answer)->err = CX_EGONE;
		answer->corr = msg->corr;
		answer->from = msg->to;
		answer->flags = CX__ANSWER;
	}
	if (answer != NULL) {
		const enum cx_err err = cx__deliver(rt, here, msg->from, answer, CX__RESERVED);

		(void)err; /* the asker is gone too: nobody waits */
	}
	cx__msg_free(msg);
}

static enum cx_err refuse(struct cx_runtime *rt, struct cx_worker *here, struct cx__actor *a,
                          struct cx_msg *msg, enum cx_err err)
{
	if (err == CX_EGONE) {
		count_dead(rt, here, a);
	} else if (here != NULL) {
		cx__count(&here->counts[cx__front(a)->kind->index].refused, 1);
	} else {
		atomic_fetch_add_explicit(&rt->outside[cx__front(a)->kind->index].refused, 1,
		                          memory_order_relaxed);
	}
	cx__msg_free(msg);
	return err;
}

/* Rule 6. */
static bool is_local(const struct cx_worker *here, const struct cx__actor *a,
                     enum cx__lane lane)
{
	if (here == NULL || cx__front(a)->home != here->index || cx__front(a)->any)
		return false;
	return here->ctx.actor != NULL ? !cx__front(here->ctx.actor)->any : lane == CX__CONTROL;
}

static bool is_full(struct cx_runtime *rt, struct cx_worker *here, const struct cx__actor *a,
                    struct cx_ref to)
{
	int32_t depth;

	if (cx__is_away(here, a))
		return !(cx__counts_under_way(here, to.slot) &&
		         cx__has_room_at_once(here, a, to)) &&
		       !cx__has_room(here, a, to);
	depth = cx__list_depth(a);
	depth += atomic_load_explicit(&cx__front(a)->depth, memory_order_relaxed);
	if (rt->sim != NULL)
		depth += cx__sim_held(rt->sim, to);
	return depth >= (int32_t)cx__front(a)->kind->type->mailbox_cap;
}

static inline void push_local(struct cx_worker *here, struct cx__actor *a, struct cx_msg *msg,
                              enum cx__lane lane)
{
	cx__append(here, a, msg, lane == CX__CONTROL);
	cx__add_local(a);
}

static void push_any(struct cx_runtime *rt, struct cx_worker *here, struct cx__actor *a,
                     struct cx_msg *msg, enum cx__lane lane)
{
	struct cx_worker *own = here != NULL ? here : cx__worker_here();
	struct cx__front *front = cx__front(a);
	int32_t before;

	if (own != NULL)
		cx__parcel_flush(own);
	/* acq_rel: whoever sees depth 0 -> 1 also sees what the last runner left in the actor */
	before = atomic_fetch_add_explicit(&front->depth, 1, memory_order_acq_rel);
	cx__stack_push(lane == CX__CONTROL ? &front->control : &front->mail,
	               (ck_stack_entry_t *)(void *)msg);
	if (before == 0)
		cx__make_runnable(here, rt, a);
	else if (lane == CX__CONTROL && atomic_load(&front->parked) != 0 &&
	         atomic_exchange(&front->parked, 0) !=
	                 0) /* rule 5; pairs with the re-check in park */
		cx__make_runnable(here, rt, a);
}

static void push_shared(struct cx_runtime *rt, struct cx_worker *here, struct cx__actor *a,
                        struct cx_msg *msg, enum cx__lane lane)
{
	if (cx__front(a)->any) {
		push_any(rt, here, a, msg, lane);
		return;
	}
	if (lane == CX__CONTROL)
		msg->flags |= CX__TO_CONTROL;
	if (cx__is_away(here, a) && cx__fits_parcel(msg))
		cx__cross(here, a, msg);
	else
		cx__cross_alone(rt, here, a, msg);
}

enum cx_err cx__deliver(struct cx_runtime *rt, struct cx_worker *here, struct cx_ref to,
                        struct cx_msg *msg, enum cx__lane lane)
{
	struct cx__actor *a = cx__actor_at(rt, to.slot);
	enum cx_sim_fate fate = CX_SIM_DELIVER;
	bool local;

	/* acquire: pairs with the release in cx__spawn, kind is set */
	if (a == NULL ||
	    atomic_load_explicit(&cx__front(a)->gen, memory_order_acquire) != to.gen) {
		if (a != NULL)
			return refuse(rt, here, a, msg, CX_EGONE);
		cx__msg_free(msg);
		return CX_EGONE;
	}
	if (rt->sim != NULL && lane != CX__CONTROL) {
		msg->to = to; /* it may be asked for */
		fate = cx__sim_fate(rt->sim, here, a, msg);
		if (fate == CX_SIM_REFUSE && lane == CX__BOUNDED)
			return refuse(rt, here, a, msg, CX_EFULL);
		if (fate == CX_SIM_LOSE) {
			cx__msg_free(msg);
			return CX_OK;
		}
	}
	local = is_local(here, a, lane);
	if (lane == CX__BOUNDED && is_full(rt, here, a, to))
		return refuse(rt, here, a, msg, CX_EFULL);
	msg->to = to;
	if (__builtin_expect(here != NULL && here->is_tracing, 0))
		cx__trace_sent(here, msg);
	if (rt->sim != NULL && lane != CX__CONTROL && cx__sim_hold(rt->sim, msg, local, fate))
		return CX_OK;
	if (local) {
		cx__take_mail(here); /* who is in a callback may know of it */
		push_local(here, a, msg, lane);
	} else {
		push_shared(rt, here, a, msg, lane);
	}
	return CX_OK;
}

void cx__deliver_held(struct cx_runtime *rt, struct cx_msg *msg)
{
	struct cx__actor *a = cx__actor_at(rt, msg->to.slot);

	/* relaxed: one thread, the simulator's */
	if (atomic_load_explicit(&cx__front(a)->gen, memory_order_relaxed) != msg->to.gen) {
		count_dead(rt, NULL, a);
		cx__dead_letter(rt, NULL, msg);
	} else if (msg->flags & CX__LOCAL) { /* rule 6: on the way it would have taken */
		cx__take_mail(rt->worker[cx__front(a)->home]); /* what was released before it */
		push_local(rt->worker[cx__front(a)->home], a, msg, CX__RESERVED);
	} else {
		push_shared(rt, NULL, a, msg, CX__RESERVED);
	}
}

static void append(void ***end, ck_stack_entry_t *newest)
{
	struct cx_msg *first = NULL;
	struct cx_msg *last = (struct cx_msg *)(void *)newest;

	if (newest == NULL)
		return;
	/* the stack is newest first: turn it round */
	while (newest != NULL) {
		struct cx_msg *msg = (struct cx_msg *)(void *)newest;

		newest = newest->next;
		msg->link = first;
		first = msg;
	}
	**end = first;
	*end = &last->link;
}

/* Ordinary messages first: then each control message that was sent before one of them (START!) is
 * among those taken after. */
void cx__drain(struct cx__actor *a)
{
	struct cx__front *front = cx__front(a);

	if (!cx__stack_is_empty(&front->mail))
		append(&a->mail_end, cx__stack_take_all(&front->mail));
	if (!cx__stack_is_empty(&front->control))
		append(&a->control_end, cx__stack_take_all(&front->control));
}

/* To an actor at home on this worker. */
static inline bool is_direct(const struct cx__actor *a, struct cx_ref to, enum cx__lane lane)
{
	/* relaxed: they begin and end on this worker */
	return __builtin_expect(
		       atomic_load_explicit(&cx__front(a)->gen, memory_order_relaxed) == to.gen,
		       1) &&
	       __builtin_expect(
		       lane == CX__RESERVED ||
			       atomic_load_explicit(&a->local_depth, memory_order_relaxed) <
				       a->mailbox_cap,
		       1);
}

/* Where the open parcel goes.  Apart, so that the way within a worker keeps no registers. */
static __attribute__((noinline)) enum cx_err send_across(struct cx_worker *w,
                                                         struct cx__actor *a, struct cx_ref to,
                                                         struct cx_msg *msg, enum cx__lane lane)
{
	if (msg->size > CX__POOL_STEP || msg->origin == CX__ORIGIN_MALLOC || w->is_tracing ||
	    !cx__counts_under_way(w, to.slot) ||
	    /* acquire: as in cx__deliver */
	    atomic_load_explicit(&cx__front(a)->gen, memory_order_acquire) != to.gen ||
	    (lane == CX__BOUNDED && !cx__has_room_at_once(w, a, to)))
		return cx__deliver(w->rt, w, to, msg, lane);
	msg->to = to;
	cx__cross_line(w, msg);
	return CX_OK;
}

/* Most sends end here: `direct` compares equal only when cx__deliver would find nothing but is_local (no
 * simulator, no trace, both actors at home on this worker), and with parcel_to when nothing but that msg
 * crosses. */
static inline enum cx_err send_from(struct cx_ctx *ctx, struct cx_ref to, struct cx_msg *msg,
                                    enum cx__lane lane)
{
	struct cx_worker *w = ctx->worker;
	const struct cx__chunk *chunk = cx__chunk_at(w->rt, to.slot);
	struct cx__actor *a;

	msg->from = ctx->self;
	if (__builtin_expect(chunk == NULL, 0))
		return cx__deliver(w->rt, w, to, msg, lane);
	a = cx__actor_in(chunk, to.slot);
	if (__builtin_expect(chunk->direct == w->direct, 1)) {
		if (is_direct(a, to, lane)) {
			msg->to = to;
			push_local(w, a, msg, lane);
			return CX_OK;
		}
	} else if (chunk->direct == w->parcel_to) {
		return send_across(w, a, to, msg, lane);
	}
	return cx__deliver(w->rt, w, to, msg, lane);
}

enum cx_err cx_send(struct cx_ctx *ctx, struct cx_ref to, struct cx_msg *msg)
{
	return send_from(ctx, to, msg, CX__BOUNDED);
}

enum cx_err cx_send_reserved(struct cx_ctx *ctx, struct cx_ref to, struct cx_msg *msg)
{
	return send_from(ctx, to, msg, CX__RESERVED);
}

struct cx_msg *cx_post_new(uint32_t type, size_t size)
{
	check_id(type);
	return cx__msg_new(NULL, type, size);
}

enum cx_err cx_post(struct cx_runtime *rt, struct cx_ref to, struct cx_msg *msg)
{
	return cx__deliver(rt, NULL, to, msg, CX__BOUNDED);
}
