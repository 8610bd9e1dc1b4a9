/* SPDX-License-Identifier: MIT */
#include "roles/bench_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct hint {
	const char *code;
	const char *text;
};

static const struct hint hints[] = {
	{ "RATE_LIMIT_WARNING", "start the server with MAX_MESSAGES_PER_HOUR=0" },
	{ "RATE_LIMIT_BLOCKED", "start the server with MAX_MESSAGES_PER_HOUR=0" },
	{ "USER_BLOCKED", "start the server with MAX_MESSAGES_PER_HOUR=0, and new users" },
	{ "RATE_LIMIT_EXCEEDED", "the server limits logins: raise MAX_FAILED_LOGIN_ATTEMPTS" },
	{ "INBOX_FULL",
	  "lower --offline-limit, or raise INBOX_MAX_MESSAGES and INBOX_MAX_BYTES" },
	{ "TOO_MANY_CONNECTIONS", "raise MAX_CONNECTIONS and ulimit -n of the server" },
	{ "close 4409",
	  "more connections of one user than the server allows: lower --per-user" },
	{ "close 1012", "the server was stopped" },
	{ "no socket", "raise ulimit -n here" },
	{ "KAFKA_FAILURE", "the server could not write: see its log" },
	{ "sessionExpired", "delete the --tokens file: its sessions are gone" },
};

static const double quantiles[] = { 0.5, 0.9, 0.99, 0.999 };
static const char *const quantile_names[] = { "p50", "p90", "p99", "p999" };
#define QUANTILES (sizeof(quantiles) / sizeof(quantiles[0]))

static const char *hint_for(const char *code)
{
	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if (strcmp(hints[i].code, code) == 0)
			return hints[i].text;
	return NULL;
}

bool bench_report_is_broken(const struct bench_stats *stats)
{
	for (uint32_t c = 0; c < BENCH_COUNT_COUNT; c++)
		if (stats->counts[c] && bench_count_is_breach(c))
			return true;
	return false;
}

/* Whole seconds of the phases, counted from the begin of the traffic. */
static uint32_t measured_slots(const struct bench_report *r, uint32_t *first)
{
	const struct bench_plan *plan = &r->run->plan;
	const uint64_t from = plan->phase_start_ns[0] - plan->begin_ns;
	const uint64_t to = plan->phase_end_ns[0] - plan->begin_ns;

	*first = (uint32_t)((from + BENCH_NS_A_SECOND - 1) / BENCH_NS_A_SECOND);
	return to / BENCH_NS_A_SECOND > *first ? (uint32_t)(to / BENCH_NS_A_SECOND) - *first
	                                       : 0;
}

static uint64_t done_in(const struct bench_stats *stats, uint32_t first, uint32_t n)
{
	uint64_t sum = 0;

	for (uint32_t i = first; i < first + n && i < stats->slot_count; i++)
		sum += stats->slots[i];
	return sum;
}

/* Per second in the whole seconds of phase 0, mean and median; 0 without one. */
static double rate_of(const struct bench_report *r, uint32_t *median)
{
	uint32_t first;
	const uint32_t n = measured_slots(r, &first);

	*median = bench_stats_slot_median(r->stats, first, n);
	return n ? (double)done_in(r->stats, first, n) / n : 0;
}

/* CPU in microseconds for each thing done, over all phases: the rate of their whole seconds
 * stands for the whole time. */
static double cpu_us_each(const struct bench_report *r, double cpu_s)
{
	const struct bench_plan *plan = &r->run->plan;
	const uint64_t from = plan->phase_start_ns[0] - plan->begin_ns;
	const uint32_t first = (uint32_t)((from + BENCH_NS_A_SECOND - 1) / BENCH_NS_A_SECOND);
	const uint32_t n = (uint32_t)r->usage->wall_s;
	const double rate = n ? (double)done_in(r->stats, first, n) / n : 0;

	return rate > 0 ? cpu_s * 1e6 / (rate * r->usage->wall_s) : 0;
}

static const char *unit_of(const struct bench_report *r)
{
	switch (r->run->conf->mode) {
	case BENCH_ECHO:
		return "echoes";
	case BENCH_CONNECT:
		return r->run->conf->storm ? "messages" : "connections";
	case BENCH_HOLD:
		return "connections";
	default:
		return "messages";
	}
}

static const char *phase_name(const struct bench_report *r, uint32_t phase)
{
	if (phase == 0)
		return r->run->phase_count > 1 ? "quiet" : "run";
	return r->run->conf->mode == BENCH_LOGIN ? "logins" : "storm";
}

/* Three significant digits, a unit that fits. */
static const char *time_text(uint64_t ns, char text[static 16])
{
	if (ns < 1000000)
		snprintf(text, 16, "%.1f us", (double)ns / 1e3);
	else if (ns < UINT64_C(10000000000))
		snprintf(text, 16, "%.2f ms", (double)ns / 1e6);
	else
		snprintf(text, 16, "%.2f s", (double)ns / 1e9);
	return text;
}

static bool has_series(const struct bench_stats *stats)
{
	for (uint32_t s = 0; s < BENCH_SERIES_COUNT; s++)
		if (stats->series[0][s] || stats->series[1][s])
			return true;
	return false;
}

static void table_series(const struct bench_report *r)
{
	if (!has_series(r->stats))
		return;
	printf("\n  %-10s %-8s %10s %11s %11s %11s %11s %11s\n", "latency", "phase", "count",
	       "p50", "p90", "p99", "p99.9", "max");
	for (uint32_t s = 0; s < BENCH_SERIES_COUNT; s++)
		for (uint32_t p = 0; p < BENCH_PHASES; p++) {
			const struct histogram *h = r->stats->series[p][s];
			char text[16];

			if (!h || !h->count)
				continue;
			printf("  %-10s %-8s %10" PRIu64, bench_series_name(s),
			       phase_name(r, p), h->count);
			for (size_t q = 0; q < QUANTILES; q++)
				printf(" %11s",
				       time_text(histogram_quantile_ns(h, quantiles[q]), text));
			printf(" %11s   %s\n", time_text(h->max_ns, text),
			       bench_series_help(s));
		}
}

static void table_counts(const struct bench_report *r)
{
	printf("\n");
	for (uint32_t c = 0; c < BENCH_COUNT_COUNT; c++)
		if (r->stats->counts[c])
			printf("  %-22s %12" PRIu64 "   %s%s\n", bench_count_name(c),
			       r->stats->counts[c], bench_count_is_breach(c) ? "BROKEN: " : "",
			       bench_count_help(c));
	for (uint32_t i = 0; i < r->stats->error_kinds; i++) {
		const struct bench_error *e = &r->stats->errors[i];
		const char *hint = hint_for(e->code);

		printf("  %-22s %12" PRIu64 "   %s\n", e->code, e->count, e->text);
		if (hint)
			printf("  %-22s %12s   hint: %s\n", "", "", hint);
	}
}

static void table_cpu(const struct bench_report *r)
{
	const struct bench_usage *u = r->usage;

	printf("  generator CPU %.2f s in %.1f s", u->cpu_s, u->wall_s);
	if (cpu_us_each(r, u->cpu_s) > 0)
		printf(", %.2f us for each", cpu_us_each(r, u->cpu_s));
	printf("\n");
	if (!r->run->conf->server_pid)
		return;
	printf("  server CPU    %.2f s", u->server_cpu_s);
	if (cpu_us_each(r, u->server_cpu_s) > 0)
		printf(", %.2f us for each", cpu_us_each(r, u->server_cpu_s));
	printf("; memory %.1f MB at the start, %.1f MB at the end\n",
	       (double)u->server_rss_start / 1e6, (double)u->server_rss_end / 1e6);
}

void bench_report_table(const struct bench_report *r)
{
	const struct bench_conf *conf = r->run->conf;
	uint32_t median;
	const double mean = rate_of(r, &median);

	printf("%s  %s\n", bench_mode_name(conf->mode), ws_client_target_name(r->run->target));
	printf("  set up %.2f s, warm-up %.1f s, measured %.1f s, drained %.2f s\n",
	       r->usage->setup_s, conf->warmup_s, r->usage->wall_s, r->usage->drain_s);
	if (mean > 0)
		printf("  %.0f %s/s (median second %u)\n", mean, unit_of(r), median);
	table_cpu(r);
	table_series(r);
	table_counts(r);
	printf("\n  %s%s\n",
	       r->is_broken ? "FAILED: a guarantee was broken"
	                    : "ok: nothing lost, repeated or out of order",
	       r->stats->counts[BENCH_REFUSED] ? ", but messages were refused" : "");
}

static void json_text(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		const unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 32 || c == 127)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void json_series(const struct bench_report *r)
{
	const char *comma = "";

	printf("\"latency_ns\":{");
	for (uint32_t p = 0; p < r->run->phase_count; p++) {
		const char *inner = "";

		printf("%s\"%s\":{", comma, phase_name(r, p));
		comma = ",";
		for (uint32_t s = 0; s < BENCH_SERIES_COUNT; s++) {
			const struct histogram *h = r->stats->series[p][s];

			if (!h || !h->count)
				continue;
			printf("%s\"%s\":{\"count\":%" PRIu64 ",\"min\":%" PRIu64
			       ",\"mean\":%" PRIu64,
			       inner, bench_series_name(s), h->count, h->min_ns,
			       histogram_mean_ns(h));
			for (size_t q = 0; q < QUANTILES; q++)
				printf(",\"%s\":%" PRIu64, quantile_names[q],
				       histogram_quantile_ns(h, quantiles[q]));
			printf(",\"max\":%" PRIu64 "}", h->max_ns);
			inner = ",";
		}
		printf("}");
	}
	printf("},");
}

static void json_counts(const struct bench_report *r)
{
	printf("\"counts\":{");
	for (uint32_t c = 0; c < BENCH_COUNT_COUNT; c++)
		printf("%s\"%s\":%" PRIu64, c ? "," : "", bench_count_name(c),
		       r->stats->counts[c]);
	printf("},\"errors\":{");
	for (uint32_t i = 0; i < r->stats->error_kinds; i++) {
		printf("%s", i ? "," : "");
		json_text(r->stats->errors[i].code);
		printf(":%" PRIu64, r->stats->errors[i].count);
	}
	printf("},");
}

static void json_slots(const struct bench_report *r)
{
	uint32_t first;
	const uint32_t n = measured_slots(r, &first);

	printf("\"per_second\":[");
	for (uint32_t i = 0; i < n; i++)
		printf("%s%u", i ? "," : "",
		       first + i < r->stats->slot_count ? r->stats->slots[first + i] : 0);
	printf("],");
}

static void json_conf(const struct bench_conf *conf)
{
	printf("\"mode\":\"%s\",\"url\":", bench_mode_name(conf->mode));
	json_text(conf->url);
	printf(",\"pairs\":%u,\"inflight\":%u,\"size\":%u,\"rate\":%g,\"connections\":%u,",
	       conf->pairs, conf->inflight, conf->size_bytes, conf->rate, conf->connections);
	printf("\"hold\":%u,\"storm\":%u,\"logins\":%u,\"offline_percent\":%u,\"threads\":%u,",
	       conf->hold, conf->storm, conf->mode == BENCH_LOGIN ? conf->logins_per_s : 0,
	       conf->offline_percent, conf->threads);
}

void bench_report_json(const struct bench_report *r)
{
	const struct bench_usage *u = r->usage;
	uint32_t median;
	const double mean = rate_of(r, &median);

	printf("{");
	json_conf(r->run->conf);
	printf("\"setup_s\":%.3f,\"warmup_s\":%g,\"measured_s\":%.3f,\"drain_s\":%.3f,",
	       u->setup_s, r->run->conf->warmup_s, u->wall_s, u->drain_s);
	printf("\"unit\":\"%s\",\"per_s\":%.1f,\"per_s_median\":%u,", unit_of(r), mean, median);
	printf("\"cpu_s\":%.3f,\"cpu_us_each\":%.3f,", u->cpu_s, cpu_us_each(r, u->cpu_s));
	if (r->run->conf->server_pid)
		printf("\"server_cpu_s\":%.3f,\"server_cpu_us_each\":%.3f,"
		       "\"server_rss_start\":%" PRIu64 ",\"server_rss_end\":%" PRIu64 ",",
		       u->server_cpu_s, cpu_us_each(r, u->server_cpu_s), u->server_rss_start,
		       u->server_rss_end);
	json_series(r);
	json_slots(r);
	json_counts(r);
	printf("\"ok\":%s}\n", r->is_broken ? "false" : "true");
}
