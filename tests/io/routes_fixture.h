/* SPDX-License-Identifier: MIT */
/* Two instances' routes on one real Redis, a hub for each that keeps what it gets, and a listener on all
 * channels.  One test file includes this once. */
#ifndef TESTS_IO_ROUTES_FIXTURE_H
#define TESTS_IO_ROUTES_FIXTURE_H

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "actors/hub.h"
#include "io/redis_sub.h"
#include "io/stack_keys.h"
#include "io/stack_routes.h"
#include "support/redis_peer.h"
#include "wire/push.h"

#define UNUSED __attribute__((unused))
#define INSTANCES 2
#define PREFIX "q:"
#define CHANNEL "c"
#define USER_TEXT "01000000-0000-0000-0000-000000000001" /* user 1 */
#define ROUTE "q:route:{" USER_TEXT "}"
#define INBOX "q:inbox:{" USER_TEXT "}"
#define WAIT_MS 20000
#define HEARD_MAX 4096

static const uint64_t ids[INSTANCES] = { 0xaaaaaaaaaaaaaaaa, 0xbbbbbbbbbbbbbbbb };
static const char *const names[INSTANCES] = { "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb" };

enum channel { AT_A, AT_B, AT_SERVERS, AT_WORKERS, AT_GATEWAYS, CHANNELS };
static const char *const channels[CHANNELS] = { "c:instance:aaaaaaaaaaaaaaaa",
	                                        "c:instance:bbbbbbbbbbbbbbbb", "c:servers",
	                                        "c:workers", "c:gateways" };

struct heard { /* by the listener, or by a hub */
	uint32_t type;
	uint32_t at; /* channel, or instance */
	struct uuid user;
	uint32_t number;
	size_t len;
	_Alignas(8) uint8_t bytes[256];
	bool is_taken;
};

static struct redis_server server;
static struct redis_bench bench;
static struct stack_routes_settings settings[INSTANCES];
static struct cx_ref routes[INSTANCES], hubs[INSTANCES], adapters[INSTANCES];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct heard heard[HEARD_MAX];
static uint32_t heard_count;

/* ---- actors ---- */

static struct heard *hear(uint32_t type, uint32_t at)
{
	struct heard *h;

	cx_assert(heard_count < HEARD_MAX);
	h = &heard[heard_count++];
	*h = (struct heard){ .type = type, .at = at };
	pthread_cond_broadcast(&changed);
	return h;
}

static void on_hub(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct heard *h;

	(void)ctx;
	pthread_mutex_lock(&lock);
	h = hear(msg->type, *(const uint32_t *)state);
	if (msg->type == ROUTES_JOINED) {
		h->user = CX_MSG_AS(struct routes_joined, msg)->user;
	} else if (msg->type == ROUTES_DISPLACED) {
		h->user = CX_MSG_AS(struct routes_displaced, msg)->user;
		h->number = CX_MSG_AS(struct routes_displaced, msg)->number;
	}
	pthread_mutex_unlock(&lock);
}

/* As the real hub does: the adapter is there before the routes are. */
static void on_redis_changed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	cx_assert(routes_again(ctx, routes[*(const uint32_t *)state]) == CX_OK);
	on_hub(ctx, state, msg);
}

static bool confirms_at_once; /* the second instance, before Redis has heard of the kick */

/* Asked by itself, so that there is a caller. */
static void on_kick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct hub_kick_msg *m = CX_MSG_AS(struct hub_kick_msg, msg);
	const uint32_t at = *(const uint32_t *)state;
	struct hub_kick_msg *again;
	uint64_t corr;

	if (msg->corr != 0) {
		struct push_kick_session done = m->kick;

		done.from_instance = ids[1];
		cx_assert(routes_kick(ctx, routes[at], &m->kick, cx_caller_of(msg)) == CX_OK);
		if (confirms_at_once)
			cx_assert(routes_confirmed(ctx, routes[at], &done) == CX_OK);
		return;
	}
	again = CX_MSG_NEW(ctx, HUB_KICK, struct hub_kick_msg);
	again->kick = m->kick;
	cx_assert(cx_ask(ctx, cx_self(ctx), &again->hdr, 10 * WAIT_MS, &corr) == CX_OK);
}

static void on_heard(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct heard *h;

	(void)ctx;
	(void)state;
	pthread_mutex_lock(&lock);
	h = hear(msg->type,
	         msg->type == REDIS_PUSH ? CX_MSG_AS(struct redis_push, msg)->channel : 0);
	if (msg->buf != NULL) {
		h->len = cx_buf_len(msg->buf);
		memcpy(h->bytes, cx_buf_bytes(msg->buf),
		       h->len < sizeof(h->bytes) ? h->len : sizeof(h->bytes));
	}
	pthread_mutex_unlock(&lock);
}

static enum cx_err start_hub(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	*(uint32_t *)state = *(const uint32_t *)conf;
	return CX_OK;
}

static const struct cx_handler hub_handlers[] = {
	CX_ON(ROUTES_JOINED, struct routes_joined, on_hub),
	CX_ON(ROUTES_DISPLACED, struct routes_displaced, on_hub),
	CX_ON(HUB_KICK, struct hub_kick_msg, on_kick),
	CX_ON(ROUTES_KICKED, struct cx_msg, on_hub),
	CX_ON(REDIS_CHANGED, struct redis_changed, on_redis_changed),
	CX_ON(REDIS_PUSH, struct redis_push, on_heard),
	CX_ON(REDIS_SUBSCRIBED, struct redis_subscribed, on_heard),
};

static const struct cx_actor_type fake_hub_type = {
	.name = "fake_hub",
	.state_size = sizeof(uint32_t),
	.conf_size = sizeof(uint32_t),
	.mailbox_cap = 100000,
	.placement = CX_PLACE_IO,
	.start = start_hub,
	.handlers = hub_handlers,
	.handler_count = CX_COUNTOF(hub_handlers),
};

/* ---- what was heard ---- */

static struct heard *find_heard(uint32_t type, uint32_t at)
{
	for (uint32_t i = 0; i < heard_count; i++)
		if (!heard[i].is_taken && heard[i].type == type && heard[i].at == at)
			return &heard[i];
	return NULL;
}

/* The next of that type there; fails the test after 20 s. */
UNUSED static struct heard *take_heard(uint32_t type, uint32_t at)
{
	struct timespec until;
	struct heard *h;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_MS / 1000;
	pthread_mutex_lock(&lock);
	while ((h = find_heard(type, at)) == NULL && rc == 0)
		rc = pthread_cond_timedwait(&changed, &lock, &until);
	if (h != NULL)
		h->is_taken = true;
	pthread_mutex_unlock(&lock);
	cr_assert(h != NULL, "message %u never came to %u", type - CX_MSG_USER, at);
	return h;
}

UNUSED static int count_heard(uint32_t type, uint32_t at)
{
	int n = 0;

	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < heard_count; i++)
		n += !heard[i].is_taken && heard[i].type == type && heard[i].at == at;
	pthread_mutex_unlock(&lock);
	return n;
}

/* ---- doing ---- */

UNUSED static struct uuid user_of(uint32_t n)
{
	struct uuid u = { { 0 } };

	memcpy(u.b, &n, sizeof(n));
	u.b[15] = 1;
	return u;
}

struct act {
	uint32_t instance, user, number, count;
	bool is_last, leaves;
};

/* The users from a->user on, with the numbers from a->number on, in one turn. */
static void do_act(struct cx_ctx *ctx, void *arg)
{
	const struct act *a = arg;

	for (uint32_t i = 0; i < a->count; i++) {
		const struct uuid user = user_of(a->user + i);

		if (a->leaves)
			cx_assert(routes_leave(ctx, routes[a->instance], &user, a->number + i,
			                       a->is_last) == CX_OK);
		else
			cx_assert(routes_join(ctx, routes[a->instance], &user, a->number + i) ==
			          CX_OK);
	}
}

UNUSED static void join(uint32_t instance, uint32_t user, uint32_t number)
{
	struct act a = { .instance = instance, .user = user, .number = number, .count = 1 };

	redis_bench_run(&bench, 0, do_act, &a);
}

UNUSED static void leave(uint32_t instance, uint32_t user, uint32_t number, bool is_last)
{
	struct act a = { .instance = instance,
		         .user = user,
		         .number = number,
		         .count = 1,
		         .is_last = is_last,
		         .leaves = true };

	redis_bench_run(&bench, 0, do_act, &a);
}

UNUSED static void joined(uint32_t instance, uint32_t user)
{
	const struct uuid id = user_of(user);

	cr_assert(uuid_equal(&take_heard(ROUTES_JOINED, instance)->user, &id));
}

/* The next thing said to the workers is this, alone. */
UNUSED static void expect_news(uint32_t instance, uint32_t user, bool is_joined)
{
	const struct heard *h = take_heard(REDIS_PUSH, AT_WORKERS);
	const struct uuid id = user_of(user);
	struct push_route r;
	size_t at = 0;

	cr_assert_eq(h->len, PUSH_ROUTE_LEN(1));
	cr_assert(push_next_route(wire_slice(h->bytes, h->len), &at, &r));
	cr_assert(uuid_equal(&r.user, &id));
	cr_assert_eq(r.instance, ids[instance]);
	cr_assert_eq(r.is_joined, is_joined);
}

/* What Redis answers, as redis_bench_call; formatted. */
UNUSED __attribute__((format(printf, 1, 2))) static const char *redis(const char *words, ...)
{
	char text[400];
	va_list args;

	va_start(args, words);
	vsnprintf(text, sizeof(text), words, args);
	va_end(args);
	return redis_bench_call(&bench, text);
}

UNUSED static bool has_field(uint32_t instance, uint32_t number)
{
	return strcmp(redis("HEXISTS " ROUTE " %s/%u", names[instance], number), ":1") == 0;
}

/* Until it is so, at most 20 s. */
#define EVENTUALLY(condition)                                       \
	do {                                                        \
		int tries_ = WAIT_MS / 10;                          \
		while (!(condition) && tries_-- > 0)                \
			usleep(10000);                              \
		cr_assert(tries_ >= 0, "never so: %s", #condition); \
	} while (0)

/* ---- life ---- */

static void start_instance(uint32_t i)
{
	struct stack_routes_conf conf = { .settings = &settings[i], .keeps_registry = true };
	struct redis_conf redis_conf = bench.conf;

	cr_assert_eq(cx_runtime_spawn(bench.rt, &fake_hub_type, &i, i, &hubs[i]), CX_OK);
	redis_conf.owner = hubs[i];
	cr_assert_eq(cx_runtime_spawn(bench.rt, &redis_type, &redis_conf, i, &adapters[i]),
	             CX_OK);
	conf.redis = adapters[i];
	conf.hub = hubs[i];
	cr_assert_eq(cx_runtime_spawn(bench.rt, &stack_routes_type, &conf, i, &routes[i]),
	             CX_OK);
}

static void listen_to_all(void)
{
	const uint32_t number = 0;
	struct redis_sub_conf conf = bench.sub;
	struct cx_ref ref;

	conf.channels = channels;
	conf.channel_count = CHANNELS;
	cr_assert_eq(cx_runtime_spawn(bench.rt, &fake_hub_type, &number, 0, &conf.subscriber),
	             CX_OK);
	cr_assert_eq(cx_runtime_spawn(bench.rt, &redis_sub_type, &conf, 0, &ref), CX_OK);
	take_heard(REDIS_SUBSCRIBED, 0);
}

static void fixture_prepare(void)
{
	redis_server_prepare(&server);
	redis_bench_defaults(&bench, server.port);
	for (uint32_t i = 0; i < INSTANCES; i++)
		settings[i] = (struct stack_routes_settings){ .prefix = PREFIX,
			                                      .channel_prefix = CHANNEL,
			                                      .instance = ids[i],
			                                      .heartbeat_ms = 600000,
			                                      .ttl_ms = 1800000,
			                                      .max_connections = 3,
			                                      .message_ttl_ms = 86400000 };
}

static void fixture_start(void)
{
	if (server.pid <= 0) /* else the test started it */
		redis_server_run(&server);
	redis_bench_start(&bench);
	listen_to_all();
	for (uint32_t i = 0; i < INSTANCES; i++)
		start_instance(i);
	redis("PING"); /* answered behind the greeting: from now on another Redis is noticed */
}

static void fixture_end(void)
{
	redis_bench_stop(&bench);
	redis_server_stop(&server);
}

#endif
