/* SPDX-License-Identifier: MIT */
/* The worker's side of the inbox, in parts:
 *
 *   stack_partition.c        the actor: what comes from Kafka, Redis and the workers' channel
 *   stack_partition_run.c    a partition: its batches in order, failure
 *   stack_partition_fence.c  what this Redis has of it, and reading again what it has lost
 *   stack_partition_script.c what Redis does with a batch
 *   stack_partition_batch.c  a batch of records as one call of the script
 *   stack_partition_scratch.c  room for it, and which keys have their TTL
 *   stack_partition_reply.c  what the script said: pushes, routes, figures
 *   stack_partition_dead.c   records that cannot be read */
#ifndef IO_STACK_PARTITION_INTERNAL_H
#define IO_STACK_PARTITION_INTERNAL_H

#include "io/stack_partition.h"
#include "io/stack_push.h"
#include "io/stack_routes_cache.h"
#include "io/stack_users.h"
#include "io/steady_wall.h"
#include "wire/envelope.h"

#define STACK_BATCH_RECORDS 256
#define STACK_BATCH_BYTES (1024u * 1024u)
#define STACK_FENCE_MAX 96
#define STACK_FENCE_TTL_SECS (366 * 24 * 3600)
#define STACK_SCRIPT_FIXED 8 /* arguments of the script before those of records */
#define STACK_CALL_MS 10000
#define STACK_DEAD_RETRY_MS 500
#define STACK_OFFSET_MAX ((INT64_C(1) << 40) - 2) /* what an entry's id holds */

/* ---- a batch ---- */

enum stack_batch_state {
	STACK_BATCH_WAITING, /* -> ASKED */
	STACK_BATCH_ASKED,   /* -> DONE, or back to WAITING when it failed */
	STACK_BATCH_DONE,    /* its entries are in Redis */
};

struct stack_item { /* a record that the script was asked to append */
	struct uuid user;
	int64_t offset;
	size_t entry;       /* where in `entries`, and how long */
	uint32_t entry_len; /* 0: acknowledged before */
	uint32_t lookup;    /* number of the route that was asked for, or STACK_NO_LOOKUP */
};
#define STACK_NO_LOOKUP UINT32_MAX

/* What a batch needs from being asked to being answered; used again. */
struct stack_work {
	struct stack_work *next;
	struct stack_item items[STACK_BATCH_RECORDS];
	struct uuid lookups[STACK_BATCH_RECORDS];
	uint32_t item_count, lookup_count;
	uint64_t routes_asked; /* stack_routes_cache_now */
	uint8_t *entries;
	size_t entries_len, entries_cap;
};

struct stack_dead { /* a record that cannot be read */
	size_t at;  /* in the batch's buffer */
	const char *reason;
	uint64_t corr; /* of the ask under way; 0: none */
	bool is_written;
};

struct stack_batch {
	struct stack_batch *next;
	struct cx_buf *buf;
	size_t at, end; /* its records in buf */
	uint32_t count; /* of them, at most STACK_BATCH_RECORDS */
	int64_t next_offset;
	enum stack_batch_state state;
	uint64_t corr;
	struct stack_work *work; /* while ASKED */
	char fence[STACK_FENCE_MAX];
	bool is_read; /* its dead records are known */
	struct stack_dead *dead;
	uint32_t dead_count, dead_left;
};

/* ---- a partition ---- */

enum stack_part_state {
	STACK_PART_IDLE,    /* not ours */
	STACK_PART_LOOKING, /* the fence is asked for */
	STACK_PART_RUNNING,
	STACK_PART_FALLEN,     /* until retry_ms, then LOOKING */
	STACK_PART_REBUILDING, /* until the acknowledged are known, then SEEKING */
	STACK_PART_SEEKING,    /* until KAFKA_ASSIGNED */
};

struct stack_part {
	struct stack_part *next;
	int32_t number;
	uint32_t epoch;
	enum stack_part_state state;
	struct stack_batch *first, *last; /* not finished, in order */
	uint32_t asked;                   /* of them under way in Redis */
	int64_t done_to;                  /* next offset to be done; KAFKA_OFFSET_UNKNOWN */
	int64_t look_below;               /* repetitions below it may not have been pushed */
	char fence[STACK_FENCE_MAX];      /* what the next batch expects in Redis */
	/* Reading again (stack_partition_fence.c): */
	int64_t acked_below; /* records below it may have been acknowledged before Redis lost them */
	int64_t since_ms;  /* but not earlier */
	int64_t rewind_to; /* where reading again begins, while REBUILDING */
	bool knows_acked;  /* settings->acked has them */
	bool is_fresh;     /* a batch found its fence since the last tick */
	uint64_t look_corr;
	uint64_t backoff_ms, retry_ms;
	bool is_doubted; /* Redis is another one: look when nothing is under way */
};

/* ---- the actor ---- */

struct stack_span {
	size_t at, len;
};

#define STACK_SEEN_WINDOWS 4

struct stack_window { /* buckets of dedup that got their TTL for messages of this window */
	int64_t number;
	uint8_t *bits;
};

#define STACK_KEYS_MAX (1 + 5 * STACK_BATCH_RECORDS)
#define STACK_ARGS_MAX (STACK_SCRIPT_FIXED + 4 * STACK_BATCH_RECORDS)

struct stack_partition {
	struct stack_partition_conf conf;
	const struct stack_settings *settings;
	struct stack_partition_figures *figures;
	struct stack_part *parts;
	struct stack_work *free;
	struct stack_users users;
	struct stack_routes_cache routes;
	struct stack_push push;
	struct redis_batch redis;
	struct cx_timer timer;
	uint64_t timer_ms; /* when it is due */
	struct cx_timer tick;
	uint64_t token; /* of this life, in fences */
	struct steady_wall wall;
	uint64_t batches; /* counted, for stack_user.batch */
	size_t bytes_asked;
	uint32_t rebuilding; /* asks to stack_rebuild that are not answered */
	struct stack_window windows[STACK_SEEN_WINDOWS];
	unsigned sweep_bucket; /* the next */
	/* while a call is made up */
	struct redis_arg *argv;
	struct stack_span *keys, *args;
	uint32_t key_count, arg_count;
	uint8_t *scratch;
	size_t scratch_len, scratch_cap;
};

static inline void stack_partition_count(uint64_t *figure, uint64_t n)
{
	/* relaxed: a figure, pairs with the load in stack_partition_figures */
	__atomic_store_n(figure, *figure + n, __ATOMIC_RELAXED);
}

/* ---- stack_partition_run.c ---- */

struct kafka_records;

/* TIMER_A comes then, or earlier. */
void stack_part_wake_at(struct cx_ctx *ctx, struct stack_partition *s, uint64_t at_ms);
/* All of the present epoch goes. */
void stack_part_drop(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p);
/* More records, to be asked by stack_part_pump. */
void stack_part_add(struct stack_part *p, const struct kafka_records *m);
void stack_part_pump(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p);
/* Tells the consumer what is done. */
void stack_part_finish(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p);
/* Look again after a while. */
void stack_part_fall(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p);
/* A try of this batch has failed: it and all behind it are to be done again. */
void stack_part_fail(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p,
                     struct stack_batch *failed);

/* ---- stack_partition_fence.c ---- */

/* "<prefix>fence:<partition>" into STACK_KEY_MAX bytes; its length. */
size_t stack_fence_key(char *out, const struct stack_partition *s, const struct stack_part *p);
/* The fence of a Redis that has the partition up to next_offset. */
void stack_fence_text(char out[STACK_FENCE_MAX], const struct stack_partition *s,
                      const struct stack_part *p, int64_t next_offset, int64_t wall_ms);
/* Asks what this Redis has of the partition; nothing is appended meanwhile. */
void stack_part_look(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p);
/* What stack_part_look found: its whole answer. */
void stack_part_on_fence(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p,
                         const struct cx_buf *values);
/* The acknowledged are known. */
void stack_part_rebuilt(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p);

/* ---- stack_partition_batch.c ---- */

/* Sends the batch's call: expects p->fence and leaves batch->fence.  Returns false: nothing is under
 * way. */
bool stack_batch_ask(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p,
                     struct stack_batch *b);

/* ---- stack_partition_scratch.c ---- */

struct stack_seen;

/* Makes *at at least need bytes long. */
void *stack_grow(uint8_t **at, size_t *cap, size_t need);
/* len bytes behind what is taken of s->scratch, valid until the next; and taking them. */
uint8_t *stack_scratch_room(struct stack_partition *s, size_t len);
struct stack_span stack_scratch_took(struct stack_partition *s, size_t len);
/* Whether that bucket needs its TTL in this window; true once. */
bool stack_needs_ttl(struct stack_partition *s, int64_t number, const struct stack_seen *seen);
struct stack_work *stack_work_take(struct stack_partition *s);
void stack_work_drop(struct stack_partition *s, struct stack_batch *b);
void stack_batch_scratch_init(struct stack_partition *s);
void stack_batch_scratch_free(struct stack_partition *s);
/* No TTL is known to be set. */
void stack_batch_forget(struct stack_partition *s);

/* ---- stack_partition_reply.c ---- */

/* Whether the batch is in Redis; then its entries are pushed. */
bool stack_batch_answered(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p,
                          struct stack_batch *b, const struct cx_buf *values);

/* ---- stack_partition_sweep.c ---- */

/* Forgets ids that are older than the window in the next few buckets. */
void stack_sweep(struct cx_ctx *ctx, struct stack_partition *s);
/* Of a bucket, from its first id of a window on: the last one of that window is known for another. */
static inline int64_t stack_seen_ttl_secs(const struct stack_partition *s)
{
	return (2 * s->settings->dedup_window_ms + 999) / 1000;
}

/* ---- stack_partition_dead.c ---- */

void stack_dead_add(struct stack_batch *b, size_t at, const char *reason);
/* Asks for what is not under way and not written.  Returns false: some could not be asked. */
bool stack_dead_ask(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p,
                    struct stack_batch *b);
/* The answer to one of the batch's.  Returns false: it is not of this batch. */
bool stack_dead_answered(struct stack_partition *s, struct stack_batch *b, uint64_t corr,
                         bool is_written);

#endif
