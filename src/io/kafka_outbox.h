/* SPDX-License-Identifier: MIT */
/* What a producer has accepted and not answered yet, in the order of acceptance, bounded in
 * messages and bytes.  The library may lose its own queue (a fatal error ends the client), so this
 * is the table from which a new client is fed.
 *
 * 1. All entries stand in one list, oldest first.
 * 2. WAITING entries are a tail of the list: whatever stands behind one is WAITING too. */
#ifndef IO_KAFKA_OUTBOX_H
#define IO_KAFKA_OUTBOX_H

#include <cx/actor.h>

#include "io/kafka_producer.h"

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
	enum kafka_entry_state state;
	uint8_t key[KAFKA_PRODUCE_KEY_MAX];
};

struct kafka_outbox {
	struct kafka_entry *entries, *free;
	struct kafka_entry *first, *last;
	struct kafka_entry *first_waiting;
	uint32_t cap, used; /* used: entries that ever were */
	uint32_t count, waiting;
	uint64_t bytes, bytes_cap;
	uint64_t waiting_bytes;
};

/* Returns CX_ENOMEM. */
CX_NODISCARD enum cx_err kafka_outbox_open(struct kafka_outbox *box, uint32_t messages,
                                           uint64_t bytes);
/* Gives back the references of what is left. */
void kafka_outbox_close(struct kafka_outbox *box);

/* Room for a buffer of len bytes?  One buffer is always taken when nothing else is there. */
bool kafka_outbox_has_room(const struct kafka_outbox *box, size_t len);

/* A new last entry, WAITING, that holds a reference on buf; the rest is the caller's to fill.
 * Only after kafka_outbox_has_room. */
struct kafka_entry *kafka_outbox_add(struct kafka_outbox *box, struct cx_buf *buf);

/* The first waiting entry becomes HANDED. */
void kafka_outbox_handed(struct kafka_outbox *box);

void kafka_outbox_remove(struct kafka_outbox *box, struct kafka_entry *entry);

/* All entries are WAITING again, in their order (the client they were handed to is gone). */
void kafka_outbox_rewind(struct kafka_outbox *box);

#endif
