/* SPDX-License-Identifier: MIT */
/* What the parts of stack_receipts share. */
#ifndef IO_STACK_RECEIPTS_INTERNAL_H
#define IO_STACK_RECEIPTS_INTERNAL_H

#include "io/figures.h"
#include "io/kafka_consumer.h"
#include "io/kafka_producer.h"
#include "io/kafka_record.h"
#include "io/stack_push.h"
#include "io/stack_receipts.h"
#include "io/stack_routes_cache.h"
#include "io/stack_users.h"
#include "wire/delivery_event.h"

#define RCPT_TOPIC 1
#define RCPT_JOB_MAX 256 /* records */
#define RCPT_BUCKETS 1024
#define RCPT_CHECK_EACH \
	(STACK_RECEIPTS_MAX / 64) /* entries of a user, then his bound is looked at */
#define RCPT_NONE UINT16_MAX

/* One event that leads to a receipt. */
struct rcpt_receipt {
	struct uuid sender, message;
	uint32_t message_case;
	uint16_t next;  /* of the same sender */
	bool is_hashed; /* the sender is to be found by sender_hash */
	uint8_t sender_hash[HASH_LEN];
};

enum rcpt_state { /* OPEN -> ASKED -> DONE, or back to OPEN */
	          RCPT_OPEN,
	          RCPT_ASKED,
	          RCPT_DONE,
};

struct rcpt_group { /* receipts of one sender */
	struct uuid sender;
	uint16_t first, last, count;
	enum rcpt_state state;
	/* of the call under way: */
	bool has_lookup, has_ttl; /* his route is asked for, his inbox gets its TTL */
	uint32_t unchecked; /* entries since his bound was looked at; 0: not looked at now */
};

struct rcpt_letter { /* a record that cannot be read */
	struct kafka_record record;
	const char *reason;
	enum rcpt_state state;
};

enum rcpt_what { RCPT_LOOKUP, RCPT_APPEND, RCPT_LETTER };

struct rcpt_job;

/* A question under way. */
struct rcpt_ask {
	struct rcpt_ask *next; /* in its bucket */
	struct rcpt_job *job;
	uint64_t corr;
	enum rcpt_what what;
	uint16_t index; /* of the letter */
};

/* Up to RCPT_JOB_MAX records of one partition on their way; a partition has one at a time. */
struct rcpt_job {
	struct rcpt_partition *partition; /* NULL: nobody waits for it any more */
	struct cx_buf *buf;               /* what the letters' records point into */
	int64_t next_offset;              /* all below is done when the job is */
	bool is_active, is_over;
	bool is_waiting; /* for due_ms, to try again */
	bool has_failed, has_hashed, is_grouped;
	uint32_t pending; /* asks */
	uint32_t backoff_ms;
	uint64_t due_ms;
	uint16_t receipt_count, group_count, letter_count;
	struct rcpt_receipt receipts[RCPT_JOB_MAX];
	struct rcpt_group groups[RCPT_JOB_MAX];
	struct rcpt_letter letters[RCPT_JOB_MAX];
	uint64_t routes_asked;                  /* stack_routes_cache_now */
	struct rcpt_ask asks[1 + RCPT_JOB_MAX]; /* look-up or append, then the letters */
};

struct rcpt_batch { /* a KAFKA_RECORDS */
	struct rcpt_batch *next;
	struct cx_buf *buf;
	size_t at; /* bytes taken into jobs */
	int64_t next_offset;
};

struct rcpt_partition {
	struct rcpt_partition *next;
	int32_t number;
	uint32_t epoch;
	int64_t done;                /* all below is finished; KAFKA_OFFSET_UNKNOWN: none */
	bool is_revoked, is_seeking; /* until KAFKA_ASSIGNED */
	/* Where `done` was a while ago, and where it was a while before that: what Redis may lose. */
	int64_t mark, older_mark;
	uint64_t mark_ms;
	struct rcpt_batch *first, *last;
	struct rcpt_job *job;
};

struct stack_receipts {
	struct stack_receipts_conf conf;
	struct rcpt_partition *partitions;
	struct rcpt_ask *buckets[RCPT_BUCKETS];
	struct stack_push push;
	struct stack_users users; /* last_id: the last that was seen */
	struct stack_routes_cache routes;
	struct stack_routes found[RCPT_JOB_MAX]; /* by group, of the answer that is read */
	struct rcpt_call *call;
	struct redis_batch batch;
	struct cx_timer retry_timer;
	bool is_unheard; /* the channel of workers is, for now */
	struct stack_receipts_figures *figures;
};

static inline void rcpt_count(uint64_t *figure, uint64_t n)
{
	/* relaxed: a figure of one writer, pairs with the load in figures_add */
	__atomic_store_n(figure, *figure + n, __ATOMIC_RELAXED);
}

/* ---- stack_receipts.c ---- */

/* Nothing of the job is under way and something failed: again after its back-off, unless the
 * partition was revoked.  job may be gone afterwards. */
void rcpt_try_later(struct cx_ctx *ctx, struct stack_receipts *s, struct rcpt_job *job);

/* ---- stack_receipts_job.c ---- */

/* Nothing of it is under way. */
void rcpt_job_free(struct rcpt_job *job);

/* Another record of the job: becomes a receipt or a dead letter, or nothing. */
void rcpt_take(struct stack_receipts *s, struct rcpt_job *job,
               const struct kafka_record *record, int64_t wall_ms);
/* Asks all that is to be asked now, again after a failure; is_over when nothing is. */
void rcpt_go(struct cx_ctx *ctx, struct stack_receipts *s, struct rcpt_job *job);
/* An answer: reply NULL when none came, is_written of a dead letter. */
void rcpt_answer(struct cx_ctx *ctx, struct stack_receipts *s, uint64_t corr,
                 const struct cx_buf *reply, bool is_written);

/* ---- stack_receipts_append.c ---- */

void rcpt_append_start(struct stack_receipts *s);
void rcpt_append_stop(struct stack_receipts *s);
/* A payload of the workers' channel; looks go into s->batch. */
void rcpt_hear(struct stack_receipts *s, const struct cx_buf *payload, uint64_t now_ms);
/* One call for all groups that are OPEN; they are ASKED then.  Returns as redis_call_script: on an
 * error they are OPEN. */
enum cx_err rcpt_append(struct cx_ctx *ctx, struct stack_receipts *s, struct rcpt_job *job,
                        uint64_t *corr);
/* Its answer: groups become DONE, or OPEN; what was appended goes into s->push.
 * Returns false: it did not work, for some or for all, who are OPEN or still ASKED. */
bool rcpt_appended(struct cx_ctx *ctx, struct stack_receipts *s, struct rcpt_job *job,
                   const struct cx_buf *reply);

#endif
