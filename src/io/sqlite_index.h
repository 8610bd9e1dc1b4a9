/* SPDX-License-Identifier: MIT */
/* What the log's segments still hold, in memory: which entries wait, and for each owner how
 * much waits for him in all (segments and rows).
 *
 * sqlite_index_apply is the one place where a segment's records take effect; a fresh commit and
 * recovery both go through it, so that what is rebuilt is what was. */
#ifndef IO_SQLITE_INDEX_H
#define IO_SQLITE_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include <cx/buf.h>

#include "wire/record.h"
#include "wire/uuid.h"

enum sqlite_entry_state {
	SQLITE_ENTRY_DEAD,
	SQLITE_ENTRY_LIVE,
	SQLITE_ENTRY_SETTLING, /* a settle is in the batch that is being gathered */
};

struct sqlite_entry {
	uint64_t next_receipt; /* id of the owner's next receipt in a segment; 0: none */
	uint32_t offset;       /* of its record in the segment's bytes */
	uint8_t state;         /* enum sqlite_entry_state */
};

/* One committed batch.  Ids first .. first + count - 1 are its entries. */
struct sqlite_segment {
	int64_t row;
	uint64_t first;
	uint32_t count, live;
	uint32_t spilled; /* entries before this index have left for rows of their own */
	struct cx_buf *bytes;
	struct sqlite_entry *entries;
	uint64_t born_ms; /* monotonic */
};

/* What waits for one user; one with nothing waiting has none of these. */
struct sqlite_owner {
	struct uuid id;
	uint64_t bytes;                       /* of messages, both places */
	uint64_t receipt_first, receipt_last; /* in segments; 0: none */
	uint32_t messages;                    /* both places */
	uint32_t row_receipts, receipts;      /* in rows; in segments */
	uint32_t bounded_in;                  /* the batch in which old receipts were dropped */
};

struct sqlite_index {
	struct sqlite_segment *segments; /* ring, oldest at head */
	uint32_t head, count, cap;
	uint64_t bytes; /* of all segments */
	uint64_t floor; /* entries up to this id are settled or have a row */
	struct sqlite_owner *owners;
	uint32_t owner_count, owner_cap; /* cap: power of two */
};

enum sqlite_apply {
	SQLITE_APPLY_COMMITTED, /* messages were counted for their owners when they were taken */
	SQLITE_APPLY_RECOVERED,
};

/* The i-th segment, oldest first. */
struct sqlite_segment *sqlite_index_at(struct sqlite_index *index, uint32_t i);

/* The record of a segment's i-th entry. */
const struct record *sqlite_segment_record(const struct sqlite_segment *segment, uint32_t i);

/* A segment was committed (or is read again): its entries wait from now on, its settles, receipts
 * done and deletions take effect.  Keeps: a reference on bytes.  next_id: the first id that this
 * segment could have.  Returns the id after its last one. */
uint64_t sqlite_index_apply(struct sqlite_index *index, enum sqlite_apply how, int64_t row,
                            struct cx_buf *bytes, uint64_t next_id, uint64_t now_ms);

/* The waiting entry of that id in a segment and its record, or NULL. */
struct sqlite_entry *sqlite_index_find(struct sqlite_index *index, uint64_t id,
                                       const struct record **record);

/* NULL: nothing waits for him.  The pointer holds until the next change. */
const struct sqlite_owner *sqlite_index_owner(const struct sqlite_index *index,
                                              const struct uuid *id);
/* The same, for whoever bounds his receipts. */
struct sqlite_owner *sqlite_index_owner_mark(struct sqlite_index *index, const struct uuid *id);
/* Change what waits for an owner by so much. */
void sqlite_index_adjust(struct sqlite_index *index, const struct uuid *id, int32_t messages,
                         int64_t bytes, int32_t row_receipts);

/* An entry got its row (or expired): it leaves its segment; the owner's sum stays. */
void sqlite_index_spilled(struct sqlite_index *index, struct sqlite_segment *segment,
                          uint32_t i);

/* The oldest segment is gone from the file. */
void sqlite_index_pop(struct sqlite_index *index);

void sqlite_index_free(struct sqlite_index *index);

#endif
