/* SPDX-License-Identifier: MIT */
/* Key bundles.  The first byte chooses what the rest is: 'j' the JSON of a bundle, signed rightly;
 * 'b' a blob of the store; else three texts with line ends between. */
#include <sodium.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/base64.h"
#include "wire/key_bundle.h"

static uint8_t scratch[KEY_BUNDLE_DATA_MAX], again[KEY_BUNDLE_DATA_MAX];

static void check_store(const struct key_bundle *b)
{
	const size_t len = key_bundle_pack(b, NULL, 0);
	uint8_t *blob = exact(len);
	struct key_bundle back;

	CHECK(key_bundle_pack(b, blob, len) == len);
	CHECK(key_bundle_unpack(wire_slice(blob, len), &back));
	CHECK(memcmp(back.master, b->master, sizeof(b->master)) == 0);
	CHECK(memcmp(back.signature, b->signature, sizeof(b->signature)) == 0);
	CHECK(memcmp(back.identity_key, b->identity_key, sizeof(b->identity_key)) == 0);
	CHECK(memcmp(back.signed_prekey, b->signed_prekey, sizeof(b->signed_prekey)) == 0);
	CHECK(wire_slice_equal(back.data, b->data));
	free(blob);
}

static void judge(const struct key_bundle_texts *texts)
{
	struct key_bundle strict, loose;
	struct uuid nobody = { { 0 } };
	const enum key_bundle_verdict is_strict =
		key_bundle_check(texts, KEY_BUNDLE_STRICT, NULL, scratch, &strict);
	const enum key_bundle_verdict is_loose =
		key_bundle_check(texts, KEY_BUNDLE_OFF, NULL, again, &loose);

	CHECK(is_loose != KEY_BUNDLE_FORGED && is_loose != KEY_BUNDLE_FOREIGN);
	CHECK(is_strict == KEY_BUNDLE_FORGED || is_strict == is_loose);
	if (is_loose == KEY_BUNDLE_VALID)
		check_store(&loose);
	if (is_strict == KEY_BUNDLE_VALID) {
		CHECK(wire_slice_equal(strict.data, loose.data));
		/* The zero id is nobody's, or the bundle names it. */
		CHECK(key_bundle_check(texts, KEY_BUNDLE_STRICT, &nobody, scratch, &strict) !=
		              KEY_BUNDLE_VALID ||
		      memmem(loose.data.at, loose.data.len, "00000000-0000", 13) != NULL ||
		      memchr(loose.data.at, '\\', loose.data.len) != NULL);
	}
}

static void judge_json(struct wire_slice json)
{
	static const uint8_t seed[crypto_sign_SEEDBYTES] = { 1 };
	static char data[BASE64_TEXT_LEN(KEY_BUNDLE_DATA_MAX)];
	uint8_t public_key[crypto_sign_PUBLICKEYBYTES], secret_key[crypto_sign_SECRETKEYBYTES];
	uint8_t signature[crypto_sign_BYTES];
	char key_text[BASE64_TEXT_LEN(32)], signature_text[BASE64_TEXT_LEN(64)];
	struct key_bundle_texts texts;

	crypto_sign_seed_keypair(public_key, secret_key, seed);
	crypto_sign_detached(signature, NULL, json.at, json.len, secret_key);
	texts.master_identity_key =
		wire_slice(key_text, base64_encode(public_key, 32, key_text));
	texts.signature =
		wire_slice(signature_text, base64_encode(signature, 64, signature_text));
	texts.bundle_data = wire_slice(data, base64_encode(json.at, json.len, data));
	judge(&texts);
}

static struct wire_slice line_of(struct wire_slice *rest)
{
	const uint8_t *const end = memchr(rest->at, '\n', rest->len);
	const size_t len = end == NULL ? rest->len : (size_t)(end - rest->at);
	const struct wire_slice line = wire_slice(rest->at, len);

	rest->at += end == NULL ? len : len + 1;
	rest->len -= end == NULL ? len : len + 1;
	return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_slice rest;
	struct key_bundle_texts texts;
	struct key_bundle b;

	if (size == 0 || size > KEY_BUNDLE_DATA_MAX)
		return 0;
	rest = wire_slice(data + 1, size - 1);
	if (data[0] == 'j') {
		judge_json(rest);
	} else if (data[0] == 'b') {
		if (key_bundle_unpack(rest, &b)) {
			check_inside(b.data, data, size);
			check_store(&b);
		}
	} else {
		texts.master_identity_key = line_of(&rest);
		texts.bundle_data = line_of(&rest);
		texts.signature = line_of(&rest);
		judge(&texts);
	}
	return 0;
}
