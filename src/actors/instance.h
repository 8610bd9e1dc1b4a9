/* SPDX-License-Identifier: MIT */
/* What other processes tell this one through Redis: entries for users who are here, looks and kicks.
 * Server role, one a process; be the subscriber of a redis_sub with the channels, in this order,
 * push_channel_instance (this instance) and push_channel_servers.
 *
 *   in   REDIS_PUSH, REDIS_SUBSCRIBED
 *   out  inbox_learn, hub_wake, hub_look, hub_kick_for, hub_kick_number, routes_confirmed, each to the
 *        user's home; hub_redis_lost
 *
 * A push is a hint: what of it finds no room is read later.  After REDIS_SUBSCRIBED some may have been
 * missed, so all connections read on.  That Redis was emptied is told once; with each heartbeat
 * (stack_routes) comes the life that it is in, for when that was missed. */
#ifndef ACTORS_INSTANCE_H
#define ACTORS_INSTANCE_H

#include <cx/actor.h>

#include "actors/relay.h"

#define INSTANCE_CHANNELS 2 /* of redis_sub: our own, all servers' */

struct instance_conf {
	const struct relay *relay;
};

/* home_key: any worker, best that of its redis_sub. */
extern const struct cx_actor_type instance_type;

struct instance_figures { /* uint64_t only */
	uint64_t pushes;
	uint64_t entries;
	uint64_t malformed; /* pushes that were not understood, or are of another kind */
	uint64_t lost;      /* batches for a home that had no room */
};

/* Thread: any. */
void instance_figures(struct instance_figures *out);

#endif
