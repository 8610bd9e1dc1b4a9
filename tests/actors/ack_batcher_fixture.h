/* SPDX-License-Identifier: MIT */
/* For tests of ack_batcher: a real Redis, and a producer that answers as it is told. */
#ifndef TESTS_ACTORS_ACK_BATCHER_FIXTURE_H
#define TESTS_ACTORS_ACK_BATCHER_FIXTURE_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "actors/ack_batcher.h"
#include "support/kafka_double.h"
#include "support/redis_peer.h"

#define ME UINT64_C(0x00000000000000aa)
#define OUTBOX "q:outbox:00000000000000aa"
#define DEAD "00000000000000dd"
#define TOPIC 3

static struct redis_server server;
static struct redis_bench bench;
static struct ack_batcher_conf conf;
static struct cx_ref batcher, producer;

static inline void spawn(struct cx_ctx *ctx, void *arg)
{
	(void)arg;
	producer = kafka_double_producer(ctx, 1);
	conf.producer = producer;
	cx_assert(cx_spawn(ctx, &ack_batcher_type, &conf, 0, &batcher) == CX_OK);
}

static inline void setup(void)
{
	redis_server_prepare(&server);
	redis_server_run(&server);
	redis_bench_defaults(&bench, server.port);
	redis_bench_start(&bench);
	conf = (struct ack_batcher_conf){
		.redis = bench.adapter, .topic = TOPIC, .prefix = "q:", .instance = ME
	};
}

static inline void teardown(void)
{
	redis_bench_stop(&bench);
	redis_server_stop(&server);
}

static inline void begin(void)
{
	redis_bench_run(&bench, 0, spawn, NULL);
}

/* ---- events ---- */

static inline size_t write_event(uint8_t *out, unsigned number)
{
	char json[256];
	const int len = snprintf(json, sizeof(json),
	                         "{\"messageHash\":\"%064x\",\"senderIdHash\":\"x\"}", number);

	out[0] = (uint8_t)len;
	out[1] = (uint8_t)(len >> 8);
	memcpy(out + 2, json, (size_t)len);
	return (size_t)len + 2;
}

struct outbox_write {
	const char *key, *id;
	unsigned first, count;
};

static inline void xadd(struct cx_ctx *ctx, void *arg)
{
	const struct outbox_write *const w = arg;
	uint8_t bytes[30000];
	size_t n = 0;
	uint64_t corr;

	for (unsigned i = 0; i < w->count; i++)
		n += write_event(bytes + n, w->first + i);

	const struct redis_arg argv[] = { REDIS_TEXT("XADD"),
		                          { w->key, strlen(w->key) },
		                          { w->id, strlen(w->id) },
		                          REDIS_TEXT("e"),
		                          { bytes, n } };

	cx_assert(redis_call(ctx, bench.adapter, argv, 5, 10000, &corr) == CX_OK);
}

static inline void put(const char *key, const char *id, unsigned first, unsigned count)
{
	struct outbox_write w = { key, id, first, count };
	struct redis_event e;

	redis_bench_run(&bench, 1, xadd, &w);
	e = redis_bench_next();
	cr_assert_eq(e.type, (uint32_t)REDIS_REPLY);
	cr_assert_eq(e.text[0], '"', "%s", e.text);
}

struct addition {
	unsigned first, count;
	uint64_t seq;
};

static inline void add(struct cx_ctx *ctx, void *arg)
{
	const struct addition *const a = arg;
	uint8_t bytes[30000];
	struct cx_buf *buf;
	size_t n = 0;

	for (unsigned i = 0; i < a->count; i++)
		n += write_event(bytes + n, a->first + i);
	buf = cx_buf_copy(bytes, n);
	cx_assert(ack_batcher_add(ctx, batcher, buf, a->count, 1, a->seq) == CX_OK);
	cx_buf_unref(buf);
}

/* An entry 1-seq in our outbox, told to the batcher. */
static inline void settle(unsigned seq, unsigned first, unsigned count)
{
	struct addition a = { first, count, seq };
	char id[32];

	snprintf(id, sizeof(id), "1-%u", seq);
	put(OUTBOX, id, first, count);
	redis_bench_run(&bench, 1, add, &a);
}

static inline unsigned number_of(unsigned i)
{
	const struct kafka_double_record r = kafka_double_at(i);

	cr_assert_eq(r.topic, (uint32_t)TOPIC);
	cr_assert_eq(r.headers_len, 0u);
	cr_assert_eq(strlen(r.key), 64u);
	cr_assert_not_null(strstr((const char *)r.bytes, r.key), "the key is the event's hash");
	return (unsigned)strtoul(r.key, NULL, 16);
}

static inline bool becomes(const char *words, const char *answer)
{
	for (int i = 0; i < 2000; i++) {
		if (strcmp(redis_bench_call(&bench, words), answer) == 0)
			return true;
		usleep(5000);
	}
	return false;
}

#endif
