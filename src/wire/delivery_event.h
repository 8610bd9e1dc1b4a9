/* SPDX-License-Identifier: MIT */
/* The delivery event: value of a record of the delivery-ack topic.  It says that a message was
 * delivered without saying to whom or from whom: ids are HMACs, and the way back to the sender is
 * sealed (docs/protocol.md, Records in Kafka).  Older producers wrote the message id in clear and
 * kept the sender elsewhere; they are understood, only ours is written. */
#ifndef WIRE_DELIVERY_EVENT_H
#define WIRE_DELIVERY_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/hash.h"
#include "wire/slice.h"
#include "wire/uuid.h"

#define DELIVERY_EVENT_BYTES_MAX 4096       /* of what is read */
#define DELIVERY_EVENT_LEN_MAX 448          /* room that is always enough for what is written */
#define DELIVERY_HASH_TEXT_LEN HASH_HEX_LEN /* of a Kafka key: message_hash in hex (hash_hex) */

/* Derived once from the 32 bytes of DELIVERY_SECRET_KEY; read-only afterwards.  Thread: any. */
struct delivery_key {
	struct hash_hmac_key hmac;
	uint8_t route[HASH_KEY_LEN];
};

void delivery_key_init(struct delivery_key *k, const uint8_t secret[HASH_KEY_LEN]);
void delivery_key_wipe(struct delivery_key *k);

struct delivery_event {
	uint8_t message_hash[HASH_LEN], sender_hash[HASH_LEN], recipient_hash[HASH_LEN];
	int64_t delivered_at; /* Unix seconds */
	/* One of the two; message and message_case are filled in both cases. */
	bool has_route;      /* the route, opened: sender, message, message_case */
	bool has_message_id; /* an older producer: the message id in clear, no sender */
	struct uuid sender, message;
	uint32_t message_case;
};

/* Writes the event with a random nonce (secret_init has been called).  Returns the bytes needed,
 * no NUL; out is of use only when they are not more than room. */
size_t delivery_event_write(const struct delivery_key *k, const struct uuid *sender,
                            const struct uuid *recipient, const struct uuid *message,
                            uint32_t message_case, int64_t delivered_at, char *out,
                            size_t room);

enum delivery_fault {
	DELIVERY_OK,
	DELIVERY_TOO_LARGE,     /* over DELIVERY_EVENT_BYTES_MAX */
	DELIVERY_NOT_JSON,      /* or not one object, nested too deep, a known key twice */
	DELIVERY_FIELD_MISSING, /* or null; route and messageId both count as one field */
	DELIVERY_FIELD_INVALID, /* another type, or a value out of its range */
	DELIVERY_BAD_HASH,      /* a hash is not 64 hex digits */
	DELIVERY_BAD_ID,        /* messageId is no UUID */
	DELIVERY_SEALED,        /* the route was sealed under another key, or touched */
	DELIVERY_CONTRADICTION, /* the route's ids do not have the event's hashes */
	DELIVERY_FAULTS,
};

WIRE_NODISCARD enum delivery_fault delivery_event_read(const struct delivery_key *k,
                                                       struct wire_slice bytes,
                                                       struct delivery_event *out);

/* For the dead letter's reason: constant, never NULL. */
const char *delivery_fault_text(enum delivery_fault fault);

/* HMAC of the id's text as the client wrote it. */
void delivery_message_hash(const struct delivery_key *k, const struct uuid *message,
                           uint32_t message_case, uint8_t out[HASH_LEN]);

/* Names the message whatever id others chose: message_hash and sender_hash, by exclusive or; both are
 * HMACs, so no other pair of ids has it but by chance.  Of an event that was read: */
void delivery_event_pair(const struct delivery_event *event, uint8_t out[HASH_LEN]);
/* and of the message itself. */
void delivery_pair_hash(const struct delivery_key *k, const struct uuid *sender,
                        const struct uuid *message, uint32_t message_case,
                        uint8_t out[HASH_LEN]);

#endif
