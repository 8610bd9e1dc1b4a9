/* SPDX-License-Identifier: MIT */
/* Redis publish/subscribe: a connection of its own, a fixed set of channels, one subscriber.
 *
 *   out   REDIS_SUBSCRIBED  all channels are subscribed, again after each loss: what was published
 *                           before may have been missed, read it elsewhere
 *         REDIS_UNSUBSCRIBED  (if conf says so) they are not any more: nothing is heard until the next
 *                           REDIS_SUBSCRIBED
 *         REDIS_PUSH        what was published; a hint that may be lost
 *
 * A push that the subscriber's mailbox has no room for is dropped and counted
 * (redis_figures.pushes_dropped), and REDIS_SUBSCRIBED is sent again, at most every 10 s: what was
 * missed is the same to the subscriber.  Both notices are reserved. */
#ifndef IO_REDIS_SUB_H
#define IO_REDIS_SUB_H

#include "io/redis.h"

#define REDIS_CHANNELS_MAX 16

/* All that is pointed to is borrowed for the adapter's life. */
struct redis_sub_conf {
	const struct redis_url *url;
	const char *ca_file;     /* PEM; NULL: the system's store */
	const char *client_name; /* CLIENT SETNAME; no blanks */
	const char *const *channels;
	uint32_t channel_count;                /* 1..REDIS_CHANNELS_MAX */
	uint32_t connect_ms, ping_ms, dead_ms; /* as in redis_conf */
	struct cx_ref subscriber;
	bool tells_loss; /* REDIS_UNSUBSCRIBED is wanted */
};

struct redis_push { /* hdr.buf: what was published */
	struct cx_msg hdr;
	uint32_t channel; /* index in conf's list */
};

struct redis_subscribed {
	struct cx_msg hdr;
	uint64_t times; /* this adapter has sent it */
};

/* Conf: struct redis_sub_conf; otherwise as redis_type. */
extern const struct cx_actor_type redis_sub_type;

#endif
