/* SPDX-License-Identifier: MIT */
/* What the machine allows: the floor that the runtime's structures are held against.
 *
 * `alone`      one thread, the line stays in its cache
 * `contended`  two threads on one line; all their operations together.  A core that has the line makes
 *              many before it gives it up, so this costs much less than a transfer each
 * `transfer`   one line between two cores, one way: half of a round trip
 * `stream`     lines written by one core and read by another, many on their way at once
 * `in order`   lines of memory far larger than any cache, each read and written, one after the other
 * `fastest`    of transfer and stream: the fastest so many in a row, which is the hardware's own
 *              time also when others take a CPU away now and then
 *
 *   bench_hardware            all rows
 *   bench_hardware lines      transfer and stream: what needs both cores at once */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "structures.h"

#define CHUNK 256 /* operations between looks at the end */
#define LINES 1024
#define WAKES 400
#define WAKE_PAUSE_US 100

struct line {
	_Alignas(64) _Atomic uint64_t value;
};

static struct line shared, lines[LINES], read_upto;

/* Written by one thread.  Transfers in both directions, short enough to find both threads on a CPU; lines
 * many times those that may wait for their reader. */
struct fastest {
	uint64_t window;       /* operations of that thread */
	uint64_t began_ns, ns; /* ns 0: none yet */
};
static struct fastest fastest_transfer = { .window = 1024 };
static struct fastest fastest_stream = { .window = 16 * LINES };

/* After each operation: number n since the thread began. */
static inline void look_at_window(struct fastest *f, uint64_t n)
{
	uint64_t now_ns;

	if (n % f->window != 0)
		return;
	now_ns = bench_now_ns();
	if (n > f->window && (f->ns == 0 || now_ns - f->began_ns < f->ns))
		f->ns = now_ns - f->began_ns;
	f->began_ns = now_ns;
}

static void print_fastest(const char *params, const struct fastest *f, unsigned ops_each)
{
	const double rate = 1e9 * (double)f->window * ops_each / (double)f->ns;

	if (f->ns > 0)
		printf("hardware\t%s\t2\t%.0f\t%.0f\t%.0f\t-\t-\t-\n", params, rate, rate,
		       rate);
}

static uint64_t add(unsigned index, void *arg)
{
	uint64_t ops = 0;

	(void)index;
	(void)arg;
	for (; !bench_is_over(); ops += CHUNK)
		for (int i = 0; i < CHUNK; i++)
			atomic_fetch_add(&shared.value, 1);
	return ops;
}

/* Only those that succeed count. */
static uint64_t compare_exchange(unsigned index, void *arg)
{
	uint64_t ops = 0;

	(void)index;
	(void)arg;
	while (!bench_is_over()) {
		uint64_t seen = atomic_load(&shared.value);

		for (int i = 0; i < CHUNK; i++) {
			if (atomic_compare_exchange_strong(&shared.value, &seen, seen + 1)) {
				seen++;
				ops++;
			}
		}
	}
	return ops;
}

static uint64_t exchange(unsigned index, void *arg)
{
	uint64_t ops = 0;

	(void)arg;
	for (; !bench_is_over(); ops += CHUNK)
		for (int i = 0; i < CHUNK; i++)
			atomic_exchange(&shared.value, index);
	return ops;
}

/* The even values are for one thread, the odd ones for the other. */
static uint64_t transfer(unsigned index, void *arg)
{
	uint64_t ops = 0;

	(void)arg;
	while (!bench_is_over()) {
		const uint64_t value =
			atomic_load_explicit(&shared.value, memory_order_acquire);

		if (value % 2 != index)
			continue;
		atomic_store_explicit(&shared.value, value + 1, memory_order_release);
		ops++;
		if (index == 0)
			look_at_window(&fastest_transfer, ops);
	}
	return ops;
}

static uint64_t write_lines(void)
{
	uint64_t n = 1, free_upto = LINES;

	for (; !bench_is_over(); n++) {
		while (n > free_upto && !bench_is_over())
			free_upto = LINES + atomic_load_explicit(&read_upto.value,
			                                         memory_order_acquire);
		/* release: pairs with the load in read_lines */
		atomic_store_explicit(&lines[n % LINES].value, n, memory_order_release);
	}
	return 0;
}

static uint64_t read_lines(void)
{
	uint64_t n = 1;

	for (; !bench_is_over(); n++) {
		while (atomic_load_explicit(&lines[n % LINES].value, memory_order_acquire) !=
		               n &&
		       !bench_is_over())
			;
		if (n % 64 == 0)
			atomic_store_explicit(&read_upto.value, n, memory_order_release);
		look_at_window(&fastest_stream, n);
	}
	return n - 1;
}

static uint64_t stream(unsigned index, void *arg)
{
	(void)arg;
	return index == 0 ? write_lines() : read_lines();
}

/* ---- plain memory: what a pool does without other threads ---- */

struct node {
	struct node *volatile next;
};

static uint64_t list(unsigned index, void *arg)
{
	static struct node nodes[64];
	struct node *volatile head = NULL;
	uint64_t ops = 0;

	(void)index;
	(void)arg;
	for (int i = 0; i < 64; i++) {
		nodes[i].next = head;
		head = &nodes[i];
	}
	for (; !bench_is_over(); ops += CHUNK) {
		for (int i = 0; i < CHUNK; i++) {
			struct node *n = head;

			head = n->next;
			n->next = head;
			head = n;
		}
	}
	return ops;
}

/* ---- a message without a mailbox: 64 bytes written, a jump through a table, one word read ---- */

struct block {
	_Alignas(64) uint64_t words[8];
};

typedef void block_fn(uint64_t *sum, const struct block *b);

static void add_first(uint64_t *sum, const struct block *b)
{
	*sum += b->words[0];
}

static void add_last(uint64_t *sum, const struct block *b)
{
	*sum += b->words[7];
}

static block_fn *const volatile block_fns[2] = { add_first, add_last };

static uint64_t call(unsigned index, void *arg)
{
	static struct block blocks[64];
	uint64_t ops = 0, sum = 0;

	(void)index;
	(void)arg;
	for (; !bench_is_over(); ops += CHUNK) {
		for (int i = 0; i < CHUNK; i++) {
			struct block *b = &blocks[i % 64];

			for (int w = 0; w < 8; w++)
				b->words[w] = ops + (uint64_t)w;
			/* they are stored, and nothing is known of them any more */
			__asm__ volatile("" : : "r"(b) : "memory");
			block_fns[i % 2](&sum, b);
		}
	}
	bench_must(sum > 0 || ops == 0, "the calls");
	return ops;
}

/* ---- memory that no cache holds ---- */

#define FAR_BYTES (64L << 20)
#define FAR_CACHES 4 /* or so many times the largest cache */

static size_t far_lines;

static uint64_t lines_in_order(unsigned index, void *arg)
{
	struct line *const far = arg;
	uint64_t ops = 0;
	size_t at = 0;

	(void)index;
	for (; !bench_is_over(); ops += CHUNK) {
		for (int i = 0; i < CHUNK; i++, at = at + 1 < far_lines ? at + 1 : 0)
			atomic_store_explicit(
				&far[at].value,
				atomic_load_explicit(&far[at].value, memory_order_relaxed) + 1,
				memory_order_relaxed);
	}
	return ops;
}

static void measure_memory(void)
{
	const long wanted = FAR_CACHES * sysconf(_SC_LEVEL3_CACHE_SIZE);
	struct line *far;

	far_lines = (size_t)(wanted > FAR_BYTES ? wanted : FAR_BYTES) / sizeof(*far);
	far = aligned_alloc(sizeof(*far), far_lines * sizeof(*far));
	bench_must(far != NULL, "memory");
	memset(far, 0, far_lines * sizeof(*far));
	bench_rate("hardware", "lines in order", lines_in_order, far, 1);
	free(far);
}

/* ---- eventfd ---- */

static uint64_t write_and_read(unsigned index, void *arg)
{
	const int fd = *(const int *)arg;
	uint64_t ops = 0, value = 1;

	(void)index;
	for (; !bench_is_over(); ops++)
		bench_must(write(fd, &value, sizeof(value)) == sizeof(value) &&
		                   read(fd, &value, sizeof(value)) == sizeof(value),
		           "eventfd");
	return ops;
}

struct sleeper {
	int fd;
	_Atomic uint64_t sent_ns, took_ns;
	_Atomic bool is_over;
};

static void *sleep_in_poll(void *arg)
{
	struct sleeper *s = arg;
	uint64_t value;

	bench_pin(1);
	while (!atomic_load(&s->is_over)) {
		struct pollfd p = { .fd = s->fd, .events = POLLIN };

		bench_must(poll(&p, 1, -1) == 1, "poll");
		atomic_store(&s->took_ns, bench_now_ns() - atomic_load(&s->sent_ns));
		bench_must(read(s->fd, &value, sizeof(value)) == sizeof(value), "eventfd");
	}
	return NULL;
}

/* From the write until a thread that slept in poll has returned from it. */
static void wake_times(void *arg, uint64_t *ns, unsigned count)
{
	struct sleeper *s = arg;
	const uint64_t one = 1;

	for (unsigned i = 0; i < count; i++) {
		bench_sleep_us(WAKE_PAUSE_US);
		atomic_store(&s->took_ns, 0);
		atomic_store(&s->sent_ns, bench_now_ns());
		bench_must(write(s->fd, &one, sizeof(one)) == sizeof(one), "eventfd");
		while ((ns[i] = atomic_load(&s->took_ns)) == 0)
			bench_pause();
	}
}

static void measure_wakes(int fd)
{
	struct sleeper s = { .fd = fd };
	const uint64_t one = 1;
	pthread_t thread;

	bench_pin(0);
	bench_must(pthread_create(&thread, NULL, sleep_in_poll, &s) == 0, "a thread");
	bench_times("hardware", "eventfd wake", wake_times, &s, 2, WAKES);
	atomic_store(&s.is_over, true);
	bench_must(write(fd, &one, sizeof(one)) == sizeof(one), "eventfd");
	pthread_join(thread, NULL);
}

static void measure_stream(void)
{
	double rates[RUNS];

	for (int i = -1; i < RUNS; i++) {
		for (int n = 0; n < LINES; n++)
			atomic_store(&lines[n].value, 0);
		atomic_store(&read_upto.value, 0);
		rates[i < 0 ? 0 : i] = bench_run(stream, NULL, 2);
	}
	qsort(rates, RUNS, sizeof(*rates), compare_rates);
	printf("hardware\tstream\t2\t%.0f\t%.0f\t%.0f\t-\t-\t-\n", rates[RUNS / 2], rates[0],
	       rates[RUNS - 1]);
}

static void measure_lines(void)
{
	bench_rate("hardware", "transfer", transfer, NULL, 2);
	print_fastest("transfer, fastest", &fastest_transfer, 2); /* there and back */
	measure_stream();
	print_fastest("stream, fastest", &fastest_stream, 1);
}

int main(int argc, char **argv)
{
	int fd;

	if (argc == 2 && strcmp(argv[1], "lines") == 0) {
		measure_lines();
		return 0;
	}
	fd = eventfd(0, EFD_CLOEXEC);
	bench_must(fd >= 0, "eventfd");
	bench_rate("hardware", "fetch_add alone", add, NULL, 1);
	bench_rate("hardware", "fetch_add contended", add, NULL, 2);
	bench_rate("hardware", "cmpxchg alone", compare_exchange, NULL, 1);
	bench_rate("hardware", "cmpxchg contended", compare_exchange, NULL, 2);
	bench_rate("hardware", "exchange alone", exchange, NULL, 1);
	bench_rate("hardware", "exchange contended", exchange, NULL, 2);
	bench_rate("hardware", "call and 64 bytes", call, NULL, 1);
	bench_rate("hardware", "list pop+push", list, NULL, 1);
	measure_memory();
	measure_lines();
	bench_rate("hardware", "eventfd write+read", write_and_read, &fd, 1);
	measure_wakes(fd);
	close(fd);
	return 0;
}
