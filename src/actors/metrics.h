/* SPDX-License-Identifier: MIT */
/* All figures as text: Prometheus exposition format 0.0.4.  No identifier of a user in it. */
#ifndef ACTORS_METRICS_H
#define ACTORS_METRICS_H

#include <cx/buf.h>
#include <cx/runtime.h>

#include "io/kafka_consumer.h"
#include "io/kafka_producer.h"

/* Figures that have to be asked for. */
struct metrics_kafka {
	struct kafka_producer_figures producer;
	struct kafka_consumer_figures consumer;
	bool has_producer, has_consumer;
};

/* Returns a reference, the caller's.  Thread: any. */
struct cx_buf *metrics_text(struct cx_runtime *rt, const struct metrics_kafka *kafka);

#endif
