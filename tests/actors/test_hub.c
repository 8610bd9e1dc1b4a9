/* SPDX-License-Identifier: MIT */
/* The hub between fake connections and a fake inbox. */
#include "actors/hub.h"

#include "actors/hub_fixture.h"

TestSuite(hub, .init = set_up, .fini = fixture_end, .timeout = 30);

/* ---- pushes ---- */

Test(hub, pushes_fresh_entries_in_order_to_each_connection_of_the_owner_and_nobody_else)
{
	const struct inbox_item items[] = { item_of(1, 5, 1), item_of(2, 6, 1),
		                            item_of(1, 7, 0), item_of(1, 8, 1),
		                            item_of(3, 9, 1) };

	join(0, 1, 10);
	join(1, 1, 11);
	join(2, 2, 20);
	wake(items, 5);
	for (int i = 0; i < 2; i++) {
		const struct got *g = take(conn[i], HUB_PUSH);

		cr_assert(GOT(struct hub_push, g)->item.id == 5);
		cr_assert(GOT(struct hub_push, g)->item.prev == 4);
		cr_assert(cx_buf_len(g->buf) == 6);
		cr_assert(GOT(struct hub_push, take(conn[i], HUB_PUSH))->item.id == 8);
		cr_assert(pushed(i) == 0);
	}
	cr_assert(GOT(struct hub_push, take(conn[2], HUB_PUSH))->item.id == 6);
	cr_assert(pushed(2) == 0);
}

Test(hub, a_batch_with_nothing_fresh_wakes_nobody)
{
	const struct inbox_item item = item_of(1, 5, 0);

	join(0, 1, 10);
	wake(&item, 1);
	cr_assert(pushed(0) == 0);
}

Test(hub, a_full_connection_loses_its_push_and_the_others_get_theirs)
{
	const struct inbox_item items[] = { item_of(1, 5, 1), item_of(1, 6, 1) };

	conn[0] = spawn_at(&tight_fake_type, NULL);
	join(0, 1, 10);
	join(1, 1, 11);
	wake(items, 2);
	cr_assert(pushed(0) == 1);
	cr_assert(pushed(1) == 2);
}

Test(hub, who_left_gets_nothing_more)
{
	join(0, 1, 10);
	join(1, 1, 11);
	leave(0, 1);
	cr_assert(!is_member(0, 1));
	cr_assert(is_member(1, 1));
	leave(1, 1);
	leave(1, 1); /* again: no effect */
	leave(2, 7); /* was never there */
	cr_assert(!is_member(1, 1));
	cr_assert(kicked(0, 0) == 0 && kicked(1, 0) == 0);
}

Test(hub, an_ended_connection_that_never_left_harms_nobody)
{
	join(0, 1, 10);
	join(1, 1, 11);
	stop_actor(conn[0]);
	cr_assert(is_member(1, 1));
}

/* ---- too many ---- */

Test(hub, over_the_limit_the_oldest_goes_first_with_4409)
{
	for (int i = 0; i < 3; i++)
		join(i, 1, 10);
	for (int i = 0; i < 3; i++)
		cr_assert(kicked(i, 4409) == 0);
	join(3, 1, 11);
	cr_assert(kicked(0, 4409) == 1);
	join(4, 1, 12);
	cr_assert(kicked(1, 4409) == 1);
	for (int i = 2; i < 5; i++) {
		cr_assert(kicked(i, 4409) == 0);
		cr_assert(is_member(i, 1));
	}
	cr_assert(!is_member(0, 1) && !is_member(1, 1));
}

Test(hub, the_late_leave_of_a_displaced_one_removes_nobody_else)
{
	for (int i = 0; i < 4; i++)
		join(i, 1, 10);
	leave(0, 1);
	for (int i = 1; i < 4; i++)
		cr_assert(is_member(i, 1));
	join(4, 1, 10);
	cr_assert(kicked(1, 4409) == 1);
}

Test(hub, who_left_makes_room)
{
	for (int i = 0; i < 3; i++)
		join(i, 1, 10);
	leave(1, 1);
	join(3, 1, 10);
	for (int i = 0; i < 4; i++)
		cr_assert(kicked(i, 4409) == 0);
}

Test(hub, a_limit_is_for_each_user_alone)
{
	for (int i = 0; i < 6; i++)
		join(i, (uint32_t)(1 + i % 2), 10);
	for (int i = 0; i < 6; i++)
		cr_assert(kicked(i, 4409) == 0);
}

/* ---- kicks ---- */

static void four_of_two_sessions(void)
{
	relay.max_connections_per_user = 5;
	join(0, 1, 10);
	join(1, 1, 11);
	join(2, 1, 10);
	join(3, 1, 12);
	join(4, 2, 10); /* another user, even of the same session id */
}

static void expect_kicked(const char *who)
{
	for (int i = 0; i < 5; i++) {
		cr_assert(kicked(i, 4401) == (who[i] == 'x'), "connection %d", i);
		cr_assert(is_member(i, i == 4 ? 2 : 1) == (who[i] != 'x'), "connection %d", i);
	}
}

Test(hub, kick_all_closes_all_of_the_user)
{
	four_of_two_sessions();
	kick(1, 0, HUB_KICK_ALL, CX_NOBODY);
	expect_kicked("xxxx-");
}

Test(hub, kick_session_closes_that_session_only)
{
	four_of_two_sessions();
	kick(1, 10, HUB_KICK_SESSION, CX_NOBODY);
	expect_kicked("x-x--");
}

Test(hub, kick_others_leaves_that_session)
{
	four_of_two_sessions();
	kick(1, 10, HUB_KICK_OTHERS, CX_NOBODY);
	expect_kicked("-x-x-");
}

Test(hub, the_asking_connection_is_spared)
{
	four_of_two_sessions();
	kick(1, 10, HUB_KICK_SESSION, conn[2]);
	expect_kicked("x----");
}

Test(hub, the_asking_connection_is_spared_by_kick_all_too)
{
	four_of_two_sessions();
	kick(1, 0, HUB_KICK_ALL, conn[1]);
	expect_kicked("x-xx-");
}

Test(hub, a_kick_of_somebody_who_is_not_here_is_nothing)
{
	kick(1, 0, HUB_KICK_ALL, CX_NOBODY);
	join(0, 1, 10);
	cr_assert(is_member(0, 1));
}

/* ---- receipts ---- */

Test(hub, one_connection_settles_its_receipts_when_it_confirms)
{
	join(0, 1, 10);
	confirm(0, 1, 7);
	cr_assert(receipts_done(1) == 7);
	confirm(0, 1, 7);
	confirm(0, 1, 5);
	cr_assert(nothing_done());
	confirm(0, 1, 9);
	cr_assert(receipts_done(1) == 9);
}

Test(hub, receipts_are_settled_at_the_least_that_all_connections_confirmed)
{
	join(0, 1, 10);
	join(1, 1, 11);
	confirm(0, 1, 7);
	cr_assert(nothing_done());
	confirm(1, 1, 5);
	cr_assert(receipts_done(1) == 5);
	confirm(1, 1, 8);
	cr_assert(receipts_done(1) == 7);
	confirm(1, 1, 9);
	cr_assert(nothing_done());
}

Test(hub, a_connection_that_leaves_no_longer_holds_receipts)
{
	join(0, 1, 10);
	join(1, 1, 11);
	confirm(0, 1, 7);
	leave(1, 1);
	cr_assert(receipts_done(1) == 7);
	leave(0, 1);
	cr_assert(nothing_done());
}

Test(hub, a_newcomer_holds_them_until_it_confirms)
{
	join(0, 1, 10);
	confirm(0, 1, 7);
	cr_assert(receipts_done(1) == 7);
	join(1, 1, 11);
	confirm(0, 1, 9);
	cr_assert(nothing_done());
	confirm(1, 1, 9);
	cr_assert(receipts_done(1) == 9);
}

Test(hub, a_confirmation_of_a_stranger_counts_for_nobody)
{
	join(0, 1, 10);
	confirm(1, 1, 7);
	confirm(2, 5, 7);
	cr_assert(nothing_done());
}

Test(hub, receipts_that_the_inbox_did_not_take_are_offered_again)
{
	const struct cx_ref inbox = relay.inboxes[0];

	join(0, 1, 10);
	relay.inboxes[0] = CX_NOBODY;
	confirm(0, 1, 7);
	quiet();
	relay.inboxes[0] = inbox;
	confirm(0, 1, 7);
	cr_assert(receipts_done(1) == 7);
}

/* ---- a second login on one connection ---- */

Test(hub, who_joins_again_keeps_the_place_and_is_found_by_the_new_session)
{
	join(0, 1, 10);
	join(1, 1, 11);
	confirm(0, 1, 7);
	join(0, 1, 12);
	kick(1, 10, HUB_KICK_SESSION, CX_NOBODY);
	cr_assert_eq(kicked(0, 4401), 0);
	confirm(1, 1, 7);
	cr_assert_eq(receipts_done(1), 7, "what it confirmed still counts");
	kick(1, 12, HUB_KICK_SESSION, CX_NOBODY);
	cr_assert_eq(kicked(0, 4401), 1);
	cr_assert(is_member(1, 1));
	cr_assert(!is_member(0, 1));
}

Test(hub, a_kick_names_the_session_that_was_kicked)
{
	const struct uuid user = uuid_of(1), jti = uuid_of(10);
	const struct hub_kicked *m;

	join(0, 1, 10);
	kick(1, 0, HUB_KICK_ALL, CX_NOBODY);
	m = GOT(struct hub_kicked, take(conn[0], HUB_KICKED));
	cr_assert(uuid_equal(&m->user, &user) && uuid_equal(&m->jti, &jti));
}
