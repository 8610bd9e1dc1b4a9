/* SPDX-License-Identifier: MIT */
/* The adapter's actor: calls go into the queue (redis_queue.h), from there to the link.
 *
 * Nothing of the queue is sent before the greeting is answered: scripts then have their hashes. */
#include "io/redis.h"

#include <stdlib.h>

#include "io/redis_figures.h"
#include "io/redis_greeting.h"
#include "io/redis_link.h"
#include "io/redis_queue.h"
#include "io/redis_request.h"
#include "io/redis_value.h"

#define IN_FLIGHT_MAX 8192
#define IN_FLIGHT_BYTES_MAX (32u * 1024u * 1024u)
#define CONNECT_MS 5000
#define PING_MS 1000
#define DEAD_MS 5000
#define BACKLOG_BYTES 65536 /* more for the socket is not staged ahead */
#define ANSWER_IDLE_BYTES (256 * 1024)

struct redis {
	struct redis_link link;
	struct redis_greeting greeting;
	struct redis_queue queue;
	struct redis_figures *figures;
	uint32_t ping_ms;
	uint8_t *answer; /* replies of the batch at the head so far */
	size_t answer_len, answer_cap;
	struct cx_timer tick;
};

/* ---- towards the server ---- */

static void put_script(struct redis *r, const struct redis_entry *e)
{
	const bool is_eval = e->kind == REDIS_ENTRY_EVAL;
	const struct redis_script *script = &r->greeting.scripts[e->script - 1];
	const char *text = is_eval ? script->body : r->greeting.sha[e->script - 1];
	const size_t len = strlen(text);
	uint8_t head[REDIS_HEAD_BYTES_MAX + 32];
	uint8_t *at = head + redis_head_write(head, '*', e->args + 2);
	const struct redis_arg verb = is_eval ? (struct redis_arg)REDIS_TEXT("EVAL")
	                                      : (struct redis_arg)REDIS_TEXT("EVALSHA");

	at = redis_args_write(at, &verb, 1);
	at += redis_head_write(at, '$', len);
	redis_link_put(&r->link, head, (size_t)(at - head));
	redis_link_put(&r->link, text, len);
	redis_link_put(&r->link, "\r\n", 2);
	redis_link_put(&r->link, cx_buf_bytes(e->buf), cx_buf_len(e->buf));
}

static void stage(struct cx_ctx *ctx, struct redis *r, struct redis_entry *e)
{
	static const char ping[] = "*1\r\n$4\r\nPING\r\n";

	e->at = r->link.put;
	e->sent_ns = cx_now_ns(ctx);
	if (e->kind == REDIS_ENTRY_EVALSHA && r->greeting.sha[e->script - 1][0] == '\0')
		e->kind = REDIS_ENTRY_EVAL;
	if (e->kind == REDIS_ENTRY_PING)
		redis_link_put(&r->link, ping, sizeof(ping) - 1);
	else if (e->kind == REDIS_ENTRY_CALL)
		redis_link_put(&r->link, cx_buf_bytes(e->buf), cx_buf_len(e->buf));
	else
		put_script(r, e);
}

static void stage_all(struct cx_ctx *ctx, struct redis *r)
{
	struct redis_entry *e;

	while (redis_link_backlog(&r->link) < BACKLOG_BYTES &&
	       (e = redis_queue_waiting(ctx, &r->queue)) != NULL) {
		stage(ctx, r, e);
		redis_queue_staged(&r->queue);
	}
}

static bool may_send(struct cx_ctx *ctx, struct redis *r)
{
	return r->link.state == REDIS_LINK_UP && !redis_greeting_is_due(&r->greeting) &&
	       redis_link_backlog(&r->link) == 0 && redis_queue_waiting(ctx, &r->queue) != NULL;
}

static void batch_end(struct cx_ctx *ctx, void *state)
{
	struct redis *r = state;

	if (redis_link_backlog(&r->link) >
	    0) /* the greeting, or what the socket had no room for */
		redis_link_flush(ctx, &r->link);
	while (may_send(ctx, r)) {
		stage_all(ctx, r);
		redis_link_flush(ctx, &r->link);
	}
}

static void on_call(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct redis *r = state;
	const struct redis_call_msg *m = CX_MSG_AS(struct redis_call_msg, msg);
	enum cx_err err = CX_EINVAL;

	if (m->script <= r->greeting.script_count)
		err = redis_queue_push(ctx, &r->queue, m);
	if (err != CX_OK)
		cx_reply_error(ctx, msg, err);
}

/* ---- from the server ---- */

static void measure(struct cx_ctx *ctx, struct redis *r, const struct redis_entry *e)
{
	const uint64_t now_ns = cx_now_ns(ctx);
	const uint64_t took_ns = now_ns > e->sent_ns ? now_ns - e->sent_ns : 0;

	redis_count(&r->figures->commands, e->count);
	redis_count(&r->figures->latency_ns_sum, took_ns);
	redis_count(&r->figures->latency_count, 1);
	if (took_ns > r->figures->latency_ns_max)
		redis_count(&r->figures->latency_ns_max, took_ns - r->figures->latency_ns_max);
}

static bool is_no_script(const struct redis_value *value)
{
	return value->kind == REDIS_ERROR && value->text.len >= 8 &&
	       memcmp(value->text.at, "NOSCRIPT", 8) == 0;
}

/* False: all replies of this message together are over the limit. */
static bool gather(struct redis *r, const uint8_t *bytes, size_t len)
{
	if (len > REDIS_ANSWER_BYTES_MAX - r->answer_len)
		return false;
	if (r->answer_len + len > r->answer_cap) {
		r->answer_cap = 2 * (r->answer_len + len) + 1024;
		r->answer = realloc(r->answer, r->answer_cap);
		cx_assert(r->answer != NULL);
	}
	memcpy(r->answer + r->answer_len, bytes, len);
	r->answer_len += len;
	return true;
}

static void forget_answer(struct redis *r)
{
	r->answer_len = 0;
	if (r->answer_cap > ANSWER_IDLE_BYTES) {
		free(r->answer);
		r->answer = NULL;
		r->answer_cap = 0;
	}
}

static void finish(struct cx_ctx *ctx, struct redis *r, const struct redis_entry *e,
                   const uint8_t *bytes, size_t len)
{
	struct redis_reply *m;

	if (e->kind != REDIS_ENTRY_PING)
		measure(ctx, r, e);
	if (e->kind != REDIS_ENTRY_PING && cx_now_ms(ctx) > e->deadline_ms + 1) {
		redis_count(&r->figures->late, 1); /* nobody waits: not worth a copy */
	} else if (e->kind != REDIS_ENTRY_PING) {
		m = CX_MSG_NEW(ctx, REDIS_REPLY, struct redis_reply);
		m->hdr.buf = cx_buf_copy(bytes, len);
		m->outcome = REDIS_ANSWERED;
		m->count = e->count;
		cx_answer(ctx, e->caller, &m->hdr);
	}
	redis_queue_pop(&r->queue);
}

/* False: all replies of this message together are over the limit. */
static bool take_reply(struct cx_ctx *ctx, struct redis *r, struct redis_entry *e,
                       const uint8_t *bytes, size_t len)
{
	if (e->count <= 1) {
		finish(ctx, r, e, bytes, len);
		return true;
	}
	if (!gather(r, bytes, len))
		return false;
	if (--e->left == 0) {
		finish(ctx, r, e, r->answer, r->answer_len);
		forget_answer(r);
	}
	return true;
}

static bool on_reply(struct cx_ctx *ctx, void *owner, const uint8_t *bytes, size_t len)
{
	struct redis *r = owner;
	struct redis_walk walk = redis_walk_bytes(bytes, len);
	struct redis_entry *e;
	struct redis_value value;

	if (redis_greeting_is_due(&r->greeting)) {
		redis_greeting_take(ctx, &r->greeting, walk);
		return true;
	}
	e = redis_queue_head(&r->queue);
	if (e == NULL || !redis_walk_next(&walk, &value))
		return false; /* nobody asked */
	if (e->kind == REDIS_ENTRY_EVALSHA && is_no_script(&value)) {
		/* The server forgot its scripts: with the text it learns this one again. */
		redis_queue_again(&r->queue, REDIS_ENTRY_EVAL);
		return true;
	}
	if (value.kind == REDIS_ERROR && e->kind != REDIS_ENTRY_PING)
		redis_count(&r->figures->errors, 1);
	return take_reply(ctx, r, e, bytes, len);
}

static void on_up(struct cx_ctx *ctx, void *owner)
{
	struct redis *r = owner;

	redis_greeting_put(ctx, &r->greeting, &r->link);
}

static void on_down(struct cx_ctx *ctx, void *owner)
{
	struct redis *r = owner;

	forget_answer(r);
	r->greeting.asked = r->greeting.answered = 0;
	redis_queue_lose(ctx, &r->queue, r->link.sent);
}

static const struct redis_link_ops link_ops = { on_up, on_down, on_reply };

/* ---- life ---- */

static void on_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct redis *r = state;
	const struct redis_entry *head = redis_queue_head(&r->queue);

	(void)msg;
	cx_timer_arm(ctx, &r->tick, r->ping_ms, TIMER_B);
	if (redis_greeting_is_due(&r->greeting))
		redis_link_check(ctx, &r->link, r->greeting.asked_ms);
	else if (head != NULL)
		redis_link_check(ctx, &r->link, head->sent_ns / 1000000);
	else if (r->link.state == REDIS_LINK_UP)
		redis_queue_push_ping(&r->queue);
}

static void on_timer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct redis *r = state;

	(void)msg;
	redis_link_on_timer(ctx, &r->link);
}

static void on_resolved(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct redis *r = state;

	redis_link_on_resolved(ctx, &r->link,
	                       &CX_MSG_AS(struct redis_resolved_msg, msg)->addresses);
}

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
	return value > 0 ? value : otherwise;
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct redis *r = state;
	const struct redis_conf *c = conf;

	if (c->url == NULL || c->script_count > REDIS_SCRIPTS_MAX ||
	    c->in_flight_max > 1u << 24)
		return CX_EINVAL;
	r->ping_ms = or_default(c->ping_ms, PING_MS);
	r->figures = redis_figures_of(cx_worker_index(ctx));
	redis_queue_init(&r->queue, or_default(c->in_flight_max, IN_FLIGHT_MAX),
	                 or_default(c->in_flight_bytes_max, IN_FLIGHT_BYTES_MAX), r->figures);
	r->greeting.scripts = c->scripts;
	r->greeting.script_count = c->script_count;
	r->greeting.is_doctor = c->is_doctor;
	r->greeting.owner = c->owner;
	r->greeting.owner_at = c->owner_at;
	r->link.url = c->url;
	r->link.client_name = c->client_name;
	r->link.connect_ms = or_default(c->connect_ms, CONNECT_MS);
	r->link.dead_ms = or_default(c->dead_ms, DEAD_MS);
	r->link.ops = &link_ops;
	r->link.owner = r;
	cx_timer_arm(ctx, &r->tick, r->ping_ms, TIMER_B);
	return redis_link_start(ctx, &r->link, c->ca_file);
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct redis *r = state;

	if (r->queue.ring == NULL)
		return; /* it did not start */
	redis_link_stop(ctx, &r->link);
	redis_queue_free(ctx, &r->queue, r->link.sent);
	free(r->answer);
}

static const struct cx_handler handlers[] = {
	CX_ON(REDIS_CALL, struct redis_call_msg, on_call),
	CX_ON(REDIS_RESOLVED, struct redis_resolved_msg, on_resolved),
	CX_ON(TIMER_A, struct cx_msg_timer, on_timer),
	CX_ON(TIMER_B, struct cx_msg_timer, on_tick),
};

const struct cx_actor_type redis_type = {
	.name = "redis",
	.state_size = sizeof(struct redis),
	.conf_size = sizeof(struct redis_conf),
	.mailbox_cap = 8192,
	.batch_max = 256,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.batch_end = batch_end,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
