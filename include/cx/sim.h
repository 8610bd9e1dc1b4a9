/* SPDX-License-Identifier: MIT */
/* The same actors on one thread, with a virtual clock and a schedule drawn from a seed: the same seed
 * gives the same run, step by step, so a failure is its seed.
 *
 * The runtime inside is the real one (mailboxes, lanes, asks, timers, supervision); only who runs next,
 * what time it is and how long a turn took are the simulator's.  A step is one turn of one actor, one
 * offloaded job, or, when nothing can run, a move of the clock to the next timer or held send.  The next actor is
 * drawn from all that can run, on every worker; now and then some are left waiting for a while,
 * and turns are cut short, because that is where orders break.
 *
 * Thread: one, the same for all calls on one simulator; handlers run inside cx_sim_step. */
#ifndef CX_SIM_H
#define CX_SIM_H

#include <stdio.h>

#include <cx/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A simulator, opaque. */
struct cx_sim;

/* What becomes of one send.
 *
 * A delayed one is held for 1..delay_max_us of virtual time, drawn from the seed.  While it is held, all that is
 * sent to its receiver on the ordinary lane is held behind it, whoever sends that.  So each sender's order is
 * kept, and causal order, as by a slow way into this one actor.  Not held are timers, deadlines of asks, stops,
 * DOWN and restarts, and messages to others: these overtake it.  What is held counts in its receiver's
 * mailbox (CX_EFULL).  To a receiver that ended meanwhile it is a dead letter when its time is up: of an
 * ask, CX_EGONE.  An answer is held like any other; past its ask's deadline it is late. */
enum cx_sim_fate {
	CX_SIM_DELIVER,
	CX_SIM_REFUSE, /* the sender gets CX_EFULL; a send that is never refused is delivered */
	CX_SIM_LOSE,   /* the sender gets CX_OK and nothing arrives */
	CX_SIM_DELAY,  /* the sender gets CX_OK, and it arrives later */
};

/* Asked for each message between actors on the ordinary lane (answers too, timers and stops not).
 * Names are those of the kinds; from is "" for cx_post.  random is drawn for this send.
 * Thread: the simulator's.
 * Keeps: nothing; msg is borrowed.
 * Returns what becomes of it. */
typedef enum cx_sim_fate cx_sim_fault_fn(void *arg, const char *from, const char *to,
                                         const struct cx_msg *msg, uint64_t random);

/* How a simulator is made; zeroed is a good one. */
struct cx_sim_conf {
	struct cx_runtime_conf runtime; /* seed 0 counts as 1; workers 0: 2; loop is ignored */
	uint32_t turn_max_us;           /* a turn takes 1..this of virtual time; 0: 20 */
	uint32_t delay_max_us;          /* 0: 5000 */
	int64_t wall_ms;                /* Unix time at the start; 0: 2024-01-01 */
	cx_sim_fault_fn *fault;         /* NULL: everything is delivered */
	void *fault_arg;
	FILE *trace; /* one line a step, or NULL; must outlive the simulator */
};

/* Make a simulator.
 * Thread: the one that makes all other calls on it.
 * Keeps: a copy of conf; what conf points to, until cx_sim_free.
 * Returns as cx_runtime_new. */
CX_NODISCARD enum cx_err cx_sim_new(const struct cx_sim_conf *conf, struct cx_sim **out);

/* The runtime inside, for cx_runtime_spawn, cx_post and figures.  It is never started (CX_EINVAL) or
 * stopped, and freed by cx_sim_free alone.
 * Thread: the simulator's.
 * Returns it, never NULL; it lives as long as the simulator. */
struct cx_runtime *cx_sim_runtime(struct cx_sim *sim);

/* Make one step.
 * Thread: the simulator's.
 * Returns false when nothing happened: no actor can run, no job waits, no timer is armed, no send is held. */
bool cx_sim_step(struct cx_sim *sim);

/* Steps until ms of virtual time have passed (and up to one turn, or 1 ms), also when nothing happens.
 * Thread: the simulator's. */
void cx_sim_run_ms(struct cx_sim *sim, uint64_t ms);

/* Virtual time in milliseconds (the clock of cx_now_ms), and steps made.
 * Thread: the simulator's.
 * Returns the time, or the number of steps so far. */
uint64_t cx_sim_now_ms(const struct cx_sim *sim);
uint64_t cx_sim_steps(const struct cx_sim *sim);

/* A draw from the seed, for the test's own choices.
 * Thread: the simulator's.
 * Returns 64 bits. */
uint64_t cx_sim_random(struct cx_sim *sim);

/* The wall clock jumps by ms milliseconds, forward or back; the monotonic one does not.
 * Thread: the simulator's. */
void cx_sim_jump_wall(struct cx_sim *sim, int64_t ms);

/* The actor fails with reason at its next turn, before anything else there.
 * Thread: the simulator's. */
void cx_sim_crash(struct cx_sim *sim, struct cx_ref who, enum cx_err reason);

/* Ends all actors (their stop runs), then frees everything.
 * Thread: the simulator's.
 * Keeps: sim, which is gone. */
void cx_sim_free(struct cx_sim *sim);

#ifdef __cplusplus
}
#endif
#endif
