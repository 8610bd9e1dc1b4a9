/* SPDX-License-Identifier: MIT */
#include "roles/heap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#define MIB (1 << 20)

TestSuite(heap, .timeout = 60);

static bool is_due(struct heap_watch *w, uint64_t sockets, uint64_t frames, uint64_t now_ms)
{
	const struct heap_load load = { .sockets = sockets, .frames = frames };

	return heap_is_due(w, &load, now_ms);
}

Test(heap, gives_back_once_after_a_crowd_has_gone)
{
	struct heap_watch w = { .given_at_ms = 0 };

	cr_assert_not(is_due(&w, 3000, 9000, 100000), "they come");
	cr_assert_not(is_due(&w, 6000, 9000, 105000), "they go");
	cr_assert(is_due(&w, 6010, 9000, 110000));
	for (uint64_t at = 115000; at < 300000; at += HEAP_LOOK_MS)
		cr_assert_not(is_due(&w, 6010, 9000, at), "nothing was done since");
	cr_assert(is_due(&w, 6010, 9001, 305000), "frames need memory too");
}

Test(heap, rests_between_two_times)
{
	struct heap_watch w = { .given_at_ms = 0 };
	unsigned count = 0;

	for (uint64_t at = 100000; at < 400000; at += HEAP_LOOK_MS)
		count += is_due(&w, at / 1000, at, at);
	cr_assert_leq(count, 300000 / HEAP_REST_MS);
	cr_assert_geq(count, 300000 / HEAP_REST_MS - 1);
}

Test(heap, waits_while_clients_come_and_go)
{
	struct heap_watch w = { .given_at_ms = 0 };

	for (uint64_t at = 100000; at < 400000; at += HEAP_LOOK_MS)
		cr_assert_not(is_due(&w, at, 0, at));
}

static size_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long total, pages;

	cr_assert_not_null(f);
	cr_assert_eq(fscanf(f, "%lu %lu", &total, &pages), 2);
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* 200 MiB in blocks as of half frames, with a small one that lives on behind each: the end of the heap
 * stays in use, as it does in a server.  Returns the bytes that went back. */
static size_t fill_and_give_back(void)
{
	enum { BLOCKS = 3200, BYTES = 65536 };
	static void *big[BLOCKS], *small[BLOCKS];
	struct timespec from, to;
	size_t before;

	heap_tune();
	for (int i = 0; i < BLOCKS; i++) {
		big[i] = malloc(BYTES);
		memset(big[i], i, BYTES);
		small[i] = malloc(100);
	}
	for (int i = 0; i < BLOCKS; i++)
		free(big[i]);
	before = resident_bytes();
	clock_gettime(CLOCK_MONOTONIC, &from);
	heap_give_back();
	clock_gettime(CLOCK_MONOTONIC, &to);
	fprintf(stderr, "%zu MiB before, %zu MiB after, %.1f ms\n", before / MIB,
	        resident_bytes() / MIB,
	        (double)(to.tv_sec - from.tv_sec) * 1e3 +
	                (double)(to.tv_nsec - from.tv_nsec) / 1e6);
	for (int i = 0; i < BLOCKS; i++)
		free(small[i]);
	return before - resident_bytes();
}

#ifdef __SANITIZE_ADDRESS__
#define HEAP_IS_GLIBC \
	0 /* the sanitizer has an allocator of its own; the release build tests it */
#else
#define HEAP_IS_GLIBC 1
#endif

Test(heap, the_system_gets_what_lies_free)
{
	const size_t got = fill_and_give_back();

	if (!HEAP_IS_GLIBC)
		fprintf(stderr, "not tested with this allocator\n");
	else
		cr_assert_gt(got, 150 * (size_t)MIB);
}
