/* SPDX-License-Identifier: MIT */
/* How many accounts one client address may still make: a token bucket each, in memory, at most
 * REGISTER_ADDRESSES of them.  A full bucket is not worth remembering; when all are in use, the
 * fullest is forgotten.  Only for the actor that owns it. */
#ifndef ACTORS_REGISTER_BUCKET_H
#define ACTORS_REGISTER_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/uuid.h"
#include "wire/uuid_map.h"

#define REGISTER_ADDRESSES 4096
#define REGISTER_BURST 120
#define REGISTER_REFILL_MS 1000 /* for one more */

/* Zeroed is empty. */
struct register_buckets {
	struct uuid_map map;
};

/* One account more for the address `net`; false: none is left.  now_ms: monotonic. */
bool register_bucket_take(struct register_buckets *b, const struct uuid *net, uint64_t now_ms);
void register_bucket_free(struct register_buckets *b);

#endif
