/* SPDX-License-Identifier: MIT */
/* Actors with a home never leave it: those of CX_PLACE_HOME and CX_PLACE_IO run on one worker for life, the IO
 * ones on that which was asked for, while actors of any worker beside them are being stolen and send to
 * them from everywhere.  The same turns show that those move: else nothing was shown. */
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#include <cx/runtime.h>

#include "stress.h"

#define WORKERS 3
#define PINNED 12 /* of each placement */
#define WAITING 3
#define NOTES_A_ROUND ((1 + WAITING) * 2 * PINNED * 2) /* each is sent on once */
#define MAILBOX 4096

enum { BEGIN = CX_MSG_USER, RELEASE, NOTE };

struct note {
	struct cx_msg hdr;
	uint64_t left; /* times it is sent on */
};

struct pinned {
	unsigned number;
	unsigned worker; /* + 1; 0: had no message yet */
};

static struct cx_runtime *rt;
static sem_t is_over;
static struct cx_ref stuck, waiting[WAITING], pinned[2 * PINNED];
static _Atomic int freed;
static _Atomic uint64_t notes, moves, wrong_home, elsewhere[WORKERS];

/* From wherever this runs: over the stack, or from hand to hand. */
static void note(struct cx_ctx *ctx, unsigned to, uint64_t left)
{
	struct note *n = CX_MSG_NEW(ctx, NOTE, struct note);

	n->left = left;
	if (cx_send_reserved(ctx, pinned[to % (2 * PINNED)], &n->hdr) != CX_OK)
		abort();
}

static void note_all(struct cx_ctx *ctx)
{
	for (unsigned i = 0; i < 2 * PINNED; i++)
		note(ctx, i, 1);
}

/* Until those who wait behind it have run, which they can only elsewhere. */
static void on_begin(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	note_all(ctx);
	for (int i = 0; i < WAITING; i++)
		if (cx_send(ctx, waiting[i], cx_msg_new(ctx, RELEASE, sizeof(struct cx_msg))) !=
		    CX_OK)
			abort();
	while (atomic_load(&freed) < WAITING)
		sched_yield();
	sem_post(&is_over);
}

static void on_release(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	note_all(ctx);
	atomic_fetch_add(&elsewhere[cx_worker_index(ctx)], 1);
	atomic_fetch_add(&freed, 1);
}

static void on_note(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct note *n = CX_MSG_AS(struct note, msg);
	const unsigned worker = cx_worker_index(ctx) + 1;
	struct pinned *p = state;

	if (p->worker == 0)
		p->worker = worker;
	if (p->worker != worker)
		atomic_fetch_add(&moves, 1);
	if (n->left > 0)
		note(ctx, p->number + 7, n->left - 1);
	atomic_fetch_add(&notes, 1);
}

static enum cx_err start_home(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct pinned *p = state;

	p->number = *(const unsigned *)conf;
	p->worker = cx_worker_index(ctx) + 1;
	return CX_OK;
}

static enum cx_err start_io(struct cx_ctx *ctx, void *state, const void *conf)
{
	const enum cx_err err = start_home(ctx, state, conf);
	const struct pinned *p = state;

	if (p->worker != p->number % WORKERS + 1)
		atomic_fetch_add(&wrong_home, 1);
	return err;
}

static enum cx_err start_any(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	(void)state;
	(void)conf;
	return CX_OK;
}

#define KIND(kind, id, msg_struct, fn, where, begin)                                      \
	static const struct cx_handler kind##_handlers[] = { CX_ON(id, msg_struct, fn) }; \
	static const struct cx_actor_type kind = { .name = #kind,                         \
		                                   .state_size = sizeof(struct pinned),   \
		                                   .conf_size = sizeof(unsigned),         \
		                                   .mailbox_cap = MAILBOX,                \
		                                   .placement = (where),                  \
		                                   .start = (begin),                      \
		                                   .handlers = kind##_handlers,           \
		                                   .handler_count = 1 }

KIND(beginner, BEGIN, struct cx_msg, on_begin, CX_PLACE_ANY, start_any);
KIND(waiter, RELEASE, struct cx_msg, on_release, CX_PLACE_ANY, start_any);
KIND(at_home, NOTE, struct note, on_note, CX_PLACE_HOME, start_home);
KIND(at_loop, NOTE, struct note, on_note, CX_PLACE_IO, start_io);

static void spawn(const struct cx_actor_type *type, unsigned number, struct cx_ref *out)
{
	const uint64_t key = type == &at_loop ? number % WORKERS : number;

	if (cx_runtime_spawn(rt, type, &number, key, out) != CX_OK)
		abort();
}

static void boot(void)
{
	const struct cx_runtime_conf conf = { .workers = WORKERS };

	if (cx_runtime_new(&conf, &rt) != CX_OK)
		abort();
	spawn(&beginner, 0, &stuck);
	for (unsigned i = 0; i < WAITING; i++)
		spawn(&waiter, i, &waiting[i]);
	for (unsigned i = 0; i < 2 * PINNED; i++)
		spawn(i % 2 == 0 ? &at_home : &at_loop, i, &pinned[i]);
	if (cx_runtime_start(rt) != CX_OK)
		abort();
}

/* A round that does not end is run-stress.sh's to end. */
static void play(uint64_t round)
{
	atomic_store(&freed, 0);
	if (cx_post(rt, stuck, cx_post_new(BEGIN, sizeof(struct cx_msg))) != CX_OK)
		abort();
	sem_wait(&is_over);
	if (round % 4 != 0)
		return; /* the next one begins while notes are under way */
	while (atomic_load(&notes) < (round + 1) * NOTES_A_ROUND)
		sched_yield();
	stress_sleep_ms((long)(round % 3));
}

int main(int argc, char **argv)
{
	const uint64_t rounds = (argc > 1 ? strtoull(argv[1], NULL, 10) : 20000) / 20 + 1;
	struct cx_worker_stats w[WORKERS];
	uint64_t steals = 0, ran_on = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (sem_init(&is_over, 0, 0) != 0)
		abort();
	boot();
	for (uint64_t round = 0; round < rounds; round++)
		play(round);
	while (atomic_load(&notes) < rounds * NOTES_A_ROUND)
		sched_yield();
	(void)cx_runtime_worker_stats(rt, w, WORKERS);
	for (unsigned i = 0; i < WORKERS; i++) {
		steals += w[i].steals;
		ran_on += atomic_load(&elsewhere[i]) > 0;
	}
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
	printf("%llu rounds, %llu steals\n", (unsigned long long)rounds,
	       (unsigned long long)steals);
	STRESS_CHECK(atomic_load(&moves) == 0, "%llu turns away from home",
	             (unsigned long long)atomic_load(&moves));
	STRESS_CHECK(atomic_load(&wrong_home) == 0, "not on the worker that was asked for");
	STRESS_CHECK(atomic_load(&notes) == rounds * NOTES_A_ROUND, "none twice");
	STRESS_CHECK(steals >= rounds / 2 && ran_on > 1, "hardly anybody moved: nothing shown");
	return stress_end();
}
