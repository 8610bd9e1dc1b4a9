/* SPDX-License-Identifier: MIT */
#include "runtime/pool.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include <cx/buf.h>

#define BLOCKS 2000

Test(pool, blocks_do_not_overlap_and_hold_their_size, .timeout = 10)
{
	struct cx__pool *pool = cx__pool_new();
	uint8_t *blocks[BLOCKS];
	uint16_t cls[BLOCKS];

	cx__pool_enter(pool);
	for (size_t i = 0; i < BLOCKS; i++) {
		const size_t size = 1 + i * 37 % CX__POOL_MAX;

		blocks[i] = cx__pool_take(pool, size, &cls[i]);
		memset(blocks[i], (int)(i & 255), size);
	}
	for (size_t i = 0; i < BLOCKS; i++) {
		const size_t size = 1 + i * 37 % CX__POOL_MAX;

		for (size_t k = 0; k < size; k++)
			cr_assert_eq(blocks[i][k], i & 255);
		cx__pool_give(pool, blocks[i], cls[i]);
	}
	cx__pool_enter(NULL);
	cx__pool_delete(pool);
}

struct batch {
	struct cx__pool *owner;
	void *blocks[64];
	uint16_t cls;
};

static void *free_elsewhere(void *arg)
{
	struct batch *b = arg;

	for (int i = 0; i < 64; i++)
		cx__pool_give(b->owner, b->blocks[i], b->cls);
	return NULL;
}

Test(pool, blocks_freed_on_another_thread_come_home_so_memory_stays_flat, .timeout = 30)
{
	struct cx__pool *pool = cx__pool_new();
	uint64_t after_first = 0;

	cx__pool_enter(pool);
	for (int round = 0; round < 200; round++) {
		struct batch b = { .owner = pool };
		pthread_t other;

		for (int i = 0; i < 64; i++)
			b.blocks[i] = cx__pool_take(pool, 200, &b.cls);
		cr_assert_eq(pthread_create(&other, NULL, free_elsewhere, &b), 0);
		pthread_join(other, NULL);
		if (round == 0)
			after_first = cx__pool_bytes(pool);
	}
	cr_assert_eq(cx__pool_bytes(pool), after_first);
	cx__pool_enter(NULL);
	cx__pool_delete(pool);
}

Test(buf, the_last_reference_frees_on_any_thread, .timeout = 5)
{
	struct cx__pool *pool = cx__pool_new();
	struct cx_buf *buf;
	uint64_t bytes;

	cx__pool_enter(pool);
	buf = cx_buf_copy("sealed", 6);
	bytes = cx__pool_bytes(pool);
	cr_assert_eq(cx_buf_len(buf), 6);
	cx_buf_ref(buf);
	cx_buf_unref(buf);
	cr_assert_arr_eq(cx_buf_bytes(buf), "sealed", 6);
	cx_buf_trim(buf, 4);
	cr_assert_eq(cx_buf_len(buf), 4);
	cx__pool_enter(NULL); /* as on a thread that is not the runtime's */
	cx_buf_unref(buf);
	cx__pool_enter(pool);
	for (int i = 0; i < 1000; i++)
		cx_buf_unref(cx_buf_new(6));
	cr_assert_eq(cx__pool_bytes(pool), bytes);
	cx__pool_enter(NULL);
	cx__pool_delete(pool);
}
