/* SPDX-License-Identifier: MIT */
/* One thread plays all workers.  What it shares with the threaded runtime is everything but
 * cx__worker_main; the hooks are rt->sim in the clock, in cx__deliver and in cx_offload.
 *
 * The schedule: each step draws one of all runnable actors and waiting jobs.  In each epoch of steps
 * some of them are left out while others can run (as in probabilistic concurrency testing, Burckhardt et al.
 * 2010: few priority changes find most orders that break something). */
#include <cx/sim.h>

#include <inttypes.h>
#include <stdlib.h>

#include "runtime/internal.h"

#define DEFAULT_TURN_US 20
#define DEFAULT_DELAY_US 5000
#define DEFAULT_WALL_MS INT64_C(1704067200000)
#define EPOCH_STEPS 48 /* then others are left out */
#define LEFT_OUT_OF 5  /* one in so many */
#define TURN_LIMITS 6  /* a turn ends after 1, 2, 4 .. 32 messages */
#define WAIT_MAX_MS 3600000
#define TRACE_TYPES 4 /* messages named in a line of the trace */

struct job {
	struct job *next;
	struct cx_msg *msg;
	cx_offload_fn *fn;
};

struct held {
	struct held *next;
	struct cx_msg *msg;
	uint64_t due_ns;
};

struct cx_sim {
	struct cx_runtime *rt;
	uint64_t now_ns;
	int64_t wall_offset_ms; /* wall clock - monotonic clock */
	uint64_t random, salt;  /* salt: of the epoch */
	uint64_t steps;
	uint32_t turn_max_us, delay_max_us;
	cx_sim_fault_fn *fault;
	void *fault_arg;
	FILE *trace;
	struct job *jobs, **jobs_end;
	uint32_t job_count;
	struct held
		*held; /* by due_ns, those with the same in the order in which they were sent */
};

uint64_t cx_sim_random(struct cx_sim *s) /* xorshift64*, Vigna 2016 */
{
	s->random ^= s->random >> 12;
	s->random ^= s->random << 25;
	s->random ^= s->random >> 27;
	return s->random * UINT64_C(0x2545f4914f6cdd1d);
}

uint64_t cx__sim_now_ns(const struct cx_sim *s)
{
	return s->now_ns;
}

int64_t cx__sim_wall_ms(const struct cx_sim *s)
{
	return s->wall_offset_ms + (int64_t)(s->now_ns / 1000000);
}

static const char *kind_name(const struct cx__actor *a)
{
	return a == NULL || cx__front(a)->kind == NULL ? "" : cx__front(a)->kind->type->name;
}

enum cx_sim_fate cx__sim_fate(struct cx_sim *s, struct cx_worker *here,
                              const struct cx__actor *to, const struct cx_msg *msg)
{
	if (s->fault == NULL)
		return CX_SIM_DELIVER;
	return s->fault(s->fault_arg, here == NULL ? "" : kind_name(here->ctx.actor),
	                kind_name(to), msg, cx_sim_random(s));
}

/* ---- delayed sends ---- */

int32_t cx__sim_held(const struct cx_sim *s, struct cx_ref to)
{
	int32_t count = 0;

	for (const struct held *h = s->held; h != NULL; h = h->next)
		count += cx_ref_is(h->msg->to, to);
	return count;
}

bool cx__sim_hold(struct cx_sim *s, struct cx_msg *msg, bool local, enum cx_sim_fate fate)
{
	struct held **at = &s->held;
	uint64_t due_ns = 0; /* never before what was sent to it earlier */
	struct held *held;

	for (const struct held *h = s->held; h != NULL; h = h->next)
		if (cx_ref_is(h->msg->to, msg->to))
			due_ns = h->due_ns;
	if (fate == CX_SIM_DELAY) {
		const uint64_t own_ns =
			s->now_ns + (1 + cx_sim_random(s) % s->delay_max_us) * 1000;

		due_ns = own_ns > due_ns ? own_ns : due_ns;
	}
	if (due_ns == 0)
		return false;
	held = malloc(sizeof(*held));
	if (held == NULL)
		cx__out_of_memory("a delayed send", sizeof(*held));
	if (local)
		msg->flags |= CX__LOCAL;
	while (*at != NULL && (*at)->due_ns <= due_ns)
		at = &(*at)->next;
	*held = (struct held){ .next = *at, .msg = msg, .due_ns = due_ns };
	*at = held;
	return true;
}

/* Those whose time is up. */
static void release_held(struct cx_sim *s)
{
	while (s->held != NULL && s->held->due_ns <= s->now_ns) {
		struct held *h = s->held;

		s->held = h->next;
		if (s->trace != NULL)
			fprintf(s->trace, "%" PRIu64 " %" PRIu64 " us late %s to %u\n",
			        s->steps, s->now_ns / 1000, cx__msg_name(s->rt, h->msg->type),
			        h->msg->to.slot);
		cx__deliver_held(s->rt, h->msg);
		free(h);
	}
}

enum cx_err cx__sim_offload(struct cx_sim *s, struct cx_msg *msg, cx_offload_fn *fn)
{
	struct job *job;

	if (s->job_count == s->rt->conf.offload_queue) {
		cx__msg_free(msg);
		return CX_EFULL;
	}
	job = malloc(sizeof(*job));
	if (job == NULL)
		cx__out_of_memory("an offloaded job", sizeof(*job));
	*job = (struct job){ .msg = msg, .fn = fn };
	*s->jobs_end = job;
	s->jobs_end = &job->next;
	s->job_count++;
	return CX_OK;
}

/* ---- no event loop ---- */

static enum cx_err loop_open(void *arg, unsigned worker, void **out)
{
	(void)arg;
	(void)worker;
	*out = NULL;
	return CX_OK;
}

static void loop_poll(void *loop, int timeout_ms)
{
	(void)loop;
	(void)timeout_ms;
}

static void loop_nothing(void *loop)
{
	(void)loop;
}

static const struct cx_loop_ops no_loop = { loop_open, loop_poll, loop_nothing, loop_nothing };

/* ---- steps ---- */

static uint64_t mix(uint64_t x) /* finaliser of MurmurHash3, public domain constants */
{
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	return x;
}

static bool is_left_out(const struct cx_sim *s, const struct cx__actor *a)
{
	return mix(s->salt + a->slot) % LEFT_OUT_OF == 0;
}

static void trace_turn(const struct cx_sim *s, const struct cx_worker *w,
                       const struct cx__actor *a)
{
	const struct cx_msg *lanes[] = { a->control_head, a->mail_head };
	unsigned named = 0;

	fprintf(s->trace, "%" PRIu64 " %" PRIu64 " us w%u %s/%u", s->steps, s->now_ns / 1000,
	        w->index, kind_name(a), a->slot);
	for (unsigned lane = 0; lane < CX_COUNTOF(lanes); lane++)
		for (const struct cx_msg *m = lanes[lane]; m != NULL && named < TRACE_TYPES;
		     m = m->link, named++)
			fprintf(s->trace, " %s<%u", cx__msg_name(s->rt, m->type), m->from.slot);
	fputc('\n', s->trace);
}

static void pass_time(struct cx_sim *s, uint64_t ns)
{
	s->now_ns += ns;
	release_held(s);
	for (unsigned i = 0; i < s->rt->all_workers; i++)
		cx__worker_tick(s->rt->worker[i]);
}

static void run_actor(struct cx_sim *s, struct cx_worker *w, struct cx__actor *a)
{
	cx__worker_enter(w);
	if (cx__front(a)->any)
		cx__drain(a);
	if (s->trace != NULL)
		trace_turn(s, w, a);
	w->turn_limit = UINT32_C(1) << cx_sim_random(s) % TURN_LIMITS;
	cx__worker_turn(w, a);
}

static void run_job(struct cx_sim *s)
{
	struct job *job = s->jobs;
	enum cx_err err;

	s->jobs = job->next;
	if (s->jobs == NULL)
		s->jobs_end = &s->jobs;
	s->job_count--;
	if (s->trace != NULL)
		fprintf(s->trace, "%" PRIu64 " %" PRIu64 " us job %s\n", s->steps,
		        s->now_ns / 1000, cx__msg_name(s->rt, job->msg->type));
	job->fn(job->msg);
	err = cx__deliver(s->rt, NULL, job->msg->to, job->msg, CX__RESERVED);
	(void)err; /* the actor ended meanwhile: counted as a dead letter */
	free(job);
}

/* Runs the how-manieth of what can run; those left out do not count unless all are. */
static bool run_one(struct cx_sim *s)
{
	uint32_t ready = 0, out = 0, nth;
	bool all;

	for (unsigned i = 0; i < s->rt->all_workers; i++) {
		struct cx_worker *w = s->rt->worker[i];

		cx__worker_gather(w);
		for (struct cx__actor *a = cx__runnable_first(w); a != NULL;
		     a = cx__runnable_next(a)) {
			ready++;
			out += is_left_out(s, a);
		}
	}
	if (ready + s->job_count == 0)
		return false;
	all = out == ready;
	nth = (uint32_t)(cx_sim_random(s) %
	                 ((all ? ready : ready - out) + (s->job_count > 0 ? 1 : 0)));
	for (unsigned i = 0; i < s->rt->all_workers; i++) {
		struct cx_worker *w = s->rt->worker[i];

		for (struct cx__actor *a = cx__runnable_first(w); a != NULL;
		     a = cx__runnable_next(a)) {
			if ((!all && is_left_out(s, a)) || nth-- > 0)
				continue;
			cx__runnable_remove(w, a);
			run_actor(s, w, a);
			return true;
		}
	}
	run_job(s);
	return true;
}

/* To the next timer or held send, at most max_ms further. */
static bool skip_ahead(struct cx_sim *s, uint64_t max_ms)
{
	uint64_t least_ns = s->held == NULL ? UINT64_MAX : s->held->due_ns - s->now_ns;

	for (unsigned i = 0; i < s->rt->all_workers; i++) {
		const struct cx_worker *w = s->rt->worker[i];
		uint64_t wait_ms;

		if (w->wheel.count == 0)
			continue;
		wait_ms = cx__wheel_wait_ms(&w->wheel, w->now_ns / 1000000, WAIT_MAX_MS);
		wait_ms = wait_ms == 0 ? 1 : wait_ms;
		least_ns = wait_ms * 1000000 < least_ns ? wait_ms * 1000000 : least_ns;
	}
	if (least_ns == UINT64_MAX)
		return false;
	pass_time(s, least_ns < max_ms * 1000000 ? least_ns : max_ms * 1000000);
	return true;
}

static bool step(struct cx_sim *s, uint64_t max_ms)
{
	if (s->steps % EPOCH_STEPS == 0)
		s->salt = cx_sim_random(s);
	s->steps++;
	if (!run_one(s))
		return skip_ahead(s, max_ms);
	pass_time(s, (1 + cx_sim_random(s) % s->turn_max_us) * 1000);
	return true;
}

bool cx_sim_step(struct cx_sim *s)
{
	return step(s, WAIT_MAX_MS);
}

void cx_sim_run_ms(struct cx_sim *s, uint64_t ms)
{
	const uint64_t end_ns = s->now_ns + ms * 1000000;

	while (s->now_ns < end_ns)
		if (!step(s, (end_ns - s->now_ns + 999999) / 1000000))
			pass_time(s, end_ns - s->now_ns);
}

uint64_t cx_sim_now_ms(const struct cx_sim *s)
{
	return s->now_ns / 1000000;
}

uint64_t cx_sim_steps(const struct cx_sim *s)
{
	return s->steps;
}

void cx_sim_jump_wall(struct cx_sim *s, int64_t ms)
{
	s->wall_offset_ms += ms;
	pass_time(s, 0);
}

void cx_sim_crash(struct cx_sim *s, struct cx_ref who, enum cx_err reason)
{
	struct cx__failed *m =
		(struct cx__failed *)(void *)cx__msg_new(NULL, CX__MSG_CRASH, sizeof(*m));
	enum cx_err err;

	m->reason = reason;
	err = cx__deliver(s->rt, NULL, who, &m->hdr, CX__CONTROL);
	(void)err; /* ended already */
}

/* ---- life ---- */

enum cx_err cx_sim_new(const struct cx_sim_conf *conf, struct cx_sim **out)
{
	struct cx_runtime_conf rt_conf = conf->runtime;
	struct cx_sim *s = calloc(1, sizeof(*s));
	enum cx_err err;

	if (s == NULL)
		return CX_ENOMEM;
	rt_conf.loop = &no_loop;
	rt_conf.seed = rt_conf.seed == 0 ? 1 : rt_conf.seed;
	rt_conf.workers = rt_conf.workers == 0 ? 2 : rt_conf.workers;
	s->random = mix(rt_conf.seed * UINT64_C(0x9e3779b97f4a7c15)) | 1;
	s->turn_max_us = conf->turn_max_us == 0 ? DEFAULT_TURN_US : conf->turn_max_us;
	s->delay_max_us = conf->delay_max_us == 0 ? DEFAULT_DELAY_US : conf->delay_max_us;
	s->now_ns = 1000000000; /* not 0: "never" in somebody's state */
	s->wall_offset_ms = (conf->wall_ms == 0 ? DEFAULT_WALL_MS : conf->wall_ms) - 1000;
	s->fault = conf->fault;
	s->fault_arg = conf->fault_arg;
	s->trace = conf->trace;
	s->jobs_end = &s->jobs;
	err = cx__runtime_new(&rt_conf, s, &s->rt);
	if (err != CX_OK) {
		free(s);
		return err;
	}
	*out = s;
	return CX_OK;
}

struct cx_runtime *cx_sim_runtime(struct cx_sim *s)
{
	return s->rt;
}

void cx_sim_free(struct cx_sim *s)
{
	s->fault = NULL;
	while (s->jobs != NULL) {
		struct job *job = s->jobs;

		s->jobs = job->next;
		cx__msg_free(job->msg);
		free(job);
	}
	while (s->held != NULL) {
		struct held *h = s->held;

		s->held = h->next;
		cx__msg_free(h->msg);
		free(h);
	}
	for (unsigned i = 0; i < s->rt->all_workers; i++) {
		cx__worker_enter(s->rt->worker[i]);
		cx__worker_end_actors(s->rt->worker[i]);
	}
	cx__worker_enter(NULL);
	cx__runtime_free(s->rt);
	free(s);
}
