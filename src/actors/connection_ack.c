/* SPDX-License-Identifier: MIT */
/* A client's acknowledgements on their way to its inbox, and its pings.
 *
 * 1. A ping is answered when each acknowledgement before it is stored or has failed; never when one
 *    was dropped (draining). */
#include "actors/connection_state.h"

#include <stdlib.h>

#include "io/inbox.h"
#include "io/websocket.h"

struct settle { /* an acknowledgement, or a ping that waits for those before it */
	struct settle *next;
	uint64_t corr;       /* 0: a ping */
	struct cx_buf *ping; /* its payload, or NULL */
	bool is_done;
	char id[UUID_TEXT_LEN + 1];
};

static struct settle *add_settle(struct connection *c)
{
	struct settle *s = calloc(1, sizeof(*s));

	cx_assert(s != NULL);
	*c->settles_end = s;
	c->settles_end = &s->next;
	return s;
}

static void pong(struct cx_ctx *ctx, struct connection *c, struct cx_buf *payload)
{
	const enum cx_err err = ws_pong(ctx, c->ws, payload);

	(void)err; /* the socket is gone */
}

static void release_settles(struct cx_ctx *ctx, struct connection *c)
{
	while (c->settles != NULL && (c->settles->is_done || c->settles->corr == 0)) {
		struct settle *s = c->settles;

		c->settles = s->next;
		if (c->settles == NULL)
			c->settles_end = &c->settles;
		if (s->corr == 0)
			pong(ctx, c, s->ping);
		cx_buf_unref(s->ping);
		free(s);
	}
}

bool ack_settled(struct cx_ctx *ctx, struct connection *c, uint64_t corr, bool is_stored)
{
	struct settle *s = c->settles;

	while (s != NULL && s->corr != corr)
		s = s->next;
	if (s == NULL)
		return false;
	s->is_done = true;
	connection_give_back(c, 0);
	if (!is_stored)
		connection_answer_error(ctx, c, ERROR_SERVER_ERROR, NULL, wire_text(s->id));
	release_settles(ctx, c);
	return true;
}

void ack_take(struct cx_ctx *ctx, struct connection *c, const struct client_frame *f,
              uint32_t frame_bytes)
{
	const struct client_acknowledge *ack = &f->acknowledge;
	const struct wire_slice domain =
		c->relay->domain != NULL ? wire_text(c->relay->domain) : wire_slice(NULL, 0);
	struct settle *s;
	uint64_t corr;

	/* another server's users have no message under a bare id here */
	if (!ack->is_delivered ||
	    (ack->has_from && !user_address_is_local(&ack->from, domain))) {
		connection_give_back(c, frame_bytes);
		return;
	}
	if (inbox_settle(ctx, &c->relay->inbox, &c->user, &ack->id,
	                 ack->has_from ? &ack->from.user : NULL,
	                 connection_time_left_ms(ctx, c), &corr) != CX_OK) {
		connection_answer_error(ctx, c, ERROR_SERVER_ERROR, NULL, ack->message_id);
		connection_give_back(c, frame_bytes);
		return;
	}
	c->done_bytes += frame_bytes; /* the frame itself when it is stored */
	s = add_settle(c);
	s->corr = corr;
	uuid_format_case(&ack->id, ack->id_case, s->id);
}

void ack_take_ping(struct cx_ctx *ctx, struct connection *c, struct cx_buf *payload)
{
	if (c->settles == NULL)
		pong(ctx, c, payload);
	else
		add_settle(c)->ping = cx_buf_ref(payload);
}

void ack_drop_all(struct connection *c)
{
	while (c->settles != NULL) {
		struct settle *s = c->settles;

		c->settles = s->next;
		cx_buf_unref(s->ping);
		free(s);
	}
}
