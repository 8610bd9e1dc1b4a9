/* SPDX-License-Identifier: MIT */
/* Whose a socket is, for what is shared out by address: an IPv4 address, or the /64 that an IPv6 client
 * has to itself.  Pure: no I/O, no memory. */
#ifndef IO_WEBSOCKET_ORIGIN_H
#define IO_WEBSOCKET_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

#include <sys/socket.h>

#include "wire/uuid.h"

/* Compared as a whole; never logged.  Zeroed: not known, shared by all such. */
struct ws_origin {
	struct uuid net; /* ::ffff:a.b.c.d, or the upper half of an IPv6 address */
	bool is_loopback;
};

/* The peer of a socket. */
struct ws_origin ws_origin_of(const struct sockaddr_storage *peer);

/* A proxy on this machine tells whom it speaks for: the value of X-Forwarded-For.  The right-most hop
 * that is not this machine is taken, hops left of it are hearsay; without a readable one, or when the
 * peer is no loopback address (then anybody could have written it), the origin stays. */
void ws_origin_forwarded(struct ws_origin *origin, const char *value, size_t len);

#endif
