/* SPDX-License-Identifier: MIT */
/* The runtime: workers, boot, shutdown, figures.  Handlers see only actor.h. */
#ifndef CX_RUNTIME_H
#define CX_RUNTIME_H

#include <cx/actor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An event loop for each worker.  The built-in one only sleeps and wakes; src/io brings libuv. */
struct cx_loop_ops {
	/* Main thread, before the workers run.  Not CX_OK: the runtime does not start. */
	enum cx_err (*open)(void *arg, unsigned worker, void **loop);
	/* Handle ready events; wait at most timeout_ms for the first (0: don't wait, -1: no limit). */
	void (*poll)(void *loop, int timeout_ms);
	/* Make a waiting poll return.  Thread: any. */
	void (*wake)(void *loop);
	/* Worker thread, after its last actor ended; main thread when the runtime was never started. */
	void (*close)(void *loop);
};

/* How a runtime is made; zeroed is a good one. */
struct cx_runtime_conf {
	unsigned workers;         /* 1..64; 0: online CPUs */
	unsigned offload_threads; /* at most 1024; 0: half of the CPUs, at least 1 */
	unsigned offload_queue;   /* jobs that may wait, at most 1048576; 0: 256 */
	unsigned watchdog_ms;     /* 0: 50; a longer handler is named in the log */
	/* At most 4194304; 0: that many.  Slots are handed out 512 at a time, to each worker for actors with a
	 * home and for CX_PLACE_ANY, and to each CX_PLACE_THREAD: so many more of each. */
	unsigned max_actors;
	/* NULL: built in; then an idle worker of several looks on for 20 us before it sleeps, while that
	 * pays, unless it rests */
	const struct cx_loop_ops *loop;
	void *loop_arg;
	/* Texts of user message ids from CX_MSG_USER on, none of them NULL; NULL when msg_name_count is 0.
	 * An id without a text is shown as its number */
	const char *const *msg_names;
	unsigned msg_name_count;
	uint64_t seed; /* of cx_random; 0: from the clock */
	/* How long a worker that is done may rest before it polls: not up to 20,000 messages a second, all of
	 * it from 60,000 on; 0: it polls at once */
	unsigned rest_us;
};

/* Make a runtime, without threads yet.
 * Thread: main.
 * Keeps: a copy of conf; what conf points to, until cx_runtime_free.
 * Returns CX_OK, CX_EINVAL (conf: a value over its bound, a missing name), CX_ENOMEM, or what the loop's
 * open gave: *out is not written. */
CX_NODISCARD enum cx_err cx_runtime_new(const struct cx_runtime_conf *conf,
                                        struct cx_runtime **out);

/* Boot an actor from outside, before or after cx_runtime_start.  As in cx_spawn, a wrong type ends the
 * process.
 * Thread: any; for a CX_PLACE_THREAD type main, before cx_runtime_start.
 * Keeps: type, for good; a copy of conf_size bytes of conf.
 * Returns CX_OK, CX_ENOMEM (no slot left), CX_EIO (no loop for the thread) or CX_EGONE (cx_runtime_stop
 * has begun): nothing was started and *out is not written. */
CX_NODISCARD enum cx_err cx_runtime_spawn(struct cx_runtime *rt,
                                          const struct cx_actor_type *type, const void *conf,
                                          uint64_t home_key, struct cx_ref *out);

/* Start the threads; once for each runtime.  Ends the process when a thread cannot be made, or memory for
 * the offload pool is out.
 * Thread: main.
 * Returns CX_OK, or CX_EINVAL: it was started before (also when it has stopped since), or is a
 * simulator's. */
CX_NODISCARD enum cx_err cx_runtime_start(struct cx_runtime *rt);

/* Stop the runtime: each live actor's stop runs on its home, then the threads end.  THREAD actors stop
 * last.  Who was spawned before cx_runtime_start is started before he is stopped, however early this comes (but not
 * CX_PLACE_ANY: those may not have run at all).
 * Of a runtime that is not started, or has stopped already, this does nothing: the first may be started
 * after it, the second may not.  Who is spawned by a handler while it stops may not run at all.
 * Thread: main; on a thread of the runtime itself it ends the process.  Blocks: until all threads ended. */
void cx_runtime_stop(struct cx_runtime *rt);

/* Give everything back; refs and buffers of the runtime's workers are dead after it.  A runtime that
 * runs (started, not stopped), or is a simulator's (cx_sim_free), ends the process.
 * Thread: main.
 * Keeps: rt, which is gone. */
void cx_runtime_free(struct cx_runtime *rt);

/* The number of workers; threads of CX_PLACE_THREAD actors are not counted.
 * Thread: any.
 * Returns the number, at least 1. */
unsigned cx_runtime_workers(const struct cx_runtime *rt);

/* Figures of one kind of actor.  Counters only grow. */
struct cx_kind_stats {
	const char *name;
	uint64_t live; /* actors now */
	uint64_t spawned;
	uint64_t messages; /* handled */
	uint64_t turns;
	uint64_t busy_ns;      /* in turns */
	uint64_t refused;      /* sends that got CX_EFULL */
	uint64_t dead_letters; /* to ended actors of this kind */
	uint64_t late_replies;
	uint64_t slow; /* handlers over the watchdog's limit */
	uint64_t restarts;
	uint64_t unhandled; /* messages without a handler */
	uint32_t depth_max; /* deepest mailbox seen */
	uint32_t mailbox_cap;
	uint64_t depth; /* messages in all mailboxes together, as the watchdog last found it: at
	                 * most half a watchdog_ms ago for each 4096 actors; simulator: 0 */
	uint64_t handler_p50_ns; /* of cx_handler_times, since the start */
	uint64_t handler_p99_ns;
};

/* Figures of one thread: a worker, or behind them that of a CX_PLACE_THREAD actor. */
struct cx_worker_stats {
	const char *name; /* of its thread */
	uint64_t turns;
	uint64_t polls;
	uint64_t sleeps;
	uint64_t wakeups; /* eventfd writes to it */
	uint64_t steals;
	uint64_t busy_ns;
	uint64_t pool_bytes; /* taken from the system */
	uint64_t timers;     /* armed now */
	uint32_t run_queue;  /* actors that wait for their turn */
};

/* Copy the figures of all kinds, or of all threads: at most cap entries.
 * Thread: any.
 * Keeps: nothing; out may be NULL when cap is 0.
 * Returns how many there are, which may be more than cap. */
size_t cx_runtime_kinds(struct cx_runtime *rt, struct cx_kind_stats *out, size_t cap);
size_t cx_runtime_worker_stats(struct cx_runtime *rt, struct cx_worker_stats *out, size_t cap);

/* Buckets of handler times, log-linear (as HDR histograms have them): a value up to 15 ns has its own,
 * above it each power of two is cut in 8, so a bucket's end is at most 1/8 above what was recorded.
 * The last one ends at 2^36 ns (68 s); longer counts as that. */
#define CX_HANDLER_BUCKETS 272

/* Handler times of one kind of actor.  A turn of n messages counts n times its n-th part, so a
 * handler is timed exactly when it has its turn alone and as the mean of its batch under load.
 * Timed are the first turn after each poll, each turn where they are long, and one in 64 of the
 * others, which counts for all. */
struct cx_handler_times {
	uint64_t count[CX_HANDLER_BUCKETS];
};

/* Handler times of kind number `kind` of cx_runtime_kinds; all zero when there is none.
 * Thread: any.
 * Keeps: nothing. */
void cx_runtime_handler_times(struct cx_runtime *rt, size_t kind, struct cx_handler_times *out);

/* The end of a bucket.
 * Thread: any.
 * Returns its largest value in ns. */
uint64_t cx_handler_times_end_ns(unsigned bucket);

/* A quantile of handler times.
 * Thread: any.
 * Returns the end, in ns, of the bucket with the value that `quantile` (0..1) of all do not
 * exceed; of nothing: 0. */
uint64_t cx_handler_times_quantile_ns(const struct cx_handler_times *times, double quantile);

/* So many different slow handlers are kept apart; the rest only grows cx_kind_stats.slow. */
#define CX_SLOW_HANDLERS 32

/* A handler that the watchdog found over its limit, by name. */
struct cx_slow_handler {
	const char *kind;
	const char *message; /* name of its type, or its number */
	uint64_t count;
	/* As last looked at: short of the truth by half a watchdog_ms at most. */
	uint64_t longest_ms;
};

/* The slow handlers so far: fills at most cap entries.
 * Thread: any.
 * Keeps: nothing; out may be NULL when cap is 0.
 * Returns how many there are, which may be more than cap. */
size_t cx_runtime_slow_handlers(struct cx_runtime *rt, struct cx_slow_handler *out, size_t cap);

#ifdef __cplusplus
}
#endif
#endif
