/* SPDX-License-Identifier: MIT */
/* Users who are here, and what has to be told to Redis about them.
 *
 * 1. A user who is here is in exactly one list: `due` (has to be written) or `written` (was, or is on
 *    its way; the longest ago first).
 * 2. What leaves is told before what is written, and what is written before the workers hear of it: in
 *    one batch, and batches keep their order.
 * 3. A batch that failed is told again: users go back to `due`, kicks and accounts that are gone to
 *    their queues.  Only fields that were to be taken out are not: they lapse.
 *
 *   stack_routes.c        the actor, its lists and queues
 *   stack_routes_batch.c  batches: when they go, what came of them
 *   stack_routes_write.c  what they say
 *   stack_routes_kicks.c  who waits until a kick was done everywhere */
#ifndef IO_STACK_ROUTES_INTERNAL_H
#define IO_STACK_ROUTES_INTERNAL_H

#include "io/stack_routes.h"
#include "wire/uuid_map.h"

#define ROUTES_CHUNK 500 /* users, and fields that leave, a batch */
#define ROUTES_IN_FLIGHT_MAX 4
#define ROUTES_QUEUE_MAX 65536 /* fields, kicks, accounts that wait */

struct routes_member {
	int64_t join_ms; /* Unix time; growing with each join of this actor */
	bool is_young;   /* not known to be written: the server's clock decides */
	uint32_t number;
};

struct routes_user {
	struct uuid id;
	struct routes_user *next, *prev;
	struct routes_member *members;
	uint32_t count, cap;
	uint64_t written_ms; /* monotonic */
	bool is_due;
	bool is_announced; /* to the workers, by a batch that is on its way or done */
};

struct routes_list {
	struct routes_user *first, *last;
};

struct routes_leave {
	struct uuid user;
	uint32_t number;
	bool is_last;
};

/* Things that wait, the oldest first. */
struct routes_queue {
	uint8_t *at;
	uint32_t count, cap;
};

struct routes_written { /* a user in a batch */
	struct uuid user;
	int64_t joined_to_ms; /* with his members that had joined by then */
	bool is_announced;
};

struct routes_wait; /* for a kick, stack_routes_kicks.c */

enum routes_batch_kind { ROUTES_BATCH_FIELDS, ROUTES_BATCH_SAY };

struct routes_batch { /* on its way */
	struct routes_batch *next;
	uint64_t corr;
	enum routes_batch_kind kind;
	uint32_t leaves;
	uint32_t users;
	struct routes_written *written;
	struct push_kick_session *kicks;
	struct push_user_gone *gone;
	uint32_t kick_count, gone_count;
};

struct stack_routes {
	struct stack_routes_conf conf;
	struct uuid_map users;
	struct routes_list due, written; /* inv. 1 */
	struct routes_queue leaves;      /* struct routes_leave */
	struct routes_queue kicks;       /* struct push_kick_session */
	struct routes_queue gone;        /* struct push_user_gone */
	struct routes_batch *flying;
	uint32_t flying_count;
	struct redis_batch batch;
	struct redis_batch asides; /* published to one instance each, and not repeated */
	struct routes_wait *waits; /* the oldest first */
	uint64_t kicks_logged_ms;
	uint8_t *payload; /* scratch */
	size_t payload_cap;
	struct redis_arg *argv; /* scratch of one command */
	char *texts;
	uint32_t argv_members; /* for how many members there is room */
	int64_t last_join_ms;
	uint64_t registry_ms; /* when it was last told; 0: due */
	uint32_t backoff_ms;
	bool is_drained;
	struct cx_timer go_on, tick, backoff, repeat;
	struct stack_routes_figures *figures;
};

static inline void routes_count(uint64_t *figure, uint64_t n)
{
	/* relaxed: a figure, pairs with the load in stack_routes_figures */
	__atomic_store_n(figure, *figure + n, __ATOMIC_RELAXED);
}

/* ---- stack_routes.c ---- */

void routes_to_due(struct stack_routes *r, struct routes_user *u);
void routes_to_written(struct stack_routes *r, struct routes_user *u, uint64_t now_ms);
/* False: full, it is not kept. */
bool routes_queue_add(struct routes_queue *q, const void *item, size_t size);
/* Takes the first n out. */
void routes_queue_drop(struct routes_queue *q, uint32_t n, size_t size);
/* Nothing is sent for a while. */
void routes_back_off(struct cx_ctx *ctx, struct stack_routes *r);

/* ---- stack_routes_write.c: commands into r->batch ---- */

void routes_add_leave(struct stack_routes *r, const struct routes_leave *l);
void routes_add_user(struct stack_routes *r, const struct routes_user *u);
/* Tells the workers; n may be 0. */
void routes_add_news(struct stack_routes *r, const struct push_route *items, uint32_t n);
/* Two commands when there are any: who lives, and the kicks. */
void routes_add_kicks(struct cx_ctx *ctx, struct stack_routes *r, const struct routes_batch *b);
void routes_add_gone(struct stack_routes *r, const struct routes_batch *b);
void routes_add_registry(struct cx_ctx *ctx, struct stack_routes *r);
/* Into r->asides. */
void routes_add_displaced(struct stack_routes *r, uint64_t instance,
                          const struct push_kick_connection *kick);
void routes_add_confirm(struct stack_routes *r, uint64_t instance,
                        const struct push_kick_session *kick);

/* ---- stack_routes_kicks.c ---- */

void routes_kick_wait(struct cx_ctx *ctx, struct stack_routes *r,
                      const struct push_kick_session *kick, struct cx_caller caller);
/* The kicks of a batch were published; `walk` is at the reply that says who lives. */
void routes_kicks_said(struct cx_ctx *ctx, struct stack_routes *r, const struct routes_batch *b,
                       struct redis_walk walk);
void routes_kick_done(struct cx_ctx *ctx, struct stack_routes *r,
                      const struct push_kick_session *kick);
/* What is not confirmed is said again or given up. */
void routes_kicks_repeat(struct cx_ctx *ctx, struct stack_routes *r);
void routes_kicks_free(struct stack_routes *r);

/* ---- stack_routes_batch.c ---- */

/* Sends one batch of what is to be told about fields, one of kicks and accounts, and the registry when
 * it is time; true: more waits. */
bool routes_flush(struct cx_ctx *ctx, struct stack_routes *r);
/* The answer of a batch; NULL: there is none. */
void routes_answered(struct cx_ctx *ctx, struct stack_routes *r, uint64_t corr,
                     const struct cx_buf *values);
void routes_batch_drop(struct stack_routes *r, struct routes_batch *b);

#endif
