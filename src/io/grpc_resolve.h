/* SPDX-License-Identifier: MIT */
/* Targets of the gRPC client: http://host:port or https://host:port, several separated by commas; a
 * name with many addresses counts as many. */
#ifndef IO_GRPC_RESOLVE_H
#define IO_GRPC_RESOLVE_H

#include <netinet/in.h>

#include <cx/actor.h>

#define GRPC_TARGETS_MAX 16
#define GRPC_ADDRESSES_MAX 64
#define GRPC_HOST_CHARS 256

struct grpc_target {
	char host[GRPC_HOST_CHARS]; /* without the brackets of an IPv6 address */
	char authority[GRPC_HOST_CHARS + 8];
	char port[6];
	bool is_tls;
};

struct grpc_address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	uint8_t target; /* index */
};

/* GRPC_RESOLVED: the answer of a job on the offload pool. */
struct grpc_resolved {
	struct cx_msg hdr;
	const char *text; /* the targets as configured; outlives the runtime */
	uint32_t count;   /* 0: no name could be resolved */
	struct grpc_address addresses[GRPC_ADDRESSES_MAX];
};

/* Parse into targets[GRPC_TARGETS_MAX]; returns their number, 0 when the text is wrong.  Pure. */
size_t grpc_targets_parse(const char *text, struct grpc_target *targets);

/* The job.  Blocks: for the resolver. */
void grpc_resolve(struct cx_msg *job);

#endif
