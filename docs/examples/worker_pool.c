/* SPDX-License-Identifier: MIT */
/* A pool of workers under a supervisor.  Some jobs make their worker fail; the supervisor starts it
 * again in place, what waits in its mailbox stays there, and the job that was in its hands comes
 * back to the dispatcher as CX_ETIMEOUT and is given out once more.  No job is lost.
 *
 *   make worker_pool && ./worker_pool
 */
#include <semaphore.h>
#include <stdio.h>

#include <cx/actor.h>
#include <cx/runtime.h>
#include <cx/supervisor.h>

#define WORKERS 4
#define JOBS 200
#define BAD_EVERY \
	39 /* the first try of each so-many-th job ends its worker; all four get one */
#define ASK_TIMEOUT_MS 1000

enum { JOB = CX_MSG_USER, DONE };

struct job { /* JOB and its answer DONE */
	struct cx_msg hdr;
	uint64_t number; /* in JOB to be squared, in DONE the square */
	unsigned tries;
};

/* --- worker: squares; holds nothing, so starting it again loses nothing ------------------- */

static void on_job(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct job *job = CX_MSG_AS(struct job, msg);
	struct job *done;

	(void)state;
	if (job->tries == 0 && job->number % BAD_EVERY == 0) {
		cx_fail(ctx, CX_EIO); /* no answer: the asker's deadline tells it */
		return;
	}
	done = CX_MSG_NEW(ctx, DONE, struct job);
	done->number = job->number * job->number;
	cx_reply(ctx, msg, &done->hdr);
}

static const struct cx_handler worker_handlers[] = {
	CX_ON(JOB, struct job, on_job),
};

static const struct cx_actor_type worker_type = {
	.name = "worker",
	.mailbox_cap = JOBS,
	.placement = CX_PLACE_HOME,
	.handlers = worker_handlers,
	.handler_count = CX_COUNTOF(worker_handlers),
};

/* --- dispatcher: gives out all jobs, and again what came back as an error ------------------ */

struct result {
	sem_t finished;
	uint64_t sum; /* of the squares */
	unsigned again;
};

struct dispatcher_conf {
	struct cx_ref workers[WORKERS]; /* written by the supervisor, see play */
	struct result *result;          /* outlives the runtime */
};

struct dispatcher {
	struct dispatcher_conf conf;
	uint64_t corr[JOBS + 1]; /* of each job's ask; 0: done */
	unsigned tries[JOBS + 1];
	unsigned done;
};

static void give_out(struct cx_ctx *ctx, struct dispatcher *d, unsigned number)
{
	const struct cx_ref worker = d->conf.workers[(number + d->tries[number]) % WORKERS];
	struct job *job = CX_MSG_NEW(ctx, JOB, struct job);

	job->number = number;
	job->tries = d->tries[number];
	/* A mailbox holds JOBS, so it is never full, and a failed worker keeps its address. */
	if (cx_ask(ctx, worker, &job->hdr, ASK_TIMEOUT_MS, &d->corr[number]) != CX_OK)
		cx_fail(ctx, CX_EFULL);
}

static unsigned number_of(const struct dispatcher *d, uint64_t corr)
{
	unsigned number = 1;

	while (d->corr[number] != corr)
		number++;
	return number;
}

static void on_done(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct dispatcher *d = state;

	(void)ctx;
	d->corr[number_of(d, msg->corr)] = 0;
	d->conf.result->sum += CX_MSG_AS(struct job, msg)->number;
	if (++d->done == JOBS)
		sem_post(&d->conf.result->finished);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct dispatcher *d = state;
	const unsigned number = number_of(d, msg->corr);

	d->tries[number]++;
	d->conf.result->again++;
	give_out(ctx, d, number);
}

static enum cx_err start_dispatcher(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct dispatcher *d = state;

	d->conf = *(const struct dispatcher_conf *)conf;
	for (unsigned number = 1; number <= JOBS; number++)
		give_out(ctx, d, number);
	return CX_OK;
}

static const struct cx_handler dispatcher_handlers[] = {
	CX_ON(DONE, struct job, on_done),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
};

static const struct cx_actor_type dispatcher_type = {
	.name = "dispatcher",
	.state_size = sizeof(struct dispatcher),
	.conf_size = sizeof(struct dispatcher_conf),
	.mailbox_cap = 64, /* answers are never refused: their asks paid for them */
	.placement = CX_PLACE_HOME,
	.start = start_dispatcher,
	.handlers = dispatcher_handlers,
	.handler_count = CX_COUNTOF(dispatcher_handlers),
};

/* --- main ---------------------------------------------------------------------------------- */

static uint64_t restarts_of_workers(struct cx_runtime *rt)
{
	struct cx_kind_stats kinds[8];
	const size_t count = cx_runtime_kinds(rt, kinds, CX_COUNTOF(kinds));
	uint64_t restarts = 0;

	for (size_t i = 0; i < count; i++)
		restarts += kinds[i].restarts; /* only workers fail here */
	return restarts;
}

static enum cx_err play(struct cx_runtime *rt, struct result *result, uint64_t *restarts)
{
	struct dispatcher_conf conf = { .result = result };
	struct cx_child children[WORKERS + 1];
	const struct cx_supervisor_conf supervisor = { .children = children,
		                                       .child_count = WORKERS + 1,
		                                       .max_restarts = 100,
		                                       .backoff_min_ms = 1,
		                                       .backoff_max_ms = 20 };
	struct cx_ref ref;
	enum cx_err err;

	/* Children start in order, and each start copies its conf: by then the workers' addresses
	 * stand in the dispatcher's. */
	for (unsigned i = 0; i < WORKERS; i++)
		children[i] = (struct cx_child){ &worker_type, NULL, i, &conf.workers[i] };
	children[WORKERS] = (struct cx_child){ &dispatcher_type, &conf, 0, NULL };
	err = cx_runtime_spawn(rt, &cx_supervisor_type, &supervisor, 0, &ref);
	if (err == CX_OK)
		err = cx_runtime_start(rt);
	if (err != CX_OK)
		return err;
	while (sem_wait(&result->finished) != 0)
		;
	cx_runtime_stop(rt);
	*restarts = restarts_of_workers(rt);
	return CX_OK;
}

int main(void)
{
	const struct cx_runtime_conf conf = { .workers = 2 };
	const uint64_t squares = (uint64_t)JOBS * (JOBS + 1) * (2 * JOBS + 1) / 6;
	struct result result = { .sum = 0 };
	uint64_t restarts = 0;
	struct cx_runtime *rt;
	enum cx_err err;

	sem_init(&result.finished, 0, 0);
	err = cx_runtime_new(&conf, &rt);
	if (err == CX_OK) {
		err = play(rt, &result, &restarts);
		cx_runtime_free(rt);
	}
	printf("%d jobs, %u given out again, %u restarts, sum %llu: %s\n", JOBS, result.again,
	       (unsigned)restarts, (unsigned long long)result.sum, cx_err_text(err));
	/* On a busy machine a deadline may pass for a job that was only late: then it is done twice
	 * and counted once, so `again` is a lower bound. */
	return err == CX_OK && result.sum == squares && restarts == JOBS / BAD_EVERY &&
	                       result.again >= JOBS / BAD_EVERY
	               ? 0
	               : 1;
}
