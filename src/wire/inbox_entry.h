/* SPDX-License-Identifier: MIT */
/* One entry of a user's inbox where that is a Redis stream: the value of the entry, and the
 * entry's place, which is a u64 inside and `ms-seq` in Redis.
 *
 * Layout, little endian: version (1), kind (1), partition (2), key_case (4), wall_ms (8), offset
 * (8), peer (16), key (16), then the frame up to the end. */
#ifndef WIRE_INBOX_ENTRY_H
#define WIRE_INBOX_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/record.h"
#include "wire/slice.h"
#include "wire/uuid.h"

#define INBOX_ENTRY_VERSION 1
#define INBOX_ENTRY_HEAD_LEN 56
#define INBOX_ENTRY_NO_PARTITION 0xffff /* of a receipt */

struct inbox_entry {
	uint8_t kind; /* enum record_kind: RECORD_MESSAGE or RECORD_RECEIPT */
	int64_t wall_ms;
	struct uuid peer, key; /* sender and message id; of a receipt: zero peer, message id */
	uint32_t key_case;
	uint16_t partition; /* of the record; of a receipt INBOX_ENTRY_NO_PARTITION */
	uint64_t offset;
	struct wire_slice frame; /* what the owner gets, not empty */
};

/* Returns the bytes needed; out is of use only when they are not more than room. */
size_t inbox_entry_write(uint8_t *out, size_t room, const struct inbox_entry *e);

/* Keeps: out->frame borrows bytes.  false: another version, no such kind, no frame; out is
 * undefined then. */
WIRE_NODISCARD bool inbox_entry_read(struct wire_slice bytes, struct inbox_entry *out);

/* ---- places ---- */

#define INBOX_ID_SEQ_BITS 24
#define INBOX_ID_MS_BITS 40
#define INBOX_ID(ms, seq) ((uint64_t)(ms) << INBOX_ID_SEQ_BITS | (uint64_t)(seq))
#define INBOX_ID_TEXT_MAX 24 /* 13 digits, '-', 8 digits, NUL; and one to spare */

/* ms below 2^40, seq below 2^24. */
static inline uint64_t inbox_id(uint64_t ms, uint64_t seq)
{
	return INBOX_ID(ms, seq);
}

static inline uint64_t inbox_id_ms(uint64_t id)
{
	return id >> INBOX_ID_SEQ_BITS;
}

static inline uint64_t inbox_id_seq(uint64_t id)
{
	return id & ((UINT64_C(1) << INBOX_ID_SEQ_BITS) - 1);
}

/* Reads `ms-seq` as Redis writes it (decimal, no sign, no leading zero).  false: it is not one, or
 * beyond 2^40 or 2^24; *id is untouched then. */
WIRE_NODISCARD bool inbox_id_parse(struct wire_slice text, uint64_t *id);

/* Writes `ms-seq` and a NUL.  Returns the length without the NUL. */
size_t inbox_id_format(uint64_t id, char out[INBOX_ID_TEXT_MAX]);

#endif
