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

#include <stddef.h>
#include <stdint.h>

#define CX__POOL_MAX 4352 /* bytes of the largest class */
#define CX__CLS_MALLOC 0xffff

struct cx__pool;

struct cx__pool *cx__pool_new(void);
void cx__pool_delete(struct cx__pool *pool);

/* The pool of the calling thread; NULL on threads that are not the runtime's. */
struct cx__pool *cx__pool_here(void);
void cx__pool_enter(struct cx__pool *pool);

/* size > 0.  From pool (which must be cx__pool_here()), or by malloc when pool is NULL or the size
 * over the largest class.  Aborts when memory is out. */
void *cx__pool_take(struct cx__pool *pool, size_t size, uint16_t *cls);

/* owner: the pool that was given to take.  Thread: any. */
void cx__pool_give(struct cx__pool *owner, void *block, uint16_t cls);

/* Bytes taken from the system.  Thread: any. */
uint64_t cx__pool_bytes(const struct cx__pool *pool);

#endif
