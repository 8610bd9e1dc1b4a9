/* SPDX-License-Identifier: MIT */
/* From a post until the handler runs: on a worker that sleeps (the post wakes it), and on one that is
 * busy with other actors.  One worker on a core of its own, and a thread that posts from another one.
 *
 * And from a send until another worker runs the receiver, which any worker may run, while the sender goes on
 * with a long turn (steal.c). */
#include <cx/runtime.h>

#include "structures.h"

#define POSTS 400
#define PAUSE_US 100 /* enough to fall asleep */
#define BUSY_ACTORS 16
#define BUSY_NS 1000

enum { STAMP = CX_MSG_USER, SPIN, KEEP_BUSY };

struct stamp {
	struct cx_msg hdr;
	uint64_t sent_ns;
};

static struct cx_runtime *rt;
static struct cx_ref receiver;
static _Atomic uint64_t took_ns;
static _Atomic uint32_t stamps; /* that were handled */

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	(void)state;
	(void)conf;
	bench_pin(1); /* the worker */
	return CX_OK;
}

static void on_stamp(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	atomic_store(&took_ns, bench_now_ns() - CX_MSG_AS(struct stamp, msg)->sent_ns);
	atomic_fetch_add(&stamps, 1);
}

/* Always has a message to itself, and a microsecond of work for it. */
static void on_spin(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint64_t end_ns = bench_now_ns() + BUSY_NS;

	(void)state;
	(void)msg;
	while (bench_now_ns() < end_ns)
		;
	bench_must(cx_send(ctx, cx_self(ctx), cx_msg_new(ctx, SPIN, sizeof(struct cx_msg))) ==
	                   CX_OK,
	           "a send");
}

static const struct cx_handler receiver_handlers[] = {
	CX_ON(STAMP, struct stamp, on_stamp),
};
static const struct cx_actor_type receiver_type = { .name = "receiver",
	                                            .mailbox_cap = 8,
	                                            .start = start,
	                                            .handlers = receiver_handlers,
	                                            .handler_count = 1 };
static const struct cx_handler busy_handlers[] = { CX_ON(SPIN, struct cx_msg, on_spin) };
static const struct cx_actor_type busy_type = { .name = "busy",
	                                        .mailbox_cap = 8,
	                                        .batch_max = 1,
	                                        .handlers = busy_handlers,
	                                        .handler_count = 1 };

static void post_times(void *arg, uint64_t *ns, unsigned count)
{
	(void)arg;
	for (unsigned i = 0; i < count; i++) {
		struct stamp *m = (struct stamp *)(void *)cx_post_new(STAMP, sizeof(*m));

		bench_sleep_us(PAUSE_US);
		atomic_store(&took_ns, 0);
		m->sent_ns = bench_now_ns();
		bench_must(cx_post(rt, receiver, &m->hdr) == CX_OK, "a post");
		while ((ns[i] = atomic_load(&took_ns)) == 0)
			bench_pause();
	}
}

/* ---- behind a long turn ---- */

/* Goes on until somebody else has run the receiver. */
static void on_keep_busy(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint32_t before = atomic_load(&stamps);
	struct stamp *m;

	(void)state;
	(void)msg;
	m = CX_MSG_NEW(ctx, STAMP, struct stamp);
	m->sent_ns = bench_now_ns();
	bench_must(cx_send(ctx, receiver, &m->hdr) == CX_OK, "a send");
	while (atomic_load(&stamps) == before)
		bench_pause();
}

static const struct cx_handler helped_handlers[] = {
	CX_ON(STAMP, struct stamp, on_stamp),
	CX_ON(KEEP_BUSY, struct cx_msg, on_keep_busy),
};
static const struct cx_actor_type helped_type = { .name = "helped",
	                                          .mailbox_cap = 8,
	                                          .placement = CX_PLACE_ANY,
	                                          .handlers = helped_handlers,
	                                          .handler_count = 2 };

static void help_times(void *arg, uint64_t *ns, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		bench_sleep_us(4 * PAUSE_US);
		atomic_store(&took_ns, 0);
		bench_must(cx_post(rt, *(const struct cx_ref *)arg,
		                   cx_post_new(KEEP_BUSY, sizeof(struct cx_msg))) == CX_OK,
		           "a post");
		while ((ns[i] = atomic_load(&took_ns)) == 0)
			bench_sleep_us(PAUSE_US); /* the cores are the workers' */
	}
}

static void measure_help(void)
{
	const struct cx_runtime_conf conf = { .workers = 2, .watchdog_ms = 1000 };
	struct cx_ref sender;

	bench_unpin();
	bench_must(cx_runtime_new(&conf, &rt) == CX_OK &&
	                   cx_runtime_spawn(rt, &helped_type, NULL, 0, &sender) == CX_OK &&
	                   cx_runtime_spawn(rt, &helped_type, NULL, 0, &receiver) == CX_OK &&
	                   cx_runtime_start(rt) == CX_OK,
	           "a runtime");
	bench_times("wake", "behind a long turn", help_times, &sender, 2, POSTS);
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
}

static void boot(unsigned busy_actors)
{
	const struct cx_runtime_conf conf = { .workers = 1 };

	bench_must(cx_runtime_new(&conf, &rt) == CX_OK &&
	                   cx_runtime_spawn(rt, &receiver_type, NULL, 0, &receiver) == CX_OK &&
	                   cx_runtime_start(rt) == CX_OK,
	           "a runtime");
	for (unsigned i = 0; i < busy_actors; i++) {
		struct cx_ref busy;

		bench_must(cx_runtime_spawn(rt, &busy_type, NULL, i, &busy) == CX_OK &&
		                   cx_post(rt, busy,
		                           cx_post_new(SPIN, sizeof(struct cx_msg))) == CX_OK,
		           "an actor");
	}
	bench_sleep_us(10000);
}

/* Returns how often the worker slept. */
static uint64_t finish(void)
{
	struct cx_worker_stats stats;

	cx_runtime_worker_stats(rt, &stats, 1);
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
	return stats.sleeps;
}

int main(void)
{
	bench_pin(0);
	boot(0);
	bench_times("wake", "sleeping", post_times, NULL, 2, POSTS);
	bench_must(finish() >= (RUNS + 1) * POSTS * 9 / 10, "the worker did not sleep");
	boot(BUSY_ACTORS);
	bench_times("wake", "busy", post_times, NULL, 2, POSTS);
	bench_must(finish() < POSTS, "the worker was not busy");
	measure_help();
	return 0;
}
