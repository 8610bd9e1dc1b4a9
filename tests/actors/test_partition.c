/* SPDX-License-Identifier: MIT */
/* A partition between a fake log, inbox and hub. */
#include "actors/partition.h"

#include "actors/fixture.h"

static struct cx_ref partition;

static void start_partition(uint32_t number)
{
	const struct partition_conf conf = { .relay = &relay, .number = number };

	partition = spawn_at(&partition_type, &conf);
}

static void set_up(void)
{
	fixture_start();
	start_partition(0);
}

TestSuite(partition, .init = set_up, .fini = fixture_end, .timeout = 30);

struct batch {
	uint8_t bytes[64 * 1024];
	size_t len;
};

static void add(struct batch *b, enum record_kind kind, uint32_t owner, uint64_t id)
{
	const struct record head = { .kind = (uint8_t)kind, .id = id, .owner = uuid_of(owner) };

	cr_assert(b->len + record_size(sizeof(id)) <= sizeof(b->bytes));
	b->len += record_write(b->bytes + b->len, &head, &id, sizeof(id));
}

static void commit(const struct batch *b)
{
	struct cx_buf *buf = cx_buf_copy(b->bytes, b->len);

	TELL(fake_log, partition, LOG_RECORDS, struct log_records, buf, .first_id = 1);
	cx_buf_unref(buf);
}

static void commit_run(uint64_t first, uint64_t count)
{
	static struct batch b;

	b.len = 0;
	for (uint64_t id = first; id < first + count; id++)
		add(&b, RECORD_MESSAGE, (uint32_t)id % 7, id);
	commit(&b);
}

/* The inbox's next batch has these ids, growing by one, each with its own record. */
static struct got *append(uint64_t first, uint32_t count)
{
	struct got *g = take(relay.inboxes[0], INBOX_APPEND);
	const struct inbox_append_msg *m = GOT(struct inbox_append_msg, g);

	cr_assert(m->count == count, "%u, not %u", m->count, count);
	for (uint32_t i = 0; i < count; i++) {
		const struct inbox_item *item = &m->items[i];
		const struct record *r =
			(const struct record *)(const void *)(cx_buf_bytes(g->buf) +
		                                              item->offset);

		cr_assert(item->id == first + i && r->id == item->id);
		cr_assert(item->len == r->frame_len && item->kind == r->kind);
		cr_assert(uuid_equal(&item->owner, &r->owner));
		cr_assert(memcmp(r->frame, &item->id, sizeof(item->id)) == 0);
	}
	return g;
}

static void appended(const struct got *g)
{
	struct inbox_appended m = { .count = GOT(struct inbox_append_msg, g)->count };

	memcpy(m.items, GOT(struct inbox_append_msg, g)->items, sizeof(m.items));
	for (uint32_t i = 0; i < m.count; i++)
		m.items[i].fresh = 1;
	answer_got(g, (struct outgoing){ .type = INBOX_APPENDED,
	                                 .bytes = &m,
	                                 .size = sizeof(m),
	                                 .buf = g->buf });
}

static void woken(uint64_t first, uint32_t count)
{
	const struct got *g = take(fake_hub, HUB_WAKE);

	cr_assert(GOT(struct hub_wake_msg, g)->count == count);
	cr_assert(GOT(struct hub_wake_msg, g)->items[0].id == first);
	cr_assert(g->buf != NULL);
}

static int waiting(void)
{
	return count_got(relay.inboxes[0], INBOX_APPEND);
}

Test(partition, hands_a_commit_to_the_inbox_then_wakes_the_hub)
{
	const struct got *g;

	commit_run(1, 3);
	g = append(1, 3);
	cr_assert(count_got(fake_hub, HUB_WAKE) == 0);
	appended(g);
	woken(1, 3);
}

Test(partition, splits_what_is_more_than_one_batch_and_keeps_the_order)
{
	commit_run(1, 48);
	appended(append(1, 48));
	commit_run(49, 49);
	appended(append(49, 48));
	appended(append(97, 1));
	commit_run(98, 100);
	appended(append(98, 48));
	appended(append(146, 48));
	appended(append(194, 4));
	woken(1, 48);
	woken(49, 48);
	woken(97, 1);
	woken(98, 48);
	woken(146, 48);
	woken(194, 4);
	cr_assert(waiting() == 0);
}

Test(partition, passes_over_kinds_that_are_no_inbox_entries)
{
	struct batch b = { .len = 0 };

	add(&b, RECORD_SETTLE, 1, 1);
	add(&b, RECORD_MESSAGE, 1, 2);
	add(&b, RECORD_RECEIPT, 1, 3);
	add(&b, RECORD_USER_GONE, 1, 4);
	add(&b, RECORD_RECEIPTS_DONE, 1, 5);
	commit(&b);
	appended(append(2, 3));
	b.len = 0;
	add(&b, RECORD_SETTLE, 1, 6);
	commit(&b);
	cr_assert(waiting() == 0);
	commit_run(7, 1);
	append(7, 1);
}

Test(partition, takes_its_own_users_records_only)
{
	static struct batch b;
	const struct inbox_append_msg *m;
	const struct got *g;
	uint32_t ours = 0;

	relay.workers = 3;
	for (uint32_t i = 0; i < 3; i++)
		relay.inboxes[i] = relay.inboxes[0];
	start_partition(2);
	for (uint32_t user = 0; user < 60; user++) {
		const struct uuid id = uuid_of(user);

		add(&b, RECORD_MESSAGE, user, user + 1);
		ours += relay_home(&relay, &id) == 2;
	}
	cr_assert(ours > 5 && ours <= 48);
	commit(&b);
	g = take(relay.inboxes[2], INBOX_APPEND);
	m = GOT(struct inbox_append_msg, g);
	cr_assert(m->count == ours);
	for (uint32_t i = 0; i < m->count; i++)
		cr_assert(relay_home(&relay, &m->items[i].owner) == 2);
	cr_assert(waiting() == 0);
}

Test(partition, has_at_most_sixteen_batches_on_the_way)
{
	for (uint64_t i = 0; i < 20; i++)
		commit_run(1 + i, 1);
	cr_assert(waiting() == 16);
	for (uint64_t i = 0; i < 20; i++) {
		appended(append(1 + i, 1));
		woken(1 + i, 1);
	}
	cr_assert(waiting() == 0);
}

Test(partition, a_refused_batch_is_tried_again_and_nothing_goes_before_it)
{
	relay.inboxes[0] = spawn_at(&tight_fake_type, NULL);
	commit_run(1, 100); /* the second batch of the turn is refused */
	commit_run(101, 1);
	for (int i = 0; i < 4; i++)
		skip_ms(3);
	appended(append(1, 48));
	appended(append(49, 48));
	appended(append(97, 4));
	appended(append(101, 1));
	woken(1, 48);
	woken(49, 48);
	woken(97, 4);
	woken(101, 1);
}

Test(partition, an_inbox_that_is_gone_is_tried_until_it_is_back)
{
	const struct cx_ref inbox = relay.inboxes[0];

	relay.inboxes[0] = CX_NOBODY;
	commit_run(1, 2);
	for (int i = 0; i < 5; i++)
		skip_ms(3);
	relay.inboxes[0] = inbox;
	commit_run(3, 1);
	skip_ms(3);
	appended(append(1, 2));
	appended(append(3, 1));
	woken(1, 2);
}

Test(partition, a_lost_answer_costs_the_push_and_goes_on)
{
	for (uint64_t i = 0; i < 17; i++)
		commit_run(1 + i, 1);
	bounce(append(1, 1));
	cr_assert(waiting() == 16); /* its place on the way is free */
	cr_assert(count_got(fake_hub, HUB_WAKE) == 0);
	appended(append(2, 1));
	woken(2, 1);
	(void)append(3, 1);
	skip_ms(10100); /* the others never come either */
	commit_run(18, 1);
	for (uint64_t i = 4; i <= 18; i++)
		(void)append(i, 1);
	cr_assert(waiting() == 0);
}

Test(partition, ends_with_work_left_and_leaks_nothing)
{
	relay.inboxes[0] = CX_NOBODY;
	commit_run(1, 100);
	commit_run(101, 5);
	quiet();
}
