/* SPDX-License-Identifier: MIT */
/* The chat message: payload of `sendMessage` and of `message`. */
#ifndef WIRE_CHAT_MESSAGE_H
#define WIRE_CHAT_MESSAGE_H

#include <stdint.h>

#include "wire/error_code.h"
#include "wire/pack.h"
#include "wire/slice.h"
#include "wire/unpack.h"
#include "wire/user_address.h"
#include "wire/uuid.h"

#define CHAT_KEY_LEN 32

struct chat_message {
	struct uuid id;
	uint32_t id_case; /* how the client wrote the id, see uuid.h */
	uint32_t message_number;
	struct user_address from, to;
	struct wire_slice content; /* base64 text, not empty */
	int64_t timestamp;         /* Unix seconds, the client's clock */
	uint8_t key[CHAT_KEY_LEN]; /* ephemeralPublicKey */
};

/* Its entries as a map of MessagePack, in the order that unpack_fields gives their values. */
#define CHAT_MESSAGE_FIELDS 7
extern const struct unpack_field chat_message_fields[CHAT_MESSAGE_FIELDS];

/* Judges values that fit the fields.  Keeps: slices in out borrow what the values do.
 * Returns ERROR_NONE, INVALID_FORMAT (text that is not UTF-8), INVALID_MESSAGE_ID or
 * INVALID_MESSAGE_FORMAT, the id first; out is undefined then. */
WIRE_NODISCARD enum error_code chat_message_build(const struct unpack_token *values,
                                                  struct chat_message *out);

/* Writes the entries; the map's head stands before. */
void chat_message_pack(struct pack *p, const struct chat_message *m);

#endif
