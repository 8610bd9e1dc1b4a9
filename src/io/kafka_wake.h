/* SPDX-License-Identifier: MIT */
/* Wakes an actor when a queue of the library stops being empty.
 *
 * The library calls from its own threads, once at each change from empty to filled, so whoever is
 * woken drains the queue.  A wake-up that finds the mailbox full is dropped: the actor has turns to
 * come then, and looks at its queues at the end of each. */
#ifndef IO_KAFKA_WAKE_H
#define IO_KAFKA_WAKE_H

#include <cx/actor.h>

struct rd_kafka_queue_s;

struct kafka_wake {
	struct cx_runtime *rt;
	struct cx_ref actor; /* gets KAFKA_EVENT (struct cx_msg) */
};

/* Keeps: wake, until kafka_wake_off for the queue. */
void kafka_wake_on(struct rd_kafka_queue_s *queue, struct kafka_wake *wake);
void kafka_wake_off(struct rd_kafka_queue_s *queue);

#endif
