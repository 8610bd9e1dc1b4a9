/* SPDX-License-Identifier: MIT */
/* construct server: clients' connections, accounts and HTTP, on PostgreSQL, Redis and Kafka.  Messages
 * go to the gateways of MESSAGE_GATEWAY_URL, or, without it, to a gateway of its own in this process. */
#include <cx/log.h>

#include "actors/account.h"
#include "actors/ack_batcher.h"
#include "actors/connection.h"
#include "actors/front.h"
#include "actors/gateway.h"
#include "actors/gateway_link.h"
#include "actors/hash_gate.h"
#include "actors/hub.h"
#include "actors/instance.h"
#include "io/grpc_client.h"
#include "io/kafka_log.h"
#include "io/redis_fan.h"
#include "io/stack_inbox.h"
#include "io/stack_routes.h"
#include "io/websocket.h"
#include "roles/backends.h"
#include "roles/relay_setup.h"
#include "roles/roles.h"
#include "roles/stack_role.h"
#include "wire/hash.h"
#include "wire/secret.h"

#define DAY_MS INT64_C(86400000)

struct server {
	struct stack_role role;
	struct relay relay;
	struct websocket_settings websocket;
	struct stack_inbox_settings inbox;
	struct stack_routes_settings routes;
	struct kafka_log_settings log; /* without MESSAGE_GATEWAY_URL */
	struct cx_ref batchers[RELAY_WORKERS_MAX];
	struct cx_ref clients[RELAY_WORKERS_MAX]; /* of gateways */
	unsigned inbox_scripts, log_scripts;
	uint8_t device_key[HASH_KEY_LEN];
};

static void fill(struct server *s)
{
	const struct config *c = s->role.config;
	struct backends *b = &s->role.backends;

	relay_setup_fill(c, s->role.rt, &s->relay);
	relay_setup_device_key(c, s->device_key, &s->relay);
	s->relay.instance = b->instance;
	s->relay.receipts_apart = true;
	s->relay.store.workers = b->stores;
	s->relay.inbox =
		(struct inbox){ .shards = s->relay.inboxes, .count = c->worker_threads };
	s->inbox = (struct stack_inbox_settings){
		.prefix = c->delivery_queue_prefix,
		.instance = b->instance,
		.message_ttl_ms = c->message_ttl_days * DAY_MS,
		.receipts = s->relay.receipts,
		.key = &b->delivery_key,
	};
	s->routes = (struct stack_routes_settings){
		.prefix = c->delivery_queue_prefix,
		.channel_prefix = c->online_channel,
		.instance = b->instance,
		.heartbeat_ms = c->heartbeat_interval_secs * 1000,
		.ttl_ms = c->server_registry_ttl_secs * 1000,
		.max_connections = c->max_connections_per_user,
		.message_ttl_ms = c->message_ttl_days * DAY_MS,
	};
	stack_role_fill_log(&s->role, &s->log);
	relay_setup_websocket(c, &s->relay, &s->websocket);
}

static void fill_checks(struct server *s)
{
	struct relay *r = &s->relay;

	r->checks[r->check_count++] =
		(struct relay_check){ .name = "store", .kind = RELAY_CHECK_STORE };
	if (r->receipts || s->role.config->message_gateway_url == NULL)
		r->checks[r->check_count++] =
			(struct relay_check){ .name = "kafka",
			                      .kind = RELAY_CHECK_PRODUCER,
			                      .refs = &s->role.backends.producer };
	if (s->role.config->message_gateway_url != NULL)
		r->checks[r->check_count++] = (struct relay_check){ .name = "gateway",
			                                            .kind = RELAY_CHECK_GATEWAY,
			                                            .refs = s->clients };
}

/* The gateway of worker i: a link to the processes that are one, or one of our own. */
static enum cx_err boot_gateway(struct server *s, unsigned i)
{
	const struct config *c = s->role.config;
	struct cx_runtime *rt = s->role.rt;
	const struct relay_conf conf = { .relay = &s->relay };
	const struct grpc_client_conf client = { .targets = c->message_gateway_url,
		                                 .many_of = gateway_link_method,
		                                 .many_by = gateway_link_many };
	struct gateway_link_conf link = { .relay = &s->relay };
	enum cx_err err;

	if (c->message_gateway_url == NULL) {
		err = stack_role_boot_log(&s->role, &s->log, s->log_scripts, i,
		                          &s->relay.logs[i]);
		return err == CX_OK ? cx_runtime_spawn(rt, &gateway_type, &conf, i,
		                                       &s->relay.gateways[i])
		                    : err;
	}
	err = cx_runtime_spawn(rt, &grpc_client_type, &client, i, &s->clients[i]);
	link.client = s->clients[i];
	return err == CX_OK ? cx_runtime_spawn(rt, &gateway_link_type, &link, i,
	                                       &s->relay.gateways[i])
	                    : err;
}

static enum cx_err boot_inbox(struct server *s, unsigned i)
{
	struct backends *b = &s->role.backends;
	const struct ack_batcher_conf batcher = {
		.producer = b->producer,
		.redis = b->redis[i],
		.topic = BACKENDS_TOPIC_ACKS,
		.prefix = s->role.config->delivery_queue_prefix,
		.instance = b->instance,
		.adopt_ms = i == 0 ? s->role.config->heartbeat_interval_secs * 1000 : 0,
		.buffer_ms = s->role.config->delivery_ack_enable_batching
		                     ? s->role.config->delivery_ack_batch_buffer_secs * 1000
		                     : 0,
	};
	enum cx_err err =
		cx_runtime_spawn(s->role.rt, &ack_batcher_type, &batcher, i, &s->batchers[i]);
	const struct stack_inbox_conf inbox = { .settings = &s->inbox,
		                                .redis = b->redis[i],
		                                .acks = s->batchers[i],
		                                .script_base = s->inbox_scripts };

	if (err == CX_OK)
		err = cx_runtime_spawn(s->role.rt, &stack_inbox_type, &inbox, i,
		                       &s->relay.inboxes[i]);
	return err;
}

static enum cx_err boot_worker(struct server *s, unsigned i)
{
	struct cx_runtime *rt = s->role.rt;
	const struct relay_conf conf = { .relay = &s->relay };
	struct stack_routes_conf routes = { .settings = &s->routes, .keeps_registry = i == 0 };
	enum cx_err err = backends_boot_redis(&s->role.backends, i, &s->relay.hubs[i]);

	if (err == CX_OK)
		err = backends_boot_store(&s->role.backends, i);
	if (err == CX_OK)
		err = boot_inbox(s, i);
	if (err == CX_OK)
		err = cx_runtime_spawn(rt, &hub_type, &conf, i, &s->relay.hubs[i]);
	routes.redis = s->role.backends.redis[i];
	routes.hub = s->relay.hubs[i];
	if (err == CX_OK)
		err = cx_runtime_spawn(rt, &stack_routes_type, &routes, i, &s->relay.routes[i]);
	if (err == CX_OK)
		err = boot_gateway(s, i);
	if (err == CX_OK)
		err = cx_runtime_spawn(rt, &account_type, &conf, i, &s->relay.accounts[i]);
	if (err == CX_OK)
		err = cx_runtime_spawn(rt, &front_type, &conf, i, &s->relay.fronts[i]);
	if (err == CX_OK)
		err = cx_runtime_spawn(rt, &websocket_type, NULL, i, &s->role.adapters[i]);
	return err;
}

static enum cx_err boot_subscriber(struct server *s)
{
	const struct instance_conf conf = { .relay = &s->relay };
	struct cx_ref instance;
	char name[64];
	enum cx_err err = cx_runtime_spawn(s->role.rt, &instance_type, &conf, 0, &instance);

	if (err != CX_OK)
		return err;
	snprintf(name, sizeof(name), "instance:%016llx",
	         (unsigned long long)s->role.backends.instance);
	backends_channel(&s->role.backends, 0, name);
	backends_channel(&s->role.backends, 1, "servers");
	return backends_boot_subscriber(&s->role.backends, instance);
}

static enum cx_err boot(struct stack_role *role, const char **error_text)
{
	struct server *s = (struct server *)role;
	enum cx_err err;

	fill(s);
	fill_checks(s);
	s->inbox_scripts = backends_add_scripts(&role->backends, stack_inbox_scripts,
	                                        STACK_INBOX_SCRIPT_COUNT);
	s->log_scripts = backends_add_scripts(&role->backends, kafka_log_scripts,
	                                      KAFKA_LOG_SCRIPT_COUNT);
	err = websocket_setup(&s->websocket, &role->port, error_text);
	if (err != CX_OK)
		return err;
	role->batchers = s->batchers;
	role->routes = s->relay.routes;
	err = backends_boot_producer(&role->backends);
	if (err == CX_OK)
		err = cx_runtime_spawn(role->rt, &hash_gate_type, NULL, 0, &s->relay.hash_gate);
	for (unsigned i = 0; i < role->config->worker_threads && err == CX_OK; i++)
		err = boot_worker(s, i);
	if (err == CX_OK)
		err = boot_subscriber(s);
	return err;
}

int role_server_main(const struct config *c)
{
	static struct server s; /* actors hold pointers into it */
	int code;

	s.role = (struct stack_role){ .config = c,
		                      .name = "server",
		                      .jitter_ms = RELAY_JITTER_MS };
	code = stack_role_main(&s.role, boot);
	secret_wipe(s.device_key, sizeof(s.device_key));
	return code;
}
