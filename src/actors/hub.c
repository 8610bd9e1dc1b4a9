/* SPDX-License-Identifier: MIT */
#include "actors/hub.h"

#include <stdlib.h>
#include <string.h>

#include "wire/uuid_map.h"

struct member {
	struct cx_ref ref;
	struct uuid jti;
	uint64_t confirmed; /* receipts up to here have reached this client */
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

static void remove_at(struct user *u, uint32_t i)
{
	memmove(&u->members[i], &u->members[i + 1], (u->count - i - 1) * sizeof(u->members[0]));
	u->count--;
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

	for (uint32_t i = 0; u != NULL && i < u->count; i++) {
		if (!cx_ref_is(u->members[i].ref, msg->from))
			continue;
		u->members[i].jti = m->jti;
		return;
	}
	u = user_for_join(hub, &m->user);
	u->members[u->count++] = (struct member){ .ref = msg->from, .jti = m->jti };
	while (u->count > hub->relay->max_connections_per_user) {
		kick(ctx, u, &u->members[0], 4409);
		remove_at(u, 0);
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
		remove_at(u, i);
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

static void on_kick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct hub_kick_msg *m = CX_MSG_AS(struct hub_kick_msg, msg);
	struct hub *hub = state;
	struct user *u = uuid_map_get(&hub->users, &m->user);

	for (uint32_t i = u == NULL ? 0 : u->count; i-- > 0;) {
		const struct member *member = &u->members[i];
		const bool is_session = memcmp(&member->jti, &m->jti, sizeof(m->jti)) == 0;

		if ((m->what == HUB_KICK_SESSION && !is_session) ||
		    (m->what == HUB_KICK_OTHERS && is_session) ||
		    cx_ref_is(member->ref, m->except))
			continue;
		kick(ctx, u, member, m->code);
		remove_at(u, i);
	}
	if (u != NULL)
		drop_if_empty(hub, u);
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

static struct cx_ref hub_of(const struct relay *relay, const struct uuid *user)
{
	return relay->hubs[relay_home(relay, user)];
}

/* Joins and leaves are bounded by the connections, so they are never refused. */
enum cx_err hub_join(struct cx_ctx *ctx, const struct relay *relay, const struct uuid *user,
                     const struct uuid *jti)
{
	struct hub_join_msg *m = CX_MSG_NEW(ctx, HUB_JOIN, struct hub_join_msg);

	m->user = *user;
	m->jti = *jti;
	return cx_send_reserved(ctx, hub_of(relay, user), &m->hdr);
}

enum cx_err hub_leave(struct cx_ctx *ctx, const struct relay *relay, const struct uuid *user)
{
	struct hub_leave_msg *m = CX_MSG_NEW(ctx, HUB_LEAVE, struct hub_leave_msg);

	m->user = *user;
	return cx_send_reserved(ctx, hub_of(relay, user), &m->hdr);
}

enum cx_err hub_confirm(struct cx_ctx *ctx, const struct relay *relay, const struct uuid *user,
                        uint64_t upto)
{
	struct hub_confirm_msg *m = CX_MSG_NEW(ctx, HUB_CONFIRM, struct hub_confirm_msg);

	m->user = *user;
	m->upto = upto;
	return cx_send(ctx, hub_of(relay, user), &m->hdr);
}

enum cx_err hub_kick(struct cx_ctx *ctx, const struct relay *relay, const struct uuid *user,
                     const struct uuid *jti, enum hub_kick_what what, struct cx_ref except,
                     uint16_t code)
{
	struct hub_kick_msg *m = CX_MSG_NEW(ctx, HUB_KICK, struct hub_kick_msg);

	m->user = *user;
	if (jti != NULL)
		m->jti = *jti;
	m->what = (uint8_t)what;
	m->except = except;
	m->code = code;
	return cx_send_reserved(ctx, hub_of(relay, user), &m->hdr);
}

enum cx_err hub_wake(struct cx_ctx *ctx, const struct relay *relay, uint32_t home,
                     const struct inbox_appended *batch)
{
	struct hub_wake_msg *m = CX_MSG_NEW(ctx, HUB_WAKE, struct hub_wake_msg);

	for (uint32_t i = 0; i < batch->count; i++)
		if (batch->items[i].fresh)
			m->items[m->count++] = batch->items[i];
	if (m->count == 0) {
		cx_msg_drop(&m->hdr);
		return CX_OK;
	}
	m->hdr.buf = cx_buf_ref(batch->hdr.buf);
	return cx_send(ctx, relay->hubs[home], &m->hdr);
}
