/* SPDX-License-Identifier: MIT */
/* Reads topics of Kafka as one member of a group, and hands each partition's records to its owner.
 *
 *   out   KAFKA_ASSIGNED, KAFKA_RECORDS, KAFKA_REVOKED   to the owner of the partition
 *   in    kafka_done, kafka_revoked_done, kafka_seek     from it
 *   ask   kafka_consumer_close -> KAFKA_CONSUMER_CLOSED
 *         kafka_consumer_figures -> KAFKA_CONSUMER_FIGURES
 *
 * A partition's life: ASSIGNED, RECORDS in order of offset without repetition, REVOKED.  The owner
 * says with kafka_done up to where all is finished; just that is committed, in the background,
 * and at once on REVOKED and at the end.  So a restart reads on exactly there.
 * Credits: a partition has at most credit_bytes (and one batch) handed and not done; over it the
 * partition is paused, others go on.
 * Each assignment and each seek makes a new epoch; what carries an older one is passed over, on
 * both sides.
 *
 * It has a thread of its own: making, joining, committing at the end and closing block. */
#ifndef IO_KAFKA_CONSUMER_H
#define IO_KAFKA_CONSUMER_H

#include <cx/actor.h>

#include <construct/messages.h>

#include "io/kafka_conf.h"

#define KAFKA_READ_TOPICS_MAX 8
#define KAFKA_OFFSET_UNKNOWN (-1) /* no commit yet: from the oldest that is there */
#define KAFKA_OFFSET_DONE (-2)    /* for kafka_seek: where kafka_done is */

struct kafka_consumer_conf {
	struct cx_runtime *rt;
	const struct kafka_settings *settings;
	const char *topics[KAFKA_READ_TOPICS_MAX];
	uint32_t topic_count;
	/* Partition p of topic t belongs to owners[t * owner_count + p % owner_count]. */
	const struct cx_ref *owners;
	uint32_t owner_count;
	const char *const *headers; /* names to hand on; NULL: all */
	uint32_t header_count;
	uint64_t credit_bytes; /* for each partition */
	uint32_t commit_ms;    /* from one commit in the background to the next */
	uint32_t revoke_ms;    /* an owner that does not answer KAFKA_REVOKED loses it then */
	/* No assignment, or a lag and no records: a new client.  More than twice the session
	 * timeout: the group waits that long for the old one, unless membership is static. */
	uint32_t stuck_ms;
};

/* Spawn with the address of a `const struct kafka_consumer_conf *`; both live as long as the
 * runtime.  Ends at once with CX_EINVAL when kafka_check refuses the settings. */
extern const struct cx_actor_type kafka_consumer_type;

/* All five are sent with cx_send_reserved: their number is bounded by partitions and credits. */

/* Records of a place from next_offset on will come (KAFKA_OFFSET_UNKNOWN: from the oldest). */
struct kafka_assigned {
	struct cx_msg hdr;
	int32_t partition;
	uint32_t topic, epoch;
	int64_t next_offset;
};

/* hdr.buf = records (kafka_record.h), by offset; gaps are the log's. */
struct kafka_records {
	struct cx_msg hdr;
	int32_t partition;
	uint32_t topic, epoch;
	uint32_t count;
	int64_t first_offset, next_offset;
};

/* No more records come.  Finish what is under way, then kafka_revoked_done; nobody else gets
 * the partition before (unless is_lost: somebody may have it already, and nothing is committed). */
struct kafka_revoked {
	struct cx_msg hdr;
	int32_t partition;
	uint32_t topic, epoch;
	bool is_lost;
};

/* KAFKA_DONE, KAFKA_REVOKED_DONE, KAFKA_SEEK */
struct kafka_place {
	struct cx_msg hdr;
	int32_t partition;
	uint32_t topic, epoch;
	int64_t next_offset;
};

/* Everything below next_offset is finished: it gives credit back and will be committed.  A lower
 * value than before says nothing.  Thread: any handler.  Returns CX_OK or CX_EGONE. */
CX_NODISCARD enum cx_err kafka_done(struct cx_ctx *ctx, struct cx_ref consumer, uint32_t topic,
                                    int32_t partition, uint32_t epoch, int64_t next_offset);

/* The answer to KAFKA_REVOKED; next_offset as for kafka_done (KAFKA_OFFSET_UNKNOWN: nothing new). */
CX_NODISCARD enum cx_err kafka_revoked_done(struct cx_ctx *ctx, struct cx_ref consumer,
                                            uint32_t topic, int32_t partition, uint32_t epoch,
                                            int64_t next_offset);

/* Read on from next_offset (or KAFKA_OFFSET_DONE): KAFKA_ASSIGNED with a new epoch tells when.  The
 * place is committed too, so that a restart in the middle of a rewind goes on with it. */
CX_NODISCARD enum cx_err kafka_seek(struct cx_ctx *ctx, struct cx_ref consumer, uint32_t topic,
                                    int32_t partition, uint32_t epoch, int64_t next_offset);

struct kafka_consumer_closed {
	struct cx_msg hdr;
	bool is_committed; /* all that was done */
};

/* Revoke all, commit, leave.  Returns as cx_ask. */
CX_NODISCARD enum cx_err kafka_consumer_close(struct cx_ctx *ctx, struct cx_ref consumer,
                                              uint32_t timeout_ms, uint64_t *corr);

struct kafka_consumer_figures {
	struct cx_msg hdr;
	bool is_connected; /* the last news was not "all brokers are down" */
	bool is_joined;    /* has an assignment, if an empty one */
	uint32_t partitions, paused;
	uint64_t unpaid_bytes; /* handed and not done */
	uint64_t lag;          /* records behind the ends of its partitions, as last fetched */
	uint64_t records, bytes, batches;
	uint64_t assignments, revocations, owners_late;
	uint64_t commits, commit_errors, errors, pauses, seeks;
	uint64_t rebuilt; /* clients ended by the watchdog */
};
CX_NODISCARD enum cx_err kafka_consumer_figures(struct cx_ctx *ctx, struct cx_ref consumer,
                                                uint32_t timeout_ms, uint64_t *corr);

#endif
