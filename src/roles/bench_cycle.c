/* SPDX-License-Identifier: MIT */
/* Connections that come and go: connect, authenticate, close, again; and logins at a rate. */
#include <string.h>

#include "roles/bench_memory.h"
#include "roles/bench_parts.h"

#define CLOSE_NORMAL 1000
#define LOGINS_AT_ONCE_MAX 1000
#define USER_SHARES_CYCLES 2 /* connections a user: some are still closing on the server */

struct visit {
	struct bench_session session; /* first */
	struct cycle *cycle;
	uint64_t due_ns;
	struct visit *next_free;
};

struct cycle {
	struct bench_thread *thread;
	struct visit *visits;
	struct visit *free_visits; /* logins: not under way */
	uint32_t first_user, user_count;
	uint32_t first, count;
	uint32_t open; /* under way */
	bool is_login;
	bool is_stopped;
	uint64_t next_login; /* the how-manieth */
};

static void dial(struct visit *v)
{
	v->cycle->open++;
	bench_dial(&v->cycle->thread->dialer, &v->session);
}

/* The connection is gone: the next round, or back to the free ones. */
static void end_visit(struct visit *v)
{
	struct cycle *cycle = v->cycle;

	cycle->open--;
	if (cycle->is_login) {
		v->next_free = cycle->free_visits;
		cycle->free_visits = v;
	} else if (!cycle->is_stopped) {
		dial(v);
	}
}

static void on_ready(struct bench_session *s)
{
	struct visit *v = (struct visit *)s;
	struct bench_thread *t = v->cycle->thread;
	const uint64_t now_ns = bench_session_now(s);

	if (v->cycle->is_login) {
		bench_record(t, BENCH_SERIES_LOGIN, v->due_ns, now_ns);
		t->stats.counts[BENCH_LOGGED_IN]++;
	} else {
		bench_record(t, BENCH_SERIES_HANDSHAKE, s->dialed_ns, s->opened_ns);
		bench_record(t, BENCH_SERIES_CONNECT, s->dialed_ns, now_ns);
		if (now_ns >= t->plan.phase_start_ns[0] && now_ns < t->plan.phase_end_ns[0])
			t->stats.counts[BENCH_CONNECTED]++;
		bench_done(t, now_ns);
	}
	ws_client_close(s->conn, CLOSE_NORMAL);
}

static void on_frame(struct bench_session *s, const uint8_t *data, size_t len)
{
	(void)s;
	(void)data;
	(void)len;
}

static void on_end(struct bench_session *s, const struct ws_client_end *end)
{
	struct visit *v = (struct visit *)s;

	if (end->kind != WS_CLIENT_END_CLOSED || end->code != CLOSE_NORMAL)
		bench_count_end(v->cycle->thread, end);
	end_visit(v);
}

static void on_failed(struct bench_session *s, const char *code, const char *text)
{
	struct visit *v = (struct visit *)s;

	bench_count_failed(v->cycle->thread, code, text);
	if (v->cycle->is_login) { /* a busy server may say so */
		v->cycle->thread->stats.counts[BENCH_FAILED]--;
		v->cycle->thread->stats.counts[BENCH_LOGIN_REFUSED]++;
	}
	end_visit(v);
}

static const struct bench_session_ops session_ops = {
	.on_ready = on_ready,
	.on_frame = on_frame,
	.on_end = on_end,
	.on_failed = on_failed,
};

static void start(void *state)
{
	struct cycle *cycle = state;

	for (uint32_t i = 0; i < cycle->count; i++) {
		struct visit *v = &cycle->visits[i];
		const uint32_t user =
			(cycle->first + i) / (cycle->is_login ? 1 : USER_SHARES_CYCLES);

		v->cycle = cycle;
		v->session.ops = &session_ops;
		v->session.tries_once = cycle->is_login; /* a retry would raise the rate */
		v->session.auth = cycle->is_login ? BENCH_AUTH_PASSWORD : BENCH_AUTH_TOKEN;
		v->session.user =
			&cycle->thread->run
				 ->users[cycle->first_user + user % cycle->user_count];
		if (cycle->is_login) {
			v->next_free = cycle->free_visits;
			cycle->free_visits = v;
		}
	}
}

static bool is_ready(const void *state)
{
	(void)state;
	return true;
}

static void begin(void *state)
{
	struct cycle *cycle = state;

	cycle->thread->dialer.limit = UINT32_MAX; /* the number of visits is the limit */
	for (uint32_t i = 0; i < cycle->count && !cycle->is_login; i++)
		dial(&cycle->visits[i]);
}

static void begin_login(struct cycle *cycle, uint64_t due_ns)
{
	struct visit *v = cycle->free_visits;

	cycle->next_login++;
	if (!v) {
		cycle->thread->stats.counts[BENCH_SHED]++;
		return;
	}
	cycle->free_visits = v->next_free;
	v->due_ns = due_ns;
	dial(v);
}

/* Logins of all threads are spread evenly: thread i of n has every n-th. */
static uint64_t tick(void *state, uint64_t now_ns)
{
	struct cycle *cycle = state;
	struct bench_thread *t = cycle->thread;
	const double gap_ns = 1e9 / t->conf->logins_per_s;

	if (!cycle->is_login || !t->is_begun || cycle->is_stopped)
		return UINT64_MAX;
	for (;;) {
		const uint64_t number = cycle->next_login * t->share_of + t->index;
		const uint64_t due_ns =
			t->plan.phase_start_ns[1] + (uint64_t)((double)number * gap_ns);

		if (due_ns > now_ns)
			return due_ns;
		begin_login(cycle, due_ns);
	}
}

static void stop(void *state)
{
	((struct cycle *)state)->is_stopped = true;
}

static bool is_idle(const void *state)
{
	return ((const struct cycle *)state)->open == 0;
}

static void finish(void *state)
{
	(void)state;
}

static uint64_t open_now(const void *state)
{
	return ((const struct cycle *)state)->open;
}

static void release(void *state)
{
	struct cycle *cycle = state;

	free(cycle->visits);
	free(cycle);
}

static const struct bench_part_ops part_ops = {
	.name = "cycle",
	.start = start,
	.is_ready = is_ready,
	.begin = begin,
	.tick = tick,
	.stop = stop,
	.is_idle = is_idle,
	.finish = finish,
	.open_now = open_now,
	.free = release,
};

static struct cycle *make(struct bench_thread *thread, uint32_t first_user, uint32_t user_count,
                          uint32_t total)
{
	struct cycle *cycle = bench_alloc(1, sizeof(*cycle));

	cycle->thread = thread;
	cycle->first_user = first_user;
	cycle->user_count = user_count;
	cycle->count = bench_share(thread, total, &cycle->first);
	cycle->visits = bench_alloc(cycle->count, sizeof(*cycle->visits));
	bench_thread_add(thread, &part_ops, cycle);
	return cycle;
}

void bench_cycle_add(struct bench_thread *thread, uint32_t first)
{
	const uint32_t total = thread->conf->connections;

	make(thread, first, (total + USER_SHARES_CYCLES - 1) / USER_SHARES_CYCLES, total);
}

void bench_login_add(struct bench_thread *thread, uint32_t first, uint32_t count)
{
	make(thread, first, count, LOGINS_AT_ONCE_MAX)->is_login = true;
}
