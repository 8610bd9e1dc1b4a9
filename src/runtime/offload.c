/* SPDX-License-Identifier: MIT */
/* Threads for what would block a worker (password hashes, DNS).  They run at low priority: on a
 * machine with all cores busy, conversations go first. */
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/annotate.h"
#include "runtime/crossing.h"
#include "runtime/internal.h"

#define NICE 15

struct job {
	struct cx_msg *msg;
	cx_offload_fn *fn;
};

struct cx__offload {
	struct cx_runtime *rt;
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct job *ring;
	unsigned cap, first, count;
	bool ending;
	unsigned threads;
	pthread_t thread[];
};

static bool next_job(struct cx__offload *pool, struct job *job)
{
	bool is_job;

	pthread_mutex_lock(&pool->lock);
	while (pool->count == 0 && !pool->ending)
		pthread_cond_wait(&pool->filled, &pool->lock);
	is_job = pool->count > 0;
	if (is_job) {
		*job = pool->ring[pool->first];
		pool->first = (pool->first + 1) % pool->cap;
		pool->count--;
	}
	pthread_mutex_unlock(&pool->lock);
	return is_job;
}

static void *offload_main(void *arg)
{
	struct cx__offload *pool = arg;
	struct job job;

	pthread_setname_np(pthread_self(), "cx-offload");
	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
	while (next_job(pool, &job)) {
		const struct cx_ref to = job.msg->to;
		enum cx_err err;

		job.fn(job.msg);
		err = cx__deliver(pool->rt, NULL, to, job.msg, CX__RESERVED);
		(void)err; /* the actor ended meanwhile: counted as a dead letter */
	}
	return NULL;
}

struct cx__offload *cx__offload_new(struct cx_runtime *rt, unsigned threads, unsigned queue)
{
	const size_t size = sizeof(struct cx__offload) + threads * sizeof(pthread_t);
	struct cx__offload *pool = calloc(1, size);

	if (pool == NULL)
		cx__out_of_memory("the offload pool", size);
	pool->ring = calloc(queue, sizeof(*pool->ring));
	if (pool->ring == NULL)
		cx__out_of_memory("the offload queue", queue * sizeof(*pool->ring));
	pool->rt = rt;
	pool->cap = queue;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->filled, NULL);
	for (unsigned i = 0; i < threads; i++) {
		cx__thread_new(&pool->thread[i], offload_main, pool);
		pool->threads++;
	}
	return pool;
}

void cx__offload_end(struct cx__offload *pool)
{
	pthread_mutex_lock(&pool->lock);
	while (pool->count > 0) { /* nobody waits for these any more */
		cx__msg_free(pool->ring[pool->first].msg);
		pool->first = (pool->first + 1) % pool->cap;
		pool->count--;
	}
	pool->ending = true;
	pthread_cond_broadcast(&pool->filled);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->threads; i++)
		pthread_join(pool->thread[i], NULL);
}

void cx__offload_delete(struct cx__offload *pool)
{
	pthread_mutex_destroy(&pool->lock);
	pthread_cond_destroy(&pool->filled);
	free(pool->ring);
	free(pool);
}

enum cx_err cx__offload_push(struct cx__offload *pool, struct cx_msg *job, cx_offload_fn *fn)
{
	bool is_full;

	pthread_mutex_lock(&pool->lock);
	is_full = pool->ending || pool->count == pool->cap;
	if (!is_full) {
		pool->ring[(pool->first + pool->count) % pool->cap] = (struct job){ job, fn };
		pool->count++;
		pthread_cond_signal(&pool->filled);
	}
	pthread_mutex_unlock(&pool->lock);
	if (!is_full)
		return CX_OK;
	cx__msg_free(job);
	return CX_EFULL;
}

enum cx_err cx_offload(struct cx_ctx *ctx, struct cx_msg *job, cx_offload_fn *fn)
{
	job->to = cx_self(ctx);
	job->from = job->to;
	if (ctx->worker->is_tracing)
		cx__trace_sent(ctx->worker, job);
	cx__parcel_flush(ctx->worker);
	if (ctx->worker->rt->sim != NULL)
		return cx__sim_offload(ctx->worker->rt->sim, job, fn);
	return cx__offload_push(ctx->worker->rt->offload, job, fn);
}
