/* SPDX-License-Identifier: MIT */
/* Messages between actors of one worker: order, limit and end on the short way (mailbox.c, turn.c). */
#include <cx/runtime.h>

#include <criterion/criterion.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include <cx/log.h>

enum { BEGIN = CX_MSG_USER, NUMBER, LAST };

#define COUNT 10
#define BATCH 4
#define LATE 100 /* sent by the receiver as it handles the first */

struct number {
	struct cx_msg hdr;
	int value;
};

static struct cx_ref receiver, first_one;
static int seen[2 * COUNT], seen_count; /* the worker's until is_done */
static enum cx_err results[2];
static _Atomic int is_done;

static enum cx_err send(struct cx_ctx *ctx, struct cx_ref to, uint32_t type, int value)
{
	struct number *m = CX_MSG_NEW(ctx, type, struct number);

	m->value = value;
	return cx_send(ctx, to, &m->hdr);
}

static struct cx_runtime *workers(unsigned count)
{
	const struct cx_runtime_conf conf = { .workers = count };
	struct cx_runtime *rt = NULL;

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	cr_assert_eq(cx_runtime_new(&conf, &rt), CX_OK);
	return rt;
}

/* When is_done. */
static void finish(struct cx_runtime *rt)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	for (int i = 0; i < 20000 && atomic_load(&is_done) == 0; i++)
		nanosleep(&ms, NULL);
	cr_assert(atomic_load(&is_done));
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
}

/* Runs the two types on one worker, with BEGIN for the sender, until is_done. */
static void play(const struct cx_actor_type *sender_type,
                 const struct cx_actor_type *receiver_type)
{
	struct cx_runtime *rt = workers(1);
	struct cx_ref sender;

	cr_assert_eq(cx_runtime_spawn(rt, receiver_type, NULL, 0, &receiver), CX_OK);
	cr_assert_eq(cx_runtime_spawn(rt, sender_type, NULL, 0, &sender), CX_OK);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	cr_assert_eq(cx_post(rt, sender, cx_post_new(BEGIN, sizeof(struct cx_msg))), CX_OK);
	finish(rt);
}

/* ---- order ---- */

static void send_all(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	for (int i = 1; i <= COUNT; i++)
		cr_assert_eq(send(ctx, receiver, NUMBER, i), CX_OK);
}

static void note_number(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const int value = CX_MSG_AS(struct number, msg)->value;

	(void)state;
	seen[seen_count++] = value;
	if (value == 1)
		cr_assert_eq(send(ctx, cx_self(ctx), NUMBER, LATE), CX_OK);
	if (value == LATE)
		atomic_store(&is_done, 1);
}

static const struct cx_handler sender_handlers[] = {
	CX_ON(BEGIN, struct cx_msg, send_all),
};
static const struct cx_actor_type sender = {
	.name = "sender", .mailbox_cap = 4, .handlers = sender_handlers, .handler_count = 1
};
static const struct cx_handler receiver_handlers[] = {
	CX_ON(NUMBER, struct number, note_number),
};
static const struct cx_actor_type in_batches = { .name = "in_batches",
	                                         .mailbox_cap = 2 * COUNT,
	                                         .batch_max = BATCH,
	                                         .handlers = receiver_handlers,
	                                         .handler_count = 1 };

TestSuite(hand_over, .timeout = 60);

Test(hand_over, what_a_turn_leaves_comes_before_what_was_sent_meanwhile)
{
	play(&sender, &in_batches);
	cr_assert_eq(seen_count, COUNT + 1);
	for (int i = 0; i < COUNT; i++)
		cr_assert_eq(seen[i], i + 1, "%d at %d", seen[i], i);
	cr_assert_eq(seen[COUNT], LATE);
}

/* ---- causal order ---- */

static _Atomic int rounds_left;

/* Lives with the receiver. */
static void send_second(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	cr_assert_eq(send(ctx, receiver, NUMBER, 2), CX_OK);
	cr_assert_eq(send(ctx, receiver, NUMBER, LATE), CX_OK);
}

struct first {
	struct cx_ref middle;
};

static enum cx_err keep_middle(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	((struct first *)state)->middle = *(const struct cx_ref *)conf;
	return CX_OK;
}

static void send_first(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)msg;
	cr_assert_eq(send(ctx, receiver, NUMBER, 1), CX_OK);
	cr_assert_eq(cx_send(ctx, ((struct first *)state)->middle,
	                     CX_MSG_NEW(ctx, BEGIN, struct cx_msg)),
	             CX_OK);
}

static void note_in_order(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	seen[seen_count++] = CX_MSG_AS(struct number, msg)->value;
	(void)state;
	if (seen_count < 3)
		return;
	cr_assert_eq(seen[0], 1, "%d came first", seen[0]);
	cr_assert_eq(seen[1], 2);
	cr_assert_eq(seen[2], LATE);
	seen_count = 0;
	if (atomic_fetch_sub(&rounds_left, 1) == 1)
		atomic_store(&is_done, 1);
	else
		cr_assert_eq(cx_send(ctx, first_one, CX_MSG_NEW(ctx, BEGIN, struct cx_msg)),
		             CX_OK);
}

static const struct cx_handler first_handlers[] = { CX_ON(BEGIN, struct cx_msg, send_first) };
static const struct cx_handler second_handlers[] = { CX_ON(BEGIN, struct cx_msg, send_second) };
static const struct cx_handler note_handlers[] = { CX_ON(NUMBER, struct number,
	                                                 note_in_order) };

/* All but the first sender on worker 1.  A session's end that came from the connection's own worker once
 * overtook the connection's arrival, and the connection outlived its session. */
Test(hand_over, what_led_to_a_message_of_this_worker_comes_before_it)
{
	const struct cx_actor_type first = { .name = "first",
		                             .placement = CX_PLACE_IO,
		                             .mailbox_cap = 4,
		                             .state_size = sizeof(struct first),
		                             .conf_size = sizeof(struct cx_ref),
		                             .start = keep_middle,
		                             .handlers = first_handlers,
		                             .handler_count = 1 };
	const struct cx_actor_type middle = { .name = "middle",
		                              .placement = CX_PLACE_IO,
		                              .mailbox_cap = 4,
		                              .handlers = second_handlers,
		                              .handler_count = 1 };
	const struct cx_actor_type notes = { .name = "notes",
		                             .placement = CX_PLACE_IO,
		                             .mailbox_cap = 4,
		                             .handlers = note_handlers,
		                             .handler_count = 1 };
	struct cx_runtime *rt = workers(2);
	struct cx_ref second;

	atomic_store(&rounds_left, 100000);
	cr_assert_eq(cx_runtime_spawn(rt, &notes, NULL, 1, &receiver), CX_OK);
	cr_assert_eq(cx_runtime_spawn(rt, &middle, NULL, 1, &second), CX_OK);
	cr_assert_eq(cx_runtime_spawn(rt, &first, &second, 0, &first_one), CX_OK);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	cr_assert_eq(cx_post(rt, first_one, cx_post_new(BEGIN, sizeof(struct cx_msg))), CX_OK);
	finish(rt);
}

/* ---- control and mail that came together ---- */

static enum cx_err down_reason;

static void stop_now(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	cx_stop(ctx);
}

static void watch_then_end(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	cx_watch(ctx, receiver);
	cr_assert_eq(send(ctx, receiver, LAST, 0), CX_OK);
}

static void note_down(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	down_reason = CX_MSG_AS(struct cx_msg_down, msg)->reason;
	atomic_store(&is_done, 1);
}

static const struct cx_handler watched_handlers[] = {
	CX_ON(LAST, struct number, stop_now),
};
static const struct cx_handler watcher_handlers[] = {
	CX_ON(BEGIN, struct cx_msg, watch_then_end),
	CX_ON(CX_MSG_DOWN, struct cx_msg_down, note_down),
};

/* Else the watch finds nobody, and says CX_EGONE of one who ended in order. */
Test(hand_over, control_goes_before_the_mail_sent_after_it)
{
	const struct cx_actor_type watched = { .name = "watched",
		                               .placement = CX_PLACE_IO,
		                               .mailbox_cap = 4,
		                               .handlers = watched_handlers,
		                               .handler_count = 1 };
	const struct cx_actor_type watcher = { .name = "watcher",
		                               .placement = CX_PLACE_IO,
		                               .mailbox_cap = 4,
		                               .handlers = watcher_handlers,
		                               .handler_count = 2 };
	struct cx_runtime *rt = workers(2);
	struct cx_ref ref;

	cr_assert_eq(cx_runtime_spawn(rt, &watched, NULL, 0, &receiver), CX_OK);
	cr_assert_eq(cx_runtime_spawn(rt, &watcher, NULL, 1, &ref), CX_OK);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	cr_assert_eq(cx_post(rt, ref, cx_post_new(BEGIN, sizeof(struct cx_msg))), CX_OK);
	finish(rt);
	cr_assert_eq(down_reason, CX_OK, "%s", cx_err_name(down_reason));
}

/* ---- limit ---- */

static void send_two_to_myself(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	if (CX_MSG_AS(struct number, msg)->value == 0) {
		atomic_store(&is_done, 1);
		return;
	}
	results[0] = send(ctx, cx_self(ctx), NUMBER, 0);
	results[1] = send(ctx, cx_self(ctx), NUMBER, 0);
}

static void send_one(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	cr_assert_eq(send(ctx, receiver, NUMBER, 1), CX_OK);
}

static const struct cx_handler one_handlers[] = {
	CX_ON(BEGIN, struct cx_msg, send_one),
};
static const struct cx_actor_type one_sender = {
	.name = "one_sender", .mailbox_cap = 4, .handlers = one_handlers, .handler_count = 1
};
static const struct cx_handler narrow_handlers[] = {
	CX_ON(NUMBER, struct number, send_two_to_myself),
};
static const struct cx_actor_type narrow = {
	.name = "narrow", .mailbox_cap = 1, .handlers = narrow_handlers, .handler_count = 1
};

Test(hand_over, a_message_being_handled_is_not_in_the_mailbox_any_more)
{
	play(&one_sender, &narrow);
	cr_assert_eq(results[0], CX_OK);
	cr_assert_eq(results[1], CX_EFULL);
}

/* ---- end ---- */

static void end_it_then_send(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	if (msg->type == BEGIN) {
		cx_watch(ctx, receiver);
		cr_assert_eq(send(ctx, receiver, LAST, 0), CX_OK);
		return;
	}
	results[0] = send(ctx, receiver, NUMBER, 1); /* its slot is free: CX_MSG_DOWN came */
	atomic_store(&is_done, 1);
}

static void stop(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	cx_stop(ctx);
}

static const struct cx_handler ender_handlers[] = {
	CX_ON(BEGIN, struct cx_msg, end_it_then_send),
	CX_ON(CX_MSG_DOWN, struct cx_msg_down, end_it_then_send),
};
static const struct cx_actor_type ender = { .name = "ender",
	                                    .mailbox_cap = 4,
	                                    .handlers = ender_handlers,
	                                    .handler_count = CX_COUNTOF(ender_handlers) };
static const struct cx_handler mortal_handlers[] = {
	CX_ON(LAST, struct number, stop),
};
static const struct cx_actor_type mortal = {
	.name = "mortal", .mailbox_cap = 4, .handlers = mortal_handlers, .handler_count = 1
};

Test(hand_over, a_send_to_an_actor_that_ended_on_this_worker_says_so)
{
	play(&ender, &mortal);
	cr_assert_eq(results[0], CX_EGONE);
}

Test(hand_over, a_type_of_message_beyond_the_limit_ends_the_process, .signal = SIGABRT)
{
	cx_post_new(CX_MSG_LIMIT, sizeof(struct cx_msg));
}

static void make_a_wrong_type(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	cx_msg_drop(cx_msg_new(ctx, CX_MSG_LIMIT, sizeof(struct cx_msg)));
	atomic_store(&is_done, 1);
}

static const struct cx_handler wrong_handlers[] = {
	CX_ON(BEGIN, struct cx_msg, make_a_wrong_type),
};
static const struct cx_actor_type wrong = {
	.name = "wrong", .mailbox_cap = 4, .handlers = wrong_handlers, .handler_count = 1
};

Test(hand_over, a_type_of_message_beyond_the_limit_ends_the_process_in_a_handler_too,
     .signal = SIGABRT)
{
	play(&wrong, &mortal);
}
