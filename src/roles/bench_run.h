/* SPDX-License-Identifier: MIT */
/* A run of the load generator: threads, each with a loop and its share of the parts; the
 * plan of times; what all of them counted.  Logins and the storm have a thread of their own:
 * ten thousand handshakes in between would be counted as latency of the conversations.
 *
 *   set up -> warm-up -> phase 0 -> (phase 1) -> drain
 *
 * A latency belongs to the phase in which its message was due, whenever it ends. */
#ifndef CONSTRUCT_ROLES_BENCH_RUN_H
#define CONSTRUCT_ROLES_BENCH_RUN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "io/ws_client.h"
#include "roles/bench_conf.h"
#include "roles/bench_session.h"
#include "roles/bench_stats.h"

#define BENCH_PARTS_MAX 4
#define BENCH_NS_A_SECOND UINT64_C(1000000000)

struct bench_thread;

/* One kind of load on one thread.  state is what make returned. */
struct bench_part_ops {
	const char *name;
	void (*start)(void *state);          /* opens its connections */
	bool (*is_ready)(const void *state); /* all are open */
	void (*begin)(void *state);          /* traffic may start: thread->begin_ns is set */
	/* Does what is due; returns when it wants the next call.  Called each turn. */
	uint64_t (*tick)(void *state, uint64_t now_ns);
	void (*stop)(void *state);               /* begins nothing new */
	bool (*is_idle)(const void *state);      /* nothing is under way any more */
	void (*finish)(void *state);             /* counts what never came */
	uint64_t (*open_now)(const void *state); /* under way, for the progress line */
	void (*free)(void *state);
};

struct bench_part {
	const struct bench_part_ops *ops;
	void *state;
};

/* Times on the monotonic clock, the same for all threads. */
struct bench_plan {
	uint64_t begin_ns;
	uint64_t phase_start_ns[BENCH_PHASES];
	uint64_t phase_end_ns[BENCH_PHASES]; /* equal to the start: no such phase */
	uint64_t end_ns;                     /* of all phases */
};

/* What the progress line shows of a thread; under the run's lock. */
struct bench_snapshot {
	uint64_t done;
	uint64_t open_now;
	uint64_t errors;
	uint64_t waiting; /* connections not yet set up */
};

struct bench_run {
	const struct bench_conf *conf;
	const struct ws_client_target *target;
	const struct ws_client_identity *identity;
	struct bench_user *users;
	uint32_t user_count;
	struct bench_thread *threads;
	uint32_t phase_count;
	uint32_t thread_count;

	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t changed;
	uint32_t ready;    /* threads whose connections are open */
	uint32_t finished; /* threads */
	bool is_begun;
	bool is_cancelled;
	char failure[240]; /* the first reason to give up, "" while there is none */
	struct bench_plan plan;
};

struct bench_thread {
	struct bench_run *run;
	const struct bench_conf *conf;
	uint32_t index;
	uint32_t share_of; /* threads that share its kind of work; this one is the index-th */
	pthread_t id;
	struct ws_client_loop *loop;
	struct bench_dialer dialer;
	struct bench_stats stats;
	struct bench_part parts[BENCH_PARTS_MAX];
	uint32_t part_count;
	struct bench_plan plan; /* this thread's copy of the run's */
	bool is_begun;
	bool is_done; /* set by a part: there is nothing left to measure */
	uint64_t seed;
	struct bench_snapshot shown;
};

/* Sees to loops and threads, runs them to the end, prints the progress line.  The parts have
 * been made by then.  cpu_s: of this process in the phases; server_cpu_s likewise. */
struct bench_usage {
	double wall_s;
	double cpu_s;
	double server_cpu_s;
	uint64_t server_rss_start, server_rss_end; /* bytes */
	double setup_s;
	double drain_s;
};

void bench_run_go(struct bench_run *run, struct bench_usage *usage);

/* Prepares thread's loop, dialer and stats; it has the index-th of share_of shares. */
bool bench_thread_init(struct bench_thread *thread, struct bench_run *run, uint32_t index,
                       uint32_t share_of);
void bench_thread_free(struct bench_thread *thread);
void bench_thread_add(struct bench_thread *thread, const struct bench_part_ops *ops,
                      void *state);

/* Catches SIGINT and SIGTERM: the run then ends early but in order.  A second one ends the
 * program.  bench_run_interrupted says whether one came since the last reset. */
void bench_run_catch_signals(void);
bool bench_run_interrupted(void);
void bench_run_reset_interrupt(void);

/* Ends the run with a reason; the first one counts. */
void bench_run_fail(struct bench_run *run, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Ends phase 1 now, and the run a little later (the storm is over). */
void bench_run_end_phase(struct bench_run *run, uint64_t phase_end_ns, uint64_t end_ns);

/* Files the latency if the message was due in a phase. */
static inline void bench_record(struct bench_thread *t, enum bench_series series,
                                uint64_t due_ns, uint64_t now_ns)
{
	for (uint32_t p = 0; p < BENCH_PHASES; p++)
		if (due_ns >= t->plan.phase_start_ns[p] && due_ns < t->plan.phase_end_ns[p])
			bench_stats_record(&t->stats, p, series, now_ns - due_ns);
}

/* One more thing done, in this second. */
static inline void bench_done(struct bench_thread *t, uint64_t now_ns)
{
	if (t->is_begun)
		bench_stats_slot(&t->stats, (now_ns - t->plan.begin_ns) / BENCH_NS_A_SECOND);
}

/* The thread's share of a total: thread i has the numbers [*first, *first + returned). */
uint32_t bench_share(const struct bench_thread *thread, uint32_t total, uint32_t *first);

#endif
