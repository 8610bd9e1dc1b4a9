/* SPDX-License-Identifier: MIT */
/* The log of messages on Kafka (docs/decisions/0006, sections 3 to 5): the gateway's side of it.
 *
 *   in   LOG_APPEND (io/log.h, log_append)  -> LOG_APPENDED, within the deadline of the asker;
 *                                              id: the entry's place in the owner's inbox, 0 when
 *                                              Kafka did not tell the offset
 *        REDIS_PUSH, REDIS_SUBSCRIBED       of a redis_sub on the gateways' channel: an account was
 *                                           deleted, so what is known of its inbox is forgotten
 *
 * One a worker.  All appends of a sender come to the same one, or their order is not kept. */
#ifndef IO_KAFKA_LOG_H
#define IO_KAFKA_LOG_H

#include "io/kafka_producer.h"
#include "io/log.h"
#include "io/redis.h"
#include "io/redis_sub.h"

#define KAFKA_LOG_APPENDS_MAX 16384            /* under way, for each actor */
#define KAFKA_LOG_BYTES_MAX (32 * 1024 * 1024) /* of their frames */

/* Borrowed for the actor's life. */
struct kafka_log_settings {
	const char *prefix; /* of keys in Redis */
	uint64_t instance;  /* random at each start */
	uint32_t topic;     /* number of the message topic in the producer's conf */
	int64_t message_ttl_ms, dedup_window_ms;
	uint32_t inbox_max_messages;
	uint64_t inbox_max_bytes;     /* sum of frames */
	uint32_t delivery_timeout_ms; /* an append takes no longer; 0: 12000 */
};

struct kafka_log_conf {
	const struct kafka_log_settings *settings;
	struct cx_ref redis, producer;
	unsigned script_base; /* where kafka_log_scripts begin in the adapter's table */
};

#define KAFKA_LOG_SCRIPT_COUNT 2
extern const struct redis_script kafka_log_scripts[KAFKA_LOG_SCRIPT_COUNT];

/* Conf: struct kafka_log_conf; home_key: the worker. */
extern const struct cx_actor_type kafka_log_type;

struct kafka_log_figures {       /* of all actors of the process; uint64_t only */
	uint64_t appended;       /* LOG_OK */
	uint64_t duplicates;     /* LOG_DUPLICATE */
	uint64_t inbox_full;     /* LOG_INBOX_FULL */
	uint64_t no_owner;       /* LOG_NO_OWNER */
	uint64_t failed;         /* LOG_FAILED, the refused among them */
	uint64_t refused;        /* too much under way */
	uint64_t pending_waits;  /* appends that found the claim of another */
	uint64_t unclaimed;      /* handed to Kafka without a claim: Redis was not reached */
	uint64_t in_flight;      /* appends now, from arrival to answer */
	uint64_t redis_failures; /* questions to Redis without a use: lost, late, an error */
};

/* Thread: any. */
void kafka_log_figures(struct kafka_log_figures *out);

#endif
