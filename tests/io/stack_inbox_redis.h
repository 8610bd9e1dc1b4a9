/* SPDX-License-Identifier: MIT */
/* stack_inbox_fixture.h with a real Redis. */
#ifndef TESTS_IO_STACK_INBOX_REDIS_H
#define TESTS_IO_STACK_INBOX_REDIS_H

#define FIXTURE_LOOP &loop_uv_ops
#include "io/loop_uv.h"
#include "stack_inbox_fixture.h"
#include "support/redis_peer.h"

static struct redis_server server;
static struct redis_url url;
static struct cx_ref redis;

static void set_up(void)
{
	static struct redis_conf conf;

	redis_server_prepare(&server);
	redis_server_run(&server);
	snprintf(url.host, sizeof(url.host), "127.0.0.1");
	url.port = server.port;
	conf = (struct redis_conf){ .url = &url,
		                    .client_name = "relay-test",
		                    .scripts = stack_inbox_scripts,
		                    .script_count = STACK_INBOX_SCRIPT_COUNT };
	fixture_start();
	redis = spawn_at(&redis_type, &conf);
	inbox_start(redis);
}

static void tear_down(void)
{
	fixture_end();
	redis_server_stop(&server);
}

/* ---- Redis itself ---- */

struct command {
	const struct redis_arg *argv;
	unsigned n;
};

static void do_command(struct cx_ctx *ctx, void *arg)
{
	const struct command *c = arg;
	uint64_t corr;

	cx_assert(redis_call(ctx, redis, c->argv, c->n, 10000, &corr) == CX_OK);
}

/* The values of the answer one after the other. */
static const char *command(const struct redis_arg *argv, unsigned n)
{
	static char text[65536];
	const struct got *g;
	struct redis_walk walk;
	struct redis_value v;
	size_t len = 0;

	do_as(hub, do_command, &(struct command){ argv, n });
	g = take(hub, REDIS_REPLY);
	cr_assert_eq(GOT(struct redis_reply, g)->outcome, REDIS_ANSWERED);
	walk = redis_walk_start(g->buf);
	text[0] = '\0';
	while (redis_walk_next(&walk, &v) && len < sizeof(text) - 2000) {
		if (v.kind == REDIS_INTEGER)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%lld ",
			                        (long long)v.integer);
		else if (v.kind != REDIS_ARRAY && v.kind != REDIS_NIL)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%.*s ",
			                        (int)v.text.len, (const char *)v.text.at);
	}
	return text;
}

static const char *words(const char *line)
{
	struct redis_arg argv[16];
	unsigned n = 0;

	for (size_t len; *line != '\0'; line += len + (line[len] == ' ')) {
		len = strcspn(line, " ");
		argv[n++] = (struct redis_arg){ line, len };
	}
	return command(argv, n);
}

static const char *key_of(uint32_t owner)
{
	static char key[100];
	const struct uuid id = uuid_of(owner);
	char text[UUID_TEXT_LEN];

	uuid_format(&id, text);
	snprintf(key, sizeof(key), PREFIX "inbox:{%.*s}", UUID_TEXT_LEN, text);
	return key;
}

static void put_for(uint32_t owner, struct put p)
{
	uint8_t *bytes = malloc(INBOX_ENTRY_HEAD_LEN + p.frame_len);
	char id[INBOX_ID_TEXT_MAX];
	const char *key = key_of(owner);
	const struct redis_arg argv[] = { REDIS_TEXT("XADD"),
		                          { key, strlen(key) },
		                          { id, inbox_id_format(p.id, id) },
		                          REDIS_TEXT("e"),
		                          { bytes, put_bytes(&p, bytes) } };
	char want[INBOX_ID_TEXT_MAX + 1];

	snprintf(want, sizeof(want), "%s ", id);
	cr_assert_str_eq(command(argv, 5), want);
	free(bytes);
}

static void put(struct put p)
{
	put_for(OWNER, p);
}

static void put_messages(unsigned from, unsigned upto)
{
	for (unsigned i = from; i <= upto; i++)
		put(message(ID(i)));
}

/* Ids in the stream. */
static const char *stream(void)
{
	const char *key = key_of(OWNER);
	const struct redis_arg argv[] = {
		REDIS_TEXT("EVAL"),
		REDIS_TEXT("local r = {} for _, e in ipairs(redis.call('XRANGE', KEYS[1], '-', "
		           "'+')) do"
		           " r[#r + 1] = e[1] end return r"),
		REDIS_TEXT("1"),
		{ key, strlen(key) },
	};

	return command(argv, 4);
}

#endif
