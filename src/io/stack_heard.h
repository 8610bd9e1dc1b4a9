/* SPDX-License-Identifier: MIT */
/* What is heard on the channel of workers: who joined and who left, for an actor that appends to inboxes
 * and remembers routes (decision 0006, section 6).  No actor. */
#ifndef IO_STACK_HEARD_H
#define IO_STACK_HEARD_H

#include "io/redis.h"
#include "io/stack_routes_cache.h"
#include "io/stack_users.h"

struct stack_heard {
	struct stack_routes_cache *routes;
	const struct stack_users
		*users;             /* appended_ms of those to whom something was appended */
	const char *channel_prefix; /* ONLINE_CHANNEL */
	struct redis_batch *batch;  /* gets a look for each who has just joined */
};

/* Takes a payload of the channel in; of other kinds nothing.  A user who joins just after something was
 * appended for him may not have been in his route then, so his server is told to look.
 * Returns how many looks there are now in the batch because of it. */
uint32_t stack_heard_take(const struct stack_heard *h, const struct cx_buf *payload,
                          uint64_t now_ms);

#endif
