/* SPDX-License-Identifier: MIT */
#include <cx/log.h>

#include <ctype.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048
#define EVENTS 64 /* summed at a time */
#define LINES_A_SECOND 10

static struct {
	enum cx_log_level level;
	enum cx_log_format format;
} settings = { CX_INFO, CX_LOG_TEXT };

/* Sums repeated events: a slot for each event name that was seen lately. */
static struct reporter {
	const char *event;
	time_t second;
	unsigned lines, held_back;
} reporters[EVENTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const char *const level_names[] = { "debug", "info", "warn", "error" };

void cx_log_setup(enum cx_log_level level, enum cx_log_format format)
{
	settings.level = level;
	settings.format = format;
}

bool cx_log_enabled(enum cx_log_level level)
{
	return level >= settings.level;
}

/* Under lock.  The event's own, or the one that was idle longest. */
static struct reporter *reporter_of(const char *event)
{
	struct reporter *idlest = &reporters[0];

	for (size_t i = 0; i < EVENTS; i++) {
		if (reporters[i].event == event)
			return &reporters[i];
		if (reporters[i].second < idlest->second)
			idlest = &reporters[i];
	}
	return idlest;
}

/* Under lock.  false: over the rate; *held_back: how many were, before this one. */
static bool admit(const char *event, time_t second, unsigned *held_back)
{
	struct reporter *r = reporter_of(event);

	*held_back = 0;
	if (r->event != event || r->second != second) {
		*held_back = r->event == event ? r->held_back : 0;
		*r = (struct reporter){ .event = event, .second = second };
	}
	if (r->lines >= LINES_A_SECOND) {
		r->held_back++;
		return false;
	}
	r->lines++;
	return true;
}

struct out {
	char *at, *end;
};

static void put(struct out *o, char c)
{
	if (o->at < o->end)
		*o->at++ = c;
}

static void put_text(struct out *o, const char *text)
{
	while (*text != '\0')
		put(o, *text++);
}

static void put_json_char(struct out *o, char c)
{
	static const char hex[] = "0123456789abcdef";

	if (c == '"' || c == '\\') {
		put(o, '\\');
		put(o, c);
	} else if ((unsigned char)c < 0x20) {
		put_text(o, "\\u00");
		put(o, hex[(unsigned char)c >> 4]);
		put(o, hex[c & 15]);
	} else {
		put(o, c);
	}
}

static bool is_number(const char *at, size_t len)
{
	size_t i = at[0] == '-' ? 1 : 0;
	unsigned dots = 0;

	if (len > 18 || i == len || !isdigit((unsigned char)at[i]) ||
	    !isdigit((unsigned char)at[len - 1]))
		return false;
	if (at[i] == '0' && len > i + 1 && at[i + 1] != '.')
		return false;
	for (; i < len; i++) {
		if (at[i] == '.')
			dots++;
		else if (!isdigit((unsigned char)at[i]))
			return false;
	}
	return dots <= 1;
}

/* `key=value key="a value"` becomes `,"key":value,"key":"a value"`. */
static void put_members(struct out *o, const char *pairs)
{
	while (*pairs != '\0') {
		const size_t key_len = strcspn(pairs, "= ");
		const char *value = pairs + key_len;
		size_t len;
		bool is_quoted;

		if (*value != '=') { /* no value: skip the word */
			pairs = value + strspn(value, " ");
			continue;
		}
		value++;
		is_quoted = *value == '"';
		if (is_quoted)
			value++;
		len = strcspn(value, is_quoted ? "\"" : " ");
		put_text(o, ",\"");
		for (size_t i = 0; i < key_len; i++)
			put_json_char(o, pairs[i]);
		put_text(o, "\":");
		if (!is_quoted && is_number(value, len)) {
			for (size_t i = 0; i < len; i++)
				put(o, value[i]);
		} else {
			put(o, '"');
			for (size_t i = 0; i < len; i++)
				put_json_char(o, value[i]);
			put(o, '"');
		}
		pairs = value + len + (is_quoted && value[len] == '"' ? 1 : 0);
		pairs += strspn(pairs, " ");
	}
}

static void write_line(const char *line, size_t len)
{
	while (len > 0) {
		const ssize_t n = write(STDERR_FILENO, line, len);

		if (n <= 0)
			return; /* nobody reads our log: nothing better to do */
		line += n;
		len -= (size_t)n;
	}
}

static void emit(enum cx_log_level level, const char *event, const char *pairs,
                 const struct timespec *now, unsigned held_back)
{
	char line[LINE_MAX_BYTES + 256];
	char stamp[48], held[48];
	struct out o = { line, line + sizeof(line) - 3 };
	struct tm tm;

	gmtime_r(&now->tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	held[0] = '\0';
	if (held_back > 0)
		snprintf(held, sizeof(held), "%sheld_back=%u", pairs[0] != '\0' ? " " : "",
		         held_back);
	if (settings.format == CX_LOG_JSON) {
		put_text(&o, "{\"time\":\"");
		put_text(&o, stamp);
		snprintf(stamp, sizeof(stamp), ".%03uZ", (unsigned)(now->tv_nsec / 1000000));
		put_text(&o, stamp);
		put_text(&o, "\",\"level\":\"");
		put_text(&o, level_names[level]);
		put_text(&o, "\",\"event\":\"");
		put_text(&o, event);
		put(&o, '"');
		put_members(&o, pairs);
		put_members(&o, held + strspn(held, " "));
		*o.at++ = '}';
	} else {
		put_text(&o, stamp);
		snprintf(stamp, sizeof(stamp), ".%03uZ ", (unsigned)(now->tv_nsec / 1000000));
		put_text(&o, stamp);
		put_text(&o, level_names[level]);
		put(&o, ' ');
		put_text(&o, event);
		put(&o, ' ');
		for (const char *p = pairs; *p != '\0'; p++)
			put(&o, (unsigned char)*p < 0x20 ? ' ' : *p);
		put_text(&o, held);
	}
	*o.at++ = '\n';
	write_line(line, (size_t)(o.at - line));
}

void cx_log(enum cx_log_level level, const char *event, const char *fmt, ...)
{
	char pairs[LINE_MAX_BYTES];
	struct timespec now, steady;
	unsigned held_back;
	va_list args;

	if (level < settings.level)
		return;
	va_start(args, fmt);
	vsnprintf(pairs, sizeof(pairs), fmt, args);
	va_end(args);
	clock_gettime(CLOCK_REALTIME, &now);
	clock_gettime(CLOCK_MONOTONIC, &steady); /* the other may be set back */
	pthread_mutex_lock(&lock);
	if (admit(event, steady.tv_sec, &held_back))
		emit(level, event, pairs, &now, held_back);
	pthread_mutex_unlock(&lock);
}
