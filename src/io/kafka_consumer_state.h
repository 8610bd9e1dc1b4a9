/* SPDX-License-Identifier: MIT */
/* What the two files of the consumer share: kafka_consumer.c (the actor, the group, the life of the
 * client) and kafka_fetch.c (records, credits, commits, seeks). */
#ifndef IO_KAFKA_CONSUMER_STATE_H
#define IO_KAFKA_CONSUMER_STATE_H

#include <librdkafka/rdkafka.h>

#include "io/kafka_consumer.h"
#include "io/kafka_partition.h"
#include "io/kafka_wake.h"

#define KAFKA_SCRATCH_BYTES (64u << 10) /* one batch to an owner */

enum kafka_after { /* what a revocation is for */
	           KAFKA_AFTER_NONE,
	           KAFKA_AFTER_UNASSIGN, /* the group's wish */
	           KAFKA_AFTER_REBUILD,  /* the watchdog's */
	           KAFKA_AFTER_CLOSE     /* the role's */
};

struct kafka_consumer {
	struct kafka_opaque opaque; /* first */
	const struct kafka_consumer_conf *conf;
	rd_kafka_t *rk; /* NULL: none for now */
	rd_kafka_queue_t *queue;
	rd_kafka_queue_t *commit_queue;
	struct kafka_wake wake;
	struct kafka_partition *partitions;
	uint8_t *scratch; /* the batch that is being packed */
	size_t scratch_used;
	struct kafka_partition *scratch_of;
	int64_t scratch_first, scratch_next;
	uint32_t scratch_count;
	uint32_t epoch;
	enum kafka_after after; /* not NONE: revoking */
	bool is_lost;
	bool is_committing; /* one commit is under way */
	bool is_joined;
	bool is_closed;
	bool is_broken; /* a fatal error: the watchdog's next look makes a new client */
	uint64_t joining_ms;
	uint64_t commit_due_ms, committing_ms, revoke_due_ms;
	/* Written by the library's callbacks inside rd_kafka_consumer_poll, taken right after. */
	rd_kafka_topic_partition_list_t *rebalance;
	rd_kafka_resp_err_t rebalance_err;
	struct cx_caller closer;
	struct cx_timer timer;
	uint64_t looked_ms; /* when figures.is_connected was last made sure of */
	struct kafka_consumer_figures figures;
};

struct kafka_partition *kafka_fetch_find(const struct kafka_consumer *c, uint32_t topic,
                                         int32_t number);

/* Take what the library has and hand it on; returns false when there may be more. */
bool kafka_fetch_turn(struct cx_ctx *ctx, struct kafka_consumer *c);

/* Commit what is done and not committed; answers come to commit_queue. */
void kafka_fetch_commit(struct cx_ctx *ctx, struct kafka_consumer *c);
/* Take these answers; wait up to wait_ms for the one under way. */
void kafka_fetch_committed(struct kafka_consumer *c, uint64_t wait_ms);
bool kafka_fetch_is_committed(const struct kafka_consumer *c);

void kafka_fetch_done(struct kafka_consumer *c, struct kafka_partition *p, int64_t next_offset);
/* Tries p->seek_to; on failure it stays for the next tick. */
void kafka_fetch_seek(struct cx_ctx *ctx, struct kafka_consumer *c, struct kafka_partition *p);

void kafka_fetch_tell_assigned(struct cx_ctx *ctx, const struct kafka_partition *p,
                               int64_t next_offset);

#endif
