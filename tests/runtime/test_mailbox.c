/* SPDX-License-Identifier: MIT */
/* The scheduling edge where the models (tests/models/mailbox.pml) found it broken. */
#include <criterion/criterion.h>
#include <time.h>

#include <cx/io.h>
#include <cx/log.h>
#include <cx/runtime.h>

#include "runtime/internal.h"

enum { POKE = CX_MSG_USER };

static _Atomic int downs, pokes, starts, is_armed;

static bool wait_until(const _Atomic int *value, int at_least)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	for (int i = 0; i < 20000 && atomic_load(value) < at_least; i++)
		nanosleep(&ms, NULL);
	return atomic_load(value) >= at_least;
}

static struct cx_runtime *boot(const struct cx_loop_ops *loop)
{
	const struct cx_runtime_conf conf = { .workers = 1, .loop = loop };
	struct cx_runtime *rt;

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	cr_assert_eq(cx_runtime_new(&conf, &rt), CX_OK);
	return rt;
}

static void finish(struct cx_runtime *rt)
{
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
}

static struct cx_ref spawn(struct cx_runtime *rt, const struct cx_actor_type *type)
{
	struct cx_ref ref;

	cr_assert_eq(cx_runtime_spawn(rt, type, NULL, 0, &ref), CX_OK);
	return ref;
}

/* ---- fails as it starts, with a STOP behind its START ---- */

static enum cx_err start_failing(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	(void)state;
	(void)conf;
	return CX_EIO;
}

static const struct cx_actor_type failing = { .name = "failing",
	                                      .mailbox_cap = 4,
	                                      .start = start_failing };

/* A supervisor that will not restart it (as one that is down itself). */
static enum cx_err start_parent(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct cx_worker *w = ctx->worker;
	struct cx_ref child;

	(void)state;
	(void)conf;
	cr_assert_eq(cx__spawn(w->rt, w, &failing, NULL, 0, cx_self(ctx), &child), CX_OK);
	cx_watch(ctx, child);
	return cx__deliver(w->rt, w, child, cx__msg_new(w, CX_MSG_STOP, sizeof(struct cx_msg)),
	                   CX__CONTROL);
}

static void note_down(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	atomic_fetch_add(&downs, 1);
}

static const struct cx_handler parent_handlers[] = {
	CX_ON(CX_MSG_DOWN, struct cx_msg_down, note_down),
};
static const struct cx_actor_type parent = { .name = "parent",
	                                     .mailbox_cap = 4,
	                                     .start = start_parent,
	                                     .handlers = parent_handlers,
	                                     .handler_count = CX_COUNTOF(parent_handlers) };

Test(mailbox, a_stop_drained_behind_the_failing_message_still_ends_the_actor, .timeout = 30)
{
	struct cx_runtime *rt = boot(NULL);

	spawn(rt, &parent);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	cr_assert(wait_until(&downs, 1), "parked for ever, its STOP unhandled");
	finish(rt);
}

/* ---- ended by a callback of the loop while queued ---- */

static struct cx_ref ended, other, keeper;
static struct cx_worker *worker;

static void note_poke(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	atomic_fetch_add(&pokes, 1);
}

static enum cx_err note_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)state;
	(void)conf;
	worker = cx_worker_of(ctx);
	atomic_fetch_add(&starts, 1);
	return CX_OK;
}

static const struct cx_handler io_handlers[] = {
	CX_ON(POKE, struct cx_msg, note_poke),
};
static const struct cx_actor_type io_actor = { .name = "io",
	                                       .mailbox_cap = 4,
	                                       .placement = CX_PLACE_IO,
	                                       .start = note_start,
	                                       .handlers = io_handlers,
	                                       .handler_count = CX_COUNTOF(io_handlers) };

static void poke(struct cx_ctx *ctx, struct cx_ref to)
{
	cr_assert_eq(cx_send(ctx, to, cx_msg_new(ctx, POKE, sizeof(struct cx_msg))), CX_OK);
}

/* Queues two actors, ends the first, spawns into its slot. */
static void callback(void)
{
	struct cx_ctx *ctx = cx_io_enter(worker, ended);
	struct cx_ref next;

	poke(ctx, ended);
	poke(ctx, other);
	cx_stop(ctx);
	cx_io_leave(ctx);
	ctx = cx_io_enter(worker, keeper);
	cr_assert_eq(cx_spawn(ctx, &io_actor, NULL, 0, &next), CX_OK);
	cr_assert_eq(next.slot, ended.slot, "else this shows nothing");
	poke(ctx, next);
	cx_io_leave(ctx);
}

static void poll_with_callback(void *loop, int timeout_ms)
{
	if (atomic_exchange(&is_armed, 0) != 0)
		callback();
	else
		cx__loop_ops.poll(loop, timeout_ms);
}

Test(mailbox, an_actor_ended_by_a_callback_while_queued_is_not_queued_twice, .timeout = 30)
{
	struct cx_loop_ops ops = cx__loop_ops;
	struct cx_runtime *rt;

	ops.poll = poll_with_callback;
	rt = boot(&ops);
	ended = spawn(rt, &io_actor);
	other = spawn(rt, &io_actor);
	keeper = spawn(rt, &io_actor);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	cr_assert(wait_until(&starts, 3));
	atomic_store(&is_armed, 1);
	cr_assert_eq(cx_post(rt, keeper, cx_post_new(POKE, sizeof(struct cx_msg))), CX_OK);
	cr_assert(wait_until(&starts, 4), "the new actor did not start");
	cr_assert(wait_until(&pokes, 3), "%d of 3: the other one fell out of the run queue",
	          atomic_load(&pokes));
	finish(rt);
}

/* ---- one worker: who finds a mailbox full sends to himself and tries again ---- */

enum { TRY_AGAIN = POKE + 1 };

static _Atomic int tries, taken;
static struct cx_ref tight;

static void note_taken(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	atomic_fetch_add(&taken, 1);
}

static void push_on(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	atomic_fetch_add(&tries, 1);
	if (cx_send(ctx, tight, cx_msg_new(ctx, POKE, sizeof(struct cx_msg))) == CX_OK &&
	    atomic_load(&tries) >= 200)
		return;
	cr_assert_eq(cx_send(ctx, cx_self(ctx), cx_msg_new(ctx, TRY_AGAIN, sizeof(*msg))),
	             CX_OK);
}

static const struct cx_handler tight_handlers[] = {
	CX_ON(POKE, struct cx_msg, note_taken),
};
static const struct cx_actor_type tight_type = { .name = "tight",
	                                         .mailbox_cap = 1,
	                                         .placement = CX_PLACE_IO,
	                                         .handlers = tight_handlers,
	                                         .handler_count = 1 };
static const struct cx_handler pusher_handlers[] = {
	CX_ON(TRY_AGAIN, struct cx_msg, push_on),
};
static const struct cx_actor_type pusher = { .name = "pusher",
	                                     .mailbox_cap = 4,
	                                     .placement = CX_PLACE_IO,
	                                     .handlers = pusher_handlers,
	                                     .handler_count = 1 };

Test(mailbox, a_message_to_oneself_waits_for_the_turns_of_others, .timeout = 30)
{
	struct cx_runtime *rt = boot(NULL);
	struct cx_ref p;

	tight = spawn(rt, &tight_type);
	p = spawn(rt, &pusher);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	cr_assert_eq(cx_post(rt, p, cx_post_new(TRY_AGAIN, sizeof(struct cx_msg))), CX_OK);
	cr_assert(wait_until(&tries, 200));
	cr_assert(wait_until(&taken, 100), "%d of %d tries got through: it only tried",
	          atomic_load(&taken), atomic_load(&tries));
	finish(rt);
}
