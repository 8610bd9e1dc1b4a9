/* SPDX-License-Identifier: MIT */
/* Hierarchical timing wheel (Varghese and Lauck 1987, scheme 6): arm and cancel are O(1), a timer
 * is moved at most LEVELS - 1 times.  One worker's, not shared.  Tick: 1 ms.
 *
 * 1. A timer of level n lies in slot (due >> 6n) & 63 and due - now < 64^(n+1).
 * 2. An occupied slot has its bit set; a set bit may be stale (the slot emptied by cancels). */
#ifndef CX_RUNTIME_TIMER_WHEEL_H
#define CX_RUNTIME_TIMER_WHEEL_H

#include <cx/actor.h>

#define CX__WHEEL_LEVELS 6 /* 64^6 ms = 2 years; later ones are armed again on the way */
#define CX__WHEEL_SLOTS 64

struct cx__wheel {
	uint64_t now_ms; /* all timers due at or before it have fired */
	uint64_t occupied[CX__WHEEL_LEVELS];
	uint64_t count;
	struct cx_timer *slots[CX__WHEEL_LEVELS][CX__WHEEL_SLOTS];
};

typedef void cx__wheel_fn(void *arg, struct cx_timer *timer);

void cx__wheel_init(struct cx__wheel *wheel, uint64_t now_ms);
/* timer is not in the wheel; timer->due_ms says when. */
void cx__wheel_add(struct cx__wheel *wheel, struct cx_timer *timer);
void cx__wheel_remove(struct cx__wheel *wheel, struct cx_timer *timer);
/* Fires (removed first) all that is due at or before now_ms. */
void cx__wheel_advance(struct cx__wheel *wheel, uint64_t now_ms, cx__wheel_fn *fire, void *arg);
/* ms until something has to be done, at most limit_ms; 0: now. Never too late, may be early. */
uint64_t cx__wheel_wait_ms(const struct cx__wheel *wheel, uint64_t now_ms, uint64_t limit_ms);

#endif
