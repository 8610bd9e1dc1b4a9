/* SPDX-License-Identifier: MIT */
/* inbox.h on Redis streams (docs/decisions/0006, sections 2 and 3): the server's inbox.  Entries come
 * into the stream elsewhere (stack_partition, stack_receipts); this one reads them, and takes out what
 * was acknowledged.
 *
 *   ask   inbox_read, inbox_settle -> INBOX_ENTRIES, INBOX_SETTLED, each within 12 s
 *   in    inbox_receipts_done, inbox_learn, inbox_presence; REDIS_CHANGED (hub: then it answers reads
 *         with failed for 2 s, until the servers have repeated the deletions that Redis may have lost)
 *   out   ACK_BATCHER_ADD (stack_outbox.h) to acks
 *
 * A settle that Redis did not answer is INBOX_FAILED, executed or not: its event may stand in the outbox
 * without the batcher having heard of it. */
#ifndef IO_STACK_INBOX_H
#define IO_STACK_INBOX_H

#include <cx/actor.h>

#include "io/inbox.h"
#include "io/redis.h"

struct delivery_key;

/* All that is pointed to is borrowed for the actor's life. */
struct stack_inbox_settings {
	const char *prefix; /* of keys */
	uint64_t instance;  /* whose outbox */
	int64_t message_ttl_ms;
	bool receipts; /* a settled message makes a delivery event */
	const struct delivery_key *key;
	uint32_t index_max;       /* entries known of one user; 0: 65536 */
	uint32_t index_total_max; /* of all users of a worker; 0: 1000000 */
};

struct stack_inbox_conf {
	const struct stack_inbox_settings *settings;
	struct cx_ref redis; /* of the same worker: what is sent there keeps its order */
	struct cx_ref acks;
	unsigned script_base; /* where stack_inbox_scripts begins in the adapter's table */
};

#define STACK_INBOX_SCRIPT_COUNT 1
extern const struct redis_script stack_inbox_scripts[STACK_INBOX_SCRIPT_COUNT];

/* Conf: struct stack_inbox_conf; home_key: the worker. */
extern const struct cx_actor_type stack_inbox_type;

#endif
