/* SPDX-License-Identifier: MIT */
/* The HTTP half of a WebSocket client: the upgrade request and its answer. */
#ifndef CONSTRUCT_IO_WS_CLIENT_UPGRADE_H
#define CONSTRUCT_IO_WS_CLIENT_UPGRADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "io/ws_client.h"
#include "wire/ws_frame.h"

#define WS_CLIENT_REQUEST_BYTES_MAX 1200

/* Sec-WebSocket-Key and the Sec-WebSocket-Accept that answers it. */
struct ws_client_nonce {
	char key[25];
	char accept[WS_ACCEPT_LEN]; /* no NUL */
};

/* A fresh random one; false when the system gives no random bytes. */
bool ws_client_nonce_make(struct ws_client_nonce *nonce);

/* Writes the request to to (WS_CLIENT_REQUEST_BYTES_MAX).  Returns its length. */
size_t ws_client_upgrade_request(const struct ws_client_target *target,
                                 const struct ws_client_nonce *nonce, char *to);

/* Reads the answer.  Returns its length when the upgrade is granted, 0 when more must come,
 * -1 with *end filled when it is refused or no answer to this request. */
ssize_t ws_client_upgrade_response(const struct ws_client_nonce *nonce, const uint8_t *data,
                                   size_t len, struct ws_client_end *end);

#endif
