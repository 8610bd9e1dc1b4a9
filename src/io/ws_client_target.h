/* SPDX-License-Identifier: MIT */
/* What ws_client.c needs to know of a server; filled by ws_client_target_open. */
#ifndef CONSTRUCT_IO_WS_CLIENT_TARGET_H
#define CONSTRUCT_IO_WS_CLIENT_TARGET_H

#include <stdbool.h>

#include <netinet/in.h>
#include <sys/socket.h>

#include "io/ws_client_tls.h"

struct ws_client_target {
	struct sockaddr_storage address;
	socklen_t address_len;
	bool is_loopback_v4;               /* connections are spread over local addresses */
	struct ws_client_tls_context *tls; /* NULL: plain */
	char host[256];                    /* without brackets, as the certificate names it */
	char authority[300];               /* for the Host header */
	char path[512];
	char port[8];
	char name[1200];
};

/* A non-blocking socket whose connection is under way; for loopback from a local address
 * chosen by turn.  Returns -1 with errno. */
int ws_client_target_connect(const struct ws_client_target *target, uint32_t turn);

#endif
