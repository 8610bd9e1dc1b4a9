/* SPDX-License-Identifier: MIT */
/* Pushes on their way out of a worker: entries are gathered by instance into payloads of PUSH_ENTRIES,
 * which go as PUBLISH commands into a batch of Redis.  Pushes are hints: nobody waits for their
 * answers.  No actor; lives in its owner's state. */
#ifndef IO_STACK_PUSH_H
#define IO_STACK_PUSH_H

#include "io/redis.h"
#include "io/stack_routes_cache.h"
#include "wire/record.h"

struct stack_push_target;

/* Zeroed is empty; used again after stack_push_flush. */
struct stack_push {
	struct stack_push_target *targets; /* one an instance and payload */
	uint32_t count, cap;
};

/* One entry for all instances of routes: head without size and frame_len (record_write sets them),
 * id = the entry's, ref = the one before it or UINT64_MAX.  Keeps: nothing. */
void stack_push_add(struct stack_push *push, const struct stack_routes *routes,
                    const struct record *head, struct wire_slice frame);
/* All that was added becomes PUBLISH commands in batch, at most one payload of a MiB each; push is
 * empty then.  channel_prefix: ONLINE_CHANNEL.  Returns how many commands. */
uint32_t stack_push_flush(struct stack_push *push, const char *channel_prefix,
                          struct redis_batch *batch);
/* The user's connections at that instance read on: one PUBLISH of PUSH_LOOK into batch. */
void stack_push_look(const char *channel_prefix, uint64_t instance, const struct uuid *user,
                     struct redis_batch *batch);
void stack_push_free(struct stack_push *push);

#endif
