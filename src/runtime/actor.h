/* SPDX-License-Identifier: MIT */
/* An actor as memory: what others read of it (front), what its runner writes, and where both lie.  The rules cited
 * here are those of internal.h. */
#ifndef CX_RUNTIME_ACTOR_H
#define CX_RUNTIME_ACTOR_H

#include <stdatomic.h>

#include <cx/actor.h>

#include "runtime/cache_line.h"
#include "runtime/stack.h"

#define CX__CHUNK 512 /* actors allocated at once */
#define CX__SLOTS_ALIGN 0x20000
#define CX__DIRECT_NEVER 0xffff

enum cx__status {
	CX__LIVE,
	CX__FREE, /* no actor, or start has not run yet */
	CX__DOWN, /* failed, waits for CX_MSG_RESTART; ordinary messages stay in the mailbox */
};

struct cx__ask;
struct cx__watcher;

/* Who handles a type of message: its size is 0 when nobody does. */
struct cx__on {
	cx_handler_fn *fn;
	uint32_t size;
};

struct cx__kind {
	const struct cx_actor_type *type;
	uint32_t index;
	uint32_t batch; /* the type's batch_max, or what stands for 0 */
	void (*batch_end)(struct cx_ctx *ctx, void *state); /* the type's */
	struct cx__on on[CX_MSG_LIMIT];
};

/* What senders read of an actor: of one with a home hardly anybody writes it. */
struct cx__front {
	_Alignas(CX__LINE) union {
		struct { /* of an actor of any worker */
			ck_stack_t mail, control;
			ck_stack_entry_t inject; /* link in a worker's inject stack */
		};
		struct { /* of one with a home */
			/* so much may be under way from one worker, unless it is filling */
			_Atomic int32_t share;
			_Atomic uint8_t filling; /* what is_filling says, for others */
		};
	};
	_Atomic(struct cx__kind *) kind; /* written by spawn; late senders may still look */
	_Atomic int32_t depth;
	_Atomic uint32_t gen;
	uint16_t home; /* worker index */
	uint8_t any;   /* of the slot, for good: may run on every worker (else only at home) */
	_Atomic uint8_t parked; /* rule 5 */
};

/* Written by whoever runs it: the home worker, or who took it from a run queue.  All that a direct hand-over and a
 * quiet turn touch is on the first line. */
struct cx__actor {
	_Alignas(CX__APART) struct cx__actor *run_next; /* in the run queue; NULL outside */
	/* Messages in order: local ones, and drained.  end: where the next one's address goes; head where there
	 * is none.  All void *, as a message's link is, which is also a stack's and a pool's */
	void *mail_head, **mail_end;
	void *control_head;
	void *state;
	_Atomic int32_t local_depth; /* cx__list_depth for others */
	int32_t mailbox_cap;         /* the type's, for senders on the home worker */
	int32_t half; /* of it: from here on it is filling; of an actor of any worker none */
	uint32_t slot;
	uint8_t queued; /* 1: in the run queue */
	uint8_t reason; /* enum cx_err */
	union {
		struct {
			uint8_t status; /* enum cx__status */
			uint8_t ending; /* set by cx_stop / cx_fail */
			uint8_t is_filling; /* local_depth reached half, and is not back at its half */
			uint8_t is_any; /* = any */
		};
		uint32_t unquiet; /* all four at once: 0 in most turns */
	};
	void **control_end;
	struct cx_timer *timers;
	struct cx__ask *asks;
	struct cx__watcher *watchers;
	struct cx_ref supervisor;
	struct cx__actor *free_next; /* a free slot may still be queued, for late messages */
	struct cx__pool *state_owner;
	int32_t taken; /* handled, but not yet taken off depth (rule 2) */
	uint16_t state_cls;
};

/* Slots that are allocated at once.  Processors bring a line's neighbour along (the other half of 128 bytes), to write
 * it too where they write the line: so what senders read lies beside what senders read.  Its address is aligned to
 * CX__SLOTS_ALIGN, so that who has an actor finds its front without a look at it, and the other way round. */
struct cx__slots {
	struct cx__front front[CX__CHUNK];
	struct cx__actor actor[CX__CHUNK];
};

static inline struct cx__slots *cx__slots_of(const void *of_them)
{
	return (struct cx__slots *)((uintptr_t)of_them & ~(uintptr_t)(CX__SLOTS_ALIGN - 1));
}

static inline struct cx__front *cx__front(const struct cx__actor *a)
{
	struct cx__slots *slots = cx__slots_of(a);

	return &slots->front[a - slots->actor];
}

/* Actors that were allocated at once: all of one home. */
struct cx__chunk {
	struct cx__slots *slots;
	/* what their slots are compared by before they are looked at: the home; of actors of any worker
	 * CX__DIRECT_NEVER */
	uint16_t direct;
};

static inline struct cx__actor *cx__actor_in(const struct cx__chunk *chunk, uint32_t slot)
{
	return &chunk->slots->actor[slot % CX__CHUNK];
}

/* relaxed, both: a hint, or our own write. */
static inline void cx__set_filling(struct cx__actor *a, bool is_filling)
{
	a->is_filling = is_filling;
	atomic_store_explicit(&cx__front(a)->filling, is_filling, memory_order_relaxed);
}

/* Thread: the home worker's, as of the next two. */
static inline void cx__take_local(struct cx__actor *a)
{
	atomic_store_explicit(&a->local_depth,
	                      atomic_load_explicit(&a->local_depth, memory_order_relaxed) - 1,
	                      memory_order_relaxed);
}

/* Thread: any.  To be read before all else that is added to it. */
static inline int32_t cx__list_depth(const struct cx__actor *a)
{
	return atomic_load_explicit(&a->local_depth, memory_order_acquire);
}

static inline void cx__add_local(struct cx__actor *a)
{
	/* release: pairs with cx__list_depth, who sees it counted here sees it counted nowhere else */
	atomic_store_explicit(&a->local_depth,
	                      atomic_load_explicit(&a->local_depth, memory_order_relaxed) + 1,
	                      memory_order_release);
}

#endif
