/* SPDX-License-Identifier: MIT */
#include "io/sqlite_ids.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

static struct sqlite_ids ids;
static const uint8_t salt[SQLITE_IDS_SALT_BYTES] = { 1, 2, 3 };

static void clear(void)
{
	sqlite_ids_free(&ids);
}

TestSuite(sqlite_ids, .fini = clear, .timeout = 30);

static struct sqlite_id nth(uint64_t n)
{
	struct uuid peer = { { 9 } }, key = { { 0 } };

	memcpy(key.b, &n, sizeof(n));
	return sqlite_id_of(salt, &peer, &key);
}

/* The first of the vectors published with SipHash (key and input 00 01 02 ..., 128 bits). */
Test(sqlite_ids, the_hash_is_siphash)
{
	static const uint8_t expected[3][16] = {
		{ 0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7,
		  0x55, 0x02, 0x93 },
		{ 0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b,
		  0x22, 0xfc, 0x45 },
		{ 0x81, 0x77, 0x22, 0x8d, 0xa4, 0xa4, 0x5d, 0xc7, 0xfc, 0xa3, 0x8b, 0xde, 0xf6,
		  0x0a, 0xff, 0xe4 },
	};
	uint8_t key[16], in[16];
	uint64_t out[2];
	unsigned i;

	for (i = 0; i < 16; i++)
		key[i] = in[i] = (uint8_t)i;
	for (i = 0; i < 3; i++) {
		sqlite_siphash128(key, in, i, out);
		cr_assert_eq(memcmp(out, expected[i], 16), 0, "input of %u bytes", i);
	}
}

Test(sqlite_ids, remembers_a_million_in_little_memory)
{
	const uint64_t n = 1000000;
	uint64_t i, bytes = 0;

	for (i = 0; i < n; i++)
		sqlite_ids_add(&ids, nth(i), 100);
	cr_assert_eq(ids.count, n);
	for (i = 0; i < n; i++)
		cr_assert(sqlite_ids_has(&ids, nth(i)));
	for (i = n; i < 2 * n; i++)
		cr_assert_not(sqlite_ids_has(&ids, nth(i)));
	for (i = 0; i < SQLITE_IDS_TABLES; i++)
		bytes += ids.tables[i].cap * sizeof(*ids.tables[i].slots);
	cr_assert_leq(bytes, 32 * n, "%.1f bytes an id", (double)bytes / (double)n);
}

Test(sqlite_ids, forgets_by_the_hour_and_gives_memory_back)
{
	uint64_t i;

	for (i = 0; i < 100000; i++)
		sqlite_ids_add(&ids, nth(i), 100 + (uint32_t)(i % 10));
	sqlite_ids_expire(&ids, 105, 1);
	for (i = 0; i < 100000; i++)
		cr_assert_eq(sqlite_ids_has(&ids, nth(i)), i % 10 >= 5,
		             "at once, swept or not");
	sqlite_ids_expire(&ids, 105, SQLITE_IDS_TABLES);
	cr_assert_eq(ids.count, 50000);
	for (i = 0; i < 100000; i++)
		cr_assert_eq(sqlite_ids_has(&ids, nth(i)), i % 10 >= 5);
	sqlite_ids_expire(&ids, 200, SQLITE_IDS_TABLES);
	cr_assert_eq(ids.count, 0);
	for (i = 0; i < SQLITE_IDS_TABLES; i++)
		cr_assert_eq(ids.tables[i].cap, 0);
}

Test(sqlite_ids, an_expired_id_can_come_again)
{
	sqlite_ids_add(&ids, nth(1), 100);
	sqlite_ids_expire(&ids, 150, 0);
	cr_assert_not(sqlite_ids_has(&ids, nth(1)));
	sqlite_ids_add(&ids, nth(1), 150);
	cr_assert(sqlite_ids_has(&ids, nth(1)));
	cr_assert_eq(ids.count, 1);
}

/* Against a plain list: adding and taking back in random order loses and keeps nothing wrong. */
Test(sqlite_ids, adding_and_removing_agree_with_a_list)
{
	enum { RANGE = 20000 };
	static bool in[RANGE];
	unsigned seed = 7;
	uint64_t step, count = 0;

	for (step = 0; step < 400000; step++) {
		const uint64_t n = (uint64_t)rand_r(&seed) % RANGE;

		if (rand_r(&seed) % 2 != 0) {
			sqlite_ids_add(&ids, nth(n), 100);
			count += !in[n];
			in[n] = true;
		} else {
			sqlite_ids_remove(&ids, nth(n));
			count -= in[n];
			in[n] = false;
		}
		cr_assert_eq(ids.count, count);
	}
	for (step = 0; step < RANGE; step++)
		cr_assert_eq(sqlite_ids_has(&ids, nth(step)), in[step]);
}
