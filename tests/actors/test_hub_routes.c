/* SPDX-License-Identifier: MIT */
/* The hub as one of several: routes, looks, kicks from elsewhere. */
#define FIXTURE_MORE CX_ON(REDIS_CHANGED, struct redis_changed, record_msg),
#include "actors/hub.h"

#include "actors/hub_fixture.h"

TestSuite(hub_routes, .init = set_up, .fini = fixture_end, .timeout = 30);

static struct cx_ref routes;

static void among_others(void)
{
	relay.routes[0] = routes = fake();
	relay.instance = 77;
}

static uint32_t joined_number(void)
{
	return GOT(struct routes_join_msg, take(routes, ROUTES_JOIN))->number;
}

static void expect_route_left(uint32_t number, bool is_last)
{
	const struct routes_leave_msg *m =
		GOT(struct routes_leave_msg, take(routes, ROUTES_LEAVE));

	cr_assert_eq(m->number, number);
	cr_assert_eq(m->is_last, is_last);
}

static void expect_presence(bool is_present)
{
	cr_assert_eq(
		GOT(struct inbox_presence_msg, take(fake_inbox, INBOX_PRESENCE))->is_present,
		is_present);
}

static int looked(int i)
{
	return count_got(conn[i], HUB_LOOK);
}

Test(hub_routes, joins_and_leaves_are_told_with_the_number_and_whether_it_was_the_last)
{
	uint32_t first, second;

	among_others();
	join(0, 1, 10);
	first = joined_number();
	expect_presence(true);
	join(1, 1, 11);
	second = joined_number();
	cr_assert_neq(first, second);
	join(1, 1, 12); /* another session on the same connection */
	leave(0, 1);
	expect_route_left(first, false);
	leave(1, 1);
	expect_route_left(second, true);
	expect_presence(false);
	cr_assert_eq(count_got(routes, ROUTES_JOIN), 0);
	cr_assert_eq(count_got(fake_inbox, INBOX_PRESENCE), 0);
}

Test(hub_routes, who_is_kicked_or_displaced_leaves_his_route)
{
	uint32_t numbers[4];

	among_others();
	for (int i = 0; i < 4; i++) {
		join(i, 1, 10 + (uint32_t)i);
		numbers[i] = joined_number();
	}
	expect_route_left(numbers[0], false);
	kick(1, 0, HUB_KICK_ALL, CX_NOBODY);
	expect_route_left(numbers[3], false);
	expect_route_left(numbers[2], false);
	expect_route_left(numbers[1], true);
}

static void do_kick_number(struct cx_ctx *ctx, void *arg)
{
	const struct call *c = arg;

	cx_assert(hub_kick_number(ctx, &relay, &c->user, (uint32_t)c->upto, 4409) == CX_OK);
}

Test(hub_routes, a_kick_by_number_closes_that_connection_of_that_user_only)
{
	struct call c = { .user = uuid_of(2) };

	among_others();
	join(0, 1, 10);
	c.upto = joined_number();
	join(1, 1, 11);
	join(2, 2, 10);
	do_as(fx.helper, do_kick_number, &c);
	cr_assert(is_member(0, 1) && is_member(2, 2), "the number is not user 2's");
	c.user = uuid_of(1);
	do_as(fx.helper, do_kick_number, &c);
	cr_assert_eq(kicked(0, 4409), 1);
	cr_assert(!is_member(0, 1) && is_member(1, 1));
	expect_route_left((uint32_t)c.upto, false);
}

Test(hub_routes, one_that_another_instance_displaced_is_kicked_with_4409)
{
	uint32_t number;

	among_others();
	join(0, 1, 10);
	number = joined_number();
	TELL(routes, hub, ROUTES_DISPLACED, struct routes_displaced, NULL, .user = uuid_of(1),
	     .number = number);
	cr_assert_eq(kicked(0, 4409), 1);
	expect_route_left(number, true);
}

Test(hub_routes, once_the_route_is_known_his_connections_look)
{
	among_others();
	join(0, 1, 10);
	join(1, 1, 11);
	join(2, 2, 20);
	TELL(routes, hub, ROUTES_JOINED, struct routes_joined, NULL, .user = uuid_of(1));
	cr_assert_eq(looked(0) + looked(1), 2);
	cr_assert_eq(looked(2), 0);
	TELL(routes, hub, ROUTES_JOINED, struct routes_joined, NULL, .user = uuid_of(9));
	cr_assert_eq(looked(2), 0);
}

static void do_look(struct cx_ctx *ctx, void *arg)
{
	cx_assert(hub_look(ctx, &relay, arg) == CX_OK);
}

Test(hub_routes, a_look_is_for_one_user_or_for_all)
{
	struct uuid user = uuid_of(2), zero = { { 0 } };

	join(0, 1, 10);
	join(1, 2, 11);
	do_as(fx.helper, do_look, &user);
	cr_assert_eq(looked(0), 0);
	cr_assert_eq(looked(1), 1);
	do_as(fx.helper, do_look, &zero); /* a user like any other */
	cr_assert_eq(looked(0), 0);
	cr_assert_eq(GOT(struct hub_look, take(conn[1], HUB_LOOK))->after_gap, 0);
	do_as(fx.helper, do_look, NULL);
	cr_assert_eq(GOT(struct hub_look, take(conn[0], HUB_LOOK))->after_gap, 1);
	cr_assert_eq(GOT(struct hub_look, take(conn[1], HUB_LOOK))->after_gap, 1);
}

static void do_kick_for(struct cx_ctx *ctx, void *arg)
{
	cx_assert(hub_kick_for(ctx, &relay, arg) == CX_OK);
}

Test(hub_routes, a_kick_is_told_to_the_others_and_whoever_asked_hears_from_them)
{
	struct call c = {
		.user = uuid_of(1), .jti = uuid_of(10), .has_jti = true, .what = HUB_KICK_OTHERS
	};
	const struct routes_kick_msg *m;
	const struct push_kick_session *k;

	among_others();
	join(0, 1, 11);
	do_as(fx.helper, do_kick, &c);
	cr_assert_eq(kicked(0, 4401), 1);
	m = GOT(struct routes_kick_msg, take(routes, ROUTES_KICK));
	k = &m->kick;
	cr_assert(uuid_equal(&k->user, &c.user) && uuid_equal(&k->jti, &c.jti));
	cr_assert_eq(k->what, HUB_KICK_OTHERS);
	cr_assert_eq(k->code, 4401);
	cr_assert_eq(k->from_instance, 77);
	cr_assert(cx_ref_is(m->caller.ref, fx.helper));
	cr_assert_eq(m->caller.corr, c.corr);
	cr_assert_eq(count_got(fx.helper, ROUTES_KICKED), 0, "not before the others");
}

Test(hub_routes, a_kick_for_another_instance_is_confirmed_to_it_behind_the_kicked)
{
	struct push_kick_session k = { uuid_of(1), uuid_of(10), 78, 4401, HUB_KICK_SESSION };
	const struct routes_confirm_msg *m;

	among_others();
	join(0, 1, 10);
	join(1, 1, 11);
	do_as(fx.helper, do_kick_for, &k);
	m = GOT(struct routes_confirm_msg, take(routes, ROUTES_CONFIRM));
	cr_assert_eq(m->to, 78);
	cr_assert_eq(m->kick.from_instance, 77);
	cr_assert(uuid_equal(&m->kick.user, &k.user) && uuid_equal(&m->kick.jti, &k.jti));
	cr_assert_eq(m->kick.what, HUB_KICK_SESSION);
	cr_assert_eq(kicked(0, 4401), 1);
	cr_assert(!is_member(0, 1) && is_member(1, 1));
	cr_assert_eq(count_got(routes, ROUTES_KICK), 0, "it would go round for ever");
	k.user = uuid_of(9);
	do_as(fx.helper, do_kick_for, &k);
	cr_assert_eq(GOT(struct routes_confirm_msg, take(routes, ROUTES_CONFIRM))->to, 78,
	             "nobody of his is here, which is as good");
}

Test(hub_routes, alone_a_kick_is_done_when_the_hub_has_done_it)
{
	join(0, 1, 10);
	kick(1, 0, HUB_KICK_ALL, CX_NOBODY);
	take(fx.helper, ROUTES_KICKED);
	cr_assert_eq(kicked(0, 4401), 1);
}

Test(hub_routes, alone_it_tells_nobody_about_routes)
{
	join(0, 1, 10);
	leave(0, 1);
	cr_assert_eq(count_got(fake_inbox, INBOX_PRESENCE), 0);
}

Test(hub_routes, another_redis_is_told_to_the_routes_and_the_inbox)
{
	among_others();
	TELL(fx.helper, hub, REDIS_CHANGED, struct redis_changed, NULL, .run_id = "other");
	take(routes, ROUTES_AGAIN);
	cr_assert_str_eq(GOT(struct redis_changed, take(fake_inbox, REDIS_CHANGED))->run_id,
	                 "other");
}

static void change_redis(void)
{
	TELL(fx.helper, hub, REDIS_CHANGED, struct redis_changed, NULL, .run_id = "other");
	take(fake_inbox, REDIS_CHANGED);
}

Test(hub_routes, in_another_redis_all_read_anew)
{
	among_others();
	join(0, 1, 10);
	join(1, 2, 11);
	change_redis();
	for (int i = 0; i < 2; i++)
		cr_assert_eq(GOT(struct hub_look, take(conn[i], HUB_LOOK))->anew, 1);
}

/* The same id is another receipt's now. */
Test(hub_routes, what_was_confirmed_in_another_redis_gives_up_no_receipt)
{
	among_others();
	join(0, 1, 10);
	join(1, 1, 11);
	confirm(0, 1, 40);
	confirm(1, 1, 40);
	take(fake_inbox, INBOX_RECEIPTS_DONE);
	confirm(0, 1, 50);
	change_redis();
	confirm(1, 1, 50);
	cr_assert_eq(count_got(fake_inbox, INBOX_RECEIPTS_DONE), 0);
	confirm(0, 1, 20); /* below what was given up before */
	cr_assert_eq(GOT(struct inbox_receipts_done_msg, take(fake_inbox, INBOX_RECEIPTS_DONE))
	                     ->upto,
	             20);
}
