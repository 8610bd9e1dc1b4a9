/* SPDX-License-Identifier: MIT */
/* The adapter's actor: its turns, and the senders that others call. */
#include "io/grpc_server.h"

#include <stdio.h>
#include <string.h>

#include <cx/runtime.h>

#include "io/grpc_server_internal.h"

#define BATCH_MAX 512

struct state {
	struct grpc_adapter *adapter;
};

static void leave(void *arg)
{
	const struct grpc_adapter *a = arg;

	cx_io_leave(a->ctx); /* runs batch_end */
}

void grpc_enter(struct grpc_adapter *a)
{
	if (a->ctx != NULL)
		return;
	loop_uv_at_end(a->loop, leave, a);
	a->ctx = cx_io_enter(a->worker, a->self);
}

static struct grpc_adapter *begin(struct cx_ctx *ctx, void *state)
{
	struct grpc_adapter *a = ((struct state *)state)->adapter;

	a->ctx = ctx;
	return a;
}

static void batch_end(struct cx_ctx *ctx, void *state)
{
	struct grpc_adapter *a = begin(ctx, state);

	grpc_flush_dirty(a);
	a->ctx = NULL;
}

static void on_reply(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct grpc_adapter *a = begin(ctx, state);
	const struct grpc_reply_msg *m = CX_MSG_AS(struct grpc_reply_msg, msg);
	struct grpc_stream *s = grpc_stream_at(a, m->handle.index, m->handle.gen);

	if (s != NULL && s->kind == GRPC_KIND_MANY && !s->is_over) {
		grpc_many_reply(s, &m->handle, (enum grpc_status)m->status, m->message,
		                msg->buf);
		return;
	}
	if (s == NULL || s->phase != GRPC_PHASE_SERVICE || s->is_over)
		return;
	s->conn->held_bytes -= s->held;
	s->held = 0;
	if (m->status == GRPC_OK)
		grpc_push(s, msg->buf);
	grpc_end(s, (enum grpc_status)m->status, m->message);
}

static void on_control(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct grpc_adapter *a = begin(ctx, state);
	const struct grpc_control_msg *m = CX_MSG_AS(struct grpc_control_msg, msg);

	switch ((enum grpc_control)m->what) {
	case GRPC_CONTROL_START:
		grpc_accept_start(a);
		break;
	case GRPC_CONTROL_DRAIN:
		grpc_accept_stop(a);
		grpc_health_drain(a);
		grpc_drain_all(a);
		break;
	case GRPC_CONTROL_HEALTH:
		grpc_health_set(a, m->name, (enum grpc_health)m->health);
		break;
	}
}

/* The service is gone: nobody will answer what it holds. */
static void on_down(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct grpc_adapter *a = begin(ctx, state);

	(void)msg;
	for (struct grpc_conn *c = a->conns; c != NULL; c = c->next)
		for (struct grpc_stream *s = c->streams; s != NULL; s = s->next)
			if ((s->phase == GRPC_PHASE_SERVICE || s->kind == GRPC_KIND_MANY) &&
			    !s->is_over)
				grpc_end(s, GRPC_UNAVAILABLE, "the service has ended");
}

static void on_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)msg;
	grpc_tick(begin(ctx, state));
}

static void on_deadline(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	uint8_t *timer = (uint8_t *)CX_MSG_AS(struct cx_msg_timer, msg)->timer;

	(void)begin(ctx, state);
	grpc_deadline(
		(struct grpc_stream *)(void *)(timer - offsetof(struct grpc_stream, timer)));
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct grpc_adapter *a = grpc_adapter_of(cx_worker_index(ctx));

	(void)conf;
	if (a == NULL)
		return CX_EINVAL;
	((struct state *)state)->adapter = a;
	a->self = cx_self(ctx);
	a->worker = cx_worker_of(ctx);
	cx_watch(ctx, a->settings->service[a->index]);
	return CX_OK;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct grpc_adapter *a = begin(ctx, state);

	grpc_accept_stop(a);
	grpc_close_all(a);
	a->ctx = NULL;
}

static const struct cx_handler handlers[] = {
	CX_ON(GRPC_REPLY, struct grpc_reply_msg, on_reply),
	CX_ON(GRPC_CONTROL, struct grpc_control_msg, on_control),
	CX_ON(CX_MSG_DOWN, struct cx_msg_down, on_down),
	CX_ON(TIMER_A, struct cx_msg_timer, on_tick),
	CX_ON(TIMER_B, struct cx_msg_timer, on_deadline),
};

const struct cx_actor_type grpc_server_type = {
	.name = "grpc_server",
	.state_size = sizeof(struct state),
	.mailbox_cap = 65536,
	.batch_max = BATCH_MAX,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.batch_end = batch_end,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

enum cx_err grpc_reply(struct cx_ctx *ctx, struct grpc_handle handle, enum grpc_status status,
                       const char *message, struct cx_buf *buf)
{
	struct grpc_reply_msg *m = CX_MSG_NEW(ctx, GRPC_REPLY, struct grpc_reply_msg);

	m->handle = handle;
	m->status = (uint8_t)status;
	m->hdr.buf = cx_buf_ref(buf);
	snprintf(m->message, sizeof(m->message), "%s", message == NULL ? "" : message);
	/* One for each call, and those are bounded. */
	return cx_send_reserved(ctx, handle.server, &m->hdr);
}

enum cx_err grpc_server_listen(struct cx_ctx *ctx, struct cx_ref server, enum grpc_listen what)
{
	struct grpc_control_msg *m = CX_MSG_NEW(ctx, GRPC_CONTROL, struct grpc_control_msg);

	m->what = what == GRPC_LISTEN_START ? GRPC_CONTROL_START : GRPC_CONTROL_DRAIN;
	return cx_send_reserved(ctx, server, &m->hdr);
}

enum cx_err grpc_server_listen_post(struct cx_runtime *rt, struct cx_ref server,
                                    enum grpc_listen what)
{
	struct grpc_control_msg *m =
		(struct grpc_control_msg *)(void *)cx_post_new(GRPC_CONTROL, sizeof(*m));

	m->what = what == GRPC_LISTEN_START ? GRPC_CONTROL_START : GRPC_CONTROL_DRAIN;
	return cx_post(rt, server, &m->hdr);
}

enum cx_err grpc_server_health(struct cx_ctx *ctx, struct cx_ref server, const char *name,
                               enum grpc_health health)
{
	struct grpc_control_msg *m = CX_MSG_NEW(ctx, GRPC_CONTROL, struct grpc_control_msg);

	m->what = GRPC_CONTROL_HEALTH;
	m->name = name;
	m->health = (uint8_t)health;
	return cx_send_reserved(ctx, server, &m->hdr);
}
