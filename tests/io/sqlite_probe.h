/* SPDX-License-Identifier: MIT */
/* Writer and reader as actors on the real runtime, and a probe that asks and keeps the answers. */
#ifndef TESTS_IO_SQLITE_PROBE_H
#define TESTS_IO_SQLITE_PROBE_H

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include <cx/runtime.h>

#include "io/sqlite.h"
#include "io/sqlite_shared.h"
#include "sqlite_fixture.h"

#define COMMAND CONSTRUCT_MSG_END /* an id that the relay does not use */
enum { EVENTS_MAX = 40000, WAIT_SECS = 20 };

/* What came back to the probe. */
struct event {
	uint32_t type;
	int outcome;
	uint64_t id;
	uint32_t count;
	uint64_t corr;
	struct cx_buf *buf;
	struct store_result result;
};

struct command {
	struct cx_msg hdr;
	void (*fn)(struct cx_ctx *ctx, void *arg);
	void *arg;
};

static struct fixture f;
static struct cx_runtime *rt;
static struct cx_ref probe, writer, reader;
static struct store store;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static struct event *events;
static uint32_t event_count, event_taken;
static uint64_t commands_run; /* so that `run` can wait for its own */

/* ---- the probe: runs what the test gives it, keeps what comes ---- */

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
	struct event e = { .type = msg->type, .corr = msg->corr, .buf = cx_buf_ref(msg->buf) };

	(void)ctx;
	(void)state;
	if (msg->type == LOG_APPENDED) {
		e.outcome = (int)CX_MSG_AS(struct log_appended, msg)->outcome;
		e.id = CX_MSG_AS(struct log_appended, msg)->id;
	} else if (msg->type == LOG_SETTLED) {
		e.outcome = (int)CX_MSG_AS(struct log_settled, msg)->outcome;
	} else if (msg->type == STORE_RESULT) {
		e.result = *CX_MSG_AS(struct store_result, msg);
		e.outcome = (int)e.result.outcome;
	} else if (msg->type == LOG_SPILLED) {
		e.count = CX_MSG_AS(struct log_spilled, msg)->count;
	} else if (msg->type == LOG_INDEXED) {
		e.outcome = (int)CX_MSG_AS(struct log_indexed, msg)->outcome;
		e.count = CX_MSG_AS(struct log_indexed, msg)->count;
	} else if (msg->type == LOG_FETCHED) {
		e.outcome = (int)CX_MSG_AS(struct log_fetched, msg)->outcome;
		e.count = CX_MSG_AS(struct log_fetched, msg)->count;
	}
	pthread_mutex_lock(&mutex);
	if (event_count < EVENTS_MAX)
		events[event_count++] = e;
	pthread_cond_broadcast(&arrived);
	pthread_mutex_unlock(&mutex);
}

static const struct cx_handler probe_handlers[] = {
	CX_ON(COMMAND, struct command, on_command),
	CX_ON(LOG_APPENDED, struct log_appended, on_event),
	CX_ON(LOG_SETTLED, struct log_settled, on_event),
	CX_ON(LOG_RECORDS, struct log_records, on_event),
	CX_ON(LOG_SPILLED, struct log_spilled, on_event),
	CX_ON(LOG_ENDED, struct log_ended, on_event),
	CX_ON(LOG_INDEXED, struct log_indexed, on_event),
	CX_ON(LOG_FETCHED, struct log_fetched, on_event),
	CX_ON(STORE_RESULT, struct store_result, on_event),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_event),
};

static const struct cx_actor_type probe_type = {
	.name = "probe",
	.state_size = 8,
	.mailbox_cap = 100000,
	.handlers = probe_handlers,
	.handler_count = CX_COUNTOF(probe_handlers),
};

/* ---- start and stop ---- */

static inline void start(void)
{
	const struct cx_runtime_conf conf = { .workers = 1 };
	const struct sqlite_settings *const settings = &f.settings;
	const char *error = "";

	cr_assert_eq(sqlite_setup(settings, &error), CX_OK, "%s", error);
	cr_assert_eq(cx_runtime_new(&conf, &rt), CX_OK);
	cr_assert_eq(cx_runtime_spawn(rt, &probe_type, NULL, 1, &probe), CX_OK);
	f.settings.partitions = f.settings.inboxes = &probe;
	f.settings.partition_count = 1;
	cr_assert_eq(cx_runtime_spawn(rt, &sqlite_writer_type, &settings, 0, &writer), CX_OK);
	cr_assert_eq(cx_runtime_spawn(rt, &sqlite_reader_type, &settings, 0, &reader), CX_OK);
	store = (struct store){ .reader = reader, .writer = writer };
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
}

static inline void stop(void)
{
	cx_runtime_stop(rt);
	while (event_count > 0)
		cx_buf_unref(events[--event_count].buf);
	event_taken = 0;
	cx_runtime_free(rt);
	sqlite_teardown();
}

static inline void setup(void)
{
	fixture_settings(&f);
	events = calloc(EVENTS_MAX, sizeof(*events));
	start();
}

static inline void teardown(void)
{
	stop();
	fixture_remove(&f);
	free(events);
}

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
	cr_assert_eq(cx_post(rt, probe, &c->hdr), CX_OK);
	pthread_mutex_lock(&mutex);
	while (commands_run == before)
		pthread_cond_wait(&arrived, &mutex);
	pthread_mutex_unlock(&mutex);
}

/* The next event of that type; others before it are passed over. */
static inline struct event *next(uint32_t type)
{
	struct timespec until;
	struct event *found = NULL;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_SECS;
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
	cr_assert_not_null(found, "no message of type %u came", type);
	return found;
}

/* ---- what is asked ---- */

struct ask {
	uint64_t owner, peer, key, id;
	uint32_t len, times;
	struct store_op op;
	struct cx_buf *blob;
};

static inline void ask_append(struct cx_ctx *ctx, void *arg)
{
	const struct ask *const a = arg;
	uint32_t i;

	for (i = 0; i < (a->times == 0 ? 1 : a->times); i++) {
		const struct uuid owner = id_of(a->owner), peer = id_of(a->peer),
				  key = id_of(a->key + i);
		struct cx_buf *const frame = cx_buf_new(a->len);
		uint64_t corr;

		memset(cx_buf_data(frame), 'x', a->len);
		cr_assert_eq(log_append(ctx, writer, &owner, &peer, &key,
		                        (uint32_t)(a->key + i), frame, 30000, &corr),
		             CX_OK);
		cx_buf_unref(frame);
	}
}

static inline struct event *append_one(uint64_t owner, uint64_t peer, uint64_t key)
{
	struct ask a = { .owner = owner, .peer = peer, .key = key, .len = 50 };

	run(ask_append, &a);
	return next(LOG_APPENDED);
}

static inline void ask_settle(struct cx_ctx *ctx, void *arg)
{
	const struct ask *const a = arg;
	const struct uuid owner = id_of(a->owner), peer = id_of(a->peer);
	struct cx_buf *const receipt = cx_buf_copy("receipt", 7);
	uint64_t corr;

	cr_assert_eq(log_settle(ctx, writer, &owner, a->id, a->len, &peer,
	                        a->peer == 0 ? NULL : receipt, 30000, &corr),
	             CX_OK);
	cx_buf_unref(receipt);
}

static inline void ask_receipts_done(struct cx_ctx *ctx, void *arg)
{
	const struct ask *const a = arg;
	const struct uuid owner = id_of(a->owner);

	cr_assert_eq(log_receipts_done(ctx, writer, &owner, a->id), CX_OK);
}

static inline void ask_index(struct cx_ctx *ctx, void *arg)
{
	const struct uuid owner = id_of(((const struct ask *)arg)->owner);
	uint64_t corr;

	cr_assert_eq(log_index(ctx, reader, &owner, 30000, &corr), CX_OK);
}

static inline void ask_fetch(struct cx_ctx *ctx, void *arg)
{
	const struct ask *const a = arg;
	const struct uuid owner = id_of(a->owner);
	uint64_t corr;

	cr_assert_eq(log_fetch(ctx, reader, &owner, a->id, a->len, 30000, &corr), CX_OK);
}

static inline void ask_store(struct cx_ctx *ctx, void *arg)
{
	const struct ask *const a = arg;
	struct store_op *const op = store_op_new(ctx, a->op.what);
	const struct cx_msg hdr = op->hdr;
	uint64_t corr;

	*op = a->op;
	op->hdr = hdr;
	op->hdr.buf = cx_buf_ref(a->blob);
	cr_assert_eq(store_ask(ctx, &store, op, 30000, &corr), CX_OK);
}

static inline struct event *store_op(struct store_op op, struct cx_buf *blob)
{
	struct ask a = { .op = op, .blob = blob };

	run(ask_store, &a);
	return next(STORE_RESULT);
}

static inline const struct record *first_record(const struct event *e)
{
	const uint8_t *at = cx_buf_bytes(e->buf);
	bool torn;

	return record_next(&at, at + cx_buf_len(e->buf), &torn);
}

#endif
