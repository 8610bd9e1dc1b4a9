/* SPDX-License-Identifier: MIT */
#include "wire/top_figures.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct top_figures a, b, out; /* large */

static void set_kind(struct top_figures *f, const char *name, uint64_t messages)
{
	struct top_kind *k = &f->kinds[f->kind_count++];

	snprintf(k->name, TOP_NAME_MAX, "%s", name);
	k->messages = messages;
	k->live = 3;
	k->handler_p99_ns = 1023;
}

static void add_time(struct top_figures *f, uint64_t end_ns, uint64_t count)
{
	struct top_kind *k = &f->kinds[f->kind_count - 1];

	k->times[k->time_count++] = (struct top_bucket){ end_ns, count };
}

static void fill(struct top_figures *f)
{
	snprintf(f->version, TOP_NAME_MAX, "%s", "1.2.3");
	f->pid = 77;
	f->taken_ns = UINT64_C(5000000000);
	set_kind(f, "hub", 100);
	add_time(f, 127, 90);
	add_time(f, 1023, 10);
	snprintf(f->workers[0].name, TOP_NAME_MAX, "%s", "cx-worker-0");
	f->workers[0].run_queue = 4;
	f->worker_count = 1;
	snprintf(f->slow[0].kind, TOP_NAME_MAX, "%s", "account");
	snprintf(f->slow[0].message, TOP_NAME_MAX, "%s", "store_result");
	f->slow[0].longest_ms = 81;
	f->slow_count = 1;
}

static bool decodes(const char *text)
{
	return top_figures_decode(text, strlen(text), &out);
}

Test(top_figures, what_is_written_is_read_back, .timeout = 5)
{
	char *text;
	size_t len;

	fill(&a);
	text = top_figures_encode(&a, &len);
	cr_assert(text != NULL && strlen(text) == len && text[len - 1] == '\n');
	cr_assert(top_figures_decode(text, len, &out));
	cr_assert_str_eq(out.version, "1.2.3");
	cr_assert_eq(out.pid, 77);
	cr_assert_eq(out.kind_count, 1);
	cr_assert_str_eq(out.kinds[0].name, "hub");
	cr_assert_eq(out.kinds[0].messages, 100);
	cr_assert_eq(out.kinds[0].handler_p99_ns, 1023);
	cr_assert_eq(out.kinds[0].time_count, 2);
	cr_assert_eq(out.kinds[0].times[1].end_ns, 1023);
	cr_assert_eq(out.kinds[0].times[1].count, 10);
	cr_assert_eq(out.workers[0].run_queue, 4);
	cr_assert_str_eq(out.slow[0].message, "store_result");
	cr_assert_eq(out.slow[0].longest_ms, 81);
	free(text);
}

Test(top_figures, rates_are_written_only_when_there_are_two_samples, .timeout = 5)
{
	size_t len;
	char *text;

	fill(&a);
	text = top_figures_encode(&a, &len);
	cr_assert(strstr(text, "messages_per_s") == NULL);
	free(text);
	a.interval_ms = 1000;
	text = top_figures_encode(&a, &len);
	cr_assert(strstr(text, "\"messages_per_s\":") != NULL);
	cr_assert(strstr(text, "\"busy_share\":") != NULL);
	free(text);
}

Test(top_figures, refuses_what_is_no_such_document, .timeout = 5)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"7",
		"{}",
		"{\"version\":\"x\"}",
		"{\"version\":\"x\",\"kinds\":[],\"workers\":[]}",
		"{\"version\":\"x\",\"kinds\":{},\"workers\":[],\"slow_handlers\":[]}",
		"{\"version\":\"x\",\"pid\":-1,\"kinds\":[],\"workers\":[],\"slow_handlers\":[]"
		"}",
		"{\"version\":\"x\",\"pid\":\"1\",\"kinds\":[],\"workers\":[],\"slow_"
		"handlers\":[]}",
		"{\"version\":\"x\",\"kinds\":[{}],\"workers\":[],\"slow_handlers\":[]}",
		"{\"version\":\"x\",\"kinds\":[{\"name\":\"k\",\"handler_times_ns\":[1]}],"
		"\"workers\":[],\"slow_handlers\":[]}",
		"{\"version\":\"x\",\"kinds\":[{\"name\":\"k\",\"handler_times_ns\":[5,1,5,1]}]"
		","
		"\"workers\":[],\"slow_handlers\":[]}",
	};

	cr_assert(decodes(
		"{\"version\":\"x\",\"kinds\":[],\"workers\":[],\"slow_handlers\":[]}"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert(!decodes(bad[i]), "%s", bad[i]);
}

Test(top_figures, refuses_a_name_that_could_drive_a_terminal, .timeout = 5)
{
	cr_assert(!decodes("{\"version\":\"\\u001b[2J\",\"kinds\":[],\"workers\":[],"
	                   "\"slow_handlers\":[]}"));
	cr_assert(!decodes("{\"version\":\"x\\n\",\"kinds\":[],\"workers\":[],"
	                   "\"slow_handlers\":[]}"));
}

Test(top_figures, refuses_more_kinds_than_there_is_room_for, .timeout = 5)
{
	char text[8192] = "{\"version\":\"x\",\"workers\":[],\"slow_handlers\":[],\"kinds\":[";
	size_t at = strlen(text);

	for (unsigned i = 0; i <= TOP_KINDS_MAX; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s{\"name\":\"k\"}",
		                       i > 0 ? "," : "");
	snprintf(text + at, sizeof(text) - at, "]}");
	cr_assert(!decodes(text));
	snprintf(text + at - strlen(",{\"name\":\"k\"}"), 3, "]}");
	cr_assert(decodes(text));
	cr_assert_eq(out.kind_count, TOP_KINDS_MAX);
}

Test(top_figures, rates_are_of_what_came_between_two_samples, .timeout = 5)
{
	fill(&a);
	fill(&b);
	b.taken_ns = a.taken_ns + UINT64_C(2000000000);
	b.kinds[0].messages = 1100;
	b.kinds[0].times[1].count = 1010; /* all new ones took long */
	b.workers[0].busy_ns = 500000000;
	b.workers[0].wakeups = 8;
	top_figures_rates(&a, &b);
	cr_assert_eq(b.interval_ms, 2000);
	cr_assert_float_eq(b.kinds[0].messages_per_s, 500, 0.001);
	cr_assert_eq(b.kinds[0].recent_p50_ns, 1023);
	cr_assert_float_eq(b.workers[0].busy_share, 0.25, 0.001);
	cr_assert_float_eq(b.workers[0].wakeups_per_s, 4, 0.001);
}

Test(top_figures, a_relay_that_was_started_anew_counts_from_zero, .timeout = 5)
{
	fill(&a);
	fill(&b);
	b.taken_ns = a.taken_ns + 1000000000;
	b.kinds[0].messages = 40;
	b.kinds[0].times[0].count = 40;
	b.kinds[0].time_count = 1;
	top_figures_rates(&a, &b);
	cr_assert_float_eq(b.kinds[0].messages_per_s, 40, 0.001);
	cr_assert_eq(b.kinds[0].recent_p50_ns, 127);
}

Test(top_figures, nothing_new_has_no_quantile, .timeout = 5)
{
	fill(&a);
	fill(&b);
	b.taken_ns = a.taken_ns + 1000000000;
	top_figures_rates(&a, &b);
	cr_assert_eq(b.kinds[0].recent_p50_ns, 0);
	cr_assert_float_eq(b.kinds[0].messages_per_s, 0, 0.001);
}
