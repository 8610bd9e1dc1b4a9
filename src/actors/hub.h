/* SPDX-License-Identifier: MIT */
/* Which connections a user has on this instance, and what is pushed to them.  One a worker.
 *
 *   in   hub_join, hub_leave, hub_confirm (connection), hub_wake (partition), hub_kick (account)
 *   out  HUB_PUSH, HUB_KICKED to connections; inbox_receipts_done
 *
 * A push may be lost (a full mailbox): the connection sees the gap at the next one, or reads on at its
 * next tick. */
#ifndef ACTORS_HUB_H
#define ACTORS_HUB_H

#include <cx/actor.h>

#include <construct/messages.h>

#include "actors/relay.h"
#include "io/inbox.h"

/* HUB_PUSH: a new inbox entry; hdr.buf and item as in inbox.h. */
struct hub_push {
	struct cx_msg hdr;
	struct inbox_item item;
};

/* HUB_KICKED: close with this code, unless the connection has become another's since: it joined as
 * user by session jti. */
struct hub_kicked {
	struct cx_msg hdr;
	struct uuid user, jti;
	uint16_t code;
};

extern const struct cx_actor_type hub_type; /* conf: struct relay_conf */

/* The calling connection is authenticated as user.  Over the limit the user's oldest is kicked
 * with 4409.  One that is there already keeps its place and changes its session. */
CX_NODISCARD enum cx_err hub_join(struct cx_ctx *ctx, const struct relay *relay,
                                  const struct uuid *user, const struct uuid *jti);
CX_NODISCARD enum cx_err hub_leave(struct cx_ctx *ctx, const struct relay *relay,
                                   const struct uuid *user);
/* Receipts up to entry `upto` have reached the calling connection's client. */
CX_NODISCARD enum cx_err hub_confirm(struct cx_ctx *ctx, const struct relay *relay,
                                     const struct uuid *user, uint64_t upto);
/* Close the user's connections: all; those of session jti; all but those of session jti. */
enum hub_kick_what { HUB_KICK_ALL, HUB_KICK_SESSION, HUB_KICK_OTHERS };
CX_NODISCARD enum cx_err hub_kick(struct cx_ctx *ctx, const struct relay *relay,
                                  const struct uuid *user, const struct uuid *jti,
                                  enum hub_kick_what what, struct cx_ref except, uint16_t code);
/* New entries of a batch, all of users whose home is `home`. */
CX_NODISCARD enum cx_err hub_wake(struct cx_ctx *ctx, const struct relay *relay, uint32_t home,
                                  const struct inbox_appended *batch);

struct hub_join_msg {
	struct cx_msg hdr;
	struct uuid user, jti;
};
struct hub_leave_msg {
	struct cx_msg hdr;
	struct uuid user;
};
struct hub_confirm_msg {
	struct cx_msg hdr;
	struct uuid user;
	uint64_t upto;
};
struct hub_kick_msg {
	struct cx_msg hdr;
	struct uuid user, jti;
	struct cx_ref except;
	uint16_t code;
	uint8_t what;
};
struct hub_wake_msg {
	struct cx_msg hdr;
	uint32_t count;
	struct inbox_item items[INBOX_BATCH_MAX];
};

#endif
