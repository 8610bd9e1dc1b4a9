/* SPDX-License-Identifier: MIT */
/* One run of the relay: faults for a while, quiet until all has settled, one last message. */
#ifndef TESTS_SIM_RUN_H
#define TESTS_SIM_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "sim/faults.h"

/* How a run is looked at and what it leaves out; zeroed: neither. */
struct run_watch {
	const struct fault_set *only; /* the faults that happen; NULL: all */
	FILE *list;                   /* a line for each fault */
	FILE *trace;                  /* one for each step and fault */
};

/* Ends at the step that breaks a promise.  Returns whether every one was kept; world.broken has the
 * first that was not. */
bool run_seed(uint64_t seed, const struct run_watch *watch);

/* For the self-test: what is wrong with one seed's run, at its 1000th step (PLANT_JUDGE: when three
 * connections were cut). */
enum plant { PLANT_NOTHING, PLANT_ABORT, PLANT_FAULT, PLANT_HANG, PLANT_JUDGE };
void run_plant(enum plant what, uint64_t seed);

#endif
