/* SPDX-License-Identifier: MIT */
/* The picture that `construct top` shows, as lines of plain ASCII, and the keys that change it.  No
 * terminal in it: top.c prints the lines, top_terminal.h shows them. */
#ifndef CONSTRUCT_ROLES_TOP_SCREEN_H
#define CONSTRUCT_ROLES_TOP_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/top_figures.h"

#define TOP_LINES_MAX 256
#define TOP_COLUMNS_MAX 200
#define TOP_FILTER_MAX 32

/* What the user chose.  Zeroed is the start: by messages a second, largest first. */
struct top_view {
	unsigned sort; /* column of the table of kinds, counted from messages a second on */
	bool is_reversed;
	bool is_paused;
	bool is_help;
	bool is_typing;              /* the filter */
	char filter[TOP_FILTER_MAX]; /* kinds whose name holds it; empty: all */
	const char *notice;          /* shown in the first line, or NULL */
};

struct top_screen {
	unsigned count;
	bool is_heading[TOP_LINES_MAX];
	char line[TOP_LINES_MAX][TOP_COLUMNS_MAX + 1];
};

enum top_key { TOP_KEY_NOTHING, TOP_KEY_REDRAW, TOP_KEY_QUIT };

/* How many columns one can sort by. */
unsigned top_screen_sorts(void);

/* A byte that was typed. */
enum top_key top_view_key(struct top_view *view, unsigned char byte);

/* Draw into at most `columns` by `rows`; rows 0: as many as it takes.  What does not fit gives way:
 * columns from the right, then rows, with a line that says how many are missing. */
void top_screen_draw(struct top_screen *screen, const struct top_figures *figures,
                     const struct top_view *view, unsigned columns, unsigned rows);

#endif
