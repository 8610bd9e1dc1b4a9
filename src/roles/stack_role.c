/* SPDX-License-Identifier: MIT */
#include "roles/stack_role.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <cx/log.h>

#include "io/grpc_server.h"
#include "io/loop_uv.h"
#include "io/stack_routes.h"
#include "io/top_socket.h"
#include "io/websocket.h"
#include "roles/finisher.h"
#include "roles/heap.h"
#include "roles/version.h"
#include "wire/secret.h"

#define OFFLOAD_QUEUE 128
#define FINISH_SHARE 5 /* of DRAIN_SECS for each of two steps at the end */
#define HEALTH_CONNECTIONS 256
#define HEALTH_FRAME_BYTES 4096
#define HANDSHAKE_SECS 10
#define REST_US 2000 /* of a way that takes several ms under load */
#define DAY_MS INT64_C(86400000)
#define HOUR_MS INT64_C(3600000)

static enum cx_err new_runtime(struct stack_role *role, const char **error_text)
{
	static const char *const names[] = {
#define X(id, type, text) text,
#include <construct/messages.def>
#undef X
	};
	const struct cx_runtime_conf conf = {
		.workers = role->config->worker_threads,
		.offload_queue = OFFLOAD_QUEUE,
		.loop = &loop_uv_ops,
		.msg_names = names,
		.msg_name_count = CX_COUNTOF(names),
		.rest_us = REST_US,
	};
	const enum cx_err err = cx_runtime_new(&conf, &role->rt);

	*error_text = cx_err_text(err);
	return err;
}

static enum cx_err open_ports(struct stack_role *role)
{
	enum cx_err err = cx_runtime_start(role->rt);

	for (unsigned i = 0; i < role->config->worker_threads && err == CX_OK; i++)
		err = ws_listen_post(role->rt, role->adapters[i], WS_LISTEN_START, 0);
	for (unsigned i = 0; i < role->config->worker_threads && err == CX_OK; i++)
		if (role->grpc_servers != NULL)
			err = grpc_server_listen_post(role->rt, role->grpc_servers[i],
			                              GRPC_LISTEN_START);
	return err;
}

static enum cx_err boot_finisher(struct stack_role *role)
{
	const struct finisher_conf conf = {
		.batchers = role->batchers,
		.batcher_count = role->config->worker_threads,
		.consumer = role->consumer,
		.producer = &role->backends.producer,
		.limit_ms = role->config->drain_secs * 1000 / FINISH_SHARE,
		.done = &role->finished,
	};

	sem_init(&role->finished, 0, 0);
	return cx_runtime_spawn(role->rt, &finisher_type, &conf, 0, &role->finisher);
}

static enum cx_err start(struct stack_role *role, stack_role_boot_fn boot,
                         const char **error_text)
{
	enum cx_err err = new_runtime(role, error_text);

	if (err == CX_OK)
		err = backends_setup(&role->backends, role->config, role->rt, error_text);
	if (err == CX_OK) {
		*error_text = NULL;
		err = boot(role, error_text);
	}
	if (err == CX_OK)
		err = boot_finisher(role);
	if (err == CX_OK)
		err = open_ports(role);
	if (err != CX_OK && *error_text == NULL)
		*error_text = cx_err_text(err);
	return err;
}

/* Off unless somebody asks for one: three roles on one machine have no folder of their own. */
static bool open_top(struct stack_role *role, char error_text[TOP_ERROR_MAX])
{
	return role->config->top_socket == NULL ||
	       top_socket_open(role->rt, role->config->top_socket, construct_version(),
	                       &role->top, error_text) == CX_OK;
}

/* PORT_FILE, and beside it PORT_FILE.health. */
static bool write_ports(const struct stack_role *role)
{
	char health[4200];

	if (role->config->port_file == NULL)
		return true;
	snprintf(health, sizeof(health), "%s.health", role->config->port_file);
	return (role->health_port == 0 || process_write_port(health, role->health_port)) &&
	       process_write_port(role->config->port_file, role->port);
}

static void log_start(const struct stack_role *role)
{
	const struct config *c = role->config;

	cx_log(CX_INFO, "relay.started",
	       "role=%s port=%u workers=%u version=%s instance=%016llx tls=%s "
	       "max_connections=%u "
	       "messages_per_hour=%u inbox_max_messages=%u",
	       role->name, role->port, c->worker_threads, construct_version(),
	       (unsigned long long)role->backends.instance,
	       c->tls_cert_file != NULL ? "on" : "off", c->max_connections,
	       c->max_messages_per_hour, c->inbox_max_messages);
}

/* What the drain left of DRAIN_SECS is enough: process.c reserves it. */
static void finish(struct stack_role *role)
{
	const uint32_t limit_secs = 2 * role->config->drain_secs / FINISH_SHARE + 1;
	struct timespec until;

	for (unsigned i = 0; role->routes != NULL && i < role->config->worker_threads; i++)
		if (routes_drain_post(role->rt, role->routes[i]) != CX_OK)
			cx_log(CX_WARN, "relay.routes_left", "worker=%u", i); /* they lapse */
	if (finisher_post(role->rt, role->finisher) != CX_OK) {
		cx_log(CX_WARN, "relay.finish_refused", "role=%s", role->name);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += limit_secs;
	while (sem_timedwait(&role->finished, &until) != 0)
		if (errno != EINTR) {
			cx_log(CX_WARN, "relay.finish_late", "role=%s", role->name);
			return;
		}
}

static void end(struct stack_role *role)
{
	struct websocket_figures ws;

	websocket_figures(&ws);
	top_socket_close(role->top);
	cx_runtime_stop(role->rt);
	websocket_teardown();
	if (role->grpc_servers != NULL)
		grpc_server_teardown();
	cx_runtime_free(role->rt); /* last: the others hold buffers of its pools */
	backends_wipe(&role->backends);
	cx_log(CX_INFO, "relay.stopped",
	       "role=%s uptime_secs=%lld frames=%llu clients=%llu closed=%llu", role->name,
	       (long long)(time(NULL) - role->began), (unsigned long long)ws.frames_in,
	       (unsigned long long)ws.established,
	       (unsigned long long)(ws.established - ws.open));
}

static int failed(const struct stack_role *role, const char *error_text)
{
	cx_log(CX_ERROR, "relay.failed", "role=%s error=\"%s\"", role->name, error_text);
	return 1;
}

int stack_role_main(struct stack_role *role, stack_role_boot_fn boot)
{
	const struct config *c = role->config;
	const char *error_text = NULL;
	char top_error[TOP_ERROR_MAX] = "";

	role->began = time(NULL);
	role->process = (struct process){ .config = c,
		                          .role = role->name,
		                          .adapters = role->adapters,
		                          .adapter_count = c->worker_threads,
		                          .reserve_ms = c->drain_secs * 1000 / 2,
		                          .jitter_ms = role->jitter_ms };
	heap_tune();
	process_block_signals(&role->process);
	process_share_cpus();
	if (!secret_init())
		return failed(role, "libsodium does not start");
	if (start(role, boot, &error_text) != CX_OK)
		return failed(role, error_text);
	role->process.rt = role->rt;
	role->process.grpc_servers = role->grpc_servers;
	if (!open_top(role, top_error)) {
		end(role);
		return failed(role, top_error);
	}
	if (!write_ports(role)) {
		end(role);
		return failed(role, "PORT_FILE cannot be written");
	}
	log_start(role);
	process_serve(&role->process);
	finish(role);
	end(role);
	return 0;
}

void stack_role_fill_log(const struct stack_role *role, struct kafka_log_settings *log)
{
	const struct config *c = role->config;

	*log = (struct kafka_log_settings){
		.prefix = c->delivery_queue_prefix,
		.instance = role->backends.instance,
		.topic = BACKENDS_TOPIC_MESSAGES,
		.message_ttl_ms = c->message_ttl_days * DAY_MS,
		.dedup_window_ms = c->deduplication_window_hours * HOUR_MS,
		.inbox_max_messages = c->inbox_max_messages,
		.inbox_max_bytes = c->inbox_max_bytes,
		.delivery_timeout_ms = c->kafka_producer_delivery_timeout_ms,
	};
}

enum cx_err stack_role_boot_log(struct stack_role *role, const struct kafka_log_settings *log,
                                unsigned script_base, unsigned i, struct cx_ref *out)
{
	const struct kafka_log_conf conf = { .settings = log,
		                             .redis = role->backends.redis[i],
		                             .producer = role->backends.producer,
		                             .script_base = script_base };

	return cx_runtime_spawn(role->rt, &kafka_log_type, &conf, i, out);
}

void stack_role_fill_health(const struct stack_role *role, const struct relay *relay,
                            struct websocket_settings *out)
{
	const struct config *c = role->config;

	*out = (struct websocket_settings){
		.bind = c->bind,
		.port = (uint16_t)c->health_port,
		.max_connections = HEALTH_CONNECTIONS,
		.max_handshakes = HEALTH_CONNECTIONS,
		.handshake_secs = HANDSHAKE_SECS,
		.max_frame_bytes = HEALTH_FRAME_BYTES,
		.window_bytes = HEALTH_FRAME_BYTES,
		.workers = (uint16_t)c->worker_threads,
		.endpoint = WS_ENDPOINT_NONE,
		.http = relay->fronts,
	};
}
