/* SPDX-License-Identifier: MIT */
/* The account actor's place, and its store's for sessions.  A token is the digit of the user whose it is,
 * a dot and the number of the session: who names the one that lives is welcome.  Now and then one ends, and
 * its connections are kicked, as by a logout. */
#include <stdlib.h>
#include <string.h>

#include "actors/account.h"
#include "actors/hub.h"
#include "sim/faults.h"
#include "sim/world.h"
#include "wire/client_frame.h"
#include "wire/server_frame.h"

#define END_MAX_MS 150
#define END_ONE_IN 12 /* who connects */

struct account {
	struct cx_timer timer;
};

/* In this order: so a connection that found it alive came to the hub before the kick. */
static void end_session(struct cx_ctx *ctx, uint32_t number)
{
	struct user *user = &world.users[number];
	const struct uuid jti = world_session_id(number, user->session);
	uint64_t corr;

	if (!fault_happens(FAULT_SESSION, "%u of client %u", user->session, number))
		return;
	user->session++;
	user->ended_ms = cx_now_ms(ctx);
	world.ended++;
	if (hub_kick(ctx, &sim_relay, &user->id, &jti, HUB_KICK_SESSION, CX_NOBODY, 4401,
	             &corr) == CX_OK)
		cx_ask_cancel(ctx, corr);
}

static void on_request(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct account_answer *m = CX_MSG_NEW(ctx, ACCOUNT_ANSWER, struct account_answer);
	uint8_t frame[256];
	char token[16] = "";
	struct client_frame f;
	const struct user *user;
	uint32_t number, session;
	size_t len;

	(void)state;
	cx_assert(client_frame_decode(cx_buf_bytes(msg->buf), cx_buf_len(msg->buf), &f) ==
	                  ERROR_NONE &&
	          f.type == CLIENT_CONNECT && f.session.session_token.len < sizeof(token));
	memcpy(token, f.session.session_token.at, f.session.session_token.len);
	number = (uint32_t)(token[0] - '0');
	session = (uint32_t)strtoul(token + 2, NULL, 10);
	user = &world.users[number];
	if (session == user->session) {
		m->user = user->id;
		m->jti = world_session_id(number, session);
		m->effect = ACCOUNT_AUTHENTICATED;
		len = server_frame_connected(frame, sizeof(frame), &user->id,
		                             wire_text("somebody"));
	} else {
		m->effect = ACCOUNT_NOTHING;
		len = server_frame_plain(frame, sizeof(frame), SERVER_SESSION_EXPIRED);
	}
	m->hdr.buf = cx_buf_copy(frame, len);
	cx_reply(ctx, msg, &m->hdr);
	if (session == user->session && world.is_faulty && cx_random(ctx) % END_ONE_IN == 0)
		end_session(ctx, number); /* while that one is on its way to the hub */
}

static void arm(struct cx_ctx *ctx, struct account *a)
{
	cx_timer_arm(ctx, &a->timer, 1 + cx_random(ctx) % END_MAX_MS, TIMER_A);
}

static void on_time(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)msg;
	if (!world.is_faulty)
		return;
	end_session(ctx, (uint32_t)(cx_random(ctx) % CLIENTS));
	arm(ctx, state);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)conf;
	arm(ctx, state);
	return CX_OK;
}

static const struct cx_handler account_handlers[] = {
	CX_ON(ACCOUNT_REQUEST, struct account_request_msg, on_request),
	CX_ON(TIMER_A, struct cx_msg_timer, on_time),
};

const struct cx_actor_type fake_account_type = {
	.name = "fake_account",
	.state_size = sizeof(struct account),
	.mailbox_cap = 64,
	.placement = CX_PLACE_IO,
	.start = start,
	.handlers = account_handlers,
	.handler_count = CX_COUNTOF(account_handlers),
};
