/* SPDX-License-Identifier: MIT */
/* The chat message: payload of `sendMessage` and of `message`. */
#ifndef WIRE_CHAT_MESSAGE_H
#define WIRE_CHAT_MESSAGE_H

#include <stdint.h>

#include "wire/slice.h"
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

#endif
