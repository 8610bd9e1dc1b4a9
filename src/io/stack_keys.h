/* SPDX-License-Identifier: MIT */
/* Names of our keys in Redis where the relay stands on Kafka and Redis (docs/redis-keys.md).  Pure:
 * each writes its name and a NUL into out, which has STACK_KEY_MAX bytes, and returns its length
 * without the NUL.  prefix is DELIVERY_QUEUE_PREFIX, at most STACK_PREFIX_MAX bytes.
 * Thread: any. */
#ifndef IO_STACK_KEYS_H
#define IO_STACK_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "wire/uuid.h"

#define STACK_KEY_MAX 320
#define STACK_PREFIX_MAX 200
#define STACK_SEEN_FIELD_LEN 8

/* "<prefix>inbox:{uuid}", "<prefix>route:{uuid}": the braces are in the name, so that what belongs
 * to one user is in one slot of a cluster. */
size_t stack_key_inbox(char *out, const char *prefix, const struct uuid *user);
size_t stack_key_route(char *out, const char *prefix, const struct uuid *user);
/* "<prefix>flight:{uuid}": a sorted set of messages on their way to this user's inbox. */
size_t stack_key_flight(char *out, const char *prefix, const struct uuid *user);
/* "<prefix>outbox:<16 hex>", "<prefix>instance:<16 hex>". */
size_t stack_key_outbox(char *out, const char *prefix, uint64_t instance);
size_t stack_key_instance(char *out, const char *prefix, uint64_t instance);
/* "<prefix>life": which life of Redis this is; missing, it was emptied. */
size_t stack_key_life(char *out, const char *prefix);

/* Which message: SHA-256(sender bytes || message id bytes). */
struct stack_seen {
	uint8_t h[32];
};
void stack_seen_of(struct stack_seen *s, const struct uuid *sender, const struct uuid *key);

/* "<prefix>claims": a sorted set; a member is the first 16 bytes of h. */
size_t stack_key_claims(char *out, const char *prefix);
#define STACK_SEEN_BUCKETS 65536u
/* "<prefix>dedup:<4 hex>": a bucket, the first 16 bits of h. */
size_t stack_key_dedup(char *out, const char *prefix, unsigned bucket);
/* "<prefix>dedup:": what those names begin with. */
size_t stack_key_dedup_stem(char *out, const char *prefix);
static inline unsigned stack_seen_bucket(const struct stack_seen *s)
{
	return (unsigned)s->h[0] << 8 | s->h[1];
}
/* The field in that hash: the STACK_SEEN_FIELD_LEN bytes of h after the bucket's. */
static inline const uint8_t *stack_seen_field(const struct stack_seen *s)
{
	return s->h + 2;
}

/* Its value: the place (partition 16 bits, offset 48) and when, both little endian. */
#define STACK_SEEN_PLACE_LEN 8
#define STACK_SEEN_VALUE_LEN (STACK_SEEN_PLACE_LEN + 2)
/* Unix time in steps of this; 16 bits of them are 30 years, more than any window. */
#define STACK_SEEN_STEP_MS (INT64_C(4) * 3600 * 1000)
void stack_seen_value(uint8_t out[STACK_SEEN_VALUE_LEN], uint16_t partition, uint64_t offset,
                      int64_t wall_ms);

/* wall_ms (Unix time) in whole steps of step_ms > 0, rounded down, before 1970 too. */
int64_t stack_steps(int64_t wall_ms, int64_t step_ms);

/* What a Redis that crashed may have lost of its last writes: `appendfsync everysec` loses 1 s, 2 s and more
 * when the disk is busy. */
#define STACK_LOST_MS 5000

#endif
