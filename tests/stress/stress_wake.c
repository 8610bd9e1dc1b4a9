/* SPDX-License-Identifier: MIT */
/* Messages to workers that sleep, or are just about to: each is answered within a bound.  Nothing
 * else would wake them: there is no timer, and a sleep lasts a minute.
 *
 * First with a loop of the user's, with which a worker goes to sleep as soon as it is done; then with the
 * built-in one, where it spins before (src/runtime/rest.c), and pauses that end about when a spin does. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#include <cx/runtime.h>

#include "runtime/internal.h"
#include "stress.h"

#define POSTERS 3
#define BOUND_SECS 10 /* a machine that is busy otherwise; a lost wake-up takes 60 */
/* Turns of an empty loop: what a worker needs to fall asleep, and more; the same behind a spin. */
#define PAUSE_MAX 2048
#define SPIN_PAUSE_MAX 65536
#define ASK_SECS 2 /* at most, on a machine that is busy otherwise */
#define LOOKS 4096 /* looks at the answer before the core is given away */

enum { BALL = CX_MSG_USER, QUESTION };

struct ball {
	struct cx_msg hdr;
	struct cx_ref back; /* where it is to go next */
	uint64_t left;
};

struct question {
	struct cx_msg hdr;
	_Atomic uint64_t *answered; /* the poster's */
};

static sem_t game_over;
static struct cx_ref players[2];
static struct cx_runtime *rt;
static _Atomic uint64_t late;
static uint64_t questions; /* of each poster */
static uint64_t pause_max;
static bool spins;
static _Atomic uint64_t answered[POSTERS]; /* outlive a message that comes too late */

static void on_ball(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct ball *b = CX_MSG_AS(struct ball, msg);
	struct ball *next;

	(void)state;
	if (b->left == 0) {
		sem_post(&game_over);
		return;
	}
	next = CX_MSG_NEW(ctx, BALL, struct ball);
	next->back = cx_self(ctx);
	next->left = b->left - 1;
	if (cx_send(ctx, b->back, &next->hdr) != CX_OK)
		abort();
}

static void on_question(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	atomic_fetch_add(CX_MSG_AS(struct question, msg)->answered, 1);
}

static const struct cx_handler handlers[] = {
	CX_ON(BALL, struct ball, on_ball),
	CX_ON(QUESTION, struct question, on_question),
};
static const struct cx_actor_type player = { .name = "player",
	                                     .mailbox_cap = 16,
	                                     .placement = CX_PLACE_IO,
	                                     .handlers = handlers,
	                                     .handler_count = CX_COUNTOF(handlers) };

static bool wait_for(sem_t *sem)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += BOUND_SECS;
	while (sem_timedwait(sem, &until) != 0)
		if (errno != EINTR)
			return false;
	return true;
}

static void boot(void)
{
	static struct cx_loop_ops own;
	struct cx_runtime_conf conf = { .workers = 2 };

	own = cx__loop_ops;
	if (!spins)
		conf.loop = &own;
	if (cx_runtime_new(&conf, &rt) != CX_OK)
		abort();
	for (unsigned i = 0; i < 2; i++)
		if (cx_runtime_spawn(rt, &player, NULL, i, &players[i]) != CX_OK)
			abort();
	if (cx_runtime_start(rt) != CX_OK)
		abort();
}

/* Stops the runtime.  Returns how often its workers slept. */
static uint64_t finish(void)
{
	struct cx_worker_stats stats[2];
	uint64_t sleeps = 0;

	cx_runtime_worker_stats(rt, stats, 2);
	for (unsigned i = 0; i < 2; i++)
		sleeps += stats[i].sleeps;
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
	return sleeps;
}

/* One ball between two workers: each falls asleep while the other has it. */
static void play(uint64_t rounds)
{
	struct ball *b;
	uint64_t sleeps;
	bool is_done = true;

	sem_init(&game_over, 0, 0);
	boot();
	for (uint64_t left = rounds; left > 0 && is_done; left -= rounds / 20) {
		b = (struct ball *)(void *)cx_post_new(BALL, sizeof(*b));
		b->back = players[1];
		b->left = rounds / 20;
		if (cx_post(rt, players[0], &b->hdr) != CX_OK)
			abort();
		is_done = wait_for(&game_over); /* a twentieth within the bound */
	}
	sleeps = finish();
	printf("between two workers%s: %llu messages, %llu sleeps\n", spins ? " that spin" : "",
	       (unsigned long long)rounds, (unsigned long long)sleeps);
	STRESS_CHECK(is_done, "the ball is lost");
	STRESS_CHECK(spins || sleeps > rounds / 10, "they seldom slept: nothing shown");
}

static bool wait_for_answer(const _Atomic uint64_t *count, uint64_t at_least)
{
	const time_t until = time(NULL) + BOUND_SECS;

	for (uint64_t looks = 1; atomic_load(count) < at_least; looks++) {
		if (looks % LOOKS != 0)
			continue;
		if (time(NULL) > until)
			return false;
		sched_yield();
	}
	return true;
}

/* Asks, waits without sleeping, asks again after a pause that varies: to meet the worker on its way to
 * sleep, between its look at the queue and its flag. */
static void *poster_main(void *arg)
{
	_Atomic uint64_t *mine = arg;
	const time_t until = time(NULL) + ASK_SECS;

	for (uint64_t n = 0; n < questions && time(NULL) <= until; n++) {
		struct question *q =
			(struct question *)(void *)cx_post_new(QUESTION, sizeof(*q));

		q->answered = mine;
		if (cx_post(rt, players[n / 64 % 2], &q->hdr) != CX_OK)
			abort();
		if (!wait_for_answer(mine, n + 1)) {
			atomic_fetch_add(&late, 1);
			break;
		}
		for (volatile uint64_t pause = n * 7919 % pause_max; pause > 0; pause--)
			;
	}
	return NULL;
}

static void ask(unsigned posters, uint64_t rounds)
{
	pthread_t threads[POSTERS];
	uint64_t sleeps, asked = 0;

	questions = rounds;
	pause_max = spins ? SPIN_PAUSE_MAX : PAUSE_MAX;
	boot();
	for (unsigned i = 0; i < posters; i++) {
		atomic_store(&answered[i], 0);
		if (pthread_create(&threads[i], NULL, poster_main, &answered[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < posters; i++) {
		pthread_join(threads[i], NULL);
		asked += atomic_load(&answered[i]);
	}
	sleeps = finish();
	printf("from outside%s, %u at once: %llu messages, %llu sleeps\n",
	       spins ? ", to who spins" : "", posters, (unsigned long long)asked,
	       (unsigned long long)sleeps);
	STRESS_CHECK(atomic_load(&late) == 0, "no answer in %d s", BOUND_SECS);
	STRESS_CHECK(sleeps > asked / 100, "they seldom slept: nothing shown");
}

int main(int argc, char **argv)
{
	const uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000;

	setvbuf(stdout, NULL, _IOLBF, 0);
	play(rounds);
	for (unsigned posters = 1; posters <= POSTERS && atomic_load(&late) == 0; posters++)
		ask(posters, rounds * 5);
	spins = true;
	play(rounds);
	ask(1, rounds * 5);
	return stress_end();
}
