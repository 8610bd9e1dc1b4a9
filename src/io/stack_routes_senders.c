/* SPDX-License-Identifier: MIT */
/* What others say to the routes.  All of it is bounded by the connections, or by requests about
 * accounts, here or elsewhere, so none is refused. */
#include "io/stack_routes.h"

enum cx_err routes_join(struct cx_ctx *ctx, struct cx_ref routes, const struct uuid *user,
                        uint32_t number)
{
	struct routes_join_msg *m;

	if (cx_ref_none(routes))
		return CX_OK;
	m = CX_MSG_NEW(ctx, ROUTES_JOIN, struct routes_join_msg);
	m->user = *user;
	m->number = number;
	return cx_send_reserved(ctx, routes, &m->hdr);
}

enum cx_err routes_leave(struct cx_ctx *ctx, struct cx_ref routes, const struct uuid *user,
                         uint32_t number, bool is_last)
{
	struct routes_leave_msg *m;

	if (cx_ref_none(routes))
		return CX_OK;
	m = CX_MSG_NEW(ctx, ROUTES_LEAVE, struct routes_leave_msg);
	m->user = *user;
	m->number = number;
	m->is_last = is_last;
	return cx_send_reserved(ctx, routes, &m->hdr);
}

enum cx_err routes_again(struct cx_ctx *ctx, struct cx_ref routes)
{
	if (cx_ref_none(routes))
		return CX_OK;
	return cx_send_reserved(ctx, routes,
	                        cx_msg_new(ctx, ROUTES_AGAIN, sizeof(struct cx_msg)));
}

enum cx_err routes_kick(struct cx_ctx *ctx, struct cx_ref routes,
                        const struct push_kick_session *kick, struct cx_caller caller)
{
	struct routes_kick_msg *m;

	if (cx_ref_none(routes)) {
		cx_answer(ctx, caller, cx_msg_new(ctx, ROUTES_KICKED, sizeof(struct cx_msg)));
		return CX_OK;
	}
	m = CX_MSG_NEW(ctx, ROUTES_KICK, struct routes_kick_msg);
	m->kick = *kick;
	m->caller = caller;
	return cx_send_reserved(ctx, routes, &m->hdr);
}

enum cx_err routes_confirm(struct cx_ctx *ctx, struct cx_ref routes,
                           const struct push_kick_session *kick, uint64_t to)
{
	struct routes_confirm_msg *m;

	if (cx_ref_none(routes))
		return CX_OK;
	m = CX_MSG_NEW(ctx, ROUTES_CONFIRM, struct routes_confirm_msg);
	m->kick = *kick;
	m->to = to;
	return cx_send_reserved(ctx, routes, &m->hdr);
}

enum cx_err routes_confirmed(struct cx_ctx *ctx, struct cx_ref routes,
                             const struct push_kick_session *kick)
{
	struct routes_confirmed_msg *m;

	if (cx_ref_none(routes))
		return CX_OK;
	m = CX_MSG_NEW(ctx, ROUTES_CONFIRMED, struct routes_confirmed_msg);
	m->kick = *kick;
	return cx_send_reserved(ctx, routes, &m->hdr);
}

enum cx_err routes_gone(struct cx_ctx *ctx, struct cx_ref routes, const struct uuid *user)
{
	struct routes_gone_msg *m;

	if (cx_ref_none(routes))
		return CX_OK;
	m = CX_MSG_NEW(ctx, ROUTES_GONE, struct routes_gone_msg);
	m->user = *user;
	return cx_send_reserved(ctx, routes, &m->hdr);
}

enum cx_err routes_drain_post(struct cx_runtime *rt, struct cx_ref routes)
{
	return cx_ref_none(routes)
	               ? CX_OK
	               : cx_post(rt, routes, cx_post_new(ROUTES_DRAIN, sizeof(struct cx_msg)));
}
