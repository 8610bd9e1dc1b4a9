/* SPDX-License-Identifier: MIT */
/* Keyed hashes, content hashes and sealed values: what may stand in a log, an event or a table
 * instead of an id, a route or a device token. */
#ifndef WIRE_HASH_H
#define WIRE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "wire/slice.h"
#include "wire/uuid.h"

#define HASH_LEN 32
#define HASH_KEY_LEN 32
#define HASH_HEX_LEN 64
#define HASH_LOG_ID_LEN 8
#define HASH_NONCE_LEN 12
#define HASH_SEAL_EXTRA (HASH_NONCE_LEN + 16) /* nonce in front, tag behind */
#define HASH_ROUTE_TEXT_LEN 136               /* base64 of 12 + 72 + 16 bytes, padded */

/* HMAC-SHA256 of an id's text, exactly as written (delivery events). */
void hash_hmac(const uint8_t key[HASH_KEY_LEN], struct wire_slice text, uint8_t out[HASH_LEN]);

/* The key of many HMACs, prepared once: half the work of each.  Read-only afterwards. */
struct hash_hmac_key {
	uint64_t state[28]; /* SHA-256 after the first block, inner and outer */
};
void hash_hmac_key_init(struct hash_hmac_key *k, const uint8_t key[HASH_KEY_LEN]);
void hash_hmac_with(const struct hash_hmac_key *k, struct wire_slice text,
                    uint8_t out[HASH_LEN]);

/* SHA-256 of id, key bytes and content, in that order. */
void hash_content(struct wire_slice id, struct wire_slice key, struct wire_slice content,
                  uint8_t out[HASH_LEN]);

/* SHA-256, as device tokens are looked up. */
void hash_sha256(struct wire_slice bytes, uint8_t out[HASH_LEN]);

/* How an id appears in logs: the first 8 hex digits of SHA-256(salt, id), and a NUL. */
void hash_log_id(struct wire_slice salt, struct wire_slice id, char out[HASH_LOG_ID_LEN + 1]);
/* The same of a user id in its lower-case text. */
void hash_log_uuid(struct wire_slice salt, const struct uuid *id,
                   char out[HASH_LOG_ID_LEN + 1]);

/* Lower case, no NUL. */
void hash_hex(const uint8_t *bytes, size_t len, char *out);
/* 64 hex digits of any case to 32 bytes (DELIVERY_SECRET_KEY and its like). */
WIRE_NODISCARD bool hash_key_parse(struct wire_slice hex, uint8_t out[HASH_KEY_LEN]);

/* ChaCha20-Poly1305 with the nonce in front: writes plain.len + HASH_SEAL_EXTRA bytes.  The nonce
 * must be random and used once. */
void hash_seal(const uint8_t key[HASH_KEY_LEN], const uint8_t nonce[HASH_NONCE_LEN],
               struct wire_slice plain, uint8_t *out);
/* Writes sealed.len - HASH_SEAL_EXTRA bytes.  Returns false when it was sealed under another key
 * or touched. */
WIRE_NODISCARD bool hash_open(const uint8_t key[HASH_KEY_LEN], struct wire_slice sealed,
                              uint8_t *out);

/* The key of sealed routes, by HKDF-SHA256 from the delivery secret. */
void hash_route_key(const uint8_t secret[HASH_KEY_LEN], uint8_t out[HASH_KEY_LEN]);

/* `route` of a delivery event: the sender's id and the message id (36 characters as the client
 * wrote them), sealed, as base64. */
void hash_route_seal(const uint8_t route_key[HASH_KEY_LEN], const uint8_t nonce[HASH_NONCE_LEN],
                     const struct uuid *sender, const struct uuid *id, uint32_t id_case,
                     char out[HASH_ROUTE_TEXT_LEN]);
WIRE_NODISCARD bool hash_route_open(const uint8_t route_key[HASH_KEY_LEN],
                                    struct wire_slice route, struct uuid *sender,
                                    struct uuid *id, uint32_t *id_case);

#endif
