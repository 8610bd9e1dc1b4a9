/* SPDX-License-Identifier: MIT */
/* The backends of a deployment as the roles server, gateway and worker have them: settings made from
 * the configuration, and the adapters: on each worker one of Redis, one of PostgreSQL and a store;
 * one Kafka producer for the process. */
#ifndef CONSTRUCT_ROLES_BACKENDS_H
#define CONSTRUCT_ROLES_BACKENDS_H

#include <cx/runtime.h>

#include "actors/relay.h"
#include "io/kafka_conf.h"
#include "io/kafka_producer.h"
#include "io/redis.h"
#include "io/redis_sub.h"
#include "roles/config.h"
#include "wire/delivery_event.h"
#include "wire/redis_url.h"

/* Places in the producer's and the consumer's list of topics. */
enum { BACKENDS_TOPIC_MESSAGES, BACKENDS_TOPIC_ACKS, BACKENDS_TOPIC_DEAD, BACKENDS_TOPICS };

#define BACKENDS_TOPIC_MAX 256
#define BACKENDS_CHANNELS_MAX 2
#define BACKENDS_CHANNEL_MAX 256

struct backends {
	const struct config *config;
	struct cx_runtime *rt;
	uint64_t instance; /* of this process, random */
	struct redis_url redis_url;
	struct kafka_settings kafka;
	struct delivery_key delivery_key;
	char topics[BACKENDS_TOPICS][BACKENDS_TOPIC_MAX];
	char channels[BACKENDS_CHANNELS_MAX][BACKENDS_CHANNEL_MAX];
	const char *channel_names[BACKENDS_CHANNELS_MAX];
	struct kafka_producer_conf producer_conf;
	struct redis_script scripts[REDIS_SCRIPTS_MAX];
	unsigned script_count;
	struct cx_ref redis[RELAY_WORKERS_MAX];
	struct cx_ref postgres[RELAY_WORKERS_MAX];
	struct cx_ref stores[RELAY_WORKERS_MAX];
	struct cx_ref producer;
	struct cx_ref subscriber;
	bool tells_loss; /* of backends_boot_subscriber: redis_sub.h; set before */
};

/* Judges the settings as a whole; opens nothing.  *error_text (static or in b) names the variable.
 * Returns CX_OK or CX_EINVAL. */
CX_NODISCARD enum cx_err backends_setup(struct backends *b, const struct config *config,
                                        struct cx_runtime *rt, const char **error_text);

/* A role's scripts go behind those of the store.  Before any adapter is booted.
 * Returns the number of the first. */
unsigned backends_add_scripts(struct backends *b, const struct redis_script *scripts,
                              unsigned count);

/* Redis adapter of worker i; owner_at: who is told of REDIS_CHANGED (filled before the workers run), or
 * NULL. */
CX_NODISCARD enum cx_err backends_boot_redis(struct backends *b, unsigned i,
                                             const struct cx_ref *owner_at);
/* PostgreSQL adapter and store of worker i; after its Redis adapter. */
CX_NODISCARD enum cx_err backends_boot_store(struct backends *b, unsigned i);
CX_NODISCARD enum cx_err backends_boot_producer(struct backends *b);
/* On worker 0, to `subscriber`: the channels named by backends_channel. */
CX_NODISCARD enum cx_err backends_boot_subscriber(struct backends *b, struct cx_ref subscriber);

/* Channel number n is <ONLINE_CHANNEL>:<name>. */
void backends_channel(struct backends *b, unsigned n, const char *name);

void backends_wipe(struct backends *b);

#endif
