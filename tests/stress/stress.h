/* SPDX-License-Identifier: MIT */
/* A plain harness: Criterion cannot run under ThreadSanitizer. */
#ifndef TESTS_STRESS_H
#define TESTS_STRESS_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/annotate.h"

/* Of what takes long: ThreadSanitizer needs twenty times as long, and sees in a quarter what it sees in all. */
#ifdef CX__TSAN
#define STRESS_ROUNDS(n) ((n) / 4)
#else
#define STRESS_ROUNDS(n) (n)
#endif

static unsigned stress_passed, stress_failed;

#define STRESS_CHECK(expr, ...)                                                  \
	do {                                                                     \
		if (expr) {                                                      \
			stress_passed++;                                         \
		} else {                                                         \
			stress_failed++;                                         \
			printf("FAILED %s:%d: %s: ", __FILE__, __LINE__, #expr); \
			printf(__VA_ARGS__);                                     \
			printf("\n");                                            \
		}                                                                \
	} while (0)

static inline void stress_sleep_ms(long ms)
{
	const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

static inline int stress_end(void)
{
	printf("%u passed, %u failed\n", stress_passed, stress_failed);
	return stress_failed == 0 ? 0 : 1;
}

#endif
