/* SPDX-License-Identifier: MIT */
/* Sealed values open under their own key only; hex and keys come back. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/hash.h"

static void check_seal(const uint8_t *data, size_t size)
{
	const uint8_t key[HASH_KEY_LEN] = { 1 }, other[HASH_KEY_LEN] = { 2 };
	const uint8_t nonce[HASH_NONCE_LEN] = { 3 };
	uint8_t *sealed = exact(size + HASH_SEAL_EXTRA), *plain = exact(size);
	const struct wire_slice text = wire_slice(sealed, size + HASH_SEAL_EXTRA);

	hash_seal(key, nonce, wire_slice(data, size), sealed);
	CHECK(hash_open(key, text, plain) && (size == 0 || memcmp(plain, data, size) == 0));
	CHECK(!hash_open(other, text, plain));
	sealed[size / 2] ^= 1;
	CHECK(!hash_open(key, text, plain));
	free(sealed);
	free(plain);
}

static void check_key(const uint8_t *data, size_t size)
{
	uint8_t key[HASH_KEY_LEN], back[HASH_KEY_LEN];
	char hex[HASH_HEX_LEN];

	if (!hash_key_parse(wire_slice(data, size), key))
		return;
	CHECK(size == HASH_HEX_LEN);
	hash_hex(key, sizeof(key), hex);
	CHECK(hash_key_parse(wire_slice(hex, sizeof(hex)), back));
	CHECK(memcmp(key, back, sizeof(key)) == 0);
	for (size_t i = 0; i < size; i++)
		CHECK(hex[i] == (data[i] >= 'A' && data[i] <= 'F' ? data[i] + 32 : data[i]));
}

static void check_route(const uint8_t *data, size_t size)
{
	const uint8_t secret[HASH_KEY_LEN] = { 7 }, nonce[HASH_NONCE_LEN] = { 5 };
	struct uuid sender = { { 0 } }, id = { { 0 } }, got_sender, got_id;
	uint8_t key[HASH_KEY_LEN];
	char route[HASH_ROUTE_TEXT_LEN];
	uint32_t got_case;

	hash_route_key(secret, key);
	/* Nobody without the key makes one. */
	CHECK(!hash_route_open(key, wire_slice(data, size), &got_sender, &got_id, &got_case));
	memcpy(sender.b, data, size < 16 ? size : 16);
	memcpy(id.b, data, size < 16 ? size : 16);
	hash_route_seal(key, nonce, &sender, &id, 0, route);
	CHECK(hash_route_open(key, wire_slice(route, sizeof(route)), &got_sender, &got_id,
	                      &got_case));
	CHECK(uuid_equal(&sender, &got_sender) && uuid_equal(&id, &got_id) && got_case == 0);
}

/* The parts run into one another: the hash of the whole is the hash of the parts. */
static void check_content(const uint8_t *data, size_t size)
{
	uint8_t whole[HASH_LEN], parts[HASH_LEN];
	const size_t a = size / 3, b = size / 2;

	hash_sha256(wire_slice(data, size), whole);
	hash_content(wire_slice(data, a), wire_slice(data + a, b - a),
	             wire_slice(data + b, size - b), parts);
	CHECK(memcmp(whole, parts, sizeof(whole)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (data == NULL)
		return 0;
	check_seal(data, size);
	check_key(data, size);
	check_route(data, size);
	check_content(data, size);
	return 0;
}
