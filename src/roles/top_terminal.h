/* SPDX-License-Identifier: MIT */
/* The terminal of a live view: its size, its keys, lines on its alternate screen.  Plain ANSI sequences
 * (ECMA-48, and xterm's alternate screen, which screen and tmux know too). */
#ifndef CONSTRUCT_ROLES_TOP_TERMINAL_H
#define CONSTRUCT_ROLES_TOP_TERMINAL_H

#include <cx/err.h>

#include "roles/top_screen.h"

enum top_event { TOP_EVENT_TIME, TOP_EVENT_KEY, TOP_EVENT_RESIZED, TOP_EVENT_END };

/* Keys one by one, the alternate screen.  SIGINT, SIGTERM and SIGHUP become TOP_EVENT_END.
 * Thread: main; one at a time.  Returns CX_EIO: standard input is no terminal, nothing has changed. */
CX_NODISCARD enum cx_err top_terminal_open(void);

/* All as it was before. */
void top_terminal_close(void);

void top_terminal_size(unsigned *columns, unsigned *rows);
void top_terminal_show(const struct top_screen *screen);

/* Wait for the first of: a key (in *key), another size, an end, timeout_ms. */
enum top_event top_terminal_wait(int timeout_ms, unsigned char *key);

#endif
