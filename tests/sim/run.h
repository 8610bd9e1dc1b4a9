/* SPDX-License-Identifier: MIT */
/* One run of the relay: faults for a while, quiet until all has settled, one last message. */
#ifndef TESTS_SIM_RUN_H
#define TESTS_SIM_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* trace: one line a step, or NULL.  Returns whether every promise was kept; world.broken has the first
 * that was not. */
bool run_seed(uint64_t seed, FILE *trace);

#endif
