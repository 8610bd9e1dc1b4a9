/* SPDX-License-Identifier: MIT */
/* The gateway's gRPC service: calls of servers become submissions of the gateway actors.
 *
 *   in   GRPC_CALL (one actor a worker, beside the gRPC adapter of its worker)
 *   ask  gateway_submit, store_ask (health)
 *
 * A refused message is a response with its status, never an error of gRPC.  Who may call is not asked:
 * the port belongs on a private network (protocol.md, section 5). */
#ifndef ACTORS_SUBMISSIONS_H
#define ACTORS_SUBMISSIONS_H

#include <cx/actor.h>

#include "io/grpc_server.h"

#define SUBMISSIONS_METHODS 3
extern const struct grpc_method submissions_methods[SUBMISSIONS_METHODS];
extern const char submissions_health_path[];        /* of the call HealthCheck */
extern const struct cx_actor_type submissions_type; /* conf: struct relay_conf */

#endif
