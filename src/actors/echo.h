/* SPDX-License-Identifier: MIT */
/* A connection that returns each frame as it came: for conformance suites and raw throughput.
 *
 *   in   WS_FRAME WS_PING WS_DRAIN WS_CLOSED   from the websocket adapter
 */
#ifndef ACTORS_ECHO_H
#define ACTORS_ECHO_H

#include <cx/actor.h>

/* A websocket_settings.connection_type; its connection_context is not used. */
extern const struct cx_actor_type echo_type;

#endif
