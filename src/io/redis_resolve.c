/* SPDX-License-Identifier: MIT */
#include "io/redis_resolve.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include <construct/messages.h>

/* On the offload pool: this may block for as long as the resolver likes. */
static void look_up(struct cx_msg *job)
{
	struct redis_resolved_msg *m = (struct redis_resolved_msg *)(void *)job;
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	char port[8];

	snprintf(port, sizeof(port), "%u", m->port);
	if (getaddrinfo(m->host, port, &hints, &found) != 0)
		return;
	for (const struct addrinfo *a = found;
	     a != NULL && m->addresses.count < REDIS_ADDRESSES_MAX; a = a->ai_next) {
		memcpy(&m->addresses.at[m->addresses.count], a->ai_addr, a->ai_addrlen);
		m->addresses.len[m->addresses.count++] = a->ai_addrlen;
	}
	freeaddrinfo(found);
}

enum cx_err redis_resolve(struct cx_ctx *ctx, const struct redis_url *url)
{
	struct redis_resolved_msg *m =
		CX_MSG_NEW(ctx, REDIS_RESOLVED, struct redis_resolved_msg);

	snprintf(m->host, sizeof(m->host), "%s", url->host);
	m->port = url->port;
	return cx_offload(ctx, &m->hdr, look_up);
}
