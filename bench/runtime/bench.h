/* SPDX-License-Identifier: MIT */
/* What the rows of bench_runtime share: a plan, a runtime, and somebody who waits for the end. */
#ifndef BENCH_RUNTIME_BENCH_H
#define BENCH_RUNTIME_BENCH_H

#include <semaphore.h>

#include <cx/actor.h>
#include <cx/runtime.h>

/* One run of one row; outlives the runtime. */
struct bench {
	uint64_t ops;     /* asked for; a row may round it down */
	unsigned workers; /* 1: all on the same worker; 2: across, or anywhere */
	bool is_anywhere; /* actors may be stolen: the runtime places them */
	struct cx_runtime *rt;
	struct cx_ref collector;
	/* written by the collector before it posts `done` */
	sem_t done;
	uint64_t ended_ns;
	uint64_t sum; /* of the reports */
};

/* What a row found.  A figure that it does not have stays 0. */
struct outcome {
	uint64_t ops;
	uint64_t ns;         /* that they took */
	uint64_t bytes_each; /* memory of an actor, instead of a rate */
	uint64_t p50_ns, p99_ns, p999_ns;
	char more[96]; /* appended to the params */
};

typedef void row_fn(struct bench *b, struct outcome *out);

row_fn row_count, row_fan_in, row_fan_out, row_fork_join, row_soak;
row_fn row_ping_pong, row_ring_100, row_ring_10000;
row_fn row_big;
row_fn row_spawn, row_idle;
row_fn row_timers_arm, row_timers_cancel, row_timers_fire;
row_fn row_latency_sleeping, row_latency_busy;

/* A number: most messages of the rows carry just that. */
struct number {
	struct cx_msg hdr;
	uint64_t value;
};

uint64_t bench_now_ns(void);
uint64_t bench_rss_bytes(void);
/* Lehmer's generator (16807), the same in each peer. */
uint32_t bench_random(uint32_t *seed);
/* Ends the program: a benchmark that was refused something measures nothing. */
void bench_must(enum cx_err err, const char *what);

/* A runtime with b->workers workers and a collector on worker 0 that waits for `reports` of them. */
void bench_boot(struct bench *b, uint64_t reports);
/* An actor of an IO type: those live on the worker of that index, which is how placement is said.
 * When the plan is anywhere, of the same type with CX_PLACE_ANY. */
struct cx_ref bench_spawn(struct bench *b, const struct cx_actor_type *type, const void *conf,
                          unsigned worker);
void bench_start(struct bench *b);
/* From main: a message of `type` with a number. */
void bench_post(struct bench *b, struct cx_ref to, uint32_t type, uint64_t value);
/* Blocks: until all reports came.  Afterwards the collector waits for as many again. */
void bench_wait(struct bench *b);
void bench_end(struct bench *b);

/* From a handler: send a number, refused or not reached is the end. */
void bench_send(struct cx_ctx *ctx, struct cx_ref to, uint32_t type, uint64_t value);
/* From a handler: one report to the collector. */
void bench_report(struct cx_ctx *ctx, const struct bench *b, uint64_t value);

#endif
