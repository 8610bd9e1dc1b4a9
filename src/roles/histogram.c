/* SPDX-License-Identifier: MIT */
#include "roles/histogram.h"

#include <string.h>

#define SUB_COUNT (1U << HISTOGRAM_SUB_BITS)
#define SUB_HALF (SUB_COUNT / 2)
#define VALUE_MAX ((UINT64_C(1) << HISTOGRAM_MAX_BITS) - 1)

_Static_assert(sizeof(((struct histogram *)0)->buckets) == 8 * HISTOGRAM_BUCKETS,
               "one counter a bucket");

/* Bucket of a value: shift it down until it fits the linear part; the shift says which
 * group of SUB_HALF buckets, the rest says which one (its top bit is always set when
 * shift > 0, so the groups join without a gap). */
static uint32_t bucket_of(uint64_t value_ns)
{
	const uint32_t bits = 64 - (uint32_t)__builtin_clzll(value_ns | 1);
	const uint32_t shift = bits > HISTOGRAM_SUB_BITS ? bits - HISTOGRAM_SUB_BITS : 0;

	return shift * SUB_HALF + (uint32_t)(value_ns >> shift);
}

/* The largest value that falls into the bucket. */
static uint64_t bucket_end(uint32_t bucket)
{
	uint32_t shift;

	if (bucket < SUB_COUNT)
		return bucket;
	shift = bucket / SUB_HALF - 1;
	return ((uint64_t)(bucket - shift * SUB_HALF + 1) << shift) - 1;
}

void histogram_reset(struct histogram *h)
{
	memset(h, 0, sizeof(*h));
	h->min_ns = UINT64_MAX;
}

void histogram_record(struct histogram *h, uint64_t value_ns)
{
	const uint64_t v = value_ns > VALUE_MAX ? VALUE_MAX : value_ns;

	h->buckets[bucket_of(v)]++;
	h->count++;
	h->sum_ns += v;
	if (v < h->min_ns)
		h->min_ns = v;
	if (v > h->max_ns)
		h->max_ns = v;
}

void histogram_add(struct histogram *h, const struct histogram *from)
{
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		h->buckets[i] += from->buckets[i];
	h->count += from->count;
	h->sum_ns += from->sum_ns;
	if (from->min_ns < h->min_ns)
		h->min_ns = from->min_ns;
	if (from->max_ns > h->max_ns)
		h->max_ns = from->max_ns;
}

uint64_t histogram_quantile_ns(const struct histogram *h, double quantile)
{
	const double want = quantile * (double)h->count;
	uint64_t rank = (uint64_t)want;
	uint64_t seen = 0;

	if (h->count == 0)
		return 0;
	if ((double)rank < want || rank == 0)
		rank++;
	if (rank > h->count)
		rank = h->count;
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen >= rank) {
			const uint64_t end = bucket_end(i);

			return end < h->max_ns ? end : h->max_ns;
		}
	}
	return h->max_ns;
}

uint64_t histogram_mean_ns(const struct histogram *h)
{
	return h->count == 0 ? 0 : h->sum_ns / h->count;
}
