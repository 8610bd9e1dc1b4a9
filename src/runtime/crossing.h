/* SPDX-License-Identifier: MIT */
/* How messages cross from one worker to another: crossing.c.  Thread, unless it says more: w's. */
#ifndef CX_RUNTIME_CROSSING_H
#define CX_RUNTIME_CROSSING_H

#include "runtime/internal.h"

#define CX__PARCEL_TURNS 32    /* that messages to another worker are kept back for more */
#define CX__PARCEL_MSG_MAX 512 /* bytes */

/* Large ones go alone, and those of other threads: their blocks need not be whole lines. */
static inline bool cx__fits_parcel(const struct cx_msg *msg)
{
	return msg->size <= CX__PARCEL_MSG_MAX && msg->origin != CX__ORIGIN_MALLOC;
}
/* Has `a` a home on another worker than `here`, which may be NULL? */
static inline bool cx__is_away(const struct cx_worker *here, const struct cx__actor *a)
{
	return here != NULL && here->rt->sim == NULL && !cx__front(a)->any &&
	       cx__front(a)->home != here->index;
}
/* Messages to an actor that crossed in parcels which are not back yet. */
static inline uint32_t *cx__under_way(const struct cx_worker *w, uint32_t slot)
{
	return &w->under_way[slot / CX__CHUNK][slot % CX__CHUNK];
}
static inline bool cx__counts_under_way(const struct cx_worker *w, uint32_t slot)
{
	return w->under_way[slot / CX__CHUNK] != NULL;
}
/* From now on it does. */
void cx__under_way_add(struct cx_worker *w, uint32_t slot);
/* slot is counted. */
static inline bool cx__has_room_at_once(const struct cx_worker *w, const struct cx__actor *a,
                                        struct cx_ref to)
{
	/* relaxed: hints, what they let pass is bounded by their sum */
	return !atomic_load_explicit(&cx__front(a)->filling, memory_order_relaxed) &&
	       (int32_t)*cx__under_way(w, to.slot) +
	                       atomic_load_explicit(&cx__front(a)->depth,
	                                            memory_order_relaxed) <
	               atomic_load_explicit(&cx__front(a)->share, memory_order_relaxed);
}
/* The same asked of all that there is. */
bool cx__has_room(struct cx_worker *w, const struct cx__actor *a, struct cx_ref to);
void cx__parcel_push(struct cx_worker *w);
/* One line, into the open parcel; its slot is counted. */
static inline void cx__cross_line(struct cx_worker *w, struct cx_msg *msg)
{
	memcpy(w->parcel_at, msg, CX__POOL_STEP);
	w->parcel_at = (struct cx_msg *)(void *)((uint8_t *)w->parcel_at + CX__POOL_STEP);
	w->parcel_count++;
	++*cx__under_way(w, msg->to.slot);
	/* the block alone: its buffer goes with the copy */
	cx__pool_give_at(w->pool, (struct cx__pool *)(msg->origin & ~CX__ORIGIN_CLASS), msg,
	                 (uint16_t)(msg->origin & CX__ORIGIN_CLASS));
	if (--w->parcel_left == 0)
		cx__parcel_push(w);
}
/* msg may cross, and there is room or need for none. */
void cx__cross(struct cx_worker *w, struct cx__actor *a, struct cx_msg *msg);
/* Singly: any message, of any thread, to an actor with a home. */
void cx__cross_alone(struct cx_runtime *rt, struct cx_worker *here, struct cx__actor *a,
                     struct cx_msg *msg);
/* The open parcel of w goes, if there is one: before anything else leaves w (rule 7). */
static inline void cx__parcel_flush(struct cx_worker *w)
{
	if (w->parcel != NULL)
		cx__parcel_push(w);
}
/* After each turn. */
static inline void cx__parcel_turn(struct cx_worker *w)
{
	if (w->parcel != NULL &&
	    (w->run_head == NULL || w->is_slow || ++w->parcel_turns >= CX__PARCEL_TURNS))
		cx__parcel_push(w);
}
void cx__crossing_end(struct cx_worker *w);
void cx__take_all_mail(struct cx_worker *w);
/* What came for actors at home here. */
static inline void cx__take_mail(struct cx_worker *w)
{
	if (!cx__stack_is_empty(&w->mail))
		cx__take_all_mail(w);
}

#endif
