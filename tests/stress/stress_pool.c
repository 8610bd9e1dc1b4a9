/* SPDX-License-Identifier: MIT */
/* Blocks that travel between threads and are freed far from home: none is lost, none is handed out
 * while somebody has it, and memory stays at what was in use at once. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "runtime/pool.h"
#include "runtime/stack.h"
#include "stress.h"

#define THREADS 3
#define OUT_MAX 600 /* blocks of one owner in use at once */
#define BLOCK_BYTES 200
#define SLAB_BYTES 65536

struct block { /* what a user writes over a block */
	ck_stack_entry_t link;
	uint32_t owner, class_index, hops;
	uint64_t stamp;
	uint64_t echo; /* ~stamp, at the far end of the smallest class */
};

struct home {
	_Alignas(64) struct cx__pool *pool;
	ck_stack_t inbox; /* blocks that others passed on */
	_Atomic uint32_t out;
	uint64_t taken, given, torn, again;
	uint32_t seed;
	pthread_t thread;
};

static struct home homes[THREADS];
static uint64_t per_thread;
static _Atomic uint32_t senders;

static uint32_t next_random(struct home *h)
{
	h->seed = h->seed * 1664525 + 1013904223;
	return h->seed >> 8;
}

static void pass_on(struct home *h, struct block *b)
{
	cx__stack_push(&homes[next_random(h) % THREADS].inbox, &b->link);
}

static void send_one(struct home *h)
{
	const uint32_t owner = (uint32_t)(h - homes);
	uint16_t cls;
	struct block *b = cx__pool_take(h->pool, BLOCK_BYTES, &cls);

	b->owner = owner;
	b->class_index = cls;
	b->hops = next_random(h) % 3;
	b->stamp = (uint64_t)owner << 56 | ++h->taken;
	b->echo = ~b->stamp;
	atomic_fetch_add(&h->out, 1);
	pass_on(h, b);
}

static void receive(struct home *h)
{
	ck_stack_entry_t *entry = cx__stack_take_all(&h->inbox);

	while (entry != NULL) {
		struct block *b = (struct block *)(void *)entry;
		struct home *owner = &homes[b->owner];

		entry = entry->next;
		if (b->echo != ~b->stamp || b->stamp >> 56 != b->owner)
			h->torn++;
		if (b->hops > 0) {
			b->hops--;
			pass_on(h, b);
			continue;
		}
		b->stamp = 0; /* whoever else has it will see */
		h->given++;
		cx__pool_give(owner->pool, b, (uint16_t)b->class_index);
		atomic_fetch_sub(&owner->out, 1);
	}
}

static bool all_home(void)
{
	for (unsigned i = 0; i < THREADS; i++)
		if (atomic_load(&homes[i].out) != 0)
			return false;
	return atomic_load(&senders) == 0;
}

static int compare(const void *a, const void *b)
{
	const uintptr_t x = (uintptr_t) * (void *const *)a, y = (uintptr_t) * (void *const *)b;

	return (x > y) - (x < y);
}

/* All blocks that the pool's memory holds can be taken, once each, before it asks for more. */
static void recount(struct home *h)
{
	const uint64_t bytes = cx__pool_bytes(h->pool);
	const uint64_t count = bytes / SLAB_BYTES * ((SLAB_BYTES - 64) / 256);
	void **all = calloc(count, sizeof(*all));
	uint16_t cls = 0;

	if (all == NULL)
		abort();
	for (uint64_t i = 0; i < count; i++)
		all[i] = cx__pool_take(h->pool, BLOCK_BYTES, &cls);
	h->again += cx__pool_bytes(h->pool) != bytes; /* some are lost: it grew */
	qsort(all, count, sizeof(*all), compare);
	for (uint64_t i = 1; i < count; i++)
		h->again += all[i] == all[i - 1];
	for (uint64_t i = 0; i < count; i++)
		cx__pool_give(h->pool, all[i], cls);
	free(all);
}

static void *home_main(void *arg)
{
	struct home *h = arg;

	cx__pool_enter(h->pool);
	while (h->taken < per_thread) {
		for (uint32_t burst = next_random(h) % 64; burst > 0; burst--)
			if (h->taken < per_thread && atomic_load(&h->out) < OUT_MAX)
				send_one(h);
		receive(h);
		if (atomic_load(&h->out) == OUT_MAX)
			sched_yield();
	}
	atomic_fetch_sub(&senders, 1);
	while (!all_home()) {
		receive(h);
		sched_yield();
	}
	recount(h);
	cx__pool_enter(NULL);
	return NULL;
}

static void run(uint64_t blocks)
{
	/* a slab more where the last one is not full */
	const uint64_t most = (OUT_MAX / ((SLAB_BYTES - 64) / 256) + 1) * SLAB_BYTES;
	uint64_t taken = 0, given = 0, torn = 0, again = 0, bytes = 0;

	per_thread = blocks;
	atomic_store(&senders, THREADS);
	for (uint32_t i = 0; i < THREADS; i++) {
		homes[i] = (struct home){ .pool = cx__pool_new(), .seed = i + 1 };
		ck_stack_init(&homes[i].inbox);
	}
	for (unsigned i = 0; i < THREADS; i++)
		if (pthread_create(&homes[i].thread, NULL, home_main, &homes[i]) != 0)
			abort();
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(homes[i].thread, NULL);
	for (unsigned i = 0; i < THREADS; i++) {
		taken += homes[i].taken;
		given += homes[i].given;
		torn += homes[i].torn;
		again += homes[i].again;
		if (cx__pool_bytes(homes[i].pool) > bytes)
			bytes = cx__pool_bytes(homes[i].pool);
		cx__pool_delete(homes[i].pool);
	}
	printf("%llu blocks through %u threads, %llu bytes in the largest pool\n",
	       (unsigned long long)taken, THREADS, (unsigned long long)bytes);
	STRESS_CHECK(taken == blocks * THREADS && given == taken, "taken %llu, given %llu",
	             (unsigned long long)taken, (unsigned long long)given);
	STRESS_CHECK(torn == 0, "%llu were somebody else's too", (unsigned long long)torn);
	STRESS_CHECK(again == 0, "%llu lost or twice in a pool", (unsigned long long)again);
	STRESS_CHECK(bytes <= most, "%llu bytes, %llu would do", (unsigned long long)bytes,
	             (unsigned long long)most);
}

int main(int argc, char **argv)
{
	const uint64_t blocks = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
	const time_t until = time(NULL) + 2; /* without a sanitizer a round takes 30 ms */

	setvbuf(stdout, NULL, _IOLBF, 0);
	alarm(60); /* a broken list can be a ring */
	for (int round = 0; round < 3 || time(NULL) < until; round++)
		run(blocks);
	return stress_end();
}
