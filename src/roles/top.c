/* SPDX-License-Identifier: MIT */
#include "roles/top.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io/top_socket.h"
#include "roles/config.h"
#include "roles/top_screen.h"
#include "roles/top_terminal.h"

#define EXIT_NO_RELAY 1
#define EXIT_USAGE 2
#define EXIT_CONFIG 78
#define FIRST_MS 500 /* before the first picture has rates */
#define INTERVAL_MIN_MS 100
#define INTERVAL_MAX_MS 3600000

struct options {
	const char *socket; /* NULL: of the environment */
	bool is_once, is_json, is_help;
	int interval_ms;
};

struct top {
	struct options options;
	const char *path;
	struct top_figures sample[2]; /* the newest and the one before it */
	unsigned newest;
	struct top_screen screen;
	struct top_view view;
	char error_text[TOP_ERROR_MAX];
};

static void print_usage(FILE *out)
{
	fputs("usage: construct top [--socket PATH] [--once] [--json] [--interval SECS]\n\n"
	      "  --socket PATH     the relay's socket (default: TOP_SOCKET, as the relay has "
	      "it)\n"
	      "  --once            print one table and end, as without a terminal\n"
	      "  --json            print one JSON document and end\n"
	      "  --interval SECS   between two looks, 0.1 to 3600 (default 1)\n\n"
	      "Keys: q quit, s sort by the next column, r reverse, / filter by kind,\n"
	      "space pause, h help.\n",
	      out);
}

static bool parse_interval(const char *text, int *out)
{
	char *end;
	const double secs = strtod(text, &end);

	if (end == text || *end != '\0' || !(secs * 1000 >= INTERVAL_MIN_MS) ||
	    !(secs * 1000 <= INTERVAL_MAX_MS))
		return false;
	*out = (int)(secs * 1000);
	return true;
}

static bool parse(int argc, char **argv, struct options *o)
{
	*o = (struct options){ .interval_ms = 1000 };
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(arg, "--once") == 0)
			o->is_once = true;
		else if (strcmp(arg, "--json") == 0)
			o->is_json = true;
		else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)
			o->is_help = true;
		else if (strcmp(arg, "--socket") == 0 && value != NULL)
			o->socket = argv[++i];
		else if (strcmp(arg, "--interval") == 0 && value != NULL &&
		         parse_interval(value, &o->interval_ms))
			i++;
		else {
			fprintf(stderr, "construct top: %s: unknown, or its value is wrong\n",
			        arg);
			return false;
		}
	}
	return true;
}

/* The newest sample with rates since the one before it. */
static bool sample(struct top *top)
{
	const unsigned next = 1 - top->newest;

	if (!top_socket_fetch(top->path, &top->sample[next], top->error_text))
		return false;
	if (top->sample[top->newest].taken_ns != 0)
		top_figures_rates(&top->sample[top->newest], &top->sample[next]);
	top->newest = next;
	return true;
}

static void sleep_ms(int ms)
{
	const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

static int no_relay(const struct top *top)
{
	fprintf(stderr, "construct top: %s\n", top->error_text);
	return EXIT_NO_RELAY;
}

static int print_json(const struct top *top)
{
	size_t len;
	char *text = top_figures_encode(&top->sample[top->newest], &len);

	if (text == NULL)
		return EXIT_NO_RELAY;
	fwrite(text, 1, len, stdout);
	free(text);
	return 0;
}

static void print_table(struct top *top)
{
	top_screen_draw(&top->screen, &top->sample[top->newest], &top->view, TOP_COLUMNS_MAX,
	                0);
	for (unsigned i = 0; i < top->screen.count; i++)
		puts(top->screen.line[i]);
	fflush(stdout);
}

static int run_once(struct top *top)
{
	if (!sample(top))
		return no_relay(top);
	sleep_ms(top->options.interval_ms);
	if (!sample(top))
		return no_relay(top);
	if (top->options.is_json)
		return print_json(top);
	print_table(top);
	return 0;
}

/* A terminal that knows no sequences gets one table after the other. */
static int run_dumb(struct top *top)
{
	if (!sample(top))
		return no_relay(top);
	for (;;) {
		sleep_ms(top->options.interval_ms);
		if (!sample(top))
			return no_relay(top);
		print_table(top);
		putchar('\n');
	}
}

static void draw(struct top *top)
{
	unsigned columns, rows;

	top_terminal_size(&columns, &rows);
	top_screen_draw(&top->screen, &top->sample[top->newest], &top->view, columns, rows);
	top_terminal_show(&top->screen);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Until q, a signal, or the end of the terminal.  A relay that is gone may come back. */
static void watch(struct top *top)
{
	int64_t due_ms =
		now_ms() +
		(top->options.interval_ms < FIRST_MS ? top->options.interval_ms : FIRST_MS);

	for (;;) {
		const int64_t left_ms = due_ms - now_ms();
		unsigned char key = 0;

		draw(top);
		switch (top_terminal_wait(left_ms > 0 ? (int)left_ms : 0, &key)) {
		case TOP_EVENT_END:
			return;
		case TOP_EVENT_KEY:
			if (top_view_key(&top->view, key) == TOP_KEY_QUIT)
				return;
			break;
		case TOP_EVENT_RESIZED:
			break;
		case TOP_EVENT_TIME:
			if (!top->view.is_paused)
				top->view.notice = sample(top) ? NULL : top->error_text;
			due_ms = now_ms() + top->options.interval_ms;
			break;
		}
	}
}

static int run_live(struct top *top)
{
	if (!sample(top)) /* before the screen changes: an error is a line */
		return no_relay(top);
	if (top_terminal_open() != CX_OK)
		return run_once(top);
	watch(top);
	top_terminal_close();
	return 0;
}

static bool is_dumb(void)
{
	const char *term = config_terminal();

	return term == NULL || strcmp(term, "dumb") == 0;
}

static int run(struct top *top)
{
	if (top->options.is_once || top->options.is_json || isatty(STDOUT_FILENO) == 0 ||
	    isatty(STDIN_FILENO) == 0)
		return run_once(top);
	return is_dumb() ? run_dumb(top) : run_live(top);
}

/* The socket where a relay with this environment, in this folder, would have it. */
static int run_configured(struct top *top)
{
	struct config c;
	int code;

	if (config_load(&c, stderr) > 0) {
		code = EXIT_CONFIG;
	} else if (c.top_socket == NULL) {
		fputs("construct top: TOP_SOCKET is off here; --socket PATH names another\n",
		      stderr);
		code = EXIT_NO_RELAY;
	} else {
		top->path = c.top_socket;
		code = run(top);
	}
	config_free(&c);
	return code;
}

int top_main(int argc, char **argv)
{
	static struct top top; /* large */

	if (!parse(argc, argv, &top.options)) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	if (top.options.is_help) {
		print_usage(stdout);
		return 0;
	}
	top.path = top.options.socket;
	return top.path != NULL ? run(&top) : run_configured(&top);
}
