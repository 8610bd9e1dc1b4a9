/* SPDX-License-Identifier: MIT */
/* A failing seed's report: the faults without which it does not fail, and the end of its trace. */
#ifndef TESTS_SIM_MINIMISE_H
#define TESTS_SIM_MINIMISE_H

#include <stdint.h>

/* After run_seed said false: runs the seed again, up to 200 times, and prints what it found.  The same
 * lines each time, for it counts runs and steps, not seconds. */
void minimise(uint64_t seed);

#endif
