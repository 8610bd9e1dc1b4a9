/* SPDX-License-Identifier: MIT */
/* A traced message's way: what it causes is in it, nothing else is. */
#include <cx/trace.h>

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cx/log.h>
#include <cx/runtime.h>

#include "support/wait.h"

enum { BEGIN = CX_MSG_USER, QUIET, ASK, ANSWER, JOB, FLUSHED, TICK };

static const char *const names[] = {
	"begin", "quiet", "ask", "answer", "job", "flushed", "tick"
};

static struct cx_ref first, second;
static _Atomic int handled[CX_MSG_LIMIT];

static void wait_handled(uint32_t type, int n)
{
	for (int i = 0; i < 20000 && atomic_load(&handled[type]) < n; i++)
		sleep_ms(1);
	cr_assert_geq(atomic_load(&handled[type]), n);
}

static void note(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	atomic_fetch_add(&handled[msg->type], 1);
}

static void ask_second(struct cx_ctx *ctx)
{
	uint64_t corr;

	cr_assert_eq(
		cx_ask(ctx, second, cx_msg_new(ctx, ASK, sizeof(struct cx_msg)), 20000, &corr),
		CX_OK);
}

static void begin(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	cx_trace_mark(ctx);
	cx_timer_arm(ctx, state, 1, TICK);
	ask_second(ctx);
	note(ctx, state, msg);
}

static void quiet(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	ask_second(ctx);
	note(ctx, state, msg);
}

static void work(struct cx_msg *job)
{
	(void)job;
}

static void answer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	cx_reply(ctx, msg, cx_msg_new(ctx, ANSWER, sizeof(struct cx_msg)));
	cr_assert_eq(cx_offload(ctx, cx_msg_new(ctx, JOB, sizeof(struct cx_msg)), work), CX_OK);
	note(ctx, state, msg);
}

/* What was gathered in the turn goes out at its end. */
static void flush(struct cx_ctx *ctx, void *state)
{
	bool *has_flushed = state;

	if (*has_flushed || atomic_load(&handled[ASK]) == 0)
		return;
	*has_flushed = true;
	cr_assert_eq(cx_send(ctx, first, cx_msg_new(ctx, FLUSHED, sizeof(struct cx_msg))),
	             CX_OK);
}

static const struct cx_handler first_handlers[] = {
	CX_ON(BEGIN, struct cx_msg, begin),     CX_ON(QUIET, struct cx_msg, quiet),
	CX_ON(ANSWER, struct cx_msg, note),     CX_ON(FLUSHED, struct cx_msg, note),
	CX_ON(TICK, struct cx_msg_timer, note),
};
static const struct cx_actor_type first_type = { .name = "first",
	                                         .state_size = sizeof(struct cx_timer),
	                                         .mailbox_cap = 64,
	                                         .handlers = first_handlers,
	                                         .handler_count = CX_COUNTOF(first_handlers) };
static const struct cx_handler second_handlers[] = {
	CX_ON(ASK, struct cx_msg, answer),
	CX_ON(JOB, struct cx_msg, note),
};
static const struct cx_actor_type second_type = { .name = "second",
	                                          .state_size = sizeof(bool),
	                                          .mailbox_cap = 64,
	                                          .batch_end = flush,
	                                          .handlers = second_handlers,
	                                          .handler_count =
	                                                  CX_COUNTOF(second_handlers) };

static struct cx_runtime *start(unsigned ways, unsigned events)
{
	const struct cx_runtime_conf conf = { .workers = 2,
		                              .msg_names = names,
		                              .msg_name_count = CX_COUNTOF(names) };
	struct cx_runtime *rt = NULL;

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	cr_assert_eq(cx_runtime_new(&conf, &rt), CX_OK);
	if (ways > 0)
		cr_assert_eq(cx_runtime_trace(rt, ways, events), CX_OK);
	cr_assert_eq(cx_runtime_spawn(rt, &first_type, NULL, 0, &first), CX_OK);
	cr_assert_eq(cx_runtime_spawn(rt, &second_type, NULL, 1, &second), CX_OK);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	return rt;
}

static void post(struct cx_runtime *rt, uint32_t type, int answers)
{
	cr_assert_eq(cx_post(rt, first, cx_post_new(type, sizeof(struct cx_msg))), CX_OK);
	wait_handled(ANSWER, answers);
	wait_handled(JOB, answers);
	wait_handled(FLUSHED, 1);
	sleep_ms(20); /* the turns are over */
}

/* The trace as text, to be freed. */
static char *end(struct cx_runtime *rt)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	cx_runtime_stop(rt);
	cr_assert_eq(cx_runtime_trace_write(rt, out), CX_OK);
	fclose(out);
	cx_runtime_free(rt);
	return text;
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	for (; (text = strstr(text, what)) != NULL; text++)
		n++;
	return n;
}

static const char *complete(const char *text, const char *message, const char *kind)
{
	char what[128];

	snprintf(what, sizeof(what), "{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"X\"", message,
	         kind);
	return strstr(text, what);
}

TestSuite(trace, .timeout = 60);

Test(trace, follows_asks_answers_offload_and_the_end_of_the_batch)
{
	struct cx_runtime *rt = start(1, 100);
	char *text;

	post(rt, BEGIN, 1);
	text = end(rt);
	cr_assert(complete(text, "begin", "first") != NULL, "%s", text);
	cr_assert(complete(text, "ask", "second") != NULL, "%s", text);
	cr_assert(complete(text, "answer", "first") != NULL, "%s", text);
	cr_assert(complete(text, "job", "second") != NULL, "%s", text);
	cr_assert(complete(text, "batch_end", "second") != NULL, "%s", text);
	cr_assert(complete(text, "flushed", "first") != NULL, "%s", text);
	cr_assert(complete(text, "begin", "first") < complete(text, "ask", "second"));
	cr_assert(complete(text, "ask", "second") < complete(text, "answer", "first"));
	cr_assert_eq(count(text, "\"ph\":\"s\""), 4, "%s", text);
	cr_assert_eq(count(text, "\"ph\":\"f\""), 4, "each flow arrives: %s", text);
	free(text);
}

Test(trace, does_not_follow_timers)
{
	struct cx_runtime *rt = start(1, 100);
	char *text;

	post(rt, BEGIN, 1);
	wait_handled(TICK, 1);
	text = end(rt);
	cr_assert_eq(count(text, "\"tick\""), 0, "%s", text);
	free(text);
}

Test(trace, has_nothing_of_messages_that_were_not_marked)
{
	struct cx_runtime *rt = start(1, 100);
	char *text;

	post(rt, QUIET, 1);
	text = end(rt);
	cr_assert_str_eq(text, "[\n]\n");
	free(text);
}

Test(trace, begins_no_more_ways_than_asked_for)
{
	struct cx_runtime *rt = start(2, 100);
	char *text;

	for (int i = 1; i <= 5; i++)
		post(rt, BEGIN, i);
	text = end(rt);
	cr_assert_eq(count(text, "\"name\":\"begin\",\"cat\":\"first\",\"ph\":\"X\""), 2, "%s",
	             text);
	cr_assert_eq(count(text, "\"name\":\"ask\",\"cat\":\"second\",\"ph\":\"X\""), 2, "%s",
	             text);
	free(text);
}

Test(trace, drops_events_past_its_bound)
{
	struct cx_runtime *rt = start(100, 7);
	char *text;

	for (int i = 1; i <= 10; i++)
		post(rt, BEGIN, i);
	text = end(rt);
	/* A handled event is one or two entries: itself, and the end of its flow. */
	cr_assert_leq(count(text, "\"ph\":\"X\"") + count(text, "\"ph\":\"s\""), 7, "%s", text);
	cr_assert_geq(count(text, "\"ph\":\"X\""), 1);
	free(text);
}

Test(trace, is_empty_when_off)
{
	struct cx_runtime *rt = start(0, 0);
	char *text;

	post(rt, BEGIN, 1);
	text = end(rt);
	cr_assert_str_eq(text, "[\n]\n");
	free(text);
}

Test(trace, refuses_a_bound_of_nothing)
{
	const struct cx_runtime_conf conf = { .workers = 1 };
	struct cx_runtime *rt;

	cr_assert_eq(cx_runtime_new(&conf, &rt), CX_OK);
	cr_assert_eq(cx_runtime_trace(rt, 0, 10), CX_EINVAL);
	cr_assert_eq(cx_runtime_trace(rt, 1, 0), CX_EINVAL);
	cx_runtime_free(rt);
}
