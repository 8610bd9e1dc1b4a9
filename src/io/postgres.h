/* SPDX-License-Identifier: MIT */
/* PostgreSQL: a few connections in pipeline mode on one worker, and a queue before them.
 *
 *   ask   postgres_ask, postgres_batch_send  -> POSTGRES_RESULT, or CX_MSG_ERROR
 *
 * Statements are unnamed and an ask is one transaction without BEGIN (it ends at its Sync), so
 * DATABASE_URL may be a pooler in transaction mode.  Asks go to the connection with the least in
 * flight: two asks may be executed in any order, also those of one actor; wait for the answer
 * where the order matters.
 *
 * While no connection is up, or all have enough to do, asks wait until their deadline.  CX_MSG_ERROR
 * is CX_ETIMEOUT (executed or not, nobody knows), CX_EFULL (busy: not sent), CX_EINVAL (no such
 * statement), CX_EGONE.
 *
 * TLS is as the URL says; over a network that is sslmode=verify-full with sslrootcert=FILE: libpq's
 * own default would take any certificate, and no encryption. */
#ifndef IO_POSTGRES_H
#define IO_POSTGRES_H

#include <cx/actor.h>

#include <construct/messages.h>

#define POSTGRES_PARAMS_MAX 16
#define POSTGRES_BATCH_MAX 16                       /* statements of one ask */
#define POSTGRES_ASK_BYTES_MAX (4u * 1024u * 1024u) /* all parameters of one ask */
#define POSTGRES_ANSWER_BYTES_MAX (16u * 1024u * 1024u)
#define POSTGRES_CONNECTIONS_MAX 64 /* of one adapter */

/* ---- asking ---- */

/* In binary form, as the server has it: uuid 16 bytes, text and bytea as they are, boolean one byte,
 * numbers big-endian (postgres_int64). */
struct postgres_param {
	const void *at; /* NULL: the value NULL */
	size_t len;
};

#define POSTGRES_NULL             \
	{                         \
		(NULL), (size_t)0 \
	}

/* v as a bigint parameter in out; returns out. */
const uint8_t *postgres_int64(int64_t v, uint8_t out[8]);

/* Statement number `statement` of the adapter's table, with n parameters.
 * Thread: any handler.  Keeps: nothing.
 * Returns as cx_ask, or CX_EINVAL: too big, nothing was sent. */
CX_NODISCARD enum cx_err postgres_ask(struct cx_ctx *ctx, struct cx_ref pg, unsigned statement,
                                      const struct postgres_param *params, unsigned n,
                                      uint32_t timeout_ms, uint64_t *corr);

/* Several statements as one transaction: all are executed, or none.  Zeroed is empty; lives in its
 * owner's state and is used again. */
struct postgres_batch {
	uint8_t *at;
	size_t len, cap; /* bytes */
	uint32_t count;  /* statements */
	bool is_too_big;
};

/* Keeps: nothing of params. */
void postgres_batch_add(struct postgres_batch *batch, unsigned statement,
                        const struct postgres_param *params, unsigned n);
/* As postgres_ask; CX_EINVAL also for more than POSTGRES_BATCH_MAX statements or none.  The batch is
 * empty afterwards in any case. */
CX_NODISCARD enum cx_err postgres_batch_send(struct cx_ctx *ctx, struct cx_ref pg,
                                             struct postgres_batch *batch, uint32_t timeout_ms,
                                             uint64_t *corr);
void postgres_batch_free(struct postgres_batch *batch);

/* ---- what comes back ---- */

enum postgres_outcome {
	POSTGRES_DONE, /* committed; answers in hdr.buf */
	POSTGRES_REFUSED, /* the server refused a statement: nothing of the ask was done, unless it is
	                   * 54000: the answer is over POSTGRES_ANSWER_BYTES_MAX */
	POSTGRES_UNKNOWN, /* the connection broke after sending: all was done or nothing */
};

struct postgres_result {
	struct cx_msg hdr;
	enum postgres_outcome outcome;
	uint32_t count;   /* answers in buf: as many as statements asked */
	char sqlstate[6]; /* when refused: "23505" is a unique violation */
};

/* The answer to one statement; its rows * columns values come next. */
struct postgres_answer {
	uint32_t rows, columns;
	uint64_t affected; /* rows written, or given back by a SELECT */
};

struct postgres_value {
	const uint8_t *at; /* borrowed from the buffer; NULL: the value NULL */
	uint32_t len;
};

/* A place in the answers of a buffer. */
struct postgres_walk {
	const uint8_t *at, *end;
	uint64_t values; /* of the present answer, still to come */
};

struct postgres_walk postgres_walk_start(const struct cx_buf *buf);
/* The next answer, past what is left of the present one.  False: at the end. */
bool postgres_walk_answer(struct postgres_walk *walk, struct postgres_answer *out);
/* The next value of the present answer, row by row.  False: it has no more. */
bool postgres_walk_value(struct postgres_walk *walk, struct postgres_value *out);

/* ---- the adapter ---- */

struct postgres_statement {
	const char *name; /* for the log */
	const char *sql;
};

/* All that is pointed to is borrowed for the adapter's life. */
struct postgres_conf {
	const char *url;              /* postgresql://...; never logged */
	const char *application_name; /* unless the URL has one */
	const struct postgres_statement *statements;
	uint32_t statement_count;
	uint32_t connections;     /* 0: 4 */
	uint32_t pipeline_max;    /* asks in flight on each; 0: 16 */
	uint32_t queue_max;       /* asks, those in flight included; 0: 1024 */
	uint32_t queue_bytes_max; /* of their parameters; 0: 16 MiB */
	uint32_t connect_ms;      /* for name, address, TLS and log-in together; 0: 5000 */
	uint32_t ping_ms;         /* after so long without traffic; 0: 5000 */
	uint32_t
		dead_ms; /* without a byte while an answer is due: reconnect, so no statement may
	                   * take longer; 0: 10000 */
};

/* Conf: struct postgres_conf; home_key: the worker.  The runtime needs loop_uv_ops.
 * Ends with CX_EINVAL: the conf or the URL cannot be used (logged, without the URL). */
extern const struct cx_actor_type postgres_type;

/* ---- figures ---- */

struct postgres_figures {   /* of all adapters of the process; uint64_t only */
	uint64_t connected; /* connections up now */
	uint64_t connects;  /* that came up */
	uint64_t failures;  /* connections lost, and tries that failed */
	uint64_t in_flight; /* asks now, waiting ones included */
	uint64_t queries;   /* statements answered */
	uint64_t errors;    /* asks that the server refused */
	uint64_t unknown;   /* asks whose connection broke after sending */
	uint64_t refused;   /* asks refused: busy */
	uint64_t late;      /* answered after their deadline, or never sent because of it */
	uint64_t latency_ns_sum; /* from sending to the answer, by ask */
	uint64_t latency_count;
	uint64_t latency_ns_max;
};

/* Thread: any. */
void postgres_figures(struct postgres_figures *out);

/* ---- messages of the senders above, and the adapter's own ---- */

struct postgres_ask_msg { /* hdr.buf: statements and parameters (postgres_request.h) */
	struct cx_msg hdr;
	uint32_t count; /* statements */
	uint32_t timeout_ms;
};

struct postgres_resolved_msg;

#endif
