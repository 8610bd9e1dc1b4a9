/* SPDX-License-Identifier: MIT */
/* The C library's heap as a server uses it: tuned at the start, and what a crowd left behind goes back to
 * the system when the crowd is gone.  libcx's pools (slabs of 64 KiB, free blocks of many ages in
 * each) and the table of connections stay at their highest: 10,000 clients leave a few MiB. */
#ifndef CONSTRUCT_ROLES_HEAP_H
#define CONSTRUCT_ROLES_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP_LOOK_MS 5000     /* how often heap_is_due is to be asked */
#define HEAP_REST_MS 30000    /* between two times of giving back */
#define HEAP_QUIET_SOCKETS 50 /* accepted and closed between two looks: less is quiet */
#define HEAP_FREE_MIN (UINT32_C(32) << 20) /* bytes; less is kept */

/* Counters that only grow. */
struct heap_load {
	uint64_t sockets; /* accepted and closed */
	uint64_t frames;  /* received */
};

/* Zeroed at the start. */
struct heap_watch {
	struct heap_load seen;  /* at the last look */
	struct heap_load given; /* when memory was given back last */
	uint64_t given_at_ms;
};

/* Before any thread is started. */
void heap_tune(void);

/* Is now the time to give back?  Yes when something was done since the last time, 30 s ago or more, and
 * hardly any client comes or goes: what needs memory waits while heap_give_back works. */
bool heap_is_due(struct heap_watch *w, const struct heap_load *load, uint64_t now_ms);

/* If 32 MiB or more lie free in the heap, the system gets them, but 16 MiB.  Thread: any but a worker.
 * Blocks: some milliseconds for 100 MiB, and with it everybody who allocates outside of the pools. */
void heap_give_back(void);

#endif
