/* SPDX-License-Identifier: MIT */
/* The store (store.h) on PostgreSQL and Redis: users, bundles and device tokens there, sessions,
 * limits and blocks here (docs/redis-keys.md).  One actor a worker; it is reader and writer.
 *
 *   ask   store_*  -> STORE_RESULT, or CX_MSG_ERROR
 *
 * Where an operation needs both, Redis is asked first whether it is there, PostgreSQL decides, and
 * what Redis holds follows.  STORE_FAILED in such an operation can mean that the first half was done:
 * a user that was created without its session (a login is enough), a password that was changed while
 * other sessions live on (change it again), a user that is gone with keys left (they lead nowhere, and
 * end with their TTL).
 *
 * As the embedded store, but: a limit of which max * window_ms is over 2^53 is STORE_FAILED. */
#ifndef IO_STACK_STORE_H
#define IO_STACK_STORE_H

#include "io/postgres.h"
#include "io/redis.h"
#include "io/store.h"

/* For the conf of the two adapters, as they are or as a part of a longer table. */
#define STACK_STORE_SCRIPT_COUNT 3
extern const struct redis_script stack_store_scripts[STACK_STORE_SCRIPT_COUNT];
#define STACK_STORE_STATEMENT_COUNT 15
extern const struct postgres_statement stack_store_statements[STACK_STORE_STATEMENT_COUNT];

struct stack_store_conf {
	struct cx_ref postgres, redis; /* of the same worker, or of any */
	unsigned statement_base;       /* where stack_store_statements begins in its table */
	unsigned script_base;          /* where stack_store_scripts begins */
	uint32_t timeout_ms;           /* of each question to a backend; 0: 5000 */
	uint32_t cache_ms;             /* how long a key bundle is believed; 0: 600000 */
};

/* Conf: struct stack_store_conf; home_key: the worker. */
extern const struct cx_actor_type stack_store_type;

struct stack_store_figures { /* of all workers; uint64_t only */
	uint64_t asked;
	uint64_t failed;  /* STORE_FAILED */
	uint64_t waiting; /* operations under way now */
	uint64_t refused; /* answered STORE_FAILED at once: too many under way */
	uint64_t cache_hits;
	uint64_t cache_misses;
};

/* Thread: any. */
void stack_store_figures(struct stack_store_figures *out);

#endif
