/* SPDX-License-Identifier: MIT */
#include "io/stack_keys.h"

#include <criterion/criterion.h>

#include "wire/hash.h"

TestSuite(stack_keys, .timeout = 20);

static const struct uuid user = { { 0xc2, 0xb5, 0xe6, 0xa8, 0x1f, 0x4d, 0x4b, 0x7a, 0x8e, 0x21,
	                            0x5a, 0x9d, 0x3c, 0x7f, 0x6b, 0x02 } };
#define USER "c2b5e6a8-1f4d-4b7a-8e21-5a9d3c7f6b02"
#define P "delivery_queue:"

static void check(size_t len, const char *key, const char *want)
{
	cr_assert_str_eq(key, want);
	cr_assert(len == strlen(want));
}

Test(stack_keys, names_are_those_of_the_document)
{
	char key[STACK_KEY_MAX];

	check(stack_key_inbox(key, P, &user), key, P "inbox:{" USER "}");
	check(stack_key_route(key, P, &user), key, P "route:{" USER "}");
	check(stack_key_outbox(key, P, 0x1f), key, P "outbox:000000000000001f");
	check(stack_key_instance(key, P, UINT64_C(0xfedcba9876543210)), key,
	      P "instance:fedcba9876543210");
	check(stack_key_life(key, P), key, P "life");
	check(stack_key_life(key, ""), key, "life");
}

/* SHA-256 of the 32 bytes of sender and id, computed with sha256sum. */
Test(stack_keys, seen_is_the_hash_of_sender_and_id)
{
	const struct uuid key = { { 1 } };
	struct stack_seen seen, other;
	char name[STACK_KEY_MAX], hex[HASH_HEX_LEN];

	stack_seen_of(&seen, &user, &key);
	hash_hex(seen.h, sizeof(seen.h), hex);
	cr_assert(memcmp(hex,
	                 "dd39d074471e9c85cab8418a23551328668798d52da6cda55c247969ede8eed1",
	                 sizeof(hex)) == 0,
	          "%.64s", hex);
	check(stack_key_claims(name, P), name, P "claims");
	check(stack_key_dedup(name, P, stack_seen_bucket(&seen)), name, P "dedup:dd39");
	check(stack_key_dedup(name, P, 7), name, P "dedup:0007");
	cr_assert(memcmp(stack_seen_field(&seen), seen.h + 2, STACK_SEEN_FIELD_LEN) == 0);
	stack_seen_of(&other, &key, &user);
	cr_assert(memcmp(&seen, &other, sizeof(seen)) != 0);
}

Test(stack_keys, longest_name_fits)
{
	char prefix[STACK_PREFIX_MAX + 1], key[STACK_KEY_MAX];

	memset(prefix, 'p', STACK_PREFIX_MAX);
	prefix[STACK_PREFIX_MAX] = '\0';
	cr_assert(stack_key_inbox(key, prefix, &user) < sizeof(key));
	cr_assert(stack_key_instance(key, prefix, UINT64_MAX) < sizeof(key));
	cr_assert(stack_key_claims(key, prefix) < sizeof(key));
	cr_assert(stack_key_dedup(key, prefix, UINT16_MAX) < sizeof(key));
}

Test(stack_keys, steps_follow_each_other_without_a_gap)
{
	const int64_t step_ms = INT64_C(192) * 3600 * 1000;

	cr_assert(stack_steps(0, step_ms) == 0);
	cr_assert(stack_steps(step_ms - 1, step_ms) == 0);
	cr_assert(stack_steps(step_ms, step_ms) == 1);
	cr_assert(stack_steps(-1, step_ms) == -1);
	cr_assert(stack_steps(-step_ms, step_ms) == -1);
	cr_assert(stack_steps(-step_ms - 1, step_ms) == -2);
	cr_assert(stack_steps(INT64_MAX, 1) == INT64_MAX);
	cr_assert(stack_steps(INT64_C(1767225600000), step_ms) == 2556);
}

Test(stack_keys, a_remembered_id_says_where_and_when)
{
	const uint8_t expected[STACK_SEEN_VALUE_LEN] = { 0x02, 0x01, 0x66, 0x55, 0x44,
		                                         0x33, 0x22, 0x11, 0x68, 0xdf };
	uint8_t value[STACK_SEEN_VALUE_LEN];

	/* 122,728 steps of 4 hours, of which 16 bits are kept */
	stack_seen_value(value, 0x0102, 0x112233445566, INT64_C(122728) * 4 * 3600 * 1000 + 5);
	cr_assert(memcmp(value, expected, sizeof(value)) == 0, "%02x %02x", value[8], value[9]);
}
