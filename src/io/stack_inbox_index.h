/* SPDX-License-Identifier: MIT */
/* What a server knows of the streams of those who are connected to it: which messages wait there, by
 * id and by key.  No actor, no Redis.
 *
 * 1. Of a user's stream, what lies in (0, covered] is known: a message there is in the box, or was
 *    settled.  What lies above is not known, and nothing above is in the box.  So it grows at its
 *    end only, by a piece that begins at or before covered.
 * 2. A hole (a message at or below covered that the box has not) makes it stale: it is forgotten, and
 *    made again by who needs it, as soon as no question about the user is under way.
 * 3. While a read is under way, `settled` holds what was settled since: an answer that is older than
 *    that does not bring it back. */
#ifndef IO_STACK_INBOX_INDEX_H
#define IO_STACK_INBOX_INDEX_H

#include "io/inbox_box.h"
#include "wire/uuid_map.h"

struct settle_op;

struct inbox_user {
	struct uuid owner;
	struct inbox_user *older, *younger; /* by use */
	struct box *box;
	uint64_t covered;
	uint64_t tail;       /* the highest id heard of */
	uint32_t count;      /* entries that wait or are being settled */
	uint32_t mean_bytes; /* of an entry, as a record; an estimate */
	uint32_t busy;       /* questions under way that point here */
	uint32_t reads;      /* those of them that are reads */
	bool is_present, is_stale, is_loading;
	uint64_t *settled;
	uint32_t settled_count, settled_cap;
	struct settle_op *ops, **ops_end; /* settles that wait for more of the index */
	uint64_t open_batch;              /* number of the batch that open_group is in */
	uint32_t open_group;
};

/* Zeroed but for the limits and the seed is empty. */
struct inbox_index {
	struct uuid_map users;
	struct inbox_user *oldest, *youngest;
	uint32_t count; /* entries of all users */
	uint32_t user_max, total_max;
	uint64_t seed; /* of hashes; a number that no peer knows */
};

/* NULL: nothing is known of him. */
struct inbox_user *inbox_index_find(const struct inbox_index *index, const struct uuid *owner);
/* The same, made when there is none; it is the youngest now. */
struct inbox_user *inbox_index_use(struct inbox_index *index, const struct uuid *owner,
                                   uint32_t mean_bytes);
/* Nothing points to the user (any more) but the index: forgets what is to be forgotten, the user too
 * when he is not present. */
void inbox_index_release(struct inbox_index *index, struct inbox_user *user);
/* What is known may be true of another Redis: of all users it is forgotten, of those who are busy when
 * they are not any more. */
void inbox_index_doubt(struct inbox_index *index);
void inbox_index_free(struct inbox_index *index);

/* Entry is the next one after `from` (inv. 1; INBOX_PREV_UNKNOWN: after who knows what).  May forget
 * what is known of users that were not used for long. */
void inbox_index_extend(struct inbox_index *index, struct inbox_user *user, uint64_t from,
                        const struct box_entry *entry);
/* Nothing is in (from, upto] but what is known. */
void inbox_index_cover(struct inbox_user *user, uint64_t from, uint64_t upto);
void inbox_index_remove(struct inbox_index *index, struct inbox_user *user,
                        struct box_entry *entry);
/* Entry id is settled, or its end is sure (inv. 3). */
void inbox_index_settled(struct inbox_user *user, uint64_t id);
/* May a read that was under way hand it out?  A message that should be known and is not makes the
 * index stale (inv. 2). */
bool inbox_index_may_hand_out(struct inbox_user *user, uint64_t id, uint8_t kind);

#endif
