/* SPDX-License-Identifier: MIT */
/* Actors that come and go under fire: every ask gets exactly one answer (reply, gone, or deadline),
 * watchers one notice each, slots are used again, a supervised actor comes back under the same ref. */
#include <stdatomic.h>
#include <string.h>

#include <cx/runtime.h>
#include <cx/supervisor.h>
#include <cx/trace.h>

#include "stress.h"

enum { QUESTION = CX_MSG_USER, ANSWER, TICK, BREAK };

static struct {
	_Atomic uint64_t asked, refused, answered, gone, late, downs, watched, twice;
	_Atomic uint64_t starts, breaks, survived;
	_Atomic uint32_t stop;
} counted;

/* ---- a short life: answers some questions, ignores others, stops after a few ---- */

struct mayfly {
	uint32_t left;
};

static void on_question(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct mayfly *m = state;

	if (cx_random(ctx) % 8 != 0) /* else never answered: the deadline is the answer */
		cx_reply(ctx, msg, cx_msg_new(ctx, ANSWER, sizeof(struct cx_msg)));
	if (m->left-- == 0)
		cx_stop(ctx);
}

static enum cx_err start_mayfly(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)conf;
	((struct mayfly *)state)->left = (uint32_t)(cx_random(ctx) % 12);
	return CX_OK;
}

static const struct cx_handler mayfly_handlers[] = {
	CX_ON(QUESTION, struct cx_msg, on_question),
};

static const struct cx_actor_type mayfly_type = {
	.name = "mayfly",
	.state_size = sizeof(struct mayfly),
	.mailbox_cap = 8,
	.start = start_mayfly,
	.handlers = mayfly_handlers,
	.handler_count = CX_COUNTOF(mayfly_handlers),
};

/* ---- asks mayflies, replaces the dead ---- */

#define FLIES 4
#define OPEN_MAX 256

struct asker {
	struct cx_ref flies[FLIES];
	uint64_t open[OPEN_MAX]; /* corrs that wait */
	uint32_t count;
	struct cx_timer tick;
};

static void close_corr(struct asker *a, uint64_t corr)
{
	for (uint32_t i = 0; i < a->count; i++) {
		if (a->open[i] != corr)
			continue;
		a->open[i] = a->open[--a->count];
		return;
	}
	atomic_fetch_add(&counted.twice, 1);
}

static void spawn_fly(struct cx_ctx *ctx, struct asker *a, unsigned i)
{
	if (cx_spawn(ctx, &mayfly_type, NULL, cx_random(ctx), &a->flies[i]) != CX_OK)
		abort();
	cx_watch(ctx, a->flies[i]);
	atomic_fetch_add(&counted.watched, 1);
}

static void ask(struct cx_ctx *ctx, struct asker *a)
{
	const unsigned i = (unsigned)(cx_random(ctx) % FLIES);
	uint64_t corr;

	if (a->count == OPEN_MAX)
		return;
	cx_trace_mark(ctx);
	if (cx_ask(ctx, a->flies[i], cx_msg_new(ctx, QUESTION, sizeof(struct cx_msg)),
	           (uint32_t)(cx_random(ctx) % 20), &corr) != CX_OK) {
		atomic_fetch_add(&counted.refused, 1);
		return;
	}
	a->open[a->count++] = corr;
	atomic_fetch_add(&counted.asked, 1);
}

static void on_answer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	close_corr(state, msg->corr);
	atomic_fetch_add(&counted.answered, 1);
	if (!atomic_load(&counted.stop))
		ask(ctx, state);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	close_corr(state, msg->corr);
	if (CX_MSG_AS(struct cx_msg_error, msg)->err == CX_EGONE)
		atomic_fetch_add(&counted.gone, 1);
	else
		atomic_fetch_add(&counted.late, 1);
}

static void on_down(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct asker *a = state;

	atomic_fetch_add(&counted.downs, 1);
	for (unsigned i = 0; i < FLIES; i++)
		if (cx_ref_is(a->flies[i], CX_MSG_AS(struct cx_msg_down, msg)->who))
			spawn_fly(ctx, a, i);
}

static void on_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct asker *a = state;

	(void)msg;
	for (int i = 0; i < 32 && !atomic_load(&counted.stop); i++)
		ask(ctx, a);
	cx_timer_arm(ctx, &a->tick, 1, TICK);
}

static enum cx_err start_asker(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct asker *a = state;

	(void)conf;
	for (unsigned i = 0; i < FLIES; i++)
		spawn_fly(ctx, a, i);
	cx_timer_arm(ctx, &a->tick, 1, TICK);
	return CX_OK;
}

static const struct cx_handler asker_handlers[] = {
	CX_ON(ANSWER, struct cx_msg, on_answer),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
	CX_ON(CX_MSG_DOWN, struct cx_msg_down, on_down),
	CX_ON(TICK, struct cx_msg_timer, on_tick),
};

static const struct cx_actor_type asker_type = {
	.name = "asker",
	.state_size = sizeof(struct asker),
	.mailbox_cap = 64,
	.start = start_asker,
	.handlers = asker_handlers,
	.handler_count = CX_COUNTOF(asker_handlers),
};

/* ---- a supervised actor that breaks now and then ---- */

static void on_break(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	atomic_fetch_add(&counted.survived, 1);
	if (cx_random(ctx) % 4 == 0) {
		atomic_fetch_add(&counted.breaks, 1);
		cx_fail(ctx, CX_EIO);
	}
}

static enum cx_err start_fragile(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	(void)state;
	(void)conf;
	atomic_fetch_add(&counted.starts, 1);
	return CX_OK;
}

static const struct cx_handler fragile_handlers[] = {
	CX_ON(BREAK, struct cx_msg, on_break),
};

static const struct cx_actor_type fragile_type = {
	.name = "fragile",
	.mailbox_cap = 1024,
	.start = start_fragile,
	.handlers = fragile_handlers,
	.handler_count = CX_COUNTOF(fragile_handlers),
};

static void wait_for_quiet(void)
{
	for (int i = 0; i < 30000; i++) {
		if (counted.answered + counted.gone + counted.late == counted.asked)
			return;
		stress_sleep_ms(1);
	}
}

/* What a figures thread would read, while all run. */
static uint64_t read_figures(struct cx_runtime *rt)
{
	struct cx_kind_stats kinds[8];
	struct cx_worker_stats worker[8];
	struct cx_slow_handler slow[CX_SLOW_HANDLERS];
	const size_t count = cx_runtime_kinds(rt, kinds, 8);
	uint64_t messages = 0;

	for (size_t k = 0; k < count && k < 8; k++)
		messages += kinds[k].messages;
	(void)cx_runtime_worker_stats(rt, worker, 8);
	(void)cx_runtime_slow_handlers(rt, slow, CX_SLOW_HANDLERS);
	return messages;
}

static void run(unsigned workers, unsigned ms)
{
	const struct cx_runtime_conf conf = { .workers = workers };
	static struct cx_ref fragile;
	static const struct cx_child children[] = { { &fragile_type, NULL, 5, &fragile } };
	const struct cx_supervisor_conf sup = { .children = children,
		                                .child_count = 1,
		                                .max_restarts = 100000,
		                                .backoff_min_ms = 1,
		                                .backoff_max_ms = 4 };
	struct cx_runtime *rt;
	struct cx_ref ref;
	uint64_t messages = 0;
	unsigned sent = 0, backward = 0;

	memset(&counted, 0, sizeof(counted));
	if (cx_runtime_new(&conf, &rt) != CX_OK ||
	    cx_runtime_trace(rt, 1u << 20, 4096) != CX_OK ||
	    cx_runtime_spawn(rt, &cx_supervisor_type, &sup, 1, &ref) != CX_OK)
		abort();
	for (uint64_t i = 0; i < 4; i++)
		if (cx_runtime_spawn(rt, &asker_type, NULL, i * 31, &ref) != CX_OK)
			abort();
	if (cx_runtime_start(rt) != CX_OK)
		abort();
	while (atomic_load(&counted.starts) == 0)
		stress_sleep_ms(1);
	for (unsigned i = 0; i < ms; i++) {
		struct cx_msg *m = cx_post_new(BREAK, sizeof(*m));

		if (cx_post(rt, fragile, m) == CX_OK)
			sent++;
		stress_sleep_ms(1);
		backward += read_figures(rt) < messages;
		messages = read_figures(rt);
	}
	atomic_store(&counted.stop, 1);
	wait_for_quiet();
	for (int i = 0;
	     i < 30000 && (counted.survived < sent || counted.starts <= counted.breaks); i++)
		stress_sleep_ms(1); /* the last break's backoff too */
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
	printf("workers %u: %llu asks: %llu answered, %llu gone, %llu late; %llu lives; %llu "
	       "restarts\n",
	       workers, (unsigned long long)counted.asked, (unsigned long long)counted.answered,
	       (unsigned long long)counted.gone, (unsigned long long)counted.late,
	       (unsigned long long)counted.downs, (unsigned long long)counted.breaks);
	STRESS_CHECK(backward == 0, "a counter went back %u times", backward);
	STRESS_CHECK(counted.answered + counted.gone + counted.late == counted.asked,
	             "%llu asks without an answer",
	             (unsigned long long)(counted.asked - counted.answered - counted.gone -
	                                  counted.late));
	STRESS_CHECK(counted.twice == 0, "%llu asks answered twice",
	             (unsigned long long)counted.twice);
	STRESS_CHECK(counted.gone > 0 && counted.late > 0 && counted.answered > 0,
	             "each kind of answer was seen");
	STRESS_CHECK(counted.watched - counted.downs == 4 * FLIES, "%llu watched, %llu notices",
	             (unsigned long long)counted.watched, (unsigned long long)counted.downs);
	STRESS_CHECK(counted.survived == sent, "%llu of %u messages handled over restarts",
	             (unsigned long long)counted.survived, sent);
	STRESS_CHECK(counted.starts == counted.breaks + 1, "%llu starts, %llu breaks",
	             (unsigned long long)counted.starts, (unsigned long long)counted.breaks);
}

int main(int argc, char **argv)
{
	const unsigned ms = argc > 1 ? (unsigned)atoi(argv[1]) : 1500;

	for (unsigned workers = 1; workers <= 3; workers++)
		run(workers, ms);
	return stress_end();
}
