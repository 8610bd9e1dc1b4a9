/* SPDX-License-Identifier: MIT */
#include "runtime/pool.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cx/actor.h>

#include "runtime/annotate.h"
#include "runtime/stack.h"

#define SLAB_BYTES 65536

const uint16_t cx__pool_class_bytes[CX__POOL_CLASSES] = { 64,   128,  192,  256,
	                                                  384,  512,  768,  1024,
	                                                  1536, 2048, 3072, CX__POOL_MAX };

struct cx__slab {
	struct cx__slab *next;
	_Alignas(CX__APART) uint8_t bytes[];
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
	struct cx__pool *pool = aligned_alloc(CX__APART, sizeof(*pool));
	unsigned cls = 0;

	if (pool == NULL)
		return NULL;
	memset(pool, 0, sizeof(*pool));
	ck_stack_init(&pool->returned);
	for (unsigned step = 0; step <= CX__POOL_MAX / CX__POOL_STEP; step++) {
		while (cx__pool_class_bytes[cls] < step * CX__POOL_STEP)
			cls++;
		pool->class_of[step] = (uint8_t)cls;
	}
	return pool;
}

void cx__pool_delete(struct cx__pool *pool)
{
	while (pool->slabs != NULL) {
		struct cx__slab *slab = pool->slabs;

		pool->slabs = slab->next;
		cx__show(slab, SLAB_BYTES);
		free(slab);
	}
	free(pool);
}

static void carve(struct cx__pool *pool, uint16_t cls)
{
	const size_t step = cx__pool_class_bytes[cls];
	struct cx__slab *slab = aligned_alloc(CX__APART, SLAB_BYTES);

	if (slab == NULL)
		cx__out_of_memory("a slab of blocks", SLAB_BYTES);
	slab->next = pool->slabs;
	pool->slabs = slab;
	atomic_store_explicit(&pool->bytes,
	                      atomic_load_explicit(&pool->bytes, memory_order_relaxed) +
	                              SLAB_BYTES,
	                      memory_order_relaxed);
	for (size_t at = 0; at + step <= SLAB_BYTES - sizeof(*slab); at += step)
		cx__pool_rest(pool, slab->bytes + at, cls);
}

/* Rule 2: blocks that others freed. */
static void collect(struct cx__pool *pool)
{
	ck_stack_entry_t *entry = cx__stack_take_all(&pool->returned);

	while (entry != NULL) {
		struct cx__resting *block = (struct cx__resting *)(void *)entry;

		entry = entry->next;
		cx__pool_rest(pool, block, block->cls);
	}
}

void *cx__pool_refill(struct cx__pool *pool, uint16_t cls)
{
	collect(pool);
	if (pool->rest[cls] == NULL)
		carve(pool, cls);
	return cx__pool_take_resting(pool, cls); /* now there is one */
}

void *cx__pool_take_malloc(size_t size, uint16_t *cls)
{
	void *p = malloc(size);

	if (p == NULL)
		cx__out_of_memory("a block", size);
	*cls = CX__CLS_MALLOC;
	return p;
}

void cx__pool_give_slow(struct cx__pool *owner, void *p, uint16_t cls)
{
	struct cx__resting *block = p;

	if (cls == CX__CLS_MALLOC) {
		free(p);
		return;
	}
	block->cls = cls;
	cx__stack_push(&owner->returned, &block->link);
}

uint64_t cx__pool_bytes(const struct cx__pool *pool)
{
	return atomic_load_explicit(&pool->bytes, memory_order_relaxed);
}
