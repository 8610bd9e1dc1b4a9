/* SPDX-License-Identifier: MIT */
/* The server's inbox on Redis, whose parts are
 *
 *   stack_inbox.c         the actor, questions under way, presence
 *   stack_inbox_index.c   what is known of each user's stream
 *   stack_inbox_read.c    entries for a connection
 *   stack_inbox_settle.c  acknowledgements on their way to Redis
 *   stack_inbox_find.c    acknowledgements of what the index does not know (yet)
 *   stack_inbox_receipts.c  receipts that have arrived, and other servers that may not have shown them
 *   stack_inbox_lately.c  deletions of the last seconds, which Redis may lose
 *
 * All that a turn brought goes to Redis at its end, in this order: settles, other deletions, reads; so
 * a read does not see what was acknowledged in its turn. */
#ifndef IO_STACK_INBOX_INTERNAL_H
#define IO_STACK_INBOX_INTERNAL_H

#include "io/stack_inbox.h"
#include "io/stack_inbox_index.h"
#include "io/stack_keys.h"
#include "io/steady_wall.h"
#include "wire/inbox_entry.h"

#define STACK_INBOX_ASK_MS \
	6000 /* of a question; a search that took longer than this settles nothing */
#define STACK_INBOX_READ_MS 9000

struct stack_inbox;
struct question;
struct read_batch;
struct settle_batch;
struct receipts_batch;
struct held;
struct deleted;

enum answer_kind {
	ANSWER_IS,      /* buf: the values */
	ANSWER_UNKNOWN, /* executed or not, nobody knows */
	ANSWER_NEVER,   /* it was not sent */
};
struct answer {
	enum answer_kind kind;
	const struct cx_buf *buf;
};

/* Takes the answer and frees the question; asks nothing when the actor stops. */
typedef void question_fn(struct cx_ctx *ctx, struct stack_inbox *s, struct question *q,
                         const struct answer *a);

/* Asked of Redis and not answered; first member of what waits for the answer. */
struct question {
	struct question *next; /* in a bucket */
	uint64_t corr;
	question_fn *then;
};

#define QUESTION_BUCKETS 1024 /* a power of two */

struct receipts_held { /* in the order in which they are due */
	struct held *ring;
	uint32_t first, count, cap; /* first wraps; cap is a power of two */
	struct cx_timer timer;
};

struct deleted_lately { /* in the order of time */
	struct deleted *ring;
	uint32_t first, count, cap; /* first wraps; cap is a power of two */
};

struct stack_inbox {
	struct stack_inbox_conf conf;
	const struct stack_inbox_settings *settings;
	struct inbox_index index;
	struct question *questions[QUESTION_BUCKETS]; /* by corr */
	struct redis_batch redis;                     /* being filled to be sent at once */
	struct redis_batch chores; /* deletions that nobody waits for, of this turn */
	uint32_t mean_bytes;       /* of an entry as a record, over all users */
	struct steady_wall wall;
	uint64_t lives; /* of Redis, so far: what was asked in another may be true no more */
	struct read_batch *open_reads;
	struct settle_batch *open_settles;
	struct receipts_batch *open_receipts;
	struct receipts_held held;
	struct deleted_lately lately;
	uint64_t
		no_reads_until_ms; /* other servers delete once more what Redis may have lost */
	uint64_t batches;          /* of settles, so far */
	struct settle_batch **slots; /* those under way, by number; NULL: free */
	uint32_t slot_count;
	uint8_t *events; /* of the open batch of settles: it is put together here */
	size_t events_len;
	bool is_stopping;
};

/* ---- stack_inbox.c ---- */

/* corr is of a question that was sent. */
void question_wait(struct stack_inbox *s, struct question *q, uint64_t corr, question_fn *then);
/* Deletes entries of a user's stream at the end of the turn; nobody waits for it. */
void chore_delete(struct cx_ctx *ctx, struct stack_inbox *s, const struct uuid *owner,
                  const uint64_t *ids, uint32_t count);
/* Something that held the user is over. */
void user_unhold(struct stack_inbox *s, struct inbox_user *user);
bool is_wrong_type(const struct redis_value *v);

/* ---- stack_inbox_read.c ---- */

void read_take(struct cx_ctx *ctx, struct stack_inbox *s, const struct inbox_read_msg *m);
void read_send(struct cx_ctx *ctx, struct stack_inbox *s);

/* ---- stack_inbox_settle.c ---- */

#define XDEL_MAX 512 /* ids in one command, and settles in one batch */

/* Writes XDEL into the batch. */
void delete_add(struct redis_batch *batch, const char *prefix, const struct uuid *owner,
                const uint64_t *ids, uint32_t count);

/* The caller is answered now or later when an entry that waits, or is being settled, has that key; false:
 * there is none, nothing was done. */
bool settle_try(struct cx_ctx *ctx, struct stack_inbox *s, struct inbox_user *user,
                const struct uuid *key, const struct uuid *from, struct cx_caller caller);
void settle_send(struct cx_ctx *ctx, struct stack_inbox *s);

/* ---- stack_inbox_find.c ---- */

/* Looks on in the stream until it is found, or the stream ends. */
void find_take(struct cx_ctx *ctx, struct stack_inbox *s, struct inbox_user *user,
               const struct inbox_settle_msg *m);
/* Asks for the next piece of what the index does not know; false: it cannot be asked for. */
bool find_on(struct cx_ctx *ctx, struct stack_inbox *s, struct inbox_user *user);
/* All settles that wait for it get this. */
void find_end(struct cx_ctx *ctx, struct inbox_user *user, enum inbox_outcome outcome);

/* ---- stack_inbox_receipts.c ---- */

void receipts_take(struct stack_inbox *s, const struct inbox_receipts_done_msg *m);
void receipts_send(struct cx_ctx *ctx, struct stack_inbox *s);
/* Ids may mean other entries now: none is deleted any more. */
void receipts_forget(struct stack_inbox *s);
void receipts_on_timer(struct cx_ctx *ctx, struct stack_inbox *s);

/* ---- stack_inbox_lately.c ---- */

/* The message was deleted from the owner's stream. */
void lately_note(struct deleted_lately *l, const struct uuid *owner, uint64_t id,
                 uint64_t now_ms);
/* All of them go into chores once more. */
void lately_repeat(struct cx_ctx *ctx, struct stack_inbox *s);
void lately_free(struct deleted_lately *l);

#endif
