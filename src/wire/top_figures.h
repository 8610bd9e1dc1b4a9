/* SPDX-License-Identifier: MIT */
/* What `construct top` shows: the figures of a relay at one moment, and their JSON text, which goes over
 * the relay's Unix socket (io/top_socket.h) and to who asks `construct top` for JSON.
 *
 * Counters only grow from the relay's start on.  What is worked out from two samples ("rates") is there
 * only when interval_ms is not 0.  No identifier of a user is in it. */
#ifndef WIRE_TOP_FIGURES_H
#define WIRE_TOP_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOP_KINDS_MAX 64
#define TOP_WORKERS_MAX 96
#define TOP_SLOW_MAX 32
#define TOP_BUCKETS_MAX 272
#define TOP_NAME_MAX 48        /* bytes, with the zero at the end */
#define TOP_TEXT_MAX (2 << 20) /* bytes of the JSON; more is refused unread */

/* The tables: fields of the structs, keys of the JSON. */
/* clang-format off */
#define TOP_KIND_FIELDS(X) \
	X(live) X(spawned) X(messages) X(turns) X(busy_ns) X(refused) X(dead_letters) \
	X(late_replies) X(slow) X(restarts) X(unhandled) X(depth) X(depth_max) X(mailbox_cap) \
	X(handler_p50_ns) X(handler_p99_ns)
#define TOP_WORKER_FIELDS(X) \
	X(turns) X(polls) X(sleeps) X(wakeups) X(steals) X(busy_ns) X(pool_bytes) X(timers) \
	X(run_queue)
#define TOP_SLOW_FIELDS(X) X(count) X(longest_ms)
/* clang-format on */

struct top_bucket {
	uint64_t end_ns; /* the longest time that it counts */
	uint64_t count;
};

struct top_kind {
	char name[TOP_NAME_MAX];
#define X(field) uint64_t field;
	TOP_KIND_FIELDS(X)
#undef X
	struct top_bucket times[TOP_BUCKETS_MAX]; /* of handlers; end_ns grows; none is empty */
	size_t time_count;
	double messages_per_s; /* rates */
	uint64_t recent_p50_ns, recent_p99_ns;
};

struct top_worker {
	char name[TOP_NAME_MAX];
#define X(field) uint64_t field;
	TOP_WORKER_FIELDS(X)
#undef X
	double busy_share; /* rates; 0..1 */
	double wakeups_per_s, steals_per_s;
};

struct top_slow {
	char kind[TOP_NAME_MAX], message[TOP_NAME_MAX];
#define X(field) uint64_t field;
	TOP_SLOW_FIELDS(X)
#undef X
};

struct top_figures {
	char version[TOP_NAME_MAX];
	uint64_t pid;
	uint64_t uptime_ms;
	uint64_t taken_ns;    /* monotonic clock of the relay */
	uint64_t interval_ms; /* of the rates; 0: there are none */
	struct top_kind kinds[TOP_KINDS_MAX];
	size_t kind_count;
	struct top_worker workers[TOP_WORKERS_MAX];
	size_t worker_count;
	struct top_slow slow[TOP_SLOW_MAX];
	size_t slow_count;
};

/* One line of JSON with its line feed; *len without the zero at its end.
 * Returns text for free(), or NULL without memory. */
char *top_figures_encode(const struct top_figures *figures, size_t *len);

/* Takes numbers from 0 to 2^63 - 1; unknown keys are skipped, missing ones are 0, rates are not read.
 * Returns false when the text is no such document or holds more than the arrays take; *out is then
 * in no defined state. */
bool top_figures_decode(const char *text, size_t len, struct top_figures *out);

/* Fill the rates of `now` from an earlier sample of the same relay.  A counter that went back (the
 * relay was started anew) counts from 0. */
void top_figures_rates(const struct top_figures *before, struct top_figures *now);

#endif
