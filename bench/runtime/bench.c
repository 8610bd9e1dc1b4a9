/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define REPORT (CX_MSG_USER + 100) /* clear of the rows' own ids */
#define REPORTS_MAX 4096           /* that may wait */
#define TYPES_MAX 4

uint64_t bench_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

uint64_t bench_rss_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	if (f == NULL || fscanf(f, "%*u %lu", &pages) != 1) {
		perror("/proc/self/statm");
		exit(1);
	}
	fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint32_t bench_random(uint32_t *seed)
{
	*seed = (uint32_t)((uint64_t)*seed * 16807 % 2147483647);
	return *seed;
}

void bench_must(enum cx_err err, const char *what)
{
	if (err == CX_OK)
		return;
	fprintf(stderr, "bench_runtime: %s: %s\n", what, cx_err_text(err));
	exit(1);
}

/* --- collector: tells main when all have reported ------------------------------------------ */

struct collector {
	struct bench *bench;
	uint64_t expected;
	uint64_t reports;
	uint64_t sum;
};

struct collector_conf {
	struct bench *bench;
	uint64_t expected;
};

static void on_report(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct collector *c = state;

	(void)ctx;
	c->sum += CX_MSG_AS(struct number, msg)->value;
	if (++c->reports < c->expected)
		return;
	c->bench->ended_ns = bench_now_ns();
	c->bench->sum = c->sum;
	c->reports = 0;
	c->sum = 0;
	sem_post(&c->bench->done);
}

static enum cx_err start_collector(struct cx_ctx *ctx, void *state, const void *conf)
{
	const struct collector_conf *c = conf;

	(void)ctx;
	*(struct collector *)state =
		(struct collector){ .bench = c->bench, .expected = c->expected };
	return CX_OK;
}

static const struct cx_handler collector_handlers[] = {
	CX_ON(REPORT, struct number, on_report),
};

static const struct cx_actor_type collector_type = {
	.name = "collector",
	.state_size = sizeof(struct collector),
	.conf_size = sizeof(struct collector_conf),
	.mailbox_cap = REPORTS_MAX,
	.placement = CX_PLACE_IO,
	.start = start_collector,
	.handlers = collector_handlers,
	.handler_count = CX_COUNTOF(collector_handlers),
};

/* --- the runtime ----------------------------------------------------------------------------- */

void bench_boot(struct bench *b, uint64_t reports)
{
	const struct cx_runtime_conf conf = {
		.workers = b->workers,
		.offload_threads = 1,
		.watchdog_ms = 1000, /* the others have none */
		.seed = 1,
	};
	const struct collector_conf collector = { .bench = b, .expected = reports };

	sem_init(&b->done, 0, 0);
	bench_must(cx_runtime_new(&conf, &b->rt), "cx_runtime_new");
	b->collector = bench_spawn(b, &collector_type, &collector, 0);
}

/* The same type, but free to go where a worker is idle. */
static const struct cx_actor_type *anywhere(const struct cx_actor_type *type)
{
	static const struct cx_actor_type *from[TYPES_MAX];
	static struct cx_actor_type to[TYPES_MAX];
	size_t i = 0;

	while (from[i] != NULL && from[i] != type)
		cx_assert(++i < TYPES_MAX);
	if (from[i] == NULL) {
		from[i] = type;
		to[i] = *type;
		to[i].placement = CX_PLACE_ANY;
	}
	return &to[i];
}

struct cx_ref bench_spawn(struct bench *b, const struct cx_actor_type *type, const void *conf,
                          unsigned worker)
{
	struct cx_ref ref;

	if (b->is_anywhere)
		type = anywhere(type);
	bench_must(cx_runtime_spawn(b->rt, type, conf, worker % b->workers, &ref), type->name);
	return ref;
}

void bench_start(struct bench *b)
{
	bench_must(cx_runtime_start(b->rt), "cx_runtime_start");
}

void bench_post(struct bench *b, struct cx_ref to, uint32_t type, uint64_t value)
{
	struct number *m = (struct number *)(void *)cx_post_new(type, sizeof(*m));

	m->value = value;
	bench_must(cx_post(b->rt, to, &m->hdr), "cx_post");
}

void bench_wait(struct bench *b)
{
	while (sem_wait(&b->done) != 0)
		;
}

void bench_end(struct bench *b)
{
	cx_runtime_stop(b->rt);
	cx_runtime_free(b->rt);
	sem_destroy(&b->done);
}

void bench_send(struct cx_ctx *ctx, struct cx_ref to, uint32_t type, uint64_t value)
{
	struct number *m = CX_MSG_NEW(ctx, type, struct number);

	m->value = value;
	bench_must(cx_send(ctx, to, &m->hdr), "cx_send");
}

void bench_report(struct cx_ctx *ctx, const struct bench *b, uint64_t value)
{
	bench_send(ctx, b->collector, REPORT, value);
}
