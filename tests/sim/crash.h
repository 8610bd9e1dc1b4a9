/* SPDX-License-Identifier: MIT */
/* A run that ends the process (an assert, a signal, a sanitizer's report) or does not end says which seed
 * it was: `FAIL seed N: ...` on standard output, as a judged failure does. */
#ifndef TESTS_SIM_CRASH_H
#define TESTS_SIM_CRASH_H

#include <stdint.h>

/* Once, before the first run. */
void crash_setup(void);
/* This seed runs from now on, for at most so many seconds. */
void crash_begin(uint64_t seed, unsigned seconds);
/* The faults that it needs are searched for: it is told already, and so is told no more. */
void crash_begin_search(uint64_t seed, unsigned seconds);
/* No seed runs. */
void crash_end(void);

#endif
