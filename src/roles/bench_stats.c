/* SPDX-License-Identifier: MIT */
#include "roles/bench_stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roles/bench_memory.h"

struct text {
	const char *name;
	const char *help;
	bool is_breach;
};

static const struct text count_texts[] = {
#define XX(name, text, is_breach, help) { text, help, is_breach },
	BENCH_COUNT_MAP(XX)
#undef XX
};

static const struct text series_texts[] = {
#define XX(name, text, help) { text, help, false },
	BENCH_SERIES_MAP(XX)
#undef XX
};

void bench_stats_init(struct bench_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	stats->slot_count = 64;
	stats->slots = bench_alloc(stats->slot_count, sizeof(*stats->slots));
}

void bench_stats_free(struct bench_stats *stats)
{
	for (uint32_t p = 0; p < BENCH_PHASES; p++)
		for (uint32_t s = 0; s < BENCH_SERIES_COUNT; s++)
			free(stats->series[p][s]);
	free(stats->slots);
}

static struct histogram *histogram_at(struct bench_stats *stats, uint32_t phase,
                                      uint32_t series)
{
	struct histogram **at = &stats->series[phase][series];

	if (!*at) {
		*at = bench_alloc(1, sizeof(**at));
		histogram_reset(*at);
	}
	return *at;
}

void bench_stats_record(struct bench_stats *stats, uint32_t phase, enum bench_series series,
                        uint64_t value_ns)
{
	histogram_record(histogram_at(stats, phase, series), value_ns);
}

static void count_error(struct bench_stats *stats, struct bench_slice code,
                        struct bench_slice text, uint64_t n)
{
	struct bench_error *e = stats->errors;

	for (uint32_t i = 0; i < stats->error_kinds; i++, e++)
		if (bench_slice_is(code, e->code)) {
			e->count += n;
			return;
		}
	if (stats->error_kinds == BENCH_ERROR_KINDS) {
		e[-1].count += n; /* the last kind stands for the rest too */
		return;
	}
	stats->error_kinds++;
	e->count = n;
	snprintf(e->code, sizeof(e->code), "%.*s", (int)(code.len < 63 ? code.len : 63),
	         code.at);
	snprintf(e->text, sizeof(e->text), "%.*s", (int)(text.len < 95 ? text.len : 95),
	         text.at);
}

void bench_stats_error(struct bench_stats *stats, struct bench_slice code,
                       struct bench_slice text)
{
	count_error(stats, code, text, 1);
}

static void make_slots(struct bench_stats *stats, uint32_t count)
{
	if (count <= stats->slot_count)
		return;
	stats->slots = bench_realloc(stats->slots, count * sizeof(*stats->slots));
	memset(stats->slots + stats->slot_count, 0,
	       (count - stats->slot_count) * sizeof(*stats->slots));
	stats->slot_count = count;
}

void bench_stats_slot(struct bench_stats *stats, uint64_t second)
{
	if (second >= BENCH_SLOTS_MAX)
		return;
	if (second >= stats->slot_count)
		make_slots(stats, (uint32_t)second + stats->slot_count);
	stats->slots[second]++;
}

void bench_stats_add(struct bench_stats *stats, const struct bench_stats *from)
{
	for (uint32_t c = 0; c < BENCH_COUNT_COUNT; c++)
		stats->counts[c] += from->counts[c];
	for (uint32_t p = 0; p < BENCH_PHASES; p++)
		for (uint32_t s = 0; s < BENCH_SERIES_COUNT; s++)
			if (from->series[p][s])
				histogram_add(histogram_at(stats, p, s), from->series[p][s]);
	for (uint32_t i = 0; i < from->error_kinds; i++) {
		const struct bench_error *e = &from->errors[i];
		const struct bench_slice code = { e->code, strlen(e->code) };
		const struct bench_slice text = { e->text, strlen(e->text) };

		count_error(stats, code, text, e->count);
	}
	make_slots(stats, from->slot_count);
	for (uint32_t i = 0; i < from->slot_count; i++)
		stats->slots[i] += from->slots[i];
}

static int by_value(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a;
	const uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

uint32_t bench_stats_slot_median(const struct bench_stats *stats, uint32_t first, uint32_t n)
{
	uint32_t *sorted;
	uint32_t median;

	if (n == 0)
		return 0;
	sorted = bench_alloc(n, sizeof(*sorted));
	for (uint32_t i = 0; i < n && first + i < stats->slot_count; i++)
		sorted[i] = stats->slots[first + i];
	qsort(sorted, n, sizeof(*sorted), by_value);
	median = sorted[n / 2];
	free(sorted);
	return median;
}

bool bench_count_is_breach(enum bench_count count)
{
	return count_texts[count].is_breach;
}

const char *bench_count_name(enum bench_count count)
{
	return count_texts[count].name;
}

const char *bench_count_help(enum bench_count count)
{
	return count_texts[count].help;
}

const char *bench_series_name(enum bench_series series)
{
	return series_texts[series].name;
}

const char *bench_series_help(enum bench_series series)
{
	return series_texts[series].help;
}
