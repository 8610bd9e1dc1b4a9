/* SPDX-License-Identifier: MIT */
/* Counters behind sqlite_figures: written by the writer's thread, read by anybody. */
#ifndef IO_SQLITE_STATS_H
#define IO_SQLITE_STATS_H

#include <stdbool.h>
#include <stdint.h>

enum sqlite_counter {
	SQLITE_COUNT_COMMITS,
	SQLITE_COUNT_RECORDS,
	SQLITE_COUNT_DUPLICATES,
	SQLITE_COUNT_FAILURES,
	SQLITE_COUNT_SPILLED,
	SQLITE_COUNT_CHECKPOINTS,
	SQLITE_COUNT_RECEIPTS_DROPPED,
	SQLITE_COUNT_COMMIT_NS,
	SQLITE_GAUGE_SEGMENTS,
	SQLITE_GAUGE_REMEMBERED,
	SQLITE_GAUGE_WAL_BYTES,
	SQLITE_GAUGE_COMMIT_NS_MAX,
	SQLITE_COUNTERS
};

void sqlite_count(enum sqlite_counter counter, uint64_t n);
void sqlite_gauge(enum sqlite_counter counter, uint64_t value);
void sqlite_count_commit(uint64_t ns);
uint64_t sqlite_clock_ns(void);

/* Whether the last commit went well; the reader answers pings by it. */
void sqlite_set_health(bool ok);
/* Not healthy any more, whatever commits say, until the next start. */
void sqlite_set_broken(void);
bool sqlite_is_healthy(void);
void sqlite_stats_reset(void);

#endif
