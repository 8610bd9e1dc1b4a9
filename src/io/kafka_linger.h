/* SPDX-License-Identifier: MIT */
/* How long a producer gathers: nothing at low rates, up to the setting at high ones.
 *
 * A batch costs client and broker tens of microseconds whatever it holds, so at ten thousand a
 * second waiting for company pays (docs: KAFKA_PRODUCER_LINGER_MS), while at a few hundred it only
 * adds latency.  At such rates a batch also waits for the one before it, whatever its partition, as a broker
 * takes one request of a connection after the other; but not long, as the partitions may be several brokers',
 * one of them slow or gone.  The library's own linger.ms cannot change while a client lives. */
#ifndef IO_KAFKA_LINGER_H
#define IO_KAFKA_LINGER_H

#include <stdbool.h>
#include <stdint.h>

#define KAFKA_LINGER_FROM 2000  /* messages a second: up to here nothing waits */
#define KAFKA_LINGER_FULL 10000 /* from here on the setting is the wait */
#define KAFKA_LINGER_PATIENCE_MS 10

struct kafka_linger { /* zeroed, then max_ms set */
	uint32_t max_ms;
	uint32_t rate; /* messages a second, smoothed */
	uint32_t count;
	uint64_t since_ms;
};

/* n more messages came. */
void kafka_linger_note(struct kafka_linger *linger, uint64_t now_ms, uint32_t n);

/* How long the oldest message shall wait for company, in ms. */
uint32_t kafka_linger_ms(const struct kafka_linger *linger);
/* How much of that is left, in ms, for one of that age; is_out: the batch of handed_ms ago, or one before it, is
 * on its way. */
uint32_t kafka_linger_left_ms(const struct kafka_linger *linger, uint64_t age_ms, bool is_out,
                              uint64_t handed_ms);

#endif
