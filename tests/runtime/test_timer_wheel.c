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
