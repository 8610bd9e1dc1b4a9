/* SPDX-License-Identifier: MIT */
/* What the files of the runtime share.  Reading order: mailbox.c, actor.c, worker.c.
 *
 * Messages wait in two plain lists of their actor (ordinary, control), which only its worker touches.  What
 * that worker itself sends is appended at once (direct hand-over: no atomic operation).  All else comes over
 * the one stack of the worker (crossing.c).  Actors of any worker have stacks of their own instead.
 *
 * Scheduling rules (asserts and tests cite them):
 * 1. local_depth counts the messages in an actor's lists that belong to its home; depth those on their way
 *    there that were sent singly.  Of an actor of any worker depth counts all, of both lanes, until they are
 *    handled.
 * 2. Of these: whoever moves depth from 0 up holds the actor's one token and brings it to a run queue (by the
 *    inject stack of a worker where it has none).  The token rests there while depth > 0, and is gone when
 *    the runner takes depth back to 0.
 * 3. An actor with a home is run by its home worker only, so one runner at a time; `queued` keeps it in
 *    the run queue once.  An actor of any worker is run by who holds its token.
 * 4. A slot's memory lives as long as the runtime; `gen` is even while it is free, odd while an actor
 *    lives in it.  A message carries the generation it was sent to, and is a dead letter when that
 *    is not the slot's at dispatch.
 * 5. A parked actor of any worker (failed, waits to be restarted) keeps its token in `parked`: the next control
 *    message over its stack takes it from there.  One with a home is just not queued.
 * 6. One sender's messages to one receiver with a home take one way: its lists when both live on one worker,
 *    its worker's stack otherwise; actors of any worker always send over stacks.
 * 7. Causal order: of two messages to one actor in one lane, the first sent goes first when its sender's
 *    later messages led to the second, whoever sent that.  So what a worker keeps back goes out before
 *    anything else that it sends elsewhere.
 *    Models: tests/models/mailbox.pml, crossing.pml (`make models`). */
#ifndef CX_RUNTIME_INTERNAL_H
#define CX_RUNTIME_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include <cx/io.h>
#include <cx/runtime.h>
#include <cx/sim.h>
#include <cx/supervisor.h>

#include "runtime/actor.h"
#include "runtime/cache_line.h"
#include "runtime/deque.h"
#include "runtime/handler_times.h"
#include "runtime/message.h"
#include "runtime/pool.h"
#include "runtime/stack.h"
#include "runtime/timer_wheel.h"

#define CX__KINDS_MAX 64
#define CX__WORKERS_MAX 96 /* pool workers and actors with a thread of their own */
#define CX__BATCH 64
#define CX__TURNS_A_POLL 64
#define CX__ROUND_NS 1000000
#define CX__QUICK_ROUND_NS 20000
#define CX__QUICK_TURN_NS 5000 /* where they are longer, each turn is timed */
/* What a worker's `direct` holds when no hand-over is: it is no chunk's. */
#define CX__DIRECT_NOW_NEVER 0xfffe
#define CX__DIRECT_NOBODY 0xfffd /* of parcel_to */

enum cx__flag {
	CX__ASK = 1,    /* an answer is expected */
	CX__ANSWER = 2, /* corr must still be pending at the receiver */
	CX__FINAL = 4,  /* an answer whose ask was already taken from the table */
	CX__TIMER = 8,  /* its seq must still be the timer's */
	CX__OFFLOADED = 16,
	CX__LOCAL = 32,       /* in a list of its home: local_depth counts it */
	CX__TRACED = 64,      /* its handler is traced (trace.c) */
	CX__TO_CONTROL = 128, /* on the way: for the control lane */
	CX__PARCEL = 256,     /* on the way: the first of several (crossing.c) */
};

/* Messages of the runtime's own that no user sees. */
enum cx__private_msg {
	CX__MSG_CRASH = CX_MSG_SYSTEM_MAX - 2, /* the simulator's: struct cx__failed */
	CX__MSG_WATCH = CX_MSG_SYSTEM_MAX - 1,
	CX__MSG_FAILED = CX_MSG_SYSTEM_MAX, /* child -> supervisor */
};

struct cx__failed {
	struct cx_msg hdr;
	struct cx_ref who;
	enum cx_err reason;
};

/* START and RESTART: conf follows. */
struct cx__start {
	struct cx_msg hdr;
	struct cx_ref supervisor; /* or nobody */
	_Alignas(16) uint8_t conf[];
};

/* Counters of one kind on one worker: one writer, read by anybody, so relaxed everywhere. */
struct cx__kind_count {
	_Atomic uint64_t messages, turns, busy_ns; /* each turn's */
	_Atomic uint32_t depth_max;
	_Atomic uint64_t spawned, ended, refused, dead, late, slow, restarts, unhandled;
};

static inline void cx__count(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
	                      memory_order_relaxed);
}

struct cx__bridge;

struct cx_ctx {
	struct cx_worker *worker;
	struct cx__actor *actor;
	struct cx_ref self; /* the actor's */
};

struct cx__ask {
	struct cx_timer deadline;
	uint64_t corr; /* 0: free */
	struct cx__actor *actor;
	struct cx__ask *next, **prev; /* of the actor; next also links free ones */
};

enum cx__stop { CX__STOP_NO, CX__STOP_ASKED, CX__STOP_WOKEN };

/* What a worker saw of another's deque. */
struct cx__watch {
	uint64_t top;
	uint64_t since_ns; /* when that was; 0: not since it slept without an end */
};

struct cx_worker {
	/* written by others */
	_Alignas(CX__APART)
		ck_stack_t inject; /* actors of any worker that other threads made runnable */
	ck_stack_t mail;           /* messages to actors with this home */
	_Atomic uint32_t sleeping;
	_Atomic uint32_t stop; /* enum cx__stop */
	_Atomic uint64_t wakeups;
	/* written by the worker, read by the watchdog and figures */
	_Alignas(CX__APART) _Atomic uint64_t calls; /* of handlers, counted before each */
	_Atomic uint32_t doing_kind;
	_Atomic uint32_t doing_type; /* CX_MSG_NONE: no turn is run.  Release, after calls */
	_Atomic uint64_t turns, polls, sleeps, steals, busy_ns, timers;
	_Atomic uint32_t run_queue;
	_Atomic uint8_t wants_help; /* others may take from `any` at once (steal.c) */
	/* the worker's own */
	_Alignas(CX__APART) struct cx_ctx ctx;
	struct cx_runtime *rt;
	struct cx__pool *pool;
	struct cx__actor *run_head;
	/* [0] is the run queue's end: where the next one's address goes; the others are written in the place of it by
	 * who is in the queue already (cx__queue_local) */
	struct cx__actor **run_end[3];
	struct cx__actor *run_nowhere;
	uint32_t run_len;
	uint16_t index;
	uint16_t direct; /* index, or CX__DIRECT_NOW_NEVER: what is sent takes cx__deliver */
	uint8_t is_trace_on;     /* the runtime has a trace; set before the thread runs */
	uint8_t is_tracing;      /* the handler that runs is traced, so is what it sends */
	uint8_t is_turn_tracing; /* one of this turn's was, so is its batch_end */
	uint8_t dedicated;       /* an actor's own thread: no loop of the user's, no stealing */
	struct cx_msg *parcel;   /* the open one, or NULL */
	struct cx_msg *parcel_at; /* its next line */
	uint16_t parcel_to;       /* worker; CX__DIRECT_NOBODY: no parcel is open */
	uint8_t parcel_left;      /* lines */
	uint8_t parcel_count;     /* messages */
	uint8_t parcel_turns;     /* it was kept back for */
	struct cx_ref grant_to;   /* has room for so many messages */
	uint32_t grant;
	struct cx__bridge *bridge[CX__WORKERS_MAX]; /* NULL: nothing went there yet */
	uint64_t now_ns;                            /* ask cx__now_ns */
	int64_t wall_ms;                            /* ask cx__wall_ms */
	uint8_t wall_is_old;                        /* not asked for since the last poll */
	uint8_t now_is_old;     /* a turn was run since the clock was read */
	uint8_t after_poll;     /* no turn was run since */
	uint8_t is_slow;        /* the last timed turn was not a quick one */
	uint8_t is_watching;    /* rt->watcher is this worker */
	uint8_t watch_is_worth; /* others had something, or took something, at the last looks */
	uint64_t turn_began_ns; /* of this one, where it is timed, or 0 */
	uint64_t turn_ns;       /* what a turn takes, of those timed lately */
	uint32_t rest_us;       /* how long it rests now; rest.c */
	uint32_t spin_skip;     /* so many sleeps go without a spin yet */
	uint32_t spin_skipped;  /* what that was after the last spin */
	uint64_t load_ns, load_calls; /* clock and handler calls when that was last decided */
	uint64_t random;
	uint32_t
		turn_limit; /* messages; 0: the type's alone (the simulator cuts turns short) */
	const struct cx_loop_ops *loop_ops;
	void *loop;
	struct cx__wheel wheel;
	struct cx__ask **ask_pages;
	uint32_t ask_page_count;
	struct cx__ask *ask_free;
	uint64_t ask_seq;
	pthread_t thread;
	char name[16]; /* of the thread, as `top -H` and profilers show it */
	struct cx__kind_count counts[CX__KINDS_MAX];
	_Atomic(struct cx__handler_times *)
		times[CX__KINDS_MAX];    /* NULL: had no turn here yet */
	uint64_t kind_ns[CX__KINDS_MAX]; /* as turn_ns, of each kind */
	uint32_t **
		under_way; /* by slot, in chunks; NULL: nothing went to any in it (crossing.c) */
	struct cx__watch watch[CX__WORKERS_MAX];
	struct cx__deque any;
	/* free slots: any thread, short */
	_Alignas(CX__APART) pthread_mutex_t free_lock;
	struct cx__actor *free_slots[2]; /* [any]; linked by .free_next */
};

/* The groups of cx_worker share no cache line. */
_Static_assert(offsetof(struct cx_worker, wakeups) + sizeof(uint64_t) <=
                       offsetof(struct cx_worker, calls),
               "what others write lies before the worker's figures");
_Static_assert(offsetof(struct cx_worker, inject) == 0 &&
                       offsetof(struct cx_worker, calls) == CX__APART,
               "it is one line");
_Static_assert(offsetof(struct cx_worker, wants_help) < offsetof(struct cx_worker, ctx) &&
                       offsetof(struct cx_worker, ctx) % CX__APART == 0,
               "what the watchdog and thieves read lies apart from what is the worker's alone");
_Static_assert(offsetof(struct cx_worker, watch) < offsetof(struct cx_worker, any) &&
                       offsetof(struct cx_worker, any) % CX__APART == 0,
               "and that apart from the deque, whose top thieves write");
_Static_assert(offsetof(struct cx_worker, free_lock) % CX__APART == 0 &&
                       offsetof(struct cx_worker, free_lock) >=
                               offsetof(struct cx_worker, any) + sizeof(struct cx__deque),
               "what any thread locks lies apart from all");

/* From here on ctx is the permission of `a`, which is in the turn of this worker. */
static inline void cx__enter_actor(struct cx_worker *w, struct cx__actor *a)
{
	w->ctx.actor = a;
	/* relaxed: our own write, or a slot whose spawner's START we have drained */
	w->ctx.self = (struct cx_ref){ a->slot, atomic_load_explicit(&cx__front(a)->gen,
		                                                     memory_order_relaxed) };
}

/* A handler over the watchdog's limit.  Written by the watchdog, read by anybody: relaxed. */
struct cx__slow {
	_Atomic uint32_t kind, type;
	_Atomic uint64_t count, longest_ns;
};

struct cx__offload;
struct cx__trace;
struct cx_sim;

struct cx_runtime {
	struct cx_runtime_conf conf;
	struct cx__trace *trace; /* NULL: off; set before the workers run */
	struct cx_sim *sim;      /* NULL: threads */
	unsigned workers;        /* pool workers: 0..workers-1 */
	unsigned all_workers;    /* and behind them the dedicated ones */
	struct cx_worker *worker[CX__WORKERS_MAX];
	struct cx__chunk *chunks;
	uint32_t chunk_max;
	_Atomic uint32_t chunk_count;
	char read_by_all[CX__APART]; /* is what is above */
	_Atomic int watcher;         /* index + 1 of a worker, 0: nobody (steal.c) */
	pthread_mutex_t lock;        /* chunks, kinds, boot */
	char written[CX__APART];     /* is what is above */
	struct cx__kind *_Atomic kinds[CX__KINDS_MAX];
	_Atomic uint32_t kind_count;
	struct cx__kind_count outside[CX__KINDS_MAX]; /* posts by foreign threads: fetch_add */
	struct cx__offload *offload;
	struct cx__slow slow[CX_SLOW_HANDLERS];
	_Atomic uint32_t slow_count;           /* release: the entries below it are written */
	_Atomic uint64_t depth[CX__KINDS_MAX]; /* as last found by the watchdog */
	pthread_t watchdog;
	pthread_mutex_t watchdog_lock;
	pthread_cond_t watchdog_cond;
	pthread_barrier_t quiet;          /* all pool workers ended their loops */
	bool started;                     /* main's: stays when it has stopped */
	_Atomic bool stopping;            /* written under watchdog_lock */
	char msg_number[CX_MSG_LIMIT][4]; /* texts of ids without a name */
	uint32_t boot_slots;              /* who was spawned before the start lies below */
};

/* NULL: no such slot.  Both. */
static inline const struct cx__chunk *cx__chunk_at(const struct cx_runtime *rt, uint32_t slot)
{
	/* acquire: pairs with the release in add_chunk */
	if (slot / CX__CHUNK >= atomic_load_explicit(&rt->chunk_count, memory_order_acquire))
		return NULL;
	return &rt->chunks[slot / CX__CHUNK];
}
static inline struct cx__actor *cx__actor_at(const struct cx_runtime *rt, uint32_t slot)
{
	const struct cx__chunk *chunk = cx__chunk_at(rt, slot);

	return chunk != NULL ? cx__actor_in(chunk, slot) : NULL;
}

/* actor.c */
void cx__chunk_unmap(const struct cx__chunk *chunk);
struct cx__kind *cx__kind_of(struct cx_runtime *rt, const struct cx_actor_type *type);
/* here: the calling worker, or NULL on foreign threads. */
CX_NODISCARD enum cx_err cx__spawn(struct cx_runtime *rt, struct cx_worker *here,
                                   const struct cx_actor_type *type, const void *conf,
                                   uint64_t home_key, struct cx_ref supervisor,
                                   struct cx_ref *out);
void cx__actor_start(struct cx_worker *w, struct cx__actor *a, const struct cx_msg *msg);
void cx__actor_end(struct cx_worker *w, struct cx__actor *a);
void cx__watch_add(struct cx_worker *w, struct cx__actor *a, const struct cx_msg *msg);
struct cx_msg *cx__start_msg(struct cx_worker *here, uint32_t id,
                             const struct cx_actor_type *type, const void *conf,
                             struct cx_ref supervisor);

/* mailbox.c */
enum cx__lane { CX__BOUNDED, CX__RESERVED, CX__CONTROL };
CX_NODISCARD enum cx_err cx__deliver(struct cx_runtime *rt, struct cx_worker *here,
                                     struct cx_ref to, struct cx_msg *msg, enum cx__lane lane);
/* What the simulator held is delivered now; it went through cx__deliver before.  To nobody any more: a dead
 * letter. */
void cx__deliver_held(struct cx_runtime *rt, struct cx_msg *msg);
/* Takes what came over the stacks of an actor of any worker. */
void cx__drain(struct cx__actor *a);
struct cx_msg *cx__msg_new(struct cx_worker *here, uint32_t type, size_t size);
/* A message that nobody will handle: asks bounce, watches answer, then it is freed. */
void cx__dead_letter(struct cx_runtime *rt, struct cx_worker *here, struct cx_msg *msg);

/* ask.c */
uint64_t cx__ask_open(struct cx_worker *w, struct cx__actor *a, uint32_t timeout_ms);
/* false: not pending any more (or another actor's). */
bool cx__ask_close(struct cx_worker *w, const struct cx__actor *a, uint64_t corr);
void cx__ask_expired(struct cx_worker *w, struct cx_timer *deadline);
void cx__ask_close_all(struct cx_worker *w, struct cx__actor *a);

/* After something for which w->direct was CX__DIRECT_NOW_NEVER. */
static inline void cx__direct_again(struct cx_worker *w)
{
	if (w->rt->sim == NULL && !w->is_trace_on)
		w->direct = w->index;
}

/* worker.c */
void cx__make_runnable(struct cx_worker *here, struct cx_runtime *rt, struct cx__actor *a);
/* Anything but what its loop and its timers know.  Thread: w's. */
bool cx__has_work(struct cx_worker *w);
/* If it sleeps. */
void cx__wake(struct cx_worker *w);
void *cx__worker_main(void *worker);
void cx__worker_clock(struct cx_worker *w);
struct cx_worker *cx__worker_here(void);
/* Monotonic ns, read now. */
uint64_t cx__clock_of(const struct cx_worker *w);
/* To the end of this worker's run queue. */
static inline void cx__run_later(struct cx_worker *w, struct cx__actor *a)
{
	*w->run_end[0] = a;
	w->run_end[0] = &a->run_next;
	w->run_len++;
}
/* The same, if it is not there: an actor with this worker as its home.  No branch, since a processor could not foretell
 * it: with many actors that is half of what a send costs. */
static inline void cx__queue_local(struct cx_worker *w, struct cx__actor *a)
{
	const uint8_t queued = a->queued;

	*w->run_end[queued] = a;
	w->run_end[2 * queued] = &a->run_next;
	w->run_len += queued ^ 1u;
	a->queued = 1;
}
/* The last one: of a list that has one. */
static inline struct cx_msg *cx__msg_of(void **end)
{
	return (struct cx_msg *)(void *)end; /* link is the first of a message */
}
/* The first one goes. */
static inline void cx__list_pop(void **head, void ***end)
{
	*head = ((struct cx_msg *)*head)->link;
	if (*head == NULL)
		*end = head;
}
/* To the end of its list: an actor with this worker as its home.  Not counted yet. */
static inline void cx__append(struct cx_worker *w, struct cx__actor *a, struct cx_msg *msg,
                              bool to_control)
{
	void ***end = to_control ? &a->control_end : &a->mail_end;

	msg->flags |= CX__LOCAL;
	msg->link = NULL;
	**end = msg;
	*end = &msg->link;
	cx__queue_local(w, a);
}
/* Unix time, read once a poll at most. */
int64_t cx__wall_ms(struct cx_worker *w);
/* Monotonic ns, read once a turn at most. */
uint64_t cx__now_ns(struct cx_worker *w);
static inline uint64_t cx__now_ms(struct cx_worker *w)
{
	return cx__now_ns(w) / 1000000;
}

/* dispatch.c */
/* The message is handled, or not for this actor; then freed. */
void cx__dispatch(struct cx_worker *w, struct cx__actor *a, struct cx_msg *msg);
/* The same with tracing on: the time of a traced message's handler. */
void cx__dispatch_traced(struct cx_worker *w, struct cx__actor *a, struct cx_msg *msg);
/* Calls the type's. */
void cx__batch_end(struct cx_worker *w, struct cx__actor *a);
/* The watchdog's view, and cx_assert's: this call has begun. */
static inline void cx__doing(struct cx_worker *w, uint32_t type)
{
	cx__count(&w->calls, 1);
	/* release: pairs with look in watchdog.c */
	atomic_store_explicit(&w->doing_type, type, memory_order_release);
}

/* turn.c */
void cx__worker_turn(struct cx_worker *w, struct cx__actor *a);

/* ---- steal.c ---- */

/* An actor of any worker, for this one or whoever is idle. */
void cx__push_any(struct cx_worker *w, struct cx__actor *a);
/* For an idle worker.  NULL: nothing that it may take. */
struct cx__actor *cx__steal(struct cx_worker *w);
bool cx__can_steal(struct cx_worker *w);
/* Before it sleeps, its flag is up and it looked at all: how long, at most timeout_ms; 0: look again. */
int cx__watch(struct cx_worker *w, int timeout_ms);
/* The watcher has work. */
void cx__watch_no_more(struct cx_worker *w);

/* ---- rest.c ---- */

/* Stays away from the loop for as long as the load says. */
void cx__rest(struct cx_worker *w);
/* How long that is: at most max_us, after so many messages in so many ns. */
uint32_t cx__rest_us(uint32_t max_us, uint64_t messages, uint64_t ns);
/* Waits awake for what another worker may send at once, when that paid lately. */
void cx__spin(struct cx_worker *w);
/* How many sleeps go without one: after so many, and a spin that paid or not. */
uint32_t cx__spin_skip(uint32_t skipped, bool paid);

/* timer.c */
void cx__timer_fire(void *worker, struct cx_timer *timer);
void cx__timers_cancel_all(struct cx_worker *w, struct cx__actor *a);

/* worker.c, for who plays a worker (sim.c).  What can run after a gather, in no promised order: */
void cx__worker_enter(struct cx_worker *w); /* this thread is it now; NULL: nobody */
void cx__worker_tick(struct cx_worker *w);  /* clock and timers */
void cx__worker_gather(struct cx_worker *w);
struct cx__actor *cx__runnable_first(const struct cx_worker *w);
struct cx__actor *cx__runnable_next(const struct cx__actor *a);
void cx__runnable_remove(struct cx_worker *w, struct cx__actor *a);
void cx__worker_end_actors(struct cx_worker *w);

/* runtime.c */
/* cx_assert in words, for a mistake that the runtime's user made: they name it. */
#define cx__demand(expr, mistake) \
	((expr) ? (void)0 : cx_assert_failed((mistake), __FILE__, __LINE__))
/* Ends the process when it cannot be made. */
void cx__thread_new(pthread_t *thread, void *(*run)(void *), void *arg);
/* cx_runtime_free, for who made it. */
void cx__runtime_free(struct cx_runtime *rt);
CX_NODISCARD enum cx_err cx__runtime_new(const struct cx_runtime_conf *conf, struct cx_sim *sim,
                                         struct cx_runtime **out);

/* sim.c */
uint64_t cx__sim_now_ns(const struct cx_sim *sim);
int64_t cx__sim_wall_ms(const struct cx_sim *sim);
enum cx_sim_fate cx__sim_fate(struct cx_sim *sim, struct cx_worker *here,
                              const struct cx__actor *to, const struct cx_msg *msg);
/* How many messages to this actor are held. */
int32_t cx__sim_held(const struct cx_sim *sim, struct cx_ref to);
/* Keeps msg for later when its fate is a delay, or others to its receiver are held (rule 7).
 * false: it does not. */
bool cx__sim_hold(struct cx_sim *sim, struct cx_msg *msg, bool local, enum cx_sim_fate fate);
CX_NODISCARD enum cx_err cx__sim_offload(struct cx_sim *sim, struct cx_msg *job,
                                         cx_offload_fn *fn);

/* trace.c; only while w->is_tracing */
void cx__trace_sent(struct cx_worker *w, struct cx_msg *msg);
/* msg_type CX_MSG_NONE: a batch_end. */
void cx__trace_handled(struct cx_worker *w, unsigned kind, uint32_t msg_type, uint32_t flow,
                       uint64_t began_ns);

/* offload.c */
struct cx__offload *cx__offload_new(struct cx_runtime *rt, unsigned threads, unsigned queue);
/* Its threads end and jobs are refused from now on; workers may still run. */
void cx__offload_end(struct cx__offload *pool);
/* After it, and after the last worker. */
void cx__offload_delete(struct cx__offload *pool);
CX_NODISCARD enum cx_err cx__offload_push(struct cx__offload *pool, struct cx_msg *job,
                                          cx_offload_fn *fn);

/* watchdog.c */
void *cx__watchdog_main(void *rt);

/* loop.c */
extern const struct cx_loop_ops cx__loop_ops;

uint64_t cx__clock_ns(void);
const char *cx__msg_name(const struct cx_runtime *rt, uint32_t type);

#endif
