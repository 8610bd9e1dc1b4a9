/* SPDX-License-Identifier: MIT */
/* The durable log of messages.  Accepting a message, settling it and a delivery receipt are
 * each one record; a record exists for everybody once its batch is synced.
 *
 *   ask   log_append -> LOG_APPENDED        log_settle -> LOG_SETTLED
 *   out   LOG_RECORDS to the partition actors, in the order of the log
 *
 * What a log owes (G1, G2, G4): records of one appender keep their order; a duplicate (same peer
 * and key within the dedup window) is answered LOG_DUPLICATE only when the first is durable;
 * "not stored" is always an answer, never silence. */
#ifndef IO_LOG_H
#define IO_LOG_H

#include <cx/actor.h>

#include <construct/messages.h>

#include "wire/record.h"
#include "wire/uuid.h"

enum log_outcome {
	LOG_OK,
	LOG_DUPLICATE,  /* durable since an earlier append */
	LOG_INBOX_FULL, /* the owner's inbox is over its quota: nothing stored */
	LOG_NO_OWNER,   /* the owner's account was deleted */
	LOG_FAILED,     /* not durable; may be tried again */
};

/* LOG_APPENDED, LOG_SETTLED: answers. */
struct log_appended {
	struct cx_msg hdr;
	enum log_outcome outcome;
	uint64_t id;
};
struct log_settled {
	struct cx_msg hdr;
	enum log_outcome outcome; /* LOG_OK or LOG_FAILED */
};

/* LOG_RECORDS: a committed batch; hdr.buf = records (wire/record.h), for all owners: a partition
 * takes those of kinds MESSAGE, RECEIPT and USER_GONE with uuid_hash(owner) % partitions == its
 * number, and passes over other kinds (the very bytes of the commit are sent).  Ids grow, with
 * gaps after recovery.  Sent with cx_send_reserved; bounded by commits. */
struct log_records {
	struct cx_msg hdr;
	uint64_t first_id, last_id;
};

/* Append `frame` (the bytes that the owner will get) for owner.  Keeps: a reference on frame.
 * Thread: any handler.  Answer within timeout_ms: LOG_APPENDED or CX_MSG_ERROR.
 * Returns as cx_ask. */
CX_NODISCARD enum cx_err log_append(struct cx_ctx *ctx, struct cx_ref log,
                                    const struct uuid *owner, const struct uuid *peer,
                                    const struct uuid *key, uint32_t key_case,
                                    struct cx_buf *frame, uint32_t timeout_ms, uint64_t *corr);

/* Make durable that owner acknowledged entry id, which cost frame_len bytes of his quota, and, when
 * receipt is not NULL, append it for `peer` in the same step.  Keeps: a reference on receipt. */
CX_NODISCARD enum cx_err log_settle(struct cx_ctx *ctx, struct cx_ref log,
                                    const struct uuid *owner, uint64_t id, uint32_t frame_len,
                                    const struct uuid *peer, struct cx_buf *receipt,
                                    uint32_t timeout_ms, uint64_t *corr);

/* The owner's receipts up to entry `upto` have reached him and may go.  No answer; when it is lost
 * they are delivered again. */
CX_NODISCARD enum cx_err log_receipts_done(struct cx_ctx *ctx, struct cx_ref log,
                                           const struct uuid *owner, uint64_t upto);

struct log_append_msg { /* hdr.buf = frame */
	struct cx_msg hdr;
	struct uuid owner, peer, key;
	uint32_t key_case;
	uint32_t timeout_ms; /* the asker's; 0: he did not say */
};
struct log_settle_msg { /* hdr.buf = receipt or NULL */
	struct cx_msg hdr;
	struct uuid owner, peer;
	uint64_t id;
	uint32_t frame_len;
};
struct log_receipts_done_msg {
	struct cx_msg hdr;
	struct uuid owner;
	uint64_t upto;
};

/* ---- between the embedded log and the embedded inbox (io/embedded_inbox.c) only ---- */

/* LOG_SPILLED: entries (hdr.buf = array of struct log_place) moved from the batch they
 * came in to a row of their own: their bytes are no longer held in memory by the log. Sent to
 * every inbox shard, after the commit. */
struct log_place {
	struct uuid owner;
	uint64_t id;
};
struct log_spilled {
	struct cx_msg hdr;
	uint32_t count;
};

/* LOG_ENDED: entries (hdr.buf = array of struct log_place) that are no more though nobody settled
 * them: over their time, or receipts that made room for younger ones.  Sent to every inbox shard, after
 * the commit. */
struct log_ended {
	struct cx_msg hdr;
	uint32_t count;
};

/* The index of an owner's rows -> LOG_INDEXED (hdr.buf = array of struct log_index_entry, by id).
 * Only what has been spilled; what is younger came as LOG_RECORDS. */
struct log_index_entry {
	uint64_t id;
	int64_t wall_ms;
	struct uuid peer, key;
	uint32_t key_case;
	uint32_t frame_len;
	uint8_t kind;
};
struct log_index_msg {
	struct cx_msg hdr;
	struct uuid owner;
};
struct log_indexed {
	struct cx_msg hdr;
	enum log_outcome outcome;
	uint32_t count;
};
CX_NODISCARD enum cx_err log_index(struct cx_ctx *ctx, struct cx_ref reader,
                                   const struct uuid *owner, uint32_t timeout_ms,
                                   uint64_t *corr);

/* Records of an owner's rows with id > after (at most max_bytes, at least one when there is one)
 * -> LOG_FETCHED (hdr.buf = records). */
struct log_fetch_msg {
	struct cx_msg hdr;
	struct uuid owner;
	uint64_t after;
	uint32_t max_bytes;
};
struct log_fetched {
	struct cx_msg hdr;
	enum log_outcome outcome;
	uint32_t count;
};
CX_NODISCARD enum cx_err log_fetch(struct cx_ctx *ctx, struct cx_ref reader,
                                   const struct uuid *owner, uint64_t after, uint32_t max_bytes,
                                   uint32_t timeout_ms, uint64_t *corr);

#endif
