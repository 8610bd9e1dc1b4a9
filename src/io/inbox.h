/* SPDX-License-Identifier: MIT */
/* One inbox a user: what he has not acknowledged, in the order of the log.
 *
 *   ask   inbox_append (partition)  -> INBOX_APPENDED, once all are in
 *         inbox_read (connection)   -> INBOX_ENTRIES
 *         inbox_settle (connection) -> INBOX_SETTLED, once durable
 *   in    inbox_receipts_done, inbox_presence (hub), inbox_learn (instance)
 *
 * Appending is idempotent: an entry's id is its place in the log, an id not above the inbox's
 * tail has no effect. */
#ifndef IO_INBOX_H
#define IO_INBOX_H

#include <cx/actor.h>

#include <construct/messages.h>

#include "wire/record.h"
#include "wire/uuid.h"

/* Shards by user: shard = uuid_hash(user) % count, each a ref on the worker of that number. */
struct inbox {
	const struct cx_ref *shards;
	uint32_t count;
};

/* One entry of a batch: a slice of the batch's buffer. */
struct inbox_item {
	struct uuid owner;
	uint64_t id;
	uint64_t prev; /* the entry before it in the owner's inbox, settled or not; 0: none; or
		       INBOX_PREV_UNKNOWN */
	uint32_t offset; /* of the record in the buffer (its frame follows the head) */
	uint32_t len;    /* of the frame */
	uint8_t kind;
	uint8_t fresh; /* 0: it was there already */
};

#define INBOX_PREV_UNKNOWN UINT64_MAX /* whether and what waits before it: only a read tells */
#define INBOX_BATCH_MAX 48            /* items in one INBOX_APPEND */

/* hdr.buf = the batch's bytes; items point into it. */
struct inbox_append_msg {
	struct cx_msg hdr;
	uint32_t count;
	struct inbox_item items[INBOX_BATCH_MAX];
};
/* The answer: the same items with prev and fresh filled, hdr.buf the same bytes. */
struct inbox_appended {
	struct cx_msg hdr;
	uint32_t count;
	struct inbox_item items[INBOX_BATCH_MAX];
};

struct inbox_read_msg {
	struct cx_msg hdr;
	struct uuid owner;
	uint64_t after;
	uint32_t max_bytes;
};
/* hdr.buf = records (wire/record.h), ids growing, all > after; NULL for none. */
struct inbox_entries {
	struct cx_msg hdr;
	uint64_t next; /* read on from here: everything waiting up to this id was handed out */
	uint32_t count;
	uint8_t more;   /* there is more after next */
	uint8_t failed; /* the store could not be asked: try again later from the same place */
};

enum inbox_outcome {
	INBOX_OK,
	INBOX_UNKNOWN, /* nothing waits under that id: nothing was done */
	INBOX_FAILED,  /* could not be stored; the message will come again */
};
struct inbox_settle_msg {
	struct cx_msg hdr;
	struct uuid owner, key, from;
	uint8_t has_from;
};
struct inbox_settled {
	struct cx_msg hdr;
	enum inbox_outcome outcome;
};
struct inbox_receipts_done_msg {
	struct cx_msg hdr;
	struct uuid owner;
	uint64_t upto;
};

/* INBOX_LEARN: entries that were appended elsewhere and pushed to this process; hdr.buf = the push,
 * items point into it. */
struct inbox_learn_msg {
	struct cx_msg hdr;
	uint32_t count;
	struct inbox_item items[INBOX_BATCH_MAX];
};
struct inbox_presence_msg {
	struct cx_msg hdr;
	struct uuid owner;
	uint8_t is_present;
};

struct inbox_append_msg *inbox_append_new(struct cx_ctx *ctx);
CX_NODISCARD enum cx_err inbox_append(struct cx_ctx *ctx, const struct inbox *inbox,
                                      uint32_t shard, struct inbox_append_msg *m,
                                      uint32_t timeout_ms, uint64_t *corr);
CX_NODISCARD enum cx_err inbox_read(struct cx_ctx *ctx, const struct inbox *inbox,
                                    const struct uuid *owner, uint64_t after,
                                    uint32_t max_bytes, uint32_t timeout_ms, uint64_t *corr);
/* from NULL: the oldest waiting message with that id. */
CX_NODISCARD enum cx_err inbox_settle(struct cx_ctx *ctx, const struct inbox *inbox,
                                      const struct uuid *owner, const struct uuid *key,
                                      const struct uuid *from, uint32_t timeout_ms,
                                      uint64_t *corr);
/* No answer; when it is lost, receipts come again. */
CX_NODISCARD enum cx_err inbox_receipts_done(struct cx_ctx *ctx, const struct inbox *inbox,
                                             const struct uuid *owner, uint64_t upto);

struct inbox_learn_msg *inbox_learn_new(struct cx_ctx *ctx);
/* May be lost: then an inbox that is not in this process asks for what it does not know. */
CX_NODISCARD enum cx_err inbox_learn(struct cx_ctx *ctx, const struct inbox *inbox,
                                     uint32_t shard, struct inbox_learn_msg *m);
/* The owner's first connection here has come, or his last one has gone.  Never refused: connections
 * bound them. */
CX_NODISCARD enum cx_err inbox_presence(struct cx_ctx *ctx, const struct inbox *inbox,
                                        const struct uuid *owner, bool is_present);

/* ---- for those who are an inbox: the answers ---- */

/* Takes the caller's reference on records (NULL for none). */
void inbox_answer_read(struct cx_ctx *ctx, struct cx_caller caller, struct cx_buf *records,
                       uint32_t count, uint64_t next, bool has_more);
void inbox_fail_read(struct cx_ctx *ctx, struct cx_caller caller, uint64_t after);
void inbox_answer_settle(struct cx_ctx *ctx, struct cx_caller caller,
                         enum inbox_outcome outcome);

#endif
