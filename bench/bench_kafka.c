/* SPDX-License-Identifier: MIT */
/* The producer adapter beside the bare library, in the same run, on the library's mock cluster.
 *
 *   bench_kafka [MESSAGES] [RUNS]
 *
 * `bare`      rd_kafka_produceva with a borrowed value from one thread, reports polled in between,
 *             linger.ms 5
 * `adapter`   kafka_produce from an actor, each answered by a message
 * Both with 600-byte values, 64 keys, 6 partitions, lz4, at most 20,000 without a report.  CPU is the
 * whole process's, so the mock broker's work is in both. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <cx/runtime.h>

#include "io/kafka_producer.h"

#define COMMAND CONSTRUCT_MSG_END
enum { VALUE_BYTES = 600, KEYS = 64, PARTITIONS = 6, WINDOW = 20000, RUNS_MAX = 99 };

static char brokers[256];
static uint32_t messages = 300000;
static struct cx_buf *value;

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_s(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
	       (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static void fail(const char *what)
{
	fprintf(stderr, "bench_kafka: %s\n", what);
	exit(1);
}

/* ---- bare ---- */

static uint32_t take_reports(rd_kafka_queue_t *queue, int wait_ms)
{
	rd_kafka_event_t *const event = rd_kafka_queue_poll(queue, wait_ms);
	const rd_kafka_message_t *m;
	uint32_t n = 0;

	if (event == NULL)
		return 0;
	if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR)
		while ((m = rd_kafka_event_message_next(event)) != NULL) {
			if (m->err != 0)
				fail(rd_kafka_err2str(m->err));
			n++;
		}
	rd_kafka_event_destroy(event);
	return n;
}

static void run_bare(const struct kafka_settings *settings, const char *topic)
{
	struct kafka_opaque opaque = { settings };
	char why[256] = "", key[16];
	rd_kafka_conf_t *const conf = kafka_conf_producer(&opaque, why, sizeof(why));
	uint32_t sent = 0, reported = 0;
	rd_kafka_queue_t *queue;
	rd_kafka_t *rk;

	if (conf == NULL || rd_kafka_conf_set(conf, "linger.ms", "5", why, sizeof(why)) != 0)
		fail(why);
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	if (rk == NULL)
		fail(why);
	queue = rd_kafka_queue_get_main(rk);
	while (reported < messages) {
		while (sent < messages && sent - reported < WINDOW) {
			const int len = snprintf(key, sizeof(key), "key-%u", sent % KEYS);

			const rd_kafka_vu_t vus[] = {
				{ .vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic },
				{ .vtype = RD_KAFKA_VTYPE_KEY, .u.mem = { key, (size_t)len } },
				{ .vtype = RD_KAFKA_VTYPE_VALUE,
				  .u.mem = { cx_buf_data(value), VALUE_BYTES } },
			};

			if (rd_kafka_produceva(rk, vus, CX_COUNTOF(vus)) != NULL)
				break;
			if (++sent % 64 == 0)
				reported += take_reports(queue, 0);
		}
		reported += take_reports(queue, 10);
	}
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(rk);
}

/* ---- adapter ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static bool is_ended;

struct asker {
	struct cx_ref producer;
	uint32_t sent, answered;
};

static void ask(struct cx_ctx *ctx, struct asker *a)
{
	while (a->sent < messages && a->sent - a->answered < WINDOW) {
		char key[16];
		uint64_t corr;
		const int len = snprintf(key, sizeof(key), "key-%u", a->sent % KEYS);

		if (kafka_produce(ctx, a->producer, 0, wire_slice(key, (size_t)len), 0, value,
		                  60000, &corr) != CX_OK)
			return;
		a->sent++;
	}
}

static void on_command(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)msg;
	ask(ctx, state);
}

static void on_produced(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct asker *const a = state;

	(void)ctx;
	if (CX_MSG_AS(struct kafka_produced, msg)->outcome != KAFKA_OK)
		fail("not written");
	if (++a->answered < messages)
		return;
	pthread_mutex_lock(&mutex);
	is_ended = true;
	pthread_cond_signal(&ended);
	pthread_mutex_unlock(&mutex);
}

static void asker_batch_end(struct cx_ctx *ctx, void *state)
{
	ask(ctx, state);
}

static enum cx_err asker_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	((struct asker *)state)->producer = *(const struct cx_ref *)conf;
	return CX_OK;
}

static const struct cx_handler asker_handlers[] = {
	CX_ON(COMMAND, struct cx_msg, on_command),
	CX_ON(KAFKA_PRODUCED, struct kafka_produced, on_produced),
};
static const struct cx_actor_type asker_type = {
	.name = "asker",
	.state_size = sizeof(struct asker),
	.conf_size = sizeof(struct cx_ref),
	.mailbox_cap = 2 * WINDOW,
	.start = asker_start,
	.batch_end = asker_batch_end,
	.handlers = asker_handlers,
	.handler_count = CX_COUNTOF(asker_handlers),
};

static void run_adapter(const struct kafka_settings *settings, const char *topic)
{
	const struct cx_runtime_conf conf = { .workers = 1 };
	struct kafka_producer_conf producer_conf = { .settings = settings,
		                                     .topics = { topic },
		                                     .topic_count = 1 };
	const struct kafka_producer_conf *const address = &producer_conf;
	struct cx_ref producer, asker;

	is_ended = false;
	if (cx_runtime_new(&conf, &producer_conf.rt) != CX_OK ||
	    cx_runtime_spawn(producer_conf.rt, &kafka_producer_type, &address, 0, &producer) !=
	            CX_OK ||
	    cx_runtime_spawn(producer_conf.rt, &asker_type, &producer, 0, &asker) != CX_OK ||
	    cx_runtime_start(producer_conf.rt) != CX_OK ||
	    cx_post(producer_conf.rt, asker, cx_post_new(COMMAND, sizeof(struct cx_msg))) !=
	            CX_OK)
		fail("runtime");
	pthread_mutex_lock(&mutex);
	while (!is_ended)
		pthread_cond_wait(&ended, &mutex);
	pthread_mutex_unlock(&mutex);
	cx_runtime_stop(producer_conf.rt);
	cx_runtime_free(producer_conf.rt);
}

/* ---- runs ---- */

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static void (*const ways[])(const struct kafka_settings *,
	                            const char *) = { run_bare, run_adapter };
	static const char *const names[] = { "bare", "adapter" };
	static double rates[2][RUNS_MAX], cpus[2][RUNS_MAX];
	const int runs = argc > 2 ? atoi(argv[2]) : 5;
	struct kafka_settings settings;
	rd_kafka_mock_cluster_t *mock;
	char why[256], topic[32];
	rd_kafka_conf_t *conf;
	rd_kafka_t *rk;

	if (argc > 1)
		messages = (uint32_t)atoi(argv[1]);
	if (messages == 0 || runs < 1 || runs > RUNS_MAX)
		fail("usage: bench_kafka [MESSAGES] [RUNS 1..99]");
	value = cx_buf_new(VALUE_BYTES);
	for (int i = 0; i < VALUE_BYTES; i++) /* text that packs about as base64 does */
		cx_buf_data(value)[i] =
			(uint8_t)("abcdefghijklmnopqrstuvwxyz012345"[rand() % 32]);
	kafka_defaults(&settings);
	settings.brokers = brokers;
	settings.producer.compression = KAFKA_COMPRESSION_LZ4;
	settings.producer.batch_bytes = 65536;
	for (int run = 0; run < runs * 2; run++) {
		const int way = run % 2;
		double seconds, cpu;

		/* A cluster of its own for each run: the mock keeps 5 MiB a partition. */
		conf = rd_kafka_conf_new();
		rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
		rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
		mock = rk == NULL ? NULL : rd_kafka_mock_cluster_new(rk, 1);
		if (mock == NULL)
			fail("no mock cluster");
		snprintf(brokers, sizeof(brokers), "%s",
		         rd_kafka_mock_cluster_bootstraps(mock));
		snprintf(topic, sizeof(topic), "bench-%d", run);
		rd_kafka_mock_topic_create(mock, topic, PARTITIONS, 1);
		seconds = now_s();
		cpu = cpu_s();
		ways[way](&settings, topic);
		cpus[way][run / 2] = (cpu_s() - cpu) * 1e6 / messages;
		rates[way][run / 2] = messages / (now_s() - seconds);
		rd_kafka_mock_cluster_destroy(mock);
		rd_kafka_destroy(rk);
	}
	printf("name\tmessages\truns\tmessages/s\tcpu_us\t(medians)\n");
	for (int way = 0; way < 2; way++) {
		qsort(rates[way], (size_t)runs, sizeof(double), compare);
		qsort(cpus[way], (size_t)runs, sizeof(double), compare);
		printf("%s\t%u\t%d\t%.0f\t%.2f\n", names[way], messages, runs,
		       rates[way][runs / 2], cpus[way][runs / 2]);
	}
	cx_buf_unref(value);
	return 0;
}
