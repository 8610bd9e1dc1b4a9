/* SPDX-License-Identifier: MIT */
/* Log lines: a constant event name and key=value pairs, to standard error.
 * Nothing on the message path logs; repeated events are summed (at most 10 lines a second for
 * one event, then one line that says how many were held back). */
#ifndef CX_LOG_H
#define CX_LOG_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum cx_log_level { CX_DEBUG, CX_INFO, CX_WARN, CX_ERROR };
enum cx_log_format { CX_LOG_TEXT, CX_LOG_JSON };

/* Before any thread is started. */
void cx_log_setup(enum cx_log_level level, enum cx_log_format format);
bool cx_log_enabled(enum cx_log_level level);

/* fmt makes `key=value key=value`; a value with spaces stands in double quotes.
 * In JSON each pair becomes a member (numbers stay numbers).  Thread: any. */
void cx_log(enum cx_log_level level, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif
#endif
