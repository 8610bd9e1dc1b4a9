/* SPDX-License-Identifier: MIT */
/* Events that the batcher finds in outboxes. */
#include "ack_batcher_fixture.h"

TestSuite(ack_batcher_outboxes, .init = setup, .fini = teardown, .timeout = 60);

Test(ack_batcher_outboxes, takes_over_the_outbox_of_a_dead_instance_and_not_of_a_living_one)
{
	begin(); /* without adopt_ms it looks after nobody */
	put("q:outbox:" DEAD, "5-0", 1, 3);
	put("q:outbox:" DEAD, "5-1", 4, 200);
	put("q:outbox:00000000000000ee", "5-0", 1000, 1);
	put("q:outbox:00000000000000ff", "5-0", 2000, 1);
	redis_bench_call(&bench, "ZADD q:instances 1 " DEAD);
	/* one whose clock is behind ours, one whose time is not over, ourselves */
	redis_bench_call(&bench, "ZADD q:instances 1 00000000000000ee");
	redis_bench_call(&bench, "SET q:instance:00000000000000ee 1");
	redis_bench_call(&bench, "ZADD q:instances 99999999999999 00000000000000ff");
	redis_bench_call(&bench, "ZADD q:instances 1 00000000000000aa");
	conf.adopt_ms = 100;
	begin();
	cr_assert(kafka_double_wait(203));
	cr_assert(becomes("EXISTS q:outbox:" DEAD, ":0"));
	cr_assert(becomes("ZSCORE q:instances " DEAD, "nil"));
	cr_assert(becomes("EXISTS q:outbox-lock:" DEAD, ":0"));
	usleep(400000);
	cr_assert_eq(kafka_double_count(), 203, "once, and of nobody else");
	cr_assert_str_eq(redis_bench_call(&bench, "XLEN q:outbox:00000000000000ee"), ":1");
	cr_assert_str_eq(redis_bench_call(&bench, "XLEN q:outbox:00000000000000ff"), ":1");
}

Test(ack_batcher_outboxes, leaves_a_dead_instance_to_who_has_the_lock)
{
	put("q:outbox:" DEAD, "5-0", 1, 3);
	redis_bench_call(&bench, "ZADD q:instances 1 " DEAD);
	redis_bench_call(&bench, "SET q:outbox-lock:" DEAD " 1 PX 3000");
	conf.adopt_ms = 100;
	begin();
	usleep(300000);
	cr_assert_eq(kafka_double_count(), 0);
	cr_assert(kafka_double_wait(3), "the lock has lapsed");
	cr_assert(becomes("EXISTS q:outbox:" DEAD, ":0"));
}

Test(ack_batcher_outboxes, a_dead_outbox_stays_until_kafka_has_it)
{
	put("q:outbox:" DEAD, "5-0", 1, 3);
	redis_bench_call(&bench, "ZADD q:instances 1 " DEAD);
	conf.adopt_ms = 50;
	kafka_double_say(KAFKA_NOT_WRITTEN);
	begin();
	cr_assert(kafka_double_wait(6));
	cr_assert_str_eq(redis_bench_call(&bench, "XLEN q:outbox:" DEAD), ":1");
	kafka_double_say(KAFKA_OK);
	cr_assert(kafka_double_wait_written(3));
	cr_assert(becomes("EXISTS q:outbox:" DEAD, ":0"));
}

Test(ack_batcher_outboxes, old_entries_of_its_own_outbox_that_nobody_told_it_are_found)
{
	conf.adopt_ms = 100;
	conf.sweep_age_ms = 4000;
	put(OUTBOX, "1-5", 1, 150);
	put(OUTBOX, "*", 500, 1);
	begin();
	cr_assert(kafka_double_wait(150));
	cr_assert(becomes("XLEN " OUTBOX, ":1"), "the young one waits");
	cr_assert_eq(kafka_double_count(), 150);
	cr_assert(kafka_double_wait(151), "until it is old");
	cr_assert(becomes("XLEN " OUTBOX, ":0"));
}

static void add_thousands(struct cx_ctx *ctx, void *arg)
{
	struct addition a = { 1, 100, 1 };

	(void)arg;
	for (unsigned i = 0; i < 660; i++, a.seq++)
		add(ctx, &a);
}

Test(ack_batcher_outboxes, what_finds_too_many_waiting_is_read_from_the_outbox_later)
{
	struct ack_batcher_figures f;
	unsigned waited = 0;

	conf.buffer_ms = 60000;
	conf.adopt_ms = 200;
	conf.sweep_age_ms = 1000;
	begin();
	redis_bench_run(&bench, 1, add_thousands, NULL);
	settle(1000, 1, 50);
	do {
		usleep(1000);
		ack_batcher_figures(&f);
	} while (f.spilled < 550 && waited++ < 10000);
	cr_assert_eq(f.spilled, 550, "660 * 100 + 50 come, 65500 wait");
	cr_assert(kafka_double_wait(50), "the entry is old enough");
	cr_assert(becomes("XLEN " OUTBOX, ":0"));
	ack_batcher_figures(&f);
	cr_assert_eq(f.swept, 50);
	cr_assert_eq(f.waiting, 65500);
}
