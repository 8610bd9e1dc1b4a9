/* SPDX-License-Identifier: MIT */
#include "roles/top_screen.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct top_figures figures; /* large */
static struct top_screen screen;
static struct top_view view;

static void add_kind(const char *name, double rate, uint64_t p99_ns)
{
	struct top_kind *k = &figures.kinds[figures.kind_count++];

	snprintf(k->name, TOP_NAME_MAX, "%s", name);
	k->messages_per_s = rate;
	k->recent_p99_ns = p99_ns;
	k->live = 12;
}

static void fill(void)
{
	snprintf(figures.version, TOP_NAME_MAX, "9.9");
	figures.interval_ms = 1000;
	add_kind("hub", 50, 3000);
	add_kind("gateway", 1234567, 100);
	add_kind("user_limiter", 70, 2000000);
	for (figures.worker_count = 0; figures.worker_count < 2; figures.worker_count++)
		snprintf(figures.workers[figures.worker_count].name, TOP_NAME_MAX,
		         "cx-worker-%zu", figures.worker_count);
}

static void draw(unsigned columns, unsigned rows)
{
	top_screen_draw(&screen, &figures, &view, columns, rows);
}

/* The line that begins so, or -1. */
static int line_of(const char *name)
{
	for (unsigned i = 0; i < screen.count; i++)
		if (strncmp(screen.line[i], name, strlen(name)) == 0)
			return (int)i;
	return -1;
}

static void keys(const char *text)
{
	for (; *text != '\0'; text++)
		cr_assert_neq(top_view_key(&view, (unsigned char)*text), TOP_KEY_QUIT);
}

TestSuite(top_screen, .init = fill, .timeout = 5);

Test(top_screen, begins_with_the_busiest_kind)
{
	draw(100, 40);
	cr_assert_lt(line_of("gateway"), line_of("user_limiter"));
	cr_assert_lt(line_of("user_limiter"), line_of("hub"));
	cr_assert(strstr(screen.line[line_of("gateway")], "1235k") != NULL, "%s",
	          screen.line[line_of("gateway")]);
	cr_assert(strstr(screen.line[line_of("user_limiter")], "2.0ms") != NULL);
	cr_assert(screen.is_heading[line_of("KIND")]);
}

/* The text under a column's title, in the row that begins with name: both are set flush right. */
static void expect_cell(const char *table, const char *name, const char *title,
                        const char *text)
{
	const char *const titles = screen.line[line_of(table)];
	const char *const row = screen.line[line_of(name)];
	const char *const at = strstr(titles, title);
	const char *end, *begin;

	cr_assert_not_null(at, "no column %s", title);
	end = row + (at - titles) + strcspn(at, " "); /* behind it stands how it is sorted */
	begin = end - strlen(text);
	cr_assert(strncmp(begin, text, strlen(text)) == 0 && begin[-1] == ' ' &&
	                  (*end == ' ' || *end == '\0'),
	          "%s of %s is not %s:\n%s\n%s", title, name, text, titles, row);
}

/* All of them differ, so a column that shows another one's figure is seen. */
Test(top_screen, each_column_shows_its_own_figure)
{
	struct top_kind *k = &figures.kinds[0]; /* hub */
	struct top_worker *w = &figures.workers[1];

	k->messages_per_s = 51;
	k->recent_p50_ns = 52;
	k->recent_p99_ns = 53000;
	k->live = 54;
	k->depth = 55;
	k->depth_max = 56;
	k->refused = 57;
	k->dead_letters = 58;
	k->slow = 59;
	k->restarts = 60;
	k->messages = 61;
	w->busy_share = 0.415;
	w->run_queue = 42;
	w->wakeups_per_s = 43;
	w->steals_per_s = 44;
	w->timers = 45;
	w->pool_bytes = 46;
	draw(200, 40);
	expect_cell("KIND", "hub", "MSG/S-", "51.0");
	expect_cell("KIND", "hub", "P50", "52ns");
	expect_cell("KIND", "hub", "P99", "53us");
	expect_cell("KIND", "hub", "LIVE", "54");
	expect_cell("KIND", "hub", "MAILBOX", "55");
	expect_cell("KIND", "hub", "MAX", "56");
	expect_cell("KIND", "hub", "REFUSED", "57");
	expect_cell("KIND", "hub", "DEAD", "58");
	expect_cell("KIND", "hub", "SLOW", "59");
	expect_cell("KIND", "hub", "RESTARTS", "60");
	expect_cell("KIND", "hub", "MESSAGES", "61");
	expect_cell("WORKER", "cx-worker-1", "BUSY", "41.5%");
	expect_cell("WORKER", "cx-worker-1", "RUNQ", "42");
	expect_cell("WORKER", "cx-worker-1", "WAKE/S", "43.0");
	expect_cell("WORKER", "cx-worker-1", "STEAL/S", "44.0");
	expect_cell("WORKER", "cx-worker-1", "TIMERS", "45");
	expect_cell("WORKER", "cx-worker-1", "POOL", "46");
	expect_cell("WORKER", "cx-worker-0", "WAKE/S", "0");
}

Test(top_screen, a_slow_handler_is_named_with_its_count_and_longest_time)
{
	struct top_slow *s = &figures.slow[0];
	int at;

	draw(100, 40);
	cr_assert_eq(line_of("SLOW HANDLERS"), -1, "none yet");
	figures.slow_count = 1;
	snprintf(s->kind, TOP_NAME_MAX, "slow_kind");
	snprintf(s->message, TOP_NAME_MAX, "slow_message");
	s->count = 71;
	s->longest_ms = 1234;
	draw(100, 40);
	at = line_of("slow_kind");
	cr_assert_gt(at, line_of("SLOW HANDLERS"));
	cr_assert_gt(line_of("SLOW HANDLERS"), line_of("KIND"));
	expect_cell("SLOW HANDLERS", "slow_kind", "COUNT", "71");
	expect_cell("SLOW HANDLERS", "slow_kind", "LONGEST", "1234 ms");
	cr_assert_not_null(strstr(screen.line[at], "slow_message"));
}

Test(top_screen, s_goes_to_the_next_column_and_r_turns_it_round)
{
	keys("ss"); /* P50, P99 */
	draw(100, 40);
	cr_assert(strstr(screen.line[line_of("KIND")], "P99-") != NULL);
	cr_assert_lt(line_of("user_limiter"), line_of("hub"));
	cr_assert_lt(line_of("hub"), line_of("gateway"));
	keys("r");
	draw(100, 40);
	cr_assert(strstr(screen.line[line_of("KIND")], "P99+") != NULL);
	cr_assert_lt(line_of("gateway"), line_of("hub"));
}

Test(top_screen, s_comes_round_to_the_first_column)
{
	unsigned presses = 1;

	keys("s");
	for (; view.sort != 0 && presses < 100; presses++)
		keys("s");
	cr_assert_eq(presses, 11);
}

Test(top_screen, slash_shows_only_kinds_whose_name_holds_the_text)
{
	keys("/gxte");
	draw(100, 40);
	cr_assert(strstr(screen.line[screen.count - 1], "filter: gxte_") != NULL);
	cr_assert_eq(line_of("gateway"), -1);
	keys("\177\177\177ate\n");
	draw(100, 40);
	cr_assert_str_eq(view.filter, "gate");
	cr_assert_neq(line_of("gateway"), -1);
	cr_assert_eq(line_of("hub"), -1);
	keys("/qs\033");
	draw(100, 40);
	cr_assert_neq(line_of("hub"), -1, "Escape shows all");
}

Test(top_screen, a_filter_is_bounded)
{
	keys("/");
	for (int i = 0; i < 1000; i++)
		keys("a");
	cr_assert_eq(strlen(view.filter), TOP_FILTER_MAX - 1);
}

Test(top_screen, q_quits_space_pauses_h_helps)
{
	cr_assert_eq(top_view_key(&view, 'q'), TOP_KEY_QUIT);
	keys(" ");
	draw(100, 40);
	cr_assert(strstr(screen.line[0], "PAUSED") != NULL);
	keys("h");
	draw(100, 40);
	cr_assert_neq(line_of("s      sort"), -1);
	cr_assert_eq(top_view_key(&view, 'x'), TOP_KEY_NOTHING);
}

Test(top_screen, never_draws_more_than_the_terminal_has)
{
	for (size_t i = 0; figures.kind_count < TOP_KINDS_MAX; i++)
		add_kind("one_of_many_kinds_with_a_long_name", (double)i, 1);
	figures.slow_count = TOP_SLOW_MAX;
	for (unsigned rows = 1; rows < 120; rows++) {
		for (unsigned columns = 1; columns < 220; columns += 13) {
			draw(columns, rows);
			cr_assert_leq(screen.count, rows);
			for (unsigned i = 0; i < screen.count; i++)
				cr_assert_leq(strlen(screen.line[i]), columns);
		}
	}
}

Test(top_screen, says_how_many_kinds_do_not_fit)
{
	char text[32];
	unsigned shown = 0;

	while (figures.kind_count < 40)
		add_kind("many", 1, 1);
	draw(80, 24);
	for (unsigned i = 0; i < screen.count; i++)
		shown += strncmp(screen.line[i], "many", 4) == 0 ||
		         i == (unsigned)line_of("hub") || i == (unsigned)line_of("gateway") ||
		         i == (unsigned)line_of("user_limiter");
	snprintf(text, sizeof(text), "... %u more", 40 - shown);
	cr_assert_neq(line_of(text), -1, "%s", text);
	cr_assert(strstr(screen.line[screen.count - 1], "q quit") != NULL, "the keys stay");
}

Test(top_screen, a_plain_table_shows_everything_and_no_keys)
{
	while (figures.kind_count < TOP_KINDS_MAX)
		add_kind("many", 1, 1);
	draw(TOP_COLUMNS_MAX, 0);
	cr_assert_eq(line_of("..."), -1);
	cr_assert_eq(line_of("q quit"), -1);
	cr_assert_gt(screen.count, TOP_KINDS_MAX);
}
