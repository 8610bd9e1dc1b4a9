/* SPDX-License-Identifier: MIT */
/* Which connections a user has on this instance, and what is pushed to them.  One a worker.
 *
 *   in   hub_join, hub_leave, hub_confirm (connection), hub_wake (partition, instance), hub_kick_for,
 *        hub_look, hub_kick_number (instance), ROUTES_JOINED, ROUTES_DISPLACED
 *        (stack_routes), REDIS_CHANGED (redis: be the owner of this worker's adapter)
 *   ask  hub_kick (account)  -> ROUTES_KICKED
 *   out  HUB_PUSH, HUB_LOOK, HUB_KICKED to connections; inbox_receipts_done, inbox_presence,
 *        REDIS_CHANGED to the inbox of this worker; routes_join,
 *        routes_leave, routes_again, routes_kick, routes_confirm
 *
 * A push or a look may be lost (a full mailbox): the connection sees the gap at the next one, or reads
 * on at its next tick.
 *
 * A connection here has a number, which no other of this process has while it lives: with the instance
 * it names the connection to other processes. */
#ifndef ACTORS_HUB_H
#define ACTORS_HUB_H

#include <cx/actor.h>

#include <construct/messages.h>

#include "actors/relay.h"
#include "io/inbox.h"
#include "wire/push.h"

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

/* HUB_LOOK: something may wait that was not pushed: read on, at some moment in the next within_ms.
 * after_gap: kicks may have been missed too, so ask whether the session lives.
 * anew: Redis has lost data, so read from the beginning (struct cursor, 5). */
struct hub_look {
	struct cx_msg hdr;
	struct uuid user;
	uint32_t within_ms;
	uint8_t after_gap, anew;
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
/* Those of all instances, but for the connection `except`, which is here.  ROUTES_KICKED (io/stack_routes.h)
 * comes when none of them can act any more, or as late as is said there: whatever a client sends after it
 * finds its connection kicked.
 * Returns as cx_ask; with CX_EFULL they are kicked all the same, but no answer will come. */
CX_NODISCARD enum cx_err hub_kick(struct cx_ctx *ctx, const struct relay *relay,
                                  const struct uuid *user, const struct uuid *jti,
                                  enum hub_kick_what what, struct cx_ref except, uint16_t code,
                                  uint64_t *corr);
/* Those that are here, for the sake of another instance, which is told when it is done. */
CX_NODISCARD enum cx_err hub_kick_for(struct cx_ctx *ctx, const struct relay *relay,
                                      const struct push_kick_session *kick);
/* Close the user's connection of that number, if it is here. */
CX_NODISCARD enum cx_err hub_kick_number(struct cx_ctx *ctx, const struct relay *relay,
                                         const struct uuid *user, uint32_t number,
                                         uint16_t code);
/* New entries of a batch, all of users whose home is `home`. */
CX_NODISCARD enum cx_err hub_wake(struct cx_ctx *ctx, const struct relay *relay, uint32_t home,
                                  const struct inbox_appended *batch);
/* The user's connections here read on; NULL: all that are here, spread over some seconds when they are
 * many, since for a while nothing was heard: they ask about their sessions as well.
 * Returns as cx_send; with NULL the first error, the other hubs are asked all the same. */
CX_NODISCARD enum cx_err hub_look(struct cx_ctx *ctx, const struct relay *relay,
                                  const struct uuid *user);
/* Redis was emptied and stayed the same: as REDIS_CHANGED, to all hubs.  Reserved: one a life of Redis.
 * Returns the first error; the other hubs are told all the same. */
CX_NODISCARD enum cx_err hub_redis_lost(struct cx_ctx *ctx, const struct relay *relay);

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
	struct push_kick_session kick; /* from_instance: who said it first; 0: this one */
	struct cx_ref except;
};
struct hub_kick_number_msg {
	struct cx_msg hdr;
	struct uuid user;
	uint32_t number;
	uint16_t code;
};
struct hub_look_at_msg {
	struct cx_msg hdr;
	struct uuid user;
	uint8_t is_all; /* then user says nothing */
};
struct hub_wake_msg {
	struct cx_msg hdr;
	uint32_t count;
	struct inbox_item items[INBOX_BATCH_MAX];
};

#endif
