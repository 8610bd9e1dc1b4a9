/* SPDX-License-Identifier: MIT */
#include "io/sqlite_ids.h"

#include <stdlib.h>
#include <string.h>

#include <cx/actor.h>

#define SMALLEST 8u

static uint64_t rotl(uint64_t v, unsigned by)
{
	return (v << by) | (v >> (64 - by));
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

static uint64_t read64(const uint8_t *at, size_t len)
{
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < len; i++)
		v |= (uint64_t)at[i] << (8 * i);
	return v;
}

static void absorb(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	sip_round(v);
	v[0] ^= word;
}

static uint64_t squeeze(uint64_t v[4])
{
	unsigned i;

	for (i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void sqlite_siphash128(const uint8_t salt[SQLITE_IDS_SALT_BYTES], const uint8_t *in, size_t len,
                       uint64_t out[2])
{
	const uint64_t k0 = read64(salt, 8), k1 = read64(salt + 8, 8);
	uint64_t v[4] = { k0 ^ UINT64_C(0x736f6d6570736575),
		          k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
		          k0 ^ UINT64_C(0x6c7967656e657261),
		          k1 ^ UINT64_C(0x7465646279746573) };
	size_t at;

	for (at = 0; at + 8 <= len; at += 8)
		absorb(v, read64(in + at, 8));
	absorb(v, read64(in + at, len - at) | (uint64_t)len << 56);
	v[2] ^= 0xee;
	out[0] = squeeze(v);
	v[1] ^= 0xdd;
	out[1] = squeeze(v);
}

struct sqlite_id sqlite_id_of(const uint8_t salt[SQLITE_IDS_SALT_BYTES],
                              const struct uuid *peer, const struct uuid *key)
{
	uint8_t text[2 * sizeof(struct uuid)];
	size_t len = sizeof(*peer);
	uint64_t hash[2];
	struct sqlite_id id;

	memcpy(text, peer, sizeof(*peer));
	if (key != NULL) {
		memcpy(text + len, key, sizeof(*key));
		len += sizeof(*key);
	}
	sqlite_siphash128(salt, text, len, hash);
	id.hash[0] = (uint32_t)hash[0];
	id.hash[1] = (uint32_t)(hash[0] >> 32);
	id.hash[2] = (uint32_t)hash[1];
	return id;
}

static struct sqlite_ids_table *table_of(struct sqlite_ids *ids, struct sqlite_id id)
{
	return &ids->tables[id.hash[0] % SQLITE_IDS_TABLES];
}

static uint32_t home_of(const struct sqlite_ids_table *t, struct sqlite_id id)
{
	return (uint32_t)(((uint64_t)id.hash[1] * t->cap) >> 32);
}

static bool is_same(struct sqlite_id a, struct sqlite_id b)
{
	return a.hash[0] == b.hash[0] && a.hash[1] == b.hash[1] && a.hash[2] == b.hash[2];
}

/* The slot of id, or the free one where it would stand.  The table is never full. */
static uint32_t slot_of(const struct sqlite_ids_table *t, struct sqlite_id id)
{
	uint32_t i = home_of(t, id);

	while (t->slots[i].hour != 0 && !is_same(t->slots[i].id, id))
		i = i + 1 == t->cap ? 0 : i + 1;
	return i;
}

bool sqlite_ids_has(const struct sqlite_ids *ids, struct sqlite_id id)
{
	const struct sqlite_ids_table *t = &ids->tables[id.hash[0] % SQLITE_IDS_TABLES];
	uint32_t hour;

	if (t->used == 0)
		return false;
	hour = t->slots[slot_of(t, id)].hour;
	return hour != 0 && hour >= ids->oldest_hour;
}

/* A new array of `cap` slots for the ids that are not too old. */
static void rebuild(struct sqlite_ids *ids, struct sqlite_ids_table *t, uint32_t cap)
{
	struct sqlite_ids_slot *old = t->slots;
	const uint32_t old_cap = t->cap;
	uint32_t i, oldest = UINT32_MAX;

	ids->count -= t->used;
	t->used = 0;
	t->cap = cap;
	t->slots = cap == 0 ? NULL : calloc(cap, sizeof(*t->slots));
	cx_assert(t->slots != NULL || cap == 0);
	for (i = 0; i < old_cap; i++) {
		if (old[i].hour == 0 || old[i].hour < ids->oldest_hour)
			continue;
		t->slots[slot_of(t, old[i].id)] = old[i];
		t->used++;
		if (old[i].hour < oldest)
			oldest = old[i].hour;
	}
	t->oldest_hour = oldest;
	ids->count += t->used;
	free(old);
}

static uint32_t alive_in(const struct sqlite_ids *ids, const struct sqlite_ids_table *t)
{
	uint32_t i, n = 0;

	for (i = 0; i < t->cap; i++)
		n += t->slots[i].hour != 0 && t->slots[i].hour >= ids->oldest_hour;
	return n;
}

/* Room for n ids at 57 to 85 percent full. */
static uint32_t cap_for(uint32_t n)
{
	const uint32_t cap = n + n * 3 / 4;

	return cap < SMALLEST ? SMALLEST : cap;
}

void sqlite_ids_add(struct sqlite_ids *ids, struct sqlite_id id, uint32_t hour)
{
	struct sqlite_ids_table *t = table_of(ids, id);
	uint32_t i;

	cx_assert(hour != 0);
	if (t->cap == 0 || (uint64_t)(t->used + 1) * 100 > (uint64_t)t->cap * 85)
		rebuild(ids, t, cap_for(alive_in(ids, t) + 1));
	i = slot_of(t, id);
	if (t->slots[i].hour == 0) {
		t->slots[i].id = id;
		t->used++;
		ids->count++;
	}
	if (hour > t->slots[i].hour)
		t->slots[i].hour = hour;
	if (hour < t->oldest_hour || t->used == 1)
		t->oldest_hour = hour;
}

/* Closes the gap at i: what follows moves up, as far as its home allows. */
static void close_gap(struct sqlite_ids_table *t, uint32_t gap)
{
	uint32_t i = gap;

	for (;;) {
		uint32_t home, from_home, from_gap;

		i = i + 1 == t->cap ? 0 : i + 1;
		if (t->slots[i].hour == 0)
			break;
		home = home_of(t, t->slots[i].id);
		from_home = i >= home ? i - home : i + t->cap - home;
		from_gap = i >= gap ? i - gap : i + t->cap - gap;
		if (from_home < from_gap)
			continue;
		t->slots[gap] = t->slots[i];
		gap = i;
	}
	memset(&t->slots[gap], 0, sizeof(t->slots[gap]));
}

void sqlite_ids_remove(struct sqlite_ids *ids, struct sqlite_id id)
{
	struct sqlite_ids_table *t = table_of(ids, id);
	uint32_t i;

	if (t->used == 0)
		return;
	i = slot_of(t, id);
	if (t->slots[i].hour == 0)
		return;
	close_gap(t, i);
	t->used--;
	ids->count--;
}

void sqlite_ids_expire(struct sqlite_ids *ids, uint32_t hour, uint32_t tables)
{
	ids->oldest_hour = hour;
	while (tables-- > 0) {
		struct sqlite_ids_table *t = &ids->tables[ids->swept];

		ids->swept = (ids->swept + 1) % SQLITE_IDS_TABLES;
		if (t->used > 0 && t->oldest_hour < hour) {
			const uint32_t alive = alive_in(ids, t);

			rebuild(ids, t, alive == 0 ? 0 : cap_for(alive));
		}
	}
}

void sqlite_ids_free(struct sqlite_ids *ids)
{
	uint32_t i;

	for (i = 0; i < SQLITE_IDS_TABLES; i++)
		free(ids->tables[i].slots);
	memset(ids, 0, sizeof(*ids));
}
