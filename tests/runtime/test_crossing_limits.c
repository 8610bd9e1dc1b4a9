/* SPDX-License-Identifier: MIT */
/* Messages between workers go in parcels (crossing.c): limits of mailboxes, figures, control messages, and ends. */
#include "runtime/crossing.h"

#include "runtime/between.h"

TestSuite(crossing_limits, .timeout = 60);

#define LIMIT 40
#define APART 4096
#define PARCEL 16 /* messages */

static const struct cx_actor_type narrow = { .name = "narrow",
	                                     .placement = CX_PLACE_IO,
	                                     .mailbox_cap = 40,
	                                     .handlers = noter_handlers,
	                                     .handler_count = 3 };

static const struct cx_actor_type thread_noter = { .name = "thread_noter",
	                                           .placement = CX_PLACE_THREAD,
	                                           .mailbox_cap = 128,
	                                           .handlers = noter_handlers,
	                                           .handler_count = 3 };

/* BEGIN to one of type on worker 0, `one` of receiver on worker 1. */
static void play_two(const struct cx_actor_type *type, const struct cx_actor_type *receiver)
{
	struct cx_ref ref;

	make(2);
	one = spawn(receiver, 1);
	ref = spawn(type, 0);
	start();
	cr_assert_eq(post(ref, BEGIN, 0), CX_OK);
}

/* Its receiver is held up. */
static void close_gate(struct cx_ctx *ctx)
{
	cr_assert_eq(send(ctx, one, GATE, 0), CX_OK);
	cx_io_flush();
	cr_assert(comes(&is_in_gate, 1, GATE_MS));
}

static enum cx_err send_big(struct cx_ctx *ctx)
{
	return cx_send(ctx, one, cx_msg_new(ctx, NEXT, CX__PARCEL_MSG_MAX + 1));
}

/* Returns how many were taken. */
static int send_small_until_full(struct cx_ctx *ctx)
{
	int n = 0;

	while (n < 1000 && send(ctx, one, NUMBER, (uint64_t)n) == CX_OK)
		n++;
	return n;
}

static int send_big_until_full(struct cx_ctx *ctx)
{
	int n = 0;

	while (n < 1000 && send_big(ctx) == CX_OK)
		n++;
	return n;
}

/* ---- limits ---- */

static void fill_with_small(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	close_gate(ctx);
	results[0] = send_small_until_full(ctx);
	results[1] = send_small_until_full(ctx);
	results[2] = send_big_until_full(ctx);
	atomic_store(&is_open, 1);
	atomic_store(&is_done, 1);
}
BEGINNER(fill_with_small);

static void fill_with_big(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	close_gate(ctx);
	results[0] = send_big_until_full(ctx);
	results[1] = send_small_until_full(ctx);
	atomic_store(&is_open, 1);
	atomic_store(&is_done, 1);
}
BEGINNER(fill_with_big);

Test(crossing_limits, one_worker_sends_as_many_as_the_limit_and_no_more)
{
	play_two(&fill_with_small_type, &narrow);
	finish();
	cr_assert_eq(results[0], LIMIT, "%d", results[0]);
	cr_assert_eq(results[1], 0, "%d", results[1]);
	cr_assert_eq(results[2], 0, "%d large ones above it", results[2]);
}

Test(crossing_limits, large_ones_count_for_small_ones)
{
	play_two(&fill_with_big_type, &narrow);
	finish();
	cr_assert_eq(results[0], LIMIT, "%d", results[0]);
	cr_assert_eq(results[1], 0, "%d small ones above it", results[1]);
}

/* In rounds: after each all are handled, and the receiver is held up again. */
static void fill_again(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	int sent = 0;

	(void)state;
	(void)msg;
	for (int round = 0; round < 5; round++) {
		atomic_store(&is_in_gate, 0);
		atomic_store(&is_open, 0);
		close_gate(ctx);
		results[round] = send_small_until_full(ctx);
		sent += results[round];
		cx_io_flush();
		atomic_store(&is_open, 1);
		cr_assert(comes(&seen_count[0], sent, GATE_MS));
	}
	atomic_store(&is_done, 1);
}
BEGINNER(fill_again);

Test(crossing_limits, room_comes_back_when_messages_were_handled)
{
	play_two(&fill_again_type, &narrow);
	finish();
	for (int i = 0; i < 5; i++)
		cr_assert_eq(results[i], LIMIT, "%d in round %d", results[i], i);
}

/* What others filled meanwhile counts: a look at the room is not kept for later. */
static _Atomic int step;

static void look_then_wait(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	close_gate(ctx);
	atomic_store(&step, 1);
	comes(&step, 2, GATE_MS);
	results[0] = send_big(ctx) ==
	             CX_OK; /* more than half are there: it looks at the true figures */
	atomic_store(&step, 3);
	comes(&step, 4, GATE_MS);
	results[1] = send_small_until_full(ctx);
	atomic_store(&is_open, 1);
	atomic_store(&is_done, 1);
}
BEGINNER(look_then_wait);

Test(crossing_limits, room_that_was_seen_is_gone_when_others_filled_it)
{
	int posted = 0;

	play_two(&look_then_wait_type, &narrow);
	cr_assert(comes(&step, 1, GATE_MS));
	for (; posted < LIMIT / 2 + 5; posted++)
		cr_assert_eq(post(one, NUMBER, 0), CX_OK);
	atomic_store(&step, 2);
	cr_assert(comes(&step, 3, GATE_MS));
	while (post(one, NUMBER, 0) == CX_OK)
		posted++;
	atomic_store(&step, 4);
	finish();
	cr_assert(results[0]);
	cr_assert_eq(posted, LIMIT - 1, "%d", posted);
	cr_assert_eq(results[1], 0, "%d above the limit", results[1]);
}

#define BUSY_ONES 40

/* A millisecond, and again: whoever is made runnable waits for all of them. */
static void be_busy(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const int64_t until = now_ms() + 1;

	(void)state;
	(void)msg;
	while (now_ms() <= until)
		;
	if (atomic_load(&is_done) == 0)
		cr_assert_eq(send(ctx, cx_self(ctx), BEGIN, 0), CX_OK);
}
BEGINNER(be_busy);

static void spawn_and_flood(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const int64_t until = now_ms() + 20;

	(void)state;
	(void)msg;
	cr_assert_eq(cx_spawn(ctx, &narrow, NULL, 1, &one), CX_OK);
	while (atomic_load(&seen_count[0]) == 0 && now_ms() < until) {
		results[0] += send(ctx, one, NUMBER, 0) == CX_OK;
		cx_io_flush();
	}
	atomic_store(&is_done, 1);
}
BEGINNER(spawn_and_flood);

/* Its worker takes messages in long before it comes to the new actor. */
Test(crossing_limits, the_limit_holds_before_the_start_was_handled)
{
	struct cx_ref ref;

	make(2);
	for (int i = 0; i < BUSY_ONES; i++)
		cr_assert_eq(post(spawn(&be_busy_type, 1), BEGIN, 0), CX_OK);
	ref = spawn(&spawn_and_flood_type, 0);
	start();
	sleep_ms(20); /* all are busy */
	cr_assert_eq(post(ref, BEGIN, 0), CX_OK);
	finish();
	cr_assert_geq(results[0], LIMIT - 1);
	cr_assert_leq(results[0], LIMIT + PARCEL, "%d", results[0]);
}

/* ---- one counter for two slots ---- */

static void try_other(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	for (uint64_t i = 0; i < LIMIT; i++)
		cr_assert_eq(send(ctx, one, NUMBER, i), CX_OK);
	cx_io_flush();
	cr_assert(comes(&seen_count[0], LIMIT, GATE_MS));
	for (int i = 0; i < 100 && results[1] == 0; i++) { /* all were handled long ago */
		results[1] = send(ctx, two, NUMBER, 0) == CX_OK;
		sleep_ms(1);
	}
	cx_io_flush();
	atomic_store(&is_done, 1);
}
BEGINNER(try_other);

/* Two actors on two workers whose slots a table of this size would count together. */
Test(crossing_limits, what_went_to_one_actor_does_not_fill_another_ones_mailbox)
{
	struct cx_ref ref;

	make(3);
	one = spawn(&narrow, 1);
	for (unsigned i = 1; i < APART; i++)
		spawn(&narrow, 1);
	do
		two = spawn(&narrow, 2);
	while (two.slot != one.slot + APART);
	ref = spawn(&try_other_type, 0);
	start();
	sleep_ms(50); /* their starts */
	cr_assert_eq(post(ref, BEGIN, 0), CX_OK);
	finish();
	cr_assert(results[1], "refused, though it had no message");
}

/* ---- figures ---- */

static _Atomic int sent, was_refused;

static void fill_and_count(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	close_gate(ctx);
	for (int i = 0; i < 100; i++)
		atomic_fetch_add(send(ctx, one, NUMBER, 0) == CX_OK ? &sent : &was_refused, 1);
	cx_io_flush();
	atomic_store(&is_done, 1);
}
BEGINNER(fill_and_count);

static struct cx_kind_stats stats_of(const char *name)
{
	struct cx_kind_stats stats[8];
	const size_t n = cx_runtime_kinds(rt, stats, CX_COUNTOF(stats));

	for (size_t i = 0; i < n; i++)
		if (strcmp(stats[i].name, name) == 0)
			return stats[i];
	return (struct cx_kind_stats){ 0 };
}

Test(crossing_limits, figures_add_up)
{
	struct cx_kind_stats s;

	play_two(&fill_and_count_type, &narrow);
	cr_assert(comes(&is_done, 1, GATE_MS));
	atomic_store(&is_open, 1);
	cr_assert(comes(&seen_count[0], LIMIT, GATE_MS));
	atomic_store(&is_open, 0);
	atomic_store(&is_in_gate, 0);
	cr_assert_eq(post(one, GATE, 0), CX_OK);
	cr_assert(comes(&is_in_gate, 1, GATE_MS));
	for (int i = 0; i < 7; i++)
		cr_assert_eq(post(one, NUMBER, 0), CX_OK);
	for (int i = 0; i < 1000 && stats_of("narrow").depth != 7; i++)
		sleep_ms(1);
	s = stats_of("narrow");
	cr_assert_eq(s.depth, 7, "%d", (int)s.depth);
	atomic_store(&is_open, 1);
	cr_assert(comes(&seen_count[0], LIMIT + 7, GATE_MS));
	for (int i = 0; i < 1000 && stats_of("narrow").depth != 0; i++)
		sleep_ms(1);
	s = stats_of("narrow");
	end();
	cr_assert_eq(atomic_load(&sent), LIMIT);
	cr_assert_eq(s.refused, (uint64_t)atomic_load(&was_refused));
	cr_assert_eq(s.messages, LIMIT + 7 + 2 + 1, "%d", (int)s.messages); /* gates, START */
	cr_assert_eq(s.depth, 0);
	cr_assert_eq(s.depth_max, LIMIT, "%d", (int)s.depth_max);
	cr_assert_eq(s.dead_letters, 0);
	cr_assert_eq(s.unhandled, 0);
}

/* ---- control messages ---- */

static enum cx_err down_reason;

static void note_down(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	down_reason = CX_MSG_AS(struct cx_msg_down, msg)->reason;
	atomic_store(&is_done, 1);
}

/* It ends with LAST; the watch comes after, and overtakes. */
static void end_it_then_watch(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	close_gate(ctx);
	cr_assert_eq(send(ctx, one, NUMBER, 0), CX_OK);
	cr_assert_eq(send(ctx, one, LAST, 1), CX_OK);
	cx_watch(ctx, one);
	cx_io_flush();
	atomic_store(&is_open, 1);
}

Test(crossing_limits, control_overtakes_what_waits_also_when_it_crossed_with_it)
{
	static const struct cx_handler handlers[] = {
		CX_ON(BEGIN, struct number, end_it_then_watch),
		CX_ON(CX_MSG_DOWN, struct cx_msg_down, note_down),
	};
	const struct cx_actor_type watcher = { .name = "watcher",
		                               .placement = CX_PLACE_IO,
		                               .mailbox_cap = 8,
		                               .handlers = handlers,
		                               .handler_count = 2 };

	play_two(&watcher, &noter);
	finish();
	cr_assert_eq(down_reason, CX_OK, "%s", cx_err_name(down_reason));
	expect_in_order(0, 2);
}

static _Atomic int is_born;

static void spawn_and_say_so(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	cr_assert_eq(cx_spawn(ctx, &noter, NULL, 1, &one), CX_OK);
	atomic_store(&is_born, 1); /* a foreign thread reads that */
	comes(&is_open, 1, GATE_MS);
}
BEGINNER(spawn_and_say_so);

/* Messages may be sent to it at once, and start runs before the first. */
Test(crossing_limits, who_was_spawned_on_another_worker_can_be_sent_to_at_once)
{
	struct cx_ref ref;

	make(2);
	ref = spawn(&spawn_and_say_so_type, 0);
	start();
	cr_assert_eq(post(ref, BEGIN, 0), CX_OK);
	cr_assert(comes(&is_born, 1, GATE_MS));
	cr_assert_eq(post(one, NUMBER, 0), CX_OK);
	sleep_ms(20);
	atomic_store(&is_open, 1);
	cr_assert(comes(&seen_count[0], 1, SOON_MS), "it is lost");
	end();
}

/* ---- a thread of its own ---- */

/* Takes its time; answers each. */
static void answer_slowly(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	cr_assert_eq(send(ctx, one, NUMBER, CX_MSG_AS(struct number, msg)->value), CX_OK);
	if (CX_MSG_AS(struct number, msg)->value == 1)
		comes(&is_open, 1, GATE_MS);
}
BEGINNER(answer_slowly);

/* Where handlers may block, what one sent does not wait for the next of the same turn. */
Test(crossing_limits, a_handler_that_blocks_does_not_hold_up_what_the_one_before_it_sent)
{
	struct cx_actor_type type = answer_slowly_type;
	struct cx_ref ref;
	bool came;

	type.placement = CX_PLACE_THREAD;
	make(2);
	one = spawn(&noter, 1);
	ref = spawn(&type, 0);
	cr_assert_eq(post(ref, BEGIN, 0), CX_OK); /* both are there: one turn */
	cr_assert_eq(post(ref, BEGIN, 1), CX_OK);
	start();
	came = comes(&seen_count[0], 1, SOON_MS);
	atomic_store(&is_open, 1);
	cr_assert(comes(&seen_count[0], 2, GATE_MS));
	end();
	cr_assert(came);
	expect_in_order(0, 2);
}

/* ---- ends ---- */

static void send_last_words(struct cx_ctx *ctx, void *state)
{
	(void)state;
	for (uint64_t i = 0; i < 3; i++) {
		struct number *m = CX_MSG_NEW(ctx, NUMBER, struct number);

		m->value = i;
		m->hdr.buf = cx_buf_new(8000); /* no pool has it: a leak is seen */
		results[i] = (int)cx_send(ctx, one, &m->hdr);
	}
	atomic_store(&is_in_gate, 1);
}

static void play_last_words(const struct cx_actor_type *receiver, uint64_t worker)
{
	struct cx_actor_type type = { .name = "last_words",
		                      .placement = CX_PLACE_IO,
		                      .mailbox_cap = 8,
		                      .stop = send_last_words };

	make(2);
	one = spawn(receiver, worker);
	spawn(&type, 0);
	start();
	sleep_ms(10);
	end();
}

/* It lives as long as somebody speaks. */
static void hear_last_words(struct cx_ctx *ctx, void *state)
{
	(void)ctx;
	(void)state;
	comes(&is_in_gate, 1, GATE_MS);
}

/* Nobody handles them; of their buffers none leaks, AddressSanitizer says so. */
Test(crossing_limits, last_words_to_a_worker_that_ends_too_are_freed)
{
	struct cx_actor_type type = noter;

	type.stop = hear_last_words;
	play_last_words(&type, 1);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(results[i], CX_OK);
	cr_assert_eq(atomic_load(&seen_count[0]), 0);
}

/* Threads of their own end last (cx_runtime_stop), so they still handle what others say at their end. */
Test(crossing_limits, last_words_to_a_thread_of_its_own_are_handled)
{
	play_last_words(&thread_noter, 0);
	expect_in_order(0, 3);
}

static void send_and_stop(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	send_last_words(ctx, state);
	sleep_ms(50); /* main stops the runtime meanwhile */
}
BEGINNER(send_and_stop);

Test(crossing_limits, what_is_open_when_the_runtime_stops_is_freed_or_handled)
{
	play_two(&send_and_stop_type, &noter);
	cr_assert(comes(&is_in_gate, 1, GATE_MS));
	end();
}

Test(crossing_limits, so_it_is_handled_by_a_thread_of_its_own)
{
	play_two(&send_and_stop_type, &thread_noter);
	cr_assert(comes(&is_in_gate, 1, GATE_MS));
	end();
	expect_in_order(0, 3);
}
