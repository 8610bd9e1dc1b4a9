/* SPDX-License-Identifier: MIT */
#include "roles/top_screen.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_WIDTH 18
#define CELL_MAX 24
#define SLOW_ROWS 5 /* at most, on a screen that is full */

/* ---- numbers for people ---- */

static void text_count(char out[static CELL_MAX], double value)
{
	static const char units[] = " kMGTPE";
	size_t unit = 0;

	while (value >= 99999.5 && unit + 2 < sizeof(units)) {
		value /= 1000;
		unit++;
	}
	if (unit > 0)
		snprintf(out, CELL_MAX, "%.0f%c", value, units[unit]);
	else
		snprintf(out, CELL_MAX, "%.0f", value);
}

static void text_rate(char out[static CELL_MAX], double value)
{
	if (value > 0 && value < 99.95)
		snprintf(out, CELL_MAX, "%.1f", value);
	else
		text_count(out, value);
}

static void text_time(char out[static CELL_MAX], double ns)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	unsigned unit = 0;

	while (ns >= 999.5 && unit < 3) {
		ns /= 1000;
		unit++;
	}
	if (ns == 0)
		snprintf(out, CELL_MAX, "-");
	else
		snprintf(out, CELL_MAX, ns < 9.95 && unit > 0 ? "%.1f%s" : "%.0f%s", ns,
		         units[unit]);
}

static void text_share(char out[static CELL_MAX], double share)
{
	snprintf(out, CELL_MAX, "%.1f%%", 100 * share);
}

/* ---- tables ---- */

struct column {
	const char *title;
	int width;
	void (*text)(char out[static CELL_MAX], double value);
	double (*kind)(const struct top_kind *k);
	double (*worker)(const struct top_worker *w);
};

#define KIND(name, expr)                                    \
	static double kind_##name(const struct top_kind *k) \
	{                                                   \
		return (double)(expr);                      \
	}
KIND(rate, k->messages_per_s)
KIND(p50, k->recent_p50_ns)
KIND(p99, k->recent_p99_ns)
KIND(live, k->live)
KIND(depth, k->depth)
KIND(depth_max, k->depth_max)
KIND(refused, k->refused)
KIND(dead, k->dead_letters)
KIND(slow, k->slow)
KIND(restarts, k->restarts)
KIND(messages, k->messages)

/* From the most to the least wanted: on a narrow terminal the last ones go. */
static const struct column kind_columns[] = {
	{ "MSG/S", 8, text_rate, kind_rate, NULL },
	{ "P50", 7, text_time, kind_p50, NULL },
	{ "P99", 7, text_time, kind_p99, NULL },
	{ "LIVE", 7, text_count, kind_live, NULL },
	{ "MAILBOX", 8, text_count, kind_depth, NULL },
	{ "MAX", 7, text_count, kind_depth_max, NULL },
	{ "REFUSED", 8, text_count, kind_refused, NULL },
	{ "DEAD", 7, text_count, kind_dead, NULL },
	{ "SLOW", 6, text_count, kind_slow, NULL },
	{ "RESTARTS", 9, text_count, kind_restarts, NULL },
	{ "MESSAGES", 9, text_count, kind_messages, NULL },
};
#define KIND_COLUMNS (sizeof(kind_columns) / sizeof(kind_columns[0]))

#define WORKER(name, expr)                                      \
	static double worker_##name(const struct top_worker *w) \
	{                                                       \
		return (double)(expr);                          \
	}
WORKER(busy, w->busy_share)
WORKER(queue, w->run_queue)
WORKER(wakeups, w->wakeups_per_s)
WORKER(steals, w->steals_per_s)
WORKER(timers, w->timers)
WORKER(pool, w->pool_bytes)

static const struct column worker_columns[] = {
	{ "BUSY", 8, text_share, NULL, worker_busy },
	{ "RUNQ", 7, text_count, NULL, worker_queue },
	{ "WAKE/S", 7, text_rate, NULL, worker_wakeups },
	{ "STEAL/S", 8, text_rate, NULL, worker_steals },
	{ "TIMERS", 7, text_count, NULL, worker_timers },
	{ "POOL", 8, text_count, NULL, worker_pool },
};
#define WORKER_COLUMNS (sizeof(worker_columns) / sizeof(worker_columns[0]))

/* ---- lines ---- */

struct canvas {
	struct top_screen *screen;
	unsigned columns, rows;
};

static unsigned room(const struct canvas *c)
{
	return c->rows - c->screen->count;
}

static void add(struct canvas *c, bool is_heading, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void add(struct canvas *c, bool is_heading, const char *fmt, ...)
{
	struct top_screen *s = c->screen;
	va_list args;

	if (room(c) == 0)
		return;
	va_start(args, fmt);
	vsnprintf(s->line[s->count], (size_t)c->columns + 1, fmt, args);
	va_end(args);
	s->is_heading[s->count] = is_heading;
	s->count++;
}

/* How many columns fit beside the name. */
static size_t fitting(const struct canvas *c, const struct column *columns, size_t count)
{
	int left = (int)c->columns - NAME_WIDTH;
	size_t n = 0;

	while (n < count && columns[n].width <= left)
		left -= columns[n++].width;
	return n;
}

static void cell(char *line, size_t *at, int width, const char *text)
{
	const int n = snprintf(line + *at, TOP_COLUMNS_MAX + 1 - *at, "%*s", width, text);

	if (n > 0 && *at + (size_t)n <= TOP_COLUMNS_MAX)
		*at += (size_t)n;
}

static void add_titles(struct canvas *c, const char *name, const struct column *columns,
                       size_t count, size_t sort, bool is_reversed)
{
	char line[TOP_COLUMNS_MAX + 1];
	size_t at =
		(size_t)snprintf(line, sizeof(line), "%-*.*s", NAME_WIDTH, NAME_WIDTH, name);

	for (size_t i = 0; i < fitting(c, columns, count); i++) {
		char title[CELL_MAX];

		snprintf(title, sizeof(title), "%s%s", columns[i].title,
		         i != sort     ? ""
		         : is_reversed ? "+"
		                       : "-");
		cell(line, &at, columns[i].width, title);
	}
	add(c, true, "%s", line);
}

static void add_row(struct canvas *c, const char *name, const struct column *columns,
                    size_t count, const struct top_kind *k, const struct top_worker *w)
{
	char line[TOP_COLUMNS_MAX + 1];
	size_t at =
		(size_t)snprintf(line, sizeof(line), "%-*.*s", NAME_WIDTH, NAME_WIDTH, name);

	for (size_t i = 0; i < fitting(c, columns, count); i++) {
		char text[CELL_MAX];

		columns[i].text(text, k != NULL ? columns[i].kind(k) : columns[i].worker(w));
		cell(line, &at, columns[i].width, text);
	}
	add(c, false, "%s", line);
}

static void add_missing(struct canvas *c, size_t count)
{
	if (count > 0)
		add(c, false, "... %zu more", count);
}

/* ---- parts ---- */

static void add_summary(struct canvas *c, const struct top_figures *f, const struct top_view *v)
{
	const uint64_t secs = f->uptime_ms / 1000;

	if (v->notice != NULL)
		add(c, false, "%s", v->notice);
	else
		add(c, false,
		    "construct %s   pid %" PRIu64 "   up %" PRIu64
		    "d %02u:%02u:%02u   over %.1f s%s%s%s",
		    f->version, f->pid, secs / 86400, (unsigned)(secs / 3600 % 24),
		    (unsigned)(secs / 60 % 60), (unsigned)(secs % 60),
		    (double)f->interval_ms / 1000, v->is_paused ? "   PAUSED" : "",
		    v->filter[0] != '\0' && !v->is_typing ? "   filter: " : "",
		    v->is_typing ? "" : v->filter);
}

static void add_workers(struct canvas *c, const struct top_figures *f)
{
	/* A third of the screen at most: the kinds are what one looks for. */
	const size_t most = c->rows / 3;
	const size_t count = f->worker_count <= most ? f->worker_count : most;

	add_titles(c, "WORKER", worker_columns, WORKER_COLUMNS, WORKER_COLUMNS, false);
	for (size_t i = 0; i < count; i++)
		add_row(c, f->workers[i].name, worker_columns, WORKER_COLUMNS, NULL,
		        &f->workers[i]);
	add_missing(c, f->worker_count - count);
}

struct order {
	const struct top_kind *kind;
	double key;
};

static int by_key(const void *a, const void *b)
{
	const struct order *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? 1 : -1; /* largest first */
	return strcmp(x->kind->name, y->kind->name);
}

static size_t sorted(const struct top_figures *f, const struct top_view *v, struct order *out)
{
	size_t n = 0;

	for (size_t i = 0; i < f->kind_count; i++) {
		const struct top_kind *k = &f->kinds[i];
		const double key = kind_columns[v->sort % KIND_COLUMNS].kind(k);

		if (strstr(k->name, v->filter) != NULL)
			out[n++] = (struct order){ k, v->is_reversed ? -key : key };
	}
	qsort(out, n, sizeof(*out), by_key);
	return n;
}

static void add_kinds(struct canvas *c, const struct top_figures *f, const struct top_view *v,
                      size_t below)
{
	struct order order[TOP_KINDS_MAX];
	const size_t all = sorted(f, v, order);
	size_t count = all;

	add_titles(c, "KIND", kind_columns, KIND_COLUMNS, v->sort % KIND_COLUMNS,
	           v->is_reversed);
	if (count + below > room(c))
		count = room(c) > below + 1 ? room(c) - below - 1 : 0;
	for (size_t i = 0; i < count; i++)
		add_row(c, order[i].kind->name, kind_columns, KIND_COLUMNS, order[i].kind,
		        NULL);
	add_missing(c, all - count);
}

static void add_slow(struct canvas *c, const struct top_figures *f, size_t count)
{
	if (count == 0)
		return;
	add(c, true, "%-*s%-18s%8s%12s", NAME_WIDTH, "SLOW HANDLERS", "MESSAGE", "COUNT",
	    "LONGEST");
	for (size_t i = 0; i < count; i++)
		add(c, false, "%-*.*s%-18.18s%8" PRIu64 "%9" PRIu64 " ms", NAME_WIDTH,
		    NAME_WIDTH, f->slow[i].kind, f->slow[i].message, f->slow[i].count,
		    f->slow[i].longest_ms);
}

static void add_help(struct canvas *c)
{
	static const char *const lines[] = {
		"q      quit",
		"s      sort by the next column (- behind its title: largest first)",
		"r      reverse the order",
		"/      show only kinds whose name holds a text; Enter ends it, empty shows "
		"all",
		"space  hold the picture",
		"h      this text",
		"",
		"MSG/S, P50, P99, BUSY, WAKE/S, STEAL/S are of the last interval, the rest "
		"since",
		"the relay's start; MAILBOX, LIVE, RUNQ, TIMERS and POOL are now.  P50 and P99 "
		"are",
		"of the time in a handler, the mean of its turn.",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		add(c, false, "%s", lines[i]);
}

static void add_prompt(struct canvas *c, const struct top_view *v)
{
	if (v->is_typing)
		add(c, false, "filter: %s_", v->filter);
	else
		add(c, false, "q quit  s sort  r reverse  / filter  space pause  h help");
}

static size_t slow_shown(const struct top_figures *f, unsigned rows)
{
	if (rows == TOP_LINES_MAX)
		return f->slow_count;
	return rows < 16 ? 0 : f->slow_count < SLOW_ROWS ? f->slow_count : SLOW_ROWS;
}

void top_screen_draw(struct top_screen *screen, const struct top_figures *figures,
                     const struct top_view *view, unsigned columns, unsigned rows)
{
	const bool is_live = rows > 0;
	struct canvas c = {
		.screen = screen,
		.columns = columns < TOP_COLUMNS_MAX ? columns : TOP_COLUMNS_MAX,
		.rows = is_live && rows < TOP_LINES_MAX ? rows : TOP_LINES_MAX,
	};
	const bool has_prompt = is_live && c.rows > 1;
	const size_t slow = slow_shown(figures, c.rows);

	screen->count = 0;
	add_summary(&c, figures, view);
	if (has_prompt)
		c.rows--;
	if (view->is_help) {
		add_help(&c);
	} else {
		add_workers(&c, figures);
		add_kinds(&c, figures, view, slow > 0 ? slow + 1 : 0);
		add_slow(&c, figures, slow);
	}
	if (!has_prompt)
		return;
	c.rows++;
	add_prompt(&c, view);
}

unsigned top_screen_sorts(void)
{
	return KIND_COLUMNS;
}
