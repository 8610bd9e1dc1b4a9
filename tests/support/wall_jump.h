/* SPDX-License-Identifier: MIT */
/* The wall clock of the whole test process, set by wall_jump_ms; the monotonic one is left alone.
 * While it is not 0 a wait with a deadline by the wall clock ends with what it waits for, only. */
#ifndef TESTS_SUPPORT_WALL_JUMP_H
#define TESTS_SUPPORT_WALL_JUMP_H

#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t wall_jump_ms;

/* In the place of the library's. */
int clock_gettime(clockid_t id, struct timespec *out)
{
	const int failed = (int)syscall(SYS_clock_gettime, id, out);

	if (failed == 0 && id == CLOCK_REALTIME)
		out->tv_sec += (time_t)(wall_jump_ms / 1000);
	return failed;
}

#endif
