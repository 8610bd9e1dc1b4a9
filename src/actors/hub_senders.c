/* SPDX-License-Identifier: MIT */
/* What others say to a hub (hub.h): the user's home decides which one. */
#include "actors/hub.h"

#include "io/redis.h"
#include "io/stack_routes.h"

#define KICK_MS (3 * ROUTES_KICK_WAIT_MS)

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

static struct hub_kick_msg *kick_msg(struct cx_ctx *ctx, const struct push_kick_session *kick,
                                     struct cx_ref except)
{
	struct hub_kick_msg *m = CX_MSG_NEW(ctx, HUB_KICK, struct hub_kick_msg);

	m->kick = *kick;
	m->except = except;
	return m;
}

enum cx_err hub_kick(struct cx_ctx *ctx, const struct relay *relay, const struct uuid *user,
                     const struct uuid *jti, enum hub_kick_what what, struct cx_ref except,
                     uint16_t code, uint64_t *corr)
{
	const struct cx_ref hub = hub_of(relay, user);
	struct push_kick_session kick = { .user = *user, .code = code, .what = (uint8_t)what };
	enum cx_err err;

	if (jti != NULL)
		kick.jti = *jti;
	err = cx_ask(ctx, hub, &kick_msg(ctx, &kick, except)->hdr, KICK_MS, corr);
	if (err == CX_EFULL && /* a kick is never refused */
	    cx_send_reserved(ctx, hub, &kick_msg(ctx, &kick, except)->hdr) != CX_OK)
		return CX_EGONE;
	return err;
}

enum cx_err hub_kick_for(struct cx_ctx *ctx, const struct relay *relay,
                         const struct push_kick_session *kick)
{
	return cx_send_reserved(ctx, hub_of(relay, &kick->user),
	                        &kick_msg(ctx, kick, CX_NOBODY)->hdr);
}

enum cx_err hub_kick_number(struct cx_ctx *ctx, const struct relay *relay,
                            const struct uuid *user, uint32_t number, uint16_t code)
{
	struct hub_kick_number_msg *m =
		CX_MSG_NEW(ctx, HUB_KICK_NUMBER, struct hub_kick_number_msg);

	m->user = *user;
	m->number = number;
	m->code = code;
	return cx_send(ctx, hub_of(relay, user), &m->hdr);
}

static enum cx_err send_look(struct cx_ctx *ctx, struct cx_ref hub, const struct uuid *user)
{
	struct hub_look_at_msg *m = CX_MSG_NEW(ctx, HUB_LOOK_AT, struct hub_look_at_msg);

	if (user != NULL) {
		m->user = *user;
		return cx_send(ctx, hub, &m->hdr);
	}
	m->is_all = 1;
	return cx_send_reserved(ctx, hub, &m->hdr); /* one a new subscription */
}

enum cx_err hub_look(struct cx_ctx *ctx, const struct relay *relay, const struct uuid *user)
{
	enum cx_err first = CX_OK;

	if (user != NULL)
		return send_look(ctx, hub_of(relay, user), user);
	for (uint32_t i = 0; i < relay->workers; i++) {
		const enum cx_err err = send_look(ctx, relay->hubs[i], NULL);

		if (first == CX_OK)
			first = err;
	}
	return first;
}

enum cx_err hub_redis_lost(struct cx_ctx *ctx, const struct relay *relay)
{
	enum cx_err first = CX_OK;

	for (uint32_t i = 0; i < relay->workers; i++) {
		struct redis_changed *m = CX_MSG_NEW(ctx, REDIS_CHANGED, struct redis_changed);
		const enum cx_err err = cx_send_reserved(ctx, relay->hubs[i], &m->hdr);

		if (first == CX_OK)
			first = err;
	}
	return first;
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
