/* SPDX-License-Identifier: MIT */
/* The set of remembered message ids: 12 bytes of a keyed hash and the hour of each, so that a
 * retry is known as one for the whole dedup window.  16 bytes a slot, at most 28 bytes an id.
 *
 * 1024 small tables instead of one: growing or sweeping one of them takes well under a
 * millisecond with tens of millions of ids. */
#ifndef IO_SQLITE_IDS_H
#define IO_SQLITE_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/uuid.h"

#define SQLITE_IDS_TABLES 1024
#define SQLITE_ID_BYTES 12 /* of the hash, as stored */
#define SQLITE_IDS_SALT_BYTES 16

struct sqlite_id {
	uint32_t hash[3];
};

struct sqlite_ids_slot {
	struct sqlite_id id;
	uint32_t hour; /* since 1970; 0: free */
};

struct sqlite_ids_table {
	struct sqlite_ids_slot *slots;
	uint32_t cap, used;
	uint32_t oldest_hour; /* not above the hour of any id in it */
};

struct sqlite_ids {
	struct sqlite_ids_table tables[SQLITE_IDS_TABLES];
	uint64_t count;
	uint32_t oldest_hour; /* ids of an hour before this one are forgotten */
	uint32_t swept;       /* next table to sweep */
};

/* SipHash-2-4-128 of (peer, key) under the salt, cut to 96 bits: nobody can make two ids
 * collide without knowing the salt.  key NULL: of peer alone. */
struct sqlite_id sqlite_id_of(const uint8_t salt[SQLITE_IDS_SALT_BYTES],
                              const struct uuid *peer, const struct uuid *key);
/* The whole hash, for the test against its published vectors. */
void sqlite_siphash128(const uint8_t salt[SQLITE_IDS_SALT_BYTES], const uint8_t *in, size_t len,
                       uint64_t out[2]);

bool sqlite_ids_has(const struct sqlite_ids *ids, struct sqlite_id id);
/* Remember; an id that is there gets the later hour. */
void sqlite_ids_add(struct sqlite_ids *ids, struct sqlite_id id, uint32_t hour);
void sqlite_ids_remove(struct sqlite_ids *ids, struct sqlite_id id);
/* Forget what is older than `hour`: at once for callers, in memory some tables a call. */
void sqlite_ids_expire(struct sqlite_ids *ids, uint32_t hour, uint32_t tables);
void sqlite_ids_free(struct sqlite_ids *ids);

#endif
