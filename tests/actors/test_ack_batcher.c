/* SPDX-License-Identifier: MIT */
/* Events that the batcher was told. */
#include "ack_batcher_fixture.h"

TestSuite(ack_batcher, .init = setup, .fini = teardown, .timeout = 60);

Test(ack_batcher, a_batch_leaves_when_its_time_is_over_and_not_before)
{
	struct timespec from, to;

	conf.buffer_ms = 400;
	begin();
	clock_gettime(CLOCK_MONOTONIC, &from);
	settle(1, 1, 3);
	settle(2, 4, 1);
	cr_assert(kafka_double_wait(1));
	clock_gettime(CLOCK_MONOTONIC, &to);
	cr_assert(kafka_double_wait(4));
	cr_assert_geq((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000,
	              400);
	cr_assert(becomes("XLEN " OUTBOX, ":0"));
}

Test(ack_batcher, without_a_buffer_events_leave_at_once)
{
	begin();
	settle(1, 7, 1);
	cr_assert(kafka_double_wait(1));
	cr_assert_eq(number_of(0), 7);
	cr_assert(becomes("XLEN " OUTBOX, ":0"));
}

Test(ack_batcher, order_of_leaving_says_nothing_about_order_of_coming)
{
	enum { N = 300 };
	unsigned in_place = 0, rising = 0;
	bool seen[N + 1] = { false };
	int64_t distance = 0;

	conf.buffer_ms = 2500; /* all are in one batch */
	begin();
	settle(1, 1, N / 3);
	settle(2, 1 + N / 3, N / 3);
	settle(3, 1 + 2 * N / 3, N / 3);
	cr_assert(kafka_double_wait(N));
	for (unsigned i = 0; i < N; i++) {
		const unsigned n = number_of(i);

		cr_assert(n >= 1 && n <= N && !seen[n]);
		seen[n] = true;
		in_place += n == i + 1;
		distance += llabs((int64_t)n - (int64_t)(i + 1));
		rising += i > 0 && n == number_of(i - 1) + 1;
	}
	/* expected: 1 in place, 1 followed by its next, a mean distance of a third */
	cr_assert_leq(in_place, 12);
	cr_assert_leq(rising, 12);
	cr_assert(distance / N > N / 4 && distance / N < N * 5 / 12, "%" PRId64, distance / N);
}

Test(ack_batcher, what_kafka_did_not_take_is_written_again_and_stays_in_the_outbox)
{
	static const enum kafka_outcome bad[] = { KAFKA_NOT_WRITTEN, KAFKA_BUSY,
		                                  KAFKA_UNKNOWN };

	begin();
	for (unsigned i = 0; i < CX_COUNTOF(bad); i++) {
		const unsigned before = kafka_double_count();

		kafka_double_say(bad[i]);
		settle(i + 1, 10 * (i + 1), 2);
		cr_assert(kafka_double_wait(before + 4), "not tried again");
		cr_assert_str_eq(redis_bench_call(&bench, "XLEN " OUTBOX), ":1",
		                 "deleted before it is written");
		kafka_double_say(KAFKA_OK);
		cr_assert(kafka_double_wait_written(2 * (i + 1)));
		cr_assert(becomes("XLEN " OUTBOX, ":0"));
	}
}

static void release(struct cx_ctx *ctx, void *arg)
{
	(void)arg;
	kafka_double_release(ctx, producer);
}

static void release_four(struct cx_ctx *ctx, void *arg)
{
	(void)arg;
	kafka_double_release_some(ctx, producer, 4);
}

Test(ack_batcher, an_entry_goes_only_when_all_its_events_are_written)
{
	conf.buffer_ms = 2000; /* both entries are in one batch */
	begin();
	kafka_double_say_for(KAFKA_NOT_WRITTEN, 1);
	kafka_double_hold(true);
	settle(1, 1, 2);
	settle(2, 3, 2);
	cr_assert(kafka_double_wait(4));
	usleep(100000);
	cr_assert_str_eq(redis_bench_call(&bench, "XLEN " OUTBOX), ":2");
	redis_bench_run(&bench, 2, release_four, NULL);
	cr_assert(kafka_double_wait(5), "the one that failed is tried again");
	cr_assert_str_eq(kafka_double_at(4).key, kafka_double_at(0).key);
	usleep(100000);
	cr_assert(becomes("XLEN " OUTBOX, ":1"), "the other entry");
	redis_bench_run(&bench, 2, release, NULL);
	cr_assert(becomes("XLEN " OUTBOX, ":0"));
	cr_assert_eq(kafka_double_count(), 5);
}

Test(ack_batcher, entries_are_deleted_again_when_redis_refused_it)
{
	begin();
	redis_bench_call(&bench, "ACL SETUSER default -xdel");
	settle(1, 1, 2);
	cr_assert(kafka_double_wait_written(2));
	usleep(200000);
	cr_assert_str_eq(redis_bench_call(&bench, "XLEN " OUTBOX), ":1");
	redis_bench_call(&bench, "ACL SETUSER default +xdel");
	cr_assert(becomes("XLEN " OUTBOX, ":0"));
	cr_assert_eq(kafka_double_count(), 2);
}

static void add_nonsense(struct cx_ctx *ctx, void *arg)
{
	struct cx_buf *const buf = cx_buf_copy("nonsense", 8);

	(void)arg;
	cx_assert(ack_batcher_add(ctx, batcher, buf, 1, 1, 1) == CX_OK);
	cx_buf_unref(buf);
}

Test(ack_batcher, what_is_no_event_is_dropped_and_holds_up_nothing)
{
	struct ack_batcher_figures f;

	begin();
	redis_bench_call(&bench, "XADD " OUTBOX " 1-1 e nonsense");
	settle(2, 5, 1);
	redis_bench_run(&bench, 1, add_nonsense, NULL); /* the entry 1-1 */
	settle(3, 6, 1);
	cr_assert(kafka_double_wait(2));
	cr_assert(becomes("XLEN " OUTBOX, ":0"));
	ack_batcher_figures(&f);
	cr_assert_eq(f.written, 2);
	cr_assert_eq(f.unreadable, 1);
}

/* ---- the end ---- */

#define FLUSHED_MAX 4

static uint32_t flush_left[FLUSHED_MAX];
static volatile unsigned flushed;

static void on_flushed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	flush_left[flushed] = CX_MSG_AS(struct ack_batcher_flushed, msg)->left;
	__atomic_fetch_add(&flushed, 1, __ATOMIC_RELEASE);
}

static enum cx_err ask_flush(struct cx_ctx *ctx, void *state, const void *limit_ms)
{
	uint64_t corr;

	(void)state;
	return ack_batcher_flush(ctx, batcher, *(const uint32_t *)limit_ms, &corr);
}

static const struct cx_handler asker_handlers[] = {
	CX_ON(ACK_BATCHER_FLUSHED, struct ack_batcher_flushed, on_flushed),
};
static const struct cx_actor_type asker_type = {
	.name = "asker",
	.state_size = 8,
	.conf_size = sizeof(uint32_t),
	.mailbox_cap = 8,
	.placement = CX_PLACE_IO,
	.start = ask_flush,
	.handlers = asker_handlers,
	.handler_count = CX_COUNTOF(asker_handlers),
};

static void spawn_asker(struct cx_ctx *ctx, void *limit_ms)
{
	struct cx_ref ref;

	cx_assert(cx_spawn(ctx, &asker_type, limit_ms, 0, &ref) == CX_OK);
}

static bool flushes(unsigned n)
{
	for (int i = 0; i < 20000; i++) {
		if (__atomic_load_n(&flushed, __ATOMIC_ACQUIRE) >= n)
			return true;
		usleep(1000);
	}
	return false;
}

Test(ack_batcher, a_flush_sends_what_is_gathered_and_answers_when_it_is_written)
{
	uint32_t limit_ms = 10000;

	conf.buffer_ms = 60000;
	begin();
	settle(1, 1, 20);
	kafka_double_hold(true);
	redis_bench_run(&bench, 1, spawn_asker, &limit_ms);
	cr_assert(kafka_double_wait(20));
	usleep(100000);
	cr_assert_eq(flushed, 0);
	redis_bench_run(&bench, 2, release, NULL);
	cr_assert(flushes(1));
	cr_assert_eq(flush_left[0], 0);
	cr_assert_str_eq(redis_bench_call(&bench, "XLEN " OUTBOX), ":0", "deleted before");
	settle(2, 50, 1);
	cr_assert(kafka_double_wait(21), "what still comes leaves at once");
}

Test(ack_batcher, a_flush_ends_at_its_limit_with_what_is_left)
{
	uint32_t limit_ms = 200;

	begin();
	kafka_double_say(KAFKA_NOT_WRITTEN);
	settle(1, 1, 3);
	redis_bench_run(&bench, 1, spawn_asker, &limit_ms);
	cr_assert(flushes(1));
	cr_assert_eq(flush_left[0], 3);
	cr_assert_str_eq(redis_bench_call(&bench, "XLEN " OUTBOX), ":1", "the next one has it");
}
