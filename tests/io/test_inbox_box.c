/* SPDX-License-Identifier: MIT */
/* A user's box against the plain rule of what it must find, and what its look-ups cost. */
#include "io/inbox_box.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

TestSuite(inbox_box, .timeout = 60);

#define MANY 20000

static struct uuid uuid_of(uint32_t n)
{
	struct uuid u = { { 0 } };

	memcpy(u.b, &n, sizeof(n));
	return u;
}

static void add(struct box *box, uint64_t id, uint32_t key, uint32_t from,
                enum record_kind kind)
{
	box_append(box, &(struct box_entry){ .id = id,
	                                     .key = uuid_of(key),
	                                     .peer = uuid_of(from),
	                                     .kind = (uint8_t)kind });
}

static struct box *filled(uint32_t count)
{
	const struct uuid owner = uuid_of(1);
	struct box *box = box_new(&owner, 7);

	for (uint32_t n = 1; n <= count; n++)
		add(box, n, n, 1, RECORD_MESSAGE);
	return box;
}

static uint64_t found(const struct box *box, uint32_t key, uint32_t from)
{
	const struct uuid k = uuid_of(key), f = uuid_of(from);
	const struct box_entry *e = box_find_key(box, BOX_WAITING, &k, from == 0 ? NULL : &f);

	return e == NULL ? 0 : e->id;
}

/* ---- the same as a search of all ---- */

#define KEYS 6
#define SENDERS 3

static uint64_t searched(const struct box *box, uint32_t key, uint32_t from)
{
	const struct uuid k = uuid_of(key), f = uuid_of(from);

	for (uint32_t n = box->first; n != box->end; n++) {
		const struct box_entry *e = box_at(box, n);

		if (e->state == BOX_WAITING && e->kind == RECORD_MESSAGE &&
		    uuid_equal(&e->key, &k) && (from == 0 || uuid_equal(&e->peer, &f)))
			return e->id;
	}
	return 0;
}

static void check_all(const struct box *box)
{
	for (uint32_t key = 0; key <= KEYS; key++)
		for (uint32_t from = 0; from <= SENDERS; from++)
			cr_assert_eq(found(box, key, from), searched(box, key, from),
			             "key %u from %u", key, from);
}

static void load_rows(struct box *box, uint64_t below)
{
	struct log_index_entry rows[100] = { 0 };

	for (uint32_t i = 0; i < 100; i++)
		rows[i] = (struct log_index_entry){ .id = below - 100 + i,
			                            .key = uuid_of((uint32_t)rand() % KEYS),
			                            .peer = uuid_of(1),
			                            .kind = RECORD_MESSAGE };
	box_load(box, rows, 100);
}

static void change(struct box *box, uint64_t *next_id)
{
	const uint32_t count = box->end - box->first;
	struct box_entry *e =
		count == 0 ? NULL : box_at(box, box->first + (uint32_t)rand() % count);

	if (e == NULL || rand() % 5 < 2)
		add(box, (*next_id)++, (uint32_t)rand() % KEYS, 1 + (uint32_t)rand() % SENDERS,
		    rand() % 4 == 0 ? RECORD_RECEIPT : RECORD_MESSAGE);
	else if (e->state != BOX_GONE && rand() % 4 == 0)
		e->state = e->state == BOX_WAITING ? BOX_SETTLING : BOX_WAITING;
	else if (e->state != BOX_GONE && (e != box_at(box, box->first) || rand() % 50 == 0))
		box_remove(box, e);
}

Test(inbox_box, finds_by_key_what_a_search_of_all_entries_finds)
{
	const struct uuid owner = uuid_of(1);

	for (unsigned seed = 1; seed <= 20; seed++) {
		struct box *box = box_new(&owner, seed);
		uint64_t next_id = 1000;

		srand(seed);
		for (int step = 0; step < 3000; step++) {
			change(box, &next_id);
			if (step == 1500 && !box_is_empty(box))
				load_rows(box, box_at(box, box->first)->id);
			if (step % 10 == 0)
				check_all(box);
		}
		if (seed % 2 == 0)
			box_clear(box);
		check_all(box);
		box_free(box);
	}
}

/* ---- cost ---- */

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double look_ups_ms(const struct box *box)
{
	const double began = cpu_ms();
	uint64_t sum = 0;

	for (uint32_t n = 0; n < MANY; n++)
		sum += found(box, 1000000 + n, 0);
	cr_assert_eq(sum, 0);
	return cpu_ms() - began;
}

/* A search of all entries is some thousand times dearer. */
Test(inbox_box, an_unknown_id_costs_a_full_inbox_no_more_than_an_empty_one)
{
	struct box *small = filled(10), *big = filled(MANY);
	const double small_ms = look_ups_ms(small), big_ms = look_ups_ms(big);

	cr_assert_lt(big_ms, 50 * small_ms + 50, "%.1f ms and %.1f ms", small_ms, big_ms);
	box_free(small);
	box_free(big);
}

Test(inbox_box, one_entry_that_stays_does_not_keep_the_places_of_those_that_went)
{
	struct box *box = filled(1);

	for (uint32_t n = 2; n < MANY; n++) {
		add(box, n, n, 1, RECORD_MESSAGE);
		box_remove(box, box_find(box, n));
	}
	cr_assert_eq(found(box, 1, 0), 1);
	cr_assert_leq(box->cap, 64);
	box_free(box);
}
