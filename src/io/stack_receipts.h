/* SPDX-License-Identifier: MIT */
/* Takes delivery events of the delivery-ack topic into the senders' inboxes as `ack delivered`, and
 * tells the servers that hold them.  Worker role; the owner of partitions p with p % count == its
 * number.
 *
 *   in    KAFKA_ASSIGNED, KAFKA_RECORDS, KAFKA_REVOKED  of topic 1, from kafka_consumer
 *         REDIS_PUSH (PUSH_ROUTE), REDIS_SUBSCRIBED,
 *         REDIS_UNSUBSCRIBED                          of the channel of workers
 *   out   kafka_done, kafka_revoked_done, kafka_seek; kafka_produce of dead letters
 *         PUBLISH to the instances' channels (stack_push.h)
 *
 * A record is done once its receipt is in Redis, or its sender is unknown or gone, or it is too old;
 * one that cannot be read is done once it is a dead letter.  A repetition brings the receipt again,
 * which clients take; when Redis was away or emptied, what was done
 * in the seconds before is done again.  The receipts of all senders of up to 256 records go in one call of one script
 * (decision 0006, section 3); those of one sender are one entry of his inbox, the frames one after the other
 * (each has SERVER_FRAME_DELIVERED_LEN bytes), up to STACK_RECEIPTS_ENTRY. */
#ifndef IO_STACK_RECEIPTS_H
#define IO_STACK_RECEIPTS_H

#include <cx/actor.h>

#include <construct/messages.h>

#include "io/redis.h"
#include "io/stack_partition.h"

/* Entries of one user; then the oldest go, a sixteenth at a time.  Looked at each 156 of a worker. */
#define STACK_RECEIPTS_MAX 10000
#define STACK_RECEIPTS_ENTRY 16 /* receipts in one entry, at most */

struct stack_receipts_conf {
	const struct stack_settings *settings; /* key is not NULL */
	struct cx_ref redis, consumer, producer;
	unsigned script_base; /* where stack_receipts_scripts begins in the adapter's table */
};

#define STACK_RECEIPTS_SCRIPT_COUNT 1
extern const struct redis_script stack_receipts_scripts[STACK_RECEIPTS_SCRIPT_COUNT];

/* Conf: struct stack_receipts_conf; home_key: the worker of its redis adapter. */
extern const struct cx_actor_type stack_receipts_type;

struct stack_receipts_figures { /* of all workers; uint64_t only */
	uint64_t appended;
	uint64_t expired;    /* events older than their time */
	uint64_t senderless; /* of older producers, the sender is not known any more */
	uint64_t gone;       /* the sender's account was deleted */
	uint64_t dropped;    /* oldest entries that gave room to younger ones */
	uint64_t dead_letters;
	uint64_t batches, failures; /* done, and tries that failed */
	uint64_t pushes;
	uint64_t looks;
	uint64_t lookups; /* routes that were read */
};

/* Thread: any. */
void stack_receipts_figures(struct stack_receipts_figures *out);

#endif
