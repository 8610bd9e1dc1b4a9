/* SPDX-License-Identifier: MIT */
/* What a handler may ask its ctx: who and where it is, what time it is. */
#include "runtime/internal.h"

struct cx_worker *cx_worker_of(const struct cx_ctx *ctx)
{
	return ctx->worker;
}

void *cx_worker_loop(const struct cx_worker *worker)
{
	return worker->loop;
}

struct cx_ref cx_self(const struct cx_ctx *ctx)
{
	return ctx->self;
}

unsigned cx_worker_index(const struct cx_ctx *ctx)
{
	return ctx->worker->index;
}

unsigned cx_worker_count(const struct cx_ctx *ctx)
{
	return ctx->worker->rt->workers;
}

uint64_t cx_now_ms(const struct cx_ctx *ctx)
{
	return cx__now_ms(ctx->worker);
}

uint64_t cx_now_ns(const struct cx_ctx *ctx)
{
	return cx__now_ns(ctx->worker);
}

int64_t cx_wall_ms(const struct cx_ctx *ctx)
{
	return cx__wall_ms(ctx->worker);
}

uint64_t cx_random(struct cx_ctx *ctx) /* xorshift64*, Vigna 2016 */
{
	uint64_t x = ctx->worker->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	ctx->worker->random = x;
	return x * UINT64_C(0x2545f4914f6cdd1d);
}
