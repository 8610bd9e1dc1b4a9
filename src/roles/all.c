/* SPDX-License-Identifier: MIT */
/* construct all: the whole relay in one process, on one SQLite file.  The set of actors and who knows
 * whom stands here and nowhere else. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cx/log.h>
#include <cx/runtime.h>
#include <cx/trace.h>

#include "actors/account.h"
#include "actors/connection.h"
#include "actors/front.h"
#include "actors/gateway.h"
#include "actors/hash_gate.h"
#include "actors/hub.h"
#include "actors/partition.h"
#include "actors/relay.h"
#include "actors/submissions.h"
#include "io/embedded_inbox.h"
#include "io/grpc_server.h"
#include "io/loop_uv.h"
#include "io/sqlite.h"
#include "io/top_socket.h"
#include "io/websocket.h"
#include "roles/heap.h"
#include "roles/process.h"
#include "roles/relay_setup.h"
#include "roles/roles.h"
#include "roles/version.h"
#include "wire/hash.h"
#include "wire/secret.h"

#define SPILL_BYTES (16 * 1024 * 1024)
#define SPILL_AGE_MS 10000
#define DAY_MS INT64_C(86400000)
#define HOUR_MS INT64_C(3600000)
#define OFFLOAD_QUEUE 128
#define TRACE_WAYS 1
#define TRACE_EVENTS 4096 /* a way has some forty */

struct all {
	const struct config *config;
	struct process process;
	struct relay relay;
	struct sqlite_settings sqlite;
	struct websocket_settings websocket;
	struct embedded_inbox_settings inbox;
	struct cx_ref adapters[RELAY_WORKERS_MAX];
	struct grpc_server_settings grpc; /* GRPC_PORT */
	struct cx_ref grpc_servers[RELAY_WORKERS_MAX];
	struct cx_ref submissions[RELAY_WORKERS_MAX];
	struct cx_runtime *rt;
	struct top_socket *top; /* NULL: off */
	FILE *trace;            /* NULL: off */
	uint16_t port;
	time_t began;
	uint8_t device_key[HASH_KEY_LEN];
};

static void fill_relay(struct all *all)
{
	const struct config *c = all->config;

	relay_setup_fill(c, all->rt, &all->relay);
	relay_setup_device_key(c, all->device_key, &all->relay);
	all->relay.inbox =
		(struct inbox){ .shards = all->relay.inboxes, .count = c->worker_threads };
	all->sqlite = (struct sqlite_settings){
		.path = c->db_path,
		.message_ttl_ms = c->message_ttl_days * DAY_MS,
		.dedup_window_ms = c->deduplication_window_hours * HOUR_MS,
		.inbox_max_messages = c->inbox_max_messages,
		.inbox_max_bytes = c->inbox_max_bytes,
		.spill_bytes = SPILL_BYTES,
		.spill_age_ms = SPILL_AGE_MS,
		.partitions = all->relay.partitions,
		.inboxes = all->relay.inboxes,
		.partition_count = c->worker_threads,
	};
	relay_setup_websocket(c, &all->relay, &all->websocket);
}

static void fill_grpc(struct all *all)
{
	const struct config *c = all->config;

	all->grpc = (struct grpc_server_settings){
		.bind = c->bind,
		.port = (uint16_t)c->grpc_port,
		.tls_cert_file = c->tls_cert_file,
		.tls_key_file = c->tls_key_file,
		.workers = (uint16_t)c->worker_threads,
		.methods = submissions_methods,
		.method_count = SUBMISSIONS_METHODS,
		.service = all->submissions,
	};
}

/* The store first: what it sends at its start has somebody to take it only because actors that are
 * spawned later are in the table before any thread runs. */
static enum cx_err boot_store(struct all *all)
{
	const struct sqlite_settings *settings = &all->sqlite;
	struct cx_ref writer, reader;
	enum cx_err err = cx_runtime_spawn(all->rt, &sqlite_writer_type, &settings, 0, &writer);

	if (err == CX_OK)
		err = cx_runtime_spawn(all->rt, &sqlite_reader_type, &settings, 0, &reader);
	if (err != CX_OK)
		return err;
	for (unsigned i = 0; i < all->config->worker_threads; i++)
		all->relay.logs[i] = writer;
	all->relay.log_reader = reader;
	all->relay.store = (struct store){ .reader = reader, .writer = writer };
	all->inbox = (struct embedded_inbox_settings){
		.log = writer,
		.log_reader = reader,
		.receipts = all->relay.receipts,
	};
	return CX_OK;
}

/* One of each on worker i. */
static enum cx_err boot_worker(struct all *all, unsigned i)
{
	const struct relay_conf conf = { .relay = &all->relay };
	const struct partition_conf partition = { .relay = &all->relay, .number = i };
	const struct embedded_inbox_settings *inbox = &all->inbox;
	const struct {
		const struct cx_actor_type *type;
		const void *conf;
		struct cx_ref *ref;
	} set[] = {
		{ &embedded_inbox_type, &inbox, &all->relay.inboxes[i] },
		{ &partition_type, &partition, &all->relay.partitions[i] },
		{ &hub_type, &conf, &all->relay.hubs[i] },
		{ &gateway_type, &conf, &all->relay.gateways[i] },
		{ &account_type, &conf, &all->relay.accounts[i] },
		{ &front_type, &conf, &all->relay.fronts[i] },
		{ &websocket_type, NULL, &all->adapters[i] },
		/* with GRPC_PORT only: */
		{ &submissions_type, &conf, &all->submissions[i] },
		{ &grpc_server_type, NULL, &all->grpc_servers[i] },
	};
	const size_t count = CX_COUNTOF(set) - (all->config->grpc_port != 0 ? 0 : 2);

	for (size_t n = 0; n < count; n++) {
		const enum cx_err err =
			cx_runtime_spawn(all->rt, set[n].type, set[n].conf, i, set[n].ref);

		if (err != CX_OK)
			return err;
	}
	return CX_OK;
}

static enum cx_err boot_actors(struct all *all)
{
	enum cx_err err = boot_store(all);

	if (err == CX_OK)
		err = cx_runtime_spawn(all->rt, &hash_gate_type, NULL, 0,
		                       &all->relay.hash_gate);
	for (unsigned i = 0; i < all->config->worker_threads && err == CX_OK; i++)
		err = boot_worker(all, i);
	if (err == CX_OK)
		err = cx_runtime_start(all->rt);
	for (unsigned i = 0; i < all->config->worker_threads && err == CX_OK; i++)
		err = ws_listen_post(all->rt, all->adapters[i], WS_LISTEN_START, 0);
	if (all->config->grpc_port == 0)
		return err;
	for (unsigned i = 0; i < all->config->worker_threads && err == CX_OK; i++)
		err = grpc_server_listen_post(all->rt, all->grpc_servers[i], GRPC_LISTEN_START);
	return err;
}

/* Opened at the start, so that a wrong path is known before anything is served. */
static enum cx_err open_trace(struct all *all, const char **error_text)
{
	if (all->config->trace_file == NULL)
		return CX_OK;
	all->trace = fopen(all->config->trace_file, "we");
	if (all->trace == NULL) {
		*error_text = "the file of --trace cannot be written";
		return CX_EIO;
	}
	return cx_runtime_trace(all->rt, TRACE_WAYS, TRACE_EVENTS);
}

static enum cx_err boot(struct all *all, const char **error_text)
{
	static const char *const names[] = {
#define X(id, type, text) text,
#include <construct/messages.def>
#undef X
	};
	const struct cx_runtime_conf conf = {
		.workers = all->config->worker_threads,
		.offload_queue = OFFLOAD_QUEUE,
		.loop = &loop_uv_ops,
		.msg_names = names,
		.msg_name_count = CX_COUNTOF(names),
	};
	enum cx_err err = cx_runtime_new(&conf, &all->rt);

	*error_text = cx_err_text(err);
	if (err != CX_OK)
		return err;
	fill_relay(all);
	err = open_trace(all, error_text);
	if (err == CX_OK)
		err = sqlite_setup(&all->sqlite, error_text);
	if (err == CX_OK)
		err = websocket_setup(&all->websocket, &all->port, error_text);
	if (err == CX_OK && all->config->grpc_port != 0) {
		uint16_t bound;

		fill_grpc(all);
		err = grpc_server_setup(&all->grpc, &bound, error_text);
	}
	if (err != CX_OK)
		return err;
	err = boot_actors(all);
	*error_text = cx_err_text(err);
	return err;
}

/* A default path where no socket can be (some network and container file systems) is no reason not to
 * serve; another process there is, and so is a path that somebody asked for. */
static bool open_top(struct all *all)
{
	const char *path = all->config->top_socket;
	char error_text[TOP_ERROR_MAX];
	enum cx_err err;

	if (path == NULL)
		return true;
	err = top_socket_open(all->rt, path, construct_version(), &all->top, error_text);
	if (err == CX_EIO && !all->config->top_socket_given) {
		cx_log(CX_WARN, "top.off", "error=\"%s\"", error_text);
		return true;
	}
	if (err != CX_OK)
		cx_log(CX_ERROR, "relay.failed", "role=all error=\"TOP_SOCKET %s\"",
		       error_text);
	return err == CX_OK;
}

/* For people: where it is, where the data lies, what to try. */
static void greet(const struct all *all)
{
	const struct config *c = all->config;
	const char *scheme = c->tls_cert_file != NULL ? "wss" : "ws";
	const bool is_open = strcmp(c->bind, "::") == 0 || strcmp(c->bind, "0.0.0.0") == 0;
	char *folder = realpath(c->data_dir, NULL);

	printf("Construct relay listens on %s://localhost:%u/ws%s%s\n", scheme, all->port,
	       is_open ? ", on every address of this machine (BIND narrows it)" : ", BIND=",
	       is_open ? "" : c->bind);
	printf("Data lies in %s\n", folder != NULL ? folder : c->data_dir);
	printf("Try it:  build/release/construct probe %s://localhost:%u%s\n", scheme,
	       all->port,
	       c->tls_cert_file != NULL ? "   (--insecure for a certificate of your own)" : "");
	fflush(stdout);
	free(folder);
}

static void log_start(const struct all *all)
{
	const struct config *c = all->config;

	cx_log(CX_INFO, "relay.started",
	       "role=all port=%u workers=%u version=%s store=sqlite log=embedded "
	       "inbox=embedded "
	       "tls=%s grpc_port=%u max_connections=%u max_handshakes=%u "
	       "messages_per_hour=%u inbox_max_messages=%u",
	       all->port, c->worker_threads, construct_version(),
	       c->tls_cert_file != NULL ? "on" : "off", c->grpc_port, c->max_connections,
	       c->max_handshakes, c->max_messages_per_hour, c->inbox_max_messages);
}

static void write_trace(struct all *all)
{
	enum cx_err err;

	if (all->trace == NULL)
		return;
	err = cx_runtime_trace_write(all->rt, all->trace);
	if (fclose(all->trace) != 0 || err != CX_OK)
		cx_log(CX_ERROR, "trace.failed", "error=\"%s\"", strerror(errno));
}

static void end(struct all *all)
{
	struct websocket_figures ws;
	struct sqlite_figures db;

	websocket_figures(&ws);
	top_socket_close(all->top);
	cx_runtime_stop(all->rt);
	write_trace(all);
	websocket_teardown();
	if (all->config->grpc_port != 0)
		grpc_server_teardown();
	sqlite_figures(&db);
	sqlite_teardown();
	cx_runtime_free(all->rt); /* last: the others hold buffers of its pools */
	secret_wipe(all->device_key, sizeof(all->device_key));
	cx_log(CX_INFO, "relay.stopped",
	       "role=all uptime_secs=%lld frames=%llu records=%llu clients=%llu closed=%llu",
	       (long long)(time(NULL) - all->began), (unsigned long long)ws.frames_in,
	       (unsigned long long)db.records, (unsigned long long)ws.established,
	       (unsigned long long)(ws.established - ws.open));
}

int role_all_main(const struct config *c)
{
	static struct all all; /* actors hold pointers into it */
	const char *error_text = NULL;

	all.config = c;
	all.began = time(NULL);
	all.process =
		(struct process){ .config = c,
		                  .role = "all",
		                  .adapters = all.adapters,
		                  .adapter_count = c->worker_threads,
		                  .grpc_servers = c->grpc_port != 0 ? all.grpc_servers : NULL,
		                  .jitter_ms = RELAY_JITTER_MS };
	heap_tune();
	process_block_signals(&all.process);
	if (!secret_init() || boot(&all, &error_text) != CX_OK) {
		cx_log(CX_ERROR, "relay.failed", "role=all error=\"%s\"",
		       error_text != NULL ? error_text : "libsodium does not start");
		return 1;
	}
	all.process.rt = all.rt;
	if (!open_top(&all)) {
		end(&all);
		return 1;
	}
	if (!process_write_port(c->port_file, all.port)) {
		cx_log(CX_ERROR, "relay.failed", "role=all error=\"PORT_FILE %s: %s\"",
		       c->port_file, strerror(errno));
		end(&all);
		return 1;
	}
	log_start(&all);
	greet(&all);
	process_serve(&all.process);
	end(&all);
	return 0;
}
