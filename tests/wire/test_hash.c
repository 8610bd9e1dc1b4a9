/* SPDX-License-Identifier: MIT */
#include "wire/hash.h"

#include <sodium.h>

#include "wire/base64.h"
#include "wire/vectors.h"

TestSuite(hash, .timeout = 20);

#define VECTORS "tests/vectors/hashes.json"
#define ID "3f6c1d9e-8a47-4f05-b1d2-6e0c9a7b5d33"

static void check_hex(const uint8_t *bytes, size_t len, struct wire_slice hex)
{
	char text[256];

	cr_assert(hex.len == len * 2 && hex.len <= sizeof(text));
	hash_hex(bytes, len, text);
	cr_assert(memcmp(text, hex.at, hex.len) == 0);
}

Test(hash, hmac_is_that_of_the_vectors)
{
	json_t *root = vectors_load(VECTORS);
	uint8_t key[HASH_KEY_LEN], out[HASH_LEN];
	json_t *vector;
	size_t i;

	cr_assert(hash_key_parse(text_at(root, "delivery_secret_key"), key));
	json_array_foreach(json_object_get(root, "hmac"), i, vector)
	{
		hash_hmac(key, text_at(vector, "of"), out);
		check_hex(out, sizeof(out), text_at(vector, "hex"));
	}
	cr_assert(i == 4);
	json_decref(root);
}

/* libsodium's, at every length about the block of 64 bytes. */
Test(hash, hashes_and_hmacs_are_those_of_another_library)
{
	uint8_t key[HASH_KEY_LEN], text[200], ours[HASH_LEN], theirs[HASH_LEN];
	struct hash_hmac_key prepared;

	memset(key, 0xa5, sizeof(key));
	hash_hmac_key_init(&prepared, key);
	for (size_t len = 0; len < sizeof(text); len++) {
		text[len] = (uint8_t)(len * 7);
		hash_hmac_with(&prepared, wire_slice(text, len), ours);
		crypto_auth_hmacsha256(theirs, text, len, key);
		cr_assert(memcmp(ours, theirs, sizeof(ours)) == 0, "%zu", len);
		hash_sha256(wire_slice(text, len), ours);
		crypto_hash_sha256(theirs, text, len);
		cr_assert(memcmp(ours, theirs, sizeof(ours)) == 0, "%zu", len);
	}
}

Test(hash, content_hash_is_that_of_the_vectors)
{
	json_t *root = vectors_load(VECTORS);
	const json_t *vector = json_object_get(root, "content_hash");
	uint8_t key[32], out[HASH_LEN];

	cr_assert(
		base64_decode_exact(text_at(vector, "ephemeral_key_base64"), key, sizeof(key)));
	hash_content(text_at(vector, "id"), wire_slice(key, sizeof(key)),
	             text_at(vector, "content"), out);
	check_hex(out, sizeof(out), text_at(vector, "hex"));
	json_decref(root);
}

Test(hash, log_id_is_that_of_the_vectors)
{
	json_t *root = vectors_load(VECTORS);
	const json_t *vector = json_object_get(root, "log_id");
	char text[HASH_LOG_ID_LEN + 1];
	struct uuid id;

	hash_log_id(text_at(vector, "salt"), text_at(vector, "id"), text);
	cr_assert(wire_slice_equal(wire_text(text), text_at(vector, "shown")));
	cr_assert(uuid_parse(text_at(vector, "id"), &id, NULL));
	memset(text, 'x', sizeof(text));
	hash_log_uuid(text_at(vector, "salt"), &id, text);
	cr_assert(wire_slice_equal(wire_text(text), text_at(vector, "shown")));
	json_decref(root);
}

Test(hash, device_token_is_sealed_and_looked_up_as_in_the_vectors)
{
	json_t *root = vectors_load(VECTORS);
	const json_t *vector = json_object_get(root, "device_token");
	const struct wire_slice token = text_at(vector, "token"),
				nonce = hex_at(vector, "nonce_hex"),
				sealed = hex_at(vector, "sealed_hex");
	uint8_t key[HASH_KEY_LEN], out[256], lookup[HASH_LEN];

	cr_assert(hash_key_parse(text_at(vector, "key_hex"), key));
	cr_assert(nonce.len == HASH_NONCE_LEN && sealed.len == token.len + HASH_SEAL_EXTRA);
	hash_seal(key, nonce.at, token, out);
	cr_assert(memcmp(out, sealed.at, sealed.len) == 0);
	cr_assert(hash_open(key, sealed, out) && memcmp(out, token.at, token.len) == 0);
	hash_sha256(token, lookup);
	check_hex(lookup, sizeof(lookup), text_at(vector, "lookup_sha256"));
	bytes_free(nonce);
	bytes_free(sealed);
	json_decref(root);
}

Test(hash, sealed_value_that_was_touched_does_not_open)
{
	const uint8_t key[HASH_KEY_LEN] = { 1 }, other[HASH_KEY_LEN] = { 2 };
	const uint8_t nonce[HASH_NONCE_LEN] = { 3 };
	uint8_t sealed[5 + HASH_SEAL_EXTRA], plain[5];

	hash_seal(key, nonce, wire_text("plain"), sealed);
	cr_assert(hash_open(key, wire_slice(sealed, sizeof(sealed)), plain));
	cr_assert(memcmp(plain, "plain", 5) == 0);
	cr_assert(!hash_open(other, wire_slice(sealed, sizeof(sealed)), plain));
	for (size_t len = 0; len < sizeof(sealed); len++)
		cr_assert(!hash_open(key, wire_slice(sealed, len), plain));
	for (size_t i = 0; i < sizeof(sealed); i++) {
		sealed[i] ^= 1;
		cr_assert(!hash_open(key, wire_slice(sealed, sizeof(sealed)), plain));
		sealed[i] ^= 1;
	}
}

Test(hash, route_gives_back_sender_and_message_id_in_its_case)
{
	const uint8_t secret[HASH_KEY_LEN] = { 9 }, nonce[HASH_NONCE_LEN] = { 1, 2 };
	const struct uuid sender = { { 0x7d, 1 } };
	uint8_t key[HASH_KEY_LEN];
	char route[HASH_ROUTE_TEXT_LEN];
	struct uuid id, got_sender, got_id;
	uint32_t id_case, got_case;

	cr_assert(uuid_parse(wire_text("E621E1F8-C36c-495a-93FC-0C247A3E6E5F"), &id, &id_case));
	hash_route_key(secret, key);
	cr_assert(memcmp(key, secret, sizeof(key)) != 0);
	hash_route_seal(key, nonce, &sender, &id, id_case, route);
	cr_assert(hash_route_open(key, wire_slice(route, sizeof(route)), &got_sender, &got_id,
	                          &got_case));
	cr_assert(uuid_equal(&sender, &got_sender) && uuid_equal(&id, &got_id));
	cr_assert(id_case == got_case);
	cr_assert(!hash_route_open(secret, wire_slice(route, sizeof(route)), &got_sender,
	                           &got_id, &got_case));
	cr_assert(!hash_route_open(key, wire_slice(route, sizeof(route) - 4), &got_sender,
	                           &got_id, &got_case));
}

/* HKDF with an empty salt and this info, computed with Python's hmac; a change of it would make
 * routes in the log unreadable. */
Test(hash, route_key_is_the_same_for_ever)
{
	static const uint8_t secret[HASH_KEY_LEN] = { 0 };
	uint8_t key[HASH_KEY_LEN];

	hash_route_key(secret, key);
	check_hex(
		key, sizeof(key),
		wire_text("d2b4150fc686ac936ec7a0426cd990dacc407875ab24ca7e66438c3d4f3787ef"));
}

Test(hash, key_is_64_hex_digits_and_nothing_else)
{
	char text[] = "00112233445566778899aAbBcCdDeEfF00112233445566778899aabbccddeeff";
	uint8_t key[HASH_KEY_LEN];

	cr_assert(hash_key_parse(wire_slice(text, 64), key) && key[10] == 0xaa &&
	          key[31] == 0xff);
	cr_assert(!hash_key_parse(wire_slice(text, 62), key));
	for (size_t at = 0; at < 64; at++) {
		const char was = text[at];

		text[at] = 'g';
		cr_assert(!hash_key_parse(wire_slice(text, 64), key));
		text[at] = '@';
		cr_assert(!hash_key_parse(wire_slice(text, 64), key));
		text[at] = was;
	}
}
