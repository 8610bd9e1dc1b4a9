/* SPDX-License-Identifier: MIT */
/* Redis: one pipelined connection a worker.  Commands go out in the order in which they came, one
 * send for all that one turn brought; replies are matched to them by order.
 *
 *   ask   redis_call, redis_call_script, redis_batch_send  -> REDIS_REPLY, or CX_MSG_ERROR
 *   out   REDIS_CHANGED to the owner: it is another server now, or the same with a new life
 *
 * While there is no connection, commands wait for it until their deadline.  CX_MSG_ERROR is
 * CX_ETIMEOUT (executed or not, nobody knows), CX_EFULL (too much in flight: not sent), CX_EGONE.
 *
 * Not for commands that change what a connection is, or hold up those behind them: SUBSCRIBE
 * (redis_sub.h), MULTI, SELECT, WATCH, MONITOR, CLIENT REPLY, and all that block. */
#ifndef IO_REDIS_H
#define IO_REDIS_H

#include <cx/actor.h>

#include <construct/messages.h>

#include "wire/redis_url.h"

#define REDIS_REQUEST_BYTES_MAX 10000000 /* hosted servers refuse more */
#define REDIS_ANSWER_BYTES_MAX \
	(32u * 1024u * 1024u)       /* all replies to one message, and each reply */
#define REDIS_ELEMENTS_MAX 1048576u /* of one array */
#define REDIS_SCRIPTS_MAX 16
#define REDIS_BATCH_MAX 4096 /* commands */
#define REDIS_RUN_ID_LEN 40

/* ---- asking ---- */

struct redis_arg {
	const void *at;
	size_t len;
};

#define REDIS_TEXT(literal)                    \
	{                                      \
		(literal), sizeof(literal) - 1 \
	}

#define REDIS_NUMBER_MAX 24
/* n as an argument, in out: its text.  Returns what points there. */
struct redis_arg redis_number(char out[REDIS_NUMBER_MAX], int64_t n);

/* One command: argv[0] is its name, n > 0.
 * Thread: any handler.  Keeps: nothing.
 * Returns as cx_ask, or CX_EINVAL: longer than REDIS_REQUEST_BYTES_MAX, nothing was sent. */
CX_NODISCARD enum cx_err redis_call(struct cx_ctx *ctx, struct cx_ref redis,
                                    const struct redis_arg *argv, unsigned n,
                                    uint32_t timeout_ms, uint64_t *corr);

/* Script number `script` of the adapter's table; argv holds key_count keys, then arguments.  The
 * first call after the server forgot its scripts is sent twice and so may run after later calls.
 * Otherwise as redis_call. */
CX_NODISCARD enum cx_err redis_call_script(struct cx_ctx *ctx, struct cx_ref redis,
                                           unsigned script, unsigned key_count,
                                           const struct redis_arg *argv, unsigned n,
                                           uint32_t timeout_ms, uint64_t *corr);

/* Several commands, executed in order (others' may come between), with one answer that holds all
 * replies in the same order.  Zeroed is empty; lives in its owner's state and is used again. */
struct redis_batch {
	uint8_t *at;
	size_t len, cap; /* bytes */
	uint32_t count;  /* commands */
	bool is_too_big;
};

/* Keeps: nothing of argv. */
void redis_batch_add(struct redis_batch *batch, const struct redis_arg *argv, unsigned n);
/* As redis_call; CX_EINVAL also for more than REDIS_BATCH_MAX commands or none.  The batch is empty
 * afterwards in any case. */
CX_NODISCARD enum cx_err redis_batch_send(struct cx_ctx *ctx, struct cx_ref redis,
                                          struct redis_batch *batch, uint32_t timeout_ms,
                                          uint64_t *corr);
void redis_batch_free(struct redis_batch *batch);

/* ---- what comes back ---- */

enum redis_outcome {
	REDIS_ANSWERED,
	REDIS_LOST, /* the connection broke after sending: executed or not, nobody knows */
};

struct redis_reply { /* hdr.buf: the values, when REDIS_ANSWERED */
	struct cx_msg hdr;
	enum redis_outcome outcome;
	uint32_t count; /* replies: 1, or the commands of the batch */
};

enum redis_kind {
	REDIS_NIL,
	REDIS_STRING,
	REDIS_STATUS, /* "OK" */
	REDIS_ERROR,  /* the server refused this command; text begins with a code word */
	REDIS_INTEGER,
	REDIS_ARRAY, /* its `count` elements come next */
};

struct redis_value {
	enum redis_kind kind;
	uint32_t count;         /* of an array */
	int64_t integer;        /* of an integer */
	struct wire_slice text; /* of the others; borrowed from the buffer, not terminated */
};

/* A place in the values of a buffer; values lie there in order, an array before its elements. */
struct redis_walk {
	const uint8_t *at, *end;
};

struct redis_walk redis_walk_start(const struct cx_buf *buf);
/* False: at the end. */
bool redis_walk_next(struct redis_walk *walk, struct redis_value *out);
/* Passes over a value with all that is in it. */
bool redis_walk_skip(struct redis_walk *walk);

/* ---- the adapter ---- */

struct redis_script {
	const char *name; /* for the log */
	const char *body;
};

/* All that is pointed to is borrowed for the adapter's life. */
struct redis_conf {
	const struct redis_url *url;
	const char *ca_file;     /* PEM; NULL: the system's store */
	const char *client_name; /* CLIENT SETNAME; no blanks */
	const struct redis_script *scripts;
	uint32_t script_count;
	uint32_t in_flight_max;       /* commands, waiting ones included; 0: 8192 */
	uint32_t in_flight_bytes_max; /* of their requests; 0: 32 MiB */
	uint32_t connect_ms;          /* for name, address, TLS and log-in together; 0: 5000 */
	uint32_t ping_ms;             /* after so long without traffic; 0: 1000 */
	uint32_t dead_ms;    /* without a byte while an answer is due: reconnect; 0: 5000 */
	bool is_doctor;      /* warn once when the server may lose or evict what it holds */
	struct cx_ref owner; /* of REDIS_CHANGED, or CX_NOBODY */
	const struct cx_ref
		*owner_at; /* instead: where it stands once all are spawned; or NULL */
};

/* Conf: struct redis_conf; home_key: the worker.  The runtime needs loop_uv_ops.
 * Ends with CX_EINVAL (conf) or CX_EIO (certificates; the log says why). */
extern const struct cx_actor_type redis_type;

/* REDIS_CHANGED: the run id differs from the last connection's.  What was written to the server
 * before may be gone (a restart without its file, a failover).  Reserved; one a connection at most. */
struct redis_changed {
	struct cx_msg hdr;
	char run_id[REDIS_RUN_ID_LEN + 1];
};

/* ---- figures ---- */

struct redis_figures {           /* of all adapters of the process; uint64_t only */
	uint64_t connected;      /* connections up now */
	uint64_t connects;       /* that came up */
	uint64_t failures;       /* connections lost, and tries that failed */
	uint64_t in_flight;      /* commands now, waiting ones included */
	uint64_t commands;       /* answered */
	uint64_t errors;         /* answered with an error of the server */
	uint64_t lost;           /* commands whose connection broke after sending */
	uint64_t refused;        /* commands refused: too much in flight */
	uint64_t late;           /* answers after their deadline */
	uint64_t sends;          /* write calls */
	uint64_t latency_ns_sum; /* from sending to the answer, by message */
	uint64_t latency_count;
	uint64_t latency_ns_max;
	uint64_t pushes; /* handed to subscribers */
	uint64_t pushes_dropped;
};

/* Thread: any. */
void redis_figures(struct redis_figures *out);

/* ---- messages of the senders above, and the adapter's own ---- */

struct redis_call_msg { /* hdr.buf: commands in RESP; of a script: what follows its hash */
	struct cx_msg hdr;
	uint32_t count; /* commands */
	uint32_t timeout_ms;
	uint32_t script; /* number + 1; 0: none */
	uint32_t args;   /* of a script: how many strings are in buf */
};

struct redis_resolved_msg;

#endif
