/* SPDX-License-Identifier: MIT */
/* One owner and several thieves on a ring that runs full and empty: every item is taken exactly once,
 * each taker sees them oldest first, and what an item holds comes with it. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "runtime/deque.h"
#include "stress.h"

#define THIEVES_MAX 3
#define BURST_MAX (2 * CX__DEQUE_SIZE)

struct item {
	uint64_t number; /* written by the owner before the push: plain, so TSan watches it */
	_Atomic uint32_t taken;
};

struct taker {
	uint64_t next, count, disorder, torn;
};

static struct cx__deque deque;
static struct item *items;
static _Atomic bool is_over;
static _Atomic bool is_held; /* thieves wait: quick ones would never let the ring fill */
static _Atomic unsigned thieves_here;

static void note(struct taker *t, const struct item *item)
{
	const uint64_t number = (uint64_t)(item - items);

	if (item->number != number + 1)
		t->torn++;
	if (number < t->next)
		t->disorder++;
	t->next = number + 1;
	t->count++;
	atomic_fetch_add_explicit(&items[number].taken, 1, memory_order_relaxed);
}

static void *thief_main(void *arg)
{
	struct taker *t = arg;

	atomic_fetch_add(&thieves_here, 1);
	for (;;) {
		const bool was_over = atomic_load(&is_over);
		const struct item *item = atomic_load(&is_held) ? NULL : cx__deque_take(&deque);

		if (item != NULL)
			note(t, item);
		else if (was_over && cx__deque_is_empty(&deque))
			return NULL;
		else
			sched_yield();
	}
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Bursts of pushes, then some takes of its own.  In one of 16 bursts thieves wait until the ring is full, and
 * go on while it is.  Returns how often it found it so. */
static uint64_t own(uint64_t count, struct taker *t, struct taker *kept)
{
	uint32_t seed = 12345;
	uint64_t pushed = 0, full = 0, bursts = 0;

	while (pushed < count) {
		const bool fills = bursts++ % 16 == 0;
		const uint32_t burst = fills ? BURST_MAX : next_random(&seed) % BURST_MAX;
		const uint32_t takes = next_random(&seed) % (burst + 1);

		atomic_store(&is_held, fills);
		for (uint32_t i = 0; i < burst && pushed < count; i++) {
			struct item *item = &items[pushed++];

			item->number = pushed;
			if (cx__deque_push(&deque, item))
				continue;
			full++;
			atomic_store(&is_held, false);
			note(kept, item); /* as cx__push_any: run from the private list */
		}
		atomic_store(&is_held, false); /* the last burst may be too short */
		for (uint32_t i = 0; i < takes; i++) {
			const struct item *item = cx__deque_take(&deque);

			if (item != NULL)
				note(t, item);
		}
	}
	return full;
}

static void run(unsigned thieves, uint64_t count)
{
	struct taker takers[THIEVES_MAX + 2] = { 0 };
	pthread_t threads[THIEVES_MAX];
	uint64_t full, taken = 0, stolen = 0, disorder = 0, torn = 0, wrong = 0;

	items = calloc(count, sizeof(*items));
	if (items == NULL)
		abort();
	atomic_store(&is_over, false);
	atomic_store(&thieves_here, 0);
	for (unsigned i = 0; i < thieves; i++)
		if (pthread_create(&threads[i], NULL, thief_main, &takers[i]) != 0)
			abort();
	while (atomic_load(&thieves_here) <
	       thieves) /* else the owner may be done before they begin */
		sched_yield();
	full = own(count, &takers[THIEVES_MAX], &takers[THIEVES_MAX + 1]);
	atomic_store(&is_over, true);
	for (unsigned i = 0; i < thieves; i++)
		pthread_join(threads[i], NULL);
	for (struct taker *t = takers; t < takers + THIEVES_MAX + 2; t++) {
		taken += t->count;
		stolen += t < takers + THIEVES_MAX ? t->count : 0;
		disorder += t->disorder;
		torn += t->torn;
	}
	for (uint64_t i = 0; i < count; i++)
		wrong += atomic_load(&items[i].taken) != 1;
	printf("thieves %u: %llu items, %llu by the owner, %llu found it full\n", thieves,
	       (unsigned long long)count, (unsigned long long)takers[THIEVES_MAX].count,
	       (unsigned long long)full);
	STRESS_CHECK(taken == count, "%llu of %llu", (unsigned long long)taken,
	             (unsigned long long)count);
	STRESS_CHECK(wrong == 0, "%llu not taken exactly once", (unsigned long long)wrong);
	STRESS_CHECK(disorder == 0, "%llu after a newer one", (unsigned long long)disorder);
	STRESS_CHECK(torn == 0, "%llu came before what they hold", (unsigned long long)torn);
	STRESS_CHECK(full > 0 && full < count, "the ring never filled: nothing shown");
	STRESS_CHECK(stolen > 0, "nothing was stolen: nothing shown");
	free(items);
}

int main(int argc, char **argv)
{
	const uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 300000;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned thieves = 1; thieves <= THIEVES_MAX; thieves++)
		run(thieves, count);
	return stress_end();
}
