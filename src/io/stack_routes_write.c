/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/stack_keys.h"
#include "io/stack_routes_internal.h"

#define DAY_MS INT64_C(86400000)
#define INBOX_EXTRA_MS (2 * DAY_MS) /* beyond the TTL of messages */
#define FIELD_MAX 32                /* INSTANCE/N */
#define FIXED_ARGS 8
#define INSTANCE_DIGITS 16

/* KEYS: route, inbox.  ARGV: life of route and inbox (ms), the limit, then our fields, each with its
 * time of joining (Unix time, ms; 0: just now, by the server's clock, so that two within a millisecond on
 * two instances have an order).  Answers { 1 when none of ours was there, fields that were taken out
 * as the oldest }.  Fields of others are only taken out when they have ended, or as one too many.  What
 * has ended is decided by the server's clock: no instance ends another's fields by its own.  A key of
 * another type is nobody's: it goes, so an error means that the server takes no writes now. */
static const char route_join[] =
	"local t = redis.call('TIME')\n"
	"local us = t[1] * 1000000 + t[2]\n"
	"local now, max = math.floor(us / 1000), tonumber(ARGV[3])\n"
	"local expires = string.format('/%.0f', now + tonumber(ARGV[1]))\n"
	"local kind = redis.call('TYPE', KEYS[1]).ok\n"
	"if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end\n"
	"local all, here, there, was = redis.call('HGETALL', KEYS[1]), {}, {}, 1\n"
	"for i = 1, #all, 2 do\n"
	"  local join, ends = string.match(all[i + 1], '^(%d+)/(%d+)$')\n"
	"  if join and tonumber(ends) > now then\n"
	"    there[all[i]] = join\n"
	"    here[#here + 1] = {tonumber(join), all[i]}\n"
	"  else redis.call('HDEL', KEYS[1], all[i]) end\n"
	"end\n"
	"for i = 4, #ARGV, 2 do\n"
	"  local join = there[ARGV[i]]\n"
	"  if join then was = 0\n"
	"  else\n"
	"    local at = ARGV[i + 1] * 1000\n"
	"    if at == 0 then at = us + i end\n"
	"    join = string.format('%.0f', at)\n"
	"    here[#here + 1] = {at, ARGV[i]}\n"
	"  end\n"
	"  redis.call('HSET', KEYS[1], ARGV[i], join .. expires)\n"
	"end\n"
	"local out = {was}\n"
	"if #here > max then\n"
	"  table.sort(here, function(a, b)\n"
	"    if a[1] ~= b[1] then return a[1] < b[1] end\n"
	"    return a[2] < b[2]\n"
	"  end)\n"
	"  for i = 1, #here - max do\n"
	"    out[i + 1] = here[i][2]\n"
	"    redis.call('HDEL', KEYS[1], here[i][2])\n"
	"  end\n"
	"end\n"
	"redis.call('PEXPIRE', KEYS[1], ARGV[1])\n"
	"redis.call('PEXPIRE', KEYS[2], ARGV[2])\n"
	"return out\n";

/* ---- words ---- */

static struct redis_arg text_arg(const char *text)
{
	return (struct redis_arg){ text, strlen(text) };
}

static struct redis_arg field_arg(char out[FIELD_MAX], uint64_t instance, uint32_t number)
{
	const int len = snprintf(out, FIELD_MAX, "%016" PRIx64 "/%" PRIu32, instance, number);

	return (struct redis_arg){ out, (size_t)len };
}

static int64_t inbox_ttl_ms(const struct stack_routes *r)
{
	return r->conf.settings->message_ttl_ms + INBOX_EXTRA_MS;
}

static uint8_t *payload_room(struct stack_routes *r, size_t len)
{
	if (len > r->payload_cap) {
		free(r->payload);
		r->payload = malloc(len);
		cx_assert(r->payload != NULL);
		r->payload_cap = len;
	}
	return r->payload;
}

static void publish(struct redis_batch *batch, const char *channel, const uint8_t *payload,
                    size_t len)
{
	const struct redis_arg argv[] = { REDIS_TEXT("PUBLISH"),
		                          text_arg(channel),
		                          { payload, len } };

	redis_batch_add(batch, argv, 3);
}

/* ---- fields ---- */

void routes_add_leave(struct stack_routes *r, const struct routes_leave *l)
{
	const struct stack_routes_settings *s = r->conf.settings;
	char key[STACK_KEY_MAX], field[FIELD_MAX];
	const size_t key_len = stack_key_route(key, s->prefix, &l->user);
	const struct redis_arg argv[] = { REDIS_TEXT("HDEL"),
		                          { key, key_len },
		                          field_arg(field, s->instance, l->number) };

	redis_batch_add(&r->batch, argv, 3);
}

static void argv_room(struct stack_routes *r, uint32_t members)
{
	if (r->argv != NULL && members <= r->argv_members)
		return;
	free(r->argv);
	free(r->texts);
	r->argv = malloc((FIXED_ARGS + 2 * (size_t)members) * sizeof(*r->argv));
	r->texts = malloc((size_t)members * (FIELD_MAX + REDIS_NUMBER_MAX));
	cx_assert(r->argv != NULL && r->texts != NULL);
	r->argv_members = members;
}

void routes_add_user(struct stack_routes *r, const struct routes_user *u)
{
	const struct stack_routes_settings *s = r->conf.settings;
	char route[STACK_KEY_MAX], inbox[STACK_KEY_MAX], numbers[3][REDIS_NUMBER_MAX];
	const size_t route_len = stack_key_route(route, s->prefix, &u->id);
	const size_t inbox_len = stack_key_inbox(inbox, s->prefix, &u->id);
	/* The text, not its hash: a batch has no second try, and the server keeps what it compiled. */
	const struct redis_arg fixed[FIXED_ARGS] = {
		REDIS_TEXT("EVAL"),
		text_arg(route_join),
		REDIS_TEXT("2"),
		{ route, route_len },
		{ inbox, inbox_len },
		redis_number(numbers[0], s->ttl_ms),
		redis_number(numbers[1], inbox_ttl_ms(r)),
		redis_number(numbers[2], s->max_connections),
	};
	unsigned n = FIXED_ARGS;

	argv_room(r, u->count);
	memcpy(r->argv, fixed, sizeof(fixed));
	for (uint32_t i = 0; i < u->count; i++) {
		char *texts = r->texts + (size_t)i * (FIELD_MAX + REDIS_NUMBER_MAX);

		r->argv[n++] = field_arg(texts, s->instance, u->members[i].number);
		r->argv[n++] = redis_number(texts + FIELD_MAX,
		                            u->members[i].is_young ? 0 : u->members[i].join_ms);
	}
	redis_batch_add(&r->batch, r->argv, n);
}

void routes_add_news(struct stack_routes *r, const struct push_route *items, uint32_t n)
{
	char channel[PUSH_CHANNEL_MAX];
	uint8_t *payload;

	if (n == 0)
		return;
	payload = payload_room(r, PUSH_ROUTE_LEN(n));
	push_channel_workers(channel, sizeof(channel), r->conf.settings->channel_prefix);
	publish(&r->batch, channel, payload, push_write_route(payload, items, n));
}

/* ---- kicks, accounts that are gone ---- */

static size_t instances_key(char out[STACK_KEY_MAX], const struct stack_routes *r)
{
	return (size_t)snprintf(out, STACK_KEY_MAX, "%sinstances", r->conf.settings->prefix);
}

void routes_add_kicks(struct cx_ctx *ctx, struct stack_routes *r, const struct routes_batch *b)
{
	char channel[PUSH_CHANNEL_MAX], instances[STACK_KEY_MAX], now[REDIS_NUMBER_MAX];
	const struct redis_arg living[] = { REDIS_TEXT("ZRANGEBYSCORE"),
		                            { instances, instances_key(instances, r) },
		                            redis_number(now, cx_wall_ms(ctx)),
		                            REDIS_TEXT("+inf") };
	uint8_t *payload;

	if (b->kick_count == 0)
		return;
	redis_batch_add(&r->batch, living, 4);
	payload = payload_room(r, PUSH_KICK_SESSION_LEN(b->kick_count));
	push_channel_servers(channel, sizeof(channel), r->conf.settings->channel_prefix);
	publish(&r->batch, channel, payload,
	        push_write_kick_session(payload, b->kicks, b->kick_count));
}

/* A string in the stream's place: whatever is appended to it is an error. */
void routes_add_gone(struct stack_routes *r, const struct routes_batch *b)
{
	const struct stack_routes_settings *s = r->conf.settings;
	char channel[PUSH_CHANNEL_MAX], route[STACK_KEY_MAX], inbox[STACK_KEY_MAX];
	char ttl[REDIS_NUMBER_MAX];
	uint8_t *payload;

	if (b->gone_count == 0)
		return;
	payload = payload_room(r, PUSH_USER_GONE_LEN(b->gone_count));
	for (uint32_t i = 0; i < b->gone_count; i++) {
		const size_t route_len = stack_key_route(route, s->prefix, &b->gone[i].user);
		const size_t inbox_len = stack_key_inbox(inbox, s->prefix, &b->gone[i].user);
		const struct redis_arg del[] = { REDIS_TEXT("DEL"), { route, route_len } };
		const struct redis_arg set[] = { REDIS_TEXT("SET"),
			                         { inbox, inbox_len },
			                         REDIS_TEXT("gone"),
			                         REDIS_TEXT("PX"),
			                         redis_number(ttl, inbox_ttl_ms(r)) };

		redis_batch_add(&r->batch, del, 2);
		redis_batch_add(&r->batch, set, 5);
	}
	push_channel_gateways(channel, sizeof(channel), s->channel_prefix);
	publish(&r->batch, channel, payload,
	        push_write_user_gone(payload, b->gone, b->gone_count));
}

/* To one instance. */
static void add_aside(struct stack_routes *r, uint64_t instance, const uint8_t *payload,
                      size_t len)
{
	char channel[PUSH_CHANNEL_MAX];

	if (r->asides.count >= REDIS_BATCH_MAX)
		return;
	push_channel_instance(channel, sizeof(channel), r->conf.settings->channel_prefix,
	                      instance);
	publish(&r->asides, channel, payload, len);
}

void routes_add_displaced(struct stack_routes *r, uint64_t instance,
                          const struct push_kick_connection *kick)
{
	uint8_t payload[PUSH_KICK_CONNECTION_LEN(1)];

	add_aside(r, instance, payload, push_write_kick_connection(payload, kick, 1));
}

void routes_add_confirm(struct stack_routes *r, uint64_t instance,
                        const struct push_kick_session *kick)
{
	uint8_t payload[PUSH_KICKED_LEN(1)];

	add_aside(r, instance, payload, push_write_kicked(payload, kick, 1));
}

/* ---- the registry of instances ---- */

/* Whoever is dead is remembered until nobody would wait for what is in his outbox any more: only by
 * its name it is found.  The outbox itself ends then, too. */
static int64_t dead_ms(const struct stack_routes *r)
{
	return inbox_ttl_ms(r);
}

/* KEYS: life.  ARGV: our own channel, the head of PUSH_LIFE.  Redis says to us which life it is in. */
static const char say_life[] =
	"local life = redis.call('GET', KEYS[1])\n"
	"if life then redis.call('PUBLISH', ARGV[1], ARGV[2] .. life) end return 1";

static void add_life(struct stack_routes *r)
{
	const struct stack_routes_settings *s = r->conf.settings;
	const struct push_lost none = { { { 0 } } };
	char key[STACK_KEY_MAX], channel[PUSH_CHANNEL_MAX];
	uint8_t payload[PUSH_LIFE_LEN(1)];
	const size_t key_len = stack_key_life(key, s->prefix);
	const size_t channel_len =
		push_channel_instance(channel, sizeof(channel), s->channel_prefix, s->instance);
	const struct redis_arg argv[] = {
		REDIS_TEXT("EVAL"),       { say_life, sizeof(say_life) - 1 },
		REDIS_TEXT("1"),          { key, key_len },
		{ channel, channel_len }, { payload, PUSH_HEAD_LEN }
	};

	push_write_life(payload, &none, 1);
	redis_batch_add(&r->batch, argv, CX_COUNTOF(argv));
}

void routes_add_registry(struct cx_ctx *ctx, struct stack_routes *r)
{
	const struct stack_routes_settings *s = r->conf.settings;
	const int64_t now_ms = cx_wall_ms(ctx);
	char instances[STACK_KEY_MAX], own[STACK_KEY_MAX], name[INSTANCE_DIGITS + 1];
	char outbox[STACK_KEY_MAX], outbox_life[REDIS_NUMBER_MAX];
	char expires[REDIS_NUMBER_MAX], dead[REDIS_NUMBER_MAX], life[REDIS_NUMBER_MAX],
		ttl[REDIS_NUMBER_MAX];
	const size_t own_len = stack_key_instance(own, s->prefix, s->instance);
	const struct redis_arg key = { instances, instances_key(instances, r) };
	const struct redis_arg add[] = { REDIS_TEXT("ZADD"),
		                         key,
		                         redis_number(expires, now_ms + s->ttl_ms),
		                         { name, INSTANCE_DIGITS } };
	const struct redis_arg trim[] = { REDIS_TEXT("ZREMRANGEBYSCORE"), key,
		                          REDIS_TEXT("-inf"),
		                          redis_number(dead, now_ms - dead_ms(r)) };
	const struct redis_arg expire[] = {
		REDIS_TEXT("PEXPIRE"), key, redis_number(life, dead_ms(r) + (int64_t)s->ttl_ms)
	};
	const struct redis_arg outbox_expire[] = {
		REDIS_TEXT("PEXPIRE"),
		{ outbox, stack_key_outbox(outbox, s->prefix, s->instance) },
		redis_number(outbox_life, dead_ms(r) + (int64_t)s->ttl_ms),
	};
	const struct redis_arg set[] = { REDIS_TEXT("SET"),
		                         { own, own_len },
		                         REDIS_TEXT("1"),
		                         REDIS_TEXT("PX"),
		                         redis_number(ttl, s->ttl_ms) };

	snprintf(name, sizeof(name), "%016" PRIx64, s->instance);
	redis_batch_add(&r->batch, add, 4);
	redis_batch_add(&r->batch, trim, 4);
	redis_batch_add(&r->batch, expire, 3);
	redis_batch_add(&r->batch, set, 5);
	redis_batch_add(&r->batch, outbox_expire, 3);
	add_life(r);
}
