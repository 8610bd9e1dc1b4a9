/* SPDX-License-Identifier: MIT */
/* Where to connect: a URL taken apart, with the names looked up off the workers, since the library
 * itself would block for that.
 *
 *   out   POSTGRES_RESOLVED to the actor that asked */
#ifndef IO_POSTGRES_TARGET_H
#define IO_POSTGRES_TARGET_H

#include <cx/actor.h>

#define POSTGRES_TARGET_OPTIONS_MAX 64

struct postgres_target {
	const char
		*names[POSTGRES_TARGET_OPTIONS_MAX + 1]; /* ends with NULL, as libpq wants it */
	const char *values[POSTGRES_TARGET_OPTIONS_MAX + 1];
	unsigned count;
	const char *hosts, *ports; /* of the URL; hosts NULL: nothing to look up */
	void *options;             /* the library's list, which holds the texts */
};

struct postgres_resolved_msg { /* POSTGRES_RESOLVED; lists are separated by commas */
	struct cx_msg hdr;
	uint32_t connection; /* the caller's number, given back */
	uint32_t turn;       /* of the try; also the place where the list begins */
	char asked_hosts[512], asked_ports[128];
	char hosts[1536], addresses[768],
		ports[256]; /* as many of each; hosts empty: none found */
};

/* False: the URL cannot be used.  application_name may be NULL. */
bool postgres_target_parse(struct postgres_target *target, const char *url,
                           const char *application_name);
void postgres_target_free(struct postgres_target *target);

/* Thread: a handler.  Returns CX_EFULL: the offload pool is full, nothing will come. */
CX_NODISCARD enum cx_err postgres_resolve(struct cx_ctx *ctx,
                                          const struct postgres_target *target,
                                          uint32_t connection, uint32_t turn);

#endif
