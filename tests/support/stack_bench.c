/* SPDX-License-Identifier: MIT */
#include "support/stack_bench.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "io/loop_uv.h"

#define COMMAND CONSTRUCT_MSG_END /* an id that the relay does not use */
#define EVENTS_MAX 8192
#define WAIT_MS 30000

struct command {
	struct cx_msg hdr;
	void (*fn)(struct cx_ctx *ctx, void *arg);
	void *arg;
	bool *is_done;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static struct stack_event *events;
static size_t event_count, event_taken;

/* ---- answers as text ---- */

static void write_answers(char *to, size_t size, const struct cx_buf *buf)
{
	struct postgres_walk walk = postgres_walk_start(buf);
	struct postgres_answer a;
	struct postgres_value v;
	size_t n = 0;

	to[0] = '\0';
	while (n + 80 < size && postgres_walk_answer(&walk, &a)) {
		n += (size_t)snprintf(to + n, size - n, "%s%" PRIu64 "/%ux%u", n > 0 ? ";" : "",
		                      a.affected, a.rows, a.columns);
		while (n + 80 < size && postgres_walk_value(&walk, &v))
			n += (size_t)snprintf(to + n, size - n, " %.*s",
			                      v.at == NULL ? 4
			                      : v.len > 60 ? 60
			                                   : (int)v.len,
			                      v.at == NULL ? "NULL" : (const char *)v.at);
	}
}

static void write_first(char *to, size_t size, const struct cx_buf *buf)
{
	struct redis_walk walk = redis_walk_start(buf);
	struct redis_value v;

	if (!redis_walk_next(&walk, &v) || v.kind == REDIS_NIL)
		snprintf(to, size, "nil");
	else if (v.kind == REDIS_INTEGER)
		snprintf(to, size, "%" PRId64, v.integer);
	else if (v.kind == REDIS_ARRAY)
		snprintf(to, size, "[%u", v.count);
	else
		snprintf(to, size, "%.*s", (int)v.text.len, (const char *)v.text.at);
}

/* ---- the probe ---- */

static void on_command(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct command *const c = CX_MSG_AS(struct command, msg);

	(void)state;
	c->fn(ctx, c->arg);
	pthread_mutex_lock(&mutex);
	*c->is_done = true;
	pthread_cond_signal(&arrived);
	pthread_mutex_unlock(&mutex);
}

static void on_event(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_event e = { .type = msg->type, .corr = msg->corr };

	(void)ctx;
	(void)state;
	if (msg->type == CX_MSG_ERROR) {
		e.err = CX_MSG_AS(struct cx_msg_error, msg)->err;
	} else if (msg->type == POSTGRES_RESULT) {
		const struct postgres_result *const m = CX_MSG_AS(struct postgres_result, msg);

		e.outcome = m->outcome;
		e.count = m->count;
		memcpy(e.sqlstate, m->sqlstate, sizeof(e.sqlstate));
		write_answers(e.text, sizeof(e.text), msg->buf);
	} else if (msg->type == REDIS_REPLY && msg->buf != NULL) {
		write_first(e.text, sizeof(e.text), msg->buf);
	} else if (msg->type == STORE_RESULT) {
		e.store = *CX_MSG_AS(struct store_result, msg);
		e.store.hdr.buf = cx_buf_ref(msg->buf);
	}
	pthread_mutex_lock(&mutex);
	cx_assert(event_count < EVENTS_MAX);
	events[event_count++] = e;
	pthread_cond_signal(&arrived);
	pthread_mutex_unlock(&mutex);
}

static const struct cx_handler handlers[] = {
	CX_ON(COMMAND, struct command, on_command),
	CX_ON(POSTGRES_RESULT, struct postgres_result, on_event),
	CX_ON(REDIS_REPLY, struct redis_reply, on_event),
	CX_ON(STORE_RESULT, struct store_result, on_event),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_event),
};

static const struct cx_actor_type probe_type = {
	.name = "probe",
	.state_size = 8,
	.mailbox_cap = 100000,
	.placement = CX_PLACE_IO,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

/* ---- start and stop ---- */

void stack_bench_prepare(struct stack_bench *b, bool has_store)
{
	memset(b, 0, sizeof(*b));
	b->has_store = has_store;
	if (has_store)
		postgres_need_program("redis-server", "Redis");
	postgres_server_prepare(&b->pg);
	postgres_server_run(&b->pg);
	postgres_server_migrate(&b->pg);
	b->pg_conf = (struct postgres_conf){
		.url = b->pg.url,
		.application_name = "relay-test",
		.statements = stack_store_statements,
		.statement_count = STACK_STORE_STATEMENT_COUNT,
		.connections = 2,
		.connect_ms = 10000,
		.ping_ms = 50,
		.dead_ms = 20000, /* a busy machine is no fault; tests of faults say less */
	};
	if (!has_store)
		return;
	redis_server_prepare(&b->redis);
	redis_server_run(&b->redis);
	snprintf(b->redis_url.host, sizeof(b->redis_url.host), "127.0.0.1");
	b->redis_url.port = b->redis.port;
	b->redis_conf = (struct redis_conf){ .url = &b->redis_url,
		                             .client_name = "relay-test",
		                             .scripts = stack_store_scripts,
		                             .script_count = STACK_STORE_SCRIPT_COUNT,
		                             .ping_ms = 50,
		                             .dead_ms = 20000 };
	b->store_conf.timeout_ms = 20000;
}

void stack_bench_start(struct stack_bench *b)
{
	const struct cx_runtime_conf conf = { .workers = 2, .loop = &loop_uv_ops };

	events = calloc(EVENTS_MAX, sizeof(*events));
	event_count = event_taken = 0;
	cr_assert_eq(cx_runtime_new(&conf, &b->rt), CX_OK);
	cr_assert_eq(cx_runtime_spawn(b->rt, &postgres_type, &b->pg_conf, 0, &b->pg_ref),
	             CX_OK);
	if (b->has_store) {
		cr_assert_eq(
			cx_runtime_spawn(b->rt, &redis_type, &b->redis_conf, 0, &b->redis_ref),
			CX_OK);
		b->store_conf.postgres = b->pg_ref;
		b->store_conf.redis = b->redis_ref;
		cr_assert_eq(cx_runtime_spawn(b->rt, &stack_store_type, &b->store_conf, 0,
		                              &b->store_ref),
		             CX_OK);
	}
	cr_assert_eq(cx_runtime_spawn(b->rt, &probe_type, NULL, 1, &b->probe), CX_OK);
	cr_assert_eq(cx_runtime_start(b->rt), CX_OK);
}

void stack_bench_stop(struct stack_bench *b)
{
	if (b->rt == NULL)
		return;
	cx_runtime_stop(b->rt);
	for (size_t i = 0; i < event_count; i++)
		cx_buf_unref(events[i].store.hdr.buf);
	cx_runtime_free(b->rt);
	b->rt = NULL;
	free(events);
	events = NULL;
}

void stack_bench_end(struct stack_bench *b)
{
	stack_bench_stop(b);
	if (b->has_store)
		redis_server_stop(&b->redis);
	postgres_server_stop(&b->pg);
}

/* ---- asking ---- */

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

void stack_bench_run(struct stack_bench *b, void (*fn)(struct cx_ctx *ctx, void *arg),
                     void *arg)
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

static bool wait_event(unsigned ms, struct stack_event *out)
{
	const struct timespec until = from_now(ms);
	bool is_there;

	pthread_mutex_lock(&mutex);
	while (event_taken == event_count)
		if (pthread_cond_timedwait(&arrived, &mutex, &until) != 0)
			break;
	is_there = event_taken < event_count;
	if (is_there && out != NULL)
		*out = events[event_taken++];
	pthread_mutex_unlock(&mutex);
	return is_there;
}

struct stack_event stack_bench_next(void)
{
	struct stack_event e = { 0 };

	cr_assert(wait_event(WAIT_MS, &e), "nothing came");
	return e;
}

bool stack_bench_comes(unsigned ms)
{
	return wait_event(ms, NULL);
}

struct sql_ask {
	struct cx_ref pg;
	unsigned statement;
	const char *param;
	uint32_t timeout_ms;
	enum cx_err err;
};

static void ask_sql(struct cx_ctx *ctx, void *arg)
{
	struct sql_ask *const a = arg;
	const struct postgres_param param = { a->param,
		                              a->param != NULL ? strlen(a->param) : 0 };
	uint64_t corr;

	a->err = postgres_ask(ctx, a->pg, a->statement, &param, a->param != NULL, a->timeout_ms,
	                      &corr);
}

enum cx_err stack_bench_try_sql(struct stack_bench *b, unsigned statement, const char *param,
                                uint32_t timeout_ms)
{
	struct sql_ask a = { b->pg_ref, statement, param, timeout_ms, CX_OK };

	stack_bench_run(b, ask_sql, &a);
	return a.err;
}

void stack_bench_sql(struct stack_bench *b, unsigned statement, const char *param,
                     uint32_t timeout_ms)
{
	cr_assert_eq(stack_bench_try_sql(b, statement, param, timeout_ms), CX_OK);
}

struct redis_ask {
	struct cx_ref redis;
	const char *words;
	enum cx_err err;
};

static void ask_redis(struct cx_ctx *ctx, void *arg)
{
	struct redis_ask *const a = arg;
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

const char *stack_bench_redis(struct stack_bench *b, const char *words)
{
	static struct stack_event e;
	struct redis_ask a = { b->redis_ref, words, CX_OK };

	stack_bench_run(b, ask_redis, &a);
	cr_assert_eq(a.err, CX_OK);
	e = stack_bench_next();
	cr_assert_eq(e.type, (uint32_t)REDIS_REPLY, "%s", words);
	return e.text;
}

struct store_ask_arg {
	struct store store;
	struct store_op op;
	struct cx_buf *blob;
	enum cx_err err;
};

static void ask_store(struct cx_ctx *ctx, void *arg)
{
	struct store_ask_arg *const a = arg;
	struct store_op *const op = store_op_new(ctx, a->op.what);
	const struct cx_msg hdr = op->hdr;
	uint64_t corr;

	*op = a->op;
	op->hdr = hdr;
	op->hdr.buf = cx_buf_ref(a->blob);
	a->err = store_ask(ctx, &a->store, op, WAIT_MS, &corr);
}

struct store_result stack_bench_store(struct stack_bench *b, struct store_op op,
                                      struct cx_buf *blob)
{
	struct store_ask_arg a = { { b->store_ref, b->store_ref, NULL }, op, blob, CX_OK };
	struct stack_event e;

	stack_bench_run(b, ask_store, &a);
	cr_assert_eq(a.err, CX_OK);
	e = stack_bench_next();
	cr_assert_eq(e.type, (uint32_t)STORE_RESULT);
	cr_assert_eq(e.store.what, op.what);
	return e.store;
}

/* ---- figures ---- */

bool stack_bench_wait(bool (*is_so)(const struct postgres_figures *f, uint64_t n), uint64_t n)
{
	struct postgres_figures f;

	for (int i = 0; i < 2000; i++) {
		postgres_figures(&f);
		if (is_so(&f, n))
			return true;
		usleep(10000);
	}
	return false;
}

bool postgres_is_connected(const struct postgres_figures *f, uint64_t n)
{
	return f->connected == n;
}

bool postgres_has_connected(const struct postgres_figures *f, uint64_t n)
{
	return f->connects >= n;
}

bool postgres_has_failed(const struct postgres_figures *f, uint64_t n)
{
	return f->failures >= n;
}

bool postgres_is_in_flight(const struct postgres_figures *f, uint64_t n)
{
	return f->in_flight == n;
}
