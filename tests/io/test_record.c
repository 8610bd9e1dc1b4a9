/* SPDX-License-Identifier: MIT */
#include "wire/record.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

TestSuite(record, .timeout = 10);

Test(record, what_is_written_is_read_back)
{
	_Alignas(8) uint8_t room[1024];
	const struct record a = { .kind = RECORD_MESSAGE,
		                  .id = 7,
		                  .ref = 3,
		                  .wall_ms = -5,
		                  .owner = { { 1 } },
		                  .peer = { { 2 } },
		                  .key = { { 3 } },
		                  .key_case = 0x80000001 };
	const struct record b = { .kind = RECORD_SETTLE, .ref = 7 };
	size_t used = record_write(room, &a, "hello", 5);
	const uint8_t *at = room;
	const struct record *r;
	bool torn;

	cr_assert_eq(used, record_size(5));
	cr_assert_eq(used % 8, 0);
	used += record_write(room + used, &b, NULL, 0);
	r = record_next(&at, room + used, &torn);
	cr_assert_not_null(r);
	cr_assert_eq(r->id, 7);
	cr_assert_eq(r->ref, 3);
	cr_assert_eq(r->wall_ms, -5);
	cr_assert_eq(r->key_case, 0x80000001);
	cr_assert_eq(r->frame_len, 5);
	cr_assert_eq(memcmp(r->frame, "hello\0\0\0", 8), 0, "the padding is zero");
	cr_assert_eq(r->peer.b[0], 2);
	r = record_next(&at, room + used, &torn);
	cr_assert_not_null(r);
	cr_assert_eq(r->kind, RECORD_SETTLE);
	cr_assert_null(record_next(&at, room + used, &torn));
	cr_assert_not(torn);
}

Test(record, a_cut_anywhere_is_told_from_the_end)
{
	_Alignas(8) uint8_t room[512];
	const struct record head = { .kind = RECORD_MESSAGE, .id = 1 };
	const size_t one = record_write(room, &head, "0123456789", 10);
	const size_t used = one + record_write(room + one, &head, "x", 1);
	size_t cut;

	for (cut = 0; cut <= used; cut++) {
		const uint8_t *at = room;
		unsigned n = 0;
		bool torn;

		while (record_next(&at, room + cut, &torn) != NULL)
			n++;
		cr_assert_eq(n, (unsigned)(cut >= one) + (cut >= used));
		cr_assert_eq(torn, cut != 0 && cut != one && cut != used, "cut at %zu", cut);
		cr_assert_eq((size_t)(at - room), cut >= used ? used : cut >= one ? one : 0);
	}
}

/* A blob that was damaged is refused or read as something inside it, never beyond it. */
Test(record, random_damage_stays_inside)
{
	uint8_t *const room = malloc(4096);
	unsigned seed = 1;
	int round, i;

	for (round = 0; round < 20000; round++) {
		const struct record head = { .kind = RECORD_MESSAGE, .id = 1 };
		size_t used = 0;
		const uint8_t *at = room;
		const struct record *r;
		bool torn;

		for (i = 0; i < 4; i++)
			used += record_write(room + used, &head, "abcdefgh", (size_t)(i * 2));
		for (i = 0; i < 3; i++)
			room[(size_t)rand_r(&seed) % used] = (uint8_t)rand_r(&seed);
		while ((r = record_next(&at, room + used, &torn)) != NULL) {
			cr_assert_leq((size_t)(at - room), used);
			cr_assert_leq(r->frame_len, used);
		}
	}
	free(room);
}

Test(record, a_length_that_wraps_is_refused)
{
	_Alignas(8) uint8_t room[256];
	const struct record head = { .kind = RECORD_MESSAGE, .id = 1 };
	struct record *const r = (struct record *)(void *)room;
	const uint8_t *at = room;
	bool torn;

	memset(room, 0, sizeof(room));
	record_write(room, &head, "abc", 3);
	r->frame_len = UINT32_MAX;
	cr_assert_null(record_next(&at, room + sizeof(room), &torn));
	cr_assert(torn);
	r->frame_len = 3;
	r->size = UINT32_MAX & ~7u;
	cr_assert_null(record_next(&at, room + sizeof(room), &torn));
	cr_assert(torn);
}
