/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/crossing.h"
#include "runtime/internal.h"

#define MAX_ACTORS (4u << 20)
#define OFFLOAD_THREADS_MAX 1024
#define OFFLOAD_QUEUE_MAX (1u << 20)

static struct cx_worker *worker_new(struct cx_runtime *rt, unsigned index, uint64_t seed)
{
	struct cx_worker *w = aligned_alloc(CX__APART, sizeof(*w));
	struct cx__pool *pool = cx__pool_new();
	uint32_t **under_way = calloc(rt->chunk_max, sizeof(*under_way));

	if (w == NULL || pool == NULL || under_way == NULL) {
		free(under_way);
		if (pool != NULL)
			cx__pool_delete(pool);
		free(w);
		return NULL;
	}
	memset(w, 0, sizeof(*w));
	ck_stack_init(&w->inject);
	ck_stack_init(&w->mail);
	w->parcel_to = CX__DIRECT_NOBODY;
	pthread_mutex_init(&w->free_lock, NULL);
	w->rt = rt;
	w->index = (uint16_t)index;
	w->run_end[0] = &w->run_head;
	w->run_end[1] = &w->run_nowhere;
	w->direct = rt->sim != NULL ? CX__DIRECT_NOW_NEVER : w->index;
	w->ctx.worker = w;
	w->pool = pool;
	w->under_way = under_way;
	w->random = (seed + index) * UINT64_C(0x9e3779b97f4a7c15) | 1;
	cx__worker_clock(w);
	cx__wheel_init(&w->wheel, cx__now_ms(w));
	return w;
}

static void worker_delete(struct cx_worker *w)
{
	for (uint32_t i = 0; i < w->ask_page_count; i++)
		free(w->ask_pages[i]);
	free(w->ask_pages);
	for (unsigned k = 0; k < CX__KINDS_MAX; k++)
		free(atomic_load(&w->times[k]));
	cx__crossing_end(w);
	cx__pool_delete(w->pool);
	free(w);
}

static unsigned online_cpus(void)
{
	const long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > 64 ? 64 : (unsigned)n;
}

static bool is_conf_right(const struct cx_runtime_conf *conf)
{
	if (conf->workers > 64 || conf->offload_threads > OFFLOAD_THREADS_MAX ||
	    conf->offload_queue > OFFLOAD_QUEUE_MAX || conf->max_actors > MAX_ACTORS)
		return false;
	if (conf->msg_name_count > 0 && conf->msg_names == NULL)
		return false;
	for (unsigned i = 0; i < conf->msg_name_count; i++)
		if (conf->msg_names[i] == NULL)
			return false;
	return true;
}

static void set_defaults(struct cx_runtime_conf *conf)
{
	if (conf->workers == 0)
		conf->workers = online_cpus();
	if (conf->offload_threads == 0)
		conf->offload_threads = online_cpus() / 2 > 0 ? online_cpus() / 2 : 1;
	if (conf->offload_queue == 0)
		conf->offload_queue = 256;
	if (conf->watchdog_ms == 0)
		conf->watchdog_ms = 50;
	if (conf->max_actors == 0)
		conf->max_actors = MAX_ACTORS;
	if (conf->loop == NULL)
		conf->loop = &cx__loop_ops;
	if (conf->seed == 0)
		conf->seed = cx__clock_ns();
}

static enum cx_err open_workers(struct cx_runtime *rt)
{
	for (unsigned i = 0; i < rt->workers; i++) {
		struct cx_worker *w = worker_new(rt, i, rt->conf.seed);
		enum cx_err err;

		if (w == NULL)
			return CX_ENOMEM;
		snprintf(w->name, sizeof(w->name), "cx-worker-%u", i % 1000);
		w->loop_ops = rt->conf.loop;
		err = w->loop_ops->open(rt->conf.loop_arg, i, &w->loop);
		if (err != CX_OK) {
			worker_delete(w);
			return err;
		}
		rt->worker[i] = w;
		rt->all_workers++;
	}
	return CX_OK;
}

enum cx_err cx__runtime_new(const struct cx_runtime_conf *conf, struct cx_sim *sim,
                            struct cx_runtime **out)
{
	struct cx_runtime *rt;
	pthread_condattr_t attr;
	enum cx_err err;

	if (!is_conf_right(conf))
		return CX_EINVAL;
	rt = calloc(1, sizeof(*rt));
	if (rt == NULL)
		return CX_ENOMEM;
	rt->conf = *conf;
	rt->sim = sim;
	set_defaults(&rt->conf);
	rt->workers = rt->conf.workers;
	rt->chunk_max = (rt->conf.max_actors + CX__CHUNK - 1) / CX__CHUNK;
	rt->chunks = calloc(rt->chunk_max, sizeof(*rt->chunks));
	if (rt->chunks == NULL) {
		free(rt);
		return CX_ENOMEM;
	}
	for (unsigned i = 0; i < CX_MSG_LIMIT; i++)
		snprintf(rt->msg_number[i], sizeof(rt->msg_number[i]), "%u", i);
	pthread_mutex_init(&rt->lock, NULL);
	pthread_mutex_init(&rt->watchdog_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&rt->watchdog_cond, &attr);
	pthread_condattr_destroy(&attr);
	pthread_barrier_init(&rt->quiet, NULL, rt->workers);
	err = open_workers(rt);
	if (err != CX_OK) {
		cx__runtime_free(rt);
		return err;
	}
	*out = rt;
	return CX_OK;
}

enum cx_err cx_runtime_new(const struct cx_runtime_conf *conf, struct cx_runtime **out)
{
	return cx__runtime_new(conf, NULL, out);
}

static enum cx_err add_dedicated(struct cx_runtime *rt, const struct cx_actor_type *type,
                                 unsigned *index)
{
	struct cx_worker *w;

	cx_assert(!rt->started && rt->all_workers < CX__WORKERS_MAX);
	w = worker_new(rt, rt->all_workers, rt->conf.seed);
	if (w == NULL)
		return CX_ENOMEM;
	w->dedicated = 1;
	snprintf(w->name, sizeof(w->name), "%s", type->name);
	w->loop_ops = rt->sim != NULL ? rt->conf.loop : &cx__loop_ops;
	if (w->loop_ops->open(NULL, w->index, &w->loop) != CX_OK) {
		worker_delete(w);
		return CX_EIO;
	}
	*index = rt->all_workers;
	rt->worker[rt->all_workers++] = w;
	return CX_OK;
}

enum cx_err cx_runtime_spawn(struct cx_runtime *rt, const struct cx_actor_type *type,
                             const void *conf, uint64_t home_key, struct cx_ref *out)
{
	cx__demand(type != NULL, "the type of an actor is NULL");
	if (atomic_load(&rt->stopping))
		return CX_EGONE;
	if (type->placement == CX_PLACE_THREAD) {
		unsigned index;
		enum cx_err err;

		cx__kind_of(rt, type); /* checks the type before its name is read */
		err = add_dedicated(rt, type, &index);
		if (err != CX_OK)
			return err;
		home_key = index;
	}
	return cx__spawn(rt, NULL, type, conf, home_key, CX_NOBODY, out);
}

enum cx_err cx_runtime_start(struct cx_runtime *rt)
{
	if (rt->started || rt->sim != NULL)
		return CX_EINVAL;
	rt->offload = cx__offload_new(rt, rt->conf.offload_threads, rt->conf.offload_queue);
	rt->started = true;
	rt->boot_slots = atomic_load(&rt->chunk_count) * CX__CHUNK;
	for (unsigned i = rt->all_workers; i-- > 0;) {
		if (rt->trace != NULL) {
			rt->worker[i]->is_trace_on = 1;
			rt->worker[i]->direct = CX__DIRECT_NOW_NEVER;
		}
		cx__thread_new(&rt->worker[i]->thread, cx__worker_main, rt->worker[i]);
	}
	cx__thread_new(&rt->watchdog, cx__watchdog_main, rt);
	return CX_OK;
}

static void stop_workers(struct cx_runtime *rt, unsigned first, unsigned end)
{
	for (unsigned i = first; i < end; i++) {
		struct cx_worker *w = rt->worker[i];

		atomic_store(&w->stop, CX__STOP_ASKED);
		w->loop_ops->wake(w->loop);
		atomic_store(&w->stop, CX__STOP_WOKEN);
	}
	for (unsigned i = first; i < end; i++)
		pthread_join(rt->worker[i]->thread, NULL);
}

void cx_runtime_stop(struct cx_runtime *rt)
{
	const struct cx_worker *here = cx__worker_here();

	if (!rt->started)
		return;
	cx__demand(here == NULL || here->rt != rt,
	           "cx_runtime_stop on a thread of this runtime, which it would wait for");
	if (rt->stopping)
		return;
	pthread_mutex_lock(&rt->watchdog_lock);
	rt->stopping = true;
	pthread_cond_signal(&rt->watchdog_cond);
	pthread_mutex_unlock(&rt->watchdog_lock);
	pthread_join(rt->watchdog, NULL);
	cx__offload_end(rt->offload);
	stop_workers(rt, 0, rt->workers);
	stop_workers(rt, rt->workers, rt->all_workers);
	cx__offload_delete(rt->offload);
}

static void free_list(struct cx_msg *msg)
{
	while (msg != NULL) {
		struct cx_msg *next = msg->link;

		cx__msg_free(msg);
		msg = next;
	}
}

/* Messages that were sent and never handled give their buffers back. */
static void empty_mailboxes(struct cx_runtime *rt)
{
	const uint32_t chunks = atomic_load(&rt->chunk_count);

	for (unsigned i = 0; i < rt->all_workers; i++) /* actors' last words */
		cx__parcel_flush(rt->worker[i]);
	for (unsigned i = 0; i < rt->all_workers; i++)
		cx__take_mail(rt->worker[i]);
	for (uint32_t slot = 0; slot < chunks * CX__CHUNK; slot++) {
		struct cx__actor *a = cx__actor_at(rt, slot);

		if (cx__front(a)->any)
			cx__drain(a);
		free_list(a->control_head);
		free_list(a->mail_head);
		if (a->state != NULL)
			cx__pool_give(a->state_owner, a->state, a->state_cls);
	}
}

void cx__runtime_free(struct cx_runtime *rt)
{
	empty_mailboxes(rt);
	for (unsigned i = 0; i < rt->all_workers; i++) {
		if (!rt->started)
			rt->worker[i]->loop_ops->close(rt->worker[i]->loop);
		worker_delete(rt->worker[i]);
	}
	for (uint32_t i = 0; i < atomic_load(&rt->chunk_count); i++)
		cx__chunk_unmap(&rt->chunks[i]);
	for (uint32_t i = 0; i < atomic_load(&rt->kind_count); i++)
		free(atomic_load(&rt->kinds[i]));
	free(rt->chunks);
	free(rt->trace);
	pthread_barrier_destroy(&rt->quiet);
	pthread_cond_destroy(&rt->watchdog_cond);
	pthread_mutex_destroy(&rt->watchdog_lock);
	pthread_mutex_destroy(&rt->lock);
	free(rt);
}

void cx_runtime_free(struct cx_runtime *rt)
{
	cx__demand(rt->sim == NULL,
	           "cx_runtime_free of a simulator's runtime: cx_sim_free does it");
	cx_assert(!rt->started || rt->stopping);
	cx__runtime_free(rt);
}

unsigned cx_runtime_workers(const struct cx_runtime *rt)
{
	return rt->workers;
}

const char *cx__msg_name(const struct cx_runtime *rt, uint32_t type)
{
	static const char *const system_names[] = {
		[CX_MSG_NONE] = "none",
#define X(id, struct_type, text) [id] = text,
#include <cx/messages.def>
#undef X
	};

	if (type < CX_COUNTOF(system_names) && system_names[type] != NULL)
		return system_names[type];
	if (rt->conf.msg_names != NULL && type >= CX_MSG_USER &&
	    type - CX_MSG_USER < rt->conf.msg_name_count)
		return rt->conf.msg_names[type - CX_MSG_USER];
	return rt->msg_number[type % CX_MSG_LIMIT]; /* they are below it */
}

static __attribute__((noreturn)) void end_process(void)
{
	const struct cx_worker *w = cx__worker_here();

	if (w != NULL && w->ctx.actor != NULL)
		fprintf(stderr, "  in actor kind %s, message %s, mailbox %d\n",
		        atomic_load(&cx__front(w->ctx.actor)->kind)->type->name,
		        cx__msg_name(w->rt, atomic_load(&w->doing_type)),
		        (int)(atomic_load(&cx__front(w->ctx.actor)->depth) +
		              atomic_load(&w->ctx.actor->local_depth)));
	abort();
}

void cx_assert_failed(const char *expr, const char *file, int line)
{
	fprintf(stderr, "assertion failed: %s (%s:%d)\n", expr, file, line);
	end_process();
}

void cx__out_of_memory(const char *what, size_t bytes)
{
	fprintf(stderr, "out of memory: %s, %zu bytes\n", what, bytes);
	end_process();
}

void cx__thread_new(pthread_t *thread, void *(*run)(void *), void *arg)
{
	const int rc = pthread_create(thread, NULL, run, arg);

	if (rc == 0)
		return;
	fprintf(stderr, "cannot make a thread: %s\n", strerror(rc));
	end_process();
}
