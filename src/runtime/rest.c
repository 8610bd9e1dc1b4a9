/* SPDX-License-Identifier: MIT */
/* What a worker that has nothing to do does before it polls: it rests, or looks on for a while.
 *
 * Rests.
 * A worker that goes to sleep as soon as it is done is woken again for the next message: a switch of
 * threads, a poll, and a write for each connection that has something to say, for every few messages.
 * So under load it keeps away from its loop for a while, and then takes all that came as one.  The same
 * is done about packets: Mogul and Ramakrishnan, "Eliminating receive livelock in an interrupt-driven
 * kernel", 1997.
 *
 * How many messages it handled in the last LOAD_NS says how long: up to RATE_LOW a second not at all, so
 * that with little to do nothing waits; from RATE_HIGH on conf.rest_us.  (Its share of a CPU says less: with
 * few messages each costs ten times as much, mostly for sleeping and waking.)
 *
 * Spins.  Actors on two workers that answer each other leave each worker without work for a microsecond at a
 * time; to sleep, and be woken, takes both 30 to 50.  So a worker spins for about as long first: at most twice
 * what the better of both would have cost (Karlin, Li, Manasse and Owicki, "Empirical studies of competitive
 * spinning", SOSP 1991).  That is for the case that is not known; here it mostly is: after a spin in vain
 * the next sleep goes without one, then 2, 4, .. SKIP_MAX of them, until one pays.  Only with the built-in
 * loop: what a user's loop waits for would wait for the spin (the embedded relay had 8 % less throughput).
 *
 * Meanwhile it counts as awake (worker.c): nobody has to wake it, and nothing is lost by that, since it looks
 * at everything again before it sleeps. */
#include <time.h>

#include "runtime/internal.h"

#define LOAD_NS UINT64_C(10000000)
#define RATE_LOW 20000
#define RATE_HIGH 60000
#define SPIN_NS 20000
#define LOOKS 16 /* between looks at the clock */
#define SKIP_MAX 256

uint32_t cx__rest_us(uint32_t max_us, uint64_t messages, uint64_t ns)
{
	const uint64_t rate = ns > 0 ? messages * UINT64_C(1000000000) / ns : 0;

	if (rate <= RATE_LOW)
		return 0;
	if (rate >= RATE_HIGH)
		return max_us;
	return (uint32_t)(max_us * (rate - RATE_LOW) / (RATE_HIGH - RATE_LOW));
}

void cx__rest(struct cx_worker *w)
{
	const uint64_t now_ns = cx__now_ns(w);
	struct timespec t = { 0 };

	if (now_ns - w->load_ns >= LOAD_NS) {
		const uint64_t calls = atomic_load_explicit(&w->calls, memory_order_relaxed);

		w->rest_us = cx__rest_us(w->rt->conf.rest_us, calls - w->load_calls,
		                         now_ns - w->load_ns);
		w->load_calls = calls;
		w->load_ns = now_ns;
	}
	if (w->rest_us == 0)
		return;
	t.tv_nsec = (long)w->rest_us * 1000;
	clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL); /* cut short by a signal: no harm */
	w->now_is_old = 1;
}

uint32_t cx__spin_skip(uint32_t skipped, bool paid)
{
	if (paid)
		return 0;
	return skipped == 0 ? 1 : skipped < SKIP_MAX ? 2 * skipped : SKIP_MAX;
}

static bool look_on(struct cx_worker *w)
{
	const uint64_t until_ns = cx__clock_ns() + SPIN_NS;

	do {
		for (unsigned i = 0; i < LOOKS; i++) {
			if (cx__has_work(w))
				return true;
			ck_pr_stall();
		}
	} while (cx__clock_ns() < until_ns);
	return false;
}

void cx__spin(struct cx_worker *w)
{
	if (w->spin_skip > 0) {
		w->spin_skip--;
		return;
	}
	w->spin_skipped = cx__spin_skip(w->spin_skipped, look_on(w));
	w->spin_skip = w->spin_skipped;
	w->now_is_old = 1;
}
