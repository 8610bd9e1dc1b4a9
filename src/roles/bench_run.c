/* SPDX-License-Identifier: MIT */
#include "roles/bench_run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "roles/bench_memory.h"

#define MS UINT64_C(1000000)
#define TURN_MAX (10 * MS) /* a thread looks at the run's state so often */
#define SNAPSHOT_EVERY (100 * MS)

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

void bench_run_catch_signals(void)
{
	const struct sigaction action = { .sa_handler = on_interrupt,
		                          .sa_flags = (int)SA_RESETHAND };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

bool bench_run_interrupted(void)
{
	return interrupted != 0;
}

void bench_run_reset_interrupt(void)
{
	interrupted = 0;
	bench_run_catch_signals();
}

static uint64_t seconds(double s)
{
	return (uint64_t)(s * 1e9);
}

void bench_run_fail(struct bench_run *run, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	pthread_mutex_lock(&run->lock);
	if (!run->failure[0])
		vsnprintf(run->failure, sizeof(run->failure), format, args);
	run->is_cancelled = true;
	pthread_cond_broadcast(&run->changed);
	pthread_mutex_unlock(&run->lock);
	va_end(args);
}

uint32_t bench_share(const struct bench_thread *thread, uint32_t total, uint32_t *first)
{
	const uint64_t n = thread->share_of;
	const uint64_t from = (uint64_t)total * thread->index / n;
	const uint64_t to = (uint64_t)total * (thread->index + 1) / n;

	*first = (uint32_t)from;
	return (uint32_t)(to - from);
}

void bench_run_end_phase(struct bench_run *run, uint64_t phase_end_ns, uint64_t end_ns)
{
	pthread_mutex_lock(&run->lock);
	run->plan.phase_end_ns[1] = phase_end_ns;
	run->plan.end_ns = end_ns;
	pthread_cond_broadcast(&run->changed);
	pthread_mutex_unlock(&run->lock);
}

bool bench_thread_init(struct bench_thread *thread, struct bench_run *run, uint32_t index,
                       uint32_t share_of)
{
	struct ws_client_loop_conf loop_conf = { .connections = 1024 };

	*thread = (struct bench_thread){
		.run = run, .conf = run->conf, .index = index, .share_of = share_of
	};
	if (getrandom(&thread->seed, sizeof(thread->seed), 0) != sizeof(thread->seed))
		return false;
	thread->seed |= 1;
	loop_conf.seed = thread->seed;
	if (ws_client_loop_new(&loop_conf, &thread->loop) != CX_OK)
		return false;
	thread->dialer = (struct bench_dialer){
		.loop = thread->loop,
		.target = run->target,
		.identity = run->identity,
		.limit = (run->conf->dial_at_once + share_of - 1) / share_of,
		.timeout_ns = seconds(run->conf->timeout_s),
		.random = thread->seed,
	};
	bench_stats_init(&thread->stats);
	return true;
}

void bench_thread_free(struct bench_thread *thread)
{
	ws_client_loop_free(thread->loop);
	for (uint32_t i = 0; i < thread->part_count; i++)
		thread->parts[i].ops->free(thread->parts[i].state);
	bench_stats_free(&thread->stats);
}

void bench_thread_add(struct bench_thread *thread, const struct bench_part_ops *ops,
                      void *state)
{
	thread->parts[thread->part_count++] = (struct bench_part){ .ops = ops, .state = state };
}

/* ---- a thread ---- */

static bool all_ready(const struct bench_thread *t)
{
	for (uint32_t i = 0; i < t->part_count; i++)
		if (!t->parts[i].ops->is_ready(t->parts[i].state))
			return false;
	return true;
}

static bool all_idle(const struct bench_thread *t)
{
	for (uint32_t i = 0; i < t->part_count; i++)
		if (!t->parts[i].ops->is_idle(t->parts[i].state))
			return false;
	return true;
}

static void take_snapshot(struct bench_thread *t, uint64_t now_ns, uint64_t *next_ns)
{
	static const enum bench_count done[] = { BENCH_COMPLETED, BENCH_ECHOED, BENCH_CONNECTED,
		                                 BENCH_HELD };
	struct bench_snapshot shot = { .waiting = t->dialer.waiting.len +
		                                  t->dialer.under_way.len };

	if (now_ns < *next_ns)
		return;
	*next_ns = now_ns + SNAPSHOT_EVERY;
	for (size_t i = 0; i < sizeof(done) / sizeof(done[0]); i++)
		shot.done += t->stats.counts[done[i]];
	for (uint32_t i = 0; i < t->part_count; i++)
		shot.open_now += t->parts[i].ops->open_now(t->parts[i].state);
	for (uint32_t i = 0; i < t->stats.error_kinds; i++)
		shot.errors += t->stats.errors[i].count;
	pthread_mutex_lock(&t->run->lock);
	t->shown = shot;
	pthread_mutex_unlock(&t->run->lock);
}

static void turn(struct bench_thread *t, uint64_t *next_snapshot_ns)
{
	const uint64_t now_ns = ws_client_now_ns();
	uint64_t wake_ns = now_ns + TURN_MAX;
	uint64_t wanted_ns = bench_dialer_tick(&t->dialer, now_ns);

	if (wanted_ns < wake_ns)
		wake_ns = wanted_ns;
	for (uint32_t i = 0; i < t->part_count; i++) {
		wanted_ns = t->parts[i].ops->tick(t->parts[i].state, now_ns);
		if (wanted_ns < wake_ns)
			wake_ns = wanted_ns;
	}
	take_snapshot(t, now_ns, next_snapshot_ns);
	ws_client_loop_turn(t->loop, wake_ns);
}

/* Takes over what has changed in the plan.  Returns whether to go on. */
static bool goes_on(struct bench_thread *t)
{
	struct bench_run *run = t->run;
	bool answer;

	pthread_mutex_lock(&run->lock);
	answer = !run->is_cancelled;
	t->plan = run->plan;
	pthread_mutex_unlock(&run->lock);
	return answer;
}

/* Says that this thread is ready, and goes on serving its connections until all are. */
static bool wait_for_begin(struct bench_thread *t, uint64_t *next_snapshot_ns)
{
	struct bench_run *run = t->run;
	bool go = false;
	bool is_over = false;

	pthread_mutex_lock(&run->lock);
	run->ready++;
	pthread_cond_broadcast(&run->changed);
	pthread_mutex_unlock(&run->lock);
	while (!go && !is_over) {
		turn(t, next_snapshot_ns);
		pthread_mutex_lock(&run->lock);
		go = run->is_begun;
		is_over = run->is_cancelled;
		t->plan = run->plan;
		pthread_mutex_unlock(&run->lock);
	}
	return go && !is_over;
}

static bool is_over(const struct bench_thread *t, uint64_t now_ns)
{
	return now_ns >= t->plan.end_ns || t->is_done;
}

static void run_traffic(struct bench_thread *t, uint64_t *next_snapshot_ns)
{
	uint64_t deadline_ns;

	t->is_begun = true;
	for (uint32_t i = 0; i < t->part_count; i++)
		t->parts[i].ops->begin(t->parts[i].state);
	while (!is_over(t, ws_client_now_ns()) && goes_on(t))
		turn(t, next_snapshot_ns);
	for (uint32_t i = 0; i < t->part_count; i++)
		t->parts[i].ops->stop(t->parts[i].state);
	deadline_ns = ws_client_now_ns() + seconds(t->conf->drain_s);
	while (!all_idle(t) && ws_client_now_ns() < deadline_ns)
		turn(t, next_snapshot_ns);
	for (uint32_t i = 0; i < t->part_count; i++)
		t->parts[i].ops->finish(t->parts[i].state);
}

static void *thread_main(void *argument)
{
	struct bench_thread *t = argument;
	struct bench_run *run = t->run;
	uint64_t next_snapshot_ns = 0;

	for (uint32_t i = 0; i < t->part_count; i++)
		t->parts[i].ops->start(t->parts[i].state);
	while (!all_ready(t) && goes_on(t))
		turn(t, &next_snapshot_ns);
	if (wait_for_begin(t, &next_snapshot_ns))
		run_traffic(t, &next_snapshot_ns);
	t->stats.counts[BENCH_RETRIED] += t->dialer.retries;
	pthread_mutex_lock(&run->lock);
	run->finished++;
	pthread_cond_broadcast(&run->changed);
	pthread_mutex_unlock(&run->lock);
	return NULL;
}

/* ---- the main thread ---- */

static double own_cpu_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* utime and stime are the 14th and 15th field of stat, behind a name that may hold anything. */
static double process_cpu_s(uint32_t pid)
{
	char path[64];
	char text[1024] = "";
	unsigned long user = 0;
	unsigned long sys = 0;
	const char *after;
	FILE *file;

	if (!pid)
		return 0;
	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fgets(text, sizeof(text), file) && (after = strrchr(text, ')')) &&
	    sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
	           &sys) != 2)
		user = sys = 0;
	fclose(file);
	return (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
}

static uint64_t process_rss_bytes(uint32_t pid)
{
	char path[64];
	unsigned long pages = 0;
	FILE *file;

	if (!pid)
		return 0;
	snprintf(path, sizeof(path), "/proc/%u/statm", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%*u %lu", &pages) != 1)
		pages = 0;
	fclose(file);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void show_progress(struct bench_run *run, uint64_t started_ns, uint64_t *last_done,
                          const char *stage)
{
	struct bench_snapshot sum = { 0 };
	const double at_s = (double)(ws_client_now_ns() - started_ns) / 1e9;

	for (uint32_t i = 0; i < run->thread_count; i++) {
		sum.done += run->threads[i].shown.done;
		sum.open_now += run->threads[i].shown.open_now;
		sum.errors += run->threads[i].shown.errors;
		sum.waiting += run->threads[i].shown.waiting;
	}
	if (run->conf->progress)
		fprintf(stderr,
		        "%s%6.1f s  %-8s %9" PRIu64 "/s  %8" PRIu64 " under way  %6" PRIu64
		        " connecting  %" PRIu64 " errors%s",
		        isatty(STDERR_FILENO) ? "\r" : "", at_s, stage, sum.done - *last_done,
		        sum.open_now, sum.waiting, sum.errors,
		        isatty(STDERR_FILENO) ? "  " : "\n");
	*last_done = sum.done;
}

/* Waits on the run's condition until the moment or a change; the lock is held. */
static void wait_until(struct bench_run *run, uint64_t wake_ns)
{
	const struct timespec when = {
		.tv_sec = (time_t)(wake_ns / BENCH_NS_A_SECOND),
		.tv_nsec = (long)(wake_ns % BENCH_NS_A_SECOND),
	};

	pthread_cond_timedwait(&run->changed, &run->lock, &when);
}

static void make_plan(struct bench_run *run)
{
	struct bench_plan *plan = &run->plan;
	const uint64_t span_ns = seconds(run->conf->duration_s);
	uint64_t at_ns;

	plan->begin_ns = ws_client_now_ns() + 20 * MS;
	at_ns = plan->begin_ns + seconds(run->conf->warmup_s);
	for (uint32_t p = 0; p < run->phase_count; p++) {
		plan->phase_start_ns[p] = at_ns;
		at_ns += span_ns;
		plan->phase_end_ns[p] = at_ns;
	}
	plan->end_ns = at_ns;
	if (run->conf->storm) { /* until all are served, see bench_idle.c */
		plan->phase_end_ns[1] = plan->phase_start_ns[1] + seconds(run->conf->timeout_s);
		plan->end_ns = plan->phase_end_ns[1] + BENCH_NS_A_SECOND;
	}
}

struct watch {
	uint64_t started_ns, next_line_ns, last_done;
	double cpu_at_start, server_cpu_at_start;
	bool is_measuring, is_measured;
};

static void take_usage(struct bench_run *run, struct watch *w, struct bench_usage *u)
{
	const uint64_t now_ns = ws_client_now_ns();
	const uint32_t pid = run->conf->server_pid;

	if (run->is_begun && !w->is_measuring && now_ns >= run->plan.phase_start_ns[0]) {
		w->is_measuring = true;
		w->cpu_at_start = own_cpu_s();
		w->server_cpu_at_start = process_cpu_s(pid);
		u->server_rss_start = process_rss_bytes(pid);
	}
	if (w->is_measuring && !w->is_measured &&
	    (now_ns >= run->plan.end_ns || run->finished || run->is_cancelled)) {
		w->is_measured = true;
		u->cpu_s = own_cpu_s() - w->cpu_at_start;
		u->server_cpu_s = process_cpu_s(pid) - w->server_cpu_at_start;
		u->server_rss_end = process_rss_bytes(pid);
		u->wall_s = (double)(now_ns - run->plan.phase_start_ns[0]) / 1e9;
	}
}

static const char *stage_of(const struct bench_run *run)
{
	const uint64_t now_ns = ws_client_now_ns();

	if (!run->is_begun)
		return "set up";
	if (now_ns < run->plan.phase_start_ns[0])
		return "warm-up";
	if (now_ns >= run->plan.end_ns)
		return "drain";
	return now_ns < run->plan.phase_end_ns[0] ? "measure" : "phase 2";
}

static uint64_t next_moment(const struct bench_run *run, const struct watch *w)
{
	const uint64_t now_ns = ws_client_now_ns();
	uint64_t wake_ns = now_ns + 100 * MS; /* Ctrl-C is seen so late at most */

	if (w->next_line_ns < wake_ns)
		wake_ns = w->next_line_ns;
	if (run->is_begun && !w->is_measuring && run->plan.phase_start_ns[0] < wake_ns)
		wake_ns = run->plan.phase_start_ns[0];
	if (w->is_measuring && !w->is_measured && run->plan.end_ns < wake_ns)
		wake_ns = run->plan.end_ns;
	return wake_ns;
}

static void watch_threads(struct bench_run *run, struct bench_usage *u)
{
	struct watch w = { .started_ns = ws_client_now_ns() };

	w.next_line_ns = w.started_ns + BENCH_NS_A_SECOND;
	pthread_mutex_lock(&run->lock);
	while (run->finished < run->thread_count) {
		if (!run->is_begun && run->ready == run->thread_count && !run->is_cancelled) {
			make_plan(run);
			run->is_begun = true;
			u->setup_s = (double)(ws_client_now_ns() - w.started_ns) / 1e9;
		}
		if (interrupted)
			run->is_cancelled = true;
		take_usage(run, &w, u);
		if (ws_client_now_ns() >= w.next_line_ns) {
			w.next_line_ns += BENCH_NS_A_SECOND;
			show_progress(run, w.started_ns, &w.last_done, stage_of(run));
		}
		wait_until(run, next_moment(run, &w));
	}
	take_usage(run, &w, u);
	pthread_mutex_unlock(&run->lock);
	if (run->is_begun && ws_client_now_ns() > run->plan.end_ns)
		u->drain_s = (double)(ws_client_now_ns() - run->plan.end_ns) / 1e9;
	if (run->conf->progress && isatty(STDERR_FILENO))
		fputc('\n', stderr);
}

void bench_run_go(struct bench_run *run, struct bench_usage *usage)
{
	*usage = (struct bench_usage){ 0 };
	for (uint32_t i = 0; i < run->thread_count; i++)
		if (pthread_create(&run->threads[i].id, NULL, thread_main, &run->threads[i]) !=
		    0)
			bench_must(NULL);
	watch_threads(run, usage);
	for (uint32_t i = 0; i < run->thread_count; i++)
		pthread_join(run->threads[i].id, NULL);
}
