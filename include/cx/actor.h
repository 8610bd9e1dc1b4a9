/* SPDX-License-Identifier: MIT */
/* Actors: what a handler may do.  The whole of it works through `ctx`, which exists only
 * inside a handler (or between cx_io_enter and cx_io_leave), names the current actor and
 * worker, and is never stored.
 *
 * Ownership in one sentence: a non-const cx_msg given to a cx_ function is gone, success or
 * not.  A handler borrows its message; to keep its payload it takes a reference on msg->buf.
 * Order: messages of one sender to one receiver arrive in the order sent, answers included;
 * start, stop, timers and down notices have a lane of their own that overtakes. */
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

struct cx_ctx;
struct cx_runtime;

/* An actor's address: copyable, cannot dangle (a send to a dead actor is CX_EGONE or a dead
 * letter).  All zero means nobody. */
struct cx_ref {
	uint32_t slot;
	uint32_t gen;
};

#define CX_NOBODY ((struct cx_ref){ 0, 0 })

static inline bool cx_ref_is(struct cx_ref a, struct cx_ref b)
{
	return a.slot == b.slot && a.gen == b.gen;
}

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
	uint64_t corr; /* not 0: an ask, or the answer to it */
	uint32_t type;
	uint32_t size; /* bytes of the whole struct */
	uint16_t cls;  /* runtime's: pool class */
	uint16_t flags;
	uint32_t seq; /* runtime's */
	void *owner;  /* runtime's: the pool it came from */
};

#define CX_MSG_SYSTEM_MAX 63

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

/* A timer that fired: handlers of timer messages get this. */
struct cx_timer;
struct cx_msg_timer {
	struct cx_msg hdr;
	struct cx_timer *timer;
};

/* Lives in the actor's state; zeroed is "not armed".  Fields are the runtime's. */
struct cx_timer {
	struct cx_timer *next, **prev;             /* wheel slot */
	struct cx_timer *owner_next, **owner_prev; /* all timers of one actor */
	uint64_t due_ms;
	void *actor;
	uint32_t msg_type; /* 0: the runtime's own deadline */
	uint32_t seq;      /* a message that carries another one is stale */
};

typedef void cx_handler_fn(struct cx_ctx *ctx, void *state, const struct cx_msg *msg);

struct cx_handler {
	uint32_t type;
	uint32_t size;
	cx_handler_fn *fn;
};

#define CX_ON(id, struct_type, handler)                        \
	{                                                      \
		(id), (uint32_t)sizeof(struct_type), (handler) \
	}
#define CX_COUNTOF(a) (sizeof(a) / sizeof((a)[0]))
#define CX_MSG_AS(struct_type, msg) ((const struct_type *)(const void *)(msg))
#define CX_MSG_NEW(ctx, id, struct_type) \
	((struct_type *)cx_msg_new((ctx), (id), sizeof(struct_type)))

enum cx_placement {
	CX_PLACE_HOME, /* one worker for life, chosen by a hash of home_key (default) */
	CX_PLACE_ANY, /* stateless or CPU-heavy: an idle worker may steal it; no timers, no asks */
	CX_PLACE_IO, /* lives on worker home_key (an index), beside the sockets of its loop */
	CX_PLACE_THREAD, /* a thread of its own, where handlers may block; spawned at boot only */
};

struct cx_actor_type {
	const char *name;
	uint32_t state_size; /* bytes; zeroed before start */
	uint32_t conf_size;  /* bytes copied from cx_spawn's conf to start */
	uint32_t
		mailbox_cap; /* messages; may be overshot by the number of sending threads - 1 */
	uint32_t batch_max;  /* messages a turn; 0: 64 */
	enum cx_placement placement;
	/* First call, on the actor's home.  Not CX_OK: the actor ends with that reason. */
	enum cx_err (*start)(struct cx_ctx *ctx, void *state, const void *conf);
	/* Last call; may send, must not ask.  Optional. */
	void (*stop)(struct cx_ctx *ctx, void *state);
	/* After each turn's last message: flush what the batch gathered.  Optional. */
	void (*batch_end)(struct cx_ctx *ctx, void *state);
	const struct cx_handler *handlers;
	size_t handler_count;
};

/* Start an actor.  Messages may be sent to *out at once; `start` runs before the first.
 * Thread: any handler.  Keeps: a copy of conf_size bytes of conf.
 * Returns CX_OK, or CX_ENOMEM (no slot left): nothing was started. */
CX_NODISCARD enum cx_err cx_spawn(struct cx_ctx *ctx, const struct cx_actor_type *type,
                                  const void *conf, uint64_t home_key, struct cx_ref *out);

/* A zeroed message from this worker's pool.  size <= 4096. */
struct cx_msg *cx_msg_new(struct cx_ctx *ctx, uint32_t type, size_t size);

/* Give up a message that was made but not sent. */
void cx_msg_drop(struct cx_msg *msg);

/* Fire and forget.
 * Returns CX_OK, CX_EFULL (over the mailbox limit: nothing was sent, come again later) or
 * CX_EGONE.  In all cases msg is gone. */
CX_NODISCARD enum cx_err cx_send(struct cx_ctx *ctx, struct cx_ref to, struct cx_msg *msg);

/* Like cx_send for a receiver that must not lose it and whose number of such messages is
 * bounded by something else (credits, one per connection...): never CX_EFULL. */
CX_NODISCARD enum cx_err cx_send_reserved(struct cx_ctx *ctx, struct cx_ref to,
                                          struct cx_msg *msg);

/* Send and expect exactly one answer that carries *corr: a reply, or CX_MSG_ERROR.
 * After it corr is dead; a late reply is dropped and counted.
 * Thread: a handler of a HOME, IO or THREAD actor.
 * Returns as cx_send; not CX_OK: no answer will come and *corr is not written. */
CX_NODISCARD enum cx_err cx_ask(struct cx_ctx *ctx, struct cx_ref to, struct cx_msg *msg,
                                uint32_t timeout_ms, uint64_t *corr);

/* Forget a pending ask: its answer will be dropped. */
void cx_ask_cancel(struct cx_ctx *ctx, uint64_t corr);

/* Who waits for an answer; a value that may be kept after the handler returned. */
struct cx_caller {
	struct cx_ref ref;
	uint64_t corr;
};

static inline struct cx_caller cx_caller_of(const struct cx_msg *req)
{
	struct cx_caller caller = { req->from, req->corr };
	return caller;
}

/* Answer an ask; never refused (the ask paid for it).  A caller that did not ask (corr 0)
 * gets nothing: the message is dropped. */
void cx_answer(struct cx_ctx *ctx, struct cx_caller caller, struct cx_msg *msg);
void cx_answer_error(struct cx_ctx *ctx, struct cx_caller caller, enum cx_err err);
void cx_reply(struct cx_ctx *ctx, const struct cx_msg *req, struct cx_msg *msg);
void cx_reply_error(struct cx_ctx *ctx, const struct cx_msg *req, enum cx_err err);

/* After after_ms (rounded up to the wheel's 1 ms tick) a message of msg_type with a
 * struct cx_msg_timer arrives.  Arming an armed timer moves it. */
void cx_timer_arm(struct cx_ctx *ctx, struct cx_timer *timer, uint64_t after_ms,
                  uint32_t msg_type);
/* After it: never delivered, even when it had already fired. */
void cx_timer_cancel(struct cx_ctx *ctx, struct cx_timer *timer);
bool cx_timer_is_armed(const struct cx_timer *timer);

/* One CX_MSG_DOWN when `who` ends, at once when it is gone already. */
void cx_watch(struct cx_ctx *ctx, struct cx_ref who);

/* End the current actor after this handler: queued asks bounce as CX_EGONE. */
void cx_stop(struct cx_ctx *ctx);
/* The same with a reason; a supervised actor is restarted in place by its supervisor. */
void cx_fail(struct cx_ctx *ctx, enum cx_err reason);

/* Run fn(job) on the offload pool, then deliver job to the current actor as an ordinary
 * message of its type.  fn owns nothing but the job while it runs.
 * Returns CX_EFULL when the pool's queue is full or the runtime stops: fn will not run, job is gone. */
typedef void cx_offload_fn(struct cx_msg *job);
CX_NODISCARD enum cx_err cx_offload(struct cx_ctx *ctx, struct cx_msg *job, cx_offload_fn *fn);

struct cx_ref cx_self(const struct cx_ctx *ctx);
unsigned cx_worker_index(const struct cx_ctx *ctx);
unsigned cx_worker_count(const struct cx_ctx *ctx);
/* Monotonic, as of the start of the turn (cheap). */
uint64_t cx_now_ms(const struct cx_ctx *ctx);
uint64_t cx_now_ns(const struct cx_ctx *ctx);
/* Unix time in ms, as of the start of the turn; may jump. */
int64_t cx_wall_ms(const struct cx_ctx *ctx);
/* Pseudo-random, seeded for each worker (not for secrets). */
uint64_t cx_random(struct cx_ctx *ctx);

/* From threads that are not the runtime's (adapter threads, main).
 * Thread: any.  Returns as cx_send. */
struct cx_msg *cx_post_new(uint32_t type, size_t size);
CX_NODISCARD enum cx_err cx_post(struct cx_runtime *rt, struct cx_ref to, struct cx_msg *msg);

/* Programming errors end the process with what the actor was doing; never on peer input. */
void cx_assert_failed(const char *expr, const char *file, int line) __attribute__((noreturn));
#define cx_assert(expr) ((expr) ? (void)0 : cx_assert_failed(#expr, __FILE__, __LINE__))

#ifdef __cplusplus
}
#endif
#endif
