/* SPDX-License-Identifier: MIT */
/* One user's inbox as the embedded inbox keeps it: entries by id in a ring, and messages by key in
 * chains when there are more than a few. */
#ifndef IO_INBOX_BOX_H
#define IO_INBOX_BOX_H

#include <cx/actor.h>

#include "io/log.h"
#include "wire/uuid.h"

enum box_entry_state { BOX_WAITING, BOX_SETTLING, BOX_GONE };

struct box_entry {
	uint64_t id;
	struct uuid peer, key;
	uint32_t key_case;
	uint32_t len;         /* of the frame */
	struct cx_buf *buf;   /* the batch it came with; NULL: in a row of its own */
	uint32_t offset;      /* of the record in buf */
	uint32_t next_in_key; /* the box's own */
	uint32_t question;    /* while SETTLING: the place of the question (inbox_pending.h) */
	uint8_t kind;
	uint8_t state;
};

/* Which rows the log holds for this owner from before this box was made. */
enum box_loading { BOX_UNKNOWN, BOX_LOADING, BOX_LOADED };

struct box_op; /* what waits for the index */

/* Places in the ring of the first and last message of a chain; BOX_NONE: it is empty. */
struct box_chain {
	uint32_t first, last;
};
#define BOX_NONE UINT32_MAX

/* 1. Entries [first, end) are in the order of their ids; `at(n)` is ring[n & (cap - 1)].
 * 2. The entry at `first` is not GONE.
 * 3. Entries without buf come before those with buf (the log spills in order).
 * 4. With chains, each message that is not GONE is in the chain of its key's hash, oldest first. */
struct box {
	struct uuid owner;
	struct box_entry *ring;
	uint32_t first, end,
		cap; /* first and end only grow (and wrap); cap is a power of two */
	struct box_chain *chains; /* cap of them, or NULL: few entries, which are searched */
	uint64_t seed;            /* of the hash: message ids are made by peers */
	uint64_t tail;            /* highest id ever appended here; 0: none known */
	uint64_t used_ms;
	enum box_loading loading;
	struct box_op *ops, **ops_end;
};

/* seed: a number that no peer knows. */
struct box *box_new(const struct uuid *owner, uint64_t seed);
/* ops must be empty. */
void box_free(struct box *box);

static inline struct box_entry *box_at(const struct box *box, uint32_t n)
{
	return &box->ring[n & (box->cap - 1)];
}

/* At the end; its id is above all others.  Keeps: the reference entry->buf.  Pointers to entries
 * and their numbers hold until the next append or load. */
void box_append(struct box *box, const struct box_entry *entry);
/* The rows of before, all ids below those here; ids that are here already are skipped. */
void box_load(struct box *box, const struct log_index_entry *rows, uint32_t count);
/* First entry with id > after (end when there is none). */
uint32_t box_after(const struct box *box, uint64_t after);
struct box_entry *box_find(const struct box *box, uint64_t id);
/* The oldest message in that state with that key (and sender, unless NULL).  Its cost does not grow
 * with the inbox, only with the messages of other senders under the same key. */
struct box_entry *box_find_key(const struct box *box, enum box_entry_state state,
                               const struct uuid *key, const struct uuid *from);
void box_remove(struct box *box, struct box_entry *entry);
/* Its bytes are in a row now. */
void box_spilled(struct box *box, uint64_t id);
/* Everything goes. */
void box_clear(struct box *box);
static inline bool box_is_readable(const struct box_entry *entry)
{
	return entry->state == BOX_WAITING;
}

/* Of rows (records) that the log had, those that still wait here; *last: the id of the last row.
 * Returns a new buffer. */
struct cx_buf *box_waiting_of(const struct box *box, struct cx_buf *rows, uint64_t *last,
                              uint32_t *count);
/* Rows that should begin with that of entry `id`: if they do not, the log has ended it, and said so
 * before its index came here. */
void box_drop_ghost(struct box *box, uint64_t id, struct cx_buf *rows);

static inline bool box_is_empty(const struct box *box)
{
	return box->first == box->end;
}

#endif
