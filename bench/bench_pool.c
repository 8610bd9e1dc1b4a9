/* SPDX-License-Identifier: MIT */
/* The pool of blocks: taken and given by its owner, and given by another thread, from where blocks come
 * home over the return stack.  Blocks go to the other thread as a message would, one after the other
 * through a ring. */
#include "runtime/pool.h"
#include "structures.h"

#define BLOCK_BYTES 100
#define OUT 32 /* taken before they are given back */
#define RING 1024

struct slot {
	void *_Atomic block;
};

static struct cx__pool *pool;
static struct slot ring[RING];
static uint16_t block_class; /* the same for all; written by main, before */

static void *take(void)
{
	uint16_t cls;

	return cx__pool_take(pool, BLOCK_BYTES, &cls);
}

static uint64_t local(unsigned index, void *arg)
{
	void *blocks[OUT];
	uint64_t ops = 0;

	(void)index;
	(void)arg;
	cx__pool_enter(pool);
	for (; !bench_is_over(); ops += OUT) {
		for (int i = 0; i < OUT; i++)
			blocks[i] = take();
		for (int i = 0; i < OUT; i++)
			cx__pool_give(pool, blocks[i], block_class);
	}
	cx__pool_enter(NULL);
	return ops;
}

/* The same without another thread's ring: what the return stack costs when nobody else is there. */
static uint64_t returned(unsigned index, void *arg)
{
	void *blocks[OUT];
	uint64_t ops = 0;

	(void)index;
	(void)arg;
	for (; !bench_is_over(); ops += OUT) {
		cx__pool_enter(pool);
		for (int i = 0; i < OUT; i++)
			blocks[i] = take();
		cx__pool_enter(NULL); /* now a foreign thread */
		for (int i = 0; i < OUT; i++)
			cx__pool_give(pool, blocks[i], block_class);
	}
	return ops;
}

static uint64_t take_and_pass(void)
{
	uint64_t n = 0;

	cx__pool_enter(pool);
	for (; !bench_is_over(); n++) {
		void *_Atomic *at = &ring[n % RING].block;
		unsigned spins = 0;
		void *block;

		while (atomic_load_explicit(at, memory_order_acquire) != NULL &&
		       !bench_is_over())
			bench_wait_a_little(&spins);
		if (bench_is_over())
			break;
		block = take();
		*(uint64_t *)block = n;
		atomic_store_explicit(at, block, memory_order_release);
	}
	cx__pool_enter(NULL);
	return 0;
}

static uint64_t give(void)
{
	uint64_t n = 0;

	for (; !bench_is_over(); n++) {
		void *_Atomic *at = &ring[n % RING].block;
		unsigned spins = 0;
		void *block;

		while ((block = atomic_load_explicit(at, memory_order_acquire)) == NULL &&
		       !bench_is_over())
			bench_wait_a_little(&spins);
		if (block == NULL)
			break;
		atomic_store_explicit(at, NULL, memory_order_release);
		cx__pool_give(pool, block, block_class);
	}
	return n;
}

static uint64_t remote(unsigned index, void *arg)
{
	(void)arg;
	return index == 0 ? take_and_pass() : give();
}

int main(void)
{
	pool = cx__pool_new();
	cx__pool_enter(pool);
	cx__pool_give(pool, cx__pool_take(pool, BLOCK_BYTES, &block_class), block_class);
	cx__pool_enter(NULL);
	bench_rate("pool", "local", local, NULL, 1);
	bench_rate("pool", "return, one thread", returned, NULL, 1);
	bench_rate("pool", "return, two threads", remote, NULL, 2);
	fprintf(stderr, "pool: %llu bytes at the end\n",
	        (unsigned long long)cx__pool_bytes(pool));
	cx__pool_delete(pool);
	return 0;
}
