/* SPDX-License-Identifier: MIT */
/* Rests of a busy worker.
 *
 * A worker that goes to sleep as soon as it is done is woken again for the next message: a switch of
 * threads, a poll, and a write for each connection that has something to say, for every few messages.
 * So under load it keeps away from its loop for a while, and then takes all that came as one.  The same
 * is done about packets: Mogul and Ramakrishnan, "Eliminating receive livelock in an interrupt-driven
 * kernel", 1997.
 *
 * Its share of a CPU in the last LOAD_NS says how long: below LOAD_LOW not at all, so that with little to
 * do nothing waits; from LOAD_HIGH on conf.rest_us.
 * While it rests it counts as awake (worker.c): nobody has to wake it, and nothing is lost by that, since
 * it looks at everything again before it sleeps. */
#include <time.h>

#include "runtime/internal.h"

#define LOAD_NS 10000000
#define LOAD_LOW 20 /* thousandths */
#define LOAD_HIGH 100

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

uint32_t cx__rest_us(uint32_t max_us, uint64_t cpu, uint64_t wall)
{
	const uint64_t load = wall > 0 ? cpu * 1000 / wall : 0;

	if (load < LOAD_LOW)
		return 0;
	return (uint32_t)(load < LOAD_HIGH ? max_us * load / LOAD_HIGH : max_us);
}

void cx__rest(struct cx_worker *w)
{
	const uint64_t now_ns = cx__now_ns(w);
	struct timespec t = { 0 };

	if (now_ns - w->load_ns >= LOAD_NS) {
		const uint64_t was_ns = w->load_cpu_ns;

		w->load_cpu_ns = cpu_ns();
		w->rest_us = cx__rest_us(w->rt->conf.rest_us, w->load_cpu_ns - was_ns,
		                         now_ns - w->load_ns);
		w->load_ns = now_ns;
	}
	if (w->rest_us == 0)
		return;
	t.tv_nsec = (long)w->rest_us * 1000;
	clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL); /* cut short by a signal: no harm */
	w->now_is_old = 1;
}
