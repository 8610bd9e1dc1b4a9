/* SPDX-License-Identifier: MIT */
#include "io/redis_sub.h"

#include <stdlib.h>

#include "io/redis_figures.h"
#include "io/redis_link.h"
#include "io/redis_request.h"
#include "io/redis_value.h"

#define DROPPED_MS \
	10000 /* so long after the last time it is told of pushes that were dropped */
#define CONNECT_MS 5000
#define PING_MS 1000
#define DEAD_MS 5000

struct redis_sub {
	struct redis_link link;
	const char *const *channels;
	uint32_t channel_count;
	uint32_t ping_ms;
	uint32_t due;    /* subscriptions not yet confirmed */
	uint64_t due_ms; /* since when an answer is due; 0: none is */
	uint64_t times;
	uint64_t told_ms; /* when REDIS_SUBSCRIBED was last sent */
	bool has_dropped; /* a push since then */
	bool tells_loss, is_subscribed;
	struct cx_ref subscriber;
	struct cx_timer tick;
};

static void put(struct redis_sub *s, const struct redis_arg *argv, unsigned n)
{
	const size_t size = redis_request_size(argv, n);
	uint8_t *bytes = malloc(size);

	cx_assert(bytes != NULL);
	redis_request_write(bytes, argv, n);
	redis_link_put(&s->link, bytes, size);
	free(bytes);
}

static void on_up(struct cx_ctx *ctx, void *owner)
{
	struct redis_sub *s = owner;
	struct redis_arg argv[1 + REDIS_CHANNELS_MAX] = { REDIS_TEXT("SUBSCRIBE") };

	for (uint32_t i = 0; i < s->channel_count; i++)
		argv[1 + i] = (struct redis_arg){ s->channels[i], strlen(s->channels[i]) };
	s->due = s->channel_count;
	s->due_ms = cx_now_ms(ctx);
	put(s, argv, 1 + s->channel_count);
}

static void on_down(struct cx_ctx *ctx, void *owner)
{
	struct redis_sub *s = owner;
	enum cx_err err;

	s->due = 0;
	s->due_ms = 0;
	if (s->tells_loss && s->is_subscribed) {
		err = cx_send_reserved(
			ctx, s->subscriber,
			cx_msg_new(ctx, REDIS_UNSUBSCRIBED, sizeof(struct cx_msg)));
		(void)err; /* it has ended */
	}
	s->is_subscribed = false;
}

static void tell(struct cx_ctx *ctx, struct redis_sub *s)
{
	struct redis_subscribed *m = CX_MSG_NEW(ctx, REDIS_SUBSCRIBED, struct redis_subscribed);

	m->times = ++s->times;
	s->told_ms = cx_now_ms(ctx);
	s->has_dropped = false;
	s->is_subscribed = true;
	if (cx_send_reserved(ctx, s->subscriber, &m->hdr) != CX_OK)
		cx_stop(ctx); /* nobody listens any more */
}

static bool on_confirmed(struct cx_ctx *ctx, struct redis_sub *s)
{
	if (s->due == 0)
		return false;
	if (--s->due > 0)
		return true;
	s->due_ms = 0;
	tell(ctx, s);
	return true;
}

static void on_message(struct cx_ctx *ctx, struct redis_sub *s, struct wire_slice channel,
                       struct wire_slice payload)
{
	struct redis_push *m;
	uint32_t i = 0;

	while (i < s->channel_count && !wire_slice_is(channel, s->channels[i]))
		i++;
	if (i == s->channel_count)
		return;
	m = CX_MSG_NEW(ctx, REDIS_PUSH, struct redis_push);
	m->channel = i;
	m->hdr.buf = cx_buf_copy(payload.at, payload.len);
	if (cx_send(ctx, s->subscriber, &m->hdr) == CX_OK)
		redis_count(&s->link.figures->pushes, 1);
	else {
		redis_count(&s->link.figures->pushes_dropped, 1);
		s->has_dropped = true;
	}
}

static bool on_reply(struct cx_ctx *ctx, void *owner, const uint8_t *bytes, size_t len)
{
	struct redis_sub *s = owner;
	struct redis_walk walk = redis_walk_bytes(bytes, len);
	struct redis_value array, what, channel, payload;

	if (!redis_walk_next(&walk, &array) || array.kind != REDIS_ARRAY || array.count < 2 ||
	    !redis_walk_next(&walk, &what) || what.kind != REDIS_STRING ||
	    !redis_walk_next(&walk, &channel))
		return false; /* an error too: the channels are ours, so it will not go away */
	if (wire_slice_is(what.text, "message") && array.count == 3 &&
	    channel.kind == REDIS_STRING && redis_walk_next(&walk, &payload) &&
	    payload.kind == REDIS_STRING) {
		on_message(ctx, s, channel.text, payload.text);
		return true;
	}
	if (wire_slice_is(what.text, "subscribe"))
		return on_confirmed(ctx, s);
	if (wire_slice_is(what.text, "pong") && s->due == 0) {
		s->due_ms = 0;
		return true;
	}
	return false;
}

static const struct redis_link_ops link_ops = { on_up, on_down, on_reply };

static void batch_end(struct cx_ctx *ctx, void *state)
{
	struct redis_sub *s = state;

	if (redis_link_backlog(&s->link) > 0)
		redis_link_flush(ctx, &s->link);
}

static void on_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	static const struct redis_arg ping[] = { REDIS_TEXT("PING") };
	struct redis_sub *s = state;

	(void)msg;
	cx_timer_arm(ctx, &s->tick, s->ping_ms, TIMER_B);
	if (s->link.state != REDIS_LINK_UP)
		return;
	if (s->has_dropped && s->due == 0 && cx_now_ms(ctx) - s->told_ms >= DROPPED_MS)
		tell(ctx, s);
	if (s->due_ms != 0) {
		redis_link_check(ctx, &s->link, s->due_ms);
		return;
	}
	s->due_ms = cx_now_ms(ctx);
	put(s, ping, 1);
}

static void on_timer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct redis_sub *s = state;

	(void)msg;
	redis_link_on_timer(ctx, &s->link);
}

static void on_resolved(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct redis_sub *s = state;

	redis_link_on_resolved(ctx, &s->link,
	                       &CX_MSG_AS(struct redis_resolved_msg, msg)->addresses);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct redis_sub *s = state;
	const struct redis_sub_conf *c = conf;

	if (c->url == NULL || c->channel_count == 0 || c->channel_count > REDIS_CHANNELS_MAX)
		return CX_EINVAL;
	s->channels = c->channels;
	s->channel_count = c->channel_count;
	s->subscriber = c->subscriber;
	s->tells_loss = c->tells_loss;
	s->ping_ms = c->ping_ms > 0 ? c->ping_ms : PING_MS;
	s->link.url = c->url;
	s->link.client_name = c->client_name;
	s->link.connect_ms = c->connect_ms > 0 ? c->connect_ms : CONNECT_MS;
	s->link.dead_ms = c->dead_ms > 0 ? c->dead_ms : DEAD_MS;
	s->link.ops = &link_ops;
	s->link.owner = s;
	cx_timer_arm(ctx, &s->tick, s->ping_ms, TIMER_B);
	return redis_link_start(ctx, &s->link, c->ca_file);
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct redis_sub *s = state;

	if (s->link.ops != NULL) /* else it did not start */
		redis_link_stop(ctx, &s->link);
}

static const struct cx_handler handlers[] = {
	CX_ON(REDIS_RESOLVED, struct redis_resolved_msg, on_resolved),
	CX_ON(TIMER_A, struct cx_msg_timer, on_timer),
	CX_ON(TIMER_B, struct cx_msg_timer, on_tick),
};

const struct cx_actor_type redis_sub_type = {
	.name = "redis_sub",
	.state_size = sizeof(struct redis_sub),
	.conf_size = sizeof(struct redis_sub_conf),
	.mailbox_cap = 64,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.batch_end = batch_end,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
