/* SPDX-License-Identifier: MIT */
/* The figures of actors, workers and slow handlers: what /metrics says is what `construct top` is told.  Each is
 * first made to be something else than 0, as far as a test can; and both are read while nothing moves. */
#include "actors/metrics.h"

#include <cx/buf.h>
#include <cx/log.h>
#include <cx/runtime.h>

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io/top_socket.h"
#include "support/wait.h"

enum { HOLD = CX_MSG_USER, NOTE, END };
enum { CAP = 4, NOTES = 10, LATE = 3 };

static const char *const names[] = { "hold", "note", "end" };

static struct cx_runtime *rt;
static struct top_socket *top;
static char path[64], error_text[TOP_ERROR_MAX];
static struct top_figures figures;
static struct cx_ref held, gone;
static _Atomic int inside, handled, ended, is_open;

static void on_hold(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	atomic_fetch_add(&inside, 1);
	wait_for(&is_open, 1);
}

static void on_note(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	atomic_fetch_add(&handled, 1);
}

static void on_end(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	cx_stop(ctx);
}

static void stop(struct cx_ctx *ctx, void *state)
{
	(void)ctx;
	(void)state;
	atomic_fetch_add(&ended, 1);
}

static const struct cx_handler holder_handlers[] = { CX_ON(HOLD, struct cx_msg, on_hold),
	                                             CX_ON(NOTE, struct cx_msg, on_note) };
static const struct cx_actor_type holder = {
	.name = "holder",
	.mailbox_cap = CAP,
	.placement = CX_PLACE_IO,
	.handlers = holder_handlers,
	.handler_count = CX_COUNTOF(holder_handlers),
};
static const struct cx_handler leaver_handlers[] = { CX_ON(END, struct cx_msg, on_end) };
static const struct cx_actor_type leaver = {
	.name = "leaver",
	.mailbox_cap = CAP,
	.placement = CX_PLACE_IO,
	.stop = stop,
	.handlers = leaver_handlers,
	.handler_count = CX_COUNTOF(leaver_handlers),
};

static enum cx_err post(struct cx_ref to, uint32_t type)
{
	return cx_post(rt, to, cx_post_new(type, sizeof(struct cx_msg)));
}

static void start(void)
{
	const struct cx_runtime_conf conf = { .workers = 2,
		                              .watchdog_ms = 20,
		                              .msg_names = names,
		                              .msg_name_count = CX_COUNTOF(names) };

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	snprintf(path, sizeof(path), "/tmp/cx-test-metrics-%ld.sock", (long)getpid());
	cr_assert_eq(cx_runtime_new(&conf, &rt), CX_OK);
	cr_assert_eq(cx_runtime_spawn(rt, &holder, NULL, 0, &held), CX_OK);
	cr_assert_eq(cx_runtime_spawn(rt, &leaver, NULL, 1, &gone), CX_OK);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	cr_assert_eq(top_socket_open(rt, path, "1.0", &top, error_text), CX_OK, "%s",
	             error_text);
}

static void finish(void)
{
	atomic_store(&is_open, 1);
	top_socket_close(top);
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
}

TestSuite(metrics, .init = start, .fini = finish, .timeout = 120);

/* ---- one picture ---- */

/* The next turn is the first after a poll: those are timed (turn.c). */
static void wait_asleep(void)
{
	struct cx_worker_stats w = { 0 };

	while (w.sleeps == 0) {
		sleep_ms(1);
		(void)cx_runtime_worker_stats(rt, &w, 1);
	}
}

/* For free(). */
static char *text_now(void)
{
	static const struct metrics_kafka no_kafka;
	struct cx_buf *const buf = metrics_text(rt, &no_kafka);
	char *const text = calloc(1, cx_buf_len(buf) + 1);

	cr_assert_not_null(text);
	memcpy(text, cx_buf_bytes(buf), cx_buf_len(buf));
	cx_buf_unref(buf);
	return text;
}

/* The number behind a family and its labels. */
static uint64_t value(const char *text, const char *fmt, const char *who)
{
	char key[160], *end;
	const char *at;
	uint64_t number;

	snprintf(key, sizeof(key), fmt, who);
	snprintf(key + strlen(key), sizeof(key) - strlen(key), " ");
	at = strstr(text, key);
	cr_assert_not_null(at, "/metrics has no %s", key);
	number = strtoull(at + strlen(key), &end, 10);
	cr_assert(*end == '\n', "%s is no number", key);
	return number;
}

/* Does no figure of an actor or, with is_all, of a worker or a slow handler differ? */
static bool is_same(const char *a, const char *b, bool is_all)
{
	const char *const begin_a = strstr(a, "# HELP construct_actors ");
	const char *const begin_b = strstr(b, "# HELP construct_actors ");
	const char *const slow = strstr(begin_a, "# HELP construct_slow_handlers_total ");

	return is_all ? strcmp(begin_a, begin_b) == 0
	              : strncmp(begin_a, begin_b, (size_t)(slow - begin_a)) == 0;
}

/* Figures of top between two texts that are the same: then they are of one moment. */
static char *picture(bool is_all)
{
	for (;;) {
		char *const before = text_now(), *after;

		cr_assert(top_socket_fetch(path, &figures, error_text), "%s", error_text);
		after = text_now();
		if (is_same(before, after, is_all)) {
			free(before);
			return after;
		}
		free(before);
		free(after);
		sleep_ms(1);
	}
}

static const struct top_kind *kind(const char *name)
{
	for (size_t i = 0; i < figures.kind_count; i++)
		if (strcmp(figures.kinds[i].name, name) == 0)
			return &figures.kinds[i];
	cr_assert(false, "top has no %s", name);
	return NULL;
}

static void expect(uint64_t of_top, uint64_t of_metrics, const char *what, const char *who)
{
	cr_assert_eq(of_top, of_metrics, "%s of %s: %" PRIu64 " and %" PRIu64, what, who,
	             of_top, of_metrics);
}

static void expect_kind(const char *text, const char *name)
{
	const struct top_kind *k = kind(name);

#define SAME(field, family) \
	expect(k->field, value(text, "construct_" family "{kind=\"%s\"}", name), #field, name)
	SAME(live, "actors");
	SAME(messages, "actor_messages_total");
	SAME(refused, "actor_refused_total");
	SAME(dead_letters, "actor_dead_letters_total");
	SAME(depth, "actor_mailbox");
	SAME(depth_max, "actor_mailbox_max");
	SAME(slow, "actor_slow_handlers_total");
	SAME(busy_ns, "actor_busy_nanoseconds_total");
#undef SAME
	expect(k->handler_p50_ns,
	       value(text, "construct_actor_handler_nanoseconds{kind=\"%s\",quantile=\"0.5\"}",
	             name),
	       "p50", name);
	expect(k->handler_p99_ns,
	       value(text, "construct_actor_handler_nanoseconds{kind=\"%s\",quantile=\"0.99\"}",
	             name),
	       "p99", name);
}

static void expect_workers(const char *text)
{
	cr_assert_eq(figures.worker_count, 2);
	for (size_t i = 0; i < 2; i++) {
		const struct top_worker *w = &figures.workers[i];
		const char *const index = i == 0 ? "0" : "1";

#define SAME(field, family)                                                                 \
	expect(w->field, value(text, "construct_" family "{worker=\"%s\"}", index), #field, \
	       w->name)
		SAME(run_queue, "worker_run_queue");
		SAME(busy_ns, "worker_busy_nanoseconds_total");
		SAME(steals, "worker_steals_total");
		SAME(wakeups, "worker_wakeups_total");
		SAME(turns, "worker_turns_total");
		SAME(sleeps, "worker_sleeps_total");
#undef SAME
	}
}

/* Others may be slow too, on a machine that stands still. */
static const struct top_slow *slow_hold(void)
{
	for (size_t i = 0; i < figures.slow_count; i++)
		if (strcmp(figures.slow[i].kind, "holder") == 0 &&
		    strcmp(figures.slow[i].message, "hold") == 0)
			return &figures.slow[i];
	cr_assert_fail("the held handler is not among the slow ones");
	return NULL;
}

Test(metrics, says_of_actors_workers_and_slow_handlers_what_top_is_told)
{
	const struct top_slow *slow;
	uint64_t refused = 0, taken = 0;
	char *text;

	cr_assert_eq(post(gone, END), CX_OK);
	wait_for(&ended, 1);
	for (int i = 0; i < LATE;
	     i++) /* a letter that comes while it ends is not counted yet */
		while (post(gone, END) != CX_EGONE)
			sleep_ms(1);
	wait_asleep();
	cr_assert_eq(post(held, HOLD), CX_OK);
	wait_for(&inside, 1);
	for (int i = 0; i < NOTES; i++) {
		const enum cx_err err = post(held, NOTE);

		cr_assert(err == CX_OK || err == CX_EFULL);
		if (err == CX_OK)
			taken++;
		else
			refused++;
	}
	cr_assert_gt(refused, 0);
	cr_assert_gt(taken, 0);
	while (cx_runtime_slow_handlers(rt, NULL, 0) == 0)
		sleep_ms(1);

	/* while it is held: the mailbox now, once the watchdog has been there */
	do {
		text = picture(false);
		expect_kind(text, "holder");
		free(text);
	} while (kind("holder")->depth < taken);
	cr_assert_leq(kind("holder")->depth, taken + 2, "HOLD, maybe START");

	atomic_store(&is_open, 1);
	wait_for(&handled, (int)taken);
	do { /* its turn is over too, and the mailboxes were looked at since */
		text = picture(true);
		expect_kind(text, "holder");
		expect_kind(text, "leaver");
		expect_workers(text);
		slow = slow_hold();
		expect(slow->count,
		       value(text,
		             "construct_slow_handlers_total{kind=\"%s\",message=\"hold\"}",
		             "holder"),
		       "count", "hold");
		expect(slow->longest_ms,
		       value(text,
		             "construct_slow_handler_max_milliseconds{kind=\"%s\",message="
		             "\"hold\"}",
		             "holder"),
		       "longest", "hold");
		free(text);
	} while (kind("holder")->depth > 0 || kind("holder")->messages < taken + 2);

	cr_assert_eq(kind("holder")->live, 1);
	cr_assert_eq(kind("holder")->messages, taken + 2, "START and HOLD");
	cr_assert_eq(kind("holder")->refused, refused);
	cr_assert_geq(kind("holder")->depth_max, 1);
	cr_assert_geq(kind("holder")->slow, 1);
	cr_assert_geq(kind("holder")->handler_p99_ns, 20000000, "the held one was of 20 ms");
	cr_assert_gt(kind("holder")->handler_p50_ns, 0);
	cr_assert_eq(kind("leaver")->live, 0);
	cr_assert_geq(kind("leaver")->dead_letters, LATE);
	cr_assert_eq(slow->count, 1);
	cr_assert_geq(slow->longest_ms, 20);
	cr_assert_gt(figures.workers[0].busy_ns, 20000000);
	cr_assert_gt(figures.workers[0].turns, 0);
}
