/* SPDX-License-Identifier: MIT */
/* One actor under test, fakes in the places of all its neighbours, and a clock that jumps.
 *
 * The runtime is the real one with a single worker.  A fake records what it gets; the test takes the
 * records one by one and answers them, when and as it likes.  The test's own code runs inside a fake's
 * handler by do_as().  quiet() returns when nothing is left to handle; skip_ms() moves the clock, so
 * deadlines of minutes pass at once.  One test file includes this once. */
#ifndef TESTS_ACTORS_FIXTURE_H
#define TESTS_ACTORS_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <construct/messages.h>
#include <cx/log.h>
#include <cx/runtime.h>

#include "actors/account.h"
#include "actors/gateway.h"
#include "actors/hash_gate.h"
#include "actors/hub.h"
#include "actors/relay.h"
#include "actors/user_limiter.h"
#include "io/grpc_client.h"
#include "io/inbox.h"
#include "io/log.h"
#include "io/stack_routes.h"
#include "io/store.h"
#include "io/websocket.h"
#include "wire/record.h"
#include "wire/server_frame.h"

#define UNUSED __attribute__((unused))
#define DO_AS (CX_MSG_LIMIT - 1)
#define NOBODY_TAKES_MS 20000
#define QUIET_ROUNDS 24 /* longest chain of messages between actors, with room */

/* ---- the clock: all of the process reads this one ---- */

static _Atomic int64_t skipped_ms;
static _Atomic int64_t wall_set_ms; /* how far the wall clock was set, besides */

int clock_gettime(clockid_t id, struct timespec *t);
int clock_gettime(clockid_t id, struct timespec *t)
{
	const int64_t ms = atomic_load(&skipped_ms) +
	                   (id == CLOCK_REALTIME ? atomic_load(&wall_set_ms) : 0);
	const long rc = syscall(SYS_clock_gettime, id, t);

	if (rc != 0 || (id != CLOCK_MONOTONIC && id != CLOCK_REALTIME))
		return (int)rc;
	t->tv_sec += ms / 1000;
	t->tv_nsec += ms % 1000 * 1000000;
	if (t->tv_nsec < 0) {
		t->tv_sec--;
		t->tv_nsec += 1000000000;
	}
	if (t->tv_nsec >= 1000000000) {
		t->tv_sec++;
		t->tv_nsec -= 1000000000;
	}
	return 0;
}

/* ---- what the fakes got ---- */

struct got {
	struct got *next;
	struct cx_ref at;
	struct cx_caller caller;
	struct cx_ref from;
	struct cx_buf *buf;
	uint32_t type;
	bool is_taken;
	_Alignas(16) uint8_t bytes[];
};

#define GOT(struct_type, g) ((const struct_type *)(const void *)(g)->bytes)

static struct {
	struct cx_runtime *rt;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct got *first, **end;
	struct cx_ref helper; /* runs what belongs to no fake */
} fx = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static struct relay relay;
static struct cx_ref fake_gateway, fake_hub, fake_inbox, fake_account, fake_log,
	fake_log_reader;
static struct cx_ref fake_reader, fake_writer; /* of the store */

static void record_msg(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct got *g = calloc(1, sizeof(*g) + msg->size);

	(void)state;
	cx_assert(g != NULL);
	g->at = cx_self(ctx);
	g->from = msg->from;
	g->caller = cx_caller_of(msg);
	g->type = msg->type;
	g->buf = cx_buf_ref(msg->buf);
	memcpy(g->bytes, msg, msg->size);
	pthread_mutex_lock(&fx.lock);
	*fx.end = g;
	fx.end = &g->next;
	pthread_cond_broadcast(&fx.changed);
	pthread_mutex_unlock(&fx.lock);
}

typedef void do_fn(struct cx_ctx *ctx, void *arg);

struct do_as_msg {
	struct cx_msg hdr;
	do_fn *fn;
	void *arg;
	_Atomic bool *is_done;
};

static void run_do_as(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct do_as_msg *m = CX_MSG_AS(struct do_as_msg, msg);

	(void)state;
	m->fn(ctx, m->arg);
	pthread_mutex_lock(&fx.lock);
	atomic_store(m->is_done, true);
	pthread_cond_broadcast(&fx.changed);
	pthread_mutex_unlock(&fx.lock);
}

#define RECORD(id, struct_type) CX_ON(id, struct_type, record_msg)
static const struct cx_handler fake_handlers[] = {
	CX_ON(DO_AS, struct do_as_msg, run_do_as),
	RECORD(CX_MSG_ERROR, struct cx_msg_error),
	RECORD(WS_SEND, struct ws_send_msg),
	RECORD(WS_CONTROL, struct ws_control_msg),
	RECORD(WS_CONSUMED, struct ws_consumed_msg),
	RECORD(STORE_OP, struct store_op),
	RECORD(LOG_APPEND, struct log_append_msg),
	RECORD(LOG_SETTLE, struct log_settle_msg),
	RECORD(LOG_RECEIPTS_DONE, struct log_receipts_done_msg),
	RECORD(LOG_INDEX, struct log_index_msg),
	RECORD(LOG_FETCH, struct log_fetch_msg),
	RECORD(INBOX_APPEND, struct inbox_append_msg),
	RECORD(INBOX_APPENDED, struct inbox_appended),
	RECORD(INBOX_READ, struct inbox_read_msg),
	RECORD(INBOX_ENTRIES, struct inbox_entries),
	RECORD(INBOX_SETTLE, struct inbox_settle_msg),
	RECORD(INBOX_SETTLED, struct inbox_settled),
	RECORD(INBOX_RECEIPTS_DONE, struct inbox_receipts_done_msg),
	RECORD(INBOX_LEARN, struct inbox_learn_msg),
	RECORD(INBOX_PRESENCE, struct inbox_presence_msg),
	RECORD(GATEWAY_SUBMIT, struct gateway_submit_msg),
	RECORD(GATEWAY_OUTCOME, struct gateway_outcome),
	RECORD(LIMITER_IDLE, struct limiter_idle),
	RECORD(HUB_JOIN, struct hub_join_msg),
	RECORD(HUB_LEAVE, struct hub_leave_msg),
	RECORD(HUB_PUSH, struct hub_push),
	RECORD(HUB_WAKE, struct hub_wake_msg),
	RECORD(HUB_CONFIRM, struct hub_confirm_msg),
	RECORD(HUB_KICK, struct hub_kick_msg),
	RECORD(HUB_KICKED, struct hub_kicked),
	RECORD(HUB_LOOK, struct hub_look),
	RECORD(HUB_LOOK_AT, struct hub_look_at_msg),
	RECORD(HUB_KICK_NUMBER, struct hub_kick_number_msg),
	RECORD(ROUTES_JOIN, struct routes_join_msg),
	RECORD(ROUTES_LEAVE, struct routes_leave_msg),
	RECORD(ROUTES_AGAIN, struct cx_msg),
	RECORD(ROUTES_KICK, struct routes_kick_msg),
	RECORD(ROUTES_KICKED, struct cx_msg),
	RECORD(ROUTES_CONFIRM, struct routes_confirm_msg),
	RECORD(ROUTES_CONFIRMED, struct routes_confirmed_msg),
	RECORD(ROUTES_GONE, struct routes_gone_msg),
	RECORD(ACCOUNT_REQUEST, struct account_request_msg),
	RECORD(ACCOUNT_ANSWER, struct account_answer),
	RECORD(HASH_GATE_ENTERED, struct hash_gate_entered),
	RECORD(GRPC_REQUEST, struct grpc_request_msg),
	RECORD(GRPC_MEND, struct grpc_mend_msg),
#ifdef FIXTURE_MORE /* of a test whose neighbours are not in this table */
	FIXTURE_MORE
#endif
};

#define FAKE_TYPE(type_name, cap)                           \
	static const struct cx_actor_type type_name = {     \
		.name = #type_name,                         \
		.mailbox_cap = (cap),                       \
		.placement = CX_PLACE_IO,                   \
		.handlers = fake_handlers,                  \
		.handler_count = CX_COUNTOF(fake_handlers), \
	}
FAKE_TYPE(fake_type, 4096);
UNUSED FAKE_TYPE(tight_fake_type, 1); /* refuses the second message of a turn */

/* ---- running ---- */

static struct timespec soon(void)
{
	struct timespec t;

	syscall(SYS_clock_gettime, CLOCK_REALTIME,
	        &t); /* condition variables know the real one */
	t.tv_sec += NOBODY_TAKES_MS / 1000;
	return t;
}

/* fn runs as a handler of `fake`; returns when it has. */
static void do_as(struct cx_ref fake, do_fn *fn, void *arg)
{
	const struct timespec until = soon();
	_Atomic bool is_done = false;
	struct do_as_msg *m;
	int rc = 0;

	do {
		m = (struct do_as_msg *)(void *)cx_post_new(DO_AS, sizeof(*m));
		m->fn = fn;
		m->arg = arg;
		m->is_done = &is_done;
	} while (cx_post(fx.rt, fake, &m->hdr) == CX_EFULL); /* a tight one has something yet */
	pthread_mutex_lock(&fx.lock);
	while (!atomic_load(&is_done) && rc == 0)
		rc = pthread_cond_timedwait(&fx.changed, &fx.lock, &until);
	pthread_mutex_unlock(&fx.lock);
	cr_assert(rc == 0, "the worker is stuck, or the fake has ended");
}

static void do_nothing(struct cx_ctx *ctx, void *arg)
{
	(void)ctx;
	(void)arg;
}

/* Each round lets every runnable actor take a turn. */
static void quiet(void)
{
	for (int i = 0; i < QUIET_ROUNDS; i++)
		do_as(fx.helper, do_nothing, NULL);
}

UNUSED static void skip_ms(int64_t ms)
{
	quiet();
	atomic_fetch_add(&skipped_ms, ms);
	quiet();
}

/* The wall clock is so far from where it would be. */
UNUSED static void set_wall_ms(int64_t ms)
{
	quiet();
	atomic_store(&wall_set_ms, ms);
	quiet();
}

static struct cx_ref spawn_at(const struct cx_actor_type *type, const void *conf)
{
	struct cx_ref ref;

	cr_assert(cx_runtime_spawn(fx.rt, type, conf, 0, &ref) == CX_OK);
	return ref;
}

static struct cx_ref fake(void)
{
	return spawn_at(&fake_type, NULL);
}

static void send_stop(struct cx_ctx *ctx, void *arg)
{
	cx_assert(cx_send_reserved(ctx, *(const struct cx_ref *)arg,
	                           cx_msg_new(ctx, CX_MSG_STOP, sizeof(struct cx_msg))) ==
	          CX_OK);
}

/* Of a fake or a real one. */
UNUSED static void stop_actor(struct cx_ref ref)
{
	do_as(fx.helper, send_stop, &ref);
	quiet();
}

static void place_fakes(void)
{
	relay = (struct relay){
		.max_messages_per_hour = 1000,
		.max_messages_per_minute = 100,
		.block_seconds = 60,
		.max_connections_per_user = 3,
		.max_key_rotations_per_day = 5,
		.max_password_changes_per_day = 5,
		.max_failed_logins = 5,
		.session_ttl_ms = INT64_C(3600000),
		.window_bytes = 65536,
		.verify_bundles = true,
		.receipts = true,
		.jwt_secret = "a secret of the tests, thirty-two+",
		.jwt_secret_len = 34,
		.jwt_issuer = "tests",
		.workers = 1,
	};
	relay.gateways[0] = fake_gateway = fake();
	relay.hubs[0] = fake_hub = fake();
	relay.inboxes[0] = fake_inbox = fake();
	relay.accounts[0] = fake_account = fake();
	relay.logs[0] = fake_log = fake();
	relay.log_reader = fake_log_reader = fake();
	relay.store.reader = fake_reader = fake();
	relay.store.writer = fake_writer = fake();
	relay.inbox = (struct inbox){ .shards = relay.inboxes, .count = 1 };
}

static void fixture_start(void)
{
	const struct cx_runtime_conf conf = {
		.workers = 1,
		.offload_threads = 1,
		.offload_queue = 2,
		.watchdog_ms = 60000,
#ifdef FIXTURE_LOOP /* real adapters among the neighbours */
		.loop = FIXTURE_LOOP,
#endif
	};

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	fx.end = &fx.first;
	cr_assert(cx_runtime_new(&conf, &fx.rt) == CX_OK);
	cr_assert(cx_runtime_start(fx.rt) == CX_OK);
	fx.helper = fake();
	place_fakes();
}

static void fixture_end(void)
{
	while (fx.first != NULL) {
		struct got *g = fx.first;

		fx.first = g->next;
		cx_buf_unref(g->buf);
		free(g);
	}
	fx.end = &fx.first;
	cx_runtime_stop(fx.rt);
	while (fx.first != NULL) { /* of actors' stop */
		struct got *g = fx.first;

		fx.first = g->next;
		cx_buf_unref(g->buf);
		free(g);
	}
	cx_runtime_free(fx.rt);
}

/* ---- taking and answering ---- */

static struct got *find_got(struct cx_ref at, uint32_t type)
{
	struct got *g = fx.first;

	while (g != NULL && (g->is_taken || g->type != type || !cx_ref_is(g->at, at)))
		g = g->next;
	return g;
}

/* The next message of that type at `at`: waits for it. */
static struct got *take(struct cx_ref at, uint32_t type)
{
	const struct timespec until = soon();
	struct got *g;
	int rc = 0;

	pthread_mutex_lock(&fx.lock);
	while ((g = find_got(at, type)) == NULL && rc == 0)
		rc = pthread_cond_timedwait(&fx.changed, &fx.lock, &until);
	if (g != NULL)
		g->is_taken = true;
	pthread_mutex_unlock(&fx.lock);
	cr_assert(g != NULL, "message %u never came", type - CX_MSG_USER);
	return g;
}

/* How many of that type are there now and not taken. */
UNUSED static int count_got(struct cx_ref at, uint32_t type)
{
	int n = 0;

	quiet();
	pthread_mutex_lock(&fx.lock);
	for (const struct got *g = fx.first; g != NULL; g = g->next)
		n += !g->is_taken && g->type == type && cx_ref_is(g->at, at);
	pthread_mutex_unlock(&fx.lock);
	return n;
}

/* A message to make: the struct, whose head is filled by the runtime. */
struct outgoing {
	struct cx_ref to;
	struct cx_caller caller;
	uint32_t type, timeout_ms;
	const void *bytes;
	size_t size;
	struct cx_buf *buf;
	uint64_t corr;
};

static struct cx_msg *make(struct cx_ctx *ctx, const struct outgoing *o)
{
	struct cx_msg *m = cx_msg_new(ctx, o->type, o->size);

	memcpy((uint8_t *)m + sizeof(*m), (const uint8_t *)o->bytes + sizeof(*m),
	       o->size - sizeof(*m));
	m->buf = cx_buf_ref(o->buf);
	return m;
}

static void do_answer(struct cx_ctx *ctx, void *arg)
{
	const struct outgoing *o = arg;

	cx_answer(ctx, o->caller, make(ctx, o));
}

UNUSED static void do_tell(struct cx_ctx *ctx, void *arg)
{
	const struct outgoing *o = arg;

	cx_assert(cx_send(ctx, o->to, make(ctx, o)) == CX_OK);
}

UNUSED static void do_ask(struct cx_ctx *ctx, void *arg)
{
	struct outgoing *o = arg;

	cx_assert(cx_ask(ctx, o->to, make(ctx, o), o->timeout_ms, &o->corr) == CX_OK);
}

static void do_fail(struct cx_ctx *ctx, void *arg)
{
	cx_answer_error(ctx, ((const struct got *)arg)->caller, CX_EGONE);
}

UNUSED static void answer_got(const struct got *g, struct outgoing o)
{
	o.caller = g->caller;
	do_as(g->at, do_answer, &o);
}

/* Answer g with a message; buf's reference stays the caller's. */
#define ANSWER(g, id, struct_type, buffer, ...)                                    \
	answer_got((g), (struct outgoing){ .type = (id),                           \
	                                   .bytes = &(struct_type){ __VA_ARGS__ }, \
	                                   .size = sizeof(struct_type),            \
	                                   .buf = (buffer) })
/* `as` sends; as `ask` it expects an answer, which it records. */
#define TELL(as, dest, id, struct_type, buffer, ...)                      \
	do_as((as), do_tell,                                              \
	      &(struct outgoing){ .to = (dest),                           \
	                          .type = (id),                           \
	                          .bytes = &(struct_type){ __VA_ARGS__ }, \
	                          .size = sizeof(struct_type),            \
	                          .buf = (buffer) })
#define ASK(as, dest, id, struct_type, buffer, ...)                       \
	do_as((as), do_ask,                                               \
	      &(struct outgoing){ .to = (dest),                           \
	                          .type = (id),                           \
	                          .timeout_ms = 600000,                   \
	                          .bytes = &(struct_type){ __VA_ARGS__ }, \
	                          .size = sizeof(struct_type),            \
	                          .buf = (buffer) })

/* The asker gets CX_MSG_ERROR. */
UNUSED static void bounce(const struct got *g)
{
	do_as(g->at, do_fail, (void *)(uintptr_t)g);
}

UNUSED static struct uuid uuid_of(uint32_t n)
{
	struct uuid u = { { 0 } };

	memcpy(u.b, &n, sizeof(n));
	u.b[15] = 1;
	return u;
}

#endif
