/* SPDX-License-Identifier: MIT */
#include "io/sqlite_stats.h"

#include <time.h>

#include "io/sqlite.h"

static uint64_t counters[SQLITE_COUNTERS];
static bool healthy = true, broken;

static uint64_t value_of(enum sqlite_counter counter)
{
	return __atomic_load_n(&counters[counter], __ATOMIC_RELAXED);
}

void sqlite_gauge(enum sqlite_counter counter, uint64_t value)
{
	__atomic_store_n(&counters[counter], value, __ATOMIC_RELAXED);
}

void sqlite_count(enum sqlite_counter counter, uint64_t n)
{
	__atomic_fetch_add(&counters[counter], n, __ATOMIC_RELAXED);
}

void sqlite_count_commit(uint64_t ns)
{
	sqlite_count(SQLITE_COUNT_COMMITS, 1);
	sqlite_count(SQLITE_COUNT_COMMIT_NS, ns);
	if (ns > value_of(SQLITE_GAUGE_COMMIT_NS_MAX))
		sqlite_gauge(SQLITE_GAUGE_COMMIT_NS_MAX, ns);
}

uint64_t sqlite_clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

void sqlite_set_health(bool ok)
{
	__atomic_store_n(&healthy, ok, __ATOMIC_RELAXED);
}

void sqlite_set_broken(void)
{
	__atomic_store_n(&broken, true, __ATOMIC_RELAXED);
}

bool sqlite_is_healthy(void)
{
	return __atomic_load_n(&healthy, __ATOMIC_RELAXED) &&
	       !__atomic_load_n(&broken, __ATOMIC_RELAXED);
}

void sqlite_stats_reset(void)
{
	unsigned i;

	for (i = 0; i < SQLITE_COUNTERS; i++)
		sqlite_gauge((enum sqlite_counter)i, 0);
	sqlite_set_health(true);
	__atomic_store_n(&broken, false, __ATOMIC_RELAXED);
}

void sqlite_figures(struct sqlite_figures *out)
{
	out->commits = value_of(SQLITE_COUNT_COMMITS);
	out->records = value_of(SQLITE_COUNT_RECORDS);
	out->duplicates = value_of(SQLITE_COUNT_DUPLICATES);
	out->failures = value_of(SQLITE_COUNT_FAILURES);
	out->spilled = value_of(SQLITE_COUNT_SPILLED);
	out->segments = value_of(SQLITE_GAUGE_SEGMENTS);
	out->remembered_ids = value_of(SQLITE_GAUGE_REMEMBERED);
	out->wal_bytes = value_of(SQLITE_GAUGE_WAL_BYTES);
	out->receipts_dropped = value_of(SQLITE_COUNT_RECEIPTS_DROPPED);
	out->checkpoints = value_of(SQLITE_COUNT_CHECKPOINTS);
	out->commit_ns_sum = value_of(SQLITE_COUNT_COMMIT_NS);
	out->commit_ns_max = value_of(SQLITE_GAUGE_COMMIT_NS_MAX);
}
