/* SPDX-License-Identifier: MIT */
/* Who waits until a kick was done on all instances.
 *
 * 1. A kick is known by its user, its session and what it closes.  Two of the same are one to whoever does
 *    them: what the later one would close is closed by then, for its session is gone.
 * 2. Whoever lives is asked for in the same batch before the kick is published; one who comes later finds
 *    no session.  Confirmations may be here before that batch is answered.
 * 3. A wait ends once: all have confirmed, or its time is over. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <cx/log.h>

#include "io/stack_routes_internal.h"

#define LOG_MS 10000
#define INSTANCE_DIGITS 16
#define OTHERS_FIRST 8

struct routes_wait {
	struct routes_wait *next;
	struct push_kick_session kick;
	struct cx_caller caller;
	uint64_t since_ms;
	bool is_known;    /* who has to confirm */
	uint64_t *others; /* known: who has not yet; else: who has already */
	uint32_t count, cap;
};

static bool is_same(const struct push_kick_session *a, const struct push_kick_session *b)
{
	return uuid_equal(&a->user, &b->user) && uuid_equal(&a->jti, &b->jti) &&
	       a->what == b->what;
}

/* ---- a set of instances ---- */

static void set_add(struct routes_wait *w, uint64_t instance)
{
	if (w->count == w->cap) {
		w->cap = w->cap == 0 ? OTHERS_FIRST : 2 * w->cap;
		w->others = realloc(w->others, w->cap * sizeof(w->others[0]));
		cx_assert(w->others != NULL);
	}
	w->others[w->count++] = instance;
}

static void set_take(struct routes_wait *w, uint64_t instance)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < w->count; i++)
		if (w->others[i] != instance)
			w->others[kept++] = w->others[i];
	w->count = kept;
}

/* ---- life of a wait ---- */

void routes_kick_wait(struct cx_ctx *ctx, struct stack_routes *r,
                      const struct push_kick_session *kick, struct cx_caller caller)
{
	struct routes_wait **end = &r->waits, *w;

	if (caller.corr == 0)
		return; /* nobody waits */
	w = calloc(1, sizeof(*w));
	cx_assert(w != NULL);
	w->kick = *kick;
	w->caller = caller;
	w->since_ms = cx_now_ms(ctx);
	while (*end != NULL)
		end = &(*end)->next;
	*end = w;
	if (!cx_timer_is_armed(&r->repeat))
		cx_timer_arm(ctx, &r->repeat, ROUTES_KICK_REPEAT_MS, TIMER_D);
}

static void take_out(struct routes_wait **at)
{
	struct routes_wait *w = *at;

	*at = w->next;
	free(w->others);
	free(w);
}

static void finish(struct cx_ctx *ctx, struct routes_wait **at)
{
	cx_answer(ctx, (*at)->caller, cx_msg_new(ctx, ROUTES_KICKED, sizeof(struct cx_msg)));
	take_out(at);
}

void routes_kicks_free(struct stack_routes *r)
{
	while (r->waits != NULL)
		take_out(&r->waits);
}

/* ---- what is heard ---- */

/* "INSTANCE"; 0: not one of ours. */
static uint64_t instance_of(struct wire_slice text)
{
	char copy[INSTANCE_DIGITS + 1] = "", *end;
	uint64_t instance;

	if (text.len != INSTANCE_DIGITS)
		return 0;
	memcpy(copy, text.at, text.len);
	instance = strtoull(copy, &end, 16);
	return *end == '\0' ? instance : 0;
}

/* The array that `walk` is at; from now on the set is of those who have not confirmed. */
static void expect(const struct stack_routes *r, struct routes_wait *w, struct redis_walk walk)
{
	struct routes_wait heard = *w;
	struct redis_value array, name;

	w->is_known = true;
	w->others = NULL;
	w->count = w->cap = 0;
	if (!redis_walk_next(&walk, &array) || array.kind != REDIS_ARRAY)
		array.count = 0;
	for (uint32_t i = 0; i < array.count && redis_walk_next(&walk, &name); i++) {
		const uint64_t instance =
			name.kind == REDIS_STRING ? instance_of(name.text) : 0;

		if (instance != 0 && instance != r->conf.settings->instance)
			set_add(w, instance);
	}
	for (uint32_t i = 0; i < heard.count; i++)
		set_take(w, heard.others[i]);
	free(heard.others);
}

static bool is_in(const struct routes_batch *b, const struct push_kick_session *kick)
{
	for (uint32_t i = 0; i < b->kick_count; i++)
		if (is_same(&b->kicks[i], kick))
			return true;
	return false;
}

void routes_kicks_said(struct cx_ctx *ctx, struct stack_routes *r, const struct routes_batch *b,
                       struct redis_walk walk)
{
	struct routes_wait **at = &r->waits;

	while (*at != NULL) {
		if (!(*at)->is_known && is_in(b, &(*at)->kick))
			expect(r, *at, walk);
		if ((*at)->is_known && (*at)->count == 0)
			finish(ctx, at);
		else
			at = &(*at)->next;
	}
}

void routes_kick_done(struct cx_ctx *ctx, struct stack_routes *r,
                      const struct push_kick_session *kick)
{
	struct routes_wait **at = &r->waits;

	while (*at != NULL) {
		struct routes_wait *w = *at;

		if (is_same(&w->kick, kick)) {
			set_take(w, kick->from_instance);
			if (!w->is_known)
				set_add(w, kick->from_instance);
			else if (w->count == 0) {
				finish(ctx, at);
				continue;
			}
		}
		at = &w->next;
	}
}

/* ---- time ---- */

static uint32_t wait_ms(const struct stack_routes *r)
{
	const uint32_t ms = r->conf.settings->kick_wait_ms;

	return ms > 0 ? ms : ROUTES_KICK_WAIT_MS;
}

static void tell_unconfirmed(struct cx_ctx *ctx, struct stack_routes *r, uint32_t kicks)
{
	const uint64_t now_ms = cx_now_ms(ctx);

	routes_count(&r->figures->kicks_unconfirmed, kicks);
	if (kicks == 0 || (r->kicks_logged_ms != 0 && now_ms - r->kicks_logged_ms < LOG_MS))
		return;
	r->kicks_logged_ms = now_ms;
	cx_log(CX_WARN, "routes.kick_unconfirmed", "kicks=%" PRIu32, kicks);
}

void routes_kicks_repeat(struct cx_ctx *ctx, struct stack_routes *r)
{
	const uint64_t now_ms = cx_now_ms(ctx);
	struct routes_wait **at = &r->waits;
	uint32_t given_up = 0;

	while (*at != NULL) {
		const struct routes_wait *w = *at;

		if (now_ms - w->since_ms >= wait_ms(r)) {
			finish(ctx, at);
			given_up++;
			continue;
		}
		/* not before Redis took it: till then it is in the queue */
		if (w->is_known && now_ms - w->since_ms >= ROUTES_KICK_REPEAT_MS &&
		    !routes_queue_add(&r->kicks, &w->kick, sizeof(w->kick)))
			routes_count(&r->figures->kicks_lost, 1);
		at = &(*at)->next;
	}
	tell_unconfirmed(ctx, r, given_up);
	if (r->waits != NULL)
		cx_timer_arm(ctx, &r->repeat, ROUTES_KICK_REPEAT_MS, TIMER_D);
}
