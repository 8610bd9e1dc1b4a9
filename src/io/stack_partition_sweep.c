/* SPDX-License-Identifier: MIT */
/* Forgetting: an id is remembered for the window, and until its bucket is swept after that, 15 hours at most.  All buckets
 * are swept in 7 hours by each worker, a few at each tick; where two sweep it is done twice, which
 * harms nothing.  A bucket is a call of its own, so that Redis answers others in between. */

#include "io/stack_keys.h"
#include "io/stack_partition_internal.h"

#define BUCKETS_A_TICK 8

void stack_sweep(struct cx_ctx *ctx, struct stack_partition *s)
{
	const int64_t now = stack_steps(steady_wall_ms(&s->wall, ctx), STACK_SEEN_STEP_MS);
	const int64_t age = stack_steps(s->settings->dedup_window_ms, STACK_SEEN_STEP_MS) + 1;
	char key[STACK_KEY_MAX], now_text[REDIS_NUMBER_MAX], age_text[REDIS_NUMBER_MAX],
		ttl[REDIS_NUMBER_MAX];
	struct redis_arg argv[] = {
		{ key, 0 },
		redis_number(now_text, now & 0xffff),
		redis_number(age_text, age),
		redis_number(ttl, stack_seen_ttl_secs(s)),
	};
	uint64_t corr;

	for (unsigned i = 0; i < BUCKETS_A_TICK; i++) {
		argv[0].len = stack_key_dedup(key, s->settings->prefix, s->sweep_bucket);
		if (redis_call_script(ctx, s->conf.redis, s->conf.script_base + 1, 1, argv,
		                      CX_COUNTOF(argv), STACK_CALL_MS, &corr) != CX_OK)
			return;           /* at the next tick */
		cx_ask_cancel(ctx, corr); /* what is not swept now is in 7 hours */
		s->sweep_bucket = (s->sweep_bucket + 1) % STACK_SEEN_BUCKETS;
		stack_partition_count(&s->figures->sweeps, 1);
	}
}
