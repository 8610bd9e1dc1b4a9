/* SPDX-License-Identifier: MIT */
/* Redis has lost data: which messages were acknowledged is read again from the delivery-ack topic,
 * so that the log can be appended again without them (decision 0006, section 7).
 *
 *   in    stack_rebuild -> STACK_REBUILT
 *
 * It reads all partitions of the topic, whoever has them assigned: a message and its acknowledgement
 * have different keys, so what a worker appends again may be acknowledged anywhere.
 * It has a thread of its own and no client while nobody asks.  While Kafka is away it tries on, and
 * nobody is answered. */
#ifndef IO_STACK_REBUILD_H
#define IO_STACK_REBUILD_H

#include <cx/actor.h>

#include <construct/messages.h>

#include "io/kafka_conf.h"
#include "io/stack_partition.h"

struct stack_rebuild_conf {
	const struct kafka_settings *kafka;
	const struct stack_settings *settings; /* key and acked are not NULL */
	/* Servers hold events so long before they produce them: reading ends no earlier after the ask. */
	uint32_t settle_ms;
};

/* One a process.  Spawn with the address of a `const struct stack_rebuild_conf *`; both live as long as
 * the runtime. */
extern const struct cx_actor_type stack_rebuild_type;

struct stack_rebuilt {
	struct cx_msg hdr;
	uint64_t added; /* events whose hashes are in settings->acked now */
	bool is_full;   /* not all found room: some of the messages will come once more */
};

/* Put the hashes of all events produced since since_ms (Unix time; 0: all) into settings->acked.
 * Answer: one STACK_REBUILT for each ask, when that is done.  Thread: any handler.
 * Returns CX_OK or CX_EGONE. */
CX_NODISCARD enum cx_err stack_rebuild(struct cx_ctx *ctx, struct cx_ref rebuild,
                                       int64_t since_ms);

struct stack_rebuild_figures { /* uint64_t only */
	uint64_t rebuilds;     /* answered reads of the topic */
	uint64_t hashes;       /* that were found in them */
	uint64_t failures;     /* tries that found no broker */
};

/* Thread: any. */
void stack_rebuild_figures(struct stack_rebuild_figures *out);

struct stack_rebuild_msg {
	struct cx_msg hdr;
	int64_t since_ms;
};

#endif
