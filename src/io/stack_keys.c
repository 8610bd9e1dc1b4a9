/* SPDX-License-Identifier: MIT */
#include "io/stack_keys.h"

#include <string.h>

#include <cx/actor.h>

#include "wire/hash.h"

/* A name under way.  Written by hand: printf would cost more than the rest of a command. */
struct name {
	char *out;
	size_t len;
};

static void put(struct name *n, const char *text, size_t len)
{
	memcpy(n->out + n->len, text, len);
	n->len += len;
}
#define PUT_LITERAL(n, text) put(n, text, sizeof(text) - 1)

static struct name begin(char *out, const char *prefix)
{
	struct name n = { .out = out };
	const size_t len = strlen(prefix);

	cx_assert(len <= STACK_PREFIX_MAX);
	put(&n, prefix, len);
	return n;
}

static size_t end(struct name *n)
{
	n->out[n->len] = '\0';
	return n->len;
}

static size_t end_user(struct name *n, const struct uuid *user)
{
	uuid_format(user, n->out + n->len);
	n->len += UUID_TEXT_LEN;
	PUT_LITERAL(n, "}");
	return end(n);
}

static size_t end_hex(struct name *n, const uint8_t *bytes, size_t len)
{
	hash_hex(bytes, len, n->out + n->len);
	n->len += 2 * len;
	return end(n);
}

static size_t end_instance(struct name *n, uint64_t instance)
{
	uint8_t big[8];

	for (int i = 0; i < 8; i++)
		big[i] = (uint8_t)(instance >> (56 - 8 * i));
	return end_hex(n, big, sizeof(big));
}

size_t stack_key_inbox(char *out, const char *prefix, const struct uuid *user)
{
	struct name n = begin(out, prefix);

	PUT_LITERAL(&n, "inbox:{");
	return end_user(&n, user);
}

size_t stack_key_route(char *out, const char *prefix, const struct uuid *user)
{
	struct name n = begin(out, prefix);

	PUT_LITERAL(&n, "route:{");
	return end_user(&n, user);
}

size_t stack_key_flight(char *out, const char *prefix, const struct uuid *user)
{
	struct name n = begin(out, prefix);

	PUT_LITERAL(&n, "flight:{");
	return end_user(&n, user);
}

size_t stack_key_outbox(char *out, const char *prefix, uint64_t instance)
{
	struct name n = begin(out, prefix);

	PUT_LITERAL(&n, "outbox:");
	return end_instance(&n, instance);
}

size_t stack_key_instance(char *out, const char *prefix, uint64_t instance)
{
	struct name n = begin(out, prefix);

	PUT_LITERAL(&n, "instance:");
	return end_instance(&n, instance);
}

size_t stack_key_life(char *out, const char *prefix)
{
	struct name n = begin(out, prefix);

	PUT_LITERAL(&n, "life");
	return end(&n);
}

void stack_seen_of(struct stack_seen *s, const struct uuid *sender, const struct uuid *key)
{
	uint8_t both[sizeof(sender->b) + sizeof(key->b)];

	memcpy(both, sender->b, sizeof(sender->b));
	memcpy(both + sizeof(sender->b), key->b, sizeof(key->b));
	hash_sha256(wire_slice(both, sizeof(both)), s->h);
}

size_t stack_key_claims(char *out, const char *prefix)
{
	struct name n = begin(out, prefix);

	PUT_LITERAL(&n, "claims");
	return end(&n);
}

size_t stack_key_dedup_stem(char *out, const char *prefix)
{
	struct name n = begin(out, prefix);

	PUT_LITERAL(&n, "dedup:");
	return end(&n);
}

size_t stack_key_dedup(char *out, const char *prefix, unsigned bucket)
{
	struct name n = begin(out, prefix);
	const uint8_t big[] = { (uint8_t)(bucket >> 8), (uint8_t)bucket };

	PUT_LITERAL(&n, "dedup:");
	return end_hex(&n, big, sizeof(big));
}

void stack_seen_value(uint8_t out[STACK_SEEN_VALUE_LEN], uint16_t partition, uint64_t offset,
                      int64_t wall_ms)
{
	const uint64_t place = partition | offset << 16;
	const uint16_t step = (uint16_t)stack_steps(wall_ms, STACK_SEEN_STEP_MS);

	for (unsigned i = 0; i < STACK_SEEN_PLACE_LEN; i++)
		out[i] = (uint8_t)(place >> (8 * i));
	out[STACK_SEEN_PLACE_LEN] = (uint8_t)step;
	out[STACK_SEEN_PLACE_LEN + 1] = (uint8_t)(step >> 8);
}

int64_t stack_steps(int64_t wall_ms, int64_t step_ms)
{
	const int64_t steps = wall_ms / step_ms;

	/* Division rounds towards zero; a record's time may be anything, before 1970 too. */
	return wall_ms % step_ms < 0 ? steps - 1 : steps;
}
