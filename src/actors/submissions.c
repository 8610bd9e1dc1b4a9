/* SPDX-License-Identifier: MIT */
/* 1. Every call is answered once: when it is refused, when its ask was answered, or when the ask could
 *    not be made. */
#include "actors/submissions.h"

#include <stdlib.h>
#include <string.h>

#include "actors/gateway.h"
#include "actors/relay.h"
#include "io/store.h"
#include "wire/base64.h"
#include "wire/server_frame.h"
#include "wire/submission.h"

#define ANSWER_MS 14500 /* as for a client's own send */
#define HEALTH_MS 2000
#define BUCKET_BITS 10
#define BUCKETS (1u << BUCKET_BITS) /* of pending calls */
#define FREE_MAX 1024               /* of them are kept for the next calls */

enum method { SUBMIT_MESSAGE, HEALTH_CHECK };

#define SERVICE "/construct.message_gateway.v1.MessageGateway/"

const char submissions_health_path[] = SERVICE "HealthCheck";

const struct grpc_method submissions_methods[SUBMISSIONS_METHODS] = {
	{ SERVICE "SubmitMessage", SUBMIT_MESSAGE, false },
	{ SERVICE "SubmitMessages", SUBMIT_MESSAGE, true },
	{ submissions_health_path, HEALTH_CHECK, false },
};

struct pending { /* a call whose ask is on its way */
	struct pending *next;
	uint64_t corr;
	struct grpc_handle handle;
	enum method method;
};

struct submissions {
	const struct relay *relay;
	struct pending *buckets[BUCKETS]; /* by corr */
	struct pending *free;
	uint32_t free_count;
	char *text; /* room for the base64 of the largest ciphertext */
};

static struct pending **bucket_of(struct submissions *s, uint64_t corr)
{
	/* Fibonacci hashing: the place in the ask table and the sequence both vary */
	return &s->buckets[corr * UINT64_C(0x9e3779b97f4a7c15) >> (64 - BUCKET_BITS)];
}

static void remember(struct submissions *s, uint64_t corr, const struct grpc_call *call)
{
	struct pending **at = bucket_of(s, corr);
	struct pending *p = s->free;

	if (p != NULL) {
		s->free = p->next;
		s->free_count--;
	} else {
		p = malloc(sizeof(*p));
		cx_assert(p != NULL);
	}
	*p = (struct pending){ .next = *at,
		               .corr = corr,
		               .handle = call->handle,
		               .method = (enum method)call->method };
	*at = p;
}

static bool recall(struct submissions *s, uint64_t corr, struct pending *out)
{
	struct pending **at = bucket_of(s, corr);
	struct pending *p;

	while (*at != NULL && (*at)->corr != corr)
		at = &(*at)->next;
	p = *at;
	if (p == NULL)
		return false;
	*out = *p;
	*at = p->next;
	if (s->free_count == FREE_MAX) {
		free(p);
	} else {
		p->next = s->free;
		s->free = p;
		s->free_count++;
	}
	return true;
}

static void reply(struct cx_ctx *ctx, struct grpc_handle handle, const uint8_t *bytes,
                  size_t len)
{
	struct cx_buf *buf = cx_buf_copy(bytes, len);
	const enum cx_err err = grpc_reply(ctx, handle, GRPC_OK, NULL, buf);

	(void)err; /* the adapter is gone: the process ends */
	cx_buf_unref(buf);
}

static void reply_outcome(struct cx_ctx *ctx, struct grpc_handle handle, enum error_code code,
                          const char *text)
{
	uint8_t out[SUBMISSION_RESPONSE_MAX];

	reply(ctx, handle, out, submission_response(out, code, text));
}

static void reply_health(struct cx_ctx *ctx, struct grpc_handle handle, bool is_serving)
{
	uint8_t out[SUBMISSION_RESPONSE_MAX];

	reply(ctx, handle, out, submission_health(out, is_serving));
}

/* ---- SubmitMessage ---- */

static enum error_code judge(const struct relay *relay, const struct submission *s)
{
	const struct wire_slice domain =
		relay->domain != NULL ? wire_text(relay->domain) : wire_slice(NULL, 0);
	const struct chat_message *m = &s->message;

	if (!uuid_equal(&m->from.user, &s->user.user) ||
	    !user_address_is_local(&m->from, domain) ||
	    !user_address_is_local(&s->user, domain))
		return ERROR_FORBIDDEN;
	if (!user_address_is_local(&m->to, domain))
		return ERROR_USER_NOT_FOUND;
	return ERROR_NONE;
}

/* The `message` frame that the recipient will get. */
static struct cx_buf *frame_of(struct cx_ctx *ctx, char *text, struct submission *s)
{
	const size_t room = BASE64_TEXT_LEN(s->ciphertext_len) + 1024;
	struct cx_buf *buf = cx_buf_new(room);
	size_t len;

	s->message.content =
		wire_slice(text, base64_encode(s->ciphertext, s->ciphertext_len, text));
	if (!s->has_timestamp)
		s->message.timestamp = cx_wall_ms(ctx) / 1000;
	len = server_frame_message(cx_buf_data(buf), room, &s->message);
	cx_assert(len <= room);
	cx_buf_trim(buf, len);
	return buf;
}

static void submit(struct cx_ctx *ctx, struct submissions *s, const struct grpc_call *call,
                   struct submission *sub)
{
	struct gateway_submit submit = { .sender = sub->message.from.user,
		                         .owner = sub->message.to.user,
		                         .key = sub->message.id,
		                         .key_case = sub->message.id_case };
	struct cx_buf *frame = frame_of(ctx, s->text, sub);
	const uint64_t now_ms = cx_now_ms(ctx);
	const uint64_t left_ms = call->deadline_ms > now_ms ? call->deadline_ms - now_ms : 1;
	uint64_t corr;

	uuid_format_case(&submit.key, submit.key_case, submit.id);
	if (gateway_submit(ctx, s->relay, &submit, frame,
	                   left_ms < ANSWER_MS ? (uint32_t)left_ms : ANSWER_MS, &corr) == CX_OK)
		remember(s, corr, call);
	else
		reply_outcome(ctx, call->handle, ERROR_SERVER_ERROR, NULL);
	cx_buf_unref(frame);
}

static void on_submit(struct cx_ctx *ctx, struct submissions *s, const struct grpc_call *call)
{
	const struct wire_slice bytes =
		call->hdr.buf == NULL
			? wire_slice(NULL, 0)
			: wire_slice(cx_buf_bytes(call->hdr.buf), cx_buf_len(call->hdr.buf));
	struct submission sub;
	enum error_code code = submission_read(bytes, &sub);

	if (code == ERROR_NONE)
		code = judge(s->relay, &sub);
	if (code != ERROR_NONE)
		reply_outcome(ctx, call->handle, code, NULL);
	else
		submit(ctx, s, call, &sub);
	submission_free(&sub);
}

/* ---- calls and answers ---- */

static void on_call(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct grpc_call *call = CX_MSG_AS(struct grpc_call, msg);
	struct submissions *s = state;
	uint64_t corr;

	if (call->method == SUBMIT_MESSAGE)
		on_submit(ctx, s, call);
	else if (store_ask(ctx, &s->relay->store, store_op_new(ctx, STORE_PING), HEALTH_MS,
	                   &corr) == CX_OK)
		remember(s, corr, call);
	else
		reply_health(ctx, call->handle, false);
}

static void on_outcome(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct gateway_outcome *m = CX_MSG_AS(struct gateway_outcome, msg);
	struct pending p;

	if (recall(state, msg->corr, &p))
		reply_outcome(ctx, p.handle, m->code, m->text);
}

static void on_store(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct pending p;

	if (recall(state, msg->corr, &p))
		reply_health(ctx, p.handle,
		             CX_MSG_AS(struct store_result, msg)->outcome == STORE_OK);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct pending p;

	if (!recall(state, msg->corr, &p))
		return;
	if (p.method == HEALTH_CHECK)
		reply_health(ctx, p.handle, false);
	else
		reply_outcome(ctx, p.handle, ERROR_SERVER_ERROR, NULL);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct submissions *s = state;

	(void)ctx;
	s->relay = ((const struct relay_conf *)conf)->relay;
	s->text = malloc(BASE64_TEXT_LEN(SUBMISSION_CONTENT_BYTES_MAX));
	return s->text != NULL ? CX_OK : CX_ENOMEM;
}

static void free_chain(struct pending *p)
{
	while (p != NULL) {
		struct pending *next = p->next;

		free(p);
		p = next;
	}
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct submissions *s = state;

	(void)ctx;
	for (size_t i = 0; i < BUCKETS; i++)
		free_chain(s->buckets[i]);
	free_chain(s->free);
	free(s->text);
}

static const struct cx_handler handlers[] = {
	CX_ON(GRPC_CALL, struct grpc_call, on_call),
	CX_ON(GATEWAY_OUTCOME, struct gateway_outcome, on_outcome),
	CX_ON(STORE_RESULT, struct store_result, on_store),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
};

const struct cx_actor_type submissions_type = {
	.name = "submissions",
	.state_size = sizeof(struct submissions),
	.conf_size = sizeof(struct relay_conf),
	.mailbox_cap = 16384,
	.batch_max = 256,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
