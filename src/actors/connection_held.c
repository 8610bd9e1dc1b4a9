/* SPDX-License-Identifier: MIT */
/* Frames of one client that wait behind an account request.
 *
 * 1. An exclusive request (login, logout...: it decides whose connection this is) holds back all
 *    that comes behind it; another one (a key, a password) only further account requests.  So a
 *    message never waits for a lookup.
 * 2. Messages, acknowledgements and pings keep their order: one of them is held only while an exclusive
 *    request is on its way or held before it.
 * 3. What is held too long to be answered in time closes the connection (promise 1). */
#include "actors/connection_state.h"

#include <stdlib.h>

struct held {
	struct held *next;
	struct cx_buf *bytes; /* of the frame or the ping's payload */
	uint64_t since_ms;
	enum held_kind kind;
	enum frame_lane lane;
};

enum frame_lane frame_lane_of(enum client_type type)
{
	switch (type) {
	case CLIENT_REGISTER:
	case CLIENT_LOGIN:
	case CLIENT_CONNECT:
	case CLIENT_LOGOUT:
	case CLIENT_DELETE_ACCOUNT:
		return LANE_EXCLUSIVE;
	case CLIENT_UNKNOWN:
	case CLIENT_SEND_MESSAGE:
	case CLIENT_ACKNOWLEDGE_MESSAGE:
		return LANE_MESSAGE;
	default:
		return LANE_ACCOUNT;
	}
}

bool held_must_wait(const struct connection *c, enum frame_lane lane)
{
	if ((c->is_busy && c->is_exclusive) || c->held_exclusive > 0)
		return true;
	return lane != LANE_MESSAGE && (c->is_busy || c->held != NULL);
}

void held_add(struct cx_ctx *ctx, struct connection *c, struct cx_buf *bytes,
              enum held_kind kind, enum frame_lane lane)
{
	struct held *h = calloc(1, sizeof(*h));

	cx_assert(h != NULL);
	h->bytes = cx_buf_ref(bytes);
	h->since_ms = cx_now_ms(ctx);
	h->kind = kind;
	h->lane = lane;
	*c->held_end = h;
	c->held_end = &h->next;
	if (lane == LANE_EXCLUSIVE)
		c->held_exclusive++;
	connection_tick_in(ctx, c, HELD_MS);
}

static void unlink_held(struct connection *c, struct held **at)
{
	struct held *h = *at;

	*at = h->next;
	if (c->held_end == &h->next)
		c->held_end = at;
	if (h->lane == LANE_EXCLUSIVE)
		c->held_exclusive--;
}

bool held_take(struct connection *c, struct held_frame *out)
{
	struct held **at = &c->held;

	if (c->is_busy && c->is_exclusive)
		return false;
	/* inv. 1: while a request is on its way, messages pass those behind it */
	while (*at != NULL && c->is_busy && (*at)->lane == LANE_ACCOUNT)
		at = &(*at)->next;
	if (*at == NULL || (c->is_busy && (*at)->lane == LANE_EXCLUSIVE))
		return false;
	*out = (struct held_frame){
		.bytes = (*at)->bytes,
		.since_ms = (*at)->since_ms,
		.kind = (*at)->kind,
	};
	{
		struct held *h = *at;

		unlink_held(c, at);
		free(h);
	}
	return true;
}

bool held_is_late(const struct connection *c, uint64_t now_ms)
{
	const struct held *h = c->held;

	while (h != NULL && h->lane != LANE_MESSAGE)
		h = h->next;
	return h != NULL && now_ms - h->since_ms >= HELD_MS;
}

void held_drop_all(struct connection *c)
{
	while (c->held != NULL) {
		struct held *h = c->held;

		unlink_held(c, &c->held);
		cx_buf_unref(h->bytes);
		free(h);
	}
}
