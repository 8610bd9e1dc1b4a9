/* SPDX-License-Identifier: MIT */
/* One sender's way into the log: order, limits, block, recipient check, append.
 *
 *   in   GATEWAY_SUBMIT (from the gateway, with the connection as caller)
 *   ask  store (tokens, block, does the recipient exist), log_append
 *   out  GATEWAY_OUTCOME to the callers, exactly one each, in the order of submission
 *   out  LIMITER_IDLE to the gateway, which may answer CX_MSG_STOP
 *
 * Tokens are leased from the store in blocks, so limits hold over restarts and instances to within
 * one block; when the store cannot be asked, a small local allowance stands in. */
#ifndef ACTORS_USER_LIMITER_H
#define ACTORS_USER_LIMITER_H

#include "actors/gateway.h"
#include "actors/relay.h"

struct user_limiter_conf {
	const struct relay *relay;
	struct uuid user;
	struct cx_ref gateway;
};

/* The limiter has nothing to do and has handled `handled` submissions in its life. */
struct limiter_idle {
	struct cx_msg hdr;
	struct uuid user;
	uint64_t handled;
};

extern const struct cx_actor_type user_limiter_type;

#endif
