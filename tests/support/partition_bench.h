/* SPDX-License-Identifier: MIT */
/* For tests of the worker's partition owner: a real Redis, the owner with its adapter, and one actor
 * that plays consumer, producer and a server's subscription, and keeps what comes. */
#ifndef TESTS_SUPPORT_PARTITION_BENCH_H
#define TESTS_SUPPORT_PARTITION_BENCH_H

#include <cx/runtime.h>

#include "io/kafka_consumer.h"
#include "io/kafka_producer.h"
#include "io/stack_partition.h"
#include "support/redis_peer.h"
#include "wire/uuid.h"

#define PARTITION_INSTANCE UINT64_C(0xa1b2c3d4e5f60718) /* of the server that listens */
#define PARTITION_PREFIX "delivery_queue:"
#define PARTITION_CHANNELS "online"
#define PARTITION_TTL_MS (INT64_C(7) * 24 * 3600 * 1000)
#define PARTITION_WINDOW_MS (INT64_C(8) * 24 * 3600 * 1000)

struct partition_event { /* KAFKA_*, REDIS_PUSH, REDIS_REPLY, STACK_REBUILD (since_ms in next_offset); buf is borrowed until the end */
	uint32_t type;
	int32_t partition;
	uint32_t epoch;
	int64_t next_offset;
	struct cx_buf *buf;
	uint32_t headers_len; /* of KAFKA_PRODUCE */
	char text[200];       /* of REDIS_REPLY: the first value */
};

struct partition_bench {
	struct redis_server server;
	struct redis_url url;
	struct redis_conf redis_conf, ask_conf;
	struct redis_sub_conf sub_conf;
	struct stack_settings settings;
	struct cx_runtime *rt;
	struct cx_ref redis, ask, sub, owner, probe;
	unsigned refuse_letters; /* so many dead letters are answered KAFKA_NOT_WRITTEN first */
	bool hold_letters;       /* they are not answered */
};

void partition_bench_prepare(struct partition_bench *b);
void partition_bench_start(struct partition_bench *b);
void partition_bench_end(struct partition_bench *b);

/* The next message of that type; others before it are passed over.  Fails after 20 s. */
struct partition_event partition_bench_next(uint32_t type);
/* Whether one comes within that time; it is taken. */
bool partition_bench_comes(uint32_t type, unsigned ms, struct partition_event *out);
/* How many of a type were not taken yet. */
unsigned partition_bench_waiting(uint32_t type);

/* Messages of the consumer, and of the workers' channel. */
void partition_bench_assign(struct partition_bench *b, int32_t p, uint32_t epoch, int64_t next);
void partition_bench_revoke(struct partition_bench *b, int32_t p, uint32_t epoch);
/* Keeps buf. */
void partition_bench_records(struct partition_bench *b, int32_t p, uint32_t epoch,
                             struct cx_buf *buf, uint32_t count, int64_t first, int64_t next);
void partition_bench_route(struct partition_bench *b, const struct uuid *user,
                           uint64_t instance, bool is_joined);
void partition_bench_subscribed(struct partition_bench *b);
void partition_bench_unsubscribed(struct partition_bench *b);
void partition_bench_rebuilt(struct partition_bench *b);
/* Words separated by blanks: the first value of the answer, valid until the next; "-" begins an
 * error, "nil". */
const char *partition_bench_redis(struct partition_bench *b, const char *words);

/* ---- records ---- */

struct partition_record {
	int64_t offset;
	unsigned from, to, id; /* numbers of uuids */
	int64_t age_ms;        /* of its time stamp */
	const char *value;     /* this instead of an envelope */
	const char *content;   /* NULL: made from offset */
};

struct uuid partition_uuid(unsigned number);
/* Packed as the consumer does. */
struct cx_buf *partition_pack(const struct partition_record *records, uint32_t count);

#endif
