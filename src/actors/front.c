/* SPDX-License-Identifier: MIT */
#include "actors/front.h"

#include <stdlib.h>
#include <string.h>

#include "actors/metrics.h"
#include "io/store.h"
#include "io/websocket.h"

#define PING_TIMEOUT_MS 2000
#define CHECKS_MAX 256 /* on their way; more is 503 */

enum answer_form { PLAIN, JSON };

struct check {
	uint64_t corr; /* 0: free */
	struct ws_handle handle;
	enum answer_form form;
};

struct front {
	const struct relay *relay;
	struct check checks[CHECKS_MAX];
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

static void respond_health(struct cx_ctx *ctx, struct ws_handle handle, enum answer_form form,
                           bool is_ready)
{
	const uint16_t status = is_ready ? 200 : 503;

	if (form == PLAIN)
		respond_text(ctx, handle, status, plain_type, NULL,
		             is_ready ? "OK" : "Service Unavailable");
	else
		respond_text(
			ctx, handle, status, json_type, NULL,
			is_ready ? "{\"status\":\"ready\",\"store\":\"ok\",\"log\":\"ok\"}\n"
				 : "{\"status\":\"not ready\",\"store\":\"failed\",\"log\":"
				   "\"failed\"}\n");
}

static void check_health(struct cx_ctx *ctx, struct front *front, struct ws_handle handle,
                         enum answer_form form)
{
	struct check *check = front->checks;

	while (check < front->checks + CHECKS_MAX && check->corr != 0)
		check++;
	if (check == front->checks + CHECKS_MAX ||
	    store_ask(ctx, &front->relay->store, store_op_new(ctx, STORE_PING), PING_TIMEOUT_MS,
	              &check->corr) != CX_OK) {
		respond_health(ctx, handle, form, false);
		return;
	}
	check->handle = handle;
	check->form = form;
}

static void finish_check(struct cx_ctx *ctx, struct front *front, uint64_t corr, bool is_ready)
{
	for (struct check *check = front->checks; check < front->checks + CHECKS_MAX; check++) {
		if (check->corr != corr)
			continue;
		check->corr = 0;
		respond_health(ctx, check->handle, check->form, is_ready);
		return;
	}
}

static void on_store(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	finish_check(ctx, state, msg->corr,
	             CX_MSG_AS(struct store_result, msg)->outcome == STORE_OK);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	finish_check(ctx, state, msg->corr, false);
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

	if (is_path(m, "/") || is_path(m, "/ws"))
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
		respond(ctx, m->handle, 200, "text/plain; version=0.0.4; charset=utf-8", NULL,
		        metrics_text(front->relay->runtime));
	else
		check_health(ctx, front, m->handle, is_path(m, "/health") ? PLAIN : JSON);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct front *front = state;

	(void)ctx;
	front->relay = ((const struct relay_conf *)conf)->relay;
	return CX_OK;
}

static const struct cx_handler handlers[] = {
	CX_ON(HTTP_REQUEST, struct http_request, on_request),
	CX_ON(STORE_RESULT, struct store_result, on_store),
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
