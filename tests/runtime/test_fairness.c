/* SPDX-License-Identifier: MIT */
/* One worker, a hot actor that always has mail, and a metronome that takes one message a turn.  What
 * counts is how many messages the hot one handles between two beats: a bound in messages, not in time,
 * so a machine that is busy otherwise changes nothing. */
#include <cx/runtime.h>

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include <cx/log.h>

#define BATCH 64       /* messages a turn, when the type says nothing else */
#define LOOK_EVERY 16  /* messages between looks at the clock inside a turn */
#define SLOW_NS 200000 /* 16 of them: longer than a turn (2 ms) and a round (1 ms) may be */
#define BEATS 1000
#define SLOW_BEATS 50

enum { BEAT = CX_MSG_USER, HEAT };

static _Atomic int beats, heat;
static int heat_at_beat, widest;
static _Atomic bool is_over;

static void on_beat(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const int now = atomic_load(&heat);

	(void)state;
	(void)msg;
	if (beats > 0 && now - heat_at_beat > widest)
		widest = now - heat_at_beat;
	heat_at_beat = now;
	beats++;
	cr_assert(cx_send(ctx, cx_self(ctx), cx_msg_new(ctx, BEAT, sizeof(struct cx_msg))) ==
	          CX_OK);
}

/* As many as it handles it sends itself: its mailbox is never empty. */
static void on_heat(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	heat++;
	cr_assert(cx_send(ctx, cx_self(ctx), cx_msg_new(ctx, HEAT, sizeof(struct cx_msg))) ==
	          CX_OK);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void on_slow_heat(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint64_t end_ns = now_ns() + SLOW_NS;

	while (now_ns() < end_ns)
		;
	on_heat(ctx, state, msg);
}

/* Fed from outside. */
static void on_fed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	heat++;
}

#define KIND(kind, id, fn, where, batch)                                                     \
	static const struct cx_handler kind##_handlers[] = { CX_ON(id, struct cx_msg, fn) }; \
	static const struct cx_actor_type kind = { .name = #kind,                            \
		                                   .mailbox_cap = 4096,                      \
		                                   .batch_max = (batch),                     \
		                                   .placement = (where),                     \
		                                   .handlers = kind##_handlers,              \
		                                   .handler_count = 1 }

KIND(metronome, BEAT, on_beat, CX_PLACE_HOME, 1);
KIND(roaming_metronome, BEAT, on_beat, CX_PLACE_ANY, 1);
KIND(hot, HEAT, on_heat, CX_PLACE_HOME, 0);
KIND(roaming_hot, HEAT, on_heat, CX_PLACE_ANY, 0);
KIND(slow_hot, HEAT, on_slow_heat, CX_PLACE_HOME, 0);
KIND(slow_roaming_hot, HEAT, on_slow_heat, CX_PLACE_ANY, 0);
KIND(fed, HEAT, on_fed, CX_PLACE_HOME, 0);

struct scene {
	struct cx_runtime *rt;
	struct cx_ref hot;
};

static void post(struct cx_runtime *rt, struct cx_ref to, uint32_t type)
{
	cr_assert(cx_post(rt, to, cx_post_new(type, sizeof(struct cx_msg))) == CX_OK);
}

/* The hot one has 1000 messages before the first beat. */
static void begin(struct scene *s, const struct cx_actor_type *hot_type,
                  const struct cx_actor_type *beat_type)
{
	const struct cx_runtime_conf conf = { .workers = 1 };
	struct cx_ref metro;

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	cr_assert(cx_runtime_new(&conf, &s->rt) == CX_OK);
	cr_assert(cx_runtime_spawn(s->rt, hot_type, NULL, 0, &s->hot) == CX_OK);
	cr_assert(cx_runtime_spawn(s->rt, beat_type, NULL, 0, &metro) == CX_OK);
	for (int i = 0; i < 1000; i++)
		post(s->rt, s->hot, HEAT);
	post(s->rt, metro, BEAT);
	cr_assert(cx_runtime_start(s->rt) == CX_OK);
}

static void wait_for_beats(int wanted)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	for (int i = 0; i < 10000 && beats < wanted; i++)
		nanosleep(&ms, NULL);
	cr_assert(beats >= wanted, "starved: %d beats, %d of the hot one", beats, heat);
}

/* Returns the most messages of the hot one between two beats. */
static int end(struct scene *s)
{
	cx_runtime_stop(s->rt);
	cx_runtime_free(s->rt);
	cr_assert(heat > BATCH, "it was not hot: %d", heat);
	return widest;
}

static int play(const struct cx_actor_type *hot_type, const struct cx_actor_type *beat_type,
                int beats_wanted)
{
	struct scene s;

	begin(&s, hot_type, beat_type);
	wait_for_beats(beats_wanted);
	return end(&s);
}

TestSuite(fairness, .timeout = 30);

Test(fairness, a_hot_actor_that_sends_to_itself_has_one_batch_between_its_neighbours_turns)
{
	const int most = play(&hot, &metronome, BEATS);

	cr_assert(most > 1 && most <= BATCH, "%d", most);
}

static void *feed(void *scene)
{
	const struct scene *s = scene;

	while (!atomic_load(&is_over)) {
		const enum cx_err err =
			cx_post(s->rt, s->hot, cx_post_new(HEAT, sizeof(struct cx_msg)));

		cr_assert(err == CX_OK || err == CX_EFULL);
	}
	return NULL;
}

Test(fairness, a_hot_actor_fed_by_another_thread_has_one_batch_between_its_neighbours_turns)
{
	struct scene s;
	pthread_t feeder;
	int most;

	begin(&s, &fed, &metronome);
	cr_assert(pthread_create(&feeder, NULL, feed, &s) == 0);
	wait_for_beats(BEATS);
	atomic_store(&is_over, true);
	pthread_join(feeder, NULL);
	most = end(&s);
	cr_assert(most > 1 && most <= BATCH, "%d", most);
}

/* The clock is looked at after 16 messages; when the turn's begin is not known, after 16 more. */
Test(fairness, slow_handlers_end_their_turn_by_the_clock)
{
	const int most = play(&slow_hot, &metronome, SLOW_BEATS);

	cr_assert(most <= 2 * LOOK_EVERY, "%d", most);
}

Test(fairness, actors_of_any_worker_and_those_with_a_home_take_turns)
{
	cr_assert(play(&roaming_hot, &metronome, BEATS) <= BATCH);
	beats = heat = widest = 0;
	cr_assert(play(&hot, &roaming_metronome, BEATS) <= BATCH);
}

/* Each turn of the hot one ends a round of the worker. */
Test(fairness, they_take_turns_also_when_each_turn_is_long)
{
	cr_assert(play(&slow_roaming_hot, &metronome, SLOW_BEATS) <= 2 * LOOK_EVERY);
	beats = heat = widest = 0;
	cr_assert(play(&slow_hot, &roaming_metronome, SLOW_BEATS) <= 2 * LOOK_EVERY);
}
