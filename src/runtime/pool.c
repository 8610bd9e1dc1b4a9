/* SPDX-License-Identifier: MIT */
#include "runtime/pool.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cx/actor.h>

#include "runtime/annotate.h"
#include "runtime/stack.h"

#define CLASSES 12
#define SLAB_BYTES 65536

static const uint16_t class_bytes[CLASSES] = { 64,  128,  192,  256,  384,  512,
	                                       768, 1024, 1536, 2048, 3072, CX__POOL_MAX };

struct resting { /* a block while it is free */
	ck_stack_entry_t link;
	uint16_t cls;
};

struct slab {
	struct slab *next;
	_Alignas(64) uint8_t bytes[];
};

struct cx__pool {
	/* written by other threads */
	_Alignas(64) ck_stack_t returned;
	/* written by the owner */
	_Alignas(64) struct resting *rest[CLASSES];
	uint8_t class_of[CX__POOL_MAX / 64 + 1]; /* by size in 64-byte steps, rounded up */
	struct slab *slabs;
	_Atomic uint64_t bytes; /* relaxed: a figure */
};

static _Thread_local struct cx__pool *here;

struct cx__pool *cx__pool_here(void)
{
	return here;
}

void cx__pool_enter(struct cx__pool *pool)
{
	here = pool;
}

struct cx__pool *cx__pool_new(void)
{
	struct cx__pool *pool = aligned_alloc(64, sizeof(*pool));
	unsigned cls = 0;

	cx_assert(pool != NULL);
	memset(pool, 0, sizeof(*pool));
	ck_stack_init(&pool->returned);
	for (unsigned step = 0; step <= CX__POOL_MAX / 64; step++) {
		while (class_bytes[cls] < step * 64)
			cls++;
		pool->class_of[step] = (uint8_t)cls;
	}
	return pool;
}

void cx__pool_delete(struct cx__pool *pool)
{
	while (pool->slabs != NULL) {
		struct slab *slab = pool->slabs;

		pool->slabs = slab->next;
		cx__show(slab, SLAB_BYTES);
		free(slab);
	}
	free(pool);
}

static void rest(struct cx__pool *pool, struct resting *block, uint16_t cls)
{
	block->link.next = (ck_stack_entry_t *)(void *)pool->rest[cls];
	pool->rest[cls] = block;
	cx__hide((uint8_t *)block + sizeof(*block), class_bytes[cls] - sizeof(*block));
}

static void carve(struct cx__pool *pool, uint16_t cls)
{
	const size_t step = class_bytes[cls];
	struct slab *slab = aligned_alloc(64, SLAB_BYTES);

	cx_assert(slab != NULL);
	slab->next = pool->slabs;
	pool->slabs = slab;
	atomic_store_explicit(&pool->bytes,
	                      atomic_load_explicit(&pool->bytes, memory_order_relaxed) +
	                              SLAB_BYTES,
	                      memory_order_relaxed);
	for (size_t at = 0; at + step <= SLAB_BYTES - sizeof(*slab); at += step)
		rest(pool, (struct resting *)(void *)(slab->bytes + at), cls);
}

/* Rule 2: blocks that others freed. */
static void collect(struct cx__pool *pool)
{
	ck_stack_entry_t *entry = cx__stack_take_all(&pool->returned);

	while (entry != NULL) {
		struct resting *block = (struct resting *)(void *)entry;

		entry = entry->next;
		rest(pool, block, block->cls);
	}
}

void *cx__pool_take(struct cx__pool *pool, size_t size, uint16_t *cls)
{
	struct resting *block;
	uint16_t c;

	if (pool == NULL || size > CX__POOL_MAX) {
		void *p = malloc(size);

		cx_assert(p != NULL);
		*cls = CX__CLS_MALLOC;
		return p;
	}
	c = pool->class_of[(size + 63) / 64];
	if (pool->rest[c] == NULL)
		collect(pool);
	if (pool->rest[c] == NULL)
		carve(pool, c);
	block = pool->rest[c];
	pool->rest[c] = (struct resting *)(void *)block->link.next;
	cx__show(block, class_bytes[c]);
	*cls = c;
	return block;
}

void cx__pool_give(struct cx__pool *owner, void *p, uint16_t cls)
{
	struct resting *block = p;

	if (cls == CX__CLS_MALLOC) {
		free(p);
		return;
	}
	if (owner == here) {
		rest(owner, block, cls);
		return;
	}
	block->cls = cls;
	cx__stack_push(&owner->returned, &block->link);
}

uint64_t cx__pool_bytes(const struct cx__pool *pool)
{
	return atomic_load_explicit(&pool->bytes, memory_order_relaxed);
}
