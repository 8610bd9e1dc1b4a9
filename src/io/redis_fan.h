/* SPDX-License-Identifier: MIT */
/* One subscriber (redis_sub.h) for several actors: each gets every REDIS_PUSH, REDIS_SUBSCRIBED and
 * REDIS_UNSUBSCRIBED.
 *
 *   in, out   REDIS_PUSH (may be lost on a full mailbox), the notices (reserved)
 */
#ifndef IO_REDIS_FAN_H
#define IO_REDIS_FAN_H

#include "io/redis_sub.h"

/* Both outlive the actor; read when something comes, so that the places may be filled after it is
 * spawned. */
struct redis_fan_conf {
	const struct cx_ref *to;
	uint32_t count;
};

extern const struct cx_actor_type redis_fan_type;

#endif
