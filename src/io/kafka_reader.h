/* SPDX-License-Identifier: MIT */
/* Reads a whole topic once, all its partitions, from a time on: outside any group, so whatever a
 * group has assigned and committed stays as it is.  A plain object for an actor with a thread of
 * its own (CX_PLACE_THREAD): nearly everything blocks. */
#ifndef IO_KAFKA_READER_H
#define IO_KAFKA_READER_H

#include "io/kafka_conf.h"
#include "wire/slice.h"

struct kafka_reader;

/* All partitions of the topic, from the first record whose time stamp is since_ms or later (0: from
 * the oldest) up to their present ends.  A topic that is not there has no partitions.
 * Blocks: up to 10 s a question to the brokers.  Keeps: s, topic, while it lives.
 * Returns NULL with a text in error: a broker did not answer, or the settings are wrong. */
struct kafka_reader *kafka_reader_new(const struct kafka_settings *s, const char *topic,
                                      int64_t since_ms, char *error, size_t len);
/* NULL is taken.  Blocks: until the client has ended. */
void kafka_reader_free(struct kafka_reader *r);

/* The ends are where the partitions end now.  Blocks: as kafka_reader_new.
 * Returns false: a broker did not answer, the ends are as before. */
bool kafka_reader_extend(struct kafka_reader *r);

/* A record's value (at NULL: none), valid inside the call. */
typedef void (*kafka_reader_take_fn)(void *arg, struct wire_slice value);

enum kafka_read {
	KAFKA_READ_MORE, /* there is, or may be when the brokers are back */
	KAFKA_READ_END,  /* all up to the ends was taken; what came since comes with the next */
	KAFKA_READ_BROKEN, /* only a new one can go on */
};

/* Takes up to `most` records.  Blocks: wait_ms when there are none. */
enum kafka_read kafka_reader_turn(struct kafka_reader *r, unsigned most, int wait_ms,
                                  kafka_reader_take_fn take, void *arg);

#endif
