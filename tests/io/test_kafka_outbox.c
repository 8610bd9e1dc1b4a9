/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <criterion/criterion.h>

#include "io/kafka_outbox.h"

TestSuite(kafka_outbox, .timeout = 10);

enum { BATCHES = 2, FULL = 1000 };

static struct kafka_outbox box;

static void open_box(void)
{
	cr_assert_eq(kafka_outbox_open(&box, 100, 1 << 20, BATCHES), CX_OK);
}

/* The key's first byte says which one it is. */
static struct kafka_entry *add(uint16_t lane, uint64_t accepted_ms, size_t len, uint8_t name)
{
	struct cx_buf *const buf = cx_buf_new(len);
	struct kafka_entry *e;

	memset(cx_buf_data(buf), 0, len);
	e = kafka_outbox_add(&box, buf);
	cx_buf_unref(buf);
	e->lane = lane;
	e->accepted_ms = accepted_ms;
	e->key_len = 1;
	e->key[0] = name;
	kafka_outbox_wait(&box, e);
	return e;
}

/* All that waits in a lane goes to the library. */
static void hand(struct kafka_lane *lane)
{
	const uint16_t batch = kafka_outbox_batch(&box, lane);

	while (lane->first != NULL)
		kafka_outbox_handed(&box, lane, batch);
}

Test(kafka_outbox, gives_no_batch_beyond_its_bound_until_one_is_reported_whole)
{
	struct kafka_entry *a, *b;

	open_box();
	a = add(1, 1, 8, 'a');
	b = add(1, 1, 8, 'b');
	add(2, 2, 8, 'c');
	add(3, 3, 8, 'd');
	for (unsigned i = 0; i < BATCHES; i++)
		hand(kafka_outbox_next(&box, FULL, true));
	cr_assert_null(kafka_outbox_next(&box, FULL, true));
	kafka_outbox_remove(&box, a);
	cr_assert_null(kafka_outbox_next(&box, FULL, true), "b is still on its way");
	kafka_outbox_remove(&box, b);
	cr_assert_eq(kafka_outbox_next(&box, FULL, true), &box.lanes[3]);
	kafka_outbox_close(&box);
}

Test(kafka_outbox, takes_the_lane_whose_oldest_waits_longest)
{
	open_box();
	add(9, 30, 8, 'a');
	add(5, 10, 8, 'b');
	add(1, 20, 8, 'c');
	cr_assert_eq(kafka_outbox_oldest(&box, true), &box.lanes[5]);
	hand(kafka_outbox_next(&box, FULL, true));
	cr_assert_eq(kafka_outbox_next(&box, FULL, true), &box.lanes[1]);
	kafka_outbox_close(&box);
}

Test(kafka_outbox, lets_a_lane_gather_while_its_last_batch_is_on_its_way_full_or_not)
{
	struct kafka_entry *a;

	open_box();
	a = add(4, 1, 8, 'a');
	hand(kafka_outbox_next(&box, FULL, true));
	add(4, 2, 8, 'b');
	cr_assert_null(kafka_outbox_next(&box, FULL, true));
	cr_assert_null(kafka_outbox_oldest(&box, true), "its time does not run");
	cr_assert_eq(kafka_outbox_oldest(&box, false), &box.lanes[4]);
	add(4, 3, FULL, 'c');
	cr_assert_null(kafka_outbox_next(&box, FULL, true));
	kafka_outbox_remove(&box, a);
	cr_assert_eq(kafka_outbox_oldest(&box, true), &box.lanes[4]);
	cr_assert_eq(kafka_outbox_next(&box, FULL, false), &box.lanes[4], "full");
	kafka_outbox_close(&box);
}

Test(kafka_outbox, has_all_waiting_in_their_order_and_all_batches_after_a_rewind)
{
	const char order[] = "abcd";
	struct kafka_entry *returned;

	open_box();
	returned = add(7, 1, 8, 'a');
	add(7, 2, 8, 'b');
	hand(kafka_outbox_next(&box, FULL, true));
	kafka_outbox_returned(&box, returned);
	add(8, 1, 8, 'x');
	hand(kafka_outbox_next(&box, FULL, true));
	add(7, 3, 8, 'c');
	add(7, 4, 8, 'd');
	kafka_outbox_rewind(&box);
	cr_assert_eq(box.waiting, 5);
	for (unsigned i = 0; order[i] != '\0'; i++) {
		cr_assert_eq(box.lanes[7].first->key[0], order[i]);
		kafka_outbox_remove(&box, box.lanes[7].first);
	}
	cr_assert_eq(box.lanes[7].bytes, 0);
	add(7, 5, 8, 'e');
	for (unsigned i = 0; i < BATCHES; i++)
		hand(kafka_outbox_next(&box, FULL, true));
	kafka_outbox_close(&box);
}

Test(kafka_outbox, keeps_the_order_of_a_key_when_its_lane_is_another)
{
	const char order[] = "abc";
	struct kafka_entry *entries[3];

	open_box();
	entries[0] = add(0, 1, 8, 'a');
	add(0, 2, 8, 'x');
	entries[1] = add(0, 3, 8, 'b');
	entries[2] = add(0, 4, 8, 'c');
	for (unsigned i = 0; i < CX_COUNTOF(entries); i++)
		entries[i]->lane = 6;
	kafka_outbox_line_up(&box);
	cr_assert_eq(box.lanes[0].first->key[0], 'x');
	for (unsigned i = 0; order[i] != '\0'; i++) {
		cr_assert_eq(box.lanes[6].first->key[0], order[i]);
		kafka_outbox_remove(&box, box.lanes[6].first);
	}
	cr_assert_eq(box.waiting, 1);
	kafka_outbox_close(&box);
}
