/* SPDX-License-Identifier: MIT */
/* Rests of a busy worker.
 *
 * A worker that goes to sleep as soon as it is done is woken again for the next message: a switch of
 * threads, a poll, and a write for each connection that has something to say, for every few messages.
 * So under load it keeps away from its loop for a while, and then takes all that came as one.  The same
 * is done about packets: Mogul and Ramakrishnan, "Eliminating receive livelock in an interrupt-driven
 * kernel", 1997.
 *
 * How many messages it handled in the last LOAD_NS says how long: up to RATE_LOW a second not at all, so
 * that with little to do nothing waits; from RATE_HIGH on conf.rest_us.  (Its share of a CPU says less: with
 * few messages each costs ten times as much, mostly for sleeping and waking.)
 * While it rests it counts as awake (worker.c): nobody has to wake it, and nothing is lost by that, since
 * it looks at everything again before it sleeps. */
#include <time.h>

#include "runtime/internal.h"

#define LOAD_NS UINT64_C(10000000)
#define RATE_LOW 20000
#define RATE_HIGH 60000

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
