/* SPDX-License-Identifier: MIT */
#include "io/redis_fan.h"

struct redis_fan {
	struct redis_fan_conf conf;
};

static void on_push(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct redis_fan *fan = state;

	for (uint32_t i = 0; i < fan->conf.count; i++) {
		struct redis_push *m = CX_MSG_NEW(ctx, REDIS_PUSH, struct redis_push);
		enum cx_err err;

		m->channel = CX_MSG_AS(struct redis_push, msg)->channel;
		m->hdr.buf = cx_buf_ref(msg->buf);
		err = cx_send(ctx, fan->conf.to[i], &m->hdr);
		(void)err; /* pushes are hints */
	}
}

static void on_subscribed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct redis_fan *fan = state;

	for (uint32_t i = 0; i < fan->conf.count; i++) {
		struct redis_subscribed *m =
			CX_MSG_NEW(ctx, REDIS_SUBSCRIBED, struct redis_subscribed);
		enum cx_err err;

		m->times = CX_MSG_AS(struct redis_subscribed, msg)->times;
		err = cx_send_reserved(ctx, fan->conf.to[i], &m->hdr);
		(void)err; /* it has ended */
	}
}

static void on_unsubscribed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct redis_fan *fan = state;

	(void)msg;
	for (uint32_t i = 0; i < fan->conf.count; i++) {
		const enum cx_err err = cx_send_reserved(
			ctx, fan->conf.to[i],
			cx_msg_new(ctx, REDIS_UNSUBSCRIBED, sizeof(struct cx_msg)));

		(void)err; /* it has ended */
	}
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	((struct redis_fan *)state)->conf = *(const struct redis_fan_conf *)conf;
	return CX_OK;
}

static const struct cx_handler handlers[] = {
	CX_ON(REDIS_PUSH, struct redis_push, on_push),
	CX_ON(REDIS_SUBSCRIBED, struct redis_subscribed, on_subscribed),
	CX_ON(REDIS_UNSUBSCRIBED, struct cx_msg, on_unsubscribed),
};

const struct cx_actor_type redis_fan_type = {
	.name = "redis_fan",
	.state_size = sizeof(struct redis_fan),
	.conf_size = sizeof(struct redis_fan_conf),
	.mailbox_cap = 8192,
	.placement = CX_PLACE_IO,
	.start = start,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
