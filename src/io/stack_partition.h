/* SPDX-License-Identifier: MIT */
/* Takes records of the message topic into the recipients' inboxes in Redis, and tells the servers
 * that hold them.  Worker role; the owner of partitions p with p % count == its number.
 *
 *   in    KAFKA_ASSIGNED, KAFKA_RECORDS, KAFKA_REVOKED  of topic 0, from kafka_consumer
 *         REDIS_PUSH (PUSH_ROUTE), REDIS_SUBSCRIBED,
 *         REDIS_UNSUBSCRIBED    of the channel of workers
 *         REDIS_CHANGED
 *         STACK_REBUILT                                 from stack_rebuild
 *   out   kafka_done, kafka_revoked_done, kafka_seek; kafka_produce of dead letters
 *         PUBLISH to the instances' channels (stack_push.h)
 *
 * A record is done once its entry is in Redis; a repetition and a duplicate (same sender and id) have
 * no effect; a record that cannot be read is done once it is a dead letter.
 *
 * "<prefix>fence:<partition>" in Redis holds up to which offset this Redis has the partition: when
 * that is less than what is done, Redis lost something, and the log is read again from there (when it
 * is missing, from the oldest record), without what was acknowledged. */
#ifndef IO_STACK_PARTITION_H
#define IO_STACK_PARTITION_H

#include <cx/actor.h>

#include <construct/messages.h>

#include "io/redis.h"
#include "io/stack_acked.h"

struct delivery_key;

/* Shared by stack_partition and stack_receipts; outlives them. */
struct stack_settings {
	const char *prefix;         /* of keys */
	const char *channel_prefix; /* of channels */
	int64_t message_ttl_ms, dedup_window_ms;
	uint32_t registry_ttl_ms;
	uint32_t inbox_max_messages;
	uint32_t dead_letter_topic; /* number in the producer's conf */
	const char *message_topic, *ack_topic;
	const struct delivery_key *key; /* or NULL: nothing is acknowledged through Kafka */
	struct stack_acked *acked;      /* or NULL */
	int64_t delivery_expiry_ms;     /* events older than this are passed over; 0: none */
};

struct stack_partition_conf {
	const struct stack_settings *settings;
	struct cx_ref redis, consumer, producer;
	unsigned script_base; /* where stack_partition_scripts begins in the adapter's table */
	struct cx_ref
		rebuild; /* stack_rebuild.h; CX_NOBODY: what was acknowledged is not known */
};

#define STACK_PARTITION_SCRIPT_COUNT 2
extern const struct redis_script stack_partition_scripts[STACK_PARTITION_SCRIPT_COUNT];

/* Conf: struct stack_partition_conf; home_key: the worker of its redis adapter. */
extern const struct cx_actor_type stack_partition_type;

struct stack_partition_figures { /* of all workers; uint64_t only */
	uint64_t appended;
	uint64_t repetitions; /* records that were in already */
	uint64_t duplicates;  /* the same message in another record */
	uint64_t gone;        /* the recipient's account was deleted */
	uint64_t expired;     /* older than the TTL */
	uint64_t acked;       /* acknowledged before Redis lost it */
	uint64_t dead_letters;
	uint64_t batches, failures; /* answered, and tries that failed */
	uint64_t pushes;            /* entries for an instance */
	uint64_t looks;
	uint64_t lookups; /* routes that were read */
	uint64_t rewinds; /* Redis had less than was done */
	uint64_t rewound; /* offsets that these went back */
	uint64_t sweeps;  /* buckets of remembered ids, looked through for old ones */
};

/* Thread: any. */
void stack_partition_figures(struct stack_partition_figures *out);

#endif
