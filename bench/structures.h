/* SPDX-License-Identifier: MIT */
/* What the benchmarks of the runtime's structures share: pinned threads that all work until the time is
 * over, a warm-up and five runs, and one row for each thing measured:
 *
 *   name  params  threads  ops/s (median)  lowest  highest  p50_ns  p99_ns  p999_ns
 *
 * A figure that a row does not have is "-".  `make bench-structures` puts the rows of all into a
 * table. */
#ifndef BENCH_STRUCTURES_H
#define BENCH_STRUCTURES_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define RUNS 5
#define RUN_MS 100
#define CREW_MAX 5

/* Works until bench_is_over.  Returns the operations that count (0 for a helper). */
typedef uint64_t crew_fn(unsigned index, void *arg);

struct crew_member {
	crew_fn *fn;
	void *arg;
	unsigned index;
	uint64_t ops;
	uint64_t cpu_ns;
	pthread_t thread;
};

static _Atomic bool bench_over;
static pthread_barrier_t bench_gate;

static inline void bench_must(bool is_good, const char *what)
{
	if (!is_good) {
		fprintf(stderr, "failed: %s\n", what);
		exit(1);
	}
}

static inline uint64_t bench_clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static inline uint64_t bench_now_ns(void)
{
	return bench_clock_ns(CLOCK_MONOTONIC);
}

static inline void bench_sleep_us(long us)
{
	const struct timespec t = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

	nanosleep(&t, NULL);
}

/* The calling thread, to one CPU; there may be fewer than threads. */
static inline void bench_pin(unsigned index)
{
	const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(index % (unsigned)cpus, &set);
	bench_must(pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0, "pinning");
}

/* The calling thread, and those that it starts, to all CPUs again. */
static inline void bench_unpin(void)
{
	const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;

	CPU_ZERO(&set);
	for (long cpu = 0; cpu < cpus; cpu++)
		CPU_SET((size_t)cpu, &set);
	bench_must(pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0, "pinning");
}

static inline bool bench_is_over(void)
{
	return atomic_load_explicit(&bench_over, memory_order_relaxed);
}

static inline void *crew_main(void *arg)
{
	struct crew_member *m = arg;
	uint64_t began_ns;

	bench_pin(m->index);
	pthread_barrier_wait(&bench_gate);
	began_ns = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID);
	m->ops = m->fn(m->index, m->arg);
	m->cpu_ns = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID) - began_ns;
	return NULL;
}

/* One run of `threads` of them.  Returns operations a second, of all together; of a single thread, by its
 * own CPU time, so that what else runs on the machine counts less. */
static inline double bench_run(crew_fn *fn, void *arg, unsigned threads)
{
	struct crew_member crew[CREW_MAX];
	uint64_t ops = 0, began_ns, ns;

	atomic_store(&bench_over, false);
	pthread_barrier_init(&bench_gate, NULL, threads + 1);
	for (unsigned i = 0; i < threads; i++) {
		crew[i] = (struct crew_member){ .fn = fn, .arg = arg, .index = i };
		bench_must(pthread_create(&crew[i].thread, NULL, crew_main, &crew[i]) == 0,
		           "a thread");
	}
	pthread_barrier_wait(&bench_gate);
	began_ns = bench_now_ns();
	bench_sleep_us(RUN_MS * 1000);
	atomic_store(&bench_over, true);
	ns = bench_now_ns() - began_ns;
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(crew[i].thread, NULL);
		ops += crew[i].ops;
	}
	pthread_barrier_destroy(&bench_gate);
	if (threads == 1)
		ns = crew[0].cpu_ns;
	return (double)ops * 1e9 / (double)ns;
}

static inline int compare_rates(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* A row of a rate: a warm-up, then the median, lowest and highest of the runs. */
static inline void bench_rate(const char *name, const char *params, crew_fn *fn, void *arg,
                              unsigned threads)
{
	double rates[RUNS];

	bench_run(fn, arg, threads);
	for (int i = 0; i < RUNS; i++)
		rates[i] = bench_run(fn, arg, threads);
	qsort(rates, RUNS, sizeof(*rates), compare_rates);
	printf("%s\t%s\t%u\t%.0f\t%.0f\t%.0f\t-\t-\t-\n", name, params, threads,
	       rates[RUNS / 2], rates[0], rates[RUNS - 1]);
	fflush(stdout);
}

static inline int compare_times(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Fills ns with the times of `count` operations, one after the other. */
typedef void times_fn(void *arg, uint64_t *ns, unsigned count);

/* A row of times: a warm-up, then the median of the runs' percentiles. */
static inline void bench_times(const char *name, const char *params, times_fn *fn, void *arg,
                               unsigned threads, unsigned count)
{
	static const unsigned permille[3] = { 500, 990, 999 };
	uint64_t *ns = calloc(count, sizeof(*ns));
	uint64_t found[3][RUNS];

	bench_must(ns != NULL, "memory");
	fn(arg, ns, count);
	for (int run = 0; run < RUNS; run++) {
		fn(arg, ns, count);
		qsort(ns, count, sizeof(*ns), compare_times);
		for (int p = 0; p < 3; p++)
			found[p][run] = ns[(uint64_t)count * permille[p] / 1000];
	}
	printf("%s\t%s\t%u\t-\t-\t-", name, params, threads);
	for (int p = 0; p < 3; p++) {
		qsort(found[p], RUNS, sizeof(found[p][0]), compare_times);
		printf("\t%llu", (unsigned long long)found[p][RUNS / 2]);
	}
	printf("\n");
	fflush(stdout);
	free(ns);
}

static inline void bench_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

/* Waiting for another thread, which may want this CPU when there are more threads than CPUs. */
static inline void bench_wait_a_little(unsigned *spins)
{
	if (++*spins % 64 == 0)
		sched_yield();
	else
		bench_pause();
}

#endif
