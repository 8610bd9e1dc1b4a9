/* SPDX-License-Identifier: MIT */
/* Kicks for all instances, and who waits until they are done. */
#include "io/routes_fixture.h"

static void start_both(void)
{
	fixture_start();
	EVENTUALLY(strcmp(redis("ZCARD q:instances"), ":2") == 0);
}

/* A slow machine is no deadline. */
static void start_both_without_deadline(void)
{
	settings[0].kick_wait_ms = 10 * WAIT_MS;
	start_both();
}

TestSuite(stack_routes_kicks, .init = fixture_prepare, .fini = fixture_end, .timeout = 120);

/* ---- doing ---- */

/* What the first instance says about user 1, as the one of `from`. */
static struct push_kick_session kick_of(uint64_t from)
{
	return (struct push_kick_session){ user_of(1), user_of(70), from, 4401,
		                           HUB_KICK_OTHERS };
}

static void do_kick(struct cx_ctx *ctx, void *arg)
{
	struct hub_kick_msg *m = CX_MSG_NEW(ctx, HUB_KICK, struct hub_kick_msg);

	(void)arg;
	m->kick = kick_of(ids[0]);
	cx_assert(cx_send(ctx, hubs[0], &m->hdr) == CX_OK);
}

static void kick(void)
{
	redis_bench_run(&bench, 0, do_kick, NULL);
}

static void do_confirm(struct cx_ctx *ctx, void *arg)
{
	const struct push_kick_session k = kick_of(ids[1]);

	(void)arg;
	cx_assert(routes_confirm(ctx, routes[1], &k, ids[0]) == CX_OK);
}

static void do_confirmed(struct cx_ctx *ctx, void *arg)
{
	cx_assert(routes_confirmed(ctx, routes[0], arg) == CX_OK);
}

static void confirmed(struct push_kick_session k)
{
	redis_bench_run(&bench, 0, do_confirmed, &k);
}

static void expect_kick(enum push_kind kind, enum channel at, uint64_t from)
{
	const struct push_kick_session want = kick_of(from);
	const struct heard *h = take_heard(REDIS_PUSH, at);
	const struct wire_slice bytes = wire_slice(h->bytes, h->len);
	struct push_kick_session got;
	size_t next = 0;

	cr_assert_eq(push_kind_of(bytes), kind);
	cr_assert(kind == PUSH_KICKED ? push_next_kicked(bytes, &next, &got)
	                              : push_next_kick_session(bytes, &next, &got));
	cr_assert(uuid_equal(&got.user, &want.user) && uuid_equal(&got.jti, &want.jti));
	cr_assert_eq(got.what, want.what);
	cr_assert_eq(got.code, want.code);
	cr_assert_eq(got.from_instance, from);
}

static uint64_t unconfirmed(void)
{
	struct stack_routes_figures f;

	stack_routes_figures(&f);
	return f.kicks_unconfirmed;
}

/* The first instance has taken the answers of Redis to all that was published before. */
static bool is_answered(void)
{
	const uint64_t before = unconfirmed();

	cr_assert_eq(before, 0);
	join(0, 9, 640);
	joined(0, 9);
	leave(0, 9, 640, true);
	return count_heard(ROUTES_KICKED, 0) > 0;
}

/* ---- tests ---- */

Test(stack_routes_kicks, a_kick_goes_to_all_servers_and_is_answered_when_each_has_done_it)
{
	start_both_without_deadline();
	kick();
	expect_kick(PUSH_KICK_SESSION, AT_SERVERS, ids[0]);
	cr_assert(!is_answered());
	redis_bench_run(&bench, 0, do_confirm, NULL);
	expect_kick(PUSH_KICKED, AT_A, ids[1]);
	confirmed(kick_of(ids[1]));
	take_heard(ROUTES_KICKED, 0);
	cr_assert_eq(unconfirmed(), 0);
}

Test(stack_routes_kicks, whoever_is_not_in_the_registry_is_not_waited_for)
{
	start_both_without_deadline();
	redis("ZADD q:instances 1 bbbbbbbbbbbbbbbb");
	kick();
	take_heard(ROUTES_KICKED, 0);
	cr_assert_eq(unconfirmed(), 0);
}

Test(stack_routes_kicks, a_confirmation_of_another_kick_or_of_somebody_else_is_none)
{
	struct push_kick_session k = kick_of(ids[1]);

	start_both_without_deadline();
	kick();
	expect_kick(PUSH_KICK_SESSION, AT_SERVERS, ids[0]);
	k.user = user_of(2);
	confirmed(k);
	k = kick_of(ids[1]);
	k.jti = user_of(71);
	confirmed(k);
	k = kick_of(ids[1]);
	k.what = HUB_KICK_ALL;
	confirmed(k);
	confirmed(kick_of(ids[0]));
	confirmed(kick_of(4711));
	cr_assert(!is_answered());
	confirmed(kick_of(ids[1]));
	take_heard(ROUTES_KICKED, 0);
}

Test(stack_routes_kicks, a_confirmation_may_come_before_redis_has_said_who_lives)
{
	start_both_without_deadline();
	redis("ZADD q:instances 9999999999999 cccccccccccccccc");
	confirms_at_once = true;
	kick();
	expect_kick(PUSH_KICK_SESSION, AT_SERVERS, ids[0]);
	cr_assert(!is_answered(), "the third has not");
	confirmed(kick_of(UINT64_C(0xcccccccccccccccc)));
	take_heard(ROUTES_KICKED, 0);
}

Test(stack_routes_kicks, two_of_the_same_kick_are_both_answered)
{
	start_both_without_deadline();
	kick();
	expect_kick(PUSH_KICK_SESSION, AT_SERVERS, ids[0]);
	kick();
	expect_kick(PUSH_KICK_SESSION, AT_SERVERS, ids[0]);
	cr_assert(!is_answered());
	confirmed(kick_of(ids[1]));
	take_heard(ROUTES_KICKED, 0);
	take_heard(ROUTES_KICKED, 0);
}

Test(stack_routes_kicks, what_nobody_confirms_is_said_again)
{
	start_both_without_deadline();
	kick();
	expect_kick(PUSH_KICK_SESSION, AT_SERVERS, ids[0]);
	expect_kick(PUSH_KICK_SESSION, AT_SERVERS, ids[0]);
	cr_assert(!is_answered());
}

Test(stack_routes_kicks, what_nobody_confirms_is_answered_at_its_deadline)
{
	start_both();
	kick();
	take_heard(ROUTES_KICKED, 0);
	cr_assert_eq(unconfirmed(), 1);
}

Test(stack_routes_kicks, while_redis_is_away_a_kick_is_answered_at_its_deadline)
{
	start_both();
	redis_server_kill(&server);
	kick();
	take_heard(ROUTES_KICKED, 0);
	cr_assert_eq(unconfirmed(), 1);
	cr_assert_eq(count_heard(REDIS_PUSH, AT_SERVERS), 0);
}
