/* SPDX-License-Identifier: MIT */
/* The wall clock for ends that cannot be taken back: as far as it was not set forward while its owner
 * lives.  Set back, it stays behind: what ends by it ends late, never early.  What the clock was
 * when the owner began is believed. */
#ifndef IO_STEADY_WALL_H
#define IO_STEADY_WALL_H

#include <cx/actor.h>

struct steady_wall {
	int64_t ahead_ms; /* least difference of the wall clock and the monotonic one */
};

/* Thread: the owner's handlers, also below. */
static inline void steady_wall_start(struct steady_wall *w, const struct cx_ctx *ctx)
{
	w->ahead_ms = cx_wall_ms(ctx) - (int64_t)cx_now_ms(ctx);
}

/* Unix time in ms, not after the clock's. */
static inline int64_t steady_wall_ms(struct steady_wall *w, const struct cx_ctx *ctx)
{
	const int64_t now_ms = (int64_t)cx_now_ms(ctx);

	if (cx_wall_ms(ctx) - now_ms < w->ahead_ms)
		w->ahead_ms = cx_wall_ms(ctx) - now_ms;
	return now_ms + w->ahead_ms;
}

#endif
