/* SPDX-License-Identifier: MIT */
/* In the place of Kafka's adapters, for tests of actors that use them: a producer that keeps what it is
 * told and answers as the test says, a consumer that keeps what its owners say.  One of each in a
 * test process. */
#ifndef TESTS_SUPPORT_KAFKA_DOUBLE_H
#define TESTS_SUPPORT_KAFKA_DOUBLE_H

#include <stdbool.h>
#include <stdint.h>

#include <cx/actor.h>

#include "io/kafka_consumer.h"
#include "io/kafka_producer.h"
#include "wire/slice.h"

struct kafka_double_record {
	uint32_t topic, headers_len;
	enum kafka_outcome outcome; /* how it was answered, or will be */
	char key[KAFKA_PRODUCE_KEY_MAX + 1];
	uint8_t bytes[1500]; /* headers and value */
	size_t len;
};

/* Inside a handler, before anything is started that knows them. */
struct cx_ref kafka_double_producer(struct cx_ctx *ctx, unsigned worker);
struct cx_ref kafka_double_consumer(struct cx_ctx *ctx, unsigned worker);

/* What comes from now on is answered so. */
void kafka_double_say(enum kafka_outcome outcome);
/* The next n are answered so, then KAFKA_OK again. */
void kafka_double_say_for(enum kafka_outcome outcome, unsigned n);
/* Answers wait until this is false; then those that waited go out with the next record, or at once
 * when the producer is prodded by kafka_double_release. */
void kafka_double_hold(bool is_held);
void kafka_double_release(struct cx_ctx *ctx, struct cx_ref producer);
/* The next n answers go out, later ones wait again. */
void kafka_double_release_some(struct cx_ctx *ctx, struct cx_ref producer, unsigned n);

/* Records that came, answered however. */
unsigned kafka_double_count(void);
/* Wait until there are n; false: not within 20 s. */
bool kafka_double_wait(unsigned n);
struct kafka_double_record kafka_double_at(unsigned i);
/* Wait until n came that were answered KAFKA_OK. */
bool kafka_double_wait_written(unsigned n);

/* KAFKA_DONE, KAFKA_SEEK, KAFKA_REVOKED_DONE in the order in which they came. */
struct kafka_double_place {
	uint32_t type, epoch;
	int32_t partition;
	int64_t next_offset;
};
/* The next one; fails the test after 20 s. */
struct kafka_double_place kafka_double_next(void);
bool kafka_double_comes(unsigned ms);

#endif
