/* SPDX-License-Identifier: MIT */
/* The Redis adapter beside a bare hiredis loop, on the relay's commands.
 *
 *   bench_redis PORT [SECONDS]
 *
 * `set`    SET key value NX PX 60000, one message a command, 1024 in flight
 * `xadd`   64 XADDs of 420 bytes and one PUBLISH in one message, 16 messages in flight
 * `xdel`   XDEL of 64 entries, 64 of them in one message, 4 in flight
 *
 * The peer sends the same with redisFormatCommandArgv and redisReader on a blocking socket: a window
 * of as many commands written in one piece, then all its replies read.  It waits for nobody and hands
 * nothing over, so it is the floor.  Five runs each, in turn; the median of the rates.
 * One TSV row: name, commands/s, CPU us a command of this process (all threads). */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <hiredis/hiredis.h>
#undef REDIS_SUBSCRIBED /* a flag of hiredis, a message of ours */

#include <cx/log.h>
#include <cx/runtime.h>

#include "io/loop_uv.h"
#include "io/redis.h"

#define BENCH_GO CONSTRUCT_MSG_END
#define RUNS 5
#define BATCH 64
#define FRAME_BYTES 420

enum work { WORK_SET, WORK_XADD, WORK_XDEL, WORK_COUNT };

static const struct kind {
	const char *name;
	unsigned in_flight; /* messages */
	unsigned commands;  /* a message */
} kinds[WORK_COUNT] = {
	{ "set", 1024, 1 },
	{ "xadd", 16, BATCH + 1 },
	{ "xdel", 4, BATCH },
};

static char frame[FRAME_BYTES];
static uint64_t next_key;

/* One command as words; returns how many.  Texts live until the next call of the same thread. */
struct words {
	struct redis_arg argv[3 + BATCH];
	char text[BATCH + 2][40];
};

static void set_text(struct words *w, unsigned i, unsigned slot)
{
	w->argv[i] = (struct redis_arg){ w->text[slot], strlen(w->text[slot]) };
}

static unsigned make_command(struct words *w, enum work work, unsigned i)
{
	const uint64_t n = next_key++;

	if (work == WORK_SET) {
		static const struct redis_arg tail[] = { REDIS_TEXT("1"), REDIS_TEXT("NX"),
			                                 REDIS_TEXT("PX"),
			                                 REDIS_TEXT("60000") };

		w->argv[0] = (struct redis_arg)REDIS_TEXT("SET");
		snprintf(w->text[0], sizeof(w->text[0]), "dedup:{%016" PRIx64 "}", n);
		set_text(w, 1, 0);
		memcpy(w->argv + 2, tail, sizeof(tail));
		return 6;
	}
	if (work == WORK_XADD && i == BATCH) {
		w->argv[0] = (struct redis_arg)REDIS_TEXT("PUBLISH");
		w->argv[1] = (struct redis_arg)REDIS_TEXT("instance:1");
		w->argv[2] = (struct redis_arg){ frame, FRAME_BYTES };
		return 3;
	}
	w->argv[0] = work == WORK_XADD ? (struct redis_arg)REDIS_TEXT("XADD")
	                               : (struct redis_arg)REDIS_TEXT("XDEL");
	snprintf(w->text[0], sizeof(w->text[0]), "inbox:{%u}", (unsigned)(n % 512));
	set_text(w, 1, 0);
	if (work == WORK_XADD) {
		snprintf(w->text[1], sizeof(w->text[1]), "%" PRIu64 "-1", n + 1);
		set_text(w, 2, 1);
		w->argv[3] = (struct redis_arg)REDIS_TEXT("m");
		w->argv[4] = (struct redis_arg){ frame, FRAME_BYTES };
		return 5;
	}
	for (unsigned k = 0; k < BATCH; k++) {
		snprintf(w->text[k + 1], sizeof(w->text[0]), "%" PRIu64 "-1", n + k + 1);
		set_text(w, k + 2, k + 1);
	}
	return 2 + BATCH;
}

static uint64_t clock_of(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "bench_redis: %s\n", what);
	exit(1);
}

/* ---- ours ---- */

struct go {
	struct cx_msg hdr;
	enum work work;
	uint64_t until_ns;
};

static struct driver { /* of the one driver actor */
	struct cx_ref adapter;
	enum work work;
	uint64_t until_ns;
	unsigned waiting;
	struct redis_batch batch;
	struct words words;
} driver;
static uint64_t done; /* commands; read by main after is_over */
static bool is_over;

static void ask(struct cx_ctx *ctx)
{
	const struct kind *kind = &kinds[driver.work];
	struct words *w = &driver.words;
	uint64_t corr;
	enum cx_err err;

	if (kind->commands == 1) {
		const unsigned n = make_command(w, driver.work, 0);

		err = redis_call(ctx, driver.adapter, w->argv, n, 10000, &corr);
	} else {
		for (unsigned i = 0; i < kind->commands; i++)
			redis_batch_add(&driver.batch, w->argv,
			                make_command(w, driver.work, i));
		err = redis_batch_send(ctx, driver.adapter, &driver.batch, 10000, &corr);
	}
	if (err != CX_OK)
		fail(cx_err_name(err));
	driver.waiting++;
}

static void on_go(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct go *go = CX_MSG_AS(struct go, msg);

	(void)state;
	driver.work = go->work;
	driver.until_ns = go->until_ns;
	done = 0;
	for (unsigned i = 0; i < kinds[go->work].in_flight; i++)
		ask(ctx);
}

static void on_answer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct redis_reply *m = CX_MSG_AS(struct redis_reply, msg);
	struct redis_walk walk;
	struct redis_value value;

	(void)state;
	if (m->outcome != REDIS_ANSWERED)
		fail("lost");
	walk = redis_walk_start(msg->buf);
	for (uint32_t i = 0; i < m->count; i++)
		if (!redis_walk_next(&walk, &value) || value.kind == REDIS_ERROR)
			fail("an error");
	done += m->count;
	driver.waiting--;
	if (cx_now_ns(ctx) < driver.until_ns)
		ask(ctx);
	else if (driver.waiting == 0)
		__atomic_store_n(&is_over, true, __ATOMIC_RELEASE);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	fail(cx_err_name(CX_MSG_AS(struct cx_msg_error, msg)->err));
}

static const struct cx_handler handlers[] = {
	CX_ON(BENCH_GO, struct go, on_go),
	CX_ON(REDIS_REPLY, struct redis_reply, on_answer),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
};

static const struct cx_actor_type driver_type = {
	.name = "driver",
	.state_size = 8,
	.mailbox_cap = 16,
	.placement = CX_PLACE_IO,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

static uint64_t run_ours(struct cx_runtime *rt, struct cx_ref to, enum work work, uint64_t ns)
{
	struct go *go = (struct go *)(void *)cx_post_new(BENCH_GO, sizeof(*go));
	const struct timespec nap = { .tv_nsec = 1000000 };

	go->work = work;
	go->until_ns = clock_of(CLOCK_MONOTONIC) + ns;
	__atomic_store_n(&is_over, false, __ATOMIC_RELAXED);
	if (cx_post(rt, to, &go->hdr) != CX_OK)
		fail("the driver is full");
	while (!__atomic_load_n(&is_over, __ATOMIC_ACQUIRE))
		nanosleep(&nap, NULL);
	return done;
}

/* ---- bare hiredis ---- */

static unsigned append_message(redisContext *ctx, struct words *w, enum work work)
{
	const char *argv[3 + BATCH];
	size_t len[3 + BATCH];

	for (unsigned i = 0; i < kinds[work].commands; i++) {
		const unsigned n = make_command(w, work, i);

		for (unsigned k = 0; k < n; k++) {
			argv[k] = w->argv[k].at;
			len[k] = w->argv[k].len;
		}
		if (redisAppendCommandArgv(ctx, (int)n, argv, len) != REDIS_OK)
			fail(ctx->errstr);
	}
	return kinds[work].commands;
}

static uint64_t run_bare(redisContext *ctx, enum work work, uint64_t ns)
{
	static struct words w;
	const uint64_t until_ns = clock_of(CLOCK_MONOTONIC) + ns;
	uint64_t total = 0;

	do {
		unsigned n = 0;

		for (unsigned i = 0; i < kinds[work].in_flight; i++)
			n += append_message(ctx, &w, work);
		for (unsigned i = 0; i < n; i++) {
			redisReply *reply;

			if (redisGetReply(ctx, (void **)&reply) != REDIS_OK ||
			    reply->type == REDIS_REPLY_ERROR)
				fail(ctx->errstr);
			freeReplyObject(reply);
		}
		total += n;
	} while (clock_of(CLOCK_MONOTONIC) < until_ns);
	return total;
}

/* ---- both in turn ---- */

struct result {
	double rate[RUNS], cpu_us[RUNS];
};

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print(const char *who, enum work work, struct result *r)
{
	qsort(r->rate, RUNS, sizeof(r->rate[0]), by_value);
	qsort(r->cpu_us, RUNS, sizeof(r->cpu_us[0]), by_value);
	printf("redis_%s_%s\t%.0f\t%.2f\n", kinds[work].name, who, r->rate[RUNS / 2],
	       r->cpu_us[RUNS / 2]);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static struct redis_url url = { .host = "127.0.0.1" };
	const struct cx_runtime_conf conf = { .workers = 1, .loop = &loop_uv_ops };
	struct redis_conf adapter = { .url = &url, .client_name = "bench" };
	const uint64_t ns = (argc > 2 ? strtoull(argv[2], NULL, 10) : 2) * UINT64_C(1000000000);
	struct cx_runtime *rt;
	struct cx_ref to;
	redisContext *bare;

	if (argc < 2 || atoi(argv[1]) <= 0)
		fail("usage: bench_redis PORT [SECONDS]");
	url.port = (uint16_t)atoi(argv[1]);
	bare = redisConnect("127.0.0.1", url.port);
	if (bare == NULL || bare->err)
		fail("no server");
	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	if (cx_runtime_new(&conf, &rt) != CX_OK ||
	    cx_runtime_spawn(rt, &redis_type, &adapter, 0, &driver.adapter) != CX_OK ||
	    cx_runtime_spawn(rt, &driver_type, NULL, 0, &to) != CX_OK ||
	    cx_runtime_start(rt) != CX_OK)
		fail("the runtime does not start");
	next_key = clock_of(CLOCK_REALTIME); /* ids of streams must grow from run to run */
	for (enum work work = 0; work < WORK_COUNT; work++) {
		struct result ours, hiredis;

		run_ours(rt, to, work, ns / 4); /* warm */
		for (unsigned i = 0; i < 2 * RUNS; i++) {
			struct result *r = i % 2 == 0 ? &ours : &hiredis;
			const uint64_t began = clock_of(CLOCK_MONOTONIC);
			const uint64_t cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID);
			const uint64_t n = i % 2 == 0 ? run_ours(rt, to, work, ns)
			                              : run_bare(bare, work, ns);

			r->rate[i / 2] =
				(double)n / ((double)(clock_of(CLOCK_MONOTONIC) - began) / 1e9);
			r->cpu_us[i / 2] = (double)(clock_of(CLOCK_PROCESS_CPUTIME_ID) - cpu) /
			                   1e3 / (double)n;
			redisCommand(bare, "FLUSHALL"); /* nothing of it piles up */
		}
		print("adapter", work, &ours);
		print("hiredis", work, &hiredis);
	}
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
	redis_batch_free(&driver.batch);
	redisFree(bare);
	return 0;
}
