/* SPDX-License-Identifier: MIT */
/* Latency histogram: log-linear buckets (as HDR histograms have), three significant digits.
 *
 * A value below 2048 ns has a bucket of its own; above, each power of two is cut into 1024
 * buckets, so a quantile is at most 1/1024 above the value that was recorded. */
#ifndef CONSTRUCT_ROLES_HISTOGRAM_H
#define CONSTRUCT_ROLES_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 11 /* 2048 linear buckets, 1024 for each further power of two */
#define HISTOGRAM_MAX_BITS 42 /* 2^42 ns is 73 minutes; longer values count as that */
#define HISTOGRAM_BUCKETS \
	((HISTOGRAM_MAX_BITS - HISTOGRAM_SUB_BITS + 2) * (1 << (HISTOGRAM_SUB_BITS - 1)))

struct histogram {
	uint64_t count;
	uint64_t sum_ns;
	uint64_t min_ns; /* of nothing: UINT64_MAX */
	uint64_t max_ns;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* Makes the histogram empty.  Thread: the owner's; none of these functions locks. */
void histogram_reset(struct histogram *h);

/* Counts one value. */
void histogram_record(struct histogram *h, uint64_t value_ns);

/* Adds all of from to h. */
void histogram_add(struct histogram *h, const struct histogram *from);

/* The smallest recorded value v with at least quantile (0..1) of all values <= v, rounded up
 * to its bucket's end and never above the maximum.  Returns 0 for an empty histogram. */
uint64_t histogram_quantile_ns(const struct histogram *h, double quantile);

/* Arithmetic mean, 0 for an empty histogram. */
uint64_t histogram_mean_ns(const struct histogram *h);

#endif
