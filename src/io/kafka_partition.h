/* SPDX-License-Identifier: MIT */
/* One assigned partition in the consumer's books: what was handed on, what is done, what is
 * committed.  No library in it. */
#ifndef IO_KAFKA_PARTITION_H
#define IO_KAFKA_PARTITION_H

#include <cx/actor.h>

struct kafka_sent { /* a batch that was handed on */
	int64_t next_offset;
	uint64_t bytes;
};

struct kafka_partition {
	struct kafka_partition *next;
	struct cx_ref owner;
	uint32_t topic, epoch;
	int32_t number;
	int64_t position;  /* the next record's offset at least; -1: not known yet */
	int64_t done;      /* all below is finished; -1: nothing yet */
	int64_t committed; /* as the group has it; -1: not known */
	int64_t seek_to;   /* >= 0: a seek that has not succeeded yet */
	uint64_t unpaid_bytes;
	uint64_t moved_ms; /* when records came last, or nothing was to come */
	bool is_paused;
	bool is_revoking;        /* KAFKA_REVOKED was sent and not answered */
	struct kafka_sent *sent; /* a ring, oldest first */
	uint32_t sent_first, sent_count, sent_cap;
};

void kafka_partition_close(struct kafka_partition *p);

/* A batch up to next_offset is with the owner now. */
void kafka_partition_sent(struct kafka_partition *p, int64_t next_offset, uint64_t bytes);

/* The owner is done below next_offset: moves done, gives the bytes of finished batches back. */
void kafka_partition_done(struct kafka_partition *p, int64_t next_offset);

/* Reading starts again at offset: nothing is with the owner, and the place is to be committed. */
void kafka_partition_restart(struct kafka_partition *p, int64_t offset, uint32_t epoch);

#endif
