/* SPDX-License-Identifier: MIT */
#include "roles/histogram.h"

#include <stdlib.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define VALUES 50000

TestSuite(histogram, .timeout = 20);

static struct histogram hist;
static uint64_t values[VALUES];
static uint64_t state = UINT64_C(0x9E3779B97F4A7C15);

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a;
	const uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The exact quantile of the sorted values by the same definition (nearest rank). */
static uint64_t exact_quantile(size_t n, double quantile)
{
	const double want = quantile * (double)n;
	size_t rank = (size_t)want;

	if ((double)rank < want || rank == 0)
		rank++;
	return values[rank - 1];
}

static void check_against_exact(size_t n)
{
	static const double quantiles[] = { 0.0, 0.001, 0.1,   0.5,    0.75,
		                            0.9, 0.99,  0.999, 0.9999, 1.0 };

	histogram_reset(&hist);
	for (size_t i = 0; i < n; i++)
		histogram_record(&hist, values[i]);
	qsort(values, n, sizeof(values[0]), by_value);
	for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
		const uint64_t exact = exact_quantile(n, quantiles[i]);
		const uint64_t got = histogram_quantile_ns(&hist, quantiles[i]);

		cr_assert(got >= exact, "p%g of %zu: %lu under the exact %lu",
		          100 * quantiles[i], n, got, exact);
		cr_assert(got <= exact + exact / 1000, "p%g of %zu: %lu, exact %lu",
		          100 * quantiles[i], n, got, exact);
	}
	cr_assert(eq(u64, hist.count, n));
	cr_assert(eq(u64, hist.min_ns, values[0]));
	cr_assert(eq(u64, hist.max_ns, values[n - 1]));
	cr_assert(eq(u64, histogram_quantile_ns(&hist, 1.0), values[n - 1]));
}

Test(histogram, an_empty_one_answers_zero)
{
	histogram_reset(&hist);
	cr_assert(eq(u64, histogram_quantile_ns(&hist, 0.5), 0));
	cr_assert(eq(u64, histogram_mean_ns(&hist), 0));
}

Test(histogram, small_values_are_exact)
{
	histogram_reset(&hist);
	for (uint64_t v = 1; v <= 1000; v++)
		histogram_record(&hist, v);
	cr_assert(eq(u64, histogram_quantile_ns(&hist, 0.5), 500));
	cr_assert(eq(u64, histogram_quantile_ns(&hist, 0.99), 990));
	cr_assert(eq(u64, histogram_quantile_ns(&hist, 0.999), 999));
	cr_assert(eq(u64, histogram_mean_ns(&hist), 500));
}

Test(histogram, agrees_with_exact_percentiles_of_uniform_values)
{
	for (size_t i = 0; i < VALUES; i++)
		values[i] = next_random() % UINT64_C(20000000);
	check_against_exact(VALUES);
}

Test(histogram, agrees_with_exact_percentiles_over_all_magnitudes)
{
	for (size_t i = 0; i < VALUES; i++)
		values[i] = (next_random() >> 22) >> (next_random() % 42);
	check_against_exact(VALUES);
}

Test(histogram, agrees_with_exact_percentiles_of_few_values)
{
	for (size_t n = 1; n < 40; n++) {
		for (size_t i = 0; i < n; i++)
			values[i] = next_random() % UINT64_C(1000000000);
		check_against_exact(n);
	}
}

Test(histogram, each_bucket_edge_is_its_own)
{
	for (uint32_t bit = 0; bit < HISTOGRAM_MAX_BITS; bit++) {
		values[0] = UINT64_C(1) << bit;
		check_against_exact(1);
		values[0] = (UINT64_C(1) << bit) - 1;
		check_against_exact(1);
	}
}

Test(histogram, values_past_the_range_count_as_the_largest)
{
	histogram_reset(&hist);
	histogram_record(&hist, UINT64_MAX);
	histogram_record(&hist, UINT64_C(1) << HISTOGRAM_MAX_BITS);
	cr_assert(eq(u64, hist.count, 2));
	cr_assert(eq(u64, histogram_quantile_ns(&hist, 0.5),
	             (UINT64_C(1) << HISTOGRAM_MAX_BITS) - 1));
}

Test(histogram, adding_two_equals_recording_all_in_one)
{
	static struct histogram parts[2];
	static struct histogram whole;

	histogram_reset(&parts[0]);
	histogram_reset(&parts[1]);
	histogram_reset(&whole);
	for (size_t i = 0; i < VALUES; i++) {
		const uint64_t v = next_random() >> (next_random() % 60);

		histogram_record(&parts[i % 3 == 0], v);
		histogram_record(&whole, v);
	}
	histogram_add(&parts[0], &parts[1]);
	cr_assert(eq(u64, parts[0].count, whole.count));
	cr_assert(eq(u64, parts[0].sum_ns, whole.sum_ns));
	cr_assert(eq(u64, parts[0].min_ns, whole.min_ns));
	cr_assert(eq(u64, parts[0].max_ns, whole.max_ns));
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		cr_assert(eq(u64, parts[0].buckets[i], whole.buckets[i]));
}
