/* SPDX-License-Identifier: MIT */
/* For tests of what stands on PostgreSQL and Redis: the adapters and the store in a runtime, and an
 * actor that asks and keeps what comes back. */
#ifndef TESTS_SUPPORT_STACK_BENCH_H
#define TESTS_SUPPORT_STACK_BENCH_H

#include <cx/runtime.h>

#include "io/stack_store.h"
#include "support/postgres_peer.h"
#include "support/redis_peer.h"

struct stack_event {
	uint32_t type;
	enum cx_err err; /* of CX_MSG_ERROR */
	uint64_t corr;
	enum postgres_outcome outcome; /* of POSTGRES_RESULT */
	uint32_t count;
	char sqlstate[6];
	/* answers of PostgreSQL: "affected/rowsxcolumns value value", several apart by ';'; of Redis: the
	 * first value */
	char text[512];
	struct store_result
		store; /* of STORE_RESULT; hdr.buf is borrowed until the bench stops */
};

struct stack_bench {
	struct postgres_server pg;
	struct redis_server redis; /* only with a store */
	bool has_store;
	struct postgres_conf pg_conf;
	struct redis_conf redis_conf;
	struct redis_url redis_url;
	struct stack_store_conf store_conf;
	struct cx_runtime *rt;
	struct cx_ref pg_ref, redis_ref, store_ref, probe;
};

/* Default settings, servers prepared and running (with the schema); then change, then start. */
void stack_bench_prepare(struct stack_bench *b, bool has_store);
void stack_bench_start(struct stack_bench *b);
/* The runtime alone; stack_bench_end does it too. */
void stack_bench_stop(struct stack_bench *b);
void stack_bench_end(struct stack_bench *b);

/* Run fn inside a handler of the probe and wait until it has. */
void stack_bench_run(struct stack_bench *b, void (*fn)(struct cx_ctx *ctx, void *arg),
                     void *arg);
/* The next thing that came; fails the test after 30 s. */
struct stack_event stack_bench_next(void);
bool stack_bench_comes(unsigned ms);

/* Ask PostgreSQL with one text parameter, or none (NULL); the answer is an event, unless the error is
 * not CX_OK, which fails the test in the second. */
enum cx_err stack_bench_try_sql(struct stack_bench *b, unsigned statement, const char *param,
                                uint32_t timeout_ms);
void stack_bench_sql(struct stack_bench *b, unsigned statement, const char *param,
                     uint32_t timeout_ms);
/* Ask Redis, words separated by blanks, and wait: the first value as text. */
const char *stack_bench_redis(struct stack_bench *b, const char *words);
/* Ask the store and wait. */
struct store_result stack_bench_store(struct stack_bench *b, struct store_op op,
                                      struct cx_buf *blob);

/* Wait until the figures say so, at most 20 s. */
bool stack_bench_wait(bool (*is_so)(const struct postgres_figures *f, uint64_t n), uint64_t n);
bool postgres_is_connected(const struct postgres_figures *f, uint64_t n); /* n are up */
bool postgres_has_connected(const struct postgres_figures *f,
                            uint64_t n); /* n or more came up */
bool postgres_has_failed(const struct postgres_figures *f, uint64_t n);
bool postgres_is_in_flight(const struct postgres_figures *f, uint64_t n); /* n asks now */

#endif
