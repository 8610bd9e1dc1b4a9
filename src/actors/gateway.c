/* SPDX-License-Identifier: MIT */
#include "actors/gateway.h"

#include <stdlib.h>

#include "actors/user_limiter.h"
#include "wire/uuid_map.h"

struct route {
	struct cx_ref limiter;
	struct uuid user;
	uint64_t forwarded;
};

struct gateway {
	const struct relay *relay;
	struct uuid_map routes; /* user -> struct route */
};

static struct route *route_for(struct cx_ctx *ctx, struct gateway *g, const struct uuid *user)
{
	struct route *route = uuid_map_get(&g->routes, user);
	struct user_limiter_conf conf = { .relay = g->relay,
		                          .user = *user,
		                          .gateway = cx_self(ctx) };

	if (route != NULL)
		return route;
	route = calloc(1, sizeof(*route));
	cx_assert(route != NULL);
	route->user = *user;
	if (cx_spawn(ctx, &user_limiter_type, &conf, cx_worker_index(ctx), &route->limiter) !=
	    CX_OK) {
		free(route);
		return NULL;
	}
	uuid_map_put(&g->routes, user, route);
	return route;
}

static void refuse(struct cx_ctx *ctx, const struct cx_msg *req)
{
	const struct gateway_submit *submit =
		&CX_MSG_AS(struct gateway_submit_msg, req)->submit;
	struct gateway_outcome *m = CX_MSG_NEW(ctx, GATEWAY_OUTCOME, struct gateway_outcome);

	m->code = ERROR_SERVER_ERROR;
	if (submit->code != ERROR_NONE)
		m->hdr.buf = cx_buf_ref(req->buf);
	m->frame_bytes = submit->frame_bytes;
	memcpy(m->id, submit->id, sizeof(m->id));
	cx_reply(ctx, req, &m->hdr);
}

static void on_submit(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct gateway *g = state;
	const struct gateway_submit *submit =
		&CX_MSG_AS(struct gateway_submit_msg, msg)->submit;
	struct route *route = route_for(ctx, g, &submit->sender);
	struct gateway_submit_msg *m;

	if (route == NULL) {
		refuse(ctx, msg);
		return;
	}
	m = CX_MSG_NEW(ctx, GATEWAY_SUBMIT, struct gateway_submit_msg);
	m->submit = *submit;
	m->caller = cx_caller_of(msg);
	m->hdr.buf = cx_buf_ref(msg->buf);
	/* bounded: a connection has a limited number of frames on the way */
	if (cx_send_reserved(ctx, route->limiter, &m->hdr) == CX_OK)
		route->forwarded++;
	else
		refuse(ctx, msg);
}

/* Everything we forwarded has been handled, so nothing can be lost or overtaken by stopping it. */
static void on_idle(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct gateway *g = state;
	const struct limiter_idle *idle = CX_MSG_AS(struct limiter_idle, msg);
	struct route *route = uuid_map_get(&g->routes, &idle->user);
	enum cx_err err;

	if (route == NULL || !cx_ref_is(route->limiter, msg->from) ||
	    route->forwarded != idle->handled)
		return;
	err = cx_send_reserved(ctx, msg->from,
	                       cx_msg_new(ctx, CX_MSG_STOP, sizeof(struct cx_msg)));
	(void)err; /* it has ended already */
	uuid_map_take(&g->routes, &idle->user);
	free(route);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct gateway *g = state;

	(void)ctx;
	g->relay = ((const struct relay_conf *)conf)->relay;
	return CX_OK;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct gateway *g = state;
	uint32_t at = 0;
	void *route;

	(void)ctx;
	while ((route = uuid_map_next(&g->routes, &at)) != NULL)
		free(route);
	uuid_map_free(&g->routes);
}

static const struct cx_handler handlers[] = {
	CX_ON(GATEWAY_SUBMIT, struct gateway_submit_msg, on_submit),
	CX_ON(LIMITER_IDLE, struct limiter_idle, on_idle),
};

const struct cx_actor_type gateway_type = {
	.name = "gateway",
	.state_size = sizeof(struct gateway),
	.conf_size = sizeof(struct relay_conf),
	.mailbox_cap = 65536,
	.batch_max = 256,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

enum cx_err gateway_submit(struct cx_ctx *ctx, const struct relay *relay,
                           const struct gateway_submit *submit, struct cx_buf *frame,
                           uint32_t timeout_ms, uint64_t *corr)
{
	struct gateway_submit_msg *m =
		CX_MSG_NEW(ctx, GATEWAY_SUBMIT, struct gateway_submit_msg);

	m->submit = *submit;
	m->hdr.buf = cx_buf_ref(frame);
	return cx_ask(ctx, relay->gateways[relay_home(relay, &submit->sender)], &m->hdr,
	              timeout_ms, corr);
}
