/* SPDX-License-Identifier: MIT */
/* Accounts: register, login, connect, logout, changePassword, deleteAccount, getPublicKey,
 * rotatePrekey, device tokens.  One account actor a worker takes requests of its connections; each
 * runs as a short conversation with the store and the offload pool.
 *
 *   ask  ACCOUNT_REQUEST -> ACCOUNT_ANSWER, always (errors are frames too)
 *   out  hub_kick (sessions that end) */
#ifndef ACTORS_ACCOUNT_H
#define ACTORS_ACCOUNT_H

#include <cx/actor.h>

#include <construct/messages.h>

#include "actors/relay.h"
#include "io/websocket_origin.h"
#include "wire/uuid.h"

/* hdr.buf: the client's frame, which client_frame_decode took without error. */
struct account_request_msg {
	struct cx_msg hdr;
	struct uuid user, jti; /* of the connection, zero when it is not authenticated */
	struct ws_origin origin;
};

enum account_effect {
	ACCOUNT_NOTHING,
	ACCOUNT_AUTHENTICATED, /* the connection is now user's, by session jti */
	ACCOUNT_LEFT,          /* the connection's own session ended: it is nobody's now */
	ACCOUNT_ENDED,         /* as that, and it is closed with 4401 */
};

/* hdr.buf: the frame for the client (never NULL). */
struct account_answer {
	struct cx_msg hdr;
	struct uuid user, jti;
	enum account_effect effect;
};

extern const struct cx_actor_type account_type; /* conf: struct relay_conf */

/* user, jti, origin: of the connection.  Keeps: a reference on frame.  Returns as cx_ask. */
CX_NODISCARD enum cx_err account_request(struct cx_ctx *ctx, const struct relay *relay,
                                         const struct uuid *user, const struct uuid *jti,
                                         const struct ws_origin *origin, struct cx_buf *frame,
                                         uint32_t timeout_ms, uint64_t *corr);

#endif
