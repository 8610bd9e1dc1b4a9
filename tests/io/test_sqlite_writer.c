/* SPDX-License-Identifier: MIT */
/* Writer and reader as actors on the real runtime: what is asked, what is answered, in which
 * order, and what a new start sends out by itself. */
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

/* ---- the probe: runs what the test gives it, keeps what comes ---- */

static void on_command(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct command *const c = CX_MSG_AS(struct command, msg);

	(void)state;
	c->fn(ctx, c->arg);
}

static void on_event(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
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
	pthread_cond_signal(&arrived);
	pthread_mutex_unlock(&mutex);
}

static const struct cx_handler probe_handlers[] = {
	CX_ON(COMMAND, struct command, on_command),
	CX_ON(LOG_APPENDED, struct log_appended, on_event),
	CX_ON(LOG_SETTLED, struct log_settled, on_event),
	CX_ON(LOG_RECORDS, struct log_records, on_event),
	CX_ON(LOG_SPILLED, struct log_spilled, on_event),
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

static void start(void)
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
	store = (struct store){ reader, writer };
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
}

static void stop(void)
{
	cx_runtime_stop(rt);
	while (event_count > 0)
		cx_buf_unref(events[--event_count].buf);
	event_taken = 0;
	cx_runtime_free(rt);
	sqlite_teardown();
}

static void setup(void)
{
	fixture_settings(&f);
	events = calloc(EVENTS_MAX, sizeof(*events));
	start();
}

static void teardown(void)
{
	stop();
	fixture_remove(&f);
	free(events);
}

TestSuite(sqlite_writer, .init = setup, .fini = teardown, .timeout = 90);

static void run(void (*fn)(struct cx_ctx *, void *), void *arg)
{
	struct command *const c = (struct command *)cx_post_new(COMMAND, sizeof(*c));

	c->fn = fn;
	c->arg = arg;
	cr_assert_eq(cx_post(rt, probe, &c->hdr), CX_OK);
}

/* The next event of that type; others before it are passed over. */
static struct event *next(uint32_t type)
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

static void ask_append(struct cx_ctx *ctx, void *arg)
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

static struct event *append_one(uint64_t owner, uint64_t peer, uint64_t key)
{
	struct ask a = { .owner = owner, .peer = peer, .key = key, .len = 50 };

	run(ask_append, &a);
	return next(LOG_APPENDED);
}

static void ask_settle(struct cx_ctx *ctx, void *arg)
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

static void ask_receipts_done(struct cx_ctx *ctx, void *arg)
{
	const struct ask *const a = arg;
	const struct uuid owner = id_of(a->owner);

	cr_assert_eq(log_receipts_done(ctx, writer, &owner, a->id), CX_OK);
}

static void ask_index(struct cx_ctx *ctx, void *arg)
{
	const struct uuid owner = id_of(((const struct ask *)arg)->owner);
	uint64_t corr;

	cr_assert_eq(log_index(ctx, reader, &owner, 30000, &corr), CX_OK);
}

static void ask_fetch(struct cx_ctx *ctx, void *arg)
{
	const struct ask *const a = arg;
	const struct uuid owner = id_of(a->owner);
	uint64_t corr;

	cr_assert_eq(log_fetch(ctx, reader, &owner, a->id, a->len, 30000, &corr), CX_OK);
}

static void ask_store(struct cx_ctx *ctx, void *arg)
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

static struct event *store_op(struct store_op op, struct cx_buf *blob)
{
	struct ask a = { .op = op, .blob = blob };

	run(ask_store, &a);
	return next(STORE_RESULT);
}

static const struct record *first_record(const struct event *e)
{
	const uint8_t *at = cx_buf_bytes(e->buf);
	bool torn;

	return record_next(&at, at + cx_buf_len(e->buf), &torn);
}

/* ---- log ---- */

/* The commit's records leave before its answers, so they are taken first. */
Test(sqlite_writer, a_message_goes_all_the_way)
{
	struct ask a = { .owner = 1, .peer = 2, .key = 10, .len = 50 };
	const struct record *r;
	const struct event *e;

	run(ask_append, &a);
	e = next(LOG_RECORDS);
	r = first_record(e);
	cr_assert_eq(r->kind, RECORD_MESSAGE);
	cr_assert_eq(r->frame_len, 50);
	cr_assert_eq(r->key_case, 10);
	a.id = r->id;
	e = next(LOG_APPENDED);
	cr_assert_eq(e->outcome, LOG_OK);
	cr_assert_eq(e->id, a.id);
	cr_assert_eq(append_one(1, 2, 10)->outcome, LOG_DUPLICATE);
	run(ask_settle, &a);
	e = next(LOG_RECORDS);
	cr_assert_eq(cx_buf_len(e->buf), record_size(0) + record_size(7), "settle and receipt");
	cr_assert_eq(next(LOG_SETTLED)->outcome, LOG_OK);
	a.owner = 2;
	a.id = UINT64_MAX >> 1;
	run(ask_receipts_done, &a);
	cr_assert_eq(append_one(1, 2, 11)->outcome, LOG_OK);
	stop();
	start();
	cr_assert_eq(first_record(next(LOG_RECORDS))->key.b[0], 11, "only what still waits");
	cr_assert_eq(append_one(1, 2, 10)->outcome, LOG_DUPLICATE);
}

Test(sqlite_writer, receipts_done_are_stored_soon_though_nobody_asks)
{
	struct ask a = { .owner = 1, .peer = 2, .len = 50 };
	struct sqlite_figures before, after;
	unsigned i;

	a.id = append_one(1, 2, 10)->id;
	run(ask_settle, &a);
	cr_assert_eq(next(LOG_SETTLED)->outcome, LOG_OK);
	sqlite_figures(&before);
	a.owner = 2;
	a.id++;
	run(ask_receipts_done, &a);
	for (i = 0; i < 200; i++) {
		sqlite_figures(&after);
		if (after.records > before.records)
			break;
		usleep(10000);
	}
	cr_assert_eq(after.records, before.records + 1);
}

Test(sqlite_writer, answers_keep_the_order_of_the_questions)
{
	struct ask a = { .owner = 1, .peer = 2, .key = 1000, .len = 300, .times = 10000 };
	uint64_t last = 0;
	uint32_t i;

	run(ask_append, &a);
	for (i = 0; i < a.times; i++) {
		const struct event *const e = next(LOG_APPENDED);

		cr_assert_eq(e->outcome, LOG_OK);
		cr_assert_gt(e->id, last);
		last = e->id;
	}
	cr_assert_eq(append_one(1, 2, 5)->outcome, LOG_INBOX_FULL);
	cr_assert_eq(append_one(3, 2, 5)->outcome, LOG_OK, "refused was not remembered");
}

Test(sqlite_writer, a_new_start_sends_what_waits_before_any_answer)
{
	struct ask a = { .owner = 1, .peer = 2, .key = 1, .len = 20000, .times = 200 };
	uint64_t last = 0;
	uint32_t i, n = 0;

	run(ask_append, &a);
	for (i = 0; i < a.times; i++)
		cr_assert_eq(next(LOG_APPENDED)->outcome, LOG_OK);
	stop();
	start();
	cr_assert_eq(append_one(1, 2, 10000)->outcome, LOG_OK);
	pthread_mutex_lock(&mutex);
	for (i = 0; i < event_count && events[i].type == LOG_RECORDS && n < 200; i++) {
		const uint8_t *at = cx_buf_bytes(events[i].buf), *const end =
									 at +
									 cx_buf_len(
										 events[i].buf);
		const struct record *r;
		bool torn;

		while ((r = record_next(&at, end, &torn)) != NULL) {
			cr_assert_eq(r->id, ++last);
			n++;
		}
	}
	pthread_mutex_unlock(&mutex);
	cr_assert_eq(n, 200);
	cr_assert_gt(i, 2, "in parts");
}

Test(sqlite_writer, old_entries_get_rows_that_the_reader_finds)
{
	struct ask a = { .owner = 1, .peer = 2, .key = 1, .len = 1000, .times = 100 };
	const struct log_spilled_entry *spilled;
	const struct log_index_entry *index;
	const struct event *e;
	uint32_t moved = 0, i;

	stop();
	f.settings.spill_age_ms = 200;
	start();
	run(ask_append, &a);
	while (moved < 100) {
		e = next(LOG_SPILLED);
		spilled = (const void *)cx_buf_bytes(e->buf);
		for (i = 0; i < e->count; i++)
			cr_assert_eq(spilled[i].id, ++moved);
	}
	run(ask_index, &a);
	e = next(LOG_INDEXED);
	cr_assert_eq(e->outcome, LOG_OK);
	cr_assert_eq(e->count, 100);
	index = (const void *)cx_buf_bytes(e->buf);
	for (i = 0; i < 100; i++) {
		cr_assert_eq(index[i].id, i + 1);
		cr_assert_eq(index[i].frame_len, 1000);
		cr_assert_eq(index[i].kind, RECORD_MESSAGE);
		cr_assert_eq(index[i].key.b[0], i + 1);
		cr_assert_eq(index[i].key_case, i + 1);
	}
	a.id = 50;
	a.len = (uint32_t)record_size(1000) * 10;
	run(ask_fetch, &a);
	e = next(LOG_FETCHED);
	cr_assert_eq(e->count, 10);
	cr_assert_eq(first_record(e)->id, 51);
	a.len = 1;
	run(ask_fetch, &a);
	cr_assert_eq(next(LOG_FETCHED)->count, 1, "at least one");
	a.id = 100;
	run(ask_fetch, &a);
	e = next(LOG_FETCHED);
	cr_assert_eq(e->count, 0);
	cr_assert_null(e->buf);
	a.owner = 77;
	run(ask_index, &a);
	cr_assert_eq(next(LOG_INDEXED)->count, 0);
}

Test(sqlite_writer, a_store_that_cannot_write_says_so_and_recovers)
{
	const struct rlimit none = { 4096, RLIM_INFINITY };
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	const struct store_op ping = { .what = STORE_PING };
	unsigned i;

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(append_one(1, 2, 10)->outcome, LOG_OK);
	cr_assert_eq(store_op(ping, NULL)->outcome, STORE_OK);
	setrlimit(RLIMIT_FSIZE, &none);
	cr_assert_eq(append_one(1, 2, 11)->outcome, LOG_FAILED);
	cr_assert_eq(append_one(1, 2, 10)->outcome, LOG_DUPLICATE, "that one is durable");
	cr_assert_eq(append_one(1, 2, 11)->outcome, LOG_FAILED, "and this one is not");
	cr_assert_eq(store_op(ping, NULL)->outcome, STORE_FAILED);
	setrlimit(RLIMIT_FSIZE, &all);
	for (i = 0; i < 50 && store_op(ping, NULL)->outcome != STORE_OK; i++)
		usleep(100000);
	cr_assert_lt(i, 50, "it is well again by itself");
	cr_assert_eq(append_one(1, 2, 11)->outcome, LOG_OK);
	stop();
	start();
	cr_assert_eq(append_one(1, 2, 11)->outcome, LOG_DUPLICATE);
}

Test(sqlite_writer, a_second_process_is_told_who_has_the_file)
{
	int fd;

	cr_assert_eq(sqlite_db_lock(f.path, &fd), CX_EIO);
	cr_assert_not_null(strstr(sqlite_db_error(), f.path));
	cr_assert_not_null(strstr(sqlite_db_error(), "another process"));
}

/* ---- users, sessions ---- */

static struct cx_buf *bundle(const char *data)
{
	const struct store_bundle b = { (const uint8_t *)"master", (const uint8_t *)data,
		                        (const uint8_t *)"signed", 6,
		                        (uint32_t)strlen(data),    6 };

	return store_bundle_pack(&b);
}

static struct store_op user_op(enum store_what what, uint64_t user, const char *name)
{
	struct store_op op = { .what = what, .user = id_of(user), .ttl_ms = 60000 };

	snprintf(op.text, sizeof(op.text), "%s", name);
	snprintf(op.hash, sizeof(op.hash), "hash of %s", name);
	return op;
}

static enum store_outcome create(uint64_t user, const char *name, uint64_t jti)
{
	struct store_op op = user_op(STORE_USER_CREATE, user, name);
	struct cx_buf *const blob = bundle("data");
	enum store_outcome outcome;

	op.jti = id_of(jti);
	outcome = (enum store_outcome)store_op(op, blob)->outcome;
	cx_buf_unref(blob);
	return outcome;
}

Test(sqlite_writer, a_user_is_made_found_changed_and_deleted)
{
	const struct uuid anna = id_of(1);
	struct cx_buf *blob = bundle("data");
	struct store_op op = user_op(STORE_USER_BY_NAME, 0, "anna");
	const struct event *e;

	cr_assert_eq(store_op(op, NULL)->outcome, STORE_NOT_FOUND);
	cr_assert_eq(create(1, "anna", 70), STORE_OK);
	cr_assert_eq(create(2, "anna", 71), STORE_TAKEN);
	cr_assert_eq(create(2, "Anna", 71), STORE_OK, "names are compared as stored");
	e = store_op(op, NULL);
	cr_assert_eq(e->outcome, STORE_OK);
	cr_assert(uuid_equal(&e->result.user, &anna));
	cr_assert_str_eq(e->result.hash, "hash of anna");
	op = user_op(STORE_USER_BY_ID, 1, "");
	e = store_op(op, NULL);
	cr_assert_str_eq(e->result.text, "anna");
	op.what = STORE_USER_EXISTS;
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	op.what = STORE_BUNDLE_GET;
	e = store_op(op, NULL);
	cr_assert_str_eq(e->result.text, "anna");
	cr_assert_eq(cx_buf_len(e->buf), cx_buf_len(blob));
	cr_assert_eq(memcmp(cx_buf_bytes(e->buf), cx_buf_bytes(blob), cx_buf_len(blob)), 0);
	cx_buf_unref(blob);
	blob = bundle("other data");
	op.what = STORE_BUNDLE_PUT;
	cr_assert_eq(store_op(op, blob)->outcome, STORE_OK);
	op.what = STORE_BUNDLE_GET;
	e = store_op(op, NULL);
	cr_assert_eq(memcmp(cx_buf_bytes(e->buf), cx_buf_bytes(blob), cx_buf_len(blob)), 0);
	op.what = STORE_USER_DELETE;
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_NOT_FOUND);
	op.what = STORE_BUNDLE_GET;
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_NOT_FOUND);
	op.what = STORE_BUNDLE_PUT;
	cr_assert_eq(store_op(op, blob)->outcome, STORE_NOT_FOUND);
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_FAILED, "without a bundle");
	op = user_op(STORE_SESSION_GET, 0, "");
	op.jti = id_of(70);
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_NOT_FOUND);
	cr_assert_eq(append_one(1, 2, 10)->outcome, LOG_NO_OWNER);
	cr_assert_eq(create(5, "anna", 72), STORE_OK, "the name is free again");
	cx_buf_unref(blob);
}

Test(sqlite_writer, sessions_end_one_by_one_by_time_and_with_the_password)
{
	struct store_op op = { .user = id_of(1), .ttl_ms = 60000 };
	const struct event *e;
	uint64_t jti;

	cr_assert_eq(create(1, "anna", 70), STORE_OK);
	for (jti = 71; jti < 75; jti++) {
		op.what = STORE_SESSION_PUT;
		op.jti = id_of(jti);
		op.ttl_ms = jti == 74 ? 1 : 60000;
		cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	}
	usleep(20000);
	op.what = STORE_SESSION_GET;
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_NOT_FOUND, "over");
	op.jti = id_of(70);
	e = store_op(op, NULL);
	cr_assert_eq(e->outcome, STORE_OK);
	cr_assert_str_eq(e->result.text, "anna");
	op.what = STORE_SESSION_DELETE;
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_NOT_FOUND);
	op.what = STORE_PASSWORD_SET;
	op.jti = id_of(0);
	memset(&op.jti, 0, sizeof(op.jti));
	snprintf(op.hash, sizeof(op.hash), "rehash");
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	op.what = STORE_SESSION_GET;
	op.jti = id_of(71);
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK, "a rehash ends no session");
	op.what = STORE_PASSWORD_SET;
	op.jti = id_of(72);
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	op.what = STORE_SESSION_GET;
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	op.jti = id_of(71);
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_NOT_FOUND);
	op.what = STORE_PASSWORD_SET;
	op.user = id_of(9);
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_NOT_FOUND);
	op.what = STORE_SESSION_PUT;
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_NOT_FOUND, "of nobody");
}

Test(sqlite_writer, blocks_last_until_their_time)
{
	struct store_op op = { .what = STORE_BLOCK_GET, .key = "somebody" };
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	cr_assert_eq(store_op(op, NULL)->result.until_wall_ms, 0);
	op.what = STORE_BLOCK_SET;
	op.until_wall_ms = (int64_t)t.tv_sec * 1000 + 60000;
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	op.what = STORE_BLOCK_GET;
	cr_assert_eq(store_op(op, NULL)->result.until_wall_ms, op.until_wall_ms);
	op.what = STORE_BLOCK_SET;
	op.until_wall_ms = (int64_t)t.tv_sec * 1000 - 60000;
	cr_assert_eq(store_op(op, NULL)->outcome, STORE_OK);
	op.what = STORE_BLOCK_GET;
	cr_assert_eq(store_op(op, NULL)->result.until_wall_ms, 0);
}
