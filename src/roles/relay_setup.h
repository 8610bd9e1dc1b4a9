/* SPDX-License-Identifier: MIT */
/* What the roles make of the configuration in the same way: what their actors know of the relay, and
 * the port for clients. */
#ifndef CONSTRUCT_ROLES_RELAY_SETUP_H
#define CONSTRUCT_ROLES_RELAY_SETUP_H

#include <cx/runtime.h>

#include "actors/relay.h"
#include "io/websocket.h"
#include "roles/config.h"
#include "wire/hash.h"

#define RELAY_JITTER_MS 5000 /* over which clients are asked to reconnect at the end */

/* Limits, secrets and names; all else is zero.  Keeps: what config points to. */
void relay_setup_fill(const struct config *config, struct cx_runtime *rt, struct relay *relay);

/* For roles with accounts: relay->device_key is `key`, which the caller keeps and wipes; NULL, and a
 * warning, when the configuration has none. */
void relay_setup_device_key(const struct config *config, uint8_t key[HASH_KEY_LEN],
                            struct relay *relay);

/* PORT: clients' WebSockets, and HTTP by relay->fronts.  Keeps: relay. */
void relay_setup_websocket(const struct config *config, const struct relay *relay,
                           struct websocket_settings *out);

#endif
