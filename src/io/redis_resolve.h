/* SPDX-License-Identifier: MIT */
/* The addresses of a host, looked up off the workers.
 *
 *   out   REDIS_RESOLVED to the actor that asked */
#ifndef IO_REDIS_RESOLVE_H
#define IO_REDIS_RESOLVE_H

#include <sys/socket.h>

#include <cx/actor.h>

#include "wire/redis_url.h"

#define REDIS_ADDRESSES_MAX 4

struct redis_addresses {
	unsigned count; /* 0: none found */
	struct sockaddr_storage at[REDIS_ADDRESSES_MAX];
	socklen_t len[REDIS_ADDRESSES_MAX];
};

struct redis_resolved_msg { /* REDIS_RESOLVED */
	struct cx_msg hdr;
	char host[256];
	uint16_t port;
	struct redis_addresses addresses;
};

/* Thread: a handler.  Returns CX_EFULL: the offload pool is full, nothing will come. */
CX_NODISCARD enum cx_err redis_resolve(struct cx_ctx *ctx, const struct redis_url *url);

#endif
