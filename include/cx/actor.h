/* SPDX-License-Identifier: MIT */
/* Actors: what a handler may do.  The whole of it works through `ctx`, which exists only
 * inside a handler (or between cx_io_enter and cx_io_leave), names the current actor and
 * worker, and is never stored.
 *
 * Ownership in one sentence: a non-const cx_msg given to a cx_ function is gone, success or
 * not.  A handler borrows its message; to keep its payload it takes a reference on msg->buf.
 * Order: messages of one sender to one receiver arrive in the order sent, answers included, and so do
 * messages of several senders when one led to the other (causal order); start, stop, timers and down
 * notices have a lane of their own that overtakes. */
#ifndef CX_ACTOR_H
#define CX_ACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cx/buf.h>
#include <cx/err.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The permission to act: the current actor on the current worker.  Valid until the handler returns. */
struct cx_ctx;

/* The workers and all actors on them (cx_runtime_new). */
struct cx_runtime;

/* An actor's address: copyable, cannot dangle (a send to a dead actor is CX_EGONE or a dead
 * letter).  All zero means nobody. */
struct cx_ref {
	uint32_t slot;
	uint32_t gen;
};

/* The address of nobody: a send to it is CX_EGONE. */
#ifdef __cplusplus
#define CX_NOBODY (cx_ref{ 0, 0 })
#else
#define CX_NOBODY ((struct cx_ref){ 0, 0 })
#endif

/* Is it the same actor?  A slot's next tenant is another one.
 * Thread: any.
 * Returns true when both name one actor, or both nobody. */
static inline bool cx_ref_is(struct cx_ref a, struct cx_ref b)
{
	return a.slot == b.slot && a.gen == b.gen;
}

/* Is it nobody's address?  False does not say that the actor still lives.
 * Thread: any.
 * Returns true for CX_NOBODY. */
static inline bool cx_ref_none(struct cx_ref a)
{
	return a.gen == 0;
}

/* First member of each message struct.  Only `buf` is written by users: a payload whose
 * reference travels with the message and is given back when the message is freed. */
struct cx_msg {
	void *link;         /* runtime's */
	struct cx_buf *buf; /* or NULL */
	struct cx_ref to;
	struct cx_ref from;
	uint64_t corr;    /* not 0: an ask, or the answer to it */
	uintptr_t origin; /* runtime's: the pool it came from */
	uint16_t type;
	uint16_t size;  /* bytes of the whole struct */
	uint16_t flags; /* runtime's */
	uint16_t flow;  /* runtime's */
};

/* The highest message id that is the runtime's own. */
#define CX_MSG_SYSTEM_MAX 63

/* Ids of messages.  The runtime sends those of messages.def, of which actors have handlers for
 * CX_MSG_ERROR (struct cx_msg_error) and CX_MSG_DOWN (struct cx_msg_down); START, STOP and RESTART
 * it handles itself.  Users have CX_MSG_USER up to CX_MSG_LIMIT - 1.  Of the runtime's ids a user may make
 * messages of ERROR, DOWN and STOP; CX_MSG_STOP, a struct cx_msg, is cx_stop in its receiver when its turn
 * among the other messages comes. */
enum cx_system_msg {
	CX_MSG_NONE,
#define X(id, type, text) id,
#include <cx/messages.def>
#undef X
	CX_MSG_USER = CX_MSG_SYSTEM_MAX + 1, /* first id for users */
	CX_MSG_LIMIT = 256                   /* ids are below this */
};

/* The answer to an ask that got no other: err is CX_ETIMEOUT, CX_EGONE or what
 * cx_reply_error gave. */
struct cx_msg_error {
	struct cx_msg hdr;
	enum cx_err err;
};

/* A watched actor ended; reason CX_OK after cx_stop. */
struct cx_msg_down {
	struct cx_msg hdr;
	struct cx_ref who;
	enum cx_err reason;
};

struct cx_timer;

/* A timer that fired: handlers of timer messages get this. */
struct cx_msg_timer {
	struct cx_msg hdr;
	struct cx_timer *timer;
	uint32_t seq; /* runtime's */
};

/* A timer of an actor.  It lives in the actor's state and ends with it; zeroed is "not armed".
 * Fields are the runtime's. */
struct cx_timer {
	struct cx_timer *next, **prev;             /* wheel slot */
	struct cx_timer *owner_next, **owner_prev; /* all timers of one actor */
	uint64_t due_ms;
	void *actor;
	uint32_t msg_type; /* 0: the runtime's own deadline */
	uint32_t seq;      /* a message that carries another one is stale */
};

/* What an actor does with one message.  It must not block, unless the actor is CX_PLACE_THREAD.
 * Thread: the actor's; one handler of an actor runs at a time.
 * Keeps: nothing; msg and msg->buf are borrowed until it returns. */
typedef void cx_handler_fn(struct cx_ctx *ctx, void *state, const struct cx_msg *msg);

/* One line of an actor's table of handlers; made by CX_ON. */
struct cx_handler {
	uint32_t type; /* message id */
	uint32_t size; /* bytes of its struct; a message of another size ends the process */
	cx_handler_fn *fn;
};

/* An entry of a table of handlers: messages of this id have this struct and go to this handler.
 * An id without an entry is counted as unhandled and dropped. */
#define CX_ON(id, struct_type, handler)                        \
	{                                                      \
		(id), (uint32_t)sizeof(struct_type), (handler) \
	}

/* The number of elements of an array (not of a pointer). */
#define CX_COUNTOF(a) (sizeof(a) / sizeof((a)[0]))

/* A borrowed message as its own struct, inside the handler that CX_ON named for it. */
#define CX_MSG_AS(struct_type, msg) ((const struct_type *)(const void *)(msg))

/* cx_msg_new for a struct whose first member is a struct cx_msg: a zeroed one, typed. */
#define CX_MSG_NEW(ctx, id, struct_type) \
	((struct_type *)cx_msg_new((ctx), (id), sizeof(struct_type)))

/* Where the actors of a type run. */
enum cx_placement {
	CX_PLACE_HOME, /* one worker for life, chosen by a hash of home_key (default) */
	CX_PLACE_ANY, /* stateless or CPU-heavy: an idle worker may steal it, at once when turns are long or
	               * much waits, else when its worker is slow; no timers, no asks */
	CX_PLACE_IO, /* lives on worker home_key (an index), beside the sockets of its loop */
	CX_PLACE_THREAD, /* a thread of its own, where handlers may block; spawned at boot only */
};

/* A kind of actor: a constant that all actors of the kind share and that outlives the runtime.
 * At most 64 kinds, 254 handlers in each.  A type is checked when its first actor is spawned: one that is
 * not as it says here, a handler without a function and two handlers of one message id end the process. */
struct cx_actor_type {
	const char *name;    /* in log lines and figures; not NULL */
	uint32_t state_size; /* bytes; zeroed before start */
	uint32_t conf_size;  /* bytes copied from cx_spawn's conf to start; at most 4032 */
	/* Messages.  All that waits counts, also what is never refused itself (answers, reserved and control
	 * messages).  Nobody is refused before so many wait.  Other threads may overshoot it by their number
	 * - 1, workers by 16; and all by what others have on the way to it, as much each at most, while its
	 * worker is held up in one turn.  From 1 to INT32_MAX: it has no default. */
	uint32_t mailbox_cap;
	uint32_t batch_max; /* messages a turn; 0: 64 */
	enum cx_placement placement;
	/* First call, on the actor's home.  Not CX_OK: the actor ends with that reason. */
	enum cx_err (*start)(struct cx_ctx *ctx, void *state, const void *conf);
	/* Last call, also after a start that failed; may send, must not ask.  Optional. */
	void (*stop)(struct cx_ctx *ctx, void *state);
	/* After each turn's last message: flush what the batch gathered.  Optional. */
	void (*batch_end)(struct cx_ctx *ctx, void *state);
	const struct cx_handler *handlers; /* may be NULL when there are none */
	size_t handler_count;
};

/* Start an actor.  Messages may be sent to *out at once; `start` runs before the first.
 * home_key: see enum cx_placement.  A CX_PLACE_THREAD type ends the process here, and so does a wrong one
 * (see struct cx_actor_type), or a conf that is NULL while the type has a conf_size.
 * The state is allocated on the actor's home, when it starts there: who runs out of memory then ends the
 * process.
 * Thread: any handler.
 * Keeps: type, for good; a copy of conf_size bytes of conf.
 * Returns CX_OK, or CX_ENOMEM (no slot left): nothing was started and *out is not written. */
CX_NODISCARD enum cx_err cx_spawn(struct cx_ctx *ctx, const struct cx_actor_type *type,
                                  const void *conf, uint64_t home_key, struct cx_ref *out);

/* Make a message, zeroed, from this worker's pool; size in bytes, with its struct cx_msg, at most 4096.
 * type: a user's id, or CX_MSG_ERROR, CX_MSG_DOWN or CX_MSG_STOP; another one ends the process, and so it
 * does when memory is out.
 * Thread: any handler.
 * Returns the message, never NULL; the caller's until sent or dropped. */
struct cx_msg *cx_msg_new(struct cx_ctx *ctx, uint32_t type, size_t size);

/* Give up a message that was made but not sent.
 * Thread: any.
 * Keeps: msg, which is gone, and its reference on msg->buf. */
void cx_msg_drop(struct cx_msg *msg);

/* Fire and forget.
 * Thread: any handler.
 * Keeps: msg; it is gone in all cases.
 * Returns CX_OK, CX_EFULL (over the mailbox limit: nothing was sent, come again later) or
 * CX_EGONE (the actor ended). */
CX_NODISCARD enum cx_err cx_send(struct cx_ctx *ctx, struct cx_ref to, struct cx_msg *msg);

/* Send past the mailbox limit: to a receiver that must not lose it, where something else bounds the
 * number of such messages (credits, one per connection...).
 * Thread: any handler.
 * Keeps: msg; it is gone in all cases.
 * Returns CX_OK or CX_EGONE, never CX_EFULL. */
CX_NODISCARD enum cx_err cx_send_reserved(struct cx_ctx *ctx, struct cx_ref to,
                                          struct cx_msg *msg);

/* Send and expect exactly one answer that carries *corr: a reply, or CX_MSG_ERROR, timeout_ms and a
 * tick after the call at the latest.  After it corr is dead; a late reply is dropped and counted.
 * Thread: a handler of a HOME, IO or THREAD actor.
 * Keeps: msg; it is gone in all cases.
 * Returns as cx_send; not CX_OK: no answer will come and *corr is not written. */
CX_NODISCARD enum cx_err cx_ask(struct cx_ctx *ctx, struct cx_ref to, struct cx_msg *msg,
                                uint32_t timeout_ms, uint64_t *corr);

/* Forget a pending ask: its answer will be dropped.  An ask that has ended stays ended.
 * Thread: a handler of the actor that asked. */
void cx_ask_cancel(struct cx_ctx *ctx, uint64_t corr);

/* Who waits for an answer; a value that may be kept after the handler returned. */
struct cx_caller {
	struct cx_ref ref;
	uint64_t corr;
};

/* Who asked: keep it to answer later, or hand it on, so that another actor answers.
 * Thread: any handler.
 * Keeps: nothing.
 * Returns the caller of req; its corr is 0 when req was sent, not asked. */
static inline struct cx_caller cx_caller_of(const struct cx_msg *req)
{
	struct cx_caller caller = { req->from, req->corr };
	return caller;
}

/* Answer an ask.  Never refused: the ask paid for it.  A caller that did not ask (corr 0), or whose
 * ask has ended, gets nothing: the message is dropped.  The error variants send CX_MSG_ERROR;
 * the reply variants answer the request that is being handled.
 * Thread: any handler.
 * Keeps: msg, which is gone; req is borrowed. */
void cx_answer(struct cx_ctx *ctx, struct cx_caller caller, struct cx_msg *msg);
void cx_answer_error(struct cx_ctx *ctx, struct cx_caller caller, enum cx_err err);
void cx_reply(struct cx_ctx *ctx, const struct cx_msg *req, struct cx_msg *msg);
void cx_reply_error(struct cx_ctx *ctx, const struct cx_msg *req, enum cx_err err);

/* Start a timer.  After after_ms (milliseconds, rounded up to the next tick of 1 ms) a message of
 * msg_type with a struct cx_msg_timer arrives.  Arming an armed timer moves it.  An actor without a handler
 * of that ends the process here.
 * Thread: a handler of the HOME, IO or THREAD actor in whose state timer lives.
 * Keeps: timer, until it fired, is cancelled or the actor ends. */
void cx_timer_arm(struct cx_ctx *ctx, struct cx_timer *timer, uint64_t after_ms,
                  uint32_t msg_type);

/* Stop a timer.  After it: never delivered, even when it had already fired.
 * Thread: a handler of the actor in whose state timer lives.
 * Keeps: nothing. */
void cx_timer_cancel(struct cx_ctx *ctx, struct cx_timer *timer);

/* Does the timer run?
 * Thread: a handler of the actor in whose state timer lives.
 * Returns true from cx_timer_arm until it fires or is cancelled. */
bool cx_timer_is_armed(const struct cx_timer *timer);

/* Be told when an actor ends: one CX_MSG_DOWN, at once (reason CX_EGONE) when it is gone already.
 * A supervised actor that is restarted has not ended.
 * Thread: any handler. */
void cx_watch(struct cx_ctx *ctx, struct cx_ref who);

/* End the current actor after this handler: its stop runs, its timers and pending asks end, queued
 * asks of others bounce as CX_EGONE.
 * Thread: any handler. */
void cx_stop(struct cx_ctx *ctx);

/* cx_stop with a reason, which watchers get.  A supervised actor is restarted in place by its
 * supervisor instead: what waits in its ordinary lane stays; the message being handled, and notices that
 * come before the restart, do not.
 * Each failure, also that of a start, is logged once, as `actor.failed` with kind and reason (CX_WARN).
 * Thread: any handler. */
void cx_fail(struct cx_ctx *ctx, enum cx_err reason);

/* Run a job off the workers: fn(job) runs on the offload pool, then job is delivered to the current
 * actor as an ordinary message of its type, past the mailbox limit.  fn owns nothing but the job
 * while it runs, and may block.
 * Thread: any handler; fn runs on a thread of the pool.
 * Keeps: job; it is gone in all cases.
 * Returns CX_OK, or CX_EFULL when the pool's queue is full or the runtime stops: fn will not run.  A job that
 * still waits when the runtime stops is freed without fn. */
typedef void cx_offload_fn(struct cx_msg *job);
CX_NODISCARD enum cx_err cx_offload(struct cx_ctx *ctx, struct cx_msg *job, cx_offload_fn *fn);

/* The current actor's own address.
 * Thread: any handler.
 * Returns it; it may be kept and sent on. */
struct cx_ref cx_self(const struct cx_ctx *ctx);

/* Which worker this is, and how many take part; a CX_PLACE_IO actor is spawned on an index.
 * Thread: any handler.
 * Returns an index from 0 (below the count, except on an actor's own thread), or the count. */
unsigned cx_worker_index(const struct cx_ctx *ctx);
unsigned cx_worker_count(const struct cx_ctx *ctx);

/* Monotonic time in milliseconds or nanoseconds, read once a turn: when it is first asked for, or
 * at the turn's start (cheap).
 * Thread: any handler.
 * Returns the time since a moment in the past that is the same for all workers. */
uint64_t cx_now_ms(const struct cx_ctx *ctx);
uint64_t cx_now_ns(const struct cx_ctx *ctx);

/* Unix time in milliseconds, as of the first question since the worker looked after its sockets (about
 * 1 ms at most, unless a handler takes longer); may jump.
 * Thread: any handler.
 * Returns milliseconds since 1970-01-01 00:00 UTC. */
int64_t cx_wall_ms(const struct cx_ctx *ctx);

/* Pseudo-random bits, seeded for each worker (not for secrets).  Algorithm: xorshift64*.
 * Thread: any handler.
 * Returns 64 bits. */
uint64_t cx_random(struct cx_ctx *ctx);

/* Make a message for cx_post, zeroed; type and size as for cx_msg_new.  Ends the process when memory is
 * out.
 * Thread: any.
 * Returns the message, never NULL; the caller's until posted or dropped. */
struct cx_msg *cx_post_new(uint32_t type, size_t size);

/* Send from a thread that is not the runtime's (an adapter's thread, main).  Nobody is the sender,
 * so a reply to it is dropped.  Not after cx_runtime_free has begun.
 * Thread: any.
 * Keeps: msg; it is gone in all cases.
 * Returns as cx_send. */
CX_NODISCARD enum cx_err cx_post(struct cx_runtime *rt, struct cx_ref to, struct cx_msg *msg);

/* What cx_assert calls: prints expression, place and what the actor was doing to standard error,
 * then aborts.
 * Thread: any. */
void cx_assert_failed(const char *expr, const char *file, int line) __attribute__((noreturn));

/* State what must be true: a programming error ends the process, in every build.  Never for what a
 * peer sent. */
#define cx_assert(expr) ((expr) ? (void)0 : cx_assert_failed(#expr, __FILE__, __LINE__))

#ifdef __cplusplus
}
#endif
#endif
