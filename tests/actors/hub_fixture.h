/* SPDX-License-Identifier: MIT */
/* A hub between fake connections and a fake inbox.  One test file includes this once. */
#ifndef TESTS_ACTORS_HUB_FIXTURE_H
#define TESTS_ACTORS_HUB_FIXTURE_H

#include "actors/fixture.h"

static struct cx_ref hub, conn[6];

UNUSED static void set_up(void)
{
	const struct relay_conf conf = { .relay = &relay };

	fixture_start();
	hub = spawn_at(&hub_type, &conf);
	relay.hubs[0] = hub;
	for (size_t i = 0; i < CX_COUNTOF(conn); i++)
		conn[i] = fake();
}

struct call {
	struct uuid user, jti;
	uint64_t upto;
	enum hub_kick_what what;
	uint64_t corr; /* of do_kick */
	struct cx_ref except;
	bool has_jti;
};

UNUSED static void do_join(struct cx_ctx *ctx, void *arg)
{
	const struct call *c = arg;

	cx_assert(hub_join(ctx, &relay, &c->user, &c->jti) == CX_OK);
}

UNUSED static void do_leave(struct cx_ctx *ctx, void *arg)
{
	cx_assert(hub_leave(ctx, &relay, &((const struct call *)arg)->user) == CX_OK);
}

UNUSED static void do_confirm(struct cx_ctx *ctx, void *arg)
{
	const struct call *c = arg;

	cx_assert(hub_confirm(ctx, &relay, &c->user, c->upto) == CX_OK);
}

UNUSED static void do_kick(struct cx_ctx *ctx, void *arg)
{
	struct call *c = arg;

	cx_assert(hub_kick(ctx, &relay, &c->user, c->has_jti ? &c->jti : NULL, c->what,
	                   c->except, 4401, &c->corr) == CX_OK);
}

UNUSED static void join(int i, uint32_t user, uint32_t jti)
{
	struct call c = { .user = uuid_of(user), .jti = uuid_of(jti) };

	do_as(conn[i], do_join, &c);
}

UNUSED static void leave(int i, uint32_t user)
{
	struct call c = { .user = uuid_of(user) };

	do_as(conn[i], do_leave, &c);
}

UNUSED static void confirm(int i, uint32_t user, uint64_t upto)
{
	struct call c = { .user = uuid_of(user), .upto = upto };

	do_as(conn[i], do_confirm, &c);
}

UNUSED static void kick(uint32_t user, uint32_t jti, enum hub_kick_what what,
                        struct cx_ref except)
{
	struct call c = { .user = uuid_of(user),
		          .jti = uuid_of(jti),
		          .has_jti = jti != 0,
		          .what = what,
		          .except = except };

	do_as(fx.helper, do_kick, &c);
}

UNUSED static void do_wake(struct cx_ctx *ctx, void *arg)
{
	cx_assert(hub_wake(ctx, &relay, 0, arg) == CX_OK);
}

UNUSED static void wake(const struct inbox_item *items, uint32_t count)
{
	struct inbox_appended batch = { .count = count };

	memcpy(batch.items, items, count * sizeof(*items));
	batch.hdr.buf = cx_buf_copy("frames", 6);
	do_as(fx.helper, do_wake, &batch);
	cx_buf_unref(batch.hdr.buf);
}

UNUSED static int kicked(int i, uint16_t code)
{
	const int n = count_got(conn[i], HUB_KICKED);

	for (int k = 0; k < n; k++)
		cr_assert(GOT(struct hub_kicked, take(conn[i], HUB_KICKED))->code == code);
	return n;
}

UNUSED static int pushed(int i)
{
	return count_got(conn[i], HUB_PUSH);
}

UNUSED static struct inbox_item item_of(uint32_t user, uint64_t id, uint8_t fresh)
{
	return (struct inbox_item){ .owner = uuid_of(user),
		                    .id = id,
		                    .prev = id - 1,
		                    .offset = (uint32_t)id,
		                    .len = 1,
		                    .kind = RECORD_MESSAGE,
		                    .fresh = fresh };
}

/* conn[i] gets pushes of `user` still, or not. */
UNUSED static bool is_member(int i, uint32_t user)
{
	const struct inbox_item item = item_of(user, 1000, 1);
	const int before = pushed(i);

	wake(&item, 1);
	return pushed(i) > before;
}

UNUSED static uint64_t receipts_done(uint32_t user)
{
	const struct inbox_receipts_done_msg *m =
		GOT(struct inbox_receipts_done_msg, take(fake_inbox, INBOX_RECEIPTS_DONE));
	const struct uuid id = uuid_of(user);

	cr_assert(uuid_equal(&m->owner, &id));
	return m->upto;
}

UNUSED static bool nothing_done(void)
{
	return count_got(fake_inbox, INBOX_RECEIPTS_DONE) == 0;
}

#endif
