/* SPDX-License-Identifier: MIT */
/* What a thread of the load generator counts; added up at the end. */
#ifndef CONSTRUCT_ROLES_BENCH_STATS_H
#define CONSTRUCT_ROLES_BENCH_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "roles/bench_frame.h"
#include "roles/histogram.h"

#define BENCH_PHASES 2
#define BENCH_ERROR_KINDS 40
#define BENCH_SLOTS_MAX 100000 /* seconds of a run that are told apart */

/* Latencies: name, what it measures. */
#define BENCH_SERIES_MAP(XX)                                                             \
	XX(ACCEPTED, "accepted", "send due -> accepted by the server")                   \
	XX(RECEIPT, "receipt", "send due -> with the recipient")                         \
	XX(TRANSIT, "transit",                                                           \
	   "sender knows it was accepted -> with the recipient, 0 when that was before") \
	XX(DELIVERED, "delivered", "send due -> sender knows it was delivered")          \
	XX(ECHO, "echo", "frame sent -> frame back")                                     \
	XX(HANDSHAKE, "handshake", "TCP connect -> WebSocket open")                      \
	XX(CONNECT, "connect", "TCP connect -> connectSuccess")                          \
	XX(LOGIN, "login", "due -> loginSuccess on a new connection")                    \
	XX(SERVED, "served", "all dropped -> connectSuccess again")

enum bench_series {
#define XX(name, text, help) BENCH_SERIES_##name,
	BENCH_SERIES_MAP(XX)
#undef XX
		BENCH_SERIES_COUNT
};

/* Counters: name in JSON, whether any is a broken guarantee, what it says. */
#define BENCH_COUNT_MAP(XX)                                                                  \
	XX(SENT, "sent", 0, "messages sent")                                                 \
	XX(ACCEPTED, "accepted", 0, "accepted")                                              \
	XX(RECEIVED, "received", 0, "received by the recipient")                             \
	XX(DELIVERED, "delivered", 0, "reported as delivered")                               \
	XX(COMPLETED, "completed", 0, "whole cycles")                                        \
	XX(REFUSED, "refused", 0, "refused with an error")                                   \
	XX(DRAINED, "drained", 0, "received by recipients that came online at the end")      \
	XX(ECHOED, "echoed", 0, "frames echoed")                                             \
	XX(CONNECTED, "connected", 0,                                                        \
	   "connections set up and authenticated in the measurement")                        \
	XX(LOGGED_IN, "logged_in", 0, "logins")                                              \
	XX(HELD, "held", 0, "idle connections held")                                         \
	XX(RETRIED, "dial_retries", 0, "connection attempts that had to be repeated")        \
	XX(OVERDUE, "overdue", 0, "due, but not sent in time: --inflight was reached")       \
	XX(CUT_OFF, "cut_off", 0, "under way when the connection of their pair ended")       \
	XX(LOGIN_REFUSED, "logins_refused", 0, "logins that the server refused")             \
	XX(SHED, "logins_shed", 0, "logins not begun: over 1000 were under way")             \
	XX(LOST, "lost", 1, "accepted but not received")                                     \
	XX(UNANSWERED, "unanswered", 1, "sent without any answer")                           \
	XX(UNREPORTED, "unreported", 1, "received, but delivered was not reported")          \
	XX(REPEATED, "repeated", 1, "received more than once")                               \
	XX(OUT_OF_ORDER, "out_of_order", 1, "received after a later one of the same sender") \
	XX(ANSWER_ORDER, "answer_out_of_order", 1, "accepted after a later one")             \
	XX(CORRUPT, "corrupt", 1, "not as it was sent")                                      \
	XX(STRAY, "stray", 1, "answers or messages that nobody waited for")                  \
	XX(GHOST, "refused_but_delivered", 1, "refused, and received all the same")          \
	XX(BROKEN, "connections_lost", 1, "connections that the server ended")               \
	XX(FAILED, "connections_failed", 1, "connections that could not be set up")

enum bench_count {
#define XX(name, text, is_breach, help) BENCH_##name,
	BENCH_COUNT_MAP(XX)
#undef XX
		BENCH_COUNT_COUNT
};

/* An error by its code, or the way a connection ended. */
struct bench_error {
	char code[64];
	char text[96]; /* of the first */
	uint64_t count;
};

struct bench_stats {
	uint64_t counts[BENCH_COUNT_COUNT];
	struct histogram *series[BENCH_PHASES][BENCH_SERIES_COUNT]; /* NULL: nothing yet */
	struct bench_error errors[BENCH_ERROR_KINDS];
	uint32_t error_kinds;
	uint32_t *slots; /* done in each second since the begin */
	uint32_t slot_count;
};

void bench_stats_init(struct bench_stats *stats);
void bench_stats_free(struct bench_stats *stats);

void bench_stats_record(struct bench_stats *stats, uint32_t phase, enum bench_series series,
                        uint64_t value_ns);
void bench_stats_error(struct bench_stats *stats, struct bench_slice code,
                       struct bench_slice text);
void bench_stats_slot(struct bench_stats *stats, uint64_t second);

/* Adds all of from. */
void bench_stats_add(struct bench_stats *stats, const struct bench_stats *from);

/* The middle of the whole seconds [first, first + n), 0 when there are none. */
uint32_t bench_stats_slot_median(const struct bench_stats *stats, uint32_t first, uint32_t n);

bool bench_count_is_breach(enum bench_count count);
const char *bench_count_name(enum bench_count count);
const char *bench_count_help(enum bench_count count);
const char *bench_series_name(enum bench_series series);
const char *bench_series_help(enum bench_series series);

#endif
