/* SPDX-License-Identifier: MIT */
/* Messages between workers go in parcels (crossing.c): what arrives, when it goes, and in which order. */
#include "runtime/internal.h"

#include "runtime/between.h"

#define LINES 16    /* of a parcel */
#define NEVER_MS 30 /* so long nothing came: it is kept back */

static struct cx_ref other;

/* BEGIN to one of type on worker 0, noters on workers 1 and 2; until is_done. */
static void play(const struct cx_actor_type *type)
{
	struct cx_ref ref;

	make(3);
	one = spawn(&noter, 1);
	two = spawn(&noter, 2);
	ref = spawn(type, 0);
	start();
	cr_assert_eq(post(ref, BEGIN, 0), CX_OK);
	finish();
}

TestSuite(crossing, .timeout = 60);

/* ---- what arrives ---- */

static const uint16_t lengths[] = { 57, 64, 65, 128, 511, 512, 513, 4096 };
#define LENGTHS CX_COUNTOF(lengths)
static struct cx_buf *bufs[LENGTHS];
static _Atomic int broken;

static uint8_t pattern(unsigned i, size_t at)
{
	return (uint8_t)(7 * i + at + 1);
}

static void on_sized(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint8_t *bytes = (const uint8_t *)msg;
	const unsigned i = msg->type - SIZED;

	(void)ctx;
	(void)state;
	for (size_t at = sizeof(*msg); at < lengths[i]; at++)
		if (bytes[at] != pattern(i, at))
			atomic_fetch_add(&broken, 1);
	if (msg->size != lengths[i] || msg->buf != bufs[i] || cx_buf_len(msg->buf) != 100 ||
	    cx_buf_bytes(msg->buf)[99] != pattern(i, 99) || msg->from.gen == 0)
		atomic_fetch_add(&broken, 1);
}

/* All that came before is freed. */
static void on_probe(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	cr_assert_eq(send(ctx, msg->from, NEXT, 0), CX_OK);
}

static void send_sized(struct cx_ctx *ctx, void *state, const struct cx_msg *begin)
{
	(void)state;
	(void)begin;
	for (unsigned i = 0; i < LENGTHS; i++) {
		struct cx_msg *msg = cx_msg_new(ctx, SIZED + i, lengths[i]);

		for (size_t at = sizeof(*msg); at < lengths[i]; at++)
			((uint8_t *)msg)[at] = pattern(i, at);
		bufs[i] = cx_buf_new(100);
		memset(cx_buf_data(bufs[i]), pattern(i, 99), 100);
		msg->buf = cx_buf_ref(bufs[i]);
		cr_assert_eq(cx_send(ctx, one, msg), CX_OK);
	}
	cr_assert_eq(send(ctx, one, NUMBER, 0), CX_OK);
}

/* A block that is freed rests and is the next one of its size that is taken: so it is seen when that happens. */
static void look_at_buffers(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	for (unsigned i = 0; i < LENGTHS; i++) {
		struct cx_buf *fresh = cx_buf_new(100);

		for (unsigned k = 0; k < LENGTHS; k++)
			cr_assert_neq(fresh, bufs[k], "unreferenced twice: %u", lengths[k]);
		cx_buf_unref(bufs[i]); /* ours was the last */
		cx_buf_unref(fresh);
		fresh = cx_buf_new(100);
		cx_buf_unref(fresh);
		bufs[i] = cx_buf_new(100);
		cr_assert_eq(bufs[i], fresh);
	}
	for (unsigned i = 0; i < LENGTHS; i++)
		cx_buf_unref(bufs[i]);
	atomic_store(&is_done, 1);
}

Test(crossing, sizes_at_the_boundaries_arrive_whole_and_with_their_buffer)
{
	static const struct cx_handler sender_handlers[] = {
		CX_ON(BEGIN, struct number, send_sized),
		CX_ON(NEXT, struct number, look_at_buffers),
	};
	const struct cx_actor_type sender = { .name = "sender",
		                              .placement = CX_PLACE_IO,
		                              .mailbox_cap = 8,
		                              .handlers = sender_handlers,
		                              .handler_count = 2 };
	struct cx_handler handlers[LENGTHS + 1] = { CX_ON(NUMBER, struct number, on_probe) };
	const struct cx_actor_type receiver = { .name = "receiver",
		                                .placement = CX_PLACE_IO,
		                                .mailbox_cap = 64,
		                                .handlers = handlers,
		                                .handler_count = CX_COUNTOF(handlers) };
	struct cx_ref ref;

	for (unsigned i = 0; i < LENGTHS; i++)
		handlers[i + 1] = (struct cx_handler){ SIZED + i, lengths[i], on_sized };
	make(2);
	one = spawn(&receiver, 1);
	ref = spawn(&sender, 0);
	start();
	cr_assert_eq(post(ref, BEGIN, 0), CX_OK);
	finish();
	cr_assert_eq(atomic_load(&broken), 0);
}

/* ---- when it goes ---- */

static void fill_a_parcel(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	for (uint64_t i = 0; i < LINES - 1; i++)
		cr_assert_eq(send(ctx, one, NUMBER, i), CX_OK);
	results[0] = comes(&seen_count[0], 1, NEVER_MS);
	cr_assert_eq(send(ctx, one, NUMBER, LINES - 1), CX_OK);
	results[1] = comes(&seen_count[0], LINES, SOON_MS);
	cr_assert_eq(send(ctx, one, NUMBER, LINES), CX_OK);
	cr_assert_eq(send(ctx, two, NUMBER, 0), CX_OK);
	results[2] = comes(&seen_count[0], LINES + 1, SOON_MS);
	results[3] = comes(&seen_count[1], 1, NEVER_MS);
	cx_io_flush();
	results[4] = comes(&seen_count[1], 1, SOON_MS);
	cx_io_flush(); /* of nothing */
	atomic_store(&is_done, 1);
}
BEGINNER(fill_a_parcel);

Test(crossing, a_parcel_goes_when_it_is_full_or_another_is_opened_or_flushed)
{
	play(&fill_a_parcel_type);
	cr_assert(!results[0], "nothing is kept back");
	cr_assert(results[1], "a full one is");
	cr_assert(results[2], "it waits while another is open");
	cr_assert(!results[3]);
	cr_assert(results[4], "cx_io_flush does nothing");
	expect_in_order(0, LINES + 1);
}

static void send_by_turns(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	for (uint64_t i = 0; i < 100; i++) {
		cr_assert_eq(send(ctx, one, NUMBER, i), CX_OK);
		cr_assert_eq(send(ctx, two, NUMBER, i), CX_OK);
		if (i % 7 == 0)
			cx_io_flush();
	}
	cx_io_flush();
	cr_assert(comes(&seen_count[0], 100, GATE_MS) && comes(&seen_count[1], 100, GATE_MS));
	atomic_store(&is_done, 1);
}
BEGINNER(send_by_turns);

Test(crossing, an_open_parcel_by_turns_to_two_workers_keeps_order)
{
	play(&send_by_turns_type);
	expect_in_order(0, 100);
	expect_in_order(1, 100);
}

/* One after the other, and all stay on the stack until the gate opens. */
static void send_many_parcels(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	cr_assert_eq(send(ctx, one, GATE, 0), CX_OK);
	cx_io_flush();
	cr_assert(comes(&is_in_gate, 1, GATE_MS));
	for (uint64_t i = 0; i < 120; i++)
		if (i % 10 == 9)
			cr_assert_eq(post(one, NUMBER, i), CX_OK);
		else
			cr_assert_eq(send(ctx, one, NUMBER, i), CX_OK);
	cx_io_flush();
	atomic_store(&is_open, 1);
	cr_assert(comes(&seen_count[0], 120, GATE_MS));
	atomic_store(&is_done, 1);
}
BEGINNER(send_many_parcels);

Test(crossing, parcels_and_posts_that_wait_together_keep_order)
{
	play(&send_many_parcels_type);
	expect_in_order(0, 120);
}

/* Its worker sleeps, and this handler is all that its own worker has to do. */
static void send_one(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	cr_assert_eq(send(ctx, one, NUMBER, (uint64_t)atomic_load(&seen_count[0])), CX_OK);
}
BEGINNER(send_one);

Test(crossing, a_sleeping_worker_has_it_at_once_when_nothing_else_is_runnable)
{
	struct cx_ref ref;

	make(2);
	one = spawn(&noter, 1);
	ref = spawn(&send_one_type, 0);
	start();
	for (int i = 0; i < 10; i++) {
		sleep_ms(10); /* both sleep */
		cr_assert_eq(post(ref, BEGIN, 0), CX_OK);
		cr_assert(comes(&seen_count[0], i + 1, SOON_MS), "%d", i);
	}
	end();
	expect_in_order(0, 10);
}

/* ---- while its worker has other work ---- */

static _Atomic int busy_turns, busy_ms;

/* Always runnable; beside it the sender's turn. */
static void stay_busy(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const int ms = atomic_load(&busy_ms);

	(void)state;
	(void)msg;
	if (ms > 0)
		sleep_ms(ms);
	atomic_fetch_add(&busy_turns, 1);
	if (atomic_load(&is_done) == 0)
		cr_assert_eq(send(ctx, cx_self(ctx), BEGIN, 0), CX_OK);
}
BEGINNER(stay_busy);

static _Atomic int turns_at_send, turns_at_arrival;

static void send_beside(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	atomic_store(&turns_at_send, atomic_load(&busy_turns));
	cr_assert_eq(send(ctx, one, NUMBER, 0), CX_OK);
}
BEGINNER(send_beside);

static void note_turns(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	atomic_store(&turns_at_arrival, atomic_load(&busy_turns));
	atomic_fetch_add(&seen_count[0], 1);
}

static const struct cx_handler turn_noter_handlers[] = { CX_ON(NUMBER, struct number,
	                                                       note_turns) };
static const struct cx_actor_type turn_noter = { .name = "turn_noter",
	                                         .placement = CX_PLACE_IO,
	                                         .mailbox_cap = 8,
	                                         .handlers = turn_noter_handlers,
	                                         .handler_count = 1 };

static void play_busy(int ms, int warm, int rounds, int turns_max)
{
	struct cx_ref ref, busy;
	int late = 0;

	atomic_store(&busy_ms, ms);
	make(2);
	one = spawn(&turn_noter, 1);
	busy = spawn(&stay_busy_type, 0);
	ref = spawn(&send_beside_type, 0);
	start();
	cr_assert_eq(post(busy, BEGIN, 0), CX_OK);
	cr_assert(comes(&busy_turns, warm, GATE_MS));
	for (int i = 0; i < rounds; i++) {
		cr_assert_eq(post(ref, BEGIN, 0), CX_OK);
		cr_assert(comes(&seen_count[0], i + 1, SOON_MS), "%d", i);
		late += atomic_load(&turns_at_arrival) - atomic_load(&turns_at_send) >
		        turns_max;
	}
	atomic_store(&is_done, 1);
	end();
	/* one or two by the system's scheduler */
	cr_assert_leq(late, rounds / 5, "%d of %d rounds", late, rounds);
}

/* Once that is known: it takes up to 32 turns until the worker looks at the clock. */
Test(crossing, between_long_turns_it_is_kept_back_for_none)
{
	play_busy(8, 70, 20, 2);
}

/* After many quick turns: the last timed one was one of these. */
static void send_before_long_turns(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint64_t turns = CX_MSG_AS(struct number, msg)->value;

	(void)state;
	if (turns < 20000) {
		cr_assert_eq(send(ctx, cx_self(ctx), BEGIN, turns + 1), CX_OK);
		return;
	}
	cr_assert_eq(send(ctx, other, BEGIN, 0), CX_OK);
	atomic_store(&turns_at_send, atomic_load(&busy_turns));
	cr_assert_eq(send(ctx, one, NUMBER, 0), CX_OK);
}
BEGINNER(send_before_long_turns);

Test(crossing, before_turns_that_are_known_to_be_long_it_is_not_kept_back)
{
	struct cx_ref ref;

	atomic_store(&busy_ms, 8);
	make(2);
	one = spawn(&turn_noter, 1);
	other = spawn(&stay_busy_type, 0);
	ref = spawn(&send_before_long_turns_type, 0);
	start();
	cr_assert_eq(post(other, BEGIN, 0), CX_OK);
	cr_assert(comes(&busy_turns, 70, GATE_MS));
	atomic_store(&is_done, 1);
	sleep_ms(NEVER_MS); /* it sleeps */
	atomic_store(&is_done, 0);
	cr_assert_eq(post(ref, BEGIN, 0), CX_OK);
	cr_assert(comes(&seen_count[0], 1, GATE_MS));
	atomic_store(&is_done, 1);
	end();
	cr_assert_leq(atomic_load(&turns_at_arrival) - atomic_load(&turns_at_send), 8,
	              "kept back for %d turns of %d ms",
	              atomic_load(&turns_at_arrival) - atomic_load(&turns_at_send),
	              atomic_load(&busy_ms));
}

Test(crossing, between_quick_turns_it_is_kept_back_for_a_few)
{
	play_busy(0, 70, 500, INT32_MAX);
}

/* ---- other ways that a handler tells somebody ---- */

static void send_and_post(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	for (uint64_t i = 0; i < 60; i += 2) {
		cr_assert_eq(send(ctx, one, NUMBER, i), CX_OK);
		cr_assert_eq(post(one, NUMBER, i + 1), CX_OK);
	}
	cr_assert(comes(&seen_count[0], 60, GATE_MS));
	atomic_store(&is_done, 1);
}
BEGINNER(send_and_post);

Test(crossing, a_post_from_a_handler_comes_after_what_it_sent)
{
	play(&send_and_post_type);
	expect_in_order(0, 60);
}

/* The receiver of the post tells `one`, whom the poster told before. */
static void pass_on(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	cr_assert_eq(send(ctx, one, NUMBER, CX_MSG_AS(struct number, msg)->value), CX_OK);
	cx_io_flush();
}
BEGINNER(pass_on);

static void send_then_post_to_another(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	cr_assert_eq(send(ctx, one, NUMBER, 0), CX_OK);
	cr_assert_eq(post(other, BEGIN, 1), CX_OK);
	if (!comes(&seen_count[0], 1, SOON_MS))
		results[0] = 1; /* nor did what was sent first */
	cx_io_flush();
	cr_assert(comes(&seen_count[0], 2, GATE_MS));
	atomic_store(&is_done, 1);
}
BEGINNER(send_then_post_to_another);

static void play_post_to(enum cx_placement placement)
{
	struct cx_actor_type type = pass_on_type;
	struct cx_ref ref;

	type.placement = placement;
	make(3);
	one = spawn(&noter, 1);
	for (uint64_t key = 0; key < 16; key++) { /* one that does not begin on worker 0 */
		other = spawn(&type, placement == CX_PLACE_IO ? 2 : key);
		if (cx__front(cx__actor_at(rt, other.slot))->home != 0)
			break;
	}
	ref = spawn(&send_then_post_to_another_type, 0);
	start();
	cr_assert_eq(post(ref, BEGIN, 0), CX_OK);
	finish();
	expect_in_order(0, 2);
}

Test(crossing, what_a_post_from_a_handler_leads_to_comes_after_what_it_sent)
{
	play_post_to(CX_PLACE_IO);
}

Test(crossing, so_it_does_when_an_actor_of_any_worker_gets_the_post)
{
	play_post_to(CX_PLACE_ANY);
}

/* ---- actors of any worker ---- */

static void pass_by(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	cr_assert_eq(send(ctx, one, NUMBER, CX_MSG_AS(struct number, msg)->value), CX_OK);
	atomic_store(&is_open, 1);
}
BEGINNER(pass_by);

/* After many quick turns, so that what `other` sends is kept back; then no other turn ends here. */
static void let_it_pass_then_hold(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint64_t turns = CX_MSG_AS(struct number, msg)->value;

	(void)state;
	if (turns == 20000)
		cr_assert_eq(send(ctx, other, BEGIN, 0), CX_OK);
	if (atomic_load(&is_open) == 0) {
		cr_assert_eq(send(ctx, cx_self(ctx), BEGIN, turns + 1), CX_OK);
		return;
	}
	atomic_store(&is_in_gate, 1);
	comes(&seen_count[0], 2, NEVER_MS);
	cx_io_flush();
	cr_assert(comes(&seen_count[0], 2, GATE_MS));
	atomic_store(&is_done, 1);
}
BEGINNER(let_it_pass_then_hold);

Test(crossing, what_an_actor_of_any_worker_sent_goes_before_another_worker_runs_it)
{
	struct cx_actor_type type = pass_by_type;
	struct cx_ref ref;

	type.placement = CX_PLACE_ANY;
	make(3);
	one = spawn(&noter, 1);
	for (uint64_t key = 0; key < 64; key++) {
		other = spawn(&type, key);
		if (cx__front(cx__actor_at(rt, other.slot))->home == 2)
			break;
	}
	ref = spawn(&let_it_pass_then_hold_type, 0);
	start();
	cr_assert_eq(post(ref, BEGIN, 0), CX_OK);
	cr_assert(comes(&is_in_gate, 1, GATE_MS));
	cr_assert_eq(post(other, BEGIN, 1), CX_OK); /* by worker 2 */
	finish();
	expect_in_order(0, 2);
}

static void flush_outside_then_send(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	cr_assert_eq(send(ctx, one, NUMBER, 0), CX_OK);
	atomic_store(&is_in_gate, 1);
	comes(&is_open, 1, GATE_MS); /* main flushes meanwhile */
	results[0] = atomic_load(&seen_count[0]);
	cx_io_flush();
	cr_assert(comes(&seen_count[0], 1, SOON_MS));
	atomic_store(&is_done, 1);
}
BEGINNER(flush_outside_then_send);

Test(crossing, a_flush_by_a_foreign_thread_does_nothing)
{
	struct cx_ref ref;

	make(2);
	cx_io_flush();
	one = spawn(&noter, 1);
	ref = spawn(&flush_outside_then_send_type, 0);
	start();
	cr_assert_eq(post(ref, BEGIN, 0), CX_OK);
	cr_assert(comes(&is_in_gate, 1, GATE_MS));
	cx_io_flush();
	sleep_ms(NEVER_MS);
	atomic_store(&is_open, 1);
	finish();
	cx_io_flush();
	cr_assert_eq(results[0], 0);
}
