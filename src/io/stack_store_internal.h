/* SPDX-License-Identifier: MIT */
/* An operation is a chain of questions to the two backends: each step asks one and names the function
 * that takes its answer; the last one ends the operation.
 *
 *   stack_store.c          the actor, operations under way
 *   stack_store_ask.c      keys, parameters, questions, values of answers
 *   stack_store_users.c    users, devices
 *   stack_store_bundles.c  key bundles and their cache
 *   stack_store_sessions.c sessions
 *   stack_store_limits.c   limits and blocks */
#ifndef IO_STACK_STORE_INTERNAL_H
#define IO_STACK_STORE_INTERNAL_H

#include "io/stack_store.h"

struct stack_op;
struct stack_store;

/* What a backend said.  Not is_ok: it could not be asked, or refused. */
struct stack_answer {
	bool is_ok;
	const struct cx_buf *buf;
};

typedef void stack_step_fn(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                           const struct stack_answer *a);

struct stack_op {              /* an operation under way */
	struct stack_op *next; /* free list, or chain of a bucket */
	uint64_t corr;         /* of the question that it waits for; 0: none */
	struct cx_caller caller;
	stack_step_fn *then;
	stack_step_fn *after; /* of stack_sessions_end: where it goes on */
	struct store_op ask;  /* hdr.buf: a reference of its own */
	struct store_result result;
	struct cx_buf *found;       /* of the result, or NULL */
	enum store_outcome outcome; /* what a step found out for the last one */
};

#define STACK_BUCKETS 1024 /* a power of two */

struct stack_store {
	struct stack_store_conf conf;
	struct stack_op *waiting[STACK_BUCKETS]; /* by corr */
	struct stack_op *free;
	uint32_t count, free_count;
	struct redis_batch redis;
	struct postgres_batch postgres;
	uint64_t exists_from_ms; /* not asked before: PostgreSQL did not answer lately */
	struct stack_store_figures *figures;
};

enum stack_sql {
	STACK_SQL_USER_PUT,
	STACK_SQL_USER_AND_BUNDLE_PUT,
	STACK_SQL_BY_NAME,
	STACK_SQL_BY_ID,
	STACK_SQL_EXISTS,
	STACK_SQL_HAS_HASH,
	STACK_SQL_USER_DELETE,
	STACK_SQL_PASSWORD_SET,
	STACK_SQL_BUNDLE_GET,
	STACK_SQL_BUNDLE_PUT,
	STACK_SQL_DEVICE_PUT,
	STACK_SQL_DEVICES_TRIM,
	STACK_SQL_DEVICE_UPDATE,
	STACK_SQL_DEVICE_DELETE,
	STACK_SQL_PING,
};

enum stack_script { STACK_SCRIPT_TAKE, STACK_SCRIPT_LEASE, STACK_SCRIPT_BLOCK };

static inline void stack_count(uint64_t *figure, uint64_t n)
{
	/* relaxed: a figure, pairs with the load in stack_store_figures */
	__atomic_store_n(figure, *figure + n, __ATOMIC_RELAXED);
}

/* ---- stack_store.c ---- */

/* The operation waits for the answer to this question: err and corr are what the sender gave. */
void stack_wait(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op, enum cx_err err,
                uint64_t corr, stack_step_fn *then);
/* The end; op is gone. */
void stack_end(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
               enum store_outcome outcome);

/* ---- stack_store_ask.c ---- */

#define STACK_KEY_MAX 64

/* A key of Redis; len without the NUL. */
struct stack_key {
	char text[STACK_KEY_MAX];
	size_t len;
};

struct stack_key stack_key_uuid(const char *prefix, const struct uuid *id);
/* prefix{hex} */
struct stack_key stack_key_hash(const char *prefix, const uint8_t key[16]);
struct redis_arg stack_arg(const struct stack_key *key);
/* A number as text in `key`. */
struct redis_arg stack_arg_number(int64_t n, struct stack_key *key);

struct postgres_param stack_uuid(const struct uuid *id);
struct postgres_param stack_text(const char *text);

void stack_ask_sql(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                   enum stack_sql statement, const struct postgres_param *params, unsigned n,
                   stack_step_fn *then);
void stack_ask_sql_for(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                       enum stack_sql statement, const struct postgres_param *params,
                       unsigned n, uint32_t timeout_ms, stack_step_fn *then);
/* s->postgres, gathered with stack_sql_add. */
void stack_sql_add(struct stack_store *s, enum stack_sql statement,
                   const struct postgres_param *params, unsigned n);
void stack_ask_sql_batch(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                         stack_step_fn *then);
/* s->redis. */
void stack_ask_redis(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                     stack_step_fn *then);
void stack_ask_script(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                      enum stack_script script, const struct redis_arg *argv, unsigned n,
                      stack_step_fn *then);

/* Of the first answer of PostgreSQL: rows written or found. */
uint64_t stack_affected(const struct stack_answer *a);
/* user, and name and hash where there are columns; false: no row, or not of this shape. */
bool stack_fill_user(const struct stack_answer *a, struct store_result *out);
/* The first value of the answer of Redis is a text of at most 63 bytes: in out, with a NUL. */
bool stack_first_text(const struct stack_answer *a, char out[STACK_KEY_MAX]);

/* What no row means: STORE_CHANGED, when a hash was asked for. */
enum store_outcome stack_none(const struct stack_op *op);
/* PostgreSQL said how many rows: none is stack_none. */
void stack_end_affected(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                        const struct stack_answer *a);

/* ---- the operations ---- */

void stack_user_create(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op);
void stack_user_find(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op);
void stack_user_exists(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op);
void stack_user_delete(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op);
void stack_password_set(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op);
void stack_device(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op);
void stack_bundle_get(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op);
void stack_bundle_put(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op);
void stack_session_put(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op);
void stack_session_get(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op);
void stack_session_delete(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op);
void stack_limit(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op);
void stack_block_set(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op);
void stack_block_get(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op);
void stack_ping(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op);

/* A session of op->ask goes into Redis, then the operation ends. */
void stack_session_write(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op);
/* All sessions of op->ask.user but `ask.jti` end (zero: all), then `then` goes on. */
void stack_sessions_end(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                        stack_step_fn *then);
/* For the rest of this minute nothing of the user's bundle is believed or kept in the cache. */
void stack_bundle_doubt(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                        stack_step_fn *then);

#endif
