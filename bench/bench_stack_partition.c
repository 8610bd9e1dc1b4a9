/* SPDX-License-Identifier: MIT */
/* The worker's way of a message: from records of the log to inboxes in Redis and a push.
 *
 *   bench_stack_partition PORT [USERS] [ONLINE]
 *
 * PORT: a Redis that it may empty.  200000 messages with contents of 256 bytes for USERS (1000)
 * users, ONLINE (1: all, 0: none) at one of four instances; one partition, one worker, buffers of
 * 2000 records as the consumer hands them.
 * One TSV row: users, online, messages/s, CPU us a message of the worker's thread and of Redis. */
#include <hiredis/hiredis.h>
#undef REDIS_SUBSCRIBED /* a flag of hiredis, a message of ours */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cx/log.h>
#include <cx/runtime.h>

#include "io/kafka_consumer.h"
#include "io/kafka_record.h"
#include "io/loop_uv.h"
#include "io/redis_sub.h"
#include "io/stack_keys.h"
#include "io/stack_partition.h"
#include "wire/envelope.h"

#define MESSAGES 200000
#define BUFFER 2000
#define BUFFERS (MESSAGES / BUFFER)
#define CONTENT 256
#define WINDOW 4 /* buffers handed and not done */
#define BENCH_CLOCK CONSTRUCT_MSG_END

static struct cx_buf *buffers[BUFFERS];
static unsigned users = 1000, online = 1;
static struct cx_ref owner;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static bool is_over;

static struct uuid number(unsigned kind, unsigned n)
{
	struct uuid u = { { (uint8_t)kind } };

	memcpy(&u.b[12], &n, sizeof(n));
	return u;
}

static void make_buffers(void)
{
	static char content[CONTENT], value[4096];
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	memset(content, 'A', sizeof(content));
	for (unsigned b = 0; b < BUFFERS; b++) {
		uint8_t *bytes = NULL;
		size_t len = 0;

		for (unsigned i = 0; i < BUFFER; i++) {
			const unsigned n = b * BUFFER + i;
			struct kafka_record r = { .offset = n, .key = wire_text("key") };
			struct envelope e = { .sender = number(1, n % 997),
				              .recipient = number(2, n * 7919u % users) };

			e.message.id = number(3, n);
			e.message.content = wire_slice(content, sizeof(content));
			r.value = wire_slice(value, envelope_write(value, sizeof(value), &e));
			r.timestamp_ms = (int64_t)now.tv_sec * 1000;
			bytes = realloc(bytes, len + kafka_record_size(&r));
			kafka_record_write(bytes + len, &r);
			len += kafka_record_size(&r);
		}
		buffers[b] = cx_buf_copy(bytes, len);
		free(bytes);
	}
}

/* ---- the consumer ---- */

struct feeder {
	unsigned sent, done;
};

static void feed(struct cx_ctx *ctx, struct feeder *f)
{
	while (f->sent < BUFFERS && f->sent - f->done < WINDOW) {
		struct kafka_records *const m =
			CX_MSG_NEW(ctx, KAFKA_RECORDS, struct kafka_records);

		m->hdr.buf = buffers[f->sent];
		m->epoch = 1;
		m->count = BUFFER;
		m->first_offset = (int64_t)f->sent * BUFFER;
		m->next_offset = m->first_offset + BUFFER;
		f->sent++;
		if (cx_send_reserved(ctx, owner, &m->hdr) != CX_OK)
			abort();
	}
}

static void on_go(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct kafka_assigned *const m = CX_MSG_NEW(ctx, KAFKA_ASSIGNED, struct kafka_assigned);

	(void)msg;
	m->epoch = 1;
	m->next_offset = KAFKA_OFFSET_UNKNOWN;
	if (cx_send_reserved(ctx, owner, &m->hdr) != CX_OK)
		abort();
	feed(ctx, state);
}

static void on_done(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct feeder *const f = state;

	f->done = (unsigned)(CX_MSG_AS(struct kafka_place, msg)->next_offset / BUFFER);
	feed(ctx, f);
	if (f->done < BUFFERS)
		return;
	pthread_mutex_lock(&mutex);
	is_over = true;
	pthread_cond_signal(&arrived);
	pthread_mutex_unlock(&mutex);
}

static const struct cx_handler handlers[] = {
	CX_ON(BENCH_CLOCK, struct cx_msg, on_go),
	CX_ON(KAFKA_DONE, struct kafka_place, on_done),
};

static const struct cx_actor_type feeder_type = {
	.name = "feeder",
	.state_size = sizeof(struct feeder),
	.mailbox_cap = 1000,
	.placement = CX_PLACE_IO,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

/* ---- measuring ---- */

static double cpu_of_redis(redisContext *c)
{
	redisReply *const r = redisCommand(c, "INFO cpu");
	double sum = 0;

	for (const char *name[] = { "used_cpu_sys:", "used_cpu_user:", NULL }, **n = name;
	     *n != NULL; n++) {
		const char *const at = strstr(r->str, *n);

		sum += at != NULL ? strtod(at + strlen(*n), NULL) : 0;
	}
	freeReplyObject(r);
	return sum;
}

static double seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void prepare_redis(redisContext *c)
{
	freeReplyObject(redisCommand(c, "FLUSHALL"));
	freeReplyObject(redisCommand(c, "CONFIG RESETSTAT"));
	for (unsigned i = 0; online && i < users; i++) {
		const struct uuid user = number(2, i);
		char key[STACK_KEY_MAX];

		stack_key_route(key, "delivery_queue:", &user);
		freeReplyObject(redisCommand(c, "HSET %s %016x/1 1/2", key, i % 4));
	}
}

int main(int argc, char **argv)
{
	const struct cx_runtime_conf conf = { .workers = 1, .loop = &loop_uv_ops };
	static struct redis_url url = { .host = "127.0.0.1" };
	const struct redis_conf redis = { .url = &url,
		                          .client_name = "bench",
		                          .scripts = stack_partition_scripts,
		                          .script_count = STACK_PARTITION_SCRIPT_COUNT };
	static const struct stack_settings settings = {
		.prefix = "delivery_queue:",
		.channel_prefix = "online",
		.message_ttl_ms = INT64_C(7) * 24 * 3600 * 1000,
		.dedup_window_ms = INT64_C(8) * 24 * 3600 * 1000,
		.message_topic = "messages",
	};
	struct stack_partition_conf part = { .settings = &settings };
	struct stack_partition_figures figures;
	double wall, cpu, of_redis;
	struct cx_runtime *rt;
	struct cx_ref feeder;
	redisContext *c;

	if (argc < 2) {
		fprintf(stderr, "usage: %s PORT [USERS] [ONLINE]\n", argv[0]);
		return 2;
	}
	url.port = (uint16_t)atoi(argv[1]);
	users = argc > 2 ? (unsigned)atoi(argv[2]) : users;
	online = argc > 3 ? (unsigned)atoi(argv[3]) : online;
	c = redisConnect("127.0.0.1", url.port);
	if (c == NULL || c->err != 0 || users == 0) {
		fprintf(stderr, "no Redis at port %s, or no users\n", argv[1]);
		return 1;
	}
	cx_log_setup(CX_WARN, CX_LOG_TEXT);
	make_buffers();
	prepare_redis(c);
	if (cx_runtime_new(&conf, &rt) != CX_OK ||
	    cx_runtime_spawn(rt, &redis_type, &redis, 0, &part.redis) != CX_OK ||
	    cx_runtime_spawn(rt, &feeder_type, NULL, 0, &feeder) != CX_OK)
		return 1;
	part.consumer = part.producer = feeder;
	if (cx_runtime_spawn(rt, &stack_partition_type, &part, 0, &owner) != CX_OK ||
	    cx_runtime_start(rt) != CX_OK ||
	    cx_post(rt, owner,
	            cx_post_new(REDIS_SUBSCRIBED, sizeof(struct redis_subscribed))) != CX_OK)
		return 1; /* without the notice no route is remembered */
	usleep(300000);
	wall = seconds(CLOCK_MONOTONIC);
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	of_redis = cpu_of_redis(c);
	if (cx_post(rt, feeder, cx_post_new(BENCH_CLOCK, sizeof(struct cx_msg))) != CX_OK)
		return 1;
	pthread_mutex_lock(&mutex);
	while (!is_over)
		pthread_cond_wait(&arrived, &mutex);
	pthread_mutex_unlock(&mutex);
	wall = seconds(CLOCK_MONOTONIC) - wall;
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	of_redis = cpu_of_redis(c) - of_redis;
	stack_partition_figures(&figures);
	printf("users\tonline\tmessages/s\tcpu_us\tredis_us\n%u\t%u\t%.0f\t%.2f\t%.2f\n", users,
	       online, MESSAGES / wall, cpu * 1e6 / MESSAGES, of_redis * 1e6 / MESSAGES);
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
	redisFree(c);
	return figures.appended == MESSAGES ? 0 : 1;
}
