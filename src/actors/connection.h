/* SPDX-License-Identifier: MIT */
/* One client's WebSocket: reads frames, asks the others, writes answers; a cursor on the user's
 * inbox.  Spawned by the WebSocket adapter, on the worker that owns the socket.
 *
 *   in   WS_FRAME WS_PING WS_PONG WS_CREDIT WS_DRAIN WS_CLOSED, HUB_PUSH, HUB_KICKED
 *   ask  account_request, gateway_submit, inbox_settle, inbox_read */
#ifndef ACTORS_CONNECTION_H
#define ACTORS_CONNECTION_H

#include <cx/actor.h>

/* websocket_settings.connection_type; its connection_context is a const struct relay *. */
extern const struct cx_actor_type connection_type;

#endif
