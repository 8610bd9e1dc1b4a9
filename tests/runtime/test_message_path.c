/* SPDX-License-Identifier: MIT */
/* What a message between running actors costs beside the hand-over: no allocation and no system call.
 *
 * 1. On one worker nothing is allocated and no system call is made.  Every allocation of this program is
 *    counted (per thread), every system call of the worker's thread traps (the kernel's syscall user dispatch).
 * 2. Across workers too nothing is allocated once a slab holds what is in flight (pool.h, inv. 5): a block
 *    that is freed elsewhere comes home before a slab is taken.
 * 3. A look at the event loop comes after 64 turns, or after 1 ms (worker.c): counted, not timed. */
#include <cx/runtime.h>

#include <criterion/criterion.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <cx/log.h>

#include "runtime/annotate.h"
#include "runtime/internal.h"
#include "support/wait.h"

#ifdef PR_SET_SYSCALL_USER_DISPATCH
#define TRAP_SET PR_SET_SYSCALL_USER_DISPATCH
#else
#define TRAP_SET 59
#endif
#define TRAP_OFF 0
#define TRAP_ON 1
#define TRAP_ALLOW 0
#define TRAP_BLOCK 1

#define WARM UINT64_C(50000)   /* messages to each player before it is looked at */
#define COUNT UINT64_C(500000) /* messages to each player, looked at */
#define BALLS 64               /* in flight in each direction */
#define CAP 512                /* of all mailboxes */
#define ONE_WAY UINT64_C(2000000)
#define SLAB_BLOCKS 1000 /* of one cache line; at least so many are in a slab */

/* In flight, being handled and being made: never a second slab. */
_Static_assert(2 * (BALLS + 1) < SLAB_BLOCKS && CAP + 2 < SLAB_BLOCKS, "one slab holds all");

enum { BALL = CX_MSG_USER, QUESTION, ANSWER, KICK, ASK, DROP };

/* ---- every allocation is counted ---- */

#if defined(CX__ASAN) || defined(CX__TSAN)
#define IS_COUNTED false
static uint64_t allocator_calls;
#else
#define IS_COUNTED true
static _Thread_local uint64_t allocator_calls;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t align, size_t size);
extern void __libc_free(void *p);

void *malloc(size_t size)
{
	allocator_calls++;
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	allocator_calls++;
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	allocator_calls++;
	return __libc_realloc(p, size);
}

void *aligned_alloc(size_t align, size_t size)
{
	allocator_calls++;
	return __libc_memalign(align, size);
}

void free(void *p)
{
	allocator_calls++;
	__libc_free(p);
}
#endif

static void skip_where_not_counted(void)
{
	if (IS_COUNTED)
		return;
	fprintf(stderr, "NOT RUN: message_path: a sanitizer has its own allocator\n");
	cr_skip_test("a sanitizer has its own allocator");
}

/* ---- every system call of a thread ends the process ---- */

static volatile char trap = TRAP_ALLOW; /* one thread's at a time */
static sigjmp_buf probed;
static volatile sig_atomic_t is_probe;

static void on_syscall(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	trap = TRAP_ALLOW;
	if (is_probe)
		siglongjmp(probed, 1);
	dprintf(STDERR_FILENO, "system call %d on the way of a message\n", info->si_syscall);
	abort();
}

static bool trap_set(void)
{
	return prctl(TRAP_SET, TRAP_ON, 0, 0, &trap) == 0;
}

/* Can it be trapped, and is the clock, which rounds look at, none? */
static bool can_trap(void)
{
	const struct sigaction action = { .sa_sigaction = on_syscall, .sa_flags = SA_SIGINFO };
	volatile bool is_clock_free = false;

	if (sigaction(SIGSYS, &action, NULL) != 0 || !trap_set())
		return false;
	is_probe = 1;
	if (sigsetjmp(probed, 1) == 0) {
		trap = TRAP_BLOCK;
		cx__clock_ns();
		is_clock_free = true;
	}
	trap = TRAP_ALLOW;
	is_probe = 0;
	prctl(TRAP_SET, TRAP_OFF, 0, 0, 0); /* this thread's calls are of no concern */
	return is_clock_free;
}

/* ---- players ---- */

/* What a player's worker had done at one moment. */
struct look {
	uint64_t calls, turns, polls, sleeps, wakeups, pool_bytes, clock_ns;
};

static struct cx_runtime *rt;
static struct cx_ref player[2];
static struct look before[2], after[2];
static _Atomic int ended;
static bool is_trapping;

struct count {
	unsigned me;
	uint64_t handled;
};

static struct look look_now(const struct cx_ctx *ctx)
{
	const struct cx_worker *w = ctx->worker;

	return (struct look){
		.calls = allocator_calls,
		.turns = atomic_load(&w->turns),
		.polls = atomic_load(&w->polls),
		.sleeps = atomic_load(&w->sleeps),
		.wakeups = atomic_load(&w->wakeups),
		.pool_bytes = cx__pool_bytes(w->pool),
		.clock_ns = cx__clock_ns(),
	};
}

static void begin_look(struct cx_ctx *ctx, unsigned me)
{
	before[me] = look_now(ctx);
	if (is_trapping && me == 0) {
		cr_assert(trap_set());
		trap = TRAP_BLOCK;
	}
}

static void end_look(struct cx_ctx *ctx, unsigned me)
{
	if (me == 0)
		trap = TRAP_ALLOW;
	after[me] = look_now(ctx);
	atomic_fetch_add(&ended, 1);
}

/* One more message.  Returns whether play goes on. */
static bool count_one(struct cx_ctx *ctx, struct count *c, uint64_t warm, uint64_t count)
{
	c->handled++;
	if (c->handled == warm)
		begin_look(ctx, c->me);
	if (c->handled == warm + count)
		end_look(ctx, c->me);
	return atomic_load_explicit(&ended, memory_order_relaxed) < 2;
}

static void send(struct cx_ctx *ctx, struct cx_ref to, uint32_t type)
{
	cx_assert(cx_send(ctx, to, cx_msg_new(ctx, type, sizeof(struct cx_msg))) == CX_OK);
}

static void on_ball(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct count *c = state;

	(void)msg;
	if (count_one(ctx, c, WARM, COUNT))
		send(ctx, player[1 - c->me], BALL);
}

static void ask(struct cx_ctx *ctx, struct cx_ref whom)
{
	uint64_t corr;

	cx_assert(cx_ask(ctx, whom, cx_msg_new(ctx, QUESTION, sizeof(struct cx_msg)), 600000,
	                 &corr) == CX_OK);
}

static void on_question(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct count *c = state;

	cx_reply(ctx, msg, cx_msg_new(ctx, ANSWER, sizeof(struct cx_msg)));
	(void)count_one(ctx, c, WARM, COUNT / 2);
}

static void on_answer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct count *c = state;

	(void)msg;
	if (count_one(ctx, c, WARM, COUNT / 2))
		ask(ctx, player[1]);
}

/* All balls of one side at once. */
static void on_kick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct count *c = state;

	(void)msg;
	for (int i = 0; i < BALLS; i++)
		send(ctx, player[1 - c->me], BALL);
}

static void on_ask(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	for (int i = 0; i < BALLS; i++)
		ask(ctx, player[1]);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct count *c = state;

	(void)ctx;
	c->me = *(const unsigned *)conf;
	return CX_OK;
}

static const struct cx_handler player_handlers[] = {
	CX_ON(BALL, struct cx_msg, on_ball),         CX_ON(KICK, struct cx_msg, on_kick),
	CX_ON(QUESTION, struct cx_msg, on_question), CX_ON(ANSWER, struct cx_msg, on_answer),
	CX_ON(ASK, struct cx_msg, on_ask),
};
static const struct cx_actor_type player_type = {
	.name = "player",
	.state_size = sizeof(struct count),
	.conf_size = sizeof(unsigned),
	.mailbox_cap = CAP,
	.placement = CX_PLACE_IO,
	.start = start,
	.handlers = player_handlers,
	.handler_count = CX_COUNTOF(player_handlers),
};

static void post(struct cx_ref to, uint32_t type)
{
	cr_assert_eq(cx_post(rt, to, cx_post_new(type, sizeof(struct cx_msg))), CX_OK);
}

static void make(unsigned workers)
{
	const struct cx_runtime_conf conf = { .workers = workers };

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	cr_assert_eq(cx_runtime_new(&conf, &rt), CX_OK);
}

static void spawn(const struct cx_actor_type *type, unsigned number, unsigned worker,
                  struct cx_ref *out)
{
	cr_assert_eq(cx_runtime_spawn(rt, type, &number, worker, out), CX_OK);
}

/* What begins it, to so many players, is there before the start: a message from outside is not from a pool,
 * and must not come while one is looked at. */
static void play(unsigned workers, uint32_t begin, unsigned players)
{
	make(workers);
	for (unsigned i = 0; i < 2; i++)
		spawn(&player_type, i, i % workers, &player[i]);
	for (unsigned i = 0; i < players; i++)
		post(player[i], begin);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
}

static void finish(void)
{
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
}

/* Inv. 3.  A worker that always has work neither sleeps nor is woken. */
static void expect_few_polls(const struct look *from, const struct look *to)
{
	const uint64_t ms = (to->clock_ns - from->clock_ns) / 1000000;
	const uint64_t turns = to->turns - from->turns;

	cr_assert_gt(turns, 0);
	cr_assert_leq(to->polls - from->polls, turns / CX__TURNS_A_POLL + ms + 2,
	              "%llu polls in %llu turns and %llu ms",
	              (unsigned long long)(to->polls - from->polls), (unsigned long long)turns,
	              (unsigned long long)ms);
	cr_assert_eq(to->sleeps, from->sleeps);
	cr_assert_eq(to->wakeups, from->wakeups);
}

TestSuite(message_path, .timeout = 120);

Test(message_path, on_one_worker_a_million_messages_allocate_nothing)
{
	skip_where_not_counted();
	play(1, KICK, 2);
	wait_for(&ended, 2);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(after[i].calls, before[i].calls);
		cr_assert_eq(after[i].pool_bytes, before[i].pool_bytes);
		expect_few_polls(&before[i], &after[i]);
	}
	finish();
}

Test(message_path, on_one_worker_half_a_million_asks_and_answers_allocate_nothing)
{
	skip_where_not_counted();
	play(1, ASK, 1);
	wait_for(&ended, 2);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(after[i].calls, before[i].calls);
		expect_few_polls(&before[i], &after[i]);
	}
	finish();
}

Test(message_path, on_one_worker_a_million_messages_make_no_system_call)
{
	skip_where_not_counted();
	if (!can_trap()) {
		fprintf(stderr, "NOT RUN: message_path: this kernel traps no system calls\n");
		cr_skip_test("this kernel traps no system calls");
	}
	is_trapping = true;
	play(1, KICK, 2);
	wait_for(&ended, 2); /* else on_syscall has ended the process */
	finish();
}

Test(message_path, between_two_workers_a_million_messages_both_ways_allocate_nothing)
{
	skip_where_not_counted();
	play(2, KICK, 2);
	wait_for(&ended, 2);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(after[i].calls, before[i].calls);
		cr_assert_eq(after[i].pool_bytes, before[i].pool_bytes);
	}
	finish();
}

/* ---- one way ---- */

static _Atomic int is_through;

/* As many as the receiver takes, and on in the next turn. */
static void on_pump(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct count *c = state;

	(void)msg;
	for (int i = 0; i < CAP; i++) {
		if (cx_send(ctx, player[1], cx_msg_new(ctx, DROP, sizeof(struct cx_msg))) !=
		    CX_OK)
			break; /* CX_EFULL */
		if (c->handled++ == WARM)
			before[0] = look_now(ctx);
	}
	if (c->handled < WARM + ONE_WAY) {
		send(ctx, cx_self(ctx), KICK);
		return;
	}
	after[0] = look_now(ctx);
	atomic_store(&is_through, 1);
}

static void on_drop(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
}

static const struct cx_handler pump_handlers[] = { CX_ON(KICK, struct cx_msg, on_pump) };
static const struct cx_actor_type pump_type = {
	.name = "pump",
	.state_size = sizeof(struct count),
	.conf_size = sizeof(unsigned),
	.mailbox_cap = CAP,
	.placement = CX_PLACE_IO,
	.start = start,
	.handlers = pump_handlers,
	.handler_count = CX_COUNTOF(pump_handlers),
};
static const struct cx_handler drain_handlers[] = { CX_ON(DROP, struct cx_msg, on_drop) };
static const struct cx_actor_type drain_type = {
	.name = "drain",
	.conf_size = sizeof(unsigned),
	.mailbox_cap = CAP,
	.placement = CX_PLACE_IO,
	.handlers = drain_handlers,
	.handler_count = CX_COUNTOF(drain_handlers),
};

/* Without a way home each block would be taken anew: a slab for every thousand messages. */
Test(message_path, two_million_messages_one_way_take_no_more_memory)
{
	make(2);
	spawn(&pump_type, 0, 0, &player[0]);
	spawn(&drain_type, 1, 1, &player[1]);
	cr_assert_eq(cx_runtime_start(rt), CX_OK);
	post(player[0], KICK);
	wait_for(&is_through, 1);
	cr_assert_gt(before[0].pool_bytes, 0);
	cr_assert_eq(after[0].pool_bytes, before[0].pool_bytes);
	if (IS_COUNTED)
		cr_assert_eq(after[0].calls, before[0].calls);
	finish();
}
