/* SPDX-License-Identifier: MIT */
/* Log lines: a constant event name and key=value pairs, to standard error.
 * Nothing on the message path logs; repeated events are summed: at most 10 lines a second
 * for one event, whose next line in a later second says how many were held back. */
#ifndef CX_LOG_H
#define CX_LOG_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How much a line matters, least first. */
enum cx_log_level { CX_DEBUG, CX_INFO, CX_WARN, CX_ERROR };

/* A line of text, or one JSON object a line. */
enum cx_log_format { CX_LOG_TEXT, CX_LOG_JSON };

/* The least level that is written, and the format; else CX_INFO and CX_LOG_TEXT.
 * Thread: main, before any other is started. */
void cx_log_setup(enum cx_log_level level, enum cx_log_format format);

/* Would a line of this level be written?  Saves making values that nobody reads.
 * Thread: any.
 * Returns true when it would. */
bool cx_log_enabled(enum cx_log_level level);

/* Write a line.  fmt, as of printf, makes `key=value key=value`; a value with spaces stands in
 * double quotes.  In JSON each pair becomes a member (numbers stay numbers).  A line ends
 * after 2047 bytes of pairs.
 * Thread: any.  Blocks: while standard error does.
 * Keeps: event, a constant text. */
void cx_log(enum cx_log_level level, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif
#endif
