/* SPDX-License-Identifier: MIT */
/* Actors of any worker that wait behind a turn without an end, while another worker is idle: each is
 * run there within a bound.  Before, quick turns have taught the scheduler that nobody needs help. */
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#include <cx/runtime.h>

#include "stress.h"

#define WORKERS 3
#define STUCK 2       /* at once: one worker is left for those who wait */
#define WAITING 3     /* behind each */
#define BOUND_SECS 10 /* a machine that is busy otherwise; else it would be for ever */
#define QUICK_MAX 512 /* hops before a turn that does not end */
#define NS_A_SEC INT64_C(1000000000)

enum { HOP = CX_MSG_USER, RELEASE };

struct hop {
	struct cx_msg hdr;
	uint64_t left;
};

static sem_t is_over;
static struct cx_runtime *rt;
static struct cx_ref stuck[STUCK], waiting[STUCK][WAITING];
static _Atomic int freed[STUCK], ended;
static _Atomic uint64_t late;

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * NS_A_SEC + (int64_t)t.tv_nsec;
}

/* Quick ones first, then all that wait are made runnable, and this turn lasts until all have run. */
static void on_hop(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const unsigned me = *(const unsigned *)state;
	const struct hop *h = CX_MSG_AS(struct hop, msg);
	const int64_t until_ns = now_ns() + BOUND_SECS * NS_A_SEC;

	if (h->left > 0) {
		struct hop *next = CX_MSG_NEW(ctx, HOP, struct hop);

		next->left = h->left - 1;
		if (cx_send(ctx, cx_self(ctx), &next->hdr) != CX_OK)
			abort();
		return;
	}
	for (int i = 0; i < WAITING; i++)
		if (cx_send(ctx, waiting[me][i],
		            cx_msg_new(ctx, RELEASE, sizeof(struct cx_msg))) != CX_OK)
			abort();
	while (atomic_load(&freed[me]) < WAITING && now_ns() < until_ns)
		sched_yield();
	if (atomic_load(&freed[me]) < WAITING)
		atomic_fetch_add(&late, 1);
	if (atomic_fetch_add(&ended, 1) + 1 == STUCK)
		sem_post(&is_over);
}

static void on_release(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)msg;
	atomic_fetch_add(&freed[*(const unsigned *)state], 1);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	*(unsigned *)state = *(const unsigned *)conf;
	return CX_OK;
}

#define KIND(kind, id, msg_struct, fn)                                                    \
	static const struct cx_handler kind##_handlers[] = { CX_ON(id, msg_struct, fn) }; \
	static const struct cx_actor_type kind = { .name = #kind,                         \
		                                   .state_size = sizeof(unsigned),        \
		                                   .conf_size = sizeof(unsigned),         \
		                                   .mailbox_cap = 64,                     \
		                                   .placement = CX_PLACE_ANY,             \
		                                   .start = start,                        \
		                                   .handlers = kind##_handlers,           \
		                                   .handler_count = 1 }

KIND(hopper, HOP, struct hop, on_hop);
KIND(waiter, RELEASE, struct cx_msg, on_release);

static void spawn(const struct cx_actor_type *type, unsigned number, struct cx_ref *out)
{
	if (cx_runtime_spawn(rt, type, &number, number, out) != CX_OK)
		abort();
}

static void boot(void)
{
	const struct cx_runtime_conf conf = { .workers = WORKERS };

	if (cx_runtime_new(&conf, &rt) != CX_OK)
		abort();
	for (unsigned s = 0; s < STUCK; s++) {
		spawn(&hopper, s, &stuck[s]);
		for (unsigned i = 0; i < WAITING; i++)
			spawn(&waiter, s, &waiting[s][i]);
	}
	if (cx_runtime_start(rt) != CX_OK)
		abort();
}

/* As many at once as are to be stuck; a pause lets the workers fall asleep, or not. */
static void play(uint64_t round, unsigned at_once)
{
	atomic_store(&ended, STUCK - (int)at_once);
	for (unsigned s = 0; s < at_once; s++) {
		struct hop *h = (struct hop *)(void *)cx_post_new(HOP, sizeof(*h));

		atomic_store(&freed[s], 0);
		h->left = (round + s) * 7919 % QUICK_MAX;
		if (cx_post(rt, stuck[s], &h->hdr) != CX_OK)
			abort();
	}
	sem_wait(&is_over);
	if (round % 3 == 0)
		stress_sleep_ms((long)(round % 4));
}

int main(int argc, char **argv)
{
	const uint64_t rounds = (argc > 1 ? strtoull(argv[1], NULL, 10) : 20000) / 20;
	struct cx_worker_stats w[WORKERS];
	uint64_t steals = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (sem_init(&is_over, 0, 0) != 0)
		abort();
	boot();
	for (uint64_t round = 0; round < rounds && atomic_load(&late) == 0; round++)
		play(round, 1 + round % STUCK);
	(void)cx_runtime_worker_stats(rt, w, WORKERS);
	for (unsigned i = 0; i < WORKERS; i++)
		steals += w[i].steals;
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
	printf("%llu rounds, %llu steals\n", (unsigned long long)rounds,
	       (unsigned long long)steals);
	STRESS_CHECK(atomic_load(&late) == 0, "still waiting after %d s", BOUND_SECS);
	STRESS_CHECK(steals >= rounds, "hardly anybody stole: nothing shown");
	return stress_end();
}
