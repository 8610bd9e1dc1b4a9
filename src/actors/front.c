/* SPDX-License-Identifier: MIT */
#include "actors/front.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/metrics.h"
#include "actors/submissions.h"
#include "io/grpc_client.h"
#include "io/kafka_consumer.h"
#include "io/kafka_producer.h"
#include "io/redis.h"
#include "io/store.h"
#include "io/websocket.h"
#include "wire/submission.h"

#define PING_TIMEOUT_MS 2000
#define HELD_MS 10000  /* the oldest record that waits for Kafka: older is not healthy */
#define ROUNDS_MAX 256 /* on their way; more is 503 */

enum answer_form { PLAIN, JSON, METRICS };

struct round {                            /* one request: every backend is asked */
	uint64_t corrs[RELAY_CHECKS_MAX]; /* 0: answered */
	struct ws_handle handle;
	enum answer_form form;
	uint8_t waiting; /* answers; 0: free */
	bool is_ok[RELAY_CHECKS_MAX];
};

struct front {
	const struct relay *relay;
	struct metrics_kafka kafka; /* as last answered */
	const struct relay_check *checks;
	uint32_t check_count;
	struct round rounds[ROUNDS_MAX];
};

static const struct relay_check embedded_checks[] = {
	{ .name = "store", .kind = RELAY_CHECK_STORE },
	{ .name = "log", .kind = RELAY_CHECK_STORE },
};

static const char plain_type[] = "text/plain; charset=utf-8";
static const char json_type[] = "application/json";

static void respond(struct cx_ctx *ctx, struct ws_handle handle, uint16_t status,
                    const char *type, const char *headers, struct cx_buf *body)
{
	const enum cx_err err = http_respond(ctx, handle, status, type, headers, body);

	(void)err; /* the client left */
	cx_buf_unref(body);
}

static void respond_text(struct cx_ctx *ctx, struct ws_handle handle, uint16_t status,
                         const char *type, const char *headers, const char *text)
{
	respond(ctx, handle, status, type, headers, cx_buf_copy(text, strlen(text)));
}

static void finish(struct cx_ctx *ctx, const struct front *front, const struct round *r)
{
	char text[512];
	int len;
	bool is_ready = true;

	if (r->form == METRICS) {
		respond(ctx, r->handle, 200, "text/plain; version=0.0.4; charset=utf-8", NULL,
		        metrics_text(front->relay->runtime, &front->kafka));
		return;
	}
	for (uint32_t i = 0; i < front->check_count; i++)
		is_ready = is_ready && r->is_ok[i];
	if (r->form == PLAIN) {
		respond_text(ctx, r->handle, is_ready ? 200 : 503, plain_type, NULL,
		             is_ready ? "OK" : "Service Unavailable");
		return;
	}
	len = snprintf(text, sizeof(text), "{\"status\":\"%s\"",
	               is_ready ? "ready" : "not ready");
	for (uint32_t i = 0; i < front->check_count; i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, ",\"%s\":\"%s\"",
		                front->checks[i].name, r->is_ok[i] ? "ok" : "failed");
	snprintf(text + len, sizeof(text) - (size_t)len, "}\n");
	respond_text(ctx, r->handle, is_ready ? 200 : 503, json_type, NULL, text);
}

static enum cx_err ask(struct cx_ctx *ctx, const struct front *front,
                       const struct relay_check *check, uint64_t *corr)
{
	static const struct redis_arg ping = REDIS_TEXT("PING");

	switch (check->kind) {
	case RELAY_CHECK_STORE:
		return store_ask(ctx, &front->relay->store, store_op_new(ctx, STORE_PING),
		                 PING_TIMEOUT_MS, corr);
	case RELAY_CHECK_REDIS:
		return redis_call(ctx, check->refs[cx_worker_index(ctx)], &ping, 1,
		                  PING_TIMEOUT_MS, corr);
	case RELAY_CHECK_PRODUCER:
		return kafka_producer_figures(ctx, *check->refs, PING_TIMEOUT_MS, corr);
	case RELAY_CHECK_CONSUMER:
		return kafka_consumer_figures(ctx, *check->refs, PING_TIMEOUT_MS, corr);
	case RELAY_CHECK_GATEWAY:
		return grpc_call(ctx, check->refs[cx_worker_index(ctx)],
		                 submissions_health_path, NULL, PING_TIMEOUT_MS, corr);
	}
	return CX_EINVAL;
}

static void begin(struct cx_ctx *ctx, struct front *front, struct ws_handle handle,
                  enum answer_form form)
{
	struct round full = { .handle = handle, .form = form }, *r = front->rounds;

	while (r < front->rounds + ROUNDS_MAX && r->waiting > 0)
		r++;
	if (r == front->rounds + ROUNDS_MAX) {
		finish(ctx, front, &full);
		return;
	}
	*r = full;
	for (uint32_t i = 0; i < front->check_count; i++) {
		const enum relay_check_kind kind = front->checks[i].kind;

		/* their figures have to be asked for; the others' lie there */
		if (form == METRICS && kind != RELAY_CHECK_PRODUCER &&
		    kind != RELAY_CHECK_CONSUMER)
			continue;
		if (ask(ctx, front, &front->checks[i], &r->corrs[i]) == CX_OK)
			r->waiting++;
		else
			r->corrs[i] = 0;
	}
	if (r->waiting == 0)
		finish(ctx, front, r);
}

static void take(struct cx_ctx *ctx, struct front *front, uint64_t corr, bool is_ok)
{
	for (struct round *r = front->rounds; r < front->rounds + ROUNDS_MAX; r++) {
		for (uint32_t i = 0; r->waiting > 0 && i < front->check_count; i++) {
			if (r->corrs[i] != corr)
				continue;
			r->corrs[i] = 0;
			r->is_ok[i] = is_ok;
			if (--r->waiting == 0)
				finish(ctx, front, r);
			return;
		}
	}
}

static void on_store(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	take(ctx, state, msg->corr, CX_MSG_AS(struct store_result, msg)->outcome == STORE_OK);
}

static void on_redis(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct redis_walk walk = redis_walk_start(msg->buf);
	struct redis_value value;

	take(ctx, state, msg->corr,
	     CX_MSG_AS(struct redis_reply, msg)->outcome == REDIS_ANSWERED &&
	             redis_walk_next(&walk, &value) && value.kind == REDIS_STATUS);
}

static void on_producer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct kafka_producer_figures *f = CX_MSG_AS(struct kafka_producer_figures, msg);

	((struct front *)state)->kafka.producer = *f;
	((struct front *)state)->kafka.has_producer = true;
	take(ctx, state, msg->corr, f->is_connected && f->oldest_ms < HELD_MS);
}

static void on_consumer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct kafka_consumer_figures *f = CX_MSG_AS(struct kafka_consumer_figures, msg);

	((struct front *)state)->kafka.consumer = *f;
	((struct front *)state)->kafka.has_consumer = true;
	take(ctx, state, msg->corr, f->is_connected && f->is_joined);
}

static void on_gateway(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct wire_slice answer =
		msg->buf != NULL ? wire_slice(cx_buf_bytes(msg->buf), cx_buf_len(msg->buf))
				 : wire_slice(NULL, 0);

	take(ctx, state, msg->corr,
	     CX_MSG_AS(struct grpc_result, msg)->status == GRPC_OK &&
	             submission_is_serving(answer));
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	take(ctx, state, msg->corr, false);
}

static bool is_path(const struct http_request *m, const char *path)
{
	return m->path_len == strlen(path) &&
	       memcmp(cx_buf_bytes(m->hdr.buf), path, m->path_len) == 0;
}

static void on_request(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct http_request *m = CX_MSG_AS(struct http_request, msg);
	struct front *front = state;
	const bool is_known = is_path(m, "/health") || is_path(m, "/health/live") ||
	                      is_path(m, "/health/ready") || is_path(m, "/metrics");

	if (!front->relay->has_no_websocket && (is_path(m, "/") || is_path(m, "/ws")))
		respond_text(ctx, m->handle, 426, json_type,
		             "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
		             "{\"error\":\"This is a WebSocket endpoint\"}\n");
	else if (!is_known)
		respond_text(ctx, m->handle, 404, json_type, NULL,
		             "{\"error\":\"Not found\"}\n");
	else if (m->method != HTTP_GET && m->method != HTTP_HEAD)
		respond_text(ctx, m->handle, 405, json_type, "Allow: GET, HEAD\r\n",
		             "{\"error\":\"Method not allowed\"}\n");
	else if (is_path(m, "/health/live"))
		respond_text(ctx, m->handle, 200, plain_type, NULL, "OK");
	else if (is_path(m, "/metrics"))
		begin(ctx, front, m->handle, METRICS);
	else
		begin(ctx, front, m->handle, is_path(m, "/health") ? PLAIN : JSON);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct front *front = state;

	(void)ctx;
	front->relay = ((const struct relay_conf *)conf)->relay;
	front->checks = front->relay->checks;
	front->check_count = front->relay->check_count;
	if (front->check_count == 0) {
		front->checks = embedded_checks;
		front->check_count = CX_COUNTOF(embedded_checks);
	}
	return CX_OK;
}

static const struct cx_handler handlers[] = {
	CX_ON(HTTP_REQUEST, struct http_request, on_request),
	CX_ON(STORE_RESULT, struct store_result, on_store),
	CX_ON(REDIS_REPLY, struct redis_reply, on_redis),
	CX_ON(KAFKA_PRODUCER_FIGURES, struct kafka_producer_figures, on_producer),
	CX_ON(KAFKA_CONSUMER_FIGURES, struct kafka_consumer_figures, on_consumer),
	CX_ON(GRPC_RESULT, struct grpc_result, on_gateway),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
};

const struct cx_actor_type front_type = {
	.name = "front",
	.state_size = sizeof(struct front),
	.conf_size = sizeof(struct relay_conf),
	.mailbox_cap = 1024,
	.placement = CX_PLACE_IO,
	.start = start,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
