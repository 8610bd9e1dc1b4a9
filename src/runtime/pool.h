/* SPDX-License-Identifier: MIT */
/* Blocks of fixed size classes for one thread; freed on any thread, they go home.
 *
 * 1. Only the owning thread takes blocks, and puts back those it frees itself.
 * 2. A block freed elsewhere is pushed on the owner's return stack (many producers, one consumer);
 *    the owner empties it when a class runs dry.  Without that, one-way traffic would grow for ever.
 * 3. The pool outlives every block (it is freed with the runtime).
 * 4. A block rests, or is on the return stack, or is in use: one of the three.
 * 5. Memory is taken from the system only when no block of the class rests and none was returned, so
 *    there are never more blocks than were in use (or on their way back) at once, rounded to slabs.
 * Model: tests/models/pool_return.pml. */
#ifndef CX_RUNTIME_POOL_H
#define CX_RUNTIME_POOL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/annotate.h"
#include "runtime/cache_line.h"
#include "runtime/stack.h"

#define CX__POOL_MAX 4352 /* bytes of the largest class */
#define CX__POOL_STEP 64  /* sizes of classes are multiples of it */
#define CX__POOL_CLASSES 12
#define CX__CLS_MALLOC 0xffff

struct cx__resting { /* a block while it is free */
	ck_stack_entry_t link;
	uint16_t cls;
};

struct cx__slab;

struct cx__pool {
	/* written by other threads */
	_Alignas(CX__APART) ck_stack_t returned;
	/* written by the owner */
	_Alignas(CX__APART) struct cx__resting *rest[CX__POOL_CLASSES];
	uint8_t class_of[CX__POOL_MAX / CX__POOL_STEP + 1]; /* by size in steps, rounded up */
	struct cx__slab *slabs;
	_Atomic uint64_t bytes; /* relaxed: a figure */
};

_Static_assert(offsetof(struct cx__pool, returned) == 0 &&
                       offsetof(struct cx__pool, rest) == CX__APART,
               "what others write and what the owner writes lie apart");

extern const uint16_t cx__pool_class_bytes[CX__POOL_CLASSES];

/* What ends the process when memory is out where no error can be returned: says so, and what the actor was
 * doing, as cx_assert does.  Thread: any. */
void cx__out_of_memory(const char *what, size_t bytes) __attribute__((noreturn, cold));

/* NULL: memory is out. */
struct cx__pool *cx__pool_new(void);
void cx__pool_delete(struct cx__pool *pool);

/* The pool of the calling thread; NULL on threads that are not the runtime's. */
struct cx__pool *cx__pool_here(void);
void cx__pool_enter(struct cx__pool *pool);

/* The rare ways of take and give below. */
void *cx__pool_refill(struct cx__pool *pool, uint16_t cls);
void *cx__pool_take_malloc(size_t size, uint16_t *cls);
void cx__pool_give_slow(struct cx__pool *owner, void *block, uint16_t cls);

static inline void cx__pool_rest(struct cx__pool *pool, void *p, uint16_t cls)
{
	struct cx__resting *block = p;

	block->link.next = (ck_stack_entry_t *)(void *)pool->rest[cls];
	pool->rest[cls] = block;
	cx__hide((uint8_t *)block + sizeof(*block), cx__pool_class_bytes[cls] - sizeof(*block));
}

/* size: at most CX__POOL_MAX. */
static inline uint16_t cx__pool_class(const struct cx__pool *pool, size_t size)
{
	return pool->class_of[(size + CX__POOL_STEP - 1) / CX__POOL_STEP];
}

/* A block that rests in pool, which is cx__pool_here(); NULL: refill.  It may be written up to the end
 * of its class. */
static inline void *cx__pool_take_resting(struct cx__pool *pool, uint16_t cls)
{
	struct cx__resting *block = pool->rest[cls];

	if (__builtin_expect(block == NULL, 0))
		return NULL;
	cx__show(block, cx__pool_class_bytes[cls]);
	pool->rest[cls] = (struct cx__resting *)(void *)block->link.next;
	return block;
}

/* size > 0.  From pool (which must be cx__pool_here()), or by malloc when pool is NULL or the size
 * over the largest class.  Aborts when memory is out. */
static inline void *cx__pool_take(struct cx__pool *pool, size_t size, uint16_t *cls)
{
	void *block;

	if (pool == NULL || size > CX__POOL_MAX)
		return cx__pool_take_malloc(size, cls);
	*cls = cx__pool_class(pool, size);
	block = cx__pool_take_resting(pool, *cls);
	return block != NULL ? block : cx__pool_refill(pool, *cls);
}

/* owner: the pool that was given to take; here: cx__pool_here().  Thread: any. */
static inline void cx__pool_give_at(struct cx__pool *here, struct cx__pool *owner, void *block,
                                    uint16_t cls)
{
	if (__builtin_expect(owner == here && cls != CX__CLS_MALLOC, 1))
		cx__pool_rest(owner, block, cls);
	else
		cx__pool_give_slow(owner, block, cls);
}

static inline void cx__pool_give(struct cx__pool *owner, void *block, uint16_t cls)
{
	cx__pool_give_at(cx__pool_here(), owner, block, cls);
}

/* Bytes taken from the system.  Thread: any. */
uint64_t cx__pool_bytes(const struct cx__pool *pool);

#endif
