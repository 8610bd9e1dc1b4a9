/* SPDX-License-Identifier: MIT */
/* Delivery events on their way from the outbox in Redis to Kafka (server role; one a worker).
 *
 *   in    ack_batcher_add (stack_inbox): what has just been written to the outbox of this instance
 *   ask   ack_batcher_flush (role)  -> ACK_BATCHER_FLUSHED
 *
 * Events are gathered for buffer_ms and leave in random order, so that the time and place of a record
 * do not tie a sender to a recipient (protocol.md 8).  An outbox entry is deleted when all its events
 * are written, never before; so an event is written at least once, whatever dies when.
 *
 * What is not held in memory comes from the outbox again.  One batcher of the process (with adopt_ms)
 * looks every adopt_ms, and at its start:
 *   - at the outboxes of dead instances: in {prefix}instances (sorted set: 16 lower-case hex digits ->
 *     Unix ms when it expires) with a score that has passed, and without {prefix}instance:ID.  It
 *     takes a lock, produces all, and deletes outbox and name.  So a name must stay in the set until
 *     this was done: nobody else takes out one that has no end of its own;
 *   - at entries of its own outbox older than sweep_age_ms: those of which a batcher never heard (the
 *     answer of Redis was lost), and those that found ACK_BATCHER_WAITING_MAX events waiting. */
#ifndef ACTORS_ACK_BATCHER_H
#define ACTORS_ACK_BATCHER_H

#include <cx/actor.h>

#include <construct/messages.h>

#include "io/stack_outbox.h"

#define ACK_BATCHER_WAITING_MAX 65536 /* events in memory: about 50 MB */

struct ack_batcher_conf {
	struct cx_ref producer, redis;
	uint32_t topic;     /* number of the delivery-ack topic in the producer's conf */
	const char *prefix; /* of keys; borrowed */
	uint64_t instance;
	uint32_t buffer_ms; /* 0: at once */
	uint32_t adopt_ms;  /* 0: another one of the process looks after outboxes */
	uint32_t
		sweep_age_ms; /* 0: 30000; what another batcher still holds then is written twice */
};

/* Conf: struct ack_batcher_conf; home_key: the worker. */
extern const struct cx_actor_type ack_batcher_type;

/* events: count times u16 (little endian) length and the event's JSON, as in the outbox entry
 * outbox_ms-outbox_seq.  Reserved: bounded by the inbox's settles.  Keeps: a reference of its own on
 * events.  Thread: any handler.
 * Returns CX_OK, or CX_EGONE: the sweep finds them. */
CX_NODISCARD enum cx_err ack_batcher_add(struct cx_ctx *ctx, struct cx_ref batcher,
                                         struct cx_buf *events, uint32_t count,
                                         uint64_t outbox_ms, uint64_t outbox_seq);

struct ack_batcher_flushed {
	struct cx_msg hdr;
	uint32_t
		left; /* events that are in the outbox only now; the next instance writes them */
};

/* Nothing is gathered any more: what waits goes out at once, what still comes too.  Answered with
 * ACK_BATCHER_FLUSHED when nothing is left, at the latest after limit_ms.
 * Returns as cx_ask. */
CX_NODISCARD enum cx_err ack_batcher_flush(struct cx_ctx *ctx, struct cx_ref batcher,
                                           uint32_t limit_ms, uint64_t *corr);

struct ack_batcher_figures { /* of all workers; uint64_t only */
	uint64_t waiting;    /* events in memory now */
	uint64_t written;    /* events */
	uint64_t retried;    /* events that Kafka did not take, each time */
	uint64_t spilled;    /* events left to the sweep: too many waited */
	uint64_t swept;      /* events read from an outbox */
	uint64_t adopted;    /* outboxes of dead instances that were emptied */
	uint64_t unreadable; /* events that are none, dropped */
};

/* Thread: any. */
void ack_batcher_figures(struct ack_batcher_figures *out);

struct ack_batcher_flush_msg {
	struct cx_msg hdr;
	uint32_t limit_ms;
};

#endif
