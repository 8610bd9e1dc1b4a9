/* SPDX-License-Identifier: MIT */
/* The account actor's place: a token is the digit of the user whose it is, and all are welcome. */
#include "actors/account.h"
#include "sim/world.h"
#include "wire/client_frame.h"
#include "wire/server_frame.h"

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
