/* SPDX-License-Identifier: MIT */
#include "wire/key_bundle.h"

#include "wire/base64.h"
#include "wire/vectors.h"

TestSuite(key_bundle, .timeout = 20);

#define VECTORS "tests/vectors/key_bundles.json"
#define KEY "Ncl+o2hb9Na1W34f4YP6K66FJINOs5u21fqC/YNo4Co="
#define PREKEY "Cxhyy5rWr96gHaNxGAFKOYGCTh2UcM5zk8vJZg/zCkY="

static uint8_t scratch[KEY_BUNDLE_DATA_MAX];
static const struct uuid *const registration = NULL;

static struct uuid owner(void)
{
	struct uuid u;

	cr_assert(uuid_parse(wire_text("7d1f0a52-93c4-4c0e-9f3b-0b6a4f1e2c11"), &u, NULL));
	return u;
}

static struct key_bundle_texts texts_of(const json_t *vector)
{
	const json_t *bundle = json_object_get(vector, "bundle");

	return (struct key_bundle_texts){
		.master_identity_key = text_at(bundle, "masterIdentityKey"),
		.bundle_data = text_at(bundle, "bundleData"),
		.signature = text_at(bundle, "signature"),
	};
}

Test(key_bundle, takes_the_valid_vectors_at_registration_and_of_their_owner)
{
	json_t *root = vectors_load(VECTORS);
	const struct uuid user = owner();
	json_t *vector;
	size_t i;

	json_array_foreach(json_object_get(root, "valid"), i, vector)
	{
		const struct key_bundle_texts texts = texts_of(vector);
		const bool has_owner =
			strcmp(name_of(vector), "no owner, as at registration") != 0;
		struct key_bundle b;
		char text[64];

		cr_assert(key_bundle_check(&texts, KEY_BUNDLE_STRICT, registration, scratch,
		                           &b) == KEY_BUNDLE_VALID,
		          "%s", name_of(vector));
		cr_assert(base64_encode(b.identity_key, 32, text) == 44 &&
		          memcmp(text, KEY, 44) == 0);
		cr_assert(base64_encode(b.signed_prekey, 32, text) == 44 &&
		          memcmp(text, PREKEY, 44) == 0);
		cr_assert(base64_encode(b.master, 32, text) == 44);
		cr_assert(wire_slice_equal(wire_slice(text, 44), texts.master_identity_key));
		cr_assert(key_bundle_check(&texts, KEY_BUNDLE_STRICT, &user, scratch, &b) ==
		          (has_owner ? KEY_BUNDLE_VALID : KEY_BUNDLE_FOREIGN));
	}
	cr_assert(i == 4);
	json_decref(root);
}

static enum key_bundle_verdict expected(const char *name)
{
	if (strstr(name, "suite") != NULL)
		return KEY_BUNDLE_SUITE;
	return strncmp(name, "one bit", 7) == 0 ? KEY_BUNDLE_FORGED : KEY_BUNDLE_MALFORMED;
}

Test(key_bundle, refuses_every_invalid_vector_and_says_why)
{
	json_t *root = vectors_load(VECTORS);
	json_t *vector;
	size_t i;

	json_array_foreach(json_object_get(root, "invalid"), i, vector)
	{
		const struct key_bundle_texts texts = texts_of(vector);
		struct key_bundle b;

		cr_assert(key_bundle_check(&texts, KEY_BUNDLE_STRICT, registration, scratch,
		                           &b) == expected(name_of(vector)),
		          "%s", name_of(vector));
	}
	cr_assert(i == 7);
	json_decref(root);
}

Test(key_bundle, unverified_takes_a_wrong_signature_but_no_wrong_length_or_form)
{
	json_t *root = vectors_load(VECTORS);
	json_t *vector;
	size_t i;

	json_array_foreach(json_object_get(root, "invalid"), i, vector)
	{
		const struct key_bundle_texts texts = texts_of(vector);
		const char *name = name_of(vector);
		const bool is_sound = strcmp(name, "one bit of the signature") == 0 ||
		                      strcmp(name, "one bit of the key") == 0;
		struct key_bundle b;

		cr_assert((key_bundle_check(&texts, KEY_BUNDLE_OFF, registration, scratch,
		                            &b) == KEY_BUNDLE_VALID) == is_sound,
		          "%s", name);
	}
	json_decref(root);
}

Test(key_bundle, of_another_user_is_foreign)
{
	json_t *root = vectors_load(VECTORS);
	const struct key_bundle_texts texts =
		texts_of(json_array_get(json_object_get(root, "valid"), 0));
	struct uuid other = owner();
	struct key_bundle b;

	other.b[15] ^= 1;
	cr_assert(key_bundle_check(&texts, KEY_BUNDLE_STRICT, &other, scratch, &b) ==
	          KEY_BUNDLE_FOREIGN);
	json_decref(root);
}

/* ---- Form, with the signature off ---- */

static enum key_bundle_verdict judge(const char *json)
{
	static char data[4096];
	static const uint8_t zeros[64] = { 0 };
	char master[44], signature[88];
	struct key_bundle_texts texts;
	struct key_bundle b;

	base64_encode(zeros, 32, master);
	base64_encode(zeros, 64, signature);
	cr_assert(strlen(json) < sizeof(data) / 2);
	texts.master_identity_key = wire_slice(master, sizeof(master));
	texts.signature = wire_slice(signature, sizeof(signature));
	texts.bundle_data =
		wire_slice(data, base64_encode((const uint8_t *)json, strlen(json), data));
	return key_bundle_check(&texts, KEY_BUNDLE_OFF, registration, scratch, &b);
}

#define SUITE(id) \
	"{\"suiteId\":" id ",\"identityKey\":\"" KEY "\",\"signedPrekey\":\"" PREKEY "\"}"
#define BUNDLE(user, time, suites) \
	"{\"userId\":" user ",\"timestamp\":" time ",\"supportedSuites\":" suites "}"
#define GOOD_TIME "\"2026-01-01T00:00:00Z\""

Test(key_bundle, needs_its_three_fields_and_a_suite)
{
	cr_assert(judge(BUNDLE("\"any text\"", GOOD_TIME, "[" SUITE("1") "]")) ==
	          KEY_BUNDLE_VALID);
	cr_assert(judge(BUNDLE("\"\"", GOOD_TIME, "[" SUITE("1") "," SUITE("1") "]")) ==
	          KEY_BUNDLE_VALID);
	cr_assert(judge(BUNDLE("5", GOOD_TIME, "[" SUITE("1") "]")) == KEY_BUNDLE_MALFORMED);
	cr_assert(judge(BUNDLE("\"\"", "\"\"", "[" SUITE("1") "]")) == KEY_BUNDLE_MALFORMED);
	cr_assert(judge(BUNDLE("\"\"", "7", "[" SUITE("1") "]")) == KEY_BUNDLE_MALFORMED);
	cr_assert(judge(BUNDLE("\"\"", GOOD_TIME, "[]")) == KEY_BUNDLE_MALFORMED);
	cr_assert(judge(BUNDLE("\"\"", GOOD_TIME, "{}")) == KEY_BUNDLE_MALFORMED);
	cr_assert(judge(BUNDLE("\"\"", GOOD_TIME, "[5]")) == KEY_BUNDLE_MALFORMED);
	cr_assert(judge(BUNDLE("\"\"", GOOD_TIME, "[" SUITE("\"1\"") "]")) ==
	          KEY_BUNDLE_MALFORMED);
	cr_assert(judge("{\"userId\":\"\",\"timestamp\":" GOOD_TIME "}") ==
	          KEY_BUNDLE_MALFORMED);
	cr_assert(judge("{\"userId\":\"\",\"userId\":\"\",\"timestamp\":" GOOD_TIME
	                ",\"supportedSuites\":[" SUITE("1") "]}") == KEY_BUNDLE_MALFORMED);
	cr_assert(judge("[]") == KEY_BUNDLE_MALFORMED);
	cr_assert(judge("") == KEY_BUNDLE_MALFORMED);
}

Test(key_bundle, with_an_unknown_suite_anywhere_is_refused)
{
	cr_assert(judge(BUNDLE("\"\"", GOOD_TIME, "[" SUITE("0") "]")) == KEY_BUNDLE_SUITE);
	cr_assert(judge(BUNDLE("\"\"", GOOD_TIME, "[" SUITE("1") "," SUITE("2") "]")) ==
	          KEY_BUNDLE_SUITE);
}

#define PREKEYS(list)                                                                   \
	BUNDLE("\"\"", GOOD_TIME,                                                       \
	       "[{\"suiteId\":1,\"identityKey\":\"" KEY "\",\"signedPrekey\":\"" PREKEY \
	       "\",\"oneTimePrekeys\":" list "}]")

Test(key_bundle, one_time_prekeys_are_keys_too)
{
	cr_assert(judge(PREKEYS("[]")) == KEY_BUNDLE_VALID);
	cr_assert(judge(PREKEYS("null")) == KEY_BUNDLE_VALID);
	cr_assert(judge(PREKEYS("[\"" KEY "\",\"" PREKEY "\"]")) == KEY_BUNDLE_VALID);
	cr_assert(judge(PREKEYS("[\"" KEY "\",\"QQ==\"]")) == KEY_BUNDLE_MALFORMED);
	cr_assert(judge(PREKEYS("[5]")) == KEY_BUNDLE_MALFORMED);
	cr_assert(judge(PREKEYS("\"" KEY "\"")) == KEY_BUNDLE_MALFORMED);
}

Test(key_bundle, timestamp_is_one_of_rfc_3339)
{
	static const char *const good[] = { "2024-02-29T23:59:60Z", "2026-01-01t00:00:00z",
		                            "2026-12-31T00:00:00.123456789+05:30",
		                            "2026-01-01T00:00:00-00:00" };
	static const char *const bad[] = { "2026-02-29T00:00:00Z",
		                           "2026-13-01T00:00:00Z",
		                           "2026-00-01T00:00:00Z",
		                           "2026-01-00T00:00:00Z",
		                           "2026-01-01T24:00:00Z",
		                           "2026-01-01T00:60:00Z",
		                           "2026-01-01T00:00:61Z",
		                           "2026-01-01T00:00:00",
		                           "2026-01-01 00:00:00Z",
		                           "2026-01-01T00:00:00.Z",
		                           "2026-01-01T00:00:00ZZ",
		                           "2026-01-01T00:00:00+5:30",
		                           "2026-01-01",
		                           "26-01-01T00:00:00Z" };
	char json[512];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		snprintf(json, sizeof(json), BUNDLE("\"\"", "\"%s\"", "[" SUITE("1") "]"),
		         good[i]);
		cr_assert(judge(json) == KEY_BUNDLE_VALID, "%s", good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(json, sizeof(json), BUNDLE("\"\"", "\"%s\"", "[" SUITE("1") "]"),
		         bad[i]);
		cr_assert(judge(json) == KEY_BUNDLE_MALFORMED, "%s", bad[i]);
	}
}

Test(key_bundle, comes_out_of_the_store_exactly_as_it_went_in)
{
	json_t *root = vectors_load(VECTORS);
	json_t *vector;
	size_t i;

	json_array_foreach(json_object_get(root, "valid"), i, vector)
	{
		const struct key_bundle_texts texts = texts_of(vector);
		struct key_bundle in, out;
		uint8_t blob[2048];
		char text[2048];
		size_t len;

		cr_assert(key_bundle_check(&texts, KEY_BUNDLE_STRICT, registration, scratch,
		                           &in) == KEY_BUNDLE_VALID);
		len = key_bundle_pack(&in, blob, sizeof(blob));
		cr_assert(len <= sizeof(blob) && key_bundle_pack(&in, NULL, 0) == len);
		cr_assert(key_bundle_unpack(wire_slice(blob, len), &out));
		cr_assert(memcmp(in.identity_key, out.identity_key, 32) == 0);
		cr_assert(memcmp(in.signed_prekey, out.signed_prekey, 32) == 0);
		cr_assert(memcmp(in.master, out.master, 32) == 0);
		cr_assert(memcmp(in.signature, out.signature, 64) == 0);
		cr_assert(wire_slice_equal(
			wire_slice(text, base64_encode(out.data.at, out.data.len, text)),
			texts.bundle_data));
		for (size_t cut = 0; cut < len; cut++)
			cr_assert(!key_bundle_unpack(wire_slice(blob, cut), &out));
	}
	json_decref(root);
}
