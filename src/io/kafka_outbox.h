/* SPDX-License-Identifier: MIT */
/* What a producer has accepted and not answered yet, in the order of acceptance, bounded in
 * messages and bytes.  The library may lose its own queue (a fatal error ends the client), so this
 * is the table from which a new client is fed.
 *
 * Lanes.  What is to be written to one partition waits in one lane, and leaves it in batches, one
 * at a time, and only a few of all lanes.  To a broker the library sends so many requests at most,
 * each for one partition, and an idempotent one (2.0.2, which counts messages where it should count
 * requests) a single one for a partition on which more than four messages are.  While it has messages
 * for more than those, its thread looks again and again whether it may (a poll that waits for
 * nothing), which costs a whole CPU.
 * A batch of ours is one request of the library when its own batch.size is not smaller, and its
 * linger.ms not shorter than handing over takes.
 *
 * 1. All entries stand in one list, oldest first.
 * 2. WAITING entries of a lane stand in its list, oldest first, and leave it from its head.
 * 3. Entries of one topic and key are in one lane.
 * 4. A batch is free again when each of its entries has been reported.
 * 5. A lane has at most one batch with the library. */
#ifndef IO_KAFKA_OUTBOX_H
#define IO_KAFKA_OUTBOX_H

#include <cx/actor.h>

#include "io/kafka_producer.h"

#define KAFKA_LANES 64      /* partitions that share one gather together, no more */
#define KAFKA_BATCHES_MAX 5 /* as max_in_flight */
#define KAFKA_ENTRY_HEAD \
	64 /* what a record is in a batch beside key, headers and value: less */

enum kafka_entry_state {
	KAFKA_ENTRY_WAITING, /* ours -> HANDED */
	KAFKA_ENTRY_HANDED,  /* the library's -> removed, or RETURNED */
	KAFKA_ENTRY_RETURNED /* surely not written, to be handed over again -> WAITING */
};

struct kafka_entry {
	struct kafka_entry *next, *prev;
	struct cx_caller who;
	struct cx_buf *buf; /* packed headers, then the value; referenced until the answer */
	uint64_t accepted_ms;
	uint32_t headers_len;
	uint16_t topic, key_len;
	uint16_t lane;  /* below KAFKA_LANES */
	uint16_t batch; /* of a HANDED one */
	struct kafka_entry *lane_next;
	enum kafka_entry_state state;
	uint8_t key[KAFKA_PRODUCE_KEY_MAX];
};

struct kafka_lane {
	struct kafka_entry *first, *last; /* WAITING, by lane_next */
	uint64_t bytes;                   /* of them, as in a batch */
	bool has_batch;                   /* with the library */
};

struct kafka_batch {
	uint16_t lane;
	uint32_t left; /* entries without a report; 0: free */
};

struct kafka_outbox {
	struct kafka_entry *entries, *free;
	struct kafka_entry *first, *last;
	struct kafka_lane lanes[KAFKA_LANES];
	struct kafka_batch batches[KAFKA_BATCHES_MAX];
	uint32_t batches_cap;
	uint32_t cap, used; /* used: entries that ever were */
	uint32_t count, waiting;
	uint64_t bytes, bytes_cap;
};

/* At most batches (1 to KAFKA_BATCHES_MAX) are with the library.  Returns CX_ENOMEM. */
CX_NODISCARD enum cx_err kafka_outbox_open(struct kafka_outbox *box, uint32_t messages,
                                           uint64_t bytes, uint32_t batches);
/* Gives back the references of what is left. */
void kafka_outbox_close(struct kafka_outbox *box);

/* Room for a buffer of len bytes?  One buffer is always taken when nothing else is there. */
bool kafka_outbox_has_room(const struct kafka_outbox *box, size_t len);

/* A new last entry that holds a reference on buf, in no lane yet: the rest is the caller's to fill,
 * then it waits.  Only after kafka_outbox_has_room. */
struct kafka_entry *kafka_outbox_add(struct kafka_outbox *box, struct cx_buf *buf);
/* It is WAITING, the last of its lane. */
void kafka_outbox_wait(struct kafka_outbox *box, struct kafka_entry *entry);

/* The lane with the oldest waiting entry; is_idle: of those that have no batch with the library.
 * Returns NULL when nothing waits. */
struct kafka_lane *kafka_outbox_oldest(struct kafka_outbox *box, bool is_idle);
/* The lane from which a batch is to go: of those without a batch with the library that have gathered
 * full_bytes, with is_ripe of all of those, the one with the oldest entry.
 * Returns NULL for none, or when there is no batch to be had. */
struct kafka_lane *kafka_outbox_next(struct kafka_outbox *box, uint64_t full_bytes,
                                     bool is_ripe);
/* Is a batch with the library? */
bool kafka_outbox_is_out(const struct kafka_outbox *box);
/* An empty batch for a lane of the box; one there must be. */
uint16_t kafka_outbox_batch(struct kafka_outbox *box, const struct kafka_lane *lane);

/* The first entry of a lane becomes HANDED, as one of that batch. */
void kafka_outbox_handed(struct kafka_outbox *box, struct kafka_lane *lane, uint16_t batch);
/* A HANDED entry was reported as surely not written. */
void kafka_outbox_returned(struct kafka_outbox *box, struct kafka_entry *entry);

/* In any state; a WAITING one is the first of its lane. */
void kafka_outbox_remove(struct kafka_outbox *box, struct kafka_entry *entry);

/* All entries are WAITING again, in their order (the client they were handed to is gone). */
void kafka_outbox_rewind(struct kafka_outbox *box);
/* Lanes of waiting entries were changed by hand: each list is made anew. */
void kafka_outbox_line_up(struct kafka_outbox *box);

/* What an entry is in a batch, at most. */
size_t kafka_entry_bytes(const struct kafka_entry *entry);

#endif
