/* SPDX-License-Identifier: MIT */
/* What bench/peer_stack_floor.c needs beside its three threads: Redis, clients of Kafka, figures. */
#ifndef BENCH_STACK_FLOOR_H
#define BENCH_STACK_FLOOR_H

#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <hiredis/hiredis.h>
#include <librdkafka/rdkafka.h>

struct series {
	uint64_t *ns;
	size_t n;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static _Noreturn void fail(const char *what, const char *why)
{
	fprintf(stderr, "peer_stack_floor: %s: %s\n", what, why);
	exit(1);
}

/* ---- Redis ---- */

static redisContext *connect_redis(void)
{
	const char *const url = getenv("REDIS_URL");
	char password[128] = "", host[64] = "";
	redisContext *ctx;
	redisReply *r;
	int port = 0;

	if (url == NULL ||
	    (sscanf(url, "redis://%*[^:@]:%127[^@]@%63[^:]:%d", password, host, &port) != 3 &&
	     sscanf(url, "redis://%63[^:]:%d", host, &port) != 2))
		fail("REDIS_URL", "redis://[user:password@]host:port is needed");
	ctx = redisConnect(host, port);
	if (ctx == NULL || ctx->err)
		fail("redis", ctx != NULL ? ctx->errstr : "out of memory");
	if (password[0]) {
		r = redisCommand(ctx, "AUTH %s", password);
		if (r == NULL || r->type == REDIS_REPLY_ERROR)
			fail("AUTH", r != NULL ? r->str : ctx->errstr);
		freeReplyObject(r);
	}
	return ctx;
}

/* Writes what is appended, reads n answers, of which none may be an error or nil.
 * Returns the sum of those that are numbers. */
static uint64_t settle(redisContext *ctx, size_t n)
{
	uint64_t sum = 0;
	redisReply *r;

	for (size_t i = 0; i < n; i++) {
		if (redisGetReply(ctx, (void **)&r) != REDIS_OK)
			fail("redis", ctx->errstr);
		if (r->type == REDIS_REPLY_ERROR || r->type == REDIS_REPLY_NIL)
			fail("redis", r->type == REDIS_REPLY_NIL ? "taken before" : r->str);
		if (r->type == REDIS_REPLY_INTEGER)
			sum += (uint64_t)r->integer;
		freeReplyObject(r);
	}
	return sum;
}

static void append(redisContext *ctx, int argc, const char **argv, const size_t *len)
{
	if (redisAppendCommandArgv(ctx, argc, argv, len) != REDIS_OK)
		fail("append", ctx->errstr);
}

static void delete_inboxes(redisContext *redis, const char *prefix, uint32_t users)
{
	for (uint32_t user = 0; user < users; user++)
		redisAppendCommand(redis, "DEL %sinbox:{%u}", prefix, user);
	settle(redis, users);
	redisFree(redis);
}

/* ---- Kafka ---- */

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char why[256];

	if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) != RD_KAFKA_CONF_OK)
		fail(name, why);
}

static rd_kafka_t *make_client(rd_kafka_type_t type, const char *group, int linger_ms)
{
	rd_kafka_conf_t *const conf = rd_kafka_conf_new();
	char why[256], linger[16];
	rd_kafka_t *rk;

	set(conf, "bootstrap.servers", getenv("KAFKA_BROKERS") ? getenv("KAFKA_BROKERS") : "");
	if (type == RD_KAFKA_PRODUCER) {
		snprintf(linger, sizeof(linger), "%d", linger_ms);
		set(conf, "linger.ms", linger);
		set(conf, "enable.idempotence", "true");
		set(conf, "acks", "all");
		set(conf, "compression.codec", "lz4");
		set(conf, "partitioner", "murmur2_random");
		rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
	} else {
		set(conf, "group.id", group);
		set(conf, "fetch.wait.max.ms", "100");
		set(conf, "auto.commit.interval.ms", "1000");
	}
	rk = rd_kafka_new(type, conf, why, sizeof(why));
	if (rk == NULL)
		fail("kafka", why);
	return rk;
}

/* From where each partition ends now, so that nothing sent after this is missed. */
static void assign_ends(rd_kafka_t *rk, const char *topic_name)
{
	const struct rd_kafka_metadata *about;
	rd_kafka_topic_t *const topic = rd_kafka_topic_new(rk, topic_name, NULL);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
	int64_t low, high;

	if (rd_kafka_metadata(rk, 0, topic, &about, 10000) != 0 || about->topic_cnt != 1 ||
	    about->topics[0].partition_cnt == 0)
		fail("topic", topic_name);
	for (int32_t p = 0; p < about->topics[0].partition_cnt; p++) {
		if (rd_kafka_query_watermark_offsets(rk, topic_name, p, &low, &high, 10000) !=
		    0)
			fail("watermarks", topic_name);
		rd_kafka_topic_partition_list_add(list, topic_name, p)->offset = high;
	}
	if (rd_kafka_assign(rk, list) != 0)
		fail("assign", topic_name);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_metadata_destroy(about);
	rd_kafka_topic_destroy(topic);
}

/* Of a producer at a rate, as io/kafka_linger.h: none up to 2,000/s, 5 ms from 10,000/s on and in
 * a closed loop (rate 0). */
static uint64_t linger_at(uint64_t rate)
{
	if (rate == 0 || rate >= 10000)
		return 5;
	return rate <= 2000 ? 0 : (rate - 2000) / 1600;
}

/* ---- figures ---- */

static void fill_random(void *out, size_t len)
{
	for (size_t done = 0; done < len; done += 256) /* so much comes at once for sure */
		if (getrandom((char *)out + done, len - done < 256 ? len - done : 256, 0) < 0)
			fail("random", "none");
}

static uint64_t number(int argc, char **argv, int at, uint64_t otherwise, uint64_t max)
{
	const uint64_t n = argc > at ? strtoull(argv[at], NULL, 10) : otherwise;

	if (n > max)
		fail("argument out of range", argv[at]);
	return n;
}

static void start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	if (pthread_create(thread, NULL, run, arg) != 0)
		fail("thread", "cannot be made");
}

static int compare_u64(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Three columns: p50, p99, p99.9. */
static void print_percentiles(struct series *s)
{
	static const double at[] = { 0.5, 0.99, 0.999 };

	if (s->n == 0)
		fail("report", "nothing came through");
	qsort(s->ns, s->n, sizeof(s->ns[0]), compare_u64);
	for (size_t i = 0; i < 3; i++)
		printf("\t%" PRIu64, s->ns[(size_t)((double)(s->n - 1) * at[i])]);
}

static double own_cpu_s(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
	       (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

/* User and system time of a process, 0 when pid is. */
static double cpu_s_of(int pid)
{
	unsigned long user = 0, system = 0;
	char path[64], text[1024];
	const char *after;
	FILE *file;

	if (pid == 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (file == NULL || fgets(text, sizeof(text), file) == NULL)
		fail("no such process", path);
	fclose(file);
	/* Its name, in brackets, may hold anything. */
	after = strrchr(text, ')');
	if (after == NULL ||
	    sscanf(after, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
	           &system) != 2)
		fail("cannot be read", path);
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* This process and the two pids, less what each had before; out may be before. */
static void cpu_since(const int pids[2], double out[3], const double before[3])
{
	out[0] = own_cpu_s() - before[0];
	out[1] = cpu_s_of(pids[0]) - before[1];
	out[2] = cpu_s_of(pids[1]) - before[2];
}

#endif
