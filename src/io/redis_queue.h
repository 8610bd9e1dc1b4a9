/* SPDX-License-Identifier: MIT */
/* The commands of one adapter, in the order of arrival: head..mid is on its way (bytes given to the
 * link), mid..tail waits.  Replies belong to the head.
 *
 * Invariants
 * 1. An entry leaves the queue with exactly one answer, or with none when its caller's deadline has
 *    passed (the runtime gave that answer).
 * 2. After a loss, what the socket took is answered REDIS_LOST; what it did not take waits again.
 *    Entries know their place in the stream of this connection (`at`), so the two never mix.
 * 3. An entry whose deadline passed while it waited is DEAD: it keeps its place, but nothing was
 *    sent for it and no reply is its own. */
#ifndef IO_REDIS_QUEUE_H
#define IO_REDIS_QUEUE_H

#include "io/redis.h"

enum redis_entry_kind {
	REDIS_ENTRY_CALL,
	REDIS_ENTRY_EVALSHA,
	REDIS_ENTRY_EVAL,
	REDIS_ENTRY_PING, /* the adapter's own */
	REDIS_ENTRY_DEAD, /* inv. 3 */
};

struct redis_entry {
	struct cx_caller caller;
	struct cx_buf *buf; /* as in redis_call_msg; NULL: PING, DEAD */
	uint64_t at;        /* bytes put before it on this connection */
	uint64_t deadline_ms;
	uint64_t sent_ns;
	uint32_t count, left; /* commands; replies still to come */
	uint32_t script, args;
	enum redis_entry_kind kind;
};

struct redis_queue {
	struct redis_entry *ring;
	uint32_t mask;
	uint32_t head, mid, tail; /* counted on, masked on use */
	uint32_t commands, commands_max;
	size_t bytes, bytes_max; /* of requests in the queue */
	uint32_t pings;
	uint64_t swept_ms;
	struct redis_figures *figures;
};

void redis_queue_init(struct redis_queue *q, uint32_t commands_max, size_t bytes_max,
                      struct redis_figures *figures);

/* Takes a reference on msg->buf.
 * Returns CX_EFULL: over a limit, nothing was taken. */
CX_NODISCARD enum cx_err redis_queue_push(struct cx_ctx *ctx, struct redis_queue *q,
                                          const struct redis_call_msg *msg);
/* Does nothing when two are in the queue already. */
void redis_queue_push_ping(struct redis_queue *q);

/* The next entry to send, or NULL; redis_queue_staged when it was given to the link. */
struct redis_entry *redis_queue_waiting(struct cx_ctx *ctx, struct redis_queue *q);
void redis_queue_staged(struct redis_queue *q);

/* The entry that the next reply belongs to, or NULL. */
struct redis_entry *redis_queue_head(struct redis_queue *q);
/* It is answered (by the caller, before) and goes. */
void redis_queue_pop(struct redis_queue *q);
/* It goes to the end of the queue, to be sent once more as `kind`. */
void redis_queue_again(struct redis_queue *q, enum redis_entry_kind kind);

/* The connection is gone; its socket took `sent` bytes (inv. 2). */
void redis_queue_lose(struct cx_ctx *ctx, struct redis_queue *q, uint64_t sent);
/* Answer all: lost, or CX_EGONE when never sent; and free what the queue holds. */
void redis_queue_free(struct cx_ctx *ctx, struct redis_queue *q, uint64_t sent);

#endif
