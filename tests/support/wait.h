/* SPDX-License-Identifier: MIT */
/* Waiting in a test.  None ends by time: what does not come is its timeout's. */
#ifndef TESTS_SUPPORT_WAIT_H
#define TESTS_SUPPORT_WAIT_H

#include <stdatomic.h>
#include <time.h>

static inline void sleep_ms(long ms)
{
	const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

static inline void wait_for(const _Atomic int *count, int at_least)
{
	while (atomic_load(count) < at_least)
		sleep_ms(1);
}

#endif
