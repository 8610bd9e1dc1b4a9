/* SPDX-License-Identifier: MIT */
/* The kinds of load: each maker adds its share for this thread, or nothing if the share is
 * empty.  users is the run's table; a part uses the range from first on, the same for all
 * threads. */
#ifndef CONSTRUCT_ROLES_BENCH_PARTS_H
#define CONSTRUCT_ROLES_BENCH_PARTS_H

#include <stdint.h>

#include "roles/bench_run.h"

/* Pairs of users; sender i is users[first + 2 i], its recipient the next one. */
void bench_relay_add(struct bench_thread *thread, uint32_t first, uint32_t pairs);

/* conf->connections that send frames and get them back. */
void bench_echo_add(struct bench_thread *thread);

/* count connections that authenticate and stay, per_user for each user.  With storm they all
 * drop and reconnect when phase 1 begins. */
enum bench_idle_kind { BENCH_IDLE_HOLD, BENCH_IDLE_STORM };
void bench_idle_add(struct bench_thread *thread, enum bench_idle_kind kind, uint32_t first,
                    uint32_t count);

/* conf->connections that connect, authenticate, close, and again. */
void bench_cycle_add(struct bench_thread *thread, uint32_t first);

/* conf->logins_per_s in phase 1, with the passwords of count users. */
void bench_login_add(struct bench_thread *thread, uint32_t first, uint32_t count);

/* Files a connection that the server ended, or one that could not be set up. */
void bench_count_end(struct bench_thread *thread, const struct ws_client_end *end);
void bench_count_failed(struct bench_thread *thread, const char *code, const char *text);

#endif
