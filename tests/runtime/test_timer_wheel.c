/* SPDX-License-Identifier: MIT */
#include "runtime/timer_wheel.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct fired {
	struct cx__wheel *wheel;
	uint64_t count, wrong;
};

static void fire(void *arg, struct cx_timer *timer)
{
	struct fired *f = arg;

	f->count++;
	if (timer->due_ms > f->wheel->now_ms)
		f->wrong++; /* early */
	timer->seq = 1;
}

static void arm(struct cx__wheel *wheel, struct cx_timer *timer, uint64_t due_ms)
{
	*timer = (struct cx_timer){ .due_ms = due_ms };
	cx__wheel_add(wheel, timer);
}

Test(timer_wheel, fires_each_timer_at_its_tick_and_never_early, .timeout = 20)
{
	static struct cx__wheel wheel;
	static struct cx_timer timers[4000];
	struct fired f = { .wheel = &wheel };
	uint64_t now = 12345;

	srand(1);
	cx__wheel_init(&wheel, now);
	for (int i = 0; i < 4000; i++) /* all levels: up to 20 minutes */
		arm(&wheel, &timers[i],
		    now + 1 + (uint64_t)rand() % (1u << (unsigned)(i % 20 + 1)));
	for (uint64_t end = now + (1u << 20) + 10; now < end;) {
		now += 1 + (uint64_t)rand() % 50;
		cx__wheel_advance(&wheel, now, fire, &f);
		for (int i = 0; i < 4000; i++)
			if (timers[i].due_ms <= now && timers[i].seq == 0)
				f.wrong++; /* late */
	}
	cr_assert_eq(f.count, 4000);
	cr_assert_eq(f.wrong, 0);
	cr_assert_eq(wheel.count, 0);
}

Test(timer_wheel, cancelled_timers_never_fire, .timeout = 5)
{
	static struct cx__wheel wheel;
	static struct cx_timer timers[1000];
	struct fired f = { .wheel = &wheel };

	cx__wheel_init(&wheel, 0);
	for (uint64_t i = 0; i < 1000; i++)
		arm(&wheel, &timers[i], 1 + i * 7);
	for (int i = 0; i < 1000; i += 2)
		cx__wheel_remove(&wheel, &timers[i]);
	cx__wheel_advance(&wheel, 100000, fire, &f);
	cr_assert_eq(f.count, 500);
	for (int i = 0; i < 1000; i += 2)
		cr_assert_eq(timers[i].seq, 0);
}

Test(timer_wheel, waiting_time_is_never_too_long, .timeout = 20)
{
	static struct cx__wheel wheel;
	struct fired f = { .wheel = &wheel };
	struct cx_timer timer;

	for (uint64_t start = 0; start < 200; start += 13) {
		for (uint64_t delay = 1; delay < 300000; delay = delay * 3 / 2 + 1) {
			uint64_t now = start;
			const uint64_t due = start + delay;

			cx__wheel_init(&wheel, start);
			arm(&wheel, &timer, due);
			while (timer.seq == 0) {
				const uint64_t wait = cx__wheel_wait_ms(&wheel, now, 60000);

				cr_assert(now + wait <= due || wait == 0, "slept past %llu",
				          (unsigned long long)due);
				now += wait > 0 ? wait : 1;
				cr_assert_leq(now, due);
				cx__wheel_advance(&wheel, now, fire, &f);
			}
			cr_assert_eq(now, due);
		}
	}
	cr_assert_eq(f.wrong, 0);
}

Test(timer_wheel, a_jump_over_days_fires_what_is_due, .timeout = 5)
{
	static struct cx__wheel wheel;
	struct fired f = { .wheel = &wheel };
	struct cx_timer soon, late;

	cx__wheel_init(&wheel, 5);
	arm(&wheel, &soon, 1000);
	arm(&wheel, &late, UINT64_C(40) * 86400000);
	cx__wheel_advance(&wheel, UINT64_C(30) * 86400000, fire, &f);
	cr_assert_eq(f.count, 1);
	cr_assert_eq(late.seq, 0);
	cx__wheel_advance(&wheel, UINT64_C(40) * 86400000, fire, &f);
	cr_assert_eq(late.seq, 1);
}

/* ---- a million ---- */

#define MANY 1000000
#define ARMED_A_STEP 50
#define CANCELLED_A_STEP 30

enum fate { NEW, ARMED, FIRED, CANCELLED };

static struct {
	struct cx__wheel wheel;
	struct cx_timer timer[MANY];
	uint64_t due_ms[MANY]; /* as armed */
	uint8_t fate[MANY];    /* enum fate */
	uint64_t count[CANCELLED + 1];
	uint64_t wrong, last_ms, random;
} many;

static uint64_t draw(uint64_t below)
{
	many.random ^= many.random << 13;
	many.random ^= many.random >> 7;
	many.random ^= many.random << 17;
	return many.random % below;
}

static void set_fate(size_t i, enum fate from, enum fate to)
{
	if (many.fate[i] != from)
		many.wrong++; /* once more, or after its end */
	many.fate[i] = (uint8_t)to;
	many.count[to]++;
}

/* On all levels that 9 minutes reach. */
static void arm_one(size_t i)
{
	many.due_ms[i] = many.wheel.now_ms + 1 + draw(UINT64_C(1) << (i % 19 + 1));
	set_fate(i, NEW, ARMED);
	arm(&many.wheel, &many.timer[i], many.due_ms[i]);
}

static void cancel_any(void)
{
	const size_t i = draw(MANY);

	if (many.fate[i] != ARMED)
		return;
	cx__wheel_remove(&many.wheel, &many.timer[i]);
	set_fate(i, ARMED, CANCELLED);
}

static void fire_one(void *arg, struct cx_timer *timer)
{
	const size_t i = (size_t)(timer - many.timer);

	(void)arg;
	set_fate(i, ARMED, FIRED);
	/* in its own tick, and ticks come in order: so in order of time */
	if (many.due_ms[i] != many.wheel.now_ms || many.wheel.now_ms < many.last_ms)
		many.wrong++;
	many.last_ms = many.wheel.now_ms;
	if (draw(8) == 0)
		cancel_any(); /* maybe one of this very tick */
}

Test(timer_wheel, of_a_million_each_fires_once_in_its_tick_or_is_cancelled, .timeout = 60)
{
	uint64_t now_ms = 98765;
	size_t later = MANY / 2;

	many.random = 88172645463325252;
	cx__wheel_init(&many.wheel, now_ms);
	for (size_t i = 0; i < MANY / 2; i++)
		arm_one(i);
	while (later < MANY || many.wheel.count > 0) {
		for (int i = 0; i < ARMED_A_STEP && later < MANY; i++)
			arm_one(later++);
		for (int i = 0; i < CANCELLED_A_STEP; i++)
			cancel_any();
		now_ms += 1 + draw(99);
		cx__wheel_advance(&many.wheel, now_ms, fire_one, NULL);
	}
	cr_assert_eq(many.wrong, 0);
	cr_assert_eq(many.count[ARMED], MANY);
	cr_assert_eq(many.count[FIRED] + many.count[CANCELLED], MANY);
	cr_assert_gt(many.count[CANCELLED], MANY / 100);
	cr_assert_gt(many.count[FIRED], MANY / 100);
}
