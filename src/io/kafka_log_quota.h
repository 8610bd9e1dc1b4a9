/* SPDX-License-Identifier: MIT */
/* What kafka_log knows of the inboxes that it writes for: how full they are, and what of its own is
 * still on the way to them.  A pure table: who asks Redis is the caller.
 *
 *   1. used = what Redis counted (known) + what this gateway wrote beyond the last entry that was
 *      counted (placed) + what it has handed to Kafka without an answer (in flight) + places it has in
 *      Redis for what it has not handed over (held) + the places of others.  Each message of ours is in
 *      one of them; only one in flight may be in `known` as well.
 *   2. QUOTA_PASS only when even so there is room; QUOTA_FULL only when known, counted exactly, and
 *      placed leave none; between the two the answers of Kafka, and others' messages, are waited for.
 *   3. Memory: QUOTA_OWNERS_MAX owners and those with appends under way, QUOTA_PLACES_MAX places each;
 *      beyond it neighbours are joined, and a joined place counts as a whole until all of it was counted.
 *   4. Near the limit, that is with half of it used, each message needs a place in Redis, which all gateways
 *      see; far from it none has one, so that by what several gateways have on the way from there the
 *      quota may be passed.  A small inbox is always near. */
#ifndef IO_KAFKA_LOG_QUOTA_H
#define IO_KAFKA_LOG_QUOTA_H

#include "wire/uuid_map.h"

#define QUOTA_OWNERS_MAX 8192
#define QUOTA_PLACES_MAX 128
#define QUOTA_BELIEF_MS 500
#define QUOTA_SMALL \
	256 /* messages, or as many of the longest frames: an inbox of less is small */
#define QUOTA_FRAME_MAX 131072 /* no frame of a message is longer */

enum quota_verdict {
	QUOTA_PASS,
	QUOTA_FULL,
	QUOTA_GONE, /* the account was deleted */
	QUOTA_LOOK, /* ask Redis first */
	QUOTA_WAIT, /* until an answer of Kafka for this owner, or quota_wants_look */
};

enum quota_look {
	QUOTA_LOOK_LENGTH, /* entries of any kind; bytes: not known */
	QUOTA_LOOK_BOUND,  /* more than these it is not */
	QUOTA_LOOK_EXACT,
	QUOTA_LOOK_GONE,
};

struct quota_place { /* messages of ours up to this id of an inbox */
	uint64_t id;
	uint64_t bytes;
	uint32_t count;
};

struct quota_others { /* places of other gateways, whose messages are not in the inbox yet */
	uint64_t count, bytes;
	uint64_t old_count,
		old_bytes; /* of them: for so long that they are taken for accepted */
};

struct klog_lane;

struct quota {
	struct uuid owner;
	struct quota *next, *prev; /* idle ones, the longest idle first */
	uint32_t users;            /* appends under way that name it */
	bool is_known, is_exact, is_gone;
	bool is_blind;    /* Redis could not say: everything passes for a while */
	bool is_measured; /* known_bytes is no guess from the count */
	bool is_looking;  /* a look is under way */
	bool is_doubted;  /* what that look says may be older than the news */
	uint32_t passes;  /* more messages before the next look */
	uint64_t looked_ms;
	uint64_t asked_number, covers; /* the last append that came before the look */
	uint64_t known_count, known_bytes;
	uint64_t placed_count, placed_bytes;
	uint64_t flight_count, flight_bytes;
	uint64_t held_count, held_bytes;
	struct quota_others others;
	uint64_t last_id; /* of the inbox, when it was counted */
	struct quota_place *places;
	uint32_t place_count, place_cap;
	struct klog_lane *waiters, *last_waiter; /* the caller's */
};

struct quota_table {
	uint64_t max_count, max_bytes;
	struct uuid_map owners;
	struct quota *idle_first, *idle_last, *free;
	uint32_t free_count;
};

/* The owner's, made when there is none; one user more. */
struct quota *quota_take(struct quota_table *t, const struct uuid *owner);
/* One user less. */
void quota_drop(struct quota_table *t, struct quota *q);
void quota_table_free(struct quota_table *t);

/* May a message of `bytes` be written, in the append of this number?  Changes nothing. */
enum quota_verdict quota_judge(const struct quota_table *t, const struct quota *q,
                               uint64_t bytes, uint64_t number, uint64_t now_ms);

/* Each message needs a place; QUOTA_LOOK is to ask for it. */
bool quota_is_near(const struct quota_table *t, const struct quota *q);
/* A place was had, and is used or given back. */
void quota_hold(struct quota *q, uint64_t bytes);
void quota_unhold(struct quota *q, uint64_t bytes);

/* A look at the length would be due before the next message. */
bool quota_is_due(const struct quota_table *t, const struct quota *q, uint64_t now_ms);
/* QUOTA_WAIT may be over: others' messages may have come or gone. */
bool quota_wants_look(const struct quota *q, uint64_t now_ms);

/* A look is asked for now; appends up to `number` came before. */
void quota_look_begins(struct quota *q, uint64_t number);
/* What a look brought; last_id and others with BOUND and EXACT (others NULL: none).  A look that began
 * before a doubt was cast settles only that the account is gone. */
void quota_looked(const struct quota_table *t, struct quota *q, enum quota_look what,
                  uint64_t count, uint64_t bytes, uint64_t last_id,
                  const struct quota_others *others, uint64_t now_ms);
/* The look came to nothing: without one, everything passes until the next is due. */
void quota_look_failed(struct quota *q, uint64_t now_ms);

/* Nothing that was seen of this owner, or of any, is believed any more. */
void quota_doubt(struct quota_table *t, const struct uuid *owner);
void quota_doubt_all(struct quota_table *t);

/* A message was handed to Kafka, and came back: id 0 when it is not known to be written. */
void quota_begin(struct quota *q, uint64_t bytes);
void quota_end(struct quota *q, uint64_t bytes, uint64_t id);

#endif
