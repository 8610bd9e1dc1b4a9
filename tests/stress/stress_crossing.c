/* SPDX-License-Identifier: MIT */
/* Messages that cross between workers (crossing.c).
 * 1. Triangles: A sends m1 to C, then tells B, in one of several ways; who learns of it sends m2 to C.  C
 *    sees m1 first.
 * 2. Everybody sends to everybody at small limits: each sender's order holds, nothing is lost or twice. */
#include <pthread.h>

#include "sized.h"

/* ---- 1. triangles ---- */

#define TRIANGLES 30
#define AT_ONCE 4 /* rounds of a triangle */
#define CAP 1024
#define RING 1024

enum way { TOLD, OFFLOADED, POSTED, FOREIGN, WAYS };

struct job { /* what the offload pool and the foreign thread get */
	struct cx_msg hdr;
	uint32_t triangle, round;
};

static struct cx_ref corner_a[TRIANGLES], corner_b[TRIANGLES], corner_c[TRIANGLES];
static uint32_t rounds;

static struct {
	pthread_mutex_t lock;
	uint32_t triangle[RING], round[RING];
	unsigned first, count;
} foreign = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct corner {
	uint32_t number;
	uint32_t seen; /* C's: m1 came of all rounds below it */
	uint32_t next; /* A's: the round that begins next */
};

static void push_foreign(uint32_t triangle, uint32_t round)
{
	pthread_mutex_lock(&foreign.lock);
	if (foreign.count == RING)
		abort();
	foreign.triangle[(foreign.first + foreign.count) % RING] = triangle;
	foreign.round[(foreign.first + foreign.count++) % RING] = round;
	pthread_mutex_unlock(&foreign.lock);
}

static bool pop_foreign(uint32_t *triangle, uint32_t *round)
{
	bool is_one;

	pthread_mutex_lock(&foreign.lock);
	is_one = foreign.count > 0;
	if (is_one) {
		*triangle = foreign.triangle[foreign.first];
		*round = foreign.round[foreign.first];
		foreign.first = (foreign.first + 1) % RING;
		foreign.count--;
	}
	pthread_mutex_unlock(&foreign.lock);
	return is_one;
}

/* Half of it goes to C at once, half by B. */
static void *foreign_main(void *arg)
{
	uint32_t t, round;

	(void)arg;
	while (atomic_load(&is_over) == 0) {
		if (!pop_foreign(&t, &round))
			sched_yield();
		else if (round % 2 == 0)
			must(cx_post(rt, corner_c[t], make(NULL, M2, round, t, round)));
		else
			must(cx_post(rt, corner_b[t], make(NULL, TELL, round, t, round)));
	}
	return NULL;
}

static void in_the_pool(struct cx_msg *msg)
{
	const struct job *job = CX_MSG_AS(struct job, msg);

	if (job->round % 2 == 0)
		must(cx_post(rt, corner_c[job->triangle],
		             make(NULL, M2, job->round, job->triangle, job->round)));
}

/* Now and then long enough that another worker takes what waits here. */
static void take_time(uint64_t random)
{
	if (random >> 56 < 12)
		for (volatile int i = 0; i < 20000; i++)
			;
}

static void on_next(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct corner *c = state;
	const uint32_t t = c->number, round = c->next++;
	const uint64_t random = cx_random(ctx);
	struct job *job;

	check_bytes(msg);
	must(cx_send(ctx, corner_c[t], make(ctx, M1, random, t, round)));
	take_time(random);
	switch ((enum way)((random >> 32) % WAYS)) {
	case OFFLOADED:
		job = CX_MSG_NEW(ctx, TAKE, struct job);
		job->triangle = t;
		job->round = round;
		must(cx_offload(ctx, &job->hdr, in_the_pool));
		return;
	case POSTED:
		must(cx_post(rt, corner_b[t], make(NULL, TELL, random >> 16, t, round)));
		return;
	case FOREIGN:
		cx_io_flush();
		push_foreign(t, round);
		return;
	case TOLD:
	case WAYS:
		must(cx_send(ctx, corner_b[t], make(ctx, TELL, random >> 16, t, round)));
		return;
	}
}

/* The answer of the offload pool. */
static void on_job(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct job *job = CX_MSG_AS(struct job, msg);
	const struct corner *c = state;

	if (job->round % 2 == 1)
		must(cx_send(ctx, corner_b[c->number],
		             make(ctx, TELL, cx_random(ctx), job->triangle, job->round)));
}

/* To C, or by another B. */
static void on_tell(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct sized *m = CX_MSG_AS(struct sized, msg);
	const uint64_t random = cx_random(ctx);

	(void)state;
	check_bytes(msg);
	if ((random >> 32) % 3 == 0)
		must(cx_send(ctx, corner_b[(random >> 40) % TRIANGLES],
		             make(ctx, TELL, random, m->a, m->b)));
	else
		must(cx_send(ctx, corner_c[m->a], make(ctx, M2, random, m->a, m->b)));
}

static void on_m1(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct corner *c = state;

	(void)ctx;
	check_bytes(msg);
	if (CX_MSG_AS(struct sized, msg)->b != c->seen++)
		atomic_fetch_add(&bad_order, 1);
}

static void on_m2(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct corner *c = state;
	const struct sized *m = CX_MSG_AS(struct sized, msg);

	check_bytes(msg);
	if (m->b >= c->seen || m->a != c->number)
		atomic_fetch_add(&bad_order, 1);
	atomic_fetch_add(&handled, 1);
	if (m->b + AT_ONCE < rounds)
		must(cx_send(ctx, corner_a[m->a], make(ctx, NEXT, cx_random(ctx), m->a, m->b)));
}

static enum cx_err start_corner(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	((struct corner *)state)->number = *(const uint32_t *)conf;
	return CX_OK;
}

static struct cx_handler corner_handlers[4 * SIZES + 1];

/* One type for all corners, one for each placement. */
static struct cx_actor_type corner_type(const char *name, enum cx_placement placement)
{
	size_t n = on_sizes(corner_handlers, 0, M1, on_m1);

	n = on_sizes(corner_handlers, n, M2, on_m2);
	n = on_sizes(corner_handlers, n, TELL, on_tell);
	n = on_sizes(corner_handlers, n, NEXT, on_next);
	corner_handlers[n++] = (struct cx_handler)CX_ON(TAKE, struct job, on_job);
	return (struct cx_actor_type){ .name = name,
		                       .placement = placement,
		                       .state_size = sizeof(struct corner),
		                       .conf_size = sizeof(uint32_t),
		                       .mailbox_cap = CAP,
		                       .start = start_corner,
		                       .handlers = corner_handlers,
		                       .handler_count = n };
}

static void triangles(unsigned workers, uint32_t count)
{
	const struct cx_actor_type at_home = corner_type("corner", CX_PLACE_IO);
	const struct cx_actor_type anywhere = corner_type("corner_any", CX_PLACE_ANY);
	pthread_t thread;

	rounds = count;
	make_runtime(workers);
	for (uint32_t t = 0; t < TRIANGLES; t++) {
		const struct cx_actor_type *a = t % 3 == 1 ? &anywhere : &at_home;
		const struct cx_actor_type *b = t % 5 == 2 ? &anywhere : &at_home;

		must(cx_runtime_spawn(rt, a, &t, t % workers, &corner_a[t]));
		must(cx_runtime_spawn(rt, b, &t, (t + 1 + t / workers % 2) % workers,
		                      &corner_b[t]));
		must(cx_runtime_spawn(rt, &at_home, &t, (t + 2) % workers, &corner_c[t]));
		for (uint32_t i = 0; i < AT_ONCE; i++)
			must(cx_post(rt, corner_a[t], make(NULL, NEXT, i, t, i)));
	}
	if (pthread_create(&thread, NULL, foreign_main, NULL) != 0)
		abort();
	must(cx_runtime_start(rt));
	wait_until(&handled, (uint64_t)TRIANGLES * rounds);
	atomic_store(&is_over, 1);
	pthread_join(thread, NULL);
	STRESS_CHECK(handled == (uint64_t)TRIANGLES * rounds, "%llu of %llu came",
	             (unsigned long long)handled, (unsigned long long)TRIANGLES * rounds);
	end_runtime();
	printf("workers %u: %u triangles, %u rounds each\n", workers, TRIANGLES, rounds);
}

/* ---- 2. everybody to everybody ---- */

#define PUMPS 8 /* the last two anywhere */
#define DRAINS 6
#define TIRED 64 /* sends of a turn */

static struct cx_ref drains[DRAINS];
static uint32_t each; /* messages of a pump to a drain */
static _Atomic uint64_t refused;

struct pump {
	uint32_t number;
	uint32_t sent[DRAINS];
};

struct drain {
	uint32_t next[PUMPS];
};

static void go_on(struct cx_ctx *ctx)
{
	must(cx_send_reserved(ctx, cx_self(ctx), cx_msg_new(ctx, GO, sizeof(struct cx_msg))));
}

static void on_pump(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct pump *p = state;
	unsigned full = 0;

	(void)msg;
	for (unsigned i = 0; i < TIRED && full < DRAINS; i++) {
		const uint64_t random = cx_random(ctx);
		const unsigned to = (unsigned)(random >> 32) % DRAINS;

		if (p->sent[to] == each)
			continue;
		switch (cx_send(ctx, drains[to],
		                make(ctx, M1, random, p->number, p->sent[to]))) {
		case CX_OK:
			p->sent[to]++;
			break;
		case CX_EFULL:
			full++;
			atomic_fetch_add(&refused, 1);
			break;
		default:
			abort();
		}
	}
	for (unsigned to = 0; to < DRAINS; to++)
		if (p->sent[to] < each) {
			go_on(ctx);
			return;
		}
}

static void on_drained(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct sized *m = CX_MSG_AS(struct sized, msg);
	struct drain *d = state;

	(void)ctx;
	check_bytes(msg);
	if (d->next[m->a]++ != m->b)
		atomic_fetch_add(&bad_order, 1);
	atomic_fetch_add(&handled, 1);
}

static enum cx_err start_pump(struct cx_ctx *ctx, void *state, const void *conf)
{
	((struct pump *)state)->number = *(const uint32_t *)conf;
	go_on(ctx);
	return CX_OK;
}

static void everybody(unsigned workers, uint32_t cap, uint32_t count)
{
	static const struct cx_handler pump_handlers[] = { CX_ON(GO, struct cx_msg, on_pump) };
	struct cx_handler drain_handlers[SIZES];
	struct cx_actor_type pump = { .name = "pump",
		                      .placement = CX_PLACE_IO,
		                      .state_size = sizeof(struct pump),
		                      .conf_size = sizeof(uint32_t),
		                      .mailbox_cap = 2,
		                      .start = start_pump,
		                      .handlers = pump_handlers,
		                      .handler_count = 1 };
	struct cx_actor_type anywhere = pump;
	const struct cx_actor_type drain = {
		.name = "drain",
		.placement = CX_PLACE_IO,
		.state_size = sizeof(struct drain),
		.mailbox_cap = cap,
		.handlers = drain_handlers,
		.handler_count = on_sizes(drain_handlers, 0, M1, on_drained),
	};
	const uint64_t expected = (uint64_t)PUMPS * DRAINS * count;
	struct cx_ref ref;

	each = count;
	anywhere.name = "pump_any";
	anywhere.placement = CX_PLACE_ANY;
	atomic_store(&refused, 0);
	make_runtime(workers);
	for (unsigned d = 0; d < DRAINS; d++)
		must(cx_runtime_spawn(rt, &drain, NULL, d % workers, &drains[d]));
	for (uint32_t p = 0; p < PUMPS; p++)
		must(cx_runtime_spawn(rt, p < PUMPS - 2 ? &pump : &anywhere, &p, p % workers,
		                      &ref));
	must(cx_runtime_start(rt));
	wait_until(&handled, expected);
	stress_sleep_ms(1); /* what came twice would come now */
	STRESS_CHECK(handled == expected, "%llu of %llu", (unsigned long long)handled,
	             (unsigned long long)expected);
	end_runtime();
	printf("workers %u, limit %u: %llu messages, %llu refusals\n", workers, cap,
	       (unsigned long long)handled, (unsigned long long)refused);
}

int main(int argc, char **argv)
{
	static const uint32_t caps[] = { 1, 2, 3, 8, 64 };
	const uint32_t scale = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned workers = 3; workers <= 4; workers++)
		triangles(workers, scale * STRESS_ROUNDS(2000));
	for (unsigned workers = 2; workers <= 4; workers += 2)
		for (size_t i = 0; i < CX_COUNTOF(caps); i++)
			everybody(workers, caps[i], scale * STRESS_ROUNDS(200));
	return stress_end();
}
