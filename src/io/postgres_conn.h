/* SPDX-License-Identifier: MIT */
/* One connection to PostgreSQL in pipeline mode that comes back: after a loss with full jitter
 * between 50 ms and 5 s.
 *
 * The owner is an IO actor.  It hands on its timer (TIMER_A) and POSTGRES_RESOLVED, and has a batch_end
 * that gives connections with room what waits.  All functions: Thread: the owner's worker, with its
 * ctx. */
#ifndef IO_POSTGRES_CONN_H
#define IO_POSTGRES_CONN_H

#include "io/loop_uv.h"
#include "io/postgres_queue.h"
#include "io/postgres_target.h"

struct cx_worker;
struct pg_conn;

/* What all connections of one adapter have in common. */
struct postgres_shared {
	struct cx_worker *worker;
	struct uv_loop_s *loop;
	struct cx_ref self;
	struct postgres_target target;
	const struct postgres_statement *statements;
	uint32_t statement_count;
	uint32_t connect_ms, ping_ms, dead_ms, pipeline_max;
	struct postgres_load load;
	struct postgres_figures *figures;
};

/* WAITING -> RESOLVING -> CONNECTING -> UP; each may fall back to WAITING.  STOPPED is the last. */
enum postgres_conn_state {
	POSTGRES_CONN_WAITING,
	POSTGRES_CONN_RESOLVING,
	POSTGRES_CONN_CONNECTING,
	POSTGRES_CONN_UP,
	POSTGRES_CONN_STOPPED,
};

struct postgres_conn {
	struct loop_watch watch; /* first: the loop hands it back */
	enum postgres_conn_state state;
	uint32_t number;
	struct postgres_shared *shared;
	struct pg_conn *pg;
	struct cx_timer timer; /* of a connection attempt, or until the next */
	unsigned failures;     /* in a row */
	uint32_t turn;         /* tries; an answer of the resolver to an older one is stale */
	struct postgres_ring sent;
	uint8_t *answer; /* to the ask at the head so far */
	size_t answer_len, answer_cap;
	uint64_t up_ms, rx_ms;
	bool is_readonly; /* it refused a write: after a failover the address leads elsewhere */
};

/* The first try starts at once.  The connection must not move afterwards. */
void postgres_conn_start(struct cx_ctx *ctx, struct postgres_conn *c,
                         struct postgres_shared *shared, uint32_t number);
void postgres_conn_stop(struct cx_ctx *ctx, struct postgres_conn *c);

void postgres_conn_on_timer(struct cx_ctx *ctx, struct postgres_conn *c);
void postgres_conn_on_resolved(struct cx_ctx *ctx, struct postgres_conn *c,
                               const struct postgres_resolved_msg *m);

/* Takes an ask over. */
bool postgres_conn_has_room(const struct postgres_conn *c);
void postgres_conn_send(struct cx_ctx *ctx, struct postgres_conn *c, struct postgres_entry *e);

/* Now and then: ends a connection whose server does not answer, pings an idle one. */
void postgres_conn_check(struct cx_ctx *ctx, struct postgres_conn *c);

#endif
