/* SPDX-License-Identifier: MIT */
/* construct gateway: the gRPC service of PORT judges messages, limits their senders and writes them to
 * Kafka.  Health and metrics on HEALTH_PORT. */
#include <cx/log.h>

#include "actors/front.h"
#include "actors/gateway.h"
#include "actors/submissions.h"
#include "io/grpc_server.h"
#include "io/redis_fan.h"
#include "io/websocket.h"
#include "roles/relay_setup.h"
#include "roles/roles.h"
#include "roles/stack_role.h"

struct gateway_role {
	struct stack_role role;
	struct relay relay;
	struct websocket_settings health;
	struct grpc_server_settings grpc;
	struct kafka_log_settings log;
	struct cx_ref grpc_servers[RELAY_WORKERS_MAX];
	struct cx_ref submissions[RELAY_WORKERS_MAX];
	unsigned log_scripts;
};

static void fill(struct gateway_role *g)
{
	const struct config *c = g->role.config;
	struct relay *r = &g->relay;

	relay_setup_fill(c, g->role.rt, r);
	r->store.workers = g->role.backends.stores;
	r->has_no_websocket = true;
	r->checks[r->check_count++] =
		(struct relay_check){ .name = "store", .kind = RELAY_CHECK_STORE };
	r->checks[r->check_count++] =
		(struct relay_check){ .name = "kafka",
		                      .kind = RELAY_CHECK_PRODUCER,
		                      .refs = &g->role.backends.producer };
	stack_role_fill_log(&g->role, &g->log);
	stack_role_fill_health(&g->role, r, &g->health);
	g->grpc = (struct grpc_server_settings){
		.bind = c->bind,
		.port = (uint16_t)c->port,
		.tls_cert_file = c->tls_cert_file,
		.tls_key_file = c->tls_key_file,
		.workers = (uint16_t)c->worker_threads,
		.methods = submissions_methods,
		.method_count = SUBMISSIONS_METHODS,
		.service = g->submissions,
	};
}

static enum cx_err boot_worker(struct gateway_role *g, unsigned i)
{
	const struct relay_conf conf = { .relay = &g->relay };
	const struct {
		const struct cx_actor_type *type;
		const void *conf;
		struct cx_ref *ref;
	} set[] = {
		{ &gateway_type, &conf, &g->relay.gateways[i] },
		{ &submissions_type, &conf, &g->submissions[i] },
		{ &grpc_server_type, NULL, &g->grpc_servers[i] },
		{ &front_type, &conf, &g->relay.fronts[i] },
		{ &websocket_type, NULL, &g->role.adapters[i] },
	};
	enum cx_err err = backends_boot_redis(&g->role.backends, i, NULL);

	if (err == CX_OK)
		err = backends_boot_store(&g->role.backends, i);
	if (err == CX_OK)
		err = stack_role_boot_log(&g->role, &g->log, g->log_scripts, i,
		                          &g->relay.logs[i]);
	for (size_t n = 0; n < CX_COUNTOF(set) && err == CX_OK; n++)
		err = cx_runtime_spawn(g->role.rt, set[n].type, set[n].conf, i, set[n].ref);
	return err;
}

static enum cx_err boot(struct stack_role *role, const char **error_text)
{
	struct gateway_role *g = (struct gateway_role *)role;
	const struct redis_fan_conf fan_conf = { .to = g->relay.logs,
		                                 .count = role->config->worker_threads };
	struct cx_ref fan;
	uint16_t health_port;
	enum cx_err err;

	fill(g);
	g->log_scripts = backends_add_scripts(&role->backends, kafka_log_scripts,
	                                      KAFKA_LOG_SCRIPT_COUNT);
	err = websocket_setup(&g->health, &health_port, error_text);
	if (err == CX_OK)
		err = grpc_server_setup(&g->grpc, &role->port, error_text);
	if (err != CX_OK)
		return err;
	role->grpc_servers = g->grpc_servers;
	role->health_port = health_port;
	err = backends_boot_producer(&role->backends);
	for (unsigned i = 0; i < role->config->worker_threads && err == CX_OK; i++)
		err = boot_worker(g, i);
	if (err == CX_OK)
		err = cx_runtime_spawn(role->rt, &redis_fan_type, &fan_conf, 0, &fan);
	if (err != CX_OK)
		return err;
	backends_channel(&role->backends, 0, "gateways");
	return backends_boot_subscriber(&role->backends, fan);
}

int role_gateway_main(const struct config *c)
{
	static struct gateway_role g; /* actors hold pointers into it */

	g.role = (struct stack_role){ .config = c, .name = "gateway" };
	return stack_role_main(&g.role, boot);
}
