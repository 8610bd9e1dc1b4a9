/* SPDX-License-Identifier: MIT */
#include "actors/hub.h"

#include <stdlib.h>
#include <string.h>

#include "io/stack_routes.h"
#include "wire/uuid_map.h"

#define NUMBER_WORKERS 64     /* a number is counter * NUMBER_WORKERS + worker */
#define LOOKS_A_SECOND 2000   /* of a look at all: each is a read */
#define LOOK_WITHIN_MAX 10000 /* ms; after that connections look by themselves often enough */

_Static_assert(RELAY_WORKERS_MAX <= NUMBER_WORKERS, "numbers of two hubs differ");

struct member {
	struct cx_ref ref;
	struct uuid jti;
	uint64_t confirmed; /* receipts up to here have reached this client */
	uint32_t number;
};

struct user {
	struct uuid id;
	uint32_t count, cap;
	uint64_t settled;        /* receipts up to here are given up */
	struct member members[]; /* oldest first */
};

struct hub {
	const struct relay *relay;
	struct uuid_map users;
	uint32_t members; /* of all users */
	uint32_t joins;   /* so far, for numbers; wraps after 2^26 */
};

/* Members that do not get it are unlucky, not wrong: see hub.h. */
static void push(struct cx_ctx *ctx, struct cx_ref to, const struct inbox_item *item,
                 struct cx_buf *buf)
{
	struct hub_push *m = CX_MSG_NEW(ctx, HUB_PUSH, struct hub_push);
	enum cx_err err;

	m->item = *item;
	m->hdr.buf = cx_buf_ref(buf);
	err = cx_send(ctx, to, &m->hdr);
	(void)err;
}

static struct hub_look *look_of(struct cx_ctx *ctx, const struct user *u)
{
	struct hub_look *m = CX_MSG_NEW(ctx, HUB_LOOK, struct hub_look);

	m->user = u->id;
	return m;
}

static void look(struct cx_ctx *ctx, const struct user *u)
{
	for (uint32_t i = 0; i < u->count; i++) {
		const enum cx_err err = cx_send(ctx, u->members[i].ref, &look_of(ctx, u)->hdr);

		(void)err; /* as push */
	}
}

enum why_look { AFTER_GAP, REDIS_LOST_DATA };

/* One for each member and gap.  Reserved: a push that is lost shows at the next tick, a kick never. */
static void look_all(struct cx_ctx *ctx, const struct user *u, uint32_t within_ms,
                     enum why_look why)
{
	for (uint32_t i = 0; i < u->count; i++) {
		struct hub_look *m = look_of(ctx, u);
		enum cx_err err;

		m->within_ms = within_ms;
		m->after_gap = why == AFTER_GAP;
		m->anew = why == REDIS_LOST_DATA;
		err = cx_send_reserved(ctx, u->members[i].ref, &m->hdr);
		(void)err; /* it closed by itself meanwhile */
	}
}

static void kick(struct cx_ctx *ctx, const struct user *u, const struct member *member,
                 uint16_t code)
{
	struct hub_kicked *m = CX_MSG_NEW(ctx, HUB_KICKED, struct hub_kicked);
	enum cx_err err;

	m->user = u->id;
	m->jti = member->jti;
	m->code = code;
	err = cx_send_reserved(ctx, member->ref, &m->hdr); /* one for each member and reason */
	(void)err;                                         /* it closed by itself meanwhile */
}

static struct cx_ref routes_of(const struct hub *hub, const struct uuid *user)
{
	return hub->relay->routes[relay_home(hub->relay, user)];
}

/* Who has routes has an inbox that wants to know; the embedded one does not. */
static void tell_presence(struct cx_ctx *ctx, const struct hub *hub, const struct uuid *user,
                          bool is_present)
{
	enum cx_err err;

	if (cx_ref_none(routes_of(hub, user)))
		return;
	err = inbox_presence(ctx, &hub->relay->inbox, user, is_present);
	(void)err; /* only at the runtime's end */
}

static void remove_at(struct cx_ctx *ctx, struct hub *hub, struct user *u, uint32_t i)
{
	const uint32_t number = u->members[i].number;
	enum cx_err err;

	memmove(&u->members[i], &u->members[i + 1], (u->count - i - 1) * sizeof(u->members[0]));
	u->count--;
	hub->members--;
	err = routes_leave(ctx, routes_of(hub, &u->id), &u->id, number, u->count == 0);
	(void)err; /* only at the runtime's end */
	if (u->count == 0)
		tell_presence(ctx, hub, &u->id, false);
}

static void drop_if_empty(struct hub *hub, struct user *u)
{
	if (u->count > 0)
		return;
	uuid_map_take(&hub->users, &u->id);
	free(u);
}

static struct user *user_for_join(struct hub *hub, const struct uuid *id)
{
	struct user *u = uuid_map_get(&hub->users, id);
	const uint32_t cap = u == NULL ? 1 : u->cap * 2;

	if (u != NULL && u->count < u->cap)
		return u;
	u = realloc(u, sizeof(*u) + cap * sizeof(u->members[0]));
	cx_assert(u != NULL);
	if (cap == 1)
		*u = (struct user){ .id = *id };
	u->cap = cap;
	uuid_map_put(&hub->users, id, u);
	return u;
}

static void on_join(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct hub_join_msg *m = CX_MSG_AS(struct hub_join_msg, msg);
	struct hub *hub = state;
	struct user *u = uuid_map_get(&hub->users, &m->user);
	uint32_t number;
	enum cx_err err;

	for (uint32_t i = 0; u != NULL && i < u->count; i++) {
		if (!cx_ref_is(u->members[i].ref, msg->from))
			continue;
		u->members[i].jti = m->jti;
		return;
	}
	u = user_for_join(hub, &m->user);
	number = ++hub->joins * NUMBER_WORKERS + cx_worker_index(ctx);
	u->members[u->count++] =
		(struct member){ .ref = msg->from, .jti = m->jti, .number = number };
	hub->members++;
	if (u->count == 1)
		tell_presence(ctx, hub, &u->id, true);
	err = routes_join(ctx, routes_of(hub, &u->id), &u->id, number);
	(void)err; /* only at the runtime's end */
	while (u->count > hub->relay->max_connections_per_user) {
		kick(ctx, u, &u->members[0], 4409);
		remove_at(ctx, hub, u, 0);
	}
}

/* Receipts that every present connection has may go. */
static void give_up_receipts(struct cx_ctx *ctx, const struct hub *hub, struct user *u)
{
	uint64_t least = UINT64_MAX;
	enum cx_err err;

	for (uint32_t i = 0; i < u->count; i++)
		if (u->members[i].confirmed < least)
			least = u->members[i].confirmed;
	if (u->count == 0 || least <= u->settled)
		return;
	err = inbox_receipts_done(ctx, &hub->relay->inbox, &u->id, least);
	if (err == CX_OK)
		u->settled = least;
}

static void leave(struct cx_ctx *ctx, struct hub *hub, const struct uuid *user,
                  struct cx_ref who)
{
	struct user *u = uuid_map_get(&hub->users, user);

	for (uint32_t i = 0; u != NULL && i < u->count; i++) {
		if (!cx_ref_is(u->members[i].ref, who))
			continue;
		remove_at(ctx, hub, u, i);
		give_up_receipts(ctx, hub, u);
		drop_if_empty(hub, u);
		return;
	}
}

static void on_leave(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	leave(ctx, state, &CX_MSG_AS(struct hub_leave_msg, msg)->user, msg->from);
}

static void on_confirm(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct hub_confirm_msg *m = CX_MSG_AS(struct hub_confirm_msg, msg);
	struct hub *hub = state;
	struct user *u = uuid_map_get(&hub->users, &m->user);

	for (uint32_t i = 0; u != NULL && i < u->count; i++)
		if (cx_ref_is(u->members[i].ref, msg->from) &&
		    u->members[i].confirmed < m->upto)
			u->members[i].confirmed = m->upto;
	if (u != NULL)
		give_up_receipts(ctx, hub, u);
}

static void kick_here(struct cx_ctx *ctx, struct hub *hub, const struct push_kick_session *k,
                      struct cx_ref except)
{
	struct user *u = uuid_map_get(&hub->users, &k->user);

	for (uint32_t i = u == NULL ? 0 : u->count; i-- > 0;) {
		const struct member *member = &u->members[i];
		const bool is_session = uuid_equal(&member->jti, &k->jti);

		if ((k->what == HUB_KICK_SESSION && !is_session) ||
		    (k->what == HUB_KICK_OTHERS && is_session) ||
		    cx_ref_is(member->ref, except))
			continue;
		kick(ctx, u, member, k->code);
		remove_at(ctx, hub, u, i);
	}
	if (u != NULL)
		drop_if_empty(hub, u);
}

/* What is said of it is said after it: the kicked have it before anybody hears that it is done. */
static void on_kick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct hub_kick_msg *m = CX_MSG_AS(struct hub_kick_msg, msg);
	struct push_kick_session k = m->kick;
	struct hub *hub = state;
	const struct cx_ref routes = routes_of(hub, &k.user);
	enum cx_err err;

	kick_here(ctx, hub, &k, m->except);
	k.from_instance = hub->relay->instance;
	if (m->kick.from_instance != 0)
		err = routes_confirm(ctx, routes, &k, m->kick.from_instance);
	else
		err = routes_kick(ctx, routes, &k, cx_caller_of(msg));
	(void)err; /* only at the runtime's end */
}

static void kick_number(struct cx_ctx *ctx, struct hub *hub, const struct uuid *user,
                        uint32_t number, uint16_t code)
{
	struct user *u = uuid_map_get(&hub->users, user);

	for (uint32_t i = 0; u != NULL && i < u->count; i++) {
		if (u->members[i].number != number)
			continue;
		kick(ctx, u, &u->members[i], code);
		remove_at(ctx, hub, u, i);
		drop_if_empty(hub, u);
		return;
	}
}

static void on_kick_number(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct hub_kick_number_msg *m = CX_MSG_AS(struct hub_kick_number_msg, msg);

	kick_number(ctx, state, &m->user, m->number, m->code);
}

/* Over the limit, counted over all instances. */
static void on_displaced(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct routes_displaced *m = CX_MSG_AS(struct routes_displaced, msg);

	kick_number(ctx, state, &m->user, m->number, 4409);
}

/* From now on pushes come; what was appended before was not pushed to us. */
static void on_joined(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct hub *hub = state;
	const struct user *u =
		uuid_map_get(&hub->users, &CX_MSG_AS(struct routes_joined, msg)->user);

	if (u != NULL)
		look(ctx, u);
}

static uint32_t spread_ms(uint32_t members)
{
	const uint64_t ms = (uint64_t)members * 1000 / LOOKS_A_SECOND;

	return ms < LOOK_WITHIN_MAX ? (uint32_t)ms : LOOK_WITHIN_MAX;
}

static void on_look_at(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct hub *hub = state;
	const struct hub_look_at_msg *m = CX_MSG_AS(struct hub_look_at_msg, msg);
	const struct user *u;
	uint32_t at = 0;

	if (!m->is_all) {
		u = uuid_map_get(&hub->users, &m->user);
		if (u != NULL)
			look(ctx, u);
		return;
	}
	while ((u = uuid_map_next(&hub->users, &at)) != NULL)
		look_all(ctx, u, spread_ms(hub->members), AFTER_GAP);
}

static void on_wake(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct hub_wake_msg *m = CX_MSG_AS(struct hub_wake_msg, msg);
	const struct hub *hub = state;

	for (uint32_t i = 0; i < m->count; i++) {
		const struct user *u = uuid_map_get(&hub->users, &m->items[i].owner);

		for (uint32_t k = 0; u != NULL && k < u->count; k++)
			push(ctx, u->members[k].ref, &m->items[i], msg->buf);
	}
}

/* Ids of receipts mean others now; messages keep theirs. */
static void read_anew(struct cx_ctx *ctx, const struct hub *hub)
{
	struct user *u;
	uint32_t at = 0;

	while ((u = uuid_map_next(&hub->users, &at)) != NULL) {
		u->settled = 0;
		for (uint32_t i = 0; i < u->count; i++)
			u->members[i].confirmed = 0;
		look_all(ctx, u, spread_ms(hub->members), REDIS_LOST_DATA);
	}
}

/* The adapter is there before the inbox and the routes are, so it tells us.  The inbox first: reads follow
 * from what the routes do. */
static void on_redis_changed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint32_t worker = cx_worker_index(ctx);
	const struct hub *hub = state;
	struct redis_changed *m = CX_MSG_NEW(ctx, REDIS_CHANGED, struct redis_changed);
	enum cx_err err;

	memcpy(m->run_id, CX_MSG_AS(struct redis_changed, msg)->run_id, sizeof(m->run_id));
	err = cx_send_reserved(ctx, hub->relay->inbox.shards[worker], &m->hdr);
	(void)err; /* only at the runtime's end */
	err = routes_again(ctx, hub->relay->routes[worker]);
	(void)err; /* as above */
	read_anew(ctx, hub);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct hub *hub = state;

	(void)ctx;
	hub->relay = ((const struct relay_conf *)conf)->relay;
	return CX_OK;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct hub *hub = state;
	uint32_t at = 0;
	struct user *u;

	(void)ctx;
	while ((u = uuid_map_next(&hub->users, &at)) != NULL)
		free(u);
	uuid_map_free(&hub->users);
}

static const struct cx_handler handlers[] = {
	CX_ON(HUB_JOIN, struct hub_join_msg, on_join),
	CX_ON(HUB_LEAVE, struct hub_leave_msg, on_leave),
	CX_ON(HUB_CONFIRM, struct hub_confirm_msg, on_confirm),
	CX_ON(HUB_KICK, struct hub_kick_msg, on_kick),
	CX_ON(HUB_WAKE, struct hub_wake_msg, on_wake),
	CX_ON(HUB_KICK_NUMBER, struct hub_kick_number_msg, on_kick_number),
	CX_ON(HUB_LOOK_AT, struct hub_look_at_msg, on_look_at),
	CX_ON(ROUTES_JOINED, struct routes_joined, on_joined),
	CX_ON(ROUTES_DISPLACED, struct routes_displaced, on_displaced),
	CX_ON(REDIS_CHANGED, struct redis_changed, on_redis_changed),
};

const struct cx_actor_type hub_type = {
	.name = "hub",
	.state_size = sizeof(struct hub),
	.conf_size = sizeof(struct relay_conf),
	.mailbox_cap = 65536,
	.batch_max = 256,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
