/* SPDX-License-Identifier: MIT */
/* What comes from Redis, between fake hubs and inboxes of two homes. */
#define FIXTURE_MORE CX_ON(REDIS_CHANGED, struct redis_changed, record_msg),
#include "actors/instance.h"

#include "actors/fixture.h"
#include "io/redis_sub.h"
#include "wire/push.h"

#define OURS 77

static struct cx_ref instance;

static void set_up(void)
{
	const struct instance_conf conf = { .relay = &relay };

	fixture_start();
	relay.workers = 2;
	relay.instance = OURS;
	relay.inbox.count = 2;
	for (int i = 0; i < 2; i++) {
		relay.hubs[i] = fake();
		relay.inboxes[i] = fake();
	}
	instance = spawn_at(&instance_type, &conf);
}

TestSuite(instance, .init = set_up, .fini = fixture_end, .timeout = 30);

static uint32_t home_of(uint32_t user)
{
	const struct uuid id = uuid_of(user);

	return relay_home(&relay, &id);
}

/* The n-th user, from 1, who lives there. */
static uint32_t user_at(uint32_t home, uint32_t n)
{
	uint32_t user = 0;

	while (n > 0)
		n -= home_of(++user) == home;
	return user;
}

static void arrives(const uint8_t *bytes, size_t len)
{
	struct cx_buf *buf = cx_buf_copy(bytes, len);

	TELL(fx.helper, instance, REDIS_PUSH, struct redis_push, buf, .channel = 0);
	cx_buf_unref(buf);
	quiet();
}

static uint64_t malformed(void)
{
	struct instance_figures f;

	instance_figures(&f);
	return f.malformed;
}

static int all_got(void)
{
	int n = 0;

	for (int i = 0; i < 2; i++)
		n += count_got(relay.hubs[i], HUB_WAKE) +
		     count_got(relay.hubs[i], HUB_LOOK_AT) +
		     count_got(relay.hubs[i], HUB_KICK) +
		     count_got(relay.hubs[i], HUB_KICK_NUMBER) +
		     count_got(relay.inboxes[i], INBOX_LEARN);
	return n;
}

/* ---- entries ---- */

static _Alignas(8) uint8_t entries[65536];
static size_t entries_len;

static void add_entry(uint32_t user, uint64_t id, uint64_t prev, const char *frame)
{
	const struct record head = {
		.kind = RECORD_MESSAGE, .id = id, .ref = prev, .owner = uuid_of(user)
	};

	if (entries_len == 0)
		entries_len = push_entries_begin(entries);
	entries_len += record_write(entries + entries_len, &head, frame, strlen(frame));
}

static void expect_item(const struct inbox_item *item, const struct got *g, uint64_t id,
                        const char *frame)
{
	cr_assert_eq(item->id, id);
	cr_assert_eq(item->kind, RECORD_MESSAGE);
	cr_assert_eq(item->fresh, 1);
	cr_assert_eq(item->len, strlen(frame));
	cr_assert_eq(memcmp(cx_buf_bytes(g->buf) + item->offset + sizeof(struct record), frame,
	                    strlen(frame)),
	             0);
}

Test(instance, entries_go_to_the_hub_and_the_inbox_of_each_home)
{
	const uint32_t here = user_at(0, 1), there = user_at(1, 1);

	add_entry(here, 10, 9, "first");
	add_entry(there, 20, INBOX_PREV_UNKNOWN, "second, longer");
	add_entry(here, 11, 10, "third");
	arrives(entries, entries_len);
	for (uint32_t home = 0; home < 2; home++) {
		const struct got *learn = take(relay.inboxes[home], INBOX_LEARN);
		const struct got *wake = take(relay.hubs[home], HUB_WAKE);
		const struct inbox_learn_msg *l = GOT(struct inbox_learn_msg, learn);
		const struct hub_wake_msg *w = GOT(struct hub_wake_msg, wake);

		cr_assert_eq(w->count, home == 0 ? 2 : 1);
		cr_assert_eq(l->count, w->count);
		for (uint32_t i = 0; i < w->count; i++) {
			const char *frame = home == 1 ? "second, longer"
			                    : i == 0  ? "first"
			                              : "third";
			const uint64_t id = home == 1 ? 20 : 10 + i;

			expect_item(&w->items[i], wake, id, frame);
			expect_item(&l->items[i], learn, id, frame);
			cr_assert_eq(w->items[i].prev, home == 1 ? INBOX_PREV_UNKNOWN : 9 + i);
		}
	}
	cr_assert_eq(all_got(), 0);
}

Test(instance, many_entries_go_in_several_batches_in_order)
{
	const uint32_t user = user_at(1, 1);
	uint64_t next = 1;

	for (uint64_t id = 1; id <= 2 * INBOX_BATCH_MAX + 5; id++)
		add_entry(user, id, id - 1, "x");
	arrives(entries, entries_len);
	for (int n = 0; n < 3; n++) {
		const struct hub_wake_msg *w =
			GOT(struct hub_wake_msg, take(relay.hubs[1], HUB_WAKE));

		cr_assert_eq(w->count, n < 2 ? INBOX_BATCH_MAX : 5);
		for (uint32_t i = 0; i < w->count; i++)
			cr_assert_eq(w->items[i].id, next++);
		take(relay.inboxes[1], INBOX_LEARN);
	}
	cr_assert_eq(all_got(), 0);
}

Test(instance, a_predecessor_that_cannot_be_is_unknown)
{
	add_entry(user_at(0, 1), 10, 10, "x");
	arrives(entries, entries_len);
	cr_assert_eq(GOT(struct hub_wake_msg, take(relay.hubs[0], HUB_WAKE))->items[0].prev,
	             INBOX_PREV_UNKNOWN);
}

Test(instance, a_home_without_room_loses_its_batch_and_the_other_gets_its_own)
{
	struct instance_figures f;

	relay.hubs[0] = CX_NOBODY;
	add_entry(user_at(0, 1), 10, 9, "x");
	add_entry(user_at(1, 1), 20, 19, "y");
	arrives(entries, entries_len);
	take(relay.hubs[1], HUB_WAKE);
	instance_figures(&f);
	cr_assert_eq(f.lost, 1);
}

/* ---- looks and kicks ---- */

Test(instance, looks_go_to_the_users_homes)
{
	const struct push_look items[] = { { uuid_of(user_at(1, 1)) },
		                           { uuid_of(user_at(0, 1)) } };
	uint8_t bytes[PUSH_LOOK_LEN(2)];

	arrives(bytes, push_write_look(bytes, items, 2));
	for (int i = 0; i < 2; i++) {
		const struct hub_look_at_msg *m =
			GOT(struct hub_look_at_msg, take(relay.hubs[i], HUB_LOOK_AT));

		cr_assert(uuid_equal(&m->user, &items[1 - i].user));
		cr_assert_eq(m->is_all, 0);
	}
	cr_assert_eq(all_got(), 0);
}

static int told_of_loss(void)
{
	quiet();
	return count_got(relay.hubs[0], REDIS_CHANGED) +
	       count_got(relay.hubs[1], REDIS_CHANGED);
}

Test(instance, that_redis_was_emptied_is_told_to_all_hubs_once_a_life)
{
	struct push_lost lost = { { { 1 } } };
	uint8_t bytes[PUSH_LOST_LEN(1)];

	for (int i = 0; i < 2; i++)
		arrives(bytes, push_write_lost(bytes, &lost, 1));
	cr_assert_eq(told_of_loss(), 2);
	lost.life.b[0] = 2;
	arrives(bytes, push_write_lost(bytes, &lost, 1));
	cr_assert_eq(told_of_loss(), 4);
}

static void life_is(uint8_t life)
{
	const struct push_lost now = { { { life } } };
	uint8_t bytes[PUSH_LIFE_LEN(1)];

	arrives(bytes, push_write_life(bytes, &now, 1));
}

Test(instance, a_heartbeat_tells_of_a_loss_that_was_not_heard)
{
	life_is(1);
	life_is(1);
	cr_assert_eq(told_of_loss(), 0, "where we began");
	life_is(2);
	life_is(2);
	cr_assert_eq(told_of_loss(), 2);
}

Test(instance, a_heartbeat_tells_nothing_new_of_a_loss_that_was_heard)
{
	const struct push_lost lost = { { { 2 } } };
	uint8_t bytes[PUSH_LOST_LEN(1)];

	life_is(1);
	arrives(bytes, push_write_lost(bytes, &lost, 1));
	cr_assert_eq(told_of_loss(), 2);
	life_is(2);
	cr_assert_eq(told_of_loss(), 2);
}

Test(instance, after_each_subscription_all_look)
{
	for (uint64_t times = 1; times <= 2; times++) {
		TELL(fx.helper, instance, REDIS_SUBSCRIBED, struct redis_subscribed, NULL,
		     .times = times);
		for (int i = 0; i < 2; i++)
			cr_assert_eq(
				GOT(struct hub_look_at_msg, take(relay.hubs[i], HUB_LOOK_AT))
					->is_all,
				1);
	}
}

Test(instance, a_connection_is_kicked_by_its_number)
{
	const struct push_kick_connection item = { .user = uuid_of(user_at(1, 1)),
		                                   .number = 4711,
		                                   .code = 4409 };
	uint8_t bytes[PUSH_KICK_CONNECTION_LEN(1)];
	const struct hub_kick_number_msg *m;

	arrives(bytes, push_write_kick_connection(bytes, &item, 1));
	m = GOT(struct hub_kick_number_msg, take(relay.hubs[1], HUB_KICK_NUMBER));
	cr_assert(uuid_equal(&m->user, &item.user));
	cr_assert_eq(m->number, 4711);
	cr_assert_eq(m->code, 4409);
}

Test(instance, kicks_of_others_are_done_here_and_our_own_were)
{
	const struct push_kick_session items[] = {
		{ uuid_of(user_at(0, 1)), uuid_of(7), OURS, 4401, HUB_KICK_ALL },
		{ uuid_of(user_at(0, 2)), uuid_of(8), OURS + 1, 4401, HUB_KICK_OTHERS },
		{ uuid_of(user_at(0, 3)), uuid_of(9), 0, 4401, HUB_KICK_ALL },
	};
	uint8_t bytes[PUSH_KICK_SESSION_LEN(3)];
	const struct hub_kick_msg *m;

	relay.routes[0] = fake();
	arrives(bytes, push_write_kick_session(bytes, items, 3));
	m = GOT(struct hub_kick_msg, take(relay.hubs[0], HUB_KICK));
	cr_assert(uuid_equal(&m->kick.user, &items[1].user) &&
	          uuid_equal(&m->kick.jti, &items[1].jti));
	cr_assert_eq(m->kick.what, HUB_KICK_OTHERS);
	cr_assert_eq(m->kick.code, 4401);
	cr_assert_eq(m->kick.from_instance, OURS + 1);
	cr_assert(cx_ref_none(m->except));
	cr_assert_eq(count_got(relay.routes[0], ROUTES_KICK), 0, "it would go round for ever");
	cr_assert_eq(all_got(), 0);
}

Test(instance, what_others_have_kicked_goes_to_the_routes_of_the_users_home)
{
	const struct push_kick_session item = { uuid_of(user_at(1, 1)), uuid_of(7), OURS + 1,
		                                4401, HUB_KICK_ALL };
	uint8_t bytes[PUSH_KICKED_LEN(1)];
	const struct routes_confirmed_msg *m;

	relay.routes[1] = fake();
	arrives(bytes, push_write_kicked(bytes, &item, 1));
	m = GOT(struct routes_confirmed_msg, take(relay.routes[1], ROUTES_CONFIRMED));
	cr_assert(uuid_equal(&m->kick.user, &item.user) && uuid_equal(&m->kick.jti, &item.jti));
	cr_assert_eq(m->kick.from_instance, OURS + 1);
	cr_assert_eq(all_got(), 0);
}

/* ---- what is not as it must be ---- */

Test(instance, a_payload_cut_anywhere_is_counted_and_does_nothing)
{
	uint64_t n = 0;

	add_entry(user_at(0, 1), 10, 9, "a frame");
	for (size_t len = 0; len < entries_len; len += 5, n++)
		arrives(entries, len);
	cr_assert_eq(malformed(), n);
	cr_assert_eq(all_got(), 0);
	arrives(entries, entries_len);
	cr_assert_eq(all_got(), 2);
}

/* Under the address sanitizer: nothing outside of the payload is read. */
Test(instance, bytes_changed_at_random_break_nothing)
{
	uint64_t random = UINT64_C(0x9e3779b97f4a7c15);

	for (int i = 0; i < 2000; i++) {
		entries_len = 0;
		add_entry(user_at(0, 1), 10, 9, "a frame");
		add_entry(user_at(1, 1), 11, 9, "another frame");
		for (int k = 0; k < 3; k++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			entries[random % entries_len] = (uint8_t)(random >> 32);
		}
		if (i % 5 == 0)
			entries[0] = (uint8_t)(i % 9);
		{
			struct cx_buf *buf = cx_buf_copy(entries, entries_len);

			TELL(fx.helper, instance, REDIS_PUSH, struct redis_push, buf,
			     .channel = 0);
			cx_buf_unref(buf);
		}
	}
	quiet();
	cr_assert_gt(malformed(), 0);
}

Test(instance, payloads_of_other_channels_do_nothing)
{
	const struct push_user_gone gone = { uuid_of(1) };
	const struct push_route route = { uuid_of(1), 5, 1 };
	uint8_t bytes[PUSH_ROUTE_LEN(1)];

	arrives(bytes, push_write_user_gone(bytes, &gone, 1));
	arrives(bytes, push_write_route(bytes, &route, 1));
	arrives((const uint8_t *)"", 0);
	cr_assert_eq(malformed(), 3);
	cr_assert_eq(all_got(), 0);
}
