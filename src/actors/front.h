/* SPDX-License-Identifier: MIT */
/* HTTP beside the WebSocket: health, metrics, and a clear no for everything else.
 *
 *   in   HTTP_REQUEST
 *   ask  store (health)
 *   out  http_respond */
#ifndef ACTORS_FRONT_H
#define ACTORS_FRONT_H

#include <cx/actor.h>

#include "actors/relay.h"

extern const struct cx_actor_type front_type; /* conf: struct relay_conf */

#endif
