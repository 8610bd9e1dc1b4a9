/* SPDX-License-Identifier: MIT */
#include "wire/uuid_map.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_SLOTS 16

static uint32_t home_of(const struct uuid_map *map, const struct uuid *key)
{
	/* the low bits choose a worker elsewhere, so take the high ones */
	return (uint32_t)(uuid_hash(key) >> 32) & map->mask;
}

static struct uuid_map_slot *find(const struct uuid_map *map, const struct uuid *key)
{
	uint32_t i;

	if (map->slots == NULL)
		return NULL;
	for (i = home_of(map, key); map->slots[i].value != NULL; i = (i + 1) & map->mask)
		if (memcmp(&map->slots[i].key, key, sizeof(*key)) == 0)
			break;
	return &map->slots[i];
}

void *uuid_map_get(const struct uuid_map *map, const struct uuid *key)
{
	const struct uuid_map_slot *slot = find(map, key);

	return slot == NULL ? NULL : slot->value;
}

static void grow(struct uuid_map *map)
{
	const struct uuid_map old = *map;
	const uint32_t slots = old.slots == NULL ? FIRST_SLOTS : (old.mask + 1) * 2;

	map->slots = calloc(slots, sizeof(*map->slots));
	if (map->slots == NULL)
		abort();
	map->mask = slots - 1;
	for (uint32_t i = 0; old.slots != NULL && i <= old.mask; i++)
		if (old.slots[i].value != NULL)
			*find(map, &old.slots[i].key) = old.slots[i];
	free(old.slots);
}

void uuid_map_put(struct uuid_map *map, const struct uuid *key, void *value)
{
	struct uuid_map_slot *slot;

	if (map->slots == NULL || (map->count + 1) * 4 > (map->mask + 1) * 3)
		grow(map);
	slot = find(map, key);
	if (slot->value == NULL)
		map->count++;
	slot->key = *key;
	slot->value = value;
}

void *uuid_map_take(struct uuid_map *map, const struct uuid *key)
{
	struct uuid_map_slot *slot = find(map, key);
	uint32_t hole, i;
	void *value;

	if (slot == NULL || slot->value == NULL)
		return NULL;
	value = slot->value;
	map->count--;
	hole = (uint32_t)(slot - map->slots);
	for (i = (hole + 1) & map->mask; map->slots[i].value != NULL; i = (i + 1) & map->mask) {
		const uint32_t home = home_of(map, &map->slots[i].key);

		/* may move back unless its home lies cyclically in (hole, i] */
		if (((i - home) & map->mask) >= ((i - hole) & map->mask)) {
			map->slots[hole] = map->slots[i];
			hole = i;
		}
	}
	map->slots[hole].value = NULL;
	return value;
}

void *uuid_map_next(const struct uuid_map *map, uint32_t *at)
{
	while (map->slots != NULL && *at <= map->mask) {
		void *value = map->slots[(*at)++].value;

		if (value != NULL)
			return value;
	}
	return NULL;
}

void uuid_map_free(struct uuid_map *map)
{
	free(map->slots);
	*map = (struct uuid_map){ 0 };
}
