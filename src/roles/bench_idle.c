/* SPDX-License-Identifier: MIT */
/* Connections that authenticate and stay; and the storm, in which all of them are dropped
 * and reconnect at once. */
#include <string.h>

#include "roles/bench_memory.h"
#include "roles/bench_parts.h"

#define AFTER_STORM_NS BENCH_NS_A_SECOND /* conversations go on so long */

struct idle_conn {
	struct bench_session session; /* first */
	struct idle *idle;
};

struct idle {
	struct bench_thread *thread;
	struct idle_conn *conns;
	enum bench_idle_kind kind;
	uint32_t first_user, first, count;
	uint32_t ready;
	uint32_t given_up;
	bool has_broken_out; /* the storm */
	bool is_stopped;
	uint64_t storm_ns;
	uint64_t over_ns;
};

static bool in_storm(const struct idle *idle)
{
	return idle->has_broken_out && !idle->over_ns;
}

static void check_over(struct idle *idle, uint64_t now_ns)
{
	if (!in_storm(idle) || idle->ready + idle->given_up < idle->count)
		return;
	idle->over_ns = now_ns;
	/* The phase is the storm itself. */
	bench_run_end_phase(idle->thread->run, now_ns, now_ns + AFTER_STORM_NS);
}

static void on_ready(struct bench_session *s)
{
	struct idle *idle = ((struct idle_conn *)s)->idle;
	struct bench_thread *t = idle->thread;
	const uint64_t now_ns = bench_session_now(s);

	idle->ready++;
	t->stats.counts[BENCH_HELD]++;
	if (!in_storm(idle))
		return;
	bench_stats_record(&t->stats, 1, BENCH_SERIES_SERVED, now_ns - idle->storm_ns);
	t->stats.counts[BENCH_CONNECTED]++;
	check_over(idle, now_ns);
}

/* What an earlier run left for this user is not ours to judge. */
static void on_frame(struct bench_session *s, const uint8_t *data, size_t len)
{
	(void)s;
	(void)data;
	(void)len;
}

static void on_end(struct bench_session *s, const struct ws_client_end *end)
{
	struct idle *idle = ((struct idle_conn *)s)->idle;

	idle->ready--;
	idle->thread->stats.counts[BENCH_HELD]--;
	bench_count_end(idle->thread, end);
}

static void on_failed(struct bench_session *s, const char *code, const char *text)
{
	struct idle *idle = ((struct idle_conn *)s)->idle;

	bench_count_failed(idle->thread, code, text);
	if (!idle->has_broken_out) {
		bench_run_fail(idle->thread->run,
		               "an idle connection could not be set up: %s %s", code, text);
		return;
	}
	idle->given_up++;
	check_over(idle, ws_client_now_ns());
}

static const struct bench_session_ops session_ops = {
	.on_ready = on_ready,
	.on_frame = on_frame,
	.on_end = on_end,
	.on_failed = on_failed,
};

static void start(void *state)
{
	struct idle *idle = state;
	const struct bench_conf *conf = idle->thread->conf;

	for (uint32_t i = 0; i < idle->count; i++) {
		struct idle_conn *c = &idle->conns[i];
		const uint32_t user = idle->first_user + (idle->first + i) / conf->per_user;

		c->idle = idle;
		c->session.ops = &session_ops;
		c->session.auth = BENCH_AUTH_TOKEN;
		c->session.user = &idle->thread->run->users[user];
		bench_dial(&idle->thread->dialer, &c->session);
	}
}

static bool is_ready(const void *state)
{
	const struct idle *idle = state;

	return idle->ready == idle->count;
}

static void begin(void *state)
{
	(void)state;
}

static void break_out(struct idle *idle, uint64_t now_ns)
{
	struct bench_thread *t = idle->thread;

	idle->has_broken_out = true;
	idle->storm_ns = now_ns;
	t->dialer.limit = UINT32_MAX;
	t->stats.counts[BENCH_HELD] -= idle->ready;
	idle->ready = 0;
	for (uint32_t i = 0; i < idle->count; i++)
		bench_session_abort(&idle->conns[i].session);
	for (uint32_t i = 0; i < idle->count; i++)
		bench_dial(&t->dialer, &idle->conns[i].session);
}

static uint64_t tick(void *state, uint64_t now_ns)
{
	struct idle *idle = state;
	struct bench_thread *t = idle->thread;

	if (idle->kind != BENCH_IDLE_STORM || !t->is_begun || idle->is_stopped)
		return UINT64_MAX;
	if (!idle->has_broken_out) {
		if (now_ns < t->plan.phase_end_ns[0])
			return t->plan.phase_end_ns[0];
		break_out(idle, now_ns);
	}
	return UINT64_MAX;
}

static void stop(void *state)
{
	((struct idle *)state)->is_stopped = true;
}

static bool is_idle(const void *state)
{
	(void)state;
	return true;
}

static void finish(void *state)
{
	struct idle *idle = state;

	if (idle->has_broken_out && !idle->over_ns)
		bench_count_failed(idle->thread, "storm",
		                   "not all clients were served in time");
}

static uint64_t open_now(const void *state)
{
	return ((const struct idle *)state)->ready;
}

static void release(void *state)
{
	struct idle *idle = state;

	free(idle->conns);
	free(idle);
}

static const struct bench_part_ops part_ops = {
	.name = "idle",
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

void bench_idle_add(struct bench_thread *thread, enum bench_idle_kind kind, uint32_t first,
                    uint32_t count)
{
	struct idle *idle = bench_alloc(1, sizeof(*idle));

	idle->thread = thread;
	idle->kind = kind;
	idle->first_user = first;
	idle->count = bench_share(thread, count, &idle->first);
	idle->conns = bench_alloc(idle->count, sizeof(*idle->conns));
	bench_thread_add(thread, &part_ops, idle);
}

void bench_count_end(struct bench_thread *thread, const struct ws_client_end *end)
{
	char code[32];

	snprintf(code, sizeof(code), end->code ? "close %u" : "broken", end->code);
	thread->stats.counts[BENCH_BROKEN]++;
	bench_stats_error(&thread->stats, (struct bench_slice){ code, strlen(code) },
	                  (struct bench_slice){ end->text, strlen(end->text) });
}

void bench_count_failed(struct bench_thread *thread, const char *code, const char *text)
{
	thread->stats.counts[BENCH_FAILED]++;
	bench_stats_error(&thread->stats, (struct bench_slice){ code, strlen(code) },
	                  (struct bench_slice){ text, strlen(text) });
}
