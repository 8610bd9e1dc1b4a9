/* SPDX-License-Identifier: MIT */
/* construct worker: reads messages and delivery events from Kafka, appends them to inboxes in Redis and
 * wakes the servers where their owners are.  Health and metrics on HEALTH_PORT. */
#include <stdio.h>
#include <unistd.h>

#include <cx/log.h>

#include "actors/front.h"
#include "io/kafka_consumer.h"
#include "io/redis_fan.h"
#include "io/stack_partition.h"
#include "io/stack_rebuild.h"
#include "io/stack_receipts.h"
#include "io/websocket.h"
#include "roles/relay_setup.h"
#include "roles/roles.h"
#include "roles/stack_role.h"

#define CREDIT_BYTES (8u << 20) /* of one partition, handed on and not done */
#define COMMIT_MS 1000
#define REVOKE_MS 5000
#define STUCK_MS 30000
#define ACKED_MAX 10000000 /* acknowledgements that a rebuild can know */
#define SETTLE_MS 2000 /* from an acknowledgement that is in Redis to its record, and more */
#define DAY_MS INT64_C(86400000)
#define HOUR_MS INT64_C(3600000)

struct worker_role {
	struct stack_role role;
	struct relay relay;
	struct websocket_settings health;
	struct stack_settings settings;
	struct stack_acked *acked;
	struct kafka_consumer_conf consumer_conf;
	struct stack_rebuild_conf rebuild_conf;
	struct cx_ref consumer, rebuild;
	struct cx_ref owners[2 * RELAY_WORKERS_MAX]; /* of messages, then of delivery events */
	unsigned partition_scripts, receipts_scripts;
};

static void fill(struct worker_role *w)
{
	const struct config *c = w->role.config;
	struct backends *b = &w->role.backends;
	struct relay *r = &w->relay;

	relay_setup_fill(c, w->role.rt, r);
	r->has_no_websocket = true;
	r->checks[r->check_count++] = (struct relay_check){ .name = "redis",
		                                            .kind = RELAY_CHECK_REDIS,
		                                            .refs = b->redis };
	r->checks[r->check_count++] = (struct relay_check){ .name = "kafka",
		                                            .kind = RELAY_CHECK_CONSUMER,
		                                            .refs = &w->consumer };
	stack_role_fill_health(&w->role, r, &w->health);
	w->acked = stack_acked_new(ACKED_MAX);
	w->settings = (struct stack_settings){
		.prefix = c->delivery_queue_prefix,
		.channel_prefix = c->online_channel,
		.message_ttl_ms = c->message_ttl_days * DAY_MS,
		.dedup_window_ms = c->deduplication_window_hours * HOUR_MS,
		.registry_ttl_ms = c->server_registry_ttl_secs * 1000,
		.inbox_max_messages = c->inbox_max_messages,
		.dead_letter_topic = BACKENDS_TOPIC_DEAD,
		.message_topic = b->topics[BACKENDS_TOPIC_MESSAGES],
		.ack_topic = b->topics[BACKENDS_TOPIC_ACKS],
		.key = &b->delivery_key,
		.delivery_expiry_ms = c->delivery_expiry_days * DAY_MS,
		.acked = w->acked,
	};
}

static enum cx_err boot_consumer(struct worker_role *w)
{
	const struct config *c = w->role.config;
	const struct kafka_consumer_conf *conf = &w->consumer_conf;

	w->consumer_conf = (struct kafka_consumer_conf){
		.rt = w->role.rt,
		.settings = &w->role.backends.kafka,
		.topics = { w->settings.message_topic, w->settings.ack_topic },
		.topic_count = w->relay.receipts ? 2 : 1,
		.owners = w->owners,
		.owner_count = c->worker_threads,
		.credit_bytes = CREDIT_BYTES,
		.commit_ms = COMMIT_MS,
		.revoke_ms = REVOKE_MS,
		.stuck_ms = STUCK_MS,
	};
	return cx_runtime_spawn(w->role.rt, &kafka_consumer_type, &conf, 0, &w->consumer);
}

static enum cx_err boot_rebuild(struct worker_role *w)
{
	const struct config *c = w->role.config;
	const struct stack_rebuild_conf *conf = &w->rebuild_conf;

	if (!w->relay.receipts)
		return CX_OK;
	w->rebuild_conf = (struct stack_rebuild_conf){
		.kafka = &w->role.backends.kafka,
		.settings = &w->settings,
		.settle_ms = SETTLE_MS + (c->delivery_ack_enable_batching
		                                  ? c->delivery_ack_batch_buffer_secs * 1000
		                                  : 0),
	};
	return cx_runtime_spawn(w->role.rt, &stack_rebuild_type, &conf, 0, &w->rebuild);
}

static enum cx_err boot_worker(struct worker_role *w, unsigned i)
{
	const struct relay_conf conf = { .relay = &w->relay };
	const uint32_t threads = w->role.config->worker_threads;
	struct backends *b = &w->role.backends;
	enum cx_err err = backends_boot_redis(b, i, &w->owners[i]);
	const struct stack_partition_conf partition = { .settings = &w->settings,
		                                        .redis = b->redis[i],
		                                        .consumer = w->consumer,
		                                        .producer = b->producer,
		                                        .rebuild = w->rebuild,
		                                        .script_base = w->partition_scripts };
	const struct stack_receipts_conf receipts = { .settings = &w->settings,
		                                      .redis = b->redis[i],
		                                      .consumer = w->consumer,
		                                      .producer = b->producer,
		                                      .script_base = w->receipts_scripts };
	const struct {
		const struct cx_actor_type *type;
		const void *conf;
		struct cx_ref *ref;
	} set[] = {
		{ &stack_partition_type, &partition, &w->owners[i] },
		{ &front_type, &conf, &w->relay.fronts[i] },
		{ &websocket_type, NULL, &w->role.adapters[i] },
		/* with delivery acks only: */
		{ &stack_receipts_type, &receipts, &w->owners[threads + i] },
	};
	const size_t count = CX_COUNTOF(set) - (w->relay.receipts ? 0 : 1);

	for (size_t n = 0; n < count && err == CX_OK; n++)
		err = cx_runtime_spawn(w->role.rt, set[n].type, set[n].conf, i, set[n].ref);
	return err;
}

static enum cx_err boot(struct stack_role *role, const char **error_text)
{
	struct worker_role *w = (struct worker_role *)role;
	const uint32_t threads = role->config->worker_threads;
	struct redis_fan_conf fan_conf = { .to = w->owners };
	struct cx_ref fan;
	enum cx_err err;

	fill(w);
	fan_conf.count = w->relay.receipts ? 2 * threads : threads;
	w->partition_scripts = backends_add_scripts(&role->backends, stack_partition_scripts,
	                                            STACK_PARTITION_SCRIPT_COUNT);
	w->receipts_scripts = backends_add_scripts(&role->backends, stack_receipts_scripts,
	                                           STACK_RECEIPTS_SCRIPT_COUNT);
	err = websocket_setup(&w->health, &role->port, error_text);
	if (err != CX_OK)
		return err;
	role->consumer = &w->consumer;
	err = backends_boot_producer(&role->backends);
	if (err == CX_OK)
		err = boot_consumer(w);
	if (err == CX_OK)
		err = boot_rebuild(w);
	for (unsigned i = 0; i < threads && err == CX_OK; i++)
		err = boot_worker(w, i);
	if (err == CX_OK)
		err = cx_runtime_spawn(role->rt, &redis_fan_type, &fan_conf, 0, &fan);
	if (err != CX_OK)
		return err;
	backends_channel(&role->backends, 0, "workers");
	role->backends.tells_loss = true;
	return backends_boot_subscriber(&role->backends, fan);
}

int role_worker_main(const struct config *c)
{
	static struct worker_role w; /* actors hold pointers into it */

	int code;

	w.role = (struct stack_role){ .config = c, .name = "worker" };
	code = stack_role_main(&w.role, boot);
	stack_acked_free(w.acked);
	return code;
}
