/* SPDX-License-Identifier: MIT */
/* kafka_log between a real Redis and a producer that is real or a fake, which keeps what it gets until
 * the test says what became of it.  One test file includes this once. */
#ifndef TESTS_IO_KAFKA_LOG_FIXTURE_H
#define TESTS_IO_KAFKA_LOG_FIXTURE_H

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "io/kafka_log.h"
#include "io/kafka_log_quota.h"
#include "io/kafka_log_recent.h"
#include "io/loop_uv.h"
#include "support/redis_peer.h"
#include "wire/inbox_entry.h"
#include "wire/push.h"
#include "wire/server_frame.h"

#define KL_COMMAND CONSTRUCT_MSG_END /* an id that the relay does not use */
enum { KL_WAIT_MS = 30000, KL_ITEMS = 20000, KL_FRAME = 100000, KL_INSTANCE = 0xabcd };
#define KL_PREFIX "t:"

struct kl_record { /* at the fake producer */
	struct cx_caller caller;
	char key[UUID_TEXT_LEN + 1];
	struct cx_buf *value;
};

struct kl_answer {
	uint64_t corr;
	int outcome; /* -1: CX_MSG_ERROR */
	uint64_t id;
};

struct kl_command {
	struct cx_msg hdr;
	void (*fn)(struct cx_ctx *ctx, void *arg);
	void *arg;
	bool *is_done;
};

static struct redis_server kl_server;
static struct redis_url kl_url;
static struct redis_conf kl_redis_conf;
static struct kafka_log_settings kl_settings;
static struct kafka_producer_conf *kl_producer_conf; /* NULL: the fake */
static struct cx_runtime *kl_rt;
static struct cx_ref kl_redis_ref, kl_log, kl_producer, kl_probe;
static volatile bool kl_is_written_at_once; /* the fake says KAFKA_OK itself */
static volatile bool kl_is_stuck;           /* the fake hangs in its handler */
static int64_t kl_offset;

static pthread_mutex_t kl_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t kl_arrived = PTHREAD_COND_INITIALIZER;
static struct kl_record *kl_records;
static struct kl_answer *kl_answers;
static uint32_t kl_record_count, kl_record_taken, kl_answer_count, kl_answer_taken;
static char kl_reply[256];
static bool kl_has_reply;

/* ---- actors ---- */

static inline void kl_on_command(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct kl_command *const c = CX_MSG_AS(struct kl_command, msg);

	(void)state;
	c->fn(ctx, c->arg);
	pthread_mutex_lock(&kl_mutex);
	*c->is_done = true;
	pthread_cond_broadcast(&kl_arrived);
	pthread_mutex_unlock(&kl_mutex);
}

static inline void kl_on_answer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct kl_answer a = { .corr = msg->corr, .outcome = -1 };

	(void)ctx;
	(void)state;
	if (msg->type == LOG_APPENDED) {
		a.outcome = (int)CX_MSG_AS(struct log_appended, msg)->outcome;
		a.id = CX_MSG_AS(struct log_appended, msg)->id;
	}
	pthread_mutex_lock(&kl_mutex);
	cx_assert(kl_answer_count < KL_ITEMS);
	kl_answers[kl_answer_count++] = a;
	pthread_cond_broadcast(&kl_arrived);
	pthread_mutex_unlock(&kl_mutex);
}

static inline void kl_on_reply(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct redis_value v = { .kind = REDIS_NIL };
	struct redis_walk walk;

	(void)ctx;
	(void)state;
	if (msg->buf != NULL) {
		walk = redis_walk_start(msg->buf);
		if (!redis_walk_next(&walk, &v))
			v.kind = REDIS_NIL;
	}
	pthread_mutex_lock(&kl_mutex);
	if (v.kind == REDIS_NIL)
		snprintf(kl_reply, sizeof(kl_reply), "nil");
	else if (v.kind == REDIS_INTEGER)
		snprintf(kl_reply, sizeof(kl_reply), "%lld", (long long)v.integer);
	else
		snprintf(kl_reply, sizeof(kl_reply), "%.*s", (int)v.text.len,
		         (const char *)v.text.at);
	kl_has_reply = true;
	pthread_cond_broadcast(&kl_arrived);
	pthread_mutex_unlock(&kl_mutex);
}

static inline void kl_say(struct cx_ctx *ctx, struct cx_caller caller, enum kafka_outcome what,
                          int64_t offset)
{
	struct kafka_produced *const m = CX_MSG_NEW(ctx, KAFKA_PRODUCED, struct kafka_produced);

	m->outcome = what;
	m->offset = offset;
	cx_answer(ctx, caller, &m->hdr);
}

static inline void kl_on_produce(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct kafka_produce_msg *const m = CX_MSG_AS(struct kafka_produce_msg, msg);
	struct kl_record r = { .caller = cx_caller_of(msg), .value = cx_buf_ref(msg->buf) };

	(void)state;
	cx_assert(m->key_len == UUID_TEXT_LEN);
	memcpy(r.key, m->key, m->key_len);
	pthread_mutex_lock(&kl_mutex);
	cx_assert(kl_record_count < KL_ITEMS);
	kl_records[kl_record_count++] = r;
	pthread_cond_broadcast(&kl_arrived);
	while (kl_is_stuck)
		pthread_cond_wait(&kl_arrived, &kl_mutex);
	pthread_mutex_unlock(&kl_mutex);
	if (kl_is_written_at_once)
		kl_say(ctx, r.caller, KAFKA_OK, kl_offset++);
}

static const struct cx_handler kl_probe_handlers[] = {
	CX_ON(KL_COMMAND, struct kl_command, kl_on_command),
	CX_ON(LOG_APPENDED, struct log_appended, kl_on_answer),
	CX_ON(REDIS_REPLY, struct redis_reply, kl_on_reply),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, kl_on_answer),
};
static const struct cx_actor_type kl_probe_type = {
	.name = "probe",
	.state_size = 8,
	.mailbox_cap = 100000,
	.placement = CX_PLACE_IO,
	.handlers = kl_probe_handlers,
	.handler_count = CX_COUNTOF(kl_probe_handlers),
};
static const struct cx_handler kl_fake_handlers[] = {
	CX_ON(KAFKA_PRODUCE, struct kafka_produce_msg, kl_on_produce),
};
static struct cx_actor_type kl_fake_type = {
	.name = "fake_producer",
	.state_size = 8,
	.mailbox_cap = 100000,
	.placement = CX_PLACE_IO,
	.handlers = kl_fake_handlers,
	.handler_count = CX_COUNTOF(kl_fake_handlers),
};

/* ---- start and stop ---- */

static inline void kl_prepare(void)
{
	redis_server_prepare(&kl_server);
	redis_server_run(&kl_server);
	snprintf(kl_url.host, sizeof(kl_url.host), "127.0.0.1");
	kl_url.port = kl_server.port;
	kl_redis_conf = (struct redis_conf){ .url = &kl_url,
		                             .client_name = "relay-test",
		                             .scripts = kafka_log_scripts,
		                             .script_count = KAFKA_LOG_SCRIPT_COUNT,
		                             .ping_ms = 1000,
		                             .dead_ms = 20000 };
	kl_settings = (struct kafka_log_settings){ .prefix = KL_PREFIX,
		                                   .instance = KL_INSTANCE,
		                                   .message_ttl_ms = 7 * INT64_C(86400000),
		                                   .dedup_window_ms = 8 * INT64_C(86400000),
		                                   .inbox_max_messages = 10000,
		                                   .inbox_max_bytes = 64 << 20,
		                                   .delivery_timeout_ms = 12000 };
	kl_records = calloc(KL_ITEMS, sizeof(*kl_records));
	kl_answers = calloc(KL_ITEMS, sizeof(*kl_answers));
}

/* Redis is connected when it returns: what follows does not pay for that. */
static inline void kl_start(void)
{
	const struct cx_runtime_conf conf = { .workers = 2, .loop = &loop_uv_ops };
	struct kafka_log_conf log = { .settings = &kl_settings };
	struct redis_figures f;

	cr_assert_eq(cx_runtime_new(&conf, &kl_rt), CX_OK);
	cr_assert_eq(cx_runtime_spawn(kl_rt, &redis_type, &kl_redis_conf, 0, &kl_redis_ref),
	             CX_OK);
	if (kl_producer_conf != NULL) {
		const struct kafka_producer_conf *const p = kl_producer_conf;

		kl_producer_conf->rt = kl_rt;
		cr_assert_eq(cx_runtime_spawn(kl_rt, &kafka_producer_type, &p, 0, &kl_producer),
		             CX_OK);
	} else {
		cr_assert_eq(cx_runtime_spawn(kl_rt, &kl_fake_type, NULL, 1, &kl_producer),
		             CX_OK);
	}
	log.redis = kl_redis_ref;
	log.producer = kl_producer;
	cr_assert_eq(cx_runtime_spawn(kl_rt, &kafka_log_type, &log, 0, &kl_log), CX_OK);
	cr_assert_eq(cx_runtime_spawn(kl_rt, &kl_probe_type, NULL, 0, &kl_probe), CX_OK);
	cr_assert_eq(cx_runtime_start(kl_rt), CX_OK);
	for (int i = 0; i < 1000; i++) {
		redis_figures(&f);
		if (f.connected > 0)
			return;
		usleep(10000);
	}
	cr_assert_fail("Redis is not connected");
}

static inline void kl_stop(void)
{
	if (kl_rt == NULL)
		return;
	cx_runtime_stop(kl_rt);
	for (uint32_t i = 0; i < kl_record_count; i++)
		cx_buf_unref(kl_records[i].value);
	cx_runtime_free(kl_rt);
	kl_rt = NULL;
}

static inline void kl_finish(void)
{
	kl_is_stuck = false;
	kl_stop();
	redis_server_stop(&kl_server);
	free(kl_records);
	free(kl_answers);
}

/* ---- waiting ---- */

static inline struct timespec kl_from_now(int ms)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += (long)(ms % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}

static inline uint64_t kl_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static inline void kl_run(void (*fn)(struct cx_ctx *, void *), void *arg)
{
	struct kl_command *const c = (struct kl_command *)cx_post_new(KL_COMMAND, sizeof(*c));
	const struct timespec until = kl_from_now(KL_WAIT_MS);
	bool is_done = false, is_late = false;

	c->fn = fn;
	c->arg = arg;
	c->is_done = &is_done;
	cr_assert_eq(cx_post(kl_rt, kl_probe, &c->hdr), CX_OK);
	pthread_mutex_lock(&kl_mutex);
	while (!is_done && !is_late)
		is_late = pthread_cond_timedwait(&kl_arrived, &kl_mutex, &until) != 0;
	pthread_mutex_unlock(&kl_mutex);
	cr_assert(is_done, "the probe does not run");
}

static inline bool kl_more(const uint32_t *count, uint32_t than, int ms)
{
	const struct timespec until = kl_from_now(ms);
	bool is_more;

	pthread_mutex_lock(&kl_mutex);
	while (*(volatile const uint32_t *)count <= than)
		if (pthread_cond_timedwait(&kl_arrived, &kl_mutex, &until) != 0)
			break;
	is_more = *count > than;
	pthread_mutex_unlock(&kl_mutex);
	return is_more;
}

static inline bool kl_answer_comes(int ms)
{
	return kl_more(&kl_answer_count, kl_answer_taken, ms);
}

static inline struct kl_answer kl_next_answer(void)
{
	cr_assert(kl_answer_comes(KL_WAIT_MS), "no answer comes");
	return kl_answers[kl_answer_taken++];
}

static inline bool kl_record_comes(int ms)
{
	return kl_more(&kl_record_count, kl_record_taken, ms);
}

static inline struct kl_record *kl_next_record(void)
{
	cr_assert(kl_record_comes(KL_WAIT_MS), "nothing reaches the producer");
	return &kl_records[kl_record_taken++];
}

#endif
