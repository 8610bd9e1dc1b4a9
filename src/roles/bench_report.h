/* SPDX-License-Identifier: MIT */
/* What a run found, as a table for people or one JSON object. */
#ifndef CONSTRUCT_ROLES_BENCH_REPORT_H
#define CONSTRUCT_ROLES_BENCH_REPORT_H

#include <stdbool.h>

#include "roles/bench_run.h"

struct bench_report {
	const struct bench_run *run;
	const struct bench_stats *stats; /* of all threads */
	const struct bench_usage *usage;
	bool is_broken; /* a guarantee */
};

/* Prints to stdout. */
void bench_report_table(const struct bench_report *report);
void bench_report_json(const struct bench_report *report);

/* Whether a counter of a broken guarantee is not zero. */
bool bench_report_is_broken(const struct bench_stats *stats);

#endif
