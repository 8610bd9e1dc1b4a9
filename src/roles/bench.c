/* SPDX-License-Identifier: MIT */
#include "roles/bench.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/resource.h>

#include "roles/bench_conf.h"
#include "roles/bench_memory.h"
#include "roles/bench_parts.h"
#include "roles/bench_report.h"
#include "roles/bench_run.h"
#include "roles/bench_users.h"

#define DIAL_TIMEOUT_MS 5000
#define LOGIN_USERS_MAX 200 /* logins queue up, and a server may limit those of one name */
#define CYCLE_SHARE 2       /* connections a user in connect mode, see bench_cycle.c */

/* Which users each part takes: the first of each range. */
struct ranges {
	uint32_t pairs, others, other_count, total;
};

static uint32_t at_least_one(uint32_t total, uint32_t each)
{
	return total ? (total + each - 1) / each : 0;
}

static bool has_pairs(const struct bench_conf *conf)
{
	return conf->mode == BENCH_RELAY || conf->mode == BENCH_LOGIN || conf->storm;
}

static struct ranges plan_users(const struct bench_conf *conf)
{
	struct ranges r = { 0 };

	r.others = has_pairs(conf) ? 2 * conf->pairs : 0;
	if (conf->mode == BENCH_RELAY)
		r.other_count = at_least_one(conf->hold, conf->per_user);
	else if (conf->mode == BENCH_LOGIN)
		r.other_count = conf->logins_per_s < LOGIN_USERS_MAX ? conf->logins_per_s
		                                                     : LOGIN_USERS_MAX;
	else if (conf->mode == BENCH_HOLD)
		r.other_count = at_least_one(conf->connections, conf->per_user);
	else if (conf->storm)
		r.other_count = at_least_one(conf->storm, conf->per_user);
	else if (conf->mode == BENCH_CONNECT)
		r.other_count = at_least_one(conf->connections, CYCLE_SHARE);
	r.total = r.others + r.other_count;
	return r;
}

/* Logins and the storm run on a thread of their own beside the conversations. */
static bool has_side_thread(const struct bench_conf *conf)
{
	return conf->mode == BENCH_LOGIN || conf->storm;
}

static void add_side_part(struct bench_thread *t, const struct ranges *r)
{
	if (t->conf->mode == BENCH_LOGIN)
		bench_login_add(t, r->others, r->other_count);
	else
		bench_idle_add(t, BENCH_IDLE_STORM, r->others, t->conf->storm);
}

static void add_parts(struct bench_thread *t, const struct ranges *r)
{
	const struct bench_conf *conf = t->conf;

	if (has_pairs(conf) && conf->pairs)
		bench_relay_add(t, r->pairs, conf->pairs);
	if (conf->mode == BENCH_ECHO)
		bench_echo_add(t);
	else if (conf->mode == BENCH_RELAY && conf->hold)
		bench_idle_add(t, BENCH_IDLE_HOLD, r->others, conf->hold);
	else if (conf->mode == BENCH_HOLD)
		bench_idle_add(t, BENCH_IDLE_HOLD, r->others, conf->connections);
	else if (conf->mode == BENCH_CONNECT && !conf->storm)
		bench_cycle_add(t, r->others);
}

static void init_threads(struct bench_run *run, const struct ranges *ranges)
{
	const uint32_t n = run->conf->threads;

	run->thread_count = n + (has_side_thread(run->conf) ? 1 : 0);
	run->threads = bench_alloc(run->thread_count, sizeof(*run->threads));
	for (uint32_t i = 0; i < n; i++) {
		if (!bench_thread_init(&run->threads[i], run, i, n))
			bench_must(NULL);
		add_parts(&run->threads[i], ranges);
	}
	if (run->thread_count == n)
		return;
	if (!bench_thread_init(&run->threads[n], run, 0, 1))
		bench_must(NULL);
	add_side_part(&run->threads[n], ranges);
}

/* As many descriptors as the system allows without asking. */
static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void init_run(struct bench_run *run, const struct bench_conf *conf)
{
	pthread_condattr_t attr;

	*run = (struct bench_run){ .conf = conf };
	run->phase_count = conf->mode == BENCH_LOGIN || conf->storm ? 2 : 1;
	pthread_mutex_init(&run->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&run->changed, &attr);
	pthread_condattr_destroy(&attr);
}

static bool is_failed(const struct bench_run *run)
{
	if (run->failure[0])
		fprintf(stderr, "bench: %s\n", run->failure);
	return run->failure[0] != '\0';
}

/* Makes the threads, runs them, reports.  Returns whether all was well. */
static bool run_load(struct bench_run *run, const struct ranges *ranges)
{
	const struct bench_conf *conf = run->conf;
	struct bench_report report = { .run = run };
	struct bench_stats sum;
	struct bench_usage usage;

	init_threads(run, ranges);
	bench_run_go(run, &usage);
	bench_stats_init(&sum);
	for (uint32_t i = 0; i < run->thread_count; i++) {
		bench_stats_add(&sum, &run->threads[i].stats);
		bench_thread_free(&run->threads[i]);
	}
	free(run->threads);
	report.stats = &sum;
	report.usage = &usage;
	report.is_broken = bench_report_is_broken(&sum);
	if (!is_failed(run) && conf->json)
		bench_report_json(&report);
	else if (!run->failure[0])
		bench_report_table(&report);
	bench_stats_free(&sum);
	return !run->failure[0] && !report.is_broken;
}

static void delete_users(struct bench_run *run)
{
	uint32_t left;

	if (run->conf->keep || !run->users)
		return;
	bench_run_reset_interrupt();
	left = bench_users_delete(run);
	if (left)
		fprintf(stderr, "bench: %u of %u users (bench_...) could not be deleted\n",
		        left, run->user_count);
}

static bool run_with_target(struct bench_run *run)
{
	const struct ranges ranges = plan_users(run->conf);
	struct ws_client_identity identity;
	bool ok = false;

	if (!ws_client_identity_make(&identity)) {
		fprintf(stderr, "bench: cannot make keys\n");
		return false;
	}
	run->identity = &identity;
	run->user_count = ranges.total;
	if (bench_users_prepare(run))
		ok = run_load(run, &ranges);
	else
		is_failed(run);
	delete_users(run);
	bench_users_free(run);
	return ok;
}

int bench_main(int argc, char **argv)
{
	struct ws_client_target_conf target_conf;
	struct ws_client_target *target;
	struct bench_conf conf;
	struct bench_run run;
	char why[300];
	bool ok;

	switch (bench_conf_parse(&conf, argc, argv, why, sizeof(why))) {
	case BENCH_CONF_HELP:
		return 0;
	case BENCH_CONF_WRONG:
		fprintf(stderr, "bench: %s\n", why);
		return 2;
	case BENCH_CONF_RUN:
		break;
	}
	signal(SIGPIPE, SIG_IGN); /* TLS writes without MSG_NOSIGNAL */
	bench_run_catch_signals();
	raise_fd_limit();
	target_conf = (struct ws_client_target_conf){ .url = conf.url,
		                                      .ca_file = conf.ca_file,
		                                      .insecure = conf.insecure,
		                                      .timeout_ms = DIAL_TIMEOUT_MS };
	if (ws_client_target_open(&target_conf, &target, why, sizeof(why)) != CX_OK) {
		fprintf(stderr, "bench: %s\n", why);
		return 1;
	}
	init_run(&run, &conf);
	run.target = target;
	ok = run_with_target(&run);
	ws_client_target_close(target);
	return ok ? 0 : 1;
}
