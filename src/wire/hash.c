/* SPDX-License-Identifier: MIT */
#include "wire/hash.h"

#include <sodium.h>
#include <string.h>

#include "wire/base64.h"

#define ROUTE_PLAIN_LEN (2 * UUID_TEXT_LEN)
#define ROUTE_LEN (ROUTE_PLAIN_LEN + HASH_SEAL_EXTRA)

_Static_assert(HASH_ROUTE_TEXT_LEN == BASE64_TEXT_LEN(ROUTE_LEN), "text of a route");
_Static_assert(HASH_NONCE_LEN == crypto_aead_chacha20poly1305_IETF_NPUBBYTES, "nonce");

void hash_hmac(const uint8_t key[HASH_KEY_LEN], struct wire_slice text, uint8_t out[HASH_LEN])
{
	crypto_auth_hmacsha256(out, text.at, text.len, key);
}

void hash_content(struct wire_slice id, struct wire_slice key, struct wire_slice content,
                  uint8_t out[HASH_LEN])
{
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	crypto_hash_sha256_update(&state, id.at, id.len);
	crypto_hash_sha256_update(&state, key.at, key.len);
	crypto_hash_sha256_update(&state, content.at, content.len);
	crypto_hash_sha256_final(&state, out);
}

void hash_sha256(struct wire_slice bytes, uint8_t out[HASH_LEN])
{
	crypto_hash_sha256(out, bytes.at, bytes.len);
}

void hash_hex(const uint8_t *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
}

static int digit_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hash_key_parse(struct wire_slice hex, uint8_t out[HASH_KEY_LEN])
{
	uint8_t key[HASH_KEY_LEN];

	if (hex.len != 2 * sizeof(key))
		return false;
	for (size_t i = 0; i < sizeof(key); i++) {
		const int high = digit_value(hex.at[2 * i]),
			  low = digit_value(hex.at[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		key[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(out, key, sizeof(key));
	return true;
}

void hash_log_id(struct wire_slice salt, struct wire_slice id, char out[HASH_LOG_ID_LEN + 1])
{
	uint8_t hash[HASH_LEN];

	hash_content(salt, id, wire_slice(NULL, 0), hash);
	hash_hex(hash, HASH_LOG_ID_LEN / 2, out);
	out[HASH_LOG_ID_LEN] = '\0';
}

void hash_log_uuid(struct wire_slice salt, const struct uuid *id, char out[HASH_LOG_ID_LEN + 1])
{
	char text[UUID_TEXT_LEN];

	uuid_format(id, text);
	hash_log_id(salt, wire_slice(text, sizeof(text)), out);
}

void hash_seal(const uint8_t key[HASH_KEY_LEN], const uint8_t nonce[HASH_NONCE_LEN],
               struct wire_slice plain, uint8_t *out)
{
	memcpy(out, nonce, HASH_NONCE_LEN);
	crypto_aead_chacha20poly1305_ietf_encrypt(out + HASH_NONCE_LEN, NULL, plain.at,
	                                          plain.len, NULL, 0, NULL, nonce, key);
}

bool hash_open(const uint8_t key[HASH_KEY_LEN], struct wire_slice sealed, uint8_t *out)
{
	if (sealed.len < HASH_SEAL_EXTRA)
		return false;
	return crypto_aead_chacha20poly1305_ietf_decrypt(
		       out, NULL, NULL, sealed.at + HASH_NONCE_LEN, sealed.len - HASH_NONCE_LEN,
		       NULL, 0, sealed.at, key) == 0;
}

/* RFC 5869 with an empty salt and one block of output. */
void hash_route_key(const uint8_t secret[HASH_KEY_LEN], uint8_t out[HASH_KEY_LEN])
{
	static const uint8_t no_salt[HASH_LEN] = { 0 };
	static const char info_and_counter[] = "construct delivery route\x01";
	uint8_t prk[HASH_LEN];

	hash_hmac(no_salt, wire_slice(secret, HASH_KEY_LEN), prk);
	hash_hmac(prk, wire_text(info_and_counter), out);
	sodium_memzero(prk, sizeof(prk));
}

void hash_route_seal(const uint8_t route_key[HASH_KEY_LEN], const uint8_t nonce[HASH_NONCE_LEN],
                     const struct uuid *sender, const struct uuid *id, uint32_t id_case,
                     char out[HASH_ROUTE_TEXT_LEN])
{
	char plain[ROUTE_PLAIN_LEN];
	uint8_t sealed[ROUTE_LEN];

	uuid_format(sender, plain);
	uuid_format_case(id, id_case, plain + UUID_TEXT_LEN);
	hash_seal(route_key, nonce, wire_slice(plain, sizeof(plain)), sealed);
	base64_encode(sealed, sizeof(sealed), out);
}

bool hash_route_open(const uint8_t route_key[HASH_KEY_LEN], struct wire_slice route,
                     struct uuid *sender, struct uuid *id, uint32_t *id_case)
{
	uint8_t sealed[ROUTE_LEN], plain[ROUTE_PLAIN_LEN];

	return base64_decode_exact(route, sealed, sizeof(sealed)) &&
	       hash_open(route_key, wire_slice(sealed, sizeof(sealed)), plain) &&
	       uuid_parse(wire_slice(plain, UUID_TEXT_LEN), sender, NULL) &&
	       uuid_parse(wire_slice(plain + UUID_TEXT_LEN, UUID_TEXT_LEN), id, id_case);
}
