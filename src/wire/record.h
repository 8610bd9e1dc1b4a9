/* SPDX-License-Identifier: MIT */
/* The embedded log's record: what one committed batch (a segment) is made of, and what an
 * inbox hands out.  Records stand one after the other, each padded to 8 bytes, in the
 * machine's byte order (the file does not move between architectures; PRAGMA user_version
 * says which layout). */
#ifndef WIRE_RECORD_H
#define WIRE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/uuid.h"

enum record_kind {
	RECORD_MESSAGE = 1, /* frame: the `message` frame for the owner */
	RECORD_RECEIPT =
		2, /* frame: the `ack delivered` frame for the owner, who sent the message */
	RECORD_SETTLE = 3,        /* the owner acknowledged entry `ref` */
	RECORD_RECEIPTS_DONE = 4, /* the owner's receipts up to entry `ref` have reached him */
	RECORD_USER_GONE = 5, /* the owner deleted his account: nothing of his inbox remains */
};

struct record {
	uint32_t size; /* bytes, this head and padding included; multiple of 8 */
	uint8_t kind;  /* enum record_kind */
	uint8_t zero[3];
	uint64_t id; /* place in the log, from 1, growing; the inbox entry's id */
	uint64_t
		ref; /* see kind; the entry id before this one in the owner's inbox, filled when
	                     * an inbox hands it out */
	int64_t wall_ms;    /* when it was appended, Unix time */
	struct uuid owner;  /* whose inbox */
	struct uuid peer;   /* MESSAGE: the sender */
	struct uuid key;    /* MESSAGE: the message id, without case */
	uint32_t frame_len; /* bytes of frame, without padding */
	uint32_t
		key_case; /* MESSAGE: bit i set: the i-th hex digit of the id was written in upper case */
	uint8_t frame[];
};

_Static_assert(sizeof(struct record) == 88, "layout on disk");

static inline size_t record_size(size_t frame_len)
{
	return (sizeof(struct record) + frame_len + 7) & ~(size_t)7;
}

/* The record at *at inside [*at, end), or NULL when nothing or nothing well-formed is left
 * (then *torn tells which); advances *at past it. */
const struct record *record_next(const uint8_t **at, const uint8_t *end, bool *torn);

/* Writes a record at `at`, which has record_size(frame_len) bytes of room and is 8-aligned.
 * head->size and frame_len are set here.  Returns the bytes written. */
size_t record_write(uint8_t *at, const struct record *head, const void *frame,
                    size_t frame_len);

#endif
