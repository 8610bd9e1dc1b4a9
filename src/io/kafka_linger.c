/* SPDX-License-Identifier: MIT */
#include "io/kafka_linger.h"

#define WINDOW_MS 50

void kafka_linger_note(struct kafka_linger *linger, uint64_t now_ms, uint32_t n)
{
	const uint64_t elapsed_ms = now_ms - linger->since_ms;
	uint32_t rate;

	linger->count += n;
	if (elapsed_ms < WINDOW_MS)
		return;
	rate = (uint32_t)(linger->count * UINT64_C(1000) / elapsed_ms);
	/* After a pause the old rate means nothing. */
	linger->rate = elapsed_ms > WINDOW_MS * 4 ? rate : (linger->rate + rate) / 2;
	linger->count = 0;
	linger->since_ms = now_ms;
}

uint32_t kafka_linger_ms(const struct kafka_linger *linger)
{
	const uint64_t over =
		linger->rate > KAFKA_LINGER_FROM ? linger->rate - KAFKA_LINGER_FROM : 0;
	const uint64_t span = KAFKA_LINGER_FULL - KAFKA_LINGER_FROM;

	return over >= span ? linger->max_ms : (uint32_t)(linger->max_ms * over / span);
}

static uint32_t left_of(uint32_t wait_ms, uint64_t passed_ms)
{
	return passed_ms < wait_ms ? wait_ms - (uint32_t)passed_ms : 0;
}

uint32_t kafka_linger_left_ms(const struct kafka_linger *linger, uint64_t age_ms, bool is_out,
                              uint64_t handed_ms)
{
	const uint32_t wait_ms = kafka_linger_ms(linger), left = left_of(wait_ms, age_ms);

	if (left > 0 || wait_ms == 0 || !is_out)
		return left;
	return left_of(KAFKA_LINGER_PATIENCE_MS, handed_ms);
}
