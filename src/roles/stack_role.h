/* SPDX-License-Identifier: MIT */
/* What the roles server, gateway and worker have in common as processes: runtime, backends, a port
 * with health and metrics, signals, the end. */
#ifndef CONSTRUCT_ROLES_STACK_ROLE_H
#define CONSTRUCT_ROLES_STACK_ROLE_H

#include <semaphore.h>
#include <time.h>

#include <cx/runtime.h>

#include "io/kafka_log.h"
#include "roles/backends.h"
#include "roles/config.h"
#include "roles/process.h"

struct top_socket;

struct stack_role { /* first member of each role's own struct */
	const struct config *config;
	const char *name;
	uint32_t jitter_ms;
	struct backends backends;
	struct cx_runtime *rt;
	struct process process;
	struct cx_ref adapters[RELAY_WORKERS_MAX]; /* of the WebSocket and HTTP port */
	const struct cx_ref *grpc_servers;         /* one a worker, or NULL */
	uint16_t port;                             /* that PORT_FILE gets */
	uint16_t health_port;                      /* in PORT_FILE.health; 0: none */
	struct top_socket *top;
	time_t began;
	/* For the last phase, filled by boot; NULL: none. */
	const struct cx_ref *batchers, *consumer, *routes;
	struct cx_ref finisher;
	sem_t finished;
};

/* Spawn the role's actors; rt and backends are there, nothing runs yet.  websocket_setup is among it. */
typedef enum cx_err (*stack_role_boot_fn)(struct stack_role *role, const char **error_text);

/* From the configuration to the exit code.  Blocks. */
int stack_role_main(struct stack_role *role, stack_role_boot_fn boot);

/* Settings of a log on Kafka; one of its actors on worker i. */
void stack_role_fill_log(const struct stack_role *role, struct kafka_log_settings *log);
CX_NODISCARD enum cx_err stack_role_boot_log(struct stack_role *role,
                                             const struct kafka_log_settings *log,
                                             unsigned script_base, unsigned i,
                                             struct cx_ref *out);

/* The HTTP port of a role that has no clients: settings for websocket_setup. */
struct websocket_settings;
void stack_role_fill_health(const struct stack_role *role, const struct relay *relay,
                            struct websocket_settings *out);

#endif
