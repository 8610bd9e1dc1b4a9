/* SPDX-License-Identifier: MIT */
/* Wake-ups: a worker that runs is never woken, one that sleeps once, whatever comes at once (worker.c, inv. 3).
 * Its loop is a test's, which knows for sure whether the worker sleeps; nothing here goes by time. */
#include <cx/runtime.h>

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include <cx/log.h>

#include "support/wait.h"

enum { HOLD = CX_MSG_USER, NOTE };
enum { GATES = 8, NOTES = 50, CAP = 64 };

static struct cx_runtime *rt;

static void post(struct cx_ref to, uint32_t type)
{
	cr_assert_eq(cx_post(rt, to, cx_post_new(type, sizeof(struct cx_msg))), CX_OK);
}

/* ---- the loop ---- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t bell;
	bool is_rung, is_waiting;
	uint64_t rings;
} door = { .lock = PTHREAD_MUTEX_INITIALIZER, .bell = PTHREAD_COND_INITIALIZER };

static enum cx_err door_open(void *arg, unsigned worker, void **out)
{
	(void)arg;
	(void)worker;
	*out = &door;
	return CX_OK;
}

static void door_poll(void *loop, int timeout_ms)
{
	(void)loop;
	if (timeout_ms == 0)
		return;
	pthread_mutex_lock(&door.lock);
	door.is_waiting = true;
	while (!door.is_rung) /* nothing here has a timer */
		pthread_cond_wait(&door.bell, &door.lock);
	door.is_rung = false;
	door.is_waiting = false;
	pthread_mutex_unlock(&door.lock);
}

static void door_wake(void *loop)
{
	(void)loop;
	pthread_mutex_lock(&door.lock);
	door.is_rung = true;
	door.rings++;
	pthread_cond_signal(&door.bell);
	pthread_mutex_unlock(&door.lock);
}

static void door_close(void *loop)
{
	(void)loop;
}

static const struct cx_loop_ops door_ops = { door_open, door_poll, door_wake, door_close };

static void wait_asleep(void)
{
	bool is_asleep = false;

	while (!is_asleep) {
		sleep_ms(1);
		pthread_mutex_lock(&door.lock);
		is_asleep = door.is_waiting && !door.is_rung;
		pthread_mutex_unlock(&door.lock);
	}
}

/* ---- actors ---- */

static _Atomic int held, let_go, noted;

/* Until the test lets it go. */
static void on_gate(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const int number = atomic_fetch_add(&held, 1) + 1;

	(void)ctx;
	(void)state;
	(void)msg;
	wait_for(&let_go, number);
}

static void on_note(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	atomic_fetch_add(&noted, 1);
}

static const struct cx_handler gate_handlers[] = { CX_ON(HOLD, struct cx_msg, on_gate),
	                                           CX_ON(NOTE, struct cx_msg, on_note) };
static const struct cx_actor_type gate_type = {
	.name = "gate",
	.mailbox_cap = CAP,
	.placement = CX_PLACE_IO,
	.handlers = gate_handlers,
	.handler_count = CX_COUNTOF(gate_handlers),
};

static struct cx_ref gate[GATES];

static void open_gates(void)
{
	const struct cx_runtime_conf conf = { .workers = 1, .loop = &door_ops };

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	cr_assert_eq(cx_runtime_new(&conf, &rt), CX_OK);
	for (unsigned i = 0; i < GATES; i++)
		cr_assert_eq(cx_runtime_spawn(rt, &gate_type, NULL, 0, &gate[i]), CX_OK);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	wait_asleep();
}

/* To the one that runs and to those that are idle. */
static void post_notes(void)
{
	for (int n = 0; n < NOTES; n++)
		for (unsigned i = 0; i < GATES; i++)
			post(gate[i], NOTE);
}

static uint64_t wakeups(void)
{
	struct cx_worker_stats w;

	cr_assert_eq(cx_runtime_worker_stats(rt, &w, 1), 1);
	cr_assert_eq(w.wakeups, door.rings, "counted and made");
	return w.wakeups;
}

TestSuite(wakeups, .timeout = 120);

Test(wakeups, a_worker_that_runs_is_never_woken)
{
	uint64_t woken;

	open_gates();
	post(gate[0], HOLD);
	wait_for(&held, 1);
	woken = wakeups();
	post_notes();
	cr_assert_eq(wakeups(), woken);
	atomic_store(&let_go, 1);
	wait_for(&noted, NOTES * GATES);
	wait_asleep();
	cr_assert_eq(wakeups(), woken);
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
}

Test(wakeups, a_worker_that_sleeps_is_woken_once_for_all_that_comes)
{
	open_gates();
	for (int round = 1; round <= 50; round++) {
		const uint64_t woken = wakeups();

		post(gate[0], HOLD); /* held, lest it sleeps again between two */
		post_notes();
		cr_assert_eq(wakeups(), woken + 1);
		atomic_store(&let_go, round);
		wait_for(&noted, round * NOTES * GATES);
		wait_asleep();
		cr_assert_eq(wakeups(), woken + 1);
	}
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
}
