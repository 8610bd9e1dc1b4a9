/* SPDX-License-Identifier: MIT */
/* Ring of runnable actors that one worker fills and any worker empties, oldest first.
 *
 * 1. Only the owner pushes, so `bottom` has one writer.
 * 2. Whoever moves `top` from t to t + 1 owns the entry at t.
 * 3. Entry t is overwritten only when bottom reaches t + size, hence after top has passed t: a thief
 *    that read an old entry fails its compare-exchange.
 * 4. An entry is written before bottom says so, and read before top is moved, after which it may be
 *    written over.
 * Model: tests/models/run_queue.pml. */
#ifndef CX_RUNTIME_DEQUE_H
#define CX_RUNTIME_DEQUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/cache_line.h"

#define CX__DEQUE_SIZE 256

struct cx__deque {
	_Alignas(CX__APART) _Atomic uint64_t top;
	_Alignas(CX__APART) _Atomic uint64_t bottom;
	_Alignas(CX__APART) void *_Atomic ring[CX__DEQUE_SIZE];
};

_Static_assert(offsetof(struct cx__deque, top) == 0 &&
                       offsetof(struct cx__deque, bottom) == CX__APART &&
                       offsetof(struct cx__deque, ring) == 2 * CX__APART,
               "what thieves write, what the owner writes and the entries lie apart");

/* Thread: the owner.  false: full. */
static inline bool cx__deque_push(struct cx__deque *d, void *item)
{
	const uint64_t b = atomic_load_explicit(&d->bottom, memory_order_relaxed); /* inv. 1 */

	if (b - atomic_load_explicit(&d->top, memory_order_acquire) >= CX__DEQUE_SIZE)
		return false;
	/* acquire, above: pairs with the exchange in take, whose read of the entry is over (inv. 4).
	 * relaxed: published by the store of bottom, which pairs with the load in take */
	atomic_store_explicit(&d->ring[b % CX__DEQUE_SIZE], item, memory_order_relaxed);
	atomic_store(&d->bottom, b + 1);
	return true;
}

/* Thread: any.  NULL: empty, or lost a race (try again later). */
static inline void *cx__deque_take(struct cx__deque *d)
{
	uint64_t t = atomic_load(&d->top);
	void *item;

	if (t >= atomic_load(&d->bottom))
		return NULL;
	/* relaxed: the load of bottom is before it, the exchange of top after it (inv. 4) */
	item = atomic_load_explicit(&d->ring[t % CX__DEQUE_SIZE], memory_order_relaxed);
	if (!atomic_compare_exchange_strong(&d->top, &t, t + 1)) /* inv. 2, 3 */
		return NULL;
	return item;
}

static inline bool cx__deque_is_empty(struct cx__deque *d)
{
	return atomic_load(&d->top) >= atomic_load(&d->bottom);
}

/* A figure: exact only while nobody pushes or takes. */
static inline uint32_t cx__deque_len(struct cx__deque *d)
{
	const uint64_t top = atomic_load_explicit(&d->top, memory_order_relaxed);
	const uint64_t bottom = atomic_load_explicit(&d->bottom, memory_order_relaxed);

	return bottom > top ? (uint32_t)(bottom - top) : 0;
}

#endif
