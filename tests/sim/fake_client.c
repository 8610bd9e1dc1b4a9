/* SPDX-License-Identifier: MIT */
/* A client and its socket in one actor.  It sends with several in flight, acknowledges what it gets, now
 * and then breaks its connection, sends again what has no answer, and judges every frame. */
#include <string.h>

#include "actors/account.h"
#include "actors/connection.h"
#include "io/websocket_internal.h"
#include "sim/world.h"
#include "wire/client_frame.h"
#include "wire/server_frame.h"

#define TICK_MS 4
#define CUT_ONE_IN 120 /* ticks */
#define ANSWER_MAX_MS 15100

struct client {
	struct user *user;
	uint32_t number;
	struct cx_ref connection;
	uint32_t gen; /* of the connection; handles of older ones are stale */
	bool is_open, is_live;
	bool is_calm; /* connected anew since the faults ended: what was not acknowledged comes again */
	uint32_t open;       /* sends without an answer */
	uint64_t last_entry; /* id of the last message on this connection */
	uint64_t credit;
	struct cx_timer tick;
};

/* ---- to the connection ---- */

static void to_connection(struct cx_ctx *ctx, struct client *c, struct cx_msg *msg)
{
	if (cx_send_reserved(ctx, c->connection, msg) != CX_OK && c->is_open)
		world_broken("client %u: its connection ended by itself", c->number);
}

static void send_frame(struct cx_ctx *ctx, struct client *c, const uint8_t *bytes, size_t len)
{
	struct ws_frame_in *m = CX_MSG_NEW(ctx, WS_FRAME, struct ws_frame_in);

	m->hdr.buf = cx_buf_copy(bytes, len);
	to_connection(ctx, c, &m->hdr);
}

static void open_connection(struct cx_ctx *ctx, struct client *c)
{
	const struct ws_connection_conf conf = {
		.handle = { .adapter = cx_self(ctx), .index = c->number, .gen = ++c->gen },
		.context = &sim_relay,
		.window_bytes = sim_relay.window_bytes,
	};
	uint8_t frame[256];
	const char token[2] = { (char)('0' + c->number), '\0' };

	cx_assert(cx_spawn(ctx, &connection_type, &conf, cx_worker_index(ctx),
	                   &c->connection) == CX_OK);
	c->is_open = true;
	c->is_live = false;
	c->open = 0;
	c->credit = 0;
	c->last_entry = 0;
	send_frame(ctx, c, frame, client_frame_connect(frame, sizeof(frame), wire_text(token)));
}

/* The socket is gone: what had no answer is unknown, what was not confirmed may come again. */
static void lose_connection(struct cx_ctx *ctx, struct client *c)
{
	struct ws_closed *m = CX_MSG_NEW(ctx, WS_CLOSED, struct ws_closed);

	m->code = 1006;
	c->is_open = false;
	to_connection(ctx, c, &m->hdr);
	for (uint32_t n = 0; n < c->user->next; n++) {
		struct sent *s = &c->user->sent[n];

		s->is_unknown = s->is_unknown || s->is_open;
		s->is_open = false;
	}
	for (uint32_t from = 0; from < CLIENTS; from++)
		for (uint32_t n = 0; n < SENDS_MAX; n++)
			c->user->got[from][n].ping = 0;
}

static void send_message(struct cx_ctx *ctx, struct client *c, uint32_t number)
{
	const struct uuid to = world.users[world_recipient(c->number, number)].id;
	struct sent *s = &c->user->sent[number];
	struct chat_message m = {
		.id = world_message_id(c->number, number),
		.from = { .user = c->user->id },
		.to = { .user = to },
		.content = wire_text("c2VhbGVk"),
		.message_number = number,
		.timestamp = 1704067200,
	};
	uint8_t frame[1024];

	s->is_open = true;
	s->is_unknown = false;
	s->since_ms = cx_now_ms(ctx);
	c->open++;
	send_frame(ctx, c, frame, client_frame_send_message(frame, sizeof(frame), &m));
}

/* First what has no good answer yet, in order, one at a time; then new ones. */
static void send_more(struct cx_ctx *ctx, struct client *c)
{
	for (uint32_t n = 0; n < c->user->next; n++) {
		if (!c->user->sent[n].is_unknown)
			continue;
		if (c->open == 0)
			send_message(ctx, c, n);
		return;
	}
	while (c->open < IN_FLIGHT && c->user->next < SENDS_MAX && world.is_faulty &&
	       cx_random(ctx) % 3 == 0)
		send_message(ctx, c, c->user->next++);
}

/* ---- frames from the relay ---- */

static void check_answer_order(struct client *c, uint32_t number)
{
	for (uint32_t n = 0; n < number; n++)
		if (c->user->sent[n].is_open &&
		    world_recipient(c->number, n) == world_recipient(c->number, number) &&
		    c->user->sent[n].since_ms <= c->user->sent[number].since_ms)
			world_broken("client %u: the answer to %u overtook that to %u",
			             c->number, number, n);
}

static void on_answer(struct client *c, const struct uuid *id, bool is_accepted)
{
	uint32_t sender, number;
	struct sent *s;

	if (!world_message_of(id, &sender, &number) || sender != c->number) {
		world_broken("client %u: an answer to a message it did not send", c->number);
		return;
	}
	s = &c->user->sent[number];
	if (!s->is_open) {
		world_broken("client %u: a second answer to %u", c->number, number);
		return;
	}
	check_answer_order(c, number);
	s->is_open = false;
	c->open--;
	s->is_unknown = !is_accepted;
	if (!is_accepted)
		return;
	if (world_entry(id) == NULL)
		world_broken("client %u: %u accepted and not durable", c->number, number);
	s->is_accepted = true;
	world.accepted++;
}

static void acknowledge(struct cx_ctx *ctx, struct client *c, const struct uuid *id,
                        struct got *got)
{
	const struct client_acknowledge ack = { .id = *id, .status = wire_text("delivered") };
	struct ws_ping_in *ping = CX_MSG_NEW(ctx, WS_PING, struct ws_ping_in);
	uint8_t frame[256];

	send_frame(ctx, c, frame, client_frame_acknowledge(frame, sizeof(frame), &ack));
	got->ping = ++c->user->pings;
	ping->hdr.buf = cx_buf_copy(&got->ping, sizeof(got->ping));
	to_connection(ctx, c, &ping->hdr);
}

/* What is older and was never received comes first. */
static void check_nothing_skipped(const struct client *c, const struct entry *e)
{
	uint32_t sender, number;

	for (const struct entry *old = world.entries; old != e; old++)
		if (old->kind == RECORD_MESSAGE && !old->is_gone &&
		    uuid_equal(&old->owner, &c->user->id) &&
		    world_message_of(&old->key, &sender, &number) &&
		    !c->user->got[sender][number].is_received)
			world_broken("client %u: entry %llu came before %llu", c->number,
			             (unsigned long long)e->id, (unsigned long long)old->id);
}

static void on_message(struct cx_ctx *ctx, struct client *c, const struct chat_message *m)
{
	const struct entry *e = world_entry(&m->id);
	uint32_t sender, number;
	struct got *got;

	if (!world_message_of(&m->id, &sender, &number) || e == NULL ||
	    world_recipient(sender, number) != c->number) {
		world_broken("client %u: a message that is not for it or not durable",
		             c->number);
		return;
	}
	got = &c->user->got[sender][number];
	if (got->is_confirmed)
		world_broken("client %u: %u/%u came after its confirmed acknowledgement",
		             c->number, sender, number);
	if (e->id <= c->last_entry)
		world_broken("client %u: entry %llu after %llu on one connection", c->number,
		             (unsigned long long)e->id, (unsigned long long)c->last_entry);
	check_nothing_skipped(c, e);
	c->last_entry = e->id;
	world.received += !got->is_received;
	got->is_received = true;
	if (!world.is_faulty || cx_random(ctx) % 4 > 0) /* else it comes again another time */
		acknowledge(ctx, c, &m->id, got);
}

static void on_delivered(struct client *c, const struct uuid *id)
{
	uint32_t sender, number;
	const struct entry *e = world_entry(id);

	if (!world_message_of(id, &sender, &number) || sender != c->number || e == NULL ||
	    !e->is_gone) {
		world_broken("client %u: `delivered` for what was not settled", c->number);
		return;
	}
	world.reported += !c->user->sent[number].is_reported;
	c->user->sent[number].is_reported = true;
	world.users[world_recipient(sender, number)].got[sender][number].is_confirmed = true;
}

static void on_pong(struct client *c, const uint8_t *bytes, size_t len)
{
	uint64_t ping = 0;

	cx_assert(len == sizeof(ping));
	memcpy(&ping, bytes, len);
	for (uint32_t from = 0; from < CLIENTS; from++)
		for (uint32_t n = 0; n < SENDS_MAX; n++) {
			struct got *got = &c->user->got[from][n];

			if (got->ping == 0 || got->ping > ping)
				continue;
			got->ping = 0;
			got->is_confirmed = true;
		}
}

static void on_frame(struct cx_ctx *ctx, struct client *c, const uint8_t *bytes, size_t len)
{
	struct server_frame f;
	struct uuid id;

	if (!server_frame_decode(bytes, len, &f)) {
		world_broken("client %u: a frame that is none", c->number);
		return;
	}
	if (f.type == SERVER_ERROR && !c->is_live) {
		lose_connection(ctx, c); /* it could not be asked who we are: once more */
		return;
	}
	if (f.type != SERVER_CONNECT_SUCCESS && !c->is_live)
		world_broken("client %u: a frame before connectSuccess", c->number);
	switch (f.type) {
	case SERVER_CONNECT_SUCCESS:
		c->is_live = true;
		break;
	case SERVER_MESSAGE:
		on_message(ctx, c, &f.message);
		break;
	case SERVER_ACK:
		if (f.ack.status == ACK_DELIVERED)
			on_delivered(c, &f.ack.id);
		else
			on_answer(c, &f.ack.id, true);
		break;
	case SERVER_ERROR:
		if (f.error.message_id.at == NULL || !uuid_parse(f.error.message_id, &id, NULL))
			world_broken("client %u: an error about nothing", c->number);
		else if (f.error.code == ERROR_SERVER_ERROR) { /* of an acknowledgement */
			uint32_t sender, number;

			if (world_message_of(&id, &sender, &number) && sender != c->number)
				c->user->got[sender][number].ping = 0;
		} else
			on_answer(c, &id, f.error.code == ERROR_DUPLICATE_MESSAGE);
		break;
	default:
		world_broken("client %u: an unexpected frame", c->number);
	}
}

static bool is_current(const struct client *c, uint32_t gen)
{
	return c->is_open && gen == c->gen;
}

static void on_send(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct ws_send_msg *m = CX_MSG_AS(struct ws_send_msg, msg);
	const uint8_t *bytes = m->len > 0 ? cx_buf_bytes(msg->buf) + m->offset : NULL;
	struct client *c = state;

	if (!is_current(c, m->gen))
		return; /* it was on its way when the connection broke */
	if (m->kind == WS_OUT_PONG)
		on_pong(c, bytes, m->len);
	else
		on_frame(ctx, c, bytes, m->len);
	if (m->kind == WS_INBOX)
		c->credit += m->len;
}

static void on_control(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct ws_control_msg *m = CX_MSG_AS(struct ws_control_msg, msg);
	struct client *c = state;
	struct ws_pong_in *pong;

	if (!is_current(c, m->gen))
		return;
	if (m->what == WS_CONTROL_CLOSE) {
		lose_connection(ctx, c);
		return;
	}
	pong = CX_MSG_NEW(ctx, WS_PONG, struct ws_pong_in);
	pong->number = m->number;
	to_connection(ctx, c, &pong->hdr);
}

static void on_consumed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
}

static void check_answers_come(struct cx_ctx *ctx, struct client *c)
{
	for (uint32_t n = 0; n < c->user->next; n++)
		if (c->user->sent[n].is_open &&
		    cx_now_ms(ctx) - c->user->sent[n].since_ms > ANSWER_MAX_MS)
			world_broken("client %u: no answer to %u in 15 s", c->number, n);
}

static void give_credit(struct cx_ctx *ctx, struct client *c)
{
	struct ws_credit *m;

	if (c->credit == 0)
		return;
	m = CX_MSG_NEW(ctx, WS_CREDIT, struct ws_credit);
	m->bytes = (uint32_t)c->credit;
	c->credit = 0;
	to_connection(ctx, c, &m->hdr);
}

static void on_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct client *c = state;

	(void)msg;
	cx_timer_arm(ctx, &c->tick, 1 + cx_random(ctx) % TICK_MS, TIMER_A);
	if (!c->is_open) {
		open_connection(ctx, c);
		return;
	}
	if (world.is_faulty ? cx_random(ctx) % CUT_ONE_IN == 0 : !c->is_calm) {
		c->is_calm = !world.is_faulty;
		world.cuts++;
		lose_connection(ctx, c);
		return;
	}
	check_answers_come(ctx, c);
	if (cx_random(ctx) % 2 == 0)
		give_credit(ctx, c);
	if (c->is_live)
		send_more(ctx, c);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct client *c = state;

	c->number = ((const struct fake_client_conf *)conf)->number;
	c->user = &world.users[c->number];
	cx_timer_arm(ctx, &c->tick, cx_random(ctx) % TICK_MS, TIMER_A);
	return CX_OK;
}

static const struct cx_handler handlers[] = {
	CX_ON(WS_SEND, struct ws_send_msg, on_send),
	CX_ON(WS_CONTROL, struct ws_control_msg, on_control),
	CX_ON(WS_CONSUMED, struct ws_consumed_msg, on_consumed),
	CX_ON(TIMER_A, struct cx_msg_timer, on_tick),
};

const struct cx_actor_type fake_client_type = {
	.name = "fake_client",
	.state_size = sizeof(struct client),
	.conf_size = sizeof(struct fake_client_conf),
	.mailbox_cap = 4096,
	.placement = CX_PLACE_IO,
	.start = start,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

/* ---- the account actor ---- */

static void on_request(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct account_answer *m = CX_MSG_NEW(ctx, ACCOUNT_ANSWER, struct account_answer);
	struct client_frame f;
	const struct user *user;
	uint8_t frame[256];

	(void)state;
	cx_assert(client_frame_decode(cx_buf_bytes(msg->buf), cx_buf_len(msg->buf), &f) ==
	                  ERROR_NONE &&
	          f.type == CLIENT_CONNECT);
	user = &world.users[f.session.session_token.at[0] - '0'];
	m->user = user->id;
	m->jti = user->id;
	m->effect = ACCOUNT_AUTHENTICATED;
	m->hdr.buf = cx_buf_copy(frame, server_frame_connected(frame, sizeof(frame), &user->id,
	                                                       wire_text("somebody")));
	cx_reply(ctx, msg, &m->hdr);
}

static const struct cx_handler account_handlers[] = {
	CX_ON(ACCOUNT_REQUEST, struct account_request_msg, on_request),
};

const struct cx_actor_type fake_account_type = {
	.name = "fake_account",
	.mailbox_cap = 64,
	.placement = CX_PLACE_IO,
	.handlers = account_handlers,
	.handler_count = CX_COUNTOF(account_handlers),
};
