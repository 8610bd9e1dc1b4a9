/* SPDX-License-Identifier: MIT */
/* The client's actor: its turns, its queue, and the sender that others call. */
#include "io/grpc_client.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/grpc_client_internal.h"
#include "io/openssl_h2.h"

#define TICK_MS 500
#define ANSWER_SLACK_MS 1000 /* our own deadline comes before the ask's */
#define BROKEN_TEXT "a call before it in its lane has failed"

_Static_assert(GRPC_CONNECTIONS_MAX == 8 && GRPC_SLOTS_MAX == 2 * GRPC_CONNECTIONS_MAX,
               "as the header says");

static void leave(void *arg)
{
	const struct grpc_client *g = arg;

	cx_io_leave(g->ctx); /* runs batch_end */
}

void grpc_client_enter(struct grpc_client *g)
{
	if (g->ctx != NULL)
		return;
	loop_uv_at_end(g->loop, leave, g);
	g->ctx = cx_io_enter(g->worker, g->self);
}

static struct grpc_client *begin(struct cx_ctx *ctx, void *state)
{
	struct grpc_client *g = state;

	g->ctx = ctx;
	return g;
}

static struct grpc_out_call *call_make(struct grpc_client *g)
{
	struct grpc_out_call *call = calloc(1, sizeof(*call));

	if ((g->calls_len & (g->calls_len - 1)) == 0) /* full: twice as much */
		g->calls = realloc(g->calls, (g->calls_len ? 2 * (size_t)g->calls_len : 1) *
		                                     sizeof(struct grpc_out_call *));
	cx_assert(call != NULL && g->calls != NULL);
	call->place = g->calls_len;
	g->calls[g->calls_len++] = call;
	return call;
}

static struct grpc_out_call *call_new(struct grpc_client *g)
{
	struct grpc_out_call *call = g->free_calls;

	if (call == NULL)
		return call_make(g);
	g->free_calls = call->next;
	*call = (struct grpc_out_call){
		.timer = call->timer, /* its seq tells stale messages from its next life */
		.place = call->place,
		.life = call->life + 1,
	};
	return call;
}

uint64_t grpc_call_id(const struct grpc_out_call *call)
{
	return (uint64_t)call->life << 32 | call->place;
}

struct grpc_out_call *grpc_call_of_id(const struct grpc_client *g, uint64_t id)
{
	struct grpc_out_call *call =
		(uint32_t)id < g->calls_len ? g->calls[(uint32_t)id] : NULL;

	return call != NULL && call->conn != NULL && grpc_call_id(call) == id ? call : NULL;
}

void grpc_call_unlink(struct grpc_client *g, struct grpc_out_call *call)
{
	if (call->next != NULL)
		call->next->prev = call->prev;
	else if (call->conn == NULL)
		g->queue_tail = call->prev;
	if (call->prev != NULL)
		call->prev->next = call->next;
	else if (call->conn == NULL)
		g->queue_head = call->next;
	else
		call->conn->calls = call->next;
	if (call->conn == NULL) {
		g->queue_len--;
	} else {
		call->conn->call_count--;
		grpc_many_leave(call->conn, call);
		grpc_lane_leave(call->conn, call);
	}
	call->next = call->prev = NULL;
	call->conn = NULL;
}

void grpc_call_link(struct grpc_client_conn *c, struct grpc_out_call *call)
{
	call->conn = c;
	call->prev = NULL;
	call->next = c->calls;
	if (call->next != NULL)
		call->next->prev = call;
	c->calls = call;
	if (c->call_count++ == 0) { /* until now the peer owed nothing */
		c->silent_from_ms = cx_now_ms(c->client->ctx);
		c->is_pinged = false;
	}
	grpc_lane_join(c, call);
}

static void enqueue_last(struct grpc_client *g, struct grpc_out_call *call)
{
	call->prev = g->queue_tail;
	call->next = NULL;
	if (g->queue_tail != NULL)
		g->queue_tail->next = call;
	else
		g->queue_head = call;
	g->queue_tail = call;
	g->queue_len++;
}

void grpc_call_again(struct grpc_client *g, struct grpc_out_call *call)
{
	grpc_call_unlink(g, call);
	call->sent = 0;
	call->next = g->queue_head;
	if (g->queue_head != NULL)
		g->queue_head->prev = call;
	else
		g->queue_tail = call;
	g->queue_head = call;
	g->queue_len++;
}

static void answer(struct grpc_client *g, struct cx_caller caller, enum grpc_status status,
                   const char *message, struct cx_buf *buf)
{
	struct grpc_result *m = CX_MSG_NEW(g->ctx, GRPC_RESULT, struct grpc_result);

	m->status = status;
	snprintf(m->message, sizeof(m->message), "%s", message);
	m->hdr.buf = cx_buf_ref(buf);
	cx_answer(g->ctx, caller, &m->hdr);
}

/* After which the caller may try again: what comes behind it in its lane has to wait for that. */
static bool breaks_lane(enum grpc_status status)
{
	return status == GRPC_UNAVAILABLE || status == GRPC_CANCELLED ||
	       status == GRPC_RESOURCE_EXHAUSTED;
}

void grpc_call_finish(struct grpc_client *g, struct grpc_out_call *call,
                      enum grpc_status status, const char *message)
{
	struct grpc_lane *lane = call->lane;

	answer(g, call->caller, status, message, status == GRPC_OK ? call->msg : NULL);
	grpc_call_unlink(g, call);
	if (lane != NULL) {
		if (breaks_lane(status))
			grpc_lane_break(g, lane);
		lane->calls--;
		grpc_lane_look(g, lane);
		call->lane = NULL;
	}
	cx_timer_cancel(g->ctx, &call->timer);
	cx_buf_unref(call->request);
	cx_buf_unref(call->msg);
	call->request = call->msg = NULL;
	call->next = g->free_calls;
	g->free_calls = call;
}

void grpc_queue_fail(struct grpc_client *g, const char *why)
{
	while (g->queue_head != NULL)
		grpc_call_finish(g, g->queue_head, GRPC_UNAVAILABLE, why);
}

void grpc_client_resolve(struct grpc_client *g)
{
	struct grpc_resolved *job;

	if (g->is_resolving)
		return;
	job = CX_MSG_NEW(g->ctx, GRPC_RESOLVED, struct grpc_resolved);
	job->text = g->conf.targets;
	/* A full pool: the next tick tries again. */
	g->is_resolving = cx_offload(g->ctx, &job->hdr, grpc_resolve) == CX_OK;
}

/* What waits in a lane that broke does not go out. */
static void fail_broken(struct grpc_client *g)
{
	struct grpc_out_call *call, *next;

	if (!g->has_newly_broken)
		return;
	for (size_t i = 0; i < GRPC_SLOTS_MAX; i++)
		for (call = g->slots[i].many.due_head; call != NULL; call = next) {
			next = call->many_next;
			if (call->lane != NULL && call->lane->is_broken)
				grpc_call_finish(g, call, GRPC_UNAVAILABLE, BROKEN_TEXT);
		}
	for (call = g->queue_head; call != NULL; call = next) {
		next = call->next;
		if (call->lane != NULL && call->lane->is_broken)
			grpc_call_finish(g, call, GRPC_UNAVAILABLE, BROKEN_TEXT);
	}
	g->has_newly_broken = false;
}

/* In order, but a lane that has to wait holds up only itself. */
static void send_queued(struct grpc_client *g)
{
	struct grpc_out_call *call = g->queue_head, *next;

	for (; call != NULL; call = next) {
		struct grpc_client_conn *c = call->lane == NULL ? grpc_client_pick(g)
		                                                : grpc_lane_pick(g, call->lane);

		next = call->next;
		if (c == NULL && grpc_client_pick(g) == NULL)
			break;
		if (c == NULL || grpc_call_submit(c, call))
			continue;
		c->is_goaway = c->is_dirty = true; /* out of stream ids: another connection */
		next = call;
	}
}

static void batch_end(struct cx_ctx *ctx, void *state)
{
	struct grpc_client *g = begin(ctx, state);

	fail_broken(g);
	grpc_client_connect(g);
	send_queued(g);
	grpc_client_flush(g);
	if (g->is_dead)
		grpc_queue_fail(g, "no server can be reached");
	fail_broken(g); /* by what the flush found */
	g->ctx = NULL;
}

static void on_request(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct grpc_client *g = begin(ctx, state);
	const struct grpc_request_msg *m = CX_MSG_AS(struct grpc_request_msg, msg);
	struct grpc_lane *lane = grpc_lane_of(g, m->affinity);
	struct grpc_out_call *call;

	if (lane != NULL && lane->is_broken) {
		answer(g, cx_caller_of(msg), GRPC_UNAVAILABLE, BROKEN_TEXT, NULL);
		return;
	}
	if (g->queue_len >= g->conf.max_queue) {
		cx_reply_error(ctx, msg, CX_EFULL);
		grpc_lane_break(g, lane);
		return;
	}
	call = call_new(g);
	call->lane = lane;
	if (lane != NULL)
		lane->calls++;
	call->caller = cx_caller_of(msg);
	call->request = cx_buf_ref(msg->buf);
	call->method = m->method;
	call->deadline_ms = cx_now_ms(ctx) + m->timeout_ms;
	cx_timer_arm(ctx, &call->timer, m->timeout_ms, TIMER_B);
	enqueue_last(g, call);
}

static void on_mend(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	grpc_lane_mend(begin(ctx, state), CX_MSG_AS(struct grpc_mend_msg, msg)->affinity);
}

static void on_resolved(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct grpc_client *g = begin(ctx, state);
	const struct grpc_resolved *m = CX_MSG_AS(struct grpc_resolved, msg);

	g->is_resolving = false;
	g->resolved_ms = cx_now_ms(ctx);
	if (m->count == 0) {
		g->is_dead = g->address_count == 0; /* old addresses are better than none */
		return;
	}
	if (g->address_count == 0) {
		g->next_address = (uint32_t)(cx_random(ctx) % m->count);
		g->is_dead = false;
	}
	memcpy(g->addresses, m->addresses, m->count * sizeof(*g->addresses));
	g->address_count = m->count;
}

static void on_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct grpc_client *g = begin(ctx, state);

	(void)msg;
	if (g->address_count == 0)
		grpc_client_resolve(g);
	grpc_client_tick(g);
	grpc_lanes_tick(g);
	cx_timer_arm(ctx, &g->tick, TICK_MS, TIMER_A);
}

static void on_deadline(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	uint8_t *timer = (uint8_t *)CX_MSG_AS(struct cx_msg_timer, msg)->timer;

	grpc_call_deadline(
		begin(ctx, state),
		(struct grpc_out_call *)(void *)(timer -
	                                         offsetof(struct grpc_out_call, timer)));
}

static void on_retry(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	uint8_t *timer = (uint8_t *)CX_MSG_AS(struct cx_msg_timer, msg)->timer;

	(void)begin(ctx, state);
	grpc_client_retry(
		(struct grpc_client_conn *)(void *)(timer -
	                                            offsetof(struct grpc_client_conn, timer)));
}

static void release(struct grpc_client *g)
{
	while (g->free_calls != NULL) {
		struct grpc_out_call *call = g->free_calls;

		g->free_calls = call->next;
		free(call);
	}
	free(g->calls);
	grpc_lanes_free(g);
	tls_h2_context_free(g->tls);
	nghttp2_session_callbacks_del(g->callbacks);
	free(g->scratch);
	free(g->targets);
	free(g->addresses);
}

static enum cx_err prepare(struct grpc_client *g)
{
	const char *error_text;
	size_t count;

	g->scratch = malloc(sizeof(*g->scratch));
	g->targets = calloc(GRPC_TARGETS_MAX, sizeof(*g->targets));
	g->addresses = calloc(GRPC_ADDRESSES_MAX, sizeof(*g->addresses));
	if (g->scratch == NULL || g->targets == NULL || g->addresses == NULL ||
	    nghttp2_session_callbacks_new(&g->callbacks) != 0)
		return CX_ENOMEM;
	grpc_client_callbacks(g->callbacks);
	count = grpc_targets_parse(g->conf.targets, g->targets);
	if (count == 0 || g->conf.connections > GRPC_CONNECTIONS_MAX)
		return CX_EINVAL;
	for (size_t i = 0; i < count; i++) {
		if (!g->targets[i].is_tls)
			continue;
		signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
		return tls_h2_client(g->conf.ca_file, &g->tls, &error_text);
	}
	return CX_OK;
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct grpc_client *g = begin(ctx, state);
	enum cx_err err;

	g->conf = *(const struct grpc_client_conf *)conf;
	g->conf.connections = g->conf.connections ? g->conf.connections : 2;
	g->conf.max_queue = g->conf.max_queue ? g->conf.max_queue : 4096;
	g->conf.max_message_bytes =
		g->conf.max_message_bytes ? g->conf.max_message_bytes : 4 * 1024 * 1024;
	g->self = cx_self(ctx);
	g->worker = cx_worker_of(ctx);
	g->loop = cx_worker_loop(g->worker);
	for (size_t i = 0; i < GRPC_SLOTS_MAX; i++) {
		g->slots[i].client = g;
		g->slots[i].t.watch.fd = -1;
	}
	err = prepare(g);
	if (err != CX_OK) {
		release(g);
		*g = (struct grpc_client){ 0 };
		return err;
	}
	grpc_client_resolve(g);
	cx_timer_arm(ctx, &g->tick, TICK_MS, TIMER_A);
	return CX_OK;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct grpc_client *g = begin(ctx, state);

	if (g->scratch == NULL)
		return; /* it did not start */
	grpc_client_close(g);
	grpc_queue_fail(g, "the client ends");
	release(g);
}

static const struct cx_handler handlers[] = {
	CX_ON(GRPC_REQUEST, struct grpc_request_msg, on_request),
	CX_ON(GRPC_MEND, struct grpc_mend_msg, on_mend),
	CX_ON(GRPC_RESOLVED, struct grpc_resolved, on_resolved),
	CX_ON(TIMER_A, struct cx_msg_timer, on_tick),
	CX_ON(TIMER_B, struct cx_msg_timer, on_deadline),
	CX_ON(TIMER_C, struct cx_msg_timer, on_retry),
};

const struct cx_actor_type grpc_client_type = {
	.name = "grpc_client",
	.state_size = sizeof(struct grpc_client),
	.conf_size = sizeof(struct grpc_client_conf),
	.mailbox_cap = 4096,
	.batch_max = 512,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.batch_end = batch_end,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

bool grpc_client_targets_are_valid(const char *targets)
{
	struct grpc_target parsed[GRPC_TARGETS_MAX];

	return grpc_targets_parse(targets, parsed) > 0;
}

enum cx_err grpc_call_by(struct cx_ctx *ctx, struct cx_ref client, const char *method,
                         struct cx_buf *buf, uint64_t affinity, uint32_t timeout_ms,
                         uint64_t *corr)
{
	struct grpc_request_msg *m = CX_MSG_NEW(ctx, GRPC_REQUEST, struct grpc_request_msg);

	m->method = method;
	m->affinity = affinity;
	m->timeout_ms = timeout_ms;
	m->hdr.buf = cx_buf_ref(buf);
	return cx_ask(ctx, client, &m->hdr, timeout_ms + ANSWER_SLACK_MS, corr);
}

enum cx_err grpc_call(struct cx_ctx *ctx, struct cx_ref client, const char *method,
                      struct cx_buf *buf, uint32_t timeout_ms, uint64_t *corr)
{
	return grpc_call_by(ctx, client, method, buf, 0, timeout_ms, corr);
}

enum cx_err grpc_mend(struct cx_ctx *ctx, struct cx_ref client, uint64_t affinity)
{
	struct grpc_mend_msg *m = CX_MSG_NEW(ctx, GRPC_MEND, struct grpc_mend_msg);

	m->affinity = affinity;
	/* bounded: one for each time that calls of the lane failed */
	return cx_send_reserved(ctx, client, &m->hdr);
}
