/* SPDX-License-Identifier: MIT */
#include "actors/register_bucket.h"

#include <stdlib.h>

#include <cx/actor.h>

/* What is missing from it, as the time it takes to come back: full at full_ms. */
struct bucket {
	struct uuid net;
	uint64_t full_ms;
};

static void forget(struct register_buckets *b, struct bucket *bucket)
{
	uuid_map_take(&b->map, &bucket->net);
	free(bucket);
}

/* The fullest of all goes: its address loses the least. */
static void make_room(struct register_buckets *b)
{
	struct bucket *at, *fullest = NULL;
	uint32_t i = 0;

	while ((at = uuid_map_next(&b->map, &i)) != NULL)
		if (fullest == NULL || at->full_ms < fullest->full_ms)
			fullest = at;
	if (fullest != NULL)
		forget(b, fullest);
}

static struct bucket *bucket_of(struct register_buckets *b, const struct uuid *net)
{
	struct bucket *bucket = uuid_map_get(&b->map, net);

	if (bucket != NULL)
		return bucket;
	if (b->map.count >= REGISTER_ADDRESSES)
		make_room(b);
	bucket = calloc(1, sizeof(*bucket));
	cx_assert(bucket != NULL);
	bucket->net = *net;
	uuid_map_put(&b->map, net, bucket);
	return bucket;
}

bool register_bucket_take(struct register_buckets *b, const struct uuid *net, uint64_t now_ms)
{
	struct bucket *bucket = bucket_of(b, net);

	if (bucket->full_ms < now_ms)
		bucket->full_ms = now_ms;
	if (bucket->full_ms + REGISTER_REFILL_MS >
	    now_ms + (uint64_t)REGISTER_BURST * REGISTER_REFILL_MS)
		return false;
	bucket->full_ms += REGISTER_REFILL_MS;
	return true;
}

void register_bucket_free(struct register_buckets *b)
{
	struct bucket *at;
	uint32_t i = 0;

	while ((at = uuid_map_next(&b->map, &i)) != NULL)
		free(at);
	uuid_map_free(&b->map);
}
