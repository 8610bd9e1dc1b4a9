/* SPDX-License-Identifier: MIT */
#include "actors/echo.h"

#include "io/websocket.h"

#define CLOSE_RESTART 1012 /* the server goes away and comes back */

struct echo {
	struct ws_handle handle;
	uint32_t frames, bytes; /* of this turn, to be given back */
};

/* A send that fails: the adapter has ended, and this actor is about to. */
static void ignore_gone(enum cx_err err)
{
	cx_assert(err == CX_OK || err == CX_EGONE);
}

static void on_frame(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct echo *echo = state;
	const uint32_t len = (uint32_t)cx_buf_len(msg->buf);
	const enum ws_kind kind =
		CX_MSG_AS(struct ws_frame_in, msg)->is_text ? WS_TEXT : WS_ANSWER;

	ignore_gone(ws_send(ctx, echo->handle, msg->buf, 0, len, kind));
	echo->frames++;
	echo->bytes += len;
}

static void on_ping(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct echo *echo = state;

	ignore_gone(ws_pong(ctx, echo->handle, msg->buf));
}

static void on_drain(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct echo *echo = state;

	(void)msg;
	ignore_gone(ws_close(ctx, echo->handle, CLOSE_RESTART, "restart"));
}

static void on_closed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	cx_stop(ctx);
}

static void batch_end(struct cx_ctx *ctx, void *state)
{
	struct echo *echo = state;

	if (echo->frames == 0)
		return;
	ignore_gone(ws_consumed(ctx, echo->handle, echo->frames, echo->bytes));
	echo->frames = 0;
	echo->bytes = 0;
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct echo *echo = state;

	(void)ctx;
	echo->handle = ((const struct ws_connection_conf *)conf)->handle;
	return CX_OK;
}

static const struct cx_handler handlers[] = {
	CX_ON(WS_FRAME, struct ws_frame_in, on_frame),
	CX_ON(WS_PING, struct ws_ping_in, on_ping),
	CX_ON(WS_DRAIN, struct ws_drain_in, on_drain),
	CX_ON(WS_CLOSED, struct ws_closed, on_closed),
};

const struct cx_actor_type echo_type = {
	.name = "echo",
	.state_size = sizeof(struct echo),
	.conf_size = sizeof(struct ws_connection_conf),
	.mailbox_cap = 256,
	.batch_max = 128,
	.placement = CX_PLACE_IO,
	.start = start,
	.batch_end = batch_end,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
