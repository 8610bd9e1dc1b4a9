/* SPDX-License-Identifier: MIT */
/* Publish and subscribe. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "support/redis_peer.h"

static const char *const channels[] = { "first", "second" };

static struct redis_server server;
static struct redis_bench bench;

static void setup(void)
{
	redis_server_prepare(&server);
	redis_bench_defaults(&bench, server.port);
	bench.sub.channels = channels;
	bench.sub.channel_count = 2;
}

static void teardown(void)
{
	redis_bench_stop(&bench);
	redis_server_stop(&server);
}

TestSuite(redis_sub, .init = setup, .fini = teardown, .timeout = 60);

static void expect_subscribed(void)
{
	const struct redis_event e = redis_bench_next();

	cr_assert_eq(e.type, (uint32_t)REDIS_SUBSCRIBED, "type %u", e.type);
	cr_assert_eq(e.probe, REDIS_PROBES);
}

/* The answer to the publisher and the push, whichever is first. */
static void publish(const char *words, uint32_t channel, const char *text)
{
	bool has_answer = false, has_push = false;

	redis_bench_ask(&bench, 1, 10000, words);
	while (!has_answer || !has_push) {
		const struct redis_event e = redis_bench_next();

		if (e.type == REDIS_PUSH) {
			cr_assert_eq(e.channel, channel);
			cr_assert_str_eq(e.text, text);
			has_push = true;
		} else {
			cr_assert_str_eq(e.text, ":1");
			has_answer = true;
		}
	}
}

Test(redis_sub, pushes_come_with_their_channel_after_the_notice)
{
	redis_server_run(&server);
	redis_bench_start(&bench);
	expect_subscribed();
	publish("PUBLISH first one", 0, "one");
	publish("PUBLISH second two", 1, "two");
	cr_assert_str_eq(redis_bench_call(&bench, "PUBLISH third three"), ":0");
	cr_assert_not(redis_bench_comes(100));
}

Test(redis_sub, a_killed_connection_is_subscribed_again_with_a_new_notice)
{
	unsigned seen = 0;

	redis_server_run(&server);
	redis_bench_start(&bench);
	expect_subscribed();
	redis_bench_ask(&bench, 1, 10000, "CLIENT KILL TYPE pubsub");
	while (seen != 3) { /* the answer and the notice, in either order */
		const struct redis_event e = redis_bench_next();

		seen |= e.type == REDIS_SUBSCRIBED ? 1u : 2u;
	}
	publish("PUBLISH first again", 0, "again");
}

Test(redis_sub, who_wants_to_know_is_told_of_the_loss_once_and_before_the_new_notice)
{
	bench.sub.tells_loss = true;
	redis_server_run(&server);
	redis_bench_start(&bench);
	expect_subscribed();
	redis_bench_call(&bench, "PING");
	redis_server_kill(&server);
	cr_assert_eq(redis_bench_next().type, (uint32_t)REDIS_UNSUBSCRIBED);
	cr_assert_not(redis_bench_comes(500), "tries that fail are none");
	redis_server_run(&server);
	for (unsigned seen = 0; seen != 3;) { /* it is another server, besides */
		const struct redis_event e = redis_bench_next();

		cr_assert_neq(e.type, (uint32_t)REDIS_UNSUBSCRIBED);
		seen |= e.type == REDIS_SUBSCRIBED ? 1u : 2u;
	}
}

Test(redis_sub, a_new_server_is_subscribed_too)
{
	struct redis_event e;
	unsigned seen = 0;

	redis_server_run(&server);
	redis_bench_start(&bench);
	expect_subscribed();
	redis_bench_call(&bench, "PING");
	redis_server_kill(&server);
	redis_server_run(&server);
	while (seen != 3) {
		e = redis_bench_next();
		seen |= e.type == REDIS_CHANGED ? 1u : e.type == REDIS_SUBSCRIBED ? 2u : 4u;
	}
	publish("PUBLISH second there", 1, "there");
}

Test(redis_sub, a_server_that_stops_answering_is_left)
{
	bench.sub.dead_ms = bench.conf.dead_ms = 300;
	redis_server_run(&server);
	redis_bench_start(&bench);
	expect_subscribed();
	cr_assert(redis_bench_wait(redis_is_connected, 2));
	kill(server.pid, SIGSTOP);
	cr_assert(redis_bench_wait(redis_is_connected, 0));
	kill(server.pid, SIGCONT);
	expect_subscribed();
}

struct many {
	struct cx_ref adapter;
	unsigned count;
};

static void publish_many(struct cx_ctx *ctx, void *arg)
{
	static const struct redis_arg argv[] = { REDIS_TEXT("PUBLISH"), REDIS_TEXT("first"),
		                                 REDIS_TEXT("x") };
	const struct many *m = arg;
	struct redis_batch batch = { 0 };
	uint64_t corr;

	for (unsigned i = 0; i < m->count; i++)
		redis_batch_add(&batch, argv, 3);
	cx_assert(redis_batch_send(ctx, m->adapter, &batch, 10000, &corr) == CX_OK);
	redis_batch_free(&batch);
}

static bool all_pushed(const struct redis_figures *f, uint64_t n)
{
	return f->pushes + f->pushes_dropped == n;
}

Test(redis_sub, pushes_over_the_mailbox_are_dropped_and_counted)
{
	struct many m = { .count = 3000 };
	struct redis_figures f;
	unsigned got = 0;
	bool has_answer = false;

	bench.subscriber_cap = 8;
	redis_server_run(&server);
	redis_bench_start(&bench);
	expect_subscribed();
	m.adapter = bench.adapter;
	redis_bench_run(&bench, 1, publish_many, &m);
	cr_assert(redis_bench_wait(all_pushed, m.count));
	redis_figures(&f);
	cr_assert_gt(f.pushes_dropped, 0);
	cr_assert_geq(f.pushes, 8);
	while (got < f.pushes || !has_answer) {
		const uint32_t type = redis_bench_next().type;

		cr_assert(type == REDIS_PUSH || type == REDIS_REPLY, "type %u", type);
		got += type == REDIS_PUSH;
		has_answer |= type == REDIS_REPLY;
	}
	cr_assert_eq(got, f.pushes);
	cr_assert(redis_bench_comes(20000), "the subscriber is told that it has missed some");
	cr_assert_eq(redis_bench_next().type, (uint32_t)REDIS_SUBSCRIBED);
	cr_assert_not(redis_bench_comes(2500), "once");
}
