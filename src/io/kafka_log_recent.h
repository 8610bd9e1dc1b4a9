/* SPDX-License-Identifier: MIT */
/* Which messages this process has written in the last minutes: a ring, so the oldest goes first. */
#ifndef IO_KAFKA_LOG_RECENT_H
#define IO_KAFKA_LOG_RECENT_H

#include "io/stack_keys.h"
#include "wire/uuid_map.h"

#define RECENT_MAX 65536
#define RECENT_MS 600000

struct recent_entry {
	struct uuid seen; /* the first half of the hash */
	uint64_t until_ms;
};

/* Zeroed is empty. */
struct recent {
	struct recent_entry *ring;
	uint32_t next;
	struct uuid_map map; /* seen -> its entry */
};

/* The first 16 bytes of h: key of this table, and of the appends under way. */
static inline struct uuid recent_key(const struct stack_seen *seen)
{
	struct uuid key;

	memcpy(key.b, seen->h, sizeof(key.b));
	return key;
}

void recent_add(struct recent *r, const struct stack_seen *seen, uint64_t now_ms);
bool recent_has(const struct recent *r, const struct stack_seen *seen, uint64_t now_ms);
void recent_free(struct recent *r);

#endif
