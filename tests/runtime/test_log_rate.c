/* SPDX-License-Identifier: MIT */
/* Log lines that repeat are summed, each event for itself. */
#include <cx/log.h>

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 40
#define REPEATS 30
#define LINES_A_SECOND 10

static char
	names[4096]; /* far apart, so that their places in any table of a power of two meet */

static const char *name_of(unsigned event)
{
	char *const name = names + (size_t)event * 64;

	snprintf(name, 64, "test.event%02u", event);
	return name;
}

static time_t seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static void next_second(void)
{
	const time_t now = seconds();
	const struct timespec pause = { 0, 1000000 };

	while (seconds() == now)
		nanosleep(&pause, NULL);
}

/* Lines of the file that hold text. */
static unsigned count_lines(FILE *file, const char *text)
{
	char line[4096];
	unsigned n = 0;

	rewind(file);
	while (fgets(line, sizeof(line), file) != NULL)
		n += strstr(line, text) != NULL;
	return n;
}

Test(log_rate, events_in_turn_are_held_back_each_for_itself, .timeout = 60)
{
	FILE *const file = tmpfile();
	const int saved = dup(2);
	time_t began;
	unsigned most;

	cr_assert_not_null(file);
	cx_log_setup(CX_INFO, CX_LOG_TEXT);
	fflush(stderr);
	cr_assert_geq(dup2(fileno(file), 2), 0);
	next_second();
	began = seconds();
	for (unsigned n = 0; n < REPEATS; n++)
		for (unsigned e = 0; e < EVENTS; e++)
			cx_log(CX_INFO, name_of(e), "n=%u", n);
	most = LINES_A_SECOND * (unsigned)(seconds() - began + 1); /* mostly of one second */
	next_second();
	for (unsigned e = 0; e < EVENTS; e++)
		cx_log(CX_INFO, name_of(e), "n=last");
	fflush(stderr);
	dup2(saved, 2);
	for (unsigned e = 0; e < EVENTS; e++) {
		const unsigned lines = count_lines(file, name_of(e));

		cr_expect_leq(lines, most + 1, "event %u: %u lines", e, lines);
		cr_expect_geq(lines, LINES_A_SECOND, "event %u: %u lines", e, lines);
	}
	if (most < REPEATS)
		cr_expect_geq(count_lines(file, "held_back="), EVENTS,
		              "each event says how many");
	fclose(file);
}
