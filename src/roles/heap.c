/* SPDX-License-Identifier: MIT */
#include "roles/heap.h"

#include <malloc.h>

#define KEEP_BYTES (16 << 20)

#ifdef M_ARENA_MAX

/* Hashing a password maps 32 MiB and holds the address space's lock for the 10 ms that it takes to fill
 * them.  A heap that grows meanwhile waits for the lock, and whoever grows it: writer and workers.  So
 * there is one heap, which grows 16 MiB at a time; the way of a message takes its memory from pools. */
void heap_tune(void)
{
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_TOP_PAD, KEEP_BYTES);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
}

void heap_give_back(void)
{
	if (mallinfo2().fordblks >= HEAP_FREE_MIN)
		malloc_trim(KEEP_BYTES);
}

#else /* another C library: it gives back by itself or not at all */

void heap_tune(void)
{
}

void heap_give_back(void)
{
}

#endif

bool heap_is_due(struct heap_watch *w, const struct heap_load *load, uint64_t now_ms)
{
	const bool is_quiet = load->sockets - w->seen.sockets < HEAP_QUIET_SOCKETS;
	const bool has_worked =
		load->sockets != w->given.sockets || load->frames != w->given.frames;

	w->seen = *load;
	if (!is_quiet || !has_worked || now_ms - w->given_at_ms < HEAP_REST_MS)
		return false;
	w->given = *load;
	w->given_at_ms = now_ms;
	return true;
}
