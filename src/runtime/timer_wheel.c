/* SPDX-License-Identifier: MIT */
#include "runtime/timer_wheel.h"

#include <string.h>

#define BITS 6
#define MASK (CX__WHEEL_SLOTS - 1)

void cx__wheel_init(struct cx__wheel *wheel, uint64_t now_ms)
{
	memset(wheel, 0, sizeof(*wheel));
	wheel->now_ms = now_ms;
}

/* due > now_ms (inv. 1) */
static void place(struct cx__wheel *wheel, struct cx_timer *timer)
{
	const uint64_t longest = (UINT64_C(1) << (BITS * CX__WHEEL_LEVELS)) - 1;
	const uint64_t left = timer->due_ms - wheel->now_ms;
	const uint64_t at = left > longest ? wheel->now_ms + longest : timer->due_ms;
	struct cx_timer **head;
	unsigned level = 0;
	unsigned slot;

	while ((at - wheel->now_ms) >> (BITS * (level + 1)) != 0)
		level++;
	slot = (unsigned)(at >> (BITS * level)) & MASK;
	head = &wheel->slots[level][slot];
	timer->next = *head;
	timer->prev = head;
	if (timer->next != NULL)
		timer->next->prev = &timer->next;
	*head = timer;
	wheel->occupied[level] |= UINT64_C(1) << slot;
}

void cx__wheel_add(struct cx__wheel *wheel, struct cx_timer *timer)
{
	if (timer->due_ms <= wheel->now_ms)
		timer->due_ms = wheel->now_ms + 1;
	place(wheel, timer);
	wheel->count++;
}

static void unlink_timer(struct cx_timer *timer)
{
	*timer->prev = timer->next;
	if (timer->next != NULL)
		timer->next->prev = timer->prev;
	timer->next = NULL;
	timer->prev = NULL;
}

void cx__wheel_remove(struct cx__wheel *wheel, struct cx_timer *timer)
{
	unlink_timer(timer);
	wheel->count--;
}

/* Takes the whole slot; its timers are then only linked to *list. */
static struct cx_timer *empty_slot(struct cx__wheel *wheel, unsigned level, unsigned slot,
                                   struct cx_timer **list)
{
	*list = wheel->slots[level][slot];
	wheel->slots[level][slot] = NULL;
	wheel->occupied[level] &= ~(UINT64_C(1) << slot);
	if (*list != NULL)
		(*list)->prev = list;
	return *list;
}

static void cascade(struct cx__wheel *wheel, unsigned level)
{
	const unsigned slot = (unsigned)(wheel->now_ms >> (BITS * level)) & MASK;
	struct cx_timer *list;

	empty_slot(wheel, level, slot, &list);
	while (list != NULL) {
		struct cx_timer *timer = list;

		unlink_timer(timer);
		if (timer->due_ms <= wheel->now_ms)
			timer->due_ms = wheel->now_ms; /* fires in this very tick */
		if (timer->due_ms == wheel->now_ms) {
			struct cx_timer **head = &wheel->slots[0][wheel->now_ms & MASK];

			timer->next = *head;
			timer->prev = head;
			if (timer->next != NULL)
				timer->next->prev = &timer->next;
			*head = timer;
			wheel->occupied[0] |= UINT64_C(1) << (wheel->now_ms & MASK);
		} else {
			place(wheel, timer);
		}
	}
}

static void fire_tick(struct cx__wheel *wheel, cx__wheel_fn *fire, void *arg)
{
	struct cx_timer *list;

	empty_slot(wheel, 0, (unsigned)wheel->now_ms & MASK, &list);
	while (list != NULL) {
		struct cx_timer *timer = list;

		unlink_timer(
			timer); /* fire may cancel the others of the list: they are linked to it */
		wheel->count--;
		fire(arg, timer);
	}
}

/* Ticks until slot 0 of level 0 or an occupied slot of it comes up; at least 1. */
static uint64_t step(const struct cx__wheel *wheel)
{
	const unsigned at = (unsigned)wheel->now_ms & MASK;
	const uint64_t later = at == MASK ? 0 : wheel->occupied[0] >> (at + 1);

	if (later != 0)
		return (uint64_t)__builtin_ctzll(later) + 1;
	return CX__WHEEL_SLOTS - at;
}

void cx__wheel_advance(struct cx__wheel *wheel, uint64_t now_ms, cx__wheel_fn *fire, void *arg)
{
	while (wheel->now_ms < now_ms) {
		uint64_t ticks = step(wheel);

		if (wheel->count == 0) {
			wheel->now_ms = now_ms;
			return;
		}
		if (ticks > now_ms - wheel->now_ms)
			ticks = now_ms - wheel->now_ms;
		wheel->now_ms += ticks;
		for (unsigned level = 1; level < CX__WHEEL_LEVELS; level++) {
			if (wheel->now_ms & ((UINT64_C(1) << (BITS * level)) - 1))
				break;
			cascade(wheel, level);
		}
		if (wheel->occupied[0] >> (wheel->now_ms & MASK) & 1)
			fire_tick(wheel, fire, arg);
	}
}

uint64_t cx__wheel_wait_ms(const struct cx__wheel *wheel, uint64_t now_ms, uint64_t limit_ms)
{
	uint64_t best = now_ms + limit_ms;

	if (wheel->count == 0)
		return limit_ms;
	for (unsigned level = 0; level < CX__WHEEL_LEVELS; level++) {
		const unsigned at = (unsigned)(wheel->now_ms >> (BITS * level)) & MASK;
		const uint64_t bits = wheel->occupied[level];
		/* rotate so that bit 0 is the slot after `at` */
		const uint64_t turned =
			at == MASK ? bits : bits >> (at + 1) | bits << (MASK - at);
		uint64_t due;

		if (turned == 0)
			continue;
		due = ((wheel->now_ms >> (BITS * level)) + (uint64_t)__builtin_ctzll(turned) +
		       1)
		      << (BITS * level);
		if (due < best)
			best = due;
	}
	return best > now_ms ? best - now_ms : 0;
}
