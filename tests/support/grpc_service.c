/* SPDX-License-Identifier: MIT */
#include "support/grpc_service.h"

#include <stdlib.h>
#include <string.h>

#include "io/loop_uv.h"

#define LATER_MS 300
#define LATER_MAX 2048
#define BIG_BYTES (1024 * 1024)

enum method { ECHO, NEVER, LATER, FAIL, BIG, DIE, DOWN, BUSY, ORDER, SUBMIT, CHECK };

static const struct grpc_method methods[] = {
	{ TEST_ECHO, ECHO, false },       { TEST_NEVER, NEVER, false },
	{ TEST_LATER, LATER, false },     { TEST_FAIL, FAIL, false },
	{ TEST_BIG, BIG, false },         { TEST_DIE, DIE, false },
	{ TEST_BUSY, BUSY, false },       { TEST_ORDER, ORDER, false },
	{ TEST_DOWN, DOWN, false },       { TEST_SUBMIT, SUBMIT, false },
	{ TEST_CHECK, CHECK, false },     { TEST_MANY_ECHO, ECHO, true },
	{ TEST_MANY_NEVER, NEVER, true }, { TEST_MANY_LATER, LATER, true },
	{ TEST_MANY_FAIL, FAIL, true },   { TEST_MANY_ORDER, ORDER, true },
	{ TEST_MANY_DIE, DIE, true },     { TEST_SUBMIT "s", SUBMIT, true },
};

struct waiting {
	struct grpc_handle handle;
	struct cx_buf *buf;
	uint64_t due_ms;
};

struct service {
	struct waiting waiting[LATER_MAX];
	size_t count;
	struct cx_timer timer;
};

static void answer(struct cx_ctx *ctx, struct grpc_handle handle, enum grpc_status status,
                   const char *message, struct cx_buf *buf)
{
	const enum cx_err err = grpc_reply(ctx, handle, status, message, buf);

	(void)err; /* the adapter ended before */
}

static void answer_later(struct cx_ctx *ctx, struct service *s, const struct grpc_call *m)
{
	if (s->count == LATER_MAX) {
		answer(ctx, m->handle, GRPC_RESOURCE_EXHAUSTED, "too many wait", NULL);
		return;
	}
	s->waiting[s->count++] = (struct waiting){
		.handle = m->handle,
		.buf = cx_buf_ref(m->hdr.buf),
		.due_ms = cx_now_ms(ctx) + LATER_MS,
	};
	if (!cx_timer_is_armed(&s->timer))
		cx_timer_arm(ctx, &s->timer, LATER_MS, TIMER_A);
}

static void answer_big(struct cx_ctx *ctx, struct grpc_handle handle)
{
	struct cx_buf *buf = cx_buf_new(BIG_BYTES);

	memset(cx_buf_data(buf), 'b', BIG_BYTES);
	answer(ctx, handle, GRPC_OK, NULL, buf);
	cx_buf_unref(buf);
}

/* A response of which only field 1, an enum of value 1, is set. */
static void answer_one(struct cx_ctx *ctx, struct grpc_handle handle)
{
	struct cx_buf *buf = cx_buf_copy("\x08\x01", 2);

	answer(ctx, handle, GRPC_OK, NULL, buf);
	cx_buf_unref(buf);
}

static void answer_order(struct cx_ctx *ctx, const struct grpc_call *m)
{
	static uint32_t next[GRPC_TEST_WHO_MAX];
	uint32_t head[2];

	cx_assert(cx_buf_len(m->hdr.buf) >= sizeof(head));
	memcpy(head, cx_buf_bytes(m->hdr.buf), sizeof(head));
	cx_assert(head[0] < GRPC_TEST_WHO_MAX);
	if (__atomic_fetch_add(&next[head[0]], 1, __ATOMIC_SEQ_CST) == head[1])
		answer(ctx, m->handle, GRPC_OK, NULL, NULL);
	else
		answer(ctx, m->handle, GRPC_FAILED_PRECONDITION, "out of order", NULL);
}

static void on_call(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct grpc_call *m = CX_MSG_AS(struct grpc_call, msg);

	switch ((enum method)m->method) {
	case NEVER:
		break;
	case LATER:
		answer_later(ctx, state, m);
		break;
	case FAIL:
		answer(ctx, m->handle, GRPC_INVALID_ARGUMENT, "gr\xc3\xbc\xc3\x9f 100%", NULL);
		break;
	case BUSY:
		answer(ctx, m->handle, GRPC_UNAVAILABLE, "busy", NULL);
		break;
	case ORDER:
		answer_order(ctx, m);
		break;
	case BIG:
		answer_big(ctx, m->handle);
		break;
	case DIE:
		cx_stop(ctx);
		break;
	case SUBMIT:
	case CHECK:
		answer_one(ctx, m->handle);
		break;
	case DOWN:
		if (grpc_server_health(ctx, m->handle.server, "test.Echo",
		                       GRPC_HEALTH_NOT_SERVING) != CX_OK)
			break;
		answer(ctx, m->handle, GRPC_OK, NULL, msg->buf);
		break;
	case ECHO:
		answer(ctx, m->handle, GRPC_OK, NULL, msg->buf);
		break;
	}
}

static void on_timer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct service *s = state;
	size_t kept = 0;

	(void)msg;
	for (size_t i = 0; i < s->count; i++) {
		if (s->waiting[i].due_ms > cx_now_ms(ctx)) {
			s->waiting[kept++] = s->waiting[i];
			continue;
		}
		answer(ctx, s->waiting[i].handle, GRPC_OK, NULL, s->waiting[i].buf);
		cx_buf_unref(s->waiting[i].buf);
	}
	s->count = kept;
	if (kept > 0)
		cx_timer_arm(ctx, &s->timer, s->waiting[0].due_ms - cx_now_ms(ctx), TIMER_A);
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct service *s = state;

	(void)ctx;
	for (size_t i = 0; i < s->count; i++)
		cx_buf_unref(s->waiting[i].buf);
}

static const struct cx_handler handlers[] = {
	CX_ON(GRPC_CALL, struct grpc_call, on_call),
	CX_ON(TIMER_A, struct cx_msg_timer, on_timer),
};

static const struct cx_actor_type service_type = {
	.name = "test_grpc_service",
	.state_size = sizeof(struct service),
	.mailbox_cap = 4096,
	.placement = CX_PLACE_IO,
	.stop = stop,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

void grpc_test_defaults(struct grpc_test_server *s)
{
	memset(s, 0, sizeof(*s));
	s->settings = (struct grpc_server_settings){
		.bind = "127.0.0.1",
		.workers = 2,
		.methods = methods,
		.method_count = CX_COUNTOF(methods),
	};
}

const char *grpc_test_make(struct grpc_test_server *s)
{
	const struct cx_runtime_conf conf = { .workers = s->settings.workers,
		                              .loop = &loop_uv_ops };
	const char *why = "the runtime";

	s->settings.service = s->services;
	if (cx_runtime_new(&conf, &s->rt) != CX_OK ||
	    grpc_server_setup(&s->settings, &s->port, &why) != CX_OK)
		return why;
	for (unsigned i = 0; i < s->settings.workers; i++)
		if (cx_runtime_spawn(s->rt, &service_type, NULL, i, &s->services[i]) != CX_OK ||
		    cx_runtime_spawn(s->rt, &grpc_server_type, NULL, i, &s->servers[i]) !=
		            CX_OK)
			return "an actor";
	return NULL;
}

static const char *tell_all(struct grpc_test_server *s, enum grpc_listen what)
{
	for (unsigned i = 0; i < s->settings.workers; i++)
		if (grpc_server_listen_post(s->rt, s->servers[i], what) != CX_OK)
			return "a server has ended";
	return NULL;
}

const char *grpc_test_run(struct grpc_test_server *s)
{
	if (cx_runtime_start(s->rt) != CX_OK)
		return "the threads";
	return tell_all(s, GRPC_LISTEN_START);
}

void grpc_test_drain(struct grpc_test_server *s)
{
	const char *why = tell_all(s, GRPC_LISTEN_DRAIN);

	cx_assert(why == NULL);
}

void grpc_test_stop(struct grpc_test_server *s)
{
	cx_runtime_stop(s->rt);
	cx_runtime_free(s->rt);
	grpc_server_teardown();
}
