/* SPDX-License-Identifier: MIT */
/* SHA-256 is OpenSSL's, by its plain interface: it uses the processor's instructions, a fifth of
 * libsodium's time for a message's content.  The other interface allocates for each hash. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "wire/hash.h"

#include <openssl/sha.h>
#include <sodium.h>
#include <string.h>

#include "wire/base64.h"
#include "wire/hex.h"

#define ROUTE_PLAIN_LEN (2 * UUID_TEXT_LEN)
#define ROUTE_LEN (ROUTE_PLAIN_LEN + HASH_SEAL_EXTRA)

_Static_assert(HASH_ROUTE_TEXT_LEN == BASE64_TEXT_LEN(ROUTE_LEN), "text of a route");
_Static_assert(HASH_NONCE_LEN == crypto_aead_chacha20poly1305_IETF_NPUBBYTES, "nonce");

/* Inner and outer, after the block of the padded key (RFC 2104). */
struct hmac {
	SHA256_CTX inner, outer;
};
_Static_assert(sizeof(struct hmac) <= sizeof(struct hash_hmac_key), "room for the state");

static void begin(SHA256_CTX *state, const uint8_t key[HASH_KEY_LEN], uint8_t pad)
{
	uint8_t block[SHA256_CBLOCK];

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)((i < HASH_KEY_LEN ? key[i] : 0) ^ pad);
	SHA256_Init(state);
	SHA256_Update(state, block, sizeof(block));
	sodium_memzero(block, sizeof(block));
}

void hash_hmac_key_init(struct hash_hmac_key *k, const uint8_t key[HASH_KEY_LEN])
{
	struct hmac both;

	begin(&both.inner, key, 0x36);
	begin(&both.outer, key, 0x5c);
	memset(k, 0, sizeof(*k));
	memcpy(k->state, &both, sizeof(both));
	sodium_memzero(&both, sizeof(both));
}

void hash_hmac_with(const struct hash_hmac_key *k, struct wire_slice text,
                    uint8_t out[HASH_LEN])
{
	struct hmac both;
	uint8_t inner[HASH_LEN];

	memcpy(&both, k->state, sizeof(both));
	SHA256_Update(&both.inner, text.at, text.len);
	SHA256_Final(inner, &both.inner);
	SHA256_Update(&both.outer, inner, sizeof(inner));
	SHA256_Final(out, &both.outer);
}

void hash_hmac(const uint8_t key[HASH_KEY_LEN], struct wire_slice text, uint8_t out[HASH_LEN])
{
	struct hash_hmac_key k;

	hash_hmac_key_init(&k, key);
	hash_hmac_with(&k, text, out);
	sodium_memzero(&k, sizeof(k));
}

void hash_content(struct wire_slice id, struct wire_slice key, struct wire_slice content,
                  uint8_t out[HASH_LEN])
{
	SHA256_CTX state;

	SHA256_Init(&state);
	SHA256_Update(&state, id.at, id.len);
	SHA256_Update(&state, key.at, key.len);
	SHA256_Update(&state, content.at, content.len);
	SHA256_Final(out, &state);
}

void hash_sha256(struct wire_slice bytes, uint8_t out[HASH_LEN])
{
	hash_content(bytes, wire_slice(NULL, 0), wire_slice(NULL, 0), out);
}

void hash_hex(const uint8_t *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	size_t i = 0;

	for (; len - i >= 4; i += 4)
		hex_store(hex_from_bytes(bytes + i, 0), out + 2 * i, out + 2 * i + 4);
	for (; i < len; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
}

bool hash_key_parse(struct wire_slice hex, uint8_t out[HASH_KEY_LEN])
{
	uint8_t key[HASH_KEY_LEN];
	uint32_t upper;

	if (hex.len != 2 * sizeof(key))
		return false;
	for (size_t i = 0; i < sizeof(key); i += 4) {
		const uint8_t *at = hex.at + 2 * i;

		if (!hex_to_bytes(hex_load(at, at + 4), key + i, &upper))
			return false;
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
