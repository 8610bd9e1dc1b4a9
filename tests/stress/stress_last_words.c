/* SPDX-License-Identifier: MIT */
/* What workers keep back to send it in parcels (src/runtime/crossing.c): it is not refused without need, not lost
 * at the end, not overtaken, and not kept back behind slow turns.  Each case was a defect once. */
#include <stdatomic.h>
#include <string.h>

#include <cx/runtime.h>

#include "runtime/internal.h"
#include "stress.h"

#define WAIT_MS 20000 /* a machine that is busy otherwise */
#define SPEAKERS 40

enum { GO = CX_MSG_USER, NUMBER, LONG_NUMBER, ANSWER };

struct number {
	struct cx_msg hdr;
	uint32_t source;
	uint32_t seq;
};

struct long_number { /* goes alone */
	struct number number;
	uint8_t text[600];
};

struct counted { /* by the actors of a case */
	_Atomic uint64_t sent, refused, handled, disorder, turns, kept;
};

static struct counted counted;
static struct cx_runtime *rt;

#define ACTOR(label, place, cap, state, on)                                                    \
	{                                                                                      \
		.name = (label), .placement = (place), .mailbox_cap = (cap), .handlers = (on), \
		.handler_count = CX_COUNTOF(on), .state_size = (state)                         \
	}

/* ---- for all cases ---- */

static void begin(unsigned workers)
{
	const struct cx_runtime_conf conf = { .workers = workers };

	cx_assert(cx_runtime_new(&conf, &rt) == CX_OK);
	memset(&counted, 0, sizeof(counted));
}

static struct cx_ref spawn(const struct cx_actor_type *type, const void *conf, uint64_t key)
{
	struct cx_ref ref;

	cx_assert(cx_runtime_spawn(rt, type, conf, key, &ref) == CX_OK);
	return ref;
}

static void start(void)
{
	cx_assert(cx_runtime_start(rt) == CX_OK);
}

static void end(void)
{
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
}

static void post(struct cx_ref to, uint32_t type)
{
	cx_assert(cx_post(rt, to, cx_post_new(type, sizeof(struct cx_msg))) == CX_OK);
}

/* There is room for it by the case's design. */
static void tell(struct cx_ctx *ctx, struct cx_ref to, uint32_t type)
{
	cx_assert(cx_send(ctx, to, cx_msg_new(ctx, type, sizeof(struct cx_msg))) == CX_OK);
}

static void tell_number(struct cx_ctx *ctx, struct cx_ref to, uint32_t source, uint32_t seq,
                        bool is_long)
{
	struct number *n = is_long ? &CX_MSG_NEW(ctx, LONG_NUMBER, struct long_number)->number
	                           : CX_MSG_NEW(ctx, NUMBER, struct number);

	n->source = source;
	n->seq = seq;
	cx_assert(cx_send(ctx, to, &n->hdr) == CX_OK);
}

static void wait_for(_Atomic uint64_t *count, uint64_t goal)
{
	for (int ms = 0; ms < WAIT_MS && atomic_load(count) < goal; ms++)
		stress_sleep_ms(1);
}

static unsigned long long got(_Atomic uint64_t *count)
{
	return (unsigned long long)atomic_load(count);
}

static void on_counted(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	atomic_fetch_add(&counted.handled, 1);
}

static const struct cx_handler counter_handlers[] = {
	CX_ON(NUMBER, struct number, on_counted),
	CX_ON(GO, struct cx_msg, on_counted),
};

/* ---- an idle actor with an empty mailbox is not refused, however many there are ---- */

#define CROWD (7 * 512) /* then the busy actor's slot is the idle one's + 4,096 */
#define BURST 100
#define PROBES 50

static struct cx_ref idle_ref, busy_ref;

static void on_burst(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	for (uint32_t i = 0; i < BURST; i++)
		tell(ctx, busy_ref, GO);
}

static void on_probe(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	if (cx_send(ctx, idle_ref, cx_msg_new(ctx, GO, sizeof(struct cx_msg))) != CX_OK)
		atomic_fetch_add(&counted.refused, 1);
	atomic_fetch_add(&counted.sent, 1);
}

static const struct cx_handler prober_handlers[] = {
	CX_ON(GO, struct cx_msg, on_burst),
	CX_ON(ANSWER, struct cx_msg, on_probe),
};
static const struct cx_actor_type small_type =
	ACTOR("small", CX_PLACE_IO, 16, 0, counter_handlers);
static const struct cx_actor_type big_type =
	ACTOR("big", CX_PLACE_IO, 1000, 0, counter_handlers);
static const struct cx_actor_type prober_type =
	ACTOR("prober", CX_PLACE_IO, 1000, 0, prober_handlers);

static void run_crowd(void)
{
	struct cx_ref prober;

	begin(3);
	idle_ref = spawn(&small_type, NULL, 1);
	prober = spawn(&prober_type, NULL, 0);
	for (int i = 1; i < CROWD; i++)
		spawn(&small_type, NULL, 0);
	busy_ref = spawn(&big_type, NULL, 2);
	start();
	post(prober, GO);
	wait_for(&counted.handled, BURST);
	STRESS_CHECK(got(&counted.handled) == BURST, "%llu of %d", got(&counted.handled),
	             BURST);
	for (uint64_t i = 1; i <= PROBES; i++) {
		post(prober, ANSWER);
		wait_for(&counted.sent, i);
		wait_for(&counted.handled, BURST + i - got(&counted.refused));
	}
	printf("crowd: slots %u and %u, %llu of %d refused\n", idle_ref.slot, busy_ref.slot,
	       got(&counted.refused), PROBES);
	STRESS_CHECK(got(&counted.refused) == 0, "%llu of %d to an idle actor",
	             got(&counted.refused), PROBES);
	end();
}

/* ---- last words to an actor with a thread of its own arrive ---- */

enum length { SHORT, LONG, BOTH };

struct words {
	const char *name;
	uint32_t each; /* of each speaker */
	enum length length;
	long pause_ms; /* of the listener, before the first: what comes piles up */
	int times;
};

struct listener {
	bool has_paused;
	uint32_t next[SPEAKERS];
};

struct speaker {
	uint32_t number;
};

static const struct words *words;
static struct cx_ref listener_ref;

static void on_word(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct listener *l = state;
	/* a long one begins so */
	const struct number *n = (const struct number *)(const void *)msg;

	(void)ctx;
	if (!l->has_paused && words->pause_ms > 0)
		stress_sleep_ms(words->pause_ms);
	l->has_paused = true;
	if (n->seq != l->next[n->source])
		atomic_fetch_add(&counted.disorder, 1);
	l->next[n->source] = n->seq + 1;
	atomic_fetch_add(&counted.handled, 1);
}

static enum cx_err start_speaker(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	memcpy(state, conf, sizeof(struct speaker));
	return CX_OK;
}

static void stop_speaker(struct cx_ctx *ctx, void *state)
{
	const struct speaker *s = state;

	for (uint32_t i = 0; i < words->each; i++)
		tell_number(ctx, listener_ref, s->number, i,
		            words->length == LONG || (words->length == BOTH && i % 3 == 2));
}

static const struct cx_handler listener_handlers[] = {
	CX_ON(NUMBER, struct number, on_word),
	CX_ON(LONG_NUMBER, struct long_number, on_word),
};
static const struct cx_actor_type listener_type = ACTOR(
	"listener", CX_PLACE_THREAD, 1u << 20, sizeof(struct listener), listener_handlers);
static const struct cx_actor_type speaker_type = {
	.name = "speaker",
	.placement = CX_PLACE_IO,
	.mailbox_cap = 16,
	.state_size = sizeof(struct speaker),
	.conf_size = sizeof(struct speaker),
	.start = start_speaker,
	.stop = stop_speaker,
};

static void run_words_once(uint64_t *handled, uint64_t *disorder)
{
	begin(2);
	listener_ref = spawn(&listener_type, NULL, 0);
	for (uint32_t i = 0; i < SPEAKERS; i++) {
		const struct speaker conf = { i };

		spawn(&speaker_type, &conf, i % 2);
	}
	start();
	end();
	*handled += atomic_load(&counted.handled);
	*disorder += atomic_load(&counted.disorder);
}

static void run_words(void)
{
	static const struct words cases[] = {
		{ "one", 1, SHORT, 0, 100 },
		{ "one, piled up", 1, SHORT, 5, 40 },
		{ "many", 100, SHORT, 0, 20 },
		{ "long", 20, LONG, 0, 20 },
		{ "both", 100, BOTH, 0, 20 },
		{ "piled up", 1000, SHORT, 50, 2 },
		{ "piled up, both", 1000, BOTH, 50, 2 },
	};

	for (size_t i = 0; i < CX_COUNTOF(cases); i++) {
		uint64_t handled = 0, disorder = 0, expected;

		words = &cases[i];
		expected = (uint64_t)SPEAKERS * words->each * (unsigned)words->times;
		for (int n = 0; n < words->times; n++)
			run_words_once(&handled, &disorder);
		printf("last words, %s: %llu of %llu\n", words->name,
		       (unsigned long long)handled, (unsigned long long)expected);
		STRESS_CHECK(handled == expected, "%s: %llu of %llu arrived", words->name,
		             (unsigned long long)handled, (unsigned long long)expected);
		STRESS_CHECK(disorder == 0, "%s: %llu out of order", words->name,
		             (unsigned long long)disorder);
	}
}

/* ---- cx_post in a handler does not overtake what the handler sent before (rule 7) ---- */

#define ROUNDS 2000

static struct cx_ref teller_ref, relay_ref, judge_ref;

static void on_tell(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	tell_number(ctx, judge_ref, 0, 1, false);
	post(relay_ref, GO);
}

static void on_relay(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	tell_number(ctx, judge_ref, 0, 2, false);
}

struct judge {
	uint32_t last; /* 0: nothing yet */
};

static void on_judge(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct judge *j = state;
	const uint32_t seq = CX_MSG_AS(struct number, msg)->seq;

	if ((seq == 1) == (j->last == 1))
		atomic_fetch_add(&counted.disorder, 1);
	j->last = seq;
	if (seq == 2 && atomic_fetch_add(&counted.turns, 1) < ROUNDS)
		tell(ctx, teller_ref, GO);
}

/* A worker keeps back what it sends while others are runnable. */
static void on_spin(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	if (atomic_load(&counted.turns) < ROUNDS)
		tell(ctx, cx_self(ctx), GO);
}

static const struct cx_handler teller_handlers[] = { CX_ON(GO, struct cx_msg, on_tell) };
static const struct cx_handler relay_handlers[] = { CX_ON(GO, struct cx_msg, on_relay) };
static const struct cx_handler judge_handlers[] = { CX_ON(NUMBER, struct number, on_judge) };
static const struct cx_handler spinner_handlers[] = { CX_ON(GO, struct cx_msg, on_spin) };
static const struct cx_actor_type teller_type =
	ACTOR("teller", CX_PLACE_IO, 100, 0, teller_handlers);
static const struct cx_actor_type relay_types[] = {
	ACTOR("relay_any", CX_PLACE_ANY, 100, 0, relay_handlers),
	ACTOR("relay_home", CX_PLACE_HOME, 100, 0, relay_handlers),
};
static const struct cx_actor_type judge_type =
	ACTOR("judge", CX_PLACE_IO, 100, sizeof(struct judge), judge_handlers);
static const struct cx_actor_type spinner_type =
	ACTOR("spinner", CX_PLACE_IO, 100, 0, spinner_handlers);

/* Of an actor of any worker that is whose run queue it comes to first. */
static struct cx_ref spawn_on(const struct cx_actor_type *type, unsigned worker)
{
	struct cx_ref ref;
	uint64_t key = 0;

	do
		ref = spawn(type, NULL, key++);
	while (cx__front(cx__actor_at(rt, ref.slot))->home != worker);
	return ref;
}

static void run_overtaking(void)
{
	for (size_t i = 0; i < CX_COUNTOF(relay_types); i++) {
		struct cx_ref spinner;

		begin(2);
		judge_ref = spawn(&judge_type, NULL, 1);
		teller_ref = spawn(&teller_type, NULL, 0);
		spinner = spawn(&spinner_type, NULL, 0);
		relay_ref = spawn_on(&relay_types[i], 1);
		start();
		post(spinner, GO);
		post(teller_ref, GO);
		wait_for(&counted.turns, ROUNDS);
		printf("%s: %llu rounds, %llu out of order\n", relay_types[i].name,
		       got(&counted.turns), got(&counted.disorder));
		STRESS_CHECK(got(&counted.turns) >= ROUNDS && got(&counted.disorder) == 0,
		             "%s: %llu rounds, %llu out of order", relay_types[i].name,
		             got(&counted.turns), got(&counted.disorder));
		atomic_store(&counted.turns, ROUNDS);
		end();
	}
}

/* ---- who knows an address by memory alone may post to it ---- */

#define NEWCOMERS 20
#define PARENT_WAITS_MS 100 /* in its handler, for what was posted to its child */

static _Atomic uint64_t published; /* a struct cx_ref, or 0 */

static const struct cx_actor_type newcomer_type =
	ACTOR("newcomer", CX_PLACE_IO, 16, 0, counter_handlers);

static void on_spawn(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint64_t before = atomic_load(&counted.handled);
	struct cx_ref ref;
	uint64_t bits;
	const enum cx_err err = cx_spawn(ctx, &newcomer_type, NULL, 1, &ref);

	(void)state;
	(void)msg;
	cx_assert(err == CX_OK);
	memcpy(&bits, &ref, sizeof(bits));
	atomic_store(&published, bits);
	for (int ms = 0; ms < PARENT_WAITS_MS && atomic_load(&counted.handled) == before; ms++)
		stress_sleep_ms(1);
	atomic_fetch_add(&counted.turns, 1);
}

static const struct cx_handler parent_handlers[] = { CX_ON(GO, struct cx_msg, on_spawn) };
static const struct cx_actor_type parent_type =
	ACTOR("parent", CX_PLACE_IO, 16, 0, parent_handlers);

static void run_published(void)
{
	struct cx_ref parent;

	_Static_assert(sizeof(struct cx_ref) == sizeof(uint64_t), "it is published at once");
	begin(2);
	parent = spawn(&parent_type, NULL, 0);
	start();
	for (uint64_t i = 1; i <= NEWCOMERS; i++) {
		struct cx_ref ref;
		uint64_t bits;

		atomic_store(&published, 0);
		post(parent, GO);
		wait_for(&published, 1);
		bits = atomic_load(&published);
		memcpy(&ref, &bits, sizeof(ref));
		if (cx_post(rt, ref, cx_post_new(GO, sizeof(struct cx_msg))) == CX_OK)
			atomic_fetch_add(&counted.sent, 1);
		wait_for(&counted.turns, i);
	}
	wait_for(&counted.handled, atomic_load(&counted.sent));
	end();
	printf("published: %llu of %llu\n", got(&counted.handled), got(&counted.sent));
	STRESS_CHECK(got(&counted.sent) == NEWCOMERS, "%llu accepted", got(&counted.sent));
	STRESS_CHECK(got(&counted.handled) == got(&counted.sent), "%llu handled of %llu",
	             got(&counted.handled), got(&counted.sent));
}

/* ---- who never has more in flight than a mailbox holds is never refused ---- */

#define CREDITS 64
#define CREDITS_MS 1500

static struct cx_ref pump_ref, drain_ref;

struct pump {
	uint32_t out;
};

static void on_drain(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	tell(ctx, pump_ref, ANSWER);
}

static void on_pump(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct pump *p = state;

	(void)msg;
	if (p->out > 0)
		p->out--;
	while (p->out < CREDITS) {
		if (cx_send(ctx, drain_ref, cx_msg_new(ctx, GO, sizeof(struct cx_msg))) !=
		    CX_OK) {
			atomic_fetch_add(&counted.refused, 1);
			break;
		}
		p->out++;
		atomic_fetch_add(&counted.sent, 1);
	}
}

static const struct cx_handler drain_handlers[] = { CX_ON(GO, struct cx_msg, on_drain) };
static const struct cx_handler pump_handlers[] = { CX_ON(ANSWER, struct cx_msg, on_pump) };
static const struct cx_actor_type drain_type =
	ACTOR("drain", CX_PLACE_IO, CREDITS, 0, drain_handlers);
static const struct cx_actor_type pump_type =
	ACTOR("pump", CX_PLACE_IO, 1000, sizeof(struct pump), pump_handlers);

static void run_credits(void)
{
	begin(2);
	drain_ref = spawn(&drain_type, NULL, 1);
	pump_ref = spawn(&pump_type, NULL, 0);
	start();
	post(drain_ref, GO); /* its answer begins it: a START that waits counts, too */
	stress_sleep_ms(CREDITS_MS);
	printf("credits: %llu of %llu refused\n", got(&counted.refused), got(&counted.sent));
	STRESS_CHECK(got(&counted.refused) == 0, "%llu of %llu, never more than %d in flight",
	             got(&counted.refused), got(&counted.sent), CREDITS);
	end();
}

/* ---- what a quick turn sends is not kept back behind a slow one ---- */

#define SLOW_TURNS 150
#define SLOW_NS 200000
#define SLOW_MAX_NS 20000000      /* it waits so long for what was sent before it */
#define KEPT_MAX (SLOW_TURNS / 4) /* a worker learns what is slow, and machines are busy */

static struct cx_ref target_ref, quick_ref;

static const struct cx_actor_type target_type =
	ACTOR("target", CX_PLACE_IO, 1000, 0, counter_handlers);

static void on_quick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	if (atomic_load(&counted.turns) == SLOW_TURNS)
		return;
	tell(ctx, target_ref, GO);
	atomic_fetch_add(&counted.sent, 1);
	tell(ctx, cx_self(ctx), GO);
}

/* By the clock it would say how busy the machine is: so it asks whether they come while this turn lasts. */
static void on_slow(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint64_t sent = atomic_load(&counted.sent);
	const uint64_t began_ns = cx__clock_ns();
	uint64_t took_ns;
	bool is_there;

	(void)state;
	(void)msg;
	do {
		is_there = atomic_load(&counted.handled) >= sent;
		took_ns = cx__clock_ns() - began_ns;
	} while (took_ns < (is_there ? SLOW_NS : SLOW_MAX_NS));
	if (!is_there)
		atomic_fetch_add(&counted.kept, 1);
	if (atomic_fetch_add(&counted.turns, 1) == 0)
		tell(ctx, quick_ref, GO); /* from here on they take turns */
	if (atomic_load(&counted.turns) < SLOW_TURNS)
		tell(ctx, cx_self(ctx), GO);
}

static const struct cx_handler quick_handlers[] = { CX_ON(GO, struct cx_msg, on_quick) };
static const struct cx_handler slow_handlers[] = { CX_ON(GO, struct cx_msg, on_slow) };
static const struct cx_actor_type quick_type =
	ACTOR("quick", CX_PLACE_IO, 16, 0, quick_handlers);
static const struct cx_actor_type slow_type = ACTOR("slow", CX_PLACE_IO, 16, 0, slow_handlers);

static void run_kept(void)
{
	struct cx_ref spinner, slow;

	begin(2);
	/* the other worker is awake: to wake it would make a slow turn of a quick one */
	spinner = spawn(&spinner_type, NULL, 1);
	target_ref = spawn(&target_type, NULL, 1);
	quick_ref = spawn(&quick_type, NULL, 0);
	slow = spawn(&slow_type, NULL, 0);
	start();
	post(spinner, GO);
	post(slow, GO);
	wait_for(&counted.turns, SLOW_TURNS);
	printf("kept back: %llu messages, %llu of %llu slow turns\n", got(&counted.sent),
	       got(&counted.kept), got(&counted.turns));
	STRESS_CHECK(got(&counted.turns) == SLOW_TURNS && got(&counted.sent) >= SLOW_TURNS / 2,
	             "%llu messages, %llu turns", got(&counted.sent), got(&counted.turns));
	STRESS_CHECK(got(&counted.kept) <= KEPT_MAX, "in %llu of %d turns", got(&counted.kept),
	             SLOW_TURNS);
	end();
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	run_crowd();
	run_words();
	run_overtaking();
	run_published();
	run_credits();
	run_kept();
	return stress_end();
}
