/* SPDX-License-Identifier: MIT */
/* A map from uuid to a pointer: open addressing, linear probing, deletion by shifting back
 * (Knuth, TAOCP vol. 3, section 6.4, algorithm R), so it never fills with tombstones. */
#ifndef WIRE_UUID_MAP_H
#define WIRE_UUID_MAP_H

#include <stdint.h>

#include "wire/uuid.h"

struct uuid_map_slot {
	struct uuid key;
	void *value; /* NULL: empty */
};

/* Zeroed is empty. */
struct uuid_map {
	struct uuid_map_slot *slots;
	uint32_t mask; /* slots - 1; 0 without slots */
	uint32_t count;
};

void *uuid_map_get(const struct uuid_map *map, const struct uuid *key);
/* value is not NULL; replaces.  Aborts when memory is out. */
void uuid_map_put(struct uuid_map *map, const struct uuid *key, void *value);
/* Returns the value that was there, or NULL. */
void *uuid_map_take(struct uuid_map *map, const struct uuid *key);
/* The next value at or after *at, which moves on; NULL at the end.  Nothing may be put or taken
 * between two calls. */
void *uuid_map_next(const struct uuid_map *map, uint32_t *at);
void uuid_map_free(struct uuid_map *map);

#endif
