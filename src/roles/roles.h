/* SPDX-License-Identifier: MIT */
/* The roles: each boots its set of actors and serves until SIGTERM or SIGINT. */
#ifndef CONSTRUCT_ROLES_ROLES_H
#define CONSTRUCT_ROLES_ROLES_H

#include "roles/config.h"

/* Everything in one process, on one SQLite file.  Logging is set up, secrets are loaded.
 * Returns the exit code of the process. */
int role_all_main(const struct config *c);

/* One part of a deployment on PostgreSQL, Redis and Kafka.  Logging is set up.
 * Return the exit code of the process. */
int role_server_main(const struct config *c);
int role_gateway_main(const struct config *c);
int role_worker_main(const struct config *c);

/* A WebSocket server that returns each frame.  Returns the exit code of the process. */
int role_echo_main(const struct config *c);

#endif
