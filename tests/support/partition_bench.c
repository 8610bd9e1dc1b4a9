/* SPDX-License-Identifier: MIT */
#include "support/partition_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "io/loop_uv.h"
#include "io/stack_rebuild.h"
#include "wire/push.h"

#define COMMAND CONSTRUCT_MSG_END /* an id that the relay does not use */
#define EVENTS_MAX 200000
#define WAIT_MS 20000

struct command {
	struct cx_msg hdr;
	void (*fn)(struct cx_ctx *ctx, void *arg);
	void *arg;
	bool *is_done;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static struct partition_event *events;
static bool *taken;
static size_t event_count;
static struct partition_bench *bench;

/* ---- the probe ---- */

static void keep(const struct partition_event *e)
{
	pthread_mutex_lock(&mutex);
	cx_assert(event_count < EVENTS_MAX);
	events[event_count++] = *e;
	pthread_cond_broadcast(&arrived);
	pthread_mutex_unlock(&mutex);
}

static void on_command(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct command *const c = CX_MSG_AS(struct command, msg);

	(void)state;
	c->fn(ctx, c->arg);
	pthread_mutex_lock(&mutex);
	*c->is_done = true;
	pthread_cond_broadcast(&arrived);
	pthread_mutex_unlock(&mutex);
}

static void on_place(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct kafka_place *const m = CX_MSG_AS(struct kafka_place, msg);
	const struct partition_event e = { .type = msg->type,
		                           .partition = m->partition,
		                           .epoch = m->epoch,
		                           .next_offset = m->next_offset };

	(void)ctx;
	(void)state;
	keep(&e);
}

static void on_produce(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct partition_event e = {
		.type = msg->type,
		.buf = cx_buf_ref(msg->buf),
		.headers_len = CX_MSG_AS(struct kafka_produce_msg, msg)->headers_len
	};
	struct kafka_produced *m;

	(void)state;
	if (!bench->hold_letters) {
		m = CX_MSG_NEW(ctx, KAFKA_PRODUCED, struct kafka_produced);
		m->outcome = bench->refuse_letters > 0 ? KAFKA_NOT_WRITTEN : KAFKA_OK;
		bench->refuse_letters -= bench->refuse_letters > 0;
		cx_reply(ctx, msg, &m->hdr);
	}
	keep(&e);
}

static void on_buf(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct partition_event e = { .type = msg->type, .buf = cx_buf_ref(msg->buf) };
	struct redis_walk walk;
	struct redis_value v;

	(void)ctx;
	(void)state;
	if (msg->type == REDIS_REPLY && msg->buf != NULL) {
		walk = redis_walk_start(msg->buf);
		if (!redis_walk_next(&walk, &v) || v.kind == REDIS_NIL)
			snprintf(e.text, sizeof(e.text), "nil");
		else if (v.kind == REDIS_INTEGER || v.kind == REDIS_ARRAY)
			snprintf(e.text, sizeof(e.text), "%lld",
			         v.kind == REDIS_ARRAY ? (long long)v.count
			                               : (long long)v.integer);
		else
			snprintf(e.text, sizeof(e.text), "%s%.*s",
			         v.kind == REDIS_ERROR ? "-" : "", (int)v.text.len,
			         (const char *)v.text.at);
	}
	keep(&e);
}

static void on_rebuild(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct partition_event e = {
		.type = msg->type,
		.next_offset = CX_MSG_AS(struct stack_rebuild_msg, msg)->since_ms
	};

	(void)ctx;
	(void)state;
	keep(&e);
}

static void on_changed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct redis_changed *const m = CX_MSG_NEW(ctx, REDIS_CHANGED, struct redis_changed);

	(void)state;
	memcpy(m->run_id, CX_MSG_AS(struct redis_changed, msg)->run_id, sizeof(m->run_id));
	cr_assert_eq(cx_send_reserved(ctx, bench->owner, &m->hdr), CX_OK);
}

static const struct cx_handler handlers[] = {
	CX_ON(COMMAND, struct command, on_command),
	CX_ON(KAFKA_DONE, struct kafka_place, on_place),
	CX_ON(KAFKA_REVOKED_DONE, struct kafka_place, on_place),
	CX_ON(KAFKA_SEEK, struct kafka_place, on_place),
	CX_ON(KAFKA_PRODUCE, struct kafka_produce_msg, on_produce),
	CX_ON(REDIS_PUSH, struct redis_push, on_buf),
	CX_ON(REDIS_SUBSCRIBED, struct redis_subscribed, on_buf),
	CX_ON(REDIS_REPLY, struct redis_reply, on_buf),
	CX_ON(STACK_REBUILD, struct stack_rebuild_msg, on_rebuild),
	CX_ON(REDIS_CHANGED, struct redis_changed, on_changed),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_buf),
};

static const struct cx_actor_type probe_type = {
	.name = "probe",
	.state_size = 8,
	.mailbox_cap = 100000,
	.placement = CX_PLACE_IO,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

/* ---- start and end ---- */

void partition_bench_prepare(struct partition_bench *b)
{
	static const char *channels[1];
	static char channel[PUSH_CHANNEL_MAX];

	memset(b, 0, sizeof(*b));
	bench = b;
	redis_server_prepare(&b->server);
	redis_server_run(&b->server);
	snprintf(b->url.host, sizeof(b->url.host), "127.0.0.1");
	b->url.port = b->server.port;
	push_channel_instance(channel, sizeof(channel), PARTITION_CHANNELS, PARTITION_INSTANCE);
	channels[0] = channel;
	b->redis_conf = (struct redis_conf){ .url = &b->url,
		                             .client_name = "relay-test",
		                             .scripts = stack_partition_scripts,
		                             .script_count = STACK_PARTITION_SCRIPT_COUNT,
		                             .ping_ms = 50,
		                             .dead_ms = 10000 };
	b->ask_conf = b->redis_conf;
	b->ask_conf.script_count = 0;
	b->sub_conf = (struct redis_sub_conf){ .url = &b->url,
		                               .client_name = "relay-test",
		                               .channels = channels,
		                               .channel_count = 1,
		                               .ping_ms = 50,
		                               .dead_ms = 10000 };
	b->settings = (struct stack_settings){ .prefix = PARTITION_PREFIX,
		                               .channel_prefix = PARTITION_CHANNELS,
		                               .message_ttl_ms = PARTITION_TTL_MS,
		                               .dedup_window_ms = PARTITION_WINDOW_MS,
		                               .registry_ttl_ms = 270000,
		                               .inbox_max_messages = 10000,
		                               .dead_letter_topic = 3,
		                               .message_topic = "messages",
		                               .ack_topic = "messages-delivery-ack" };
}

void partition_bench_start(struct partition_bench *b)
{
	const struct cx_runtime_conf conf = { .workers = 2, .loop = &loop_uv_ops };
	struct stack_partition_conf owner = { .settings = &b->settings };

	events = calloc(EVENTS_MAX, sizeof(*events));
	taken = calloc(EVENTS_MAX, sizeof(*taken));
	event_count = 0;
	cr_assert_eq(cx_runtime_new(&conf, &b->rt), CX_OK);
	cr_assert_eq(cx_runtime_spawn(b->rt, &probe_type, NULL, 1, &b->probe), CX_OK);
	b->redis_conf.owner = b->sub_conf.subscriber = b->probe;
	cr_assert_eq(cx_runtime_spawn(b->rt, &redis_type, &b->redis_conf, 0, &b->redis), CX_OK);
	cr_assert_eq(cx_runtime_spawn(b->rt, &redis_type, &b->ask_conf, 1, &b->ask), CX_OK);
	cr_assert_eq(cx_runtime_spawn(b->rt, &redis_sub_type, &b->sub_conf, 1, &b->sub), CX_OK);
	owner.redis = b->redis;
	owner.consumer = owner.producer = b->probe;
	owner.rebuild = b->settings.acked != NULL ? b->probe : CX_NOBODY;
	cr_assert_eq(cx_runtime_spawn(b->rt, &stack_partition_type, &owner, 0, &b->owner),
	             CX_OK);
	cr_assert_eq(cx_runtime_start(b->rt), CX_OK);
	partition_bench_next(REDIS_SUBSCRIBED);
	partition_bench_subscribed(b);
}

void partition_bench_end(struct partition_bench *b)
{
	if (b->rt != NULL) {
		cx_runtime_stop(b->rt);
		for (size_t i = 0; i < event_count; i++)
			cx_buf_unref(events[i].buf);
		cx_runtime_free(b->rt);
		free(events);
		free(taken);
	}
	redis_server_stop(&b->server);
}

/* ---- what came ---- */

static struct timespec from_now(unsigned ms)
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

bool partition_bench_comes(uint32_t type, unsigned ms, struct partition_event *out)
{
	const struct timespec until = from_now(ms);
	bool is_there = false, is_late = false;

	pthread_mutex_lock(&mutex);
	for (size_t i = 0; !is_there && !is_late;) {
		if (i == event_count) {
			is_late = pthread_cond_timedwait(&arrived, &mutex, &until) != 0;
			continue;
		}
		is_there = events[i].type == type && !taken[i];
		if (is_there) {
			taken[i] = true;
			*out = events[i];
		}
		i++;
	}
	pthread_mutex_unlock(&mutex);
	return is_there;
}

struct partition_event partition_bench_next(uint32_t type)
{
	struct partition_event e = { 0 };

	cr_assert(partition_bench_comes(type, WAIT_MS, &e), "no message %u", type);
	return e;
}

unsigned partition_bench_waiting(uint32_t type)
{
	unsigned n = 0;

	pthread_mutex_lock(&mutex);
	for (size_t i = 0; i < event_count; i++)
		n += events[i].type == type && !taken[i];
	pthread_mutex_unlock(&mutex);
	return n;
}

/* ---- what is sent ---- */

static void run(struct partition_bench *b, void (*fn)(struct cx_ctx *, void *), void *arg)
{
	struct command *const c = (struct command *)cx_post_new(COMMAND, sizeof(*c));
	const struct timespec until = from_now(WAIT_MS);
	bool is_done = false, is_late = false;

	c->fn = fn;
	c->arg = arg;
	c->is_done = &is_done;
	cr_assert_eq(cx_post(b->rt, b->probe, &c->hdr), CX_OK);
	pthread_mutex_lock(&mutex);
	while (!is_done && !is_late)
		is_late = pthread_cond_timedwait(&arrived, &mutex, &until) != 0;
	pthread_mutex_unlock(&mutex);
	cr_assert(is_done, "the probe does not run");
}

static void post(struct partition_bench *b, struct cx_msg *m)
{
	cr_assert_eq(cx_post(b->rt, b->owner, m), CX_OK);
}

void partition_bench_assign(struct partition_bench *b, int32_t p, uint32_t epoch, int64_t next)
{
	struct kafka_assigned *const m =
		(struct kafka_assigned *)cx_post_new(KAFKA_ASSIGNED, sizeof(*m));

	m->partition = p;
	m->epoch = epoch;
	m->next_offset = next;
	post(b, &m->hdr);
}

void partition_bench_revoke(struct partition_bench *b, int32_t p, uint32_t epoch)
{
	struct kafka_revoked *const m =
		(struct kafka_revoked *)cx_post_new(KAFKA_REVOKED, sizeof(*m));

	m->partition = p;
	m->epoch = epoch;
	post(b, &m->hdr);
}

void partition_bench_records(struct partition_bench *b, int32_t p, uint32_t epoch,
                             struct cx_buf *buf, uint32_t count, int64_t first, int64_t next)
{
	struct kafka_records *const m =
		(struct kafka_records *)cx_post_new(KAFKA_RECORDS, sizeof(*m));

	m->hdr.buf = buf;
	m->partition = p;
	m->epoch = epoch;
	m->count = count;
	m->first_offset = first;
	m->next_offset = next;
	post(b, &m->hdr);
}

void partition_bench_route(struct partition_bench *b, const struct uuid *user,
                           uint64_t instance, bool is_joined)
{
	const struct push_route route = { *user, instance, is_joined };
	struct redis_push *const m = (struct redis_push *)cx_post_new(REDIS_PUSH, sizeof(*m));

	m->hdr.buf = cx_buf_new(PUSH_ROUTE_LEN(1));
	push_write_route(cx_buf_data(m->hdr.buf), &route, 1);
	post(b, &m->hdr);
}

void partition_bench_subscribed(struct partition_bench *b)
{
	post(b, cx_post_new(REDIS_SUBSCRIBED, sizeof(struct redis_subscribed)));
}

void partition_bench_unsubscribed(struct partition_bench *b)
{
	post(b, cx_post_new(REDIS_UNSUBSCRIBED, sizeof(struct cx_msg)));
}

void partition_bench_rebuilt(struct partition_bench *b)
{
	post(b, cx_post_new(STACK_REBUILT, sizeof(struct stack_rebuilt)));
}

struct ask {
	struct cx_ref redis;
	const char *words;
	enum cx_err err;
};

static void ask_redis(struct cx_ctx *ctx, void *arg)
{
	struct ask *const a = arg;
	struct redis_arg argv[16];
	unsigned n = 0;
	uint64_t corr;

	for (const char *at = a->words; *at != '\0' && n < 16;) {
		const size_t len = strcspn(at, " ");

		argv[n++] = (struct redis_arg){ at, len };
		at += len + strspn(at + len, " ");
	}
	a->err = redis_call(ctx, a->redis, argv, n, WAIT_MS, &corr);
}

const char *partition_bench_redis(struct partition_bench *b, const char *words)
{
	static struct partition_event e;
	struct ask a = { b->ask, words, CX_OK };

	run(b, ask_redis, &a);
	cr_assert_eq(a.err, CX_OK);
	e = partition_bench_next(REDIS_REPLY);
	return e.text;
}
