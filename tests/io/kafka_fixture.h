/* SPDX-License-Identifier: MIT */
/* A mock cluster (or the real brokers of CONSTRUCT_TEST_KAFKA), the runtime, and two probes that ask,
 * own partitions and keep what comes. */
#ifndef TESTS_IO_KAFKA_FIXTURE_H
#define TESTS_IO_KAFKA_FIXTURE_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <cx/runtime.h>

#include "io/kafka_consumer.h"
#include "io/kafka_producer.h"
#include "io/kafka_record.h"

#define COMMAND CONSTRUCT_MSG_END /* an id that the relay does not use */
enum {
	EVENTS_MAX = 60000,
	WAIT_SECS = 30,
	PROBES = 2,
	API_PRODUCE = 0,
	API_FETCH = 1,
	API_COMMIT = 8
};

struct event {
	unsigned probe;
	uint32_t type;
	int outcome; /* of KAFKA_PRODUCED; is_lost, is_committed */
	int32_t partition;
	uint32_t epoch, count;
	int64_t offset, next_offset;
	uint64_t corr;
	struct cx_buf *buf;
	struct kafka_producer_figures producer;
	struct kafka_consumer_figures consumer;
};

struct command {
	struct cx_msg hdr;
	void (*fn)(struct cx_ctx *ctx, void *arg);
	void *arg;
};

struct probe_conf {
	unsigned number;
};

static rd_kafka_t *mock_client;
static rd_kafka_mock_cluster_t *mock;
static char brokers[512], topic[64], group[80];
static struct kafka_settings settings;
static struct kafka_producer_conf producer_conf;
static struct kafka_consumer_conf consumer_confs[PROBES];
static struct cx_runtime *rt;
static struct cx_ref probes[PROBES], producer, consumers[PROBES];
static void (*spawn_more)(void); /* threads of the test's own: before the runtime starts */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static struct event *events;
static uint32_t event_count, event_taken;
static uint64_t commands_run;                /* so that `run` can wait for its own */
static volatile bool is_done_at_once = true; /* set before start */

/* ---- probes ---- */

static inline void keep(const struct event *e)
{
	pthread_mutex_lock(&mutex);
	if (event_count < EVENTS_MAX)
		events[event_count++] = *e;
	pthread_cond_broadcast(&arrived);
	pthread_mutex_unlock(&mutex);
}

static inline void on_command(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct command *const c = CX_MSG_AS(struct command, msg);

	(void)state;
	c->fn(ctx, c->arg);
	pthread_mutex_lock(&mutex);
	commands_run++;
	pthread_cond_broadcast(&arrived);
	pthread_mutex_unlock(&mutex);
}

static inline void on_event(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const unsigned *const number = state;
	struct event e = { .probe = *number,
		           .type = msg->type,
		           .corr = msg->corr,
		           .buf = cx_buf_ref(msg->buf) };
	enum cx_err err = CX_OK;

	if (msg->type == KAFKA_PRODUCED) {
		e.outcome = (int)CX_MSG_AS(struct kafka_produced, msg)->outcome;
		e.partition = CX_MSG_AS(struct kafka_produced, msg)->partition;
		e.offset = CX_MSG_AS(struct kafka_produced, msg)->offset;
	} else if (msg->type == KAFKA_PRODUCER_CLOSED) {
		e.outcome = (int)CX_MSG_AS(struct kafka_producer_closed, msg)->unknown;
		e.count = CX_MSG_AS(struct kafka_producer_closed, msg)->not_written;
	} else if (msg->type == KAFKA_PRODUCER_FIGURES) {
		e.producer = *CX_MSG_AS(struct kafka_producer_figures, msg);
	} else if (msg->type == KAFKA_CONSUMER_FIGURES) {
		e.consumer = *CX_MSG_AS(struct kafka_consumer_figures, msg);
	} else if (msg->type == KAFKA_CONSUMER_CLOSED) {
		e.outcome = CX_MSG_AS(struct kafka_consumer_closed, msg)->is_committed;
	} else if (msg->type == KAFKA_ASSIGNED) {
		const struct kafka_assigned *const m = CX_MSG_AS(struct kafka_assigned, msg);

		e.partition = m->partition;
		e.epoch = m->epoch;
		e.next_offset = m->next_offset;
	} else if (msg->type == KAFKA_RECORDS) {
		const struct kafka_records *const m = CX_MSG_AS(struct kafka_records, msg);

		e.partition = m->partition;
		e.epoch = m->epoch;
		e.count = m->count;
		e.offset = m->first_offset;
		e.next_offset = m->next_offset;
		if (is_done_at_once)
			err = kafka_done(ctx, msg->from, m->topic, m->partition, m->epoch,
			                 m->next_offset);
	} else if (msg->type == KAFKA_REVOKED) {
		const struct kafka_revoked *const m = CX_MSG_AS(struct kafka_revoked, msg);

		e.partition = m->partition;
		e.epoch = m->epoch;
		e.outcome = m->is_lost;
		err = kafka_revoked_done(ctx, msg->from, m->topic, m->partition, m->epoch,
		                         KAFKA_OFFSET_UNKNOWN);
	}
	(void)err; /* the runtime ends */
	keep(&e);
}

static inline enum cx_err probe_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	*(unsigned *)state = ((const struct probe_conf *)conf)->number;
	return CX_OK;
}

static const struct cx_handler probe_handlers[] = {
	CX_ON(COMMAND, struct command, on_command),
	CX_ON(KAFKA_PRODUCED, struct kafka_produced, on_event),
	CX_ON(KAFKA_PRODUCER_CLOSED, struct kafka_producer_closed, on_event),
	CX_ON(KAFKA_PRODUCER_FIGURES, struct kafka_producer_figures, on_event),
	CX_ON(KAFKA_ASSIGNED, struct kafka_assigned, on_event),
	CX_ON(KAFKA_RECORDS, struct kafka_records, on_event),
	CX_ON(KAFKA_REVOKED, struct kafka_revoked, on_event),
	CX_ON(KAFKA_CONSUMER_CLOSED, struct kafka_consumer_closed, on_event),
	CX_ON(KAFKA_CONSUMER_FIGURES, struct kafka_consumer_figures, on_event),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_event),
};

static const struct cx_actor_type probe_type = {
	.name = "probe",
	.state_size = sizeof(unsigned),
	.conf_size = sizeof(struct probe_conf),
	.mailbox_cap = 100000,
	.start = probe_start,
	.handlers = probe_handlers,
	.handler_count = CX_COUNTOF(probe_handlers),
};

/* ---- brokers ---- */

static inline rd_kafka_t *plain_client(void)
{
	rd_kafka_conf_t *const conf = rd_kafka_conf_new();
	char why[256];
	rd_kafka_t *rk;

	if (brokers[0] != '\0')
		rd_kafka_conf_set(conf, "bootstrap.servers", brokers, NULL, 0);
	rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	cr_assert_not_null(rk, "%s", why);
	return rk;
}

static inline void create_real_topic(int partitions)
{
	rd_kafka_t *const rk = plain_client();
	rd_kafka_queue_t *const queue = rd_kafka_queue_new(rk);
	char why[256];
	rd_kafka_NewTopic_t *created =
		rd_kafka_NewTopic_new(topic, partitions, 1, why, sizeof(why));
	rd_kafka_event_t *event;

	rd_kafka_CreateTopics(rk, &created, 1, NULL, queue);
	event = rd_kafka_queue_poll(queue, WAIT_SECS * 1000);
	cr_assert_not_null(event, "no answer of the brokers");
	cr_assert_eq(rd_kafka_event_error(event), 0, "%s", rd_kafka_event_error_string(event));
	rd_kafka_event_destroy(event);
	rd_kafka_NewTopic_destroy(created);
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(rk);
}

static inline void open_brokers(int partitions)
{
	const char *const real = getenv("CONSTRUCT_TEST_KAFKA");
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(topic, sizeof(topic), "test-%lx%lx%x", (unsigned long)now.tv_sec,
	         (unsigned long)now.tv_nsec, (unsigned)getpid());
	snprintf(group, sizeof(group), "group-%s", topic);
	if (real != NULL && *real != '\0') {
		snprintf(brokers, sizeof(brokers), "%s", real);
		create_real_topic(partitions);
		return;
	}
	mock_client = plain_client();
	mock = rd_kafka_mock_cluster_new(mock_client, 1);
	cr_assert_not_null(mock);
	snprintf(brokers, sizeof(brokers), "%s", rd_kafka_mock_cluster_bootstraps(mock));
	cr_assert_eq(rd_kafka_mock_topic_create(mock, topic, partitions, 1), 0);
}

/* ---- start and stop ---- */

/* Before start: brokers, settings and confs with their defaults, for a test to change. */
static inline void prepare(int partitions)
{
	events = calloc(EVENTS_MAX, sizeof(*events));
	open_brokers(partitions);
	kafka_defaults(&settings);
	settings.brokers = brokers;
	settings.consumer.group = group;
	settings.consumer.session_timeout_ms = 6000;
	settings.consumer.fetch_wait_ms = 20;
	producer_conf = (struct kafka_producer_conf){ .settings = &settings,
		                                      .topics = { topic },
		                                      .topic_count = 1 };
	for (unsigned i = 0; i < PROBES; i++)
		consumer_confs[i] = (struct kafka_consumer_conf){ .settings = &settings,
			                                          .topics = { topic },
			                                          .topic_count = 1,
			                                          .owners = &probes[i],
			                                          .owner_count = 1,
			                                          .credit_bytes = 1 << 20,
			                                          .commit_ms = 100,
			                                          .revoke_ms = 5000,
			                                          .stuck_ms = 60000 };
}

enum with { WITH_PRODUCER = 1, WITH_CONSUMER = 2, WITH_SECOND = 4 };

static inline void start(unsigned with)
{
	const struct cx_runtime_conf conf = { .workers = 1 };

	cr_assert_eq(cx_runtime_new(&conf, &rt), CX_OK);
	for (unsigned i = 0; i < PROBES; i++) {
		const struct probe_conf probe = { i };

		cr_assert_eq(cx_runtime_spawn(rt, &probe_type, &probe, i, &probes[i]), CX_OK);
	}
	if (with & WITH_PRODUCER) {
		const struct kafka_producer_conf *const p = &producer_conf;

		producer_conf.rt = rt;
		cr_assert_eq(cx_runtime_spawn(rt, &kafka_producer_type, &p, 0, &producer),
		             CX_OK);
	}
	for (unsigned i = 0; i < PROBES; i++) {
		const struct kafka_consumer_conf *const c = &consumer_confs[i];

		consumer_confs[i].rt = rt;
		if (with & (WITH_CONSUMER << i))
			cr_assert_eq(cx_runtime_spawn(rt, &kafka_consumer_type, &c, 0,
			                              &consumers[i]),
			             CX_OK);
	}
	if (spawn_more != NULL)
		spawn_more();
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
}

static inline void stop(void)
{
	cx_runtime_stop(rt);
	while (event_count > 0)
		cx_buf_unref(events[--event_count].buf);
	event_taken = 0;
	cx_runtime_free(rt);
	rt = NULL;
}

static inline void finish(void)
{
	if (rt != NULL)
		stop();
	if (mock != NULL)
		rd_kafka_mock_cluster_destroy(mock);
	if (mock_client != NULL)
		rd_kafka_destroy(mock_client);
	free(events);
}

/* ---- what a test does ---- */

/* Returns when fn has run: arg may lie in the caller's frame. */
static inline void run(void (*fn)(struct cx_ctx *, void *), void *arg)
{
	struct command *const c = (struct command *)cx_post_new(COMMAND, sizeof(*c));
	uint64_t before;

	c->fn = fn;
	c->arg = arg;
	pthread_mutex_lock(&mutex);
	before = commands_run;
	pthread_mutex_unlock(&mutex);
	cr_assert_eq(cx_post(rt, probes[0], &c->hdr), CX_OK);
	pthread_mutex_lock(&mutex);
	while (commands_run == before)
		pthread_cond_wait(&arrived, &mutex);
	pthread_mutex_unlock(&mutex);
}

/* The next event of that type within secs, or NULL; others before it are passed over. */
static inline struct event *next_within(uint32_t type, int ms)
{
	struct timespec until;
	struct event *found = NULL;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&mutex);
	while (found == NULL) {
		while (event_taken < event_count && found == NULL) {
			struct event *const e = &events[event_taken++];

			found = e->type == type ? e : NULL;
		}
		if (found == NULL && pthread_cond_timedwait(&arrived, &mutex, &until) != 0)
			break;
	}
	pthread_mutex_unlock(&mutex);
	return found;
}

static inline struct event *next(uint32_t type)
{
	struct event *const e = next_within(type, WAIT_SECS * 1000);

	cr_assert_not_null(e, "no message of type %u came", type);
	return e;
}

/* Numbers from first on, one record each, keys taken in turn, padded to len bytes. */
struct load {
	uint32_t first, count, keys, len;
};

static inline void ask_load(struct cx_ctx *ctx, void *arg)
{
	const struct load *const l = arg;
	const uint32_t len = l->len < 8 ? 8 : l->len;

	for (uint32_t i = l->first; i < l->first + l->count; i++) {
		struct cx_buf *const buf = cx_buf_new(len);
		uint64_t corr;
		char key[16];

		memset(cx_buf_data(buf), 0, len);
		memcpy(cx_buf_data(buf), &i, sizeof(i));
		snprintf(key, sizeof(key), "key-%u", i % l->keys);
		cr_assert_eq(
			kafka_produce(ctx, producer, 0, wire_text(key), 0, buf, 20000, &corr),
			CX_OK);
		cx_buf_unref(buf);
	}
}

static inline void produce_all(uint32_t first, uint32_t count, uint32_t keys, uint32_t len)
{
	struct load load = { first, count, keys, len };

	run(ask_load, &load);
	for (uint32_t i = 0; i < count; i++)
		cr_assert_eq(next(KAFKA_PRODUCED)->outcome, KAFKA_OK);
}

static inline uint32_t number_of(const struct kafka_record *r)
{
	uint32_t n;

	cr_assert_geq(r->value.len, sizeof(n));
	memcpy(&n, r->value.at, sizeof(n));
	return n;
}

static inline void ask_producer_figures(struct cx_ctx *ctx, void *arg)
{
	uint64_t corr;

	(void)arg;
	cr_assert_eq(kafka_producer_figures(ctx, producer, 20000, &corr), CX_OK);
}

static inline void ask_consumer_figures(struct cx_ctx *ctx, void *arg)
{
	uint64_t corr;

	cr_assert_eq(kafka_consumer_figures(ctx, *(const struct cx_ref *)arg, 20000, &corr),
	             CX_OK);
}

/* Those of now: an answer from before, that a test's second look at events meets, is passed over. */
static inline struct kafka_consumer_figures figures_of(unsigned which)
{
	const struct event *e;
	uint32_t before;

	pthread_mutex_lock(&mutex);
	before = event_count;
	pthread_mutex_unlock(&mutex);
	run(ask_consumer_figures, &consumers[which]);
	do
		e = next(KAFKA_CONSUMER_FIGURES);
	while (e < events + before);
	return e->consumer;
}

/* Until both members have some of the partitions, and together all. */
static inline void await_share(uint32_t partitions)
{
	for (;;) {
		const uint32_t a = figures_of(0).partitions, b = figures_of(1).partitions;

		if (a > 0 && b > 0 && a + b == partitions)
			return;
		usleep(100000);
	}
}

static inline void ask_close(struct cx_ctx *ctx, void *arg)
{
	uint64_t corr;

	cr_assert_eq(kafka_consumer_close(ctx, *(const struct cx_ref *)arg, 20000, &corr),
	             CX_OK);
}

static inline void say_done(struct cx_ctx *ctx, void *arg)
{
	const struct event *const e = arg;

	cr_assert_eq(
		kafka_done(ctx, consumers[e->probe], 0, e->partition, e->epoch, e->next_offset),
		CX_OK);
}

static inline void say_seek(struct cx_ctx *ctx, void *arg)
{
	const struct event *const e = arg;

	cr_assert_eq(
		kafka_seek(ctx, consumers[e->probe], 0, e->partition, e->epoch, e->next_offset),
		CX_OK);
}

/* What the topic holds now, read by a client that is not ours: how often each number is there. */
static inline void count_written(uint8_t *times, uint32_t numbers, int partitions)
{
	rd_kafka_conf_t *const conf = rd_kafka_conf_new();
	rd_kafka_topic_partition_list_t *const list = rd_kafka_topic_partition_list_new(1);
	char why[256];
	rd_kafka_t *rk;
	int ends = 0;

	rd_kafka_conf_set(conf, "bootstrap.servers", brokers, NULL, 0);
	rd_kafka_conf_set(conf, "group.id", "count", NULL, 0);
	rd_kafka_conf_set(conf, "enable.partition.eof", "true", NULL, 0);
	rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
	cr_assert_not_null(rk, "%s", why);
	for (int i = 0; i < partitions; i++)
		rd_kafka_topic_partition_list_add(list, topic, i)->offset =
			RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(rk, list);
	while (ends < partitions) {
		rd_kafka_message_t *const m = rd_kafka_consumer_poll(rk, WAIT_SECS * 1000);
		uint32_t n;

		cr_assert_not_null(m);
		if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
			ends++;
		} else if (m->err == 0) {
			memcpy(&n, m->payload, sizeof(n));
			cr_assert_lt(n, numbers);
			times[n]++;
		}
		rd_kafka_message_destroy(m);
	}
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_consumer_close(rk);
	rd_kafka_destroy(rk);
}

#endif
