/* SPDX-License-Identifier: MIT */
/* The half of redis_peer.h that is the process under test. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "io/loop_uv.h"
#include "support/redis_peer.h"

#define COMMAND CONSTRUCT_MSG_END /* an id that the relay does not use */
#define EVENTS_MAX 65536
#define WAIT_MS 20000

struct command {
	struct cx_msg hdr;
	void (*fn)(struct cx_ctx *ctx, void *arg);
	void *arg;
	bool *is_done;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static struct redis_event *events;
static size_t event_count, event_taken;

/* ---- values as text: +status -error "string" :integer nil [2 ---- */

static void write_text(char *to, size_t size, const struct cx_buf *buf)
{
	struct redis_walk walk = redis_walk_start(buf);
	struct redis_value v;
	size_t n = 0;

	to[0] = '\0';
	while (n + 40 < size && redis_walk_next(&walk, &v)) {
		char *at = to + n;
		const size_t left = size - n;
		const char *gap = n > 0 ? " " : "";
		const int len = v.text.len < left ? (int)v.text.len : (int)left;

		if (v.kind == REDIS_NIL)
			snprintf(at, left, "%snil", gap);
		else if (v.kind == REDIS_INTEGER)
			snprintf(at, left, "%s:%" PRId64, gap, v.integer);
		else if (v.kind == REDIS_ARRAY)
			snprintf(at, left, "%s[%u", gap, v.count);
		else if (v.kind == REDIS_STRING)
			snprintf(at, left, "%s\"%.*s\"", gap, len, (const char *)v.text.at);
		else
			snprintf(at, left, "%s%c%.*s", gap, v.kind == REDIS_ERROR ? '-' : '+',
			         len, (const char *)v.text.at);
		n += strlen(at);
	}
}

/* ---- actors ---- */

static void on_command(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct command *c = CX_MSG_AS(struct command, msg);

	(void)state;
	c->fn(ctx, c->arg);
	pthread_mutex_lock(&mutex);
	*c->is_done = true;
	pthread_cond_signal(&arrived);
	pthread_mutex_unlock(&mutex);
}

static void on_event(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct redis_event e = { .type = msg->type, .corr = msg->corr };

	(void)ctx;
	e.probe = *(const unsigned *)state;
	if (msg->type == CX_MSG_ERROR) {
		e.err = CX_MSG_AS(struct cx_msg_error, msg)->err;
	} else if (msg->type == REDIS_REPLY) {
		e.outcome = CX_MSG_AS(struct redis_reply, msg)->outcome;
		e.count = CX_MSG_AS(struct redis_reply, msg)->count;
		if (msg->buf != NULL)
			write_text(e.text, sizeof(e.text), msg->buf);
	} else if (msg->type == REDIS_PUSH) {
		e.channel = CX_MSG_AS(struct redis_push, msg)->channel;
		snprintf(e.text, sizeof(e.text), "%.*s", (int)cx_buf_len(msg->buf),
		         (const char *)cx_buf_bytes(msg->buf));
	}
	pthread_mutex_lock(&mutex);
	if (event_count < EVENTS_MAX)
		events[event_count++] = e;
	pthread_cond_signal(&arrived);
	pthread_mutex_unlock(&mutex);
}

static enum cx_err start_probe(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	*(unsigned *)state = *(const unsigned *)conf;
	return CX_OK;
}

static const struct cx_handler handlers[] = {
	CX_ON(COMMAND, struct command, on_command),
	CX_ON(REDIS_REPLY, struct redis_reply, on_event),
	CX_ON(REDIS_CHANGED, struct redis_changed, on_event),
	CX_ON(REDIS_PUSH, struct redis_push, on_event),
	CX_ON(REDIS_SUBSCRIBED, struct redis_subscribed, on_event),
	CX_ON(REDIS_UNSUBSCRIBED, struct cx_msg, on_event),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_event),
};

static struct cx_actor_type probe_type = {
	.name = "probe",
	.state_size = sizeof(unsigned),
	.conf_size = sizeof(unsigned),
	.mailbox_cap = 100000,
	.placement = CX_PLACE_IO,
	.start = start_probe,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
static struct cx_actor_type subscriber_type;

/* ---- start and stop ---- */

void redis_bench_defaults(struct redis_bench *b, uint16_t port)
{
	memset(b, 0, sizeof(*b));
	snprintf(b->url.host, sizeof(b->url.host), "127.0.0.1");
	b->url.port = port;
	b->conf.ping_ms = 50;
	b->conf.dead_ms = 10000; /* a busy machine is no fault; tests of faults say less */
	b->conf.connect_ms = 5000;
	b->sub = (struct redis_sub_conf){ .ping_ms = 50, .dead_ms = 10000 };
}

void redis_bench_start(struct redis_bench *b)
{
	const struct cx_runtime_conf conf = { .workers = 2, .loop = &loop_uv_ops };
	const unsigned subscriber = REDIS_PROBES;

	events = calloc(EVENTS_MAX, sizeof(*events));
	event_count = event_taken = 0;
	b->conf.url = b->sub.url = &b->url;
	b->conf.client_name = b->sub.client_name = "relay-test";
	subscriber_type = probe_type;
	subscriber_type.name = "subscriber";
	if (b->subscriber_cap > 0)
		subscriber_type.mailbox_cap = b->subscriber_cap;
	cr_assert_eq(cx_runtime_new(&conf, &b->rt), CX_OK);
	for (unsigned i = 0; i < REDIS_PROBES; i++)
		cr_assert_eq(cx_runtime_spawn(b->rt, &probe_type, &i, i % 2, &b->probes[i]),
		             CX_OK);
	cr_assert_eq(cx_runtime_spawn(b->rt, &subscriber_type, &subscriber, 0, &b->subscriber),
	             CX_OK);
	b->conf.owner = b->probes[0];
	b->sub.subscriber = b->subscriber;
	cr_assert_eq(cx_runtime_spawn(b->rt, &redis_type, &b->conf, 0, &b->adapter), CX_OK);
	if (b->sub.channel_count > 0)
		cr_assert_eq(
			cx_runtime_spawn(b->rt, &redis_sub_type, &b->sub, 0, &b->sub_adapter),
			CX_OK);
	cr_assert_eq(cx_runtime_start(b->rt), CX_OK);
}

void redis_bench_stop(struct redis_bench *b)
{
	cx_runtime_stop(b->rt);
	cx_runtime_free(b->rt);
	free(events);
	events = NULL;
}

/* ---- asking ---- */

static void deadline_in(struct timespec *t, unsigned ms)
{
	clock_gettime(CLOCK_REALTIME, t);
	t->tv_sec += ms / 1000;
	t->tv_nsec += (long)(ms % 1000) * 1000000;
	if (t->tv_nsec >= 1000000000) {
		t->tv_sec++;
		t->tv_nsec -= 1000000000;
	}
}

void redis_bench_run(struct redis_bench *b, unsigned probe,
                     void (*fn)(struct cx_ctx *ctx, void *arg), void *arg)
{
	struct command *c = (struct command *)(void *)cx_post_new(COMMAND, sizeof(*c));
	struct timespec deadline;
	bool is_done = false;
	int rc = 0;

	c->fn = fn;
	c->arg = arg;
	c->is_done = &is_done;
	cr_assert_eq(cx_post(b->rt, b->probes[probe], &c->hdr), CX_OK);
	deadline_in(&deadline, WAIT_MS);
	pthread_mutex_lock(&mutex);
	while (!is_done && rc == 0)
		rc = pthread_cond_timedwait(&arrived, &mutex, &deadline);
	pthread_mutex_unlock(&mutex);
	cr_assert(is_done, "the probe does not run");
}

bool redis_bench_comes(unsigned ms)
{
	struct timespec deadline;
	bool has_come;
	int rc = 0;

	deadline_in(&deadline, ms);
	pthread_mutex_lock(&mutex);
	while (event_taken == event_count && rc == 0)
		rc = pthread_cond_timedwait(&arrived, &mutex, &deadline);
	has_come = event_taken < event_count;
	pthread_mutex_unlock(&mutex);
	return has_come;
}

struct redis_event redis_bench_next(void)
{
	struct redis_event e;

	cr_assert(redis_bench_comes(WAIT_MS), "nothing comes");
	pthread_mutex_lock(&mutex);
	e = events[event_taken++];
	pthread_mutex_unlock(&mutex);
	return e;
}

struct ask {
	struct cx_ref adapter;
	const char *words;
	uint32_t timeout_ms;
	uint64_t corr;
	enum cx_err err;
};

static void ask_words(struct cx_ctx *ctx, void *arg)
{
	struct ask *a = arg;
	struct redis_arg argv[16];
	const char *at = a->words;
	unsigned n = 0;

	while (*at != '\0') {
		const size_t len = strcspn(at, " ");

		argv[n++] = (struct redis_arg){ at, len };
		at += len + (at[len] == ' ');
	}
	a->err = redis_call(ctx, a->adapter, argv, n, a->timeout_ms, &a->corr);
}

uint64_t redis_bench_ask(struct redis_bench *b, unsigned probe, uint32_t timeout_ms,
                         const char *words)
{
	struct ask a = { .adapter = b->adapter, .words = words, .timeout_ms = timeout_ms };

	redis_bench_run(b, probe, ask_words, &a);
	cr_assert_eq(a.err, CX_OK);
	return a.corr;
}

enum cx_err redis_bench_try(struct redis_bench *b, unsigned probe, uint32_t timeout_ms,
                            const char *words)
{
	struct ask a = { .adapter = b->adapter, .words = words, .timeout_ms = timeout_ms };

	redis_bench_run(b, probe, ask_words, &a);
	return a.err;
}

const char *redis_bench_call(struct redis_bench *b, const char *words)
{
	static struct redis_event e;
	const uint64_t corr = redis_bench_ask(b, 1, 10000, words);

	e = redis_bench_next();
	cr_assert_eq(e.type, (uint32_t)REDIS_REPLY, "%s: %s", words, cx_err_name(e.err));
	cr_assert_eq(e.corr, corr);
	cr_assert_eq(e.outcome, REDIS_ANSWERED, "%s: lost", words);
	return e.text;
}

bool redis_bench_wait(bool (*is_so)(const struct redis_figures *f, uint64_t n), uint64_t n)
{
	struct redis_figures f;
	struct timespec now, end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += 20;
	do {
		redis_figures(&f);
		if (is_so(&f, n))
			return true;
		usleep(5000);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec < end.tv_sec);
	return false;
}

bool redis_is_connected(const struct redis_figures *f, uint64_t n)
{
	return f->connected == n;
}

bool redis_has_connected(const struct redis_figures *f, uint64_t n)
{
	return f->connects >= n;
}

bool redis_has_failed(const struct redis_figures *f, uint64_t n)
{
	return f->failures >= n;
}

int redis_log_to_file(void)
{
	char path[] = "/tmp/redis_log_XXXXXX";
	const int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	unlink(path);
	cr_assert_geq(dup2(fd, STDERR_FILENO), 0);
	return fd;
}

char *redis_log_read(int fd)
{
	char *text = calloc(1, 65536);

	cr_assert_geq(pread(fd, text, 65535, 0), 0);
	return text;
}
