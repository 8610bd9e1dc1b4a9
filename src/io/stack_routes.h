/* SPDX-License-Identifier: MIT */
/* Where a user is connected, in Redis, for the other processes (docs/decisions/0006, section 6).
 * Server role, one a worker: the routes of the users whose home it is.
 *
 *   in   routes_join, routes_leave, routes_again, routes_kick, routes_confirm (hub), routes_gone (account),
 *        routes_confirmed (instance), routes_drain_post (role)
 *   out  ROUTES_JOINED, ROUTES_DISPLACED to the hub; ROUTES_KICKED to whoever asked for a kick
 *
 * What one turn brings goes to Redis as one batch: what left is taken out, who is here is written,
 * then the workers are told.  While Redis cannot be asked, connections work on without a route: they
 * get their messages by their ticks.
 *
 * A kick is published to all servers, and each of them tells ours when it has done it.  Those that are
 * waited for are those in the registry: how many have heard what was published says nothing of one that
 * is not subscribed just now.  So it is said again every ROUTES_KICK_REPEAT_MS, and after
 * ROUTES_KICK_WAIT_MS the one who asked goes on: a server that is frozen, or has died within the last
 * ttl_ms, holds up a request so long and no longer.
 *
 * With each heartbeat Redis also says to this instance in which life it is (PUSH_LIFE).
 *
 * A field ends by itself: fields of processes that died are no longer counted after ttl_ms, by the clock
 * of Redis.  Who is a user's oldest connection is decided by the servers' clocks, which should agree to
 * some seconds. */
#ifndef IO_STACK_ROUTES_H
#define IO_STACK_ROUTES_H

#include <cx/actor.h>
#include <cx/runtime.h>

#include <construct/messages.h>

#include "io/redis.h"
#include "wire/push.h"
#include "wire/uuid.h"

#define ROUTES_KICK_WAIT_MS 1000
#define ROUTES_KICK_REPEAT_MS 250

/* Borrowed for the actors' life. */
struct stack_routes_settings {
	const char *prefix;         /* of keys */
	const char *channel_prefix; /* of channels */
	uint64_t instance;          /* random at each start */
	uint32_t heartbeat_ms;      /* fields are renewed so often */
	uint32_t ttl_ms;            /* and end after this; longer than two heartbeats */
	uint32_t max_connections;   /* of a user, on all instances */
	uint32_t kick_wait_ms;      /* 0: ROUTES_KICK_WAIT_MS */
	int64_t message_ttl_ms; /* inboxes of users who are here live on for this and two days */
};

struct stack_routes_conf {
	const struct stack_routes_settings *settings;
	struct cx_ref redis, hub; /* of the same worker */
	bool keeps_registry;      /* one of them: this instance's entry in {prefix}instances */
};

/* Conf: struct stack_routes_conf; home_key: the worker. */
extern const struct cx_actor_type stack_routes_type;

/* ---- senders; to CX_NOBODY (there are no routes) they do nothing and return CX_OK ---- */

/* A connection of the user is here; number: unique among those of this process that live.
 * Returns CX_OK or CX_EGONE. */
CX_NODISCARD enum cx_err routes_join(struct cx_ctx *ctx, struct cx_ref routes,
                                     const struct uuid *user, uint32_t number);
/* It is not here any more; is_last: nor is another one of the user. */
CX_NODISCARD enum cx_err routes_leave(struct cx_ctx *ctx, struct cx_ref routes,
                                      const struct uuid *user, uint32_t number, bool is_last);
/* Redis may have lost everything (REDIS_CHANGED of this worker's adapter): write all anew. */
CX_NODISCARD enum cx_err routes_again(struct cx_ctx *ctx, struct cx_ref routes);
/* All instances get this kick, which was done here; it is repeated until Redis has taken it, or too many
 * wait.  The caller gets ROUTES_KICKED (struct cx_msg) when each of the others has done it, or after
 * ROUTES_KICK_WAIT_MS; at once when there are no routes. */
CX_NODISCARD enum cx_err routes_kick(struct cx_ctx *ctx, struct cx_ref routes,
                                     const struct push_kick_session *kick,
                                     struct cx_caller caller);
/* This instance (kick->from_instance) has done a kick of `to`, which is told.  Not repeated: the kick
 * is said again. */
CX_NODISCARD enum cx_err routes_confirm(struct cx_ctx *ctx, struct cx_ref routes,
                                        const struct push_kick_session *kick, uint64_t to);
/* Another one (kick->from_instance) has done a kick of ours. */
CX_NODISCARD enum cx_err routes_confirmed(struct cx_ctx *ctx, struct cx_ref routes,
                                          const struct push_kick_session *kick);
/* The user's account is no more: neither are his routes, and nothing is appended to his inbox. */
CX_NODISCARD enum cx_err routes_gone(struct cx_ctx *ctx, struct cx_ref routes,
                                     const struct uuid *user);
/* Take out all that is here, at the end of the process, while the adapters still run; what comes later
 * has no effect.
 * Thread: any (cx_post). */
CX_NODISCARD enum cx_err routes_drain_post(struct cx_runtime *rt, struct cx_ref routes);

/* ---- to the hub ---- */

/* The user's route is known to all from now on: what was appended before was not pushed here. */
struct routes_joined {
	struct cx_msg hdr;
	struct uuid user;
};
/* A connection is one too many: kick it with 4409. */
struct routes_displaced {
	struct cx_msg hdr;
	struct uuid user;
	uint32_t number;
};

/* ---- figures ---- */

struct stack_routes_figures { /* of all workers; uint64_t only */
	uint64_t users;       /* present now */
	uint64_t written;     /* users written: joins, renewals, repetitions */
	uint64_t failures;    /* batches that failed */
	uint64_t displaced;   /* connections taken out, here or elsewhere */
	uint64_t leaves_lost; /* never told to Redis: the fields lapse */
	uint64_t kicks_lost;
	uint64_t kicks_unconfirmed; /* somebody has not said that he has done it */
};

/* Thread: any. */
void stack_routes_figures(struct stack_routes_figures *out);

/* ---- messages of the senders ---- */

struct routes_join_msg {
	struct cx_msg hdr;
	struct uuid user;
	uint32_t number;
};
struct routes_leave_msg {
	struct cx_msg hdr;
	struct uuid user;
	uint32_t number;
	uint8_t is_last;
};
struct routes_kick_msg {
	struct cx_msg hdr;
	struct push_kick_session kick;
	struct cx_caller caller;
};
struct routes_confirm_msg {
	struct cx_msg hdr;
	struct push_kick_session kick;
	uint64_t to;
};
struct routes_confirmed_msg {
	struct cx_msg hdr;
	struct push_kick_session kick;
};
struct routes_gone_msg {
	struct cx_msg hdr;
	struct uuid user;
};

#endif
