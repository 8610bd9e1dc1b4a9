/* SPDX-License-Identifier: MIT */
#include "actors/instance.h"

#include <stdlib.h>

#include "actors/hub.h"
#include "io/inbox.h"
#include "io/redis_sub.h"
#include "io/stack_routes.h"
#include "wire/push.h"

struct instance {
	const struct relay *relay;
	struct inbox_appended *batches; /* one a home, filled while a push is read */
	struct uuid life;               /* of Redis, of which was heard last */
};

static struct instance_figures figures; /* one actor a process writes it */

void instance_figures(struct instance_figures *out)
{
	/* relaxed: figures, pair with count */
	out->pushes = __atomic_load_n(&figures.pushes, __ATOMIC_RELAXED);
	out->entries = __atomic_load_n(&figures.entries, __ATOMIC_RELAXED);
	out->malformed = __atomic_load_n(&figures.malformed, __ATOMIC_RELAXED);
	out->lost = __atomic_load_n(&figures.lost, __ATOMIC_RELAXED);
}

static void count(uint64_t *figure, uint64_t n)
{
	/* relaxed: a figure, pairs with instance_figures */
	__atomic_fetch_add(figure, n, __ATOMIC_RELAXED);
}

/* ---- entries ---- */

/* The inbox learns first: who got an entry may acknowledge it. */
static void hand_on(struct cx_ctx *ctx, struct instance *in, uint32_t home)
{
	struct inbox_appended *b = &in->batches[home];
	struct inbox_learn_msg *m;
	enum cx_err learned, woken;

	if (b->count == 0)
		return;
	m = CX_MSG_NEW(ctx, INBOX_LEARN, struct inbox_learn_msg);
	m->count = b->count;
	memcpy(m->items, b->items, b->count * sizeof(b->items[0]));
	m->hdr.buf = cx_buf_ref(b->hdr.buf);
	learned = inbox_learn(ctx, &in->relay->inbox, home, m);
	woken = hub_wake(ctx, in->relay, home, b);
	count(&figures.lost, learned != CX_OK || woken != CX_OK);
	count(&figures.entries, b->count);
	b->count = 0;
}

static void take_entries(struct cx_ctx *ctx, struct instance *in, struct cx_buf *buf,
                         struct wire_slice bytes)
{
	const struct record *r;
	size_t at = 0;

	while (push_next_entry(bytes, &at, &r)) {
		const uint32_t home = relay_home(in->relay, &r->owner);
		struct inbox_appended *b = &in->batches[home];

		if (b->count == INBOX_BATCH_MAX)
			hand_on(ctx, in, home);
		b->hdr.buf = buf;
		b->items[b->count++] = (struct inbox_item){
			.owner = r->owner,
			.id = r->id,
			.prev = r->ref < r->id ? r->ref : INBOX_PREV_UNKNOWN,
			.offset = (uint32_t)((const uint8_t *)r - bytes.at),
			.len = r->frame_len,
			.kind = r->kind,
			.fresh = 1,
		};
	}
	for (uint32_t home = 0; home < in->relay->workers; home++)
		hand_on(ctx, in, home);
}

/* ---- looks and kicks ---- */

static void take_looks(struct cx_ctx *ctx, const struct instance *in, struct wire_slice bytes)
{
	struct push_look look;
	size_t at = 0;

	while (push_next_look(bytes, &at, &look))
		count(&figures.lost, hub_look(ctx, in->relay, &look.user) != CX_OK);
}

static void take_connection_kicks(struct cx_ctx *ctx, const struct instance *in,
                                  struct wire_slice bytes)
{
	struct push_kick_connection k;
	size_t at = 0;

	while (push_next_kick_connection(bytes, &at, &k))
		count(&figures.lost,
		      hub_kick_number(ctx, in->relay, &k.user, k.number, k.code) != CX_OK);
}

/* What we said ourselves was done before it was said, and spared the connection that asked.  Nobody is
 * instance 0, which to the hub is this one. */
static void take_session_kicks(struct cx_ctx *ctx, const struct instance *in,
                               struct wire_slice bytes)
{
	struct push_kick_session k;
	size_t at = 0;

	while (push_next_kick_session(bytes, &at, &k)) {
		if (k.from_instance == in->relay->instance || k.from_instance == 0)
			continue;
		count(&figures.lost, hub_kick_for(ctx, in->relay, &k) != CX_OK);
	}
}

static void take_kicked(struct cx_ctx *ctx, const struct instance *in, struct wire_slice bytes)
{
	const struct relay *relay = in->relay;
	struct push_kick_session k;
	size_t at = 0;

	while (push_next_kicked(bytes, &at, &k))
		count(&figures.lost,
		      routes_confirmed(ctx, relay->routes[relay_home(relay, &k.user)], &k) !=
		              CX_OK);
}

/* Of one life once: each hub reads anew for all who are there. */
static void begin_life(struct cx_ctx *ctx, struct instance *in, const struct uuid *life)
{
	if (uuid_equal(life, &in->life))
		return;
	in->life = *life;
	count(&figures.lost, hub_redis_lost(ctx, in->relay) != CX_OK);
}

static void take_lost(struct cx_ctx *ctx, struct instance *in, struct wire_slice bytes)
{
	struct push_lost lost;
	size_t at = 0;

	while (push_next_lost(bytes, &at, &lost))
		begin_life(ctx, in, &lost.life);
}

/* With each heartbeat, for when PUSH_LOST was not heard.  The first of this process is where it began. */
static void take_life(struct cx_ctx *ctx, struct instance *in, struct wire_slice bytes)
{
	static const struct uuid none;
	struct push_lost now;
	size_t at = 0;

	while (push_next_life(bytes, &at, &now)) {
		if (uuid_equal(&in->life, &none))
			in->life = now.life;
		begin_life(ctx, in, &now.life);
	}
}

_Static_assert(PUSH_KICK_WHAT_MAX == HUB_KICK_OTHERS, "what push_kind_of lets pass");

/* ---- what comes ---- */

static void on_push(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct instance *in = state;
	const struct wire_slice bytes =
		wire_slice(cx_buf_bytes(msg->buf), cx_buf_len(msg->buf));

	count(&figures.pushes, 1);
	switch (push_kind_of(bytes)) {
	case PUSH_ENTRIES:
		take_entries(ctx, in, msg->buf, bytes);
		break;
	case PUSH_LOOK:
		take_looks(ctx, in, bytes);
		break;
	case PUSH_KICK_CONNECTION:
		take_connection_kicks(ctx, in, bytes);
		break;
	case PUSH_KICK_SESSION:
		take_session_kicks(ctx, in, bytes);
		break;
	case PUSH_KICKED:
		take_kicked(ctx, in, bytes);
		break;
	case PUSH_LOST:
		take_lost(ctx, in, bytes);
		break;
	case PUSH_LIFE:
		take_life(ctx, in, bytes);
		break;
	default:
		count(&figures.malformed, 1);
		break;
	}
}

static void on_subscribed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct instance *in = state;

	(void)msg;
	count(&figures.lost, hub_look(ctx, in->relay, NULL) != CX_OK);
}

/* ---- life ---- */

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct instance *in = state;

	(void)ctx;
	in->relay = ((const struct instance_conf *)conf)->relay;
	in->batches = calloc(in->relay->workers, sizeof(*in->batches));
	cx_assert(in->batches != NULL);
	return CX_OK;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct instance *in = state;

	(void)ctx;
	free(in->batches);
}

static const struct cx_handler handlers[] = {
	CX_ON(REDIS_PUSH, struct redis_push, on_push),
	CX_ON(REDIS_SUBSCRIBED, struct redis_subscribed, on_subscribed),
};

const struct cx_actor_type instance_type = {
	.name = "instance",
	.state_size = sizeof(struct instance),
	.conf_size = sizeof(struct instance_conf),
	.mailbox_cap = 4096,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
