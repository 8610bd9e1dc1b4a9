/* SPDX-License-Identifier: MIT */
/* A device of a user and its socket in one actor.  It sends with several in flight, acknowledges what it
 * gets, now and then breaks its connection, sends again what has no answer (to it or another device
 * of the user), and judges every frame.  All but a user's first stay away for a while sometimes. */
#include <stdio.h>
#include <string.h>

#include "actors/connection.h"
#include "io/websocket_internal.h"
#include "sim/faults.h"
#include "sim/forge.h"
#include "sim/judge.h"
#include "sim/world.h"
#include "wire/client_frame.h"
#include "wire/server_frame.h"

#define TICK_MS 4
#define CUT_ONE_IN 120 /* ticks */
#define ANSWER_MAX_MS 15100
#define STALL_ONE_IN 100
#define STALL_MAX_MS 300
#define FORGE_ONE_IN 60
#define AWAY_MAX_MS 100 /* after a break; of the one that was displaced, at least AWAY_MIN_MS */
#define AWAY_MIN_MS 10

struct client {
	struct user *user;
	uint32_t number, device;
	struct cx_ref connection;
	uint32_t gen; /* of the connection; handles of older ones are stale */
	bool is_open, is_live;
	bool is_displaced; /* told so: the close comes next */
	bool is_calm; /* connected anew since the faults ended: what was not acknowledged comes again */
	uint32_t open; /* sends without an answer */
	uint64_t away_until_ms;
	uint32_t forged;    /* messages, and no refusal yet */
	bool is_behind;     /* it has stalled: what came meanwhile is not acknowledged, */
	uint64_t pong_owed; /* nor this ping answered; 0: none */
	uint64_t credit;
	uint64_t pings;                       /* sent so far, over all connections */
	uint64_t ping_of[CLIENTS][SENDS_MAX]; /* the one behind an acknowledgement; 0: none */
	struct cx_timer tick;
};

/* ---- to the connection ---- */

static void to_connection(struct cx_ctx *ctx, struct client *c, struct cx_msg *msg)
{
	if (cx_send_reserved(ctx, c->connection, msg) != CX_OK && c->is_open)
		world_broken("client %u/%u: its connection ended by itself", c->number,
		             c->device);
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
		.handle = { .adapter = cx_self(ctx), .index = c->device, .gen = ++c->gen },
		.context = &sim_relay,
		.window_bytes = sim_relay.window_bytes,
	};
	struct device *device = &c->user->devices[c->device];
	uint8_t frame[256];
	char token[16];

	snprintf(token, sizeof(token), "%u.%u", c->number, c->user->session);
	cx_assert(cx_spawn(ctx, &connection_type, &conf, cx_worker_index(ctx),
	                   &c->connection) == CX_OK);
	c->is_open = true;
	c->is_live = false;
	c->is_displaced = false;
	c->open = 0;
	c->forged = 0;
	c->is_behind = false;
	c->pong_owed = 0;
	c->credit = 0;
	judge_opened(c->number, c->device, cx_now_ms(ctx));
	device->session = c->user->session;
	device->connection = c->connection;
	send_frame(ctx, c, frame, client_frame_connect(frame, sizeof(frame), wire_text(token)));
}

/* The socket is gone: what had no answer is unknown, what was not confirmed may come again. */
static void lose_connection(struct cx_ctx *ctx, struct client *c)
{
	struct ws_closed *m = CX_MSG_NEW(ctx, WS_CLOSED, struct ws_closed);

	m->code = 1006;
	c->is_open = false;
	judge_lost(c->number, c->device);
	to_connection(ctx, c, &m->hdr);
	for (uint32_t n = 0; n < c->user->next; n++) {
		struct sent *s = &c->user->sent[n];

		if (!s->is_open || s->by != c->device)
			continue;
		s->is_unknown = true;
		s->is_open = false;
	}
	memset(c->ping_of, 0, sizeof(c->ping_of));
	if (world.is_faulty && c->device > 0)
		c->away_until_ms = cx_now_ms(ctx) + cx_random(ctx) % AWAY_MAX_MS;
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
	s->by = (uint8_t)c->device;
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
	while (c->open < IN_FLIGHT && c->user->next < SENDS_MAX - 1 - BURST &&
	       world.is_faulty && cx_random(ctx) % 3 == 0)
		send_message(ctx, c, c->user->next++);
	while (world.is_slow && c->open < IN_FLIGHT && c->user->burst > 0) {
		c->user->burst--;
		send_message(ctx, c, c->user->next++);
	}
	if (!world.is_last_wanted || world.last_sender != c->number)
		return;
	world.is_last_wanted = false;
	world.last_number = c->user->next++;
	send_message(ctx, c, world.last_number);
}

static void send_pong(struct cx_ctx *ctx, struct client *c, uint64_t number)
{
	struct ws_pong_in *pong = CX_MSG_NEW(ctx, WS_PONG, struct ws_pong_in);

	pong->number = number;
	to_connection(ctx, c, &pong->hdr);
}

static void forge(struct cx_ctx *ctx, struct client *c)
{
	const bool is_message = cx_random(ctx) % 2 == 0;
	uint8_t frame[1024];
	size_t len;

	if (!fault_happens(FAULT_FORGED, "client %u/%u: %s", c->number, c->device,
	                   is_message ? "message" : "acknowledgement"))
		return;
	len = is_message ? forge_message(ctx, c->number, frame, sizeof(frame))
	                 : forge_acknowledge(ctx, c->number, frame, sizeof(frame));
	if (len == 0)
		return;
	world.forged++;
	c->forged += is_message;
	send_frame(ctx, c, frame, len);
}

/* ---- frames from the relay ---- */

/* Takes nothing from its socket's inbox. */
static bool is_stalled(struct cx_ctx *ctx, const struct client *c)
{
	const struct device *d = &c->user->devices[c->device];

	if (world.is_slow)
		return c->number == world.slow_user && c->device == world.slow_device;
	return cx_now_ms(ctx) < d->stalled_until_ms;
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
	if (!s->is_open || s->by != c->device) {
		world_broken("client %u: a second answer to %u", c->number, number);
		return;
	}
	judge_answer(c->number, c->device, number);
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

static void acknowledge(struct cx_ctx *ctx, struct client *c, const struct uuid *id)
{
	const struct client_acknowledge ack = { .id = *id, .status = wire_text("delivered") };
	struct ws_ping_in *ping = CX_MSG_NEW(ctx, WS_PING, struct ws_ping_in);
	uint32_t sender, number;
	uint8_t frame[256];

	cx_assert(world_message_of(id, &sender, &number));
	c->user->got[sender][number].is_acknowledged = true;
	send_frame(ctx, c, frame, client_frame_acknowledge(frame, sizeof(frame), &ack));
	c->ping_of[sender][number] = ++c->pings;
	ping->hdr.buf = cx_buf_copy(&c->pings, sizeof(c->pings));
	to_connection(ctx, c, &ping->hdr);
}

static void on_message(struct cx_ctx *ctx, struct client *c, const struct uuid *id)
{
	if (!judge_message(c->number, c->device, id, cx_now_ms(ctx)) || world.is_last)
		return; /* the last one is acknowledged when all have it */
	if (is_stalled(ctx, c)) {
		c->is_behind = true;
		return;
	}
	if (world.is_faulty && cx_random(ctx) % 4 == 0 &&
	    fault_happens(FAULT_UNTOLD, "client %u/%u", c->number, c->device))
		return; /* it comes again another time */
	acknowledge(ctx, c, id);
}

static void acknowledge_last(struct cx_ctx *ctx, struct client *c)
{
	const uint32_t from = world.last_sender, n = world.last_number;
	const struct uuid id = world_message_id(from, n);

	if (world_recipient(from, n) == c->number && c->user->devices[c->device].got[from][n] &&
	    !c->user->got[from][n].is_acknowledged && judge_all_got(from, n))
		acknowledge(ctx, c, &id);
}

/* It reads what came while it stalled. */
static void catch_up(struct cx_ctx *ctx, struct client *c)
{
	const struct device *d = &c->user->devices[c->device];

	c->is_behind = false;
	if (c->pong_owed > 0)
		send_pong(ctx, c, c->pong_owed);
	c->pong_owed = 0;
	for (uint32_t from = 0; from < CLIENTS; from++)
		for (uint32_t n = 0; n < SENDS_MAX; n++) {
			const struct uuid id = world_message_id(from, n);

			if (d->got[from][n] && !c->user->got[from][n].is_acknowledged)
				acknowledge(ctx, c, &id);
		}
}

static void on_pong(struct cx_ctx *ctx, struct client *c, const uint8_t *bytes, size_t len)
{
	uint64_t ping = 0;

	cx_assert(len == sizeof(ping));
	memcpy(&ping, bytes, len);
	for (uint32_t from = 0; from < CLIENTS; from++)
		for (uint32_t n = 0; n < SENDS_MAX; n++) {
			if (c->ping_of[from][n] == 0 || c->ping_of[from][n] > ping)
				continue;
			c->ping_of[from][n] = 0;
			judge_confirmed(c->number, from, n, cx_now_ms(ctx));
		}
}

static void on_error_frame(struct client *c, const struct server_frame *f)
{
	uint32_t sender, number;
	struct uuid id;

	if (f->error.message_id.at == NULL && f->error.code == ERROR_TOO_MANY_CONNECTIONS) {
		c->is_displaced = true;
		return;
	}
	if (f->error.message_id.at == NULL || !uuid_parse(f->error.message_id, &id, NULL))
		world_broken("client %u: an error about nothing", c->number);
	else if (f->error.code == ERROR_FORBIDDEN && c->forged > 0 &&
	         world_message_of(&id, &sender, &number) && sender != c->number)
		c->forged--;
	else if (f->error.code != ERROR_SERVER_ERROR)
		on_answer(c, &id, f->error.code == ERROR_DUPLICATE_MESSAGE);
	else if (world_message_of(&id, &sender, &number) && sender != c->number)
		c->ping_of[sender][number] = 0; /* the acknowledgement failed */
}

static void on_frame(struct cx_ctx *ctx, struct client *c, const uint8_t *bytes, size_t len)
{
	struct server_frame f;

	if (!server_frame_decode(bytes, len, &f)) {
		world_broken("client %u: a frame that is none", c->number);
		return;
	}
	if ((f.type == SERVER_ERROR || f.type == SERVER_SESSION_EXPIRED) && !c->is_live) {
		lose_connection(ctx,
		                c); /* who we are could not be asked, or is old: once more */
		return;
	}
	if (f.type != SERVER_CONNECT_SUCCESS && !c->is_live)
		world_broken("client %u: a frame before connectSuccess", c->number);
	switch (f.type) {
	case SERVER_CONNECT_SUCCESS:
		c->is_live = true;
		judge_live(c->number, c->device, cx_now_ms(ctx));
		break;
	case SERVER_MESSAGE:
		on_message(ctx, c, &f.message.id);
		break;
	case SERVER_ACK:
		if (f.ack.status == ACK_DELIVERED)
			judge_delivered(c->number, c->device, &f.ack.id, cx_now_ms(ctx));
		else
			on_answer(c, &f.ack.id, true);
		break;
	case SERVER_ERROR:
		on_error_frame(c, &f);
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
		on_pong(ctx, c, bytes, m->len);
	else
		on_frame(ctx, c, bytes, m->len);
	if (m->kind != WS_INBOX)
		return;
	judge_bytes(c->number, c->device, m->len);
	c->credit += m->len;
}

static void on_control(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct ws_control_msg *m = CX_MSG_AS(struct ws_control_msg, msg);
	struct client *c = state;

	if (!is_current(c, m->gen))
		return;
	if (m->what == WS_CONTROL_CLOSE) {
		if (c->is_displaced != (m->code == 4409))
			world_broken("client %u: closed with %u", c->number, m->code);
		if (m->code == 4409)
			judge_displaced(c->number, c->device);
		if (m->code == 4401)
			judge_ended(c->number, c->device);
		lose_connection(ctx, c);
		if (m->code == 4409 && c->away_until_ms < cx_now_ms(ctx) + AWAY_MIN_MS)
			c->away_until_ms = cx_now_ms(ctx) + AWAY_MIN_MS;
		return;
	}
	if (is_stalled(ctx, c)) {
		c->is_behind = true;
		c->pong_owed = m->number;
		return;
	}
	send_pong(ctx, c, m->number);
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
		if (c->user->sent[n].is_open && c->user->sent[n].by == c->device &&
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
	c->user->devices[c->device].unpaid_bytes -= c->credit;
	c->credit = 0;
	to_connection(ctx, c, &m->hdr);
}

static bool is_cut(struct cx_ctx *ctx, const struct client *c)
{
	return cx_random(ctx) % CUT_ONE_IN == 0 &&
	       fault_happens(FAULT_CUT, "client %u/%u", c->number, c->device);
}

static void misbehave(struct cx_ctx *ctx, struct client *c)
{
	const uint64_t random = cx_random(ctx);
	const uint64_t ms = (random >> 32) % STALL_MAX_MS;

	if (c->is_live && random % FORGE_ONE_IN == 0) {
		forge(ctx, c);
	} else if (random % STALL_ONE_IN == 1 && !is_stalled(ctx, c) &&
	           fault_happens(FAULT_STALL, "client %u/%u, %u ms", c->number, c->device,
	                         (unsigned)ms)) {
		world.stalls++;
		c->user->devices[c->device].stalled_until_ms = cx_now_ms(ctx) + ms;
	}
}

static void on_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct client *c = state;

	(void)msg;
	cx_timer_arm(ctx, &c->tick, 1 + cx_random(ctx) % TICK_MS, TIMER_A);
	if (!c->is_open) {
		if (world_wants(c->number, c->device) && cx_now_ms(ctx) >= c->away_until_ms)
			open_connection(ctx, c);
		return;
	}
	if (world.is_faulty ? is_cut(ctx, c) : !c->is_calm && cx_now_ms(ctx) > world.calm_ms) {
		c->is_calm = !world.is_faulty;
		world.cuts++;
		lose_connection(ctx, c);
		return;
	}
	check_answers_come(ctx, c);
	judge_connections(c->number, cx_now_ms(ctx));
	if (world.is_faulty)
		misbehave(ctx, c);
	if (!is_stalled(ctx, c)) {
		if (c->is_behind)
			catch_up(ctx, c);
		if (cx_random(ctx) % 2 == 0)
			give_credit(ctx, c);
	}
	if (c->is_live)
		send_more(ctx, c);
	if (world.is_last && !world.is_last_wanted)
		acknowledge_last(ctx, c);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct client *c = state;

	c->number = ((const struct fake_client_conf *)conf)->number;
	c->device = ((const struct fake_client_conf *)conf)->device;
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
