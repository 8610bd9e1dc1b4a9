/* SPDX-License-Identifier: MIT */
/* Records and headers of Kafka, packed one after the other into a buffer of ours: what crosses
 * from the adapters to actors, who never see the library.  In memory only; never leaves the process. */
#ifndef IO_KAFKA_RECORD_H
#define IO_KAFKA_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/slice.h"

struct kafka_record {
	int64_t offset;
	int64_t timestamp_ms; /* Unix time; -1: the broker keeps none */
	struct wire_slice key;
	struct wire_slice headers; /* packed */
	struct wire_slice value;   /* at NULL: a record without a value */
};

/* Bytes that kafka_record_write takes. */
size_t kafka_record_size(const struct kafka_record *record);

/* Writes into out, which has kafka_record_size bytes and stands 8-aligned in its buffer. */
void kafka_record_write(uint8_t *out, const struct kafka_record *record);

/* The record at bytes[*at], whose slices point into bytes; moves *at behind it.
 * Returns false at the end. */
bool kafka_record_next(const uint8_t *bytes, size_t len, size_t *at, struct kafka_record *out);

/* Bytes that kafka_header_write takes. */
size_t kafka_header_size(const char *name, struct wire_slice value);

/* Writes one header; the next goes behind it.  name is shorter than 256 bytes. */
void kafka_header_write(uint8_t *out, const char *name, struct wire_slice value);

/* The header at headers.at[*at]; moves *at behind it.  The name ends with a zero byte.
 * Returns false at the end. */
bool kafka_header_next(struct wire_slice headers, size_t *at, const char **name,
                       struct wire_slice *value);

/* The last header of that name, as Kafka's clients take it.  Returns false: there is none. */
bool kafka_header_find(struct wire_slice headers, const char *name, struct wire_slice *value);

#endif
