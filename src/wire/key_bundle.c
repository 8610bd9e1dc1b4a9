/* SPDX-License-Identifier: MIT */
#include "wire/key_bundle.h"

#include <endian.h>
#include <jansson.h>
#include <sodium.h>
#include <string.h>

#include "wire/base64.h"

#define BLOB_HEAD_LEN (3 * sizeof(uint32_t))
#define SUITE_X25519 1

/* ---- Time stamps (RFC 3339) ---- */

/* Reads `digits` digits at *at, in the range, and moves on. */
static bool number(const char **at, int digits, int min, int max, int *out)
{
	int n = 0;

	for (int i = 0; i < digits; i++) {
		const char c = (*at)[i];

		if (c < '0' || c > '9')
			return false; /* the end too: texts end with NUL */
		n = n * 10 + (c - '0');
	}
	*at += digits;
	*out = n;
	return n >= min && n <= max;
}

static bool one_of(const char **at, const char *chars)
{
	if (**at == '\0' || strchr(chars, **at) == NULL)
		return false;
	++*at;
	return true;
}

static int days_in(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	const bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && is_leap);
}

static bool is_date(const char **at)
{
	int year, month, day;

	return number(at, 4, 0, 9999, &year) && one_of(at, "-") &&
	       number(at, 2, 1, 12, &month) && one_of(at, "-") &&
	       number(at, 2, 1, days_in(year, month), &day);
}

static bool is_offset(const char **at)
{
	int hour, minute;

	if (one_of(at, "Zz"))
		return true;
	return one_of(at, "+-") && number(at, 2, 0, 23, &hour) && one_of(at, ":") &&
	       number(at, 2, 0, 59, &minute);
}

static bool is_timestamp(const json_t *value)
{
	const char *at = json_string_value(value);
	int hour, minute, second, digit;

	if (at == NULL || !is_date(&at) || !one_of(&at, "Tt") ||
	    !number(&at, 2, 0, 23, &hour) || !one_of(&at, ":") ||
	    !number(&at, 2, 0, 59, &minute) || !one_of(&at, ":") ||
	    !number(&at, 2, 0, 60, &second))
		return false;
	if (one_of(&at, ".")) {
		if (!number(&at, 1, 0, 9, &digit))
			return false;
		while (number(&at, 1, 0, 9, &digit))
			continue;
	}
	return is_offset(&at) && *at == '\0';
}

/* ---- The JSON ---- */

static struct wire_slice text_of(const json_t *value)
{
	return json_is_string(value)
	               ? wire_slice(json_string_value(value), json_string_length(value))
	               : wire_slice(NULL, 0);
}

static bool key_of(const json_t *value, uint8_t out[KEY_BUNDLE_KEY_LEN])
{
	return base64_decode_exact(text_of(value), out, KEY_BUNDLE_KEY_LEN);
}

static bool are_prekeys(const json_t *list)
{
	uint8_t key[KEY_BUNDLE_KEY_LEN];

	if (list == NULL || json_is_null(list))
		return true;
	if (!json_is_array(list))
		return false;
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (!key_of(json_array_get(list, i), key))
			return false;
	}
	return true;
}

static enum key_bundle_verdict check_suite(const json_t *suite, uint8_t *identity,
                                           uint8_t *prekey)
{
	const json_t *id = json_object_get(suite, "suiteId");

	if (!json_is_integer(id))
		return KEY_BUNDLE_MALFORMED;
	if (json_integer_value(id) != SUITE_X25519)
		return KEY_BUNDLE_SUITE;
	if (!key_of(json_object_get(suite, "identityKey"), identity) ||
	    !key_of(json_object_get(suite, "signedPrekey"), prekey) ||
	    !are_prekeys(json_object_get(suite, "oneTimePrekeys")))
		return KEY_BUNDLE_MALFORMED;
	return KEY_BUNDLE_VALID;
}

static enum key_bundle_verdict check_suites(const json_t *suites, struct key_bundle *out)
{
	const size_t count = json_array_size(suites); /* 0 for what is no array */
	uint8_t identity[KEY_BUNDLE_KEY_LEN], prekey[KEY_BUNDLE_KEY_LEN];

	if (count == 0 || count > KEY_BUNDLE_SUITES_MAX)
		return KEY_BUNDLE_MALFORMED;
	for (size_t i = 0; i < count; i++) {
		const enum key_bundle_verdict verdict = check_suite(
			json_array_get(suites, i), i == 0 ? out->identity_key : identity,
			i == 0 ? out->signed_prekey : prekey);

		if (verdict != KEY_BUNDLE_VALID)
			return verdict;
	}
	return KEY_BUNDLE_VALID;
}

static enum key_bundle_verdict check_object(const json_t *data, const struct uuid *owner,
                                            struct key_bundle *out)
{
	const struct wire_slice named = text_of(json_object_get(data, "userId"));
	struct uuid user;

	if (named.at == NULL || !is_timestamp(json_object_get(data, "timestamp")))
		return KEY_BUNDLE_MALFORMED;
	if (owner != NULL && !(uuid_parse(named, &user, NULL) && uuid_equal(&user, owner)))
		return KEY_BUNDLE_FOREIGN;
	return check_suites(json_object_get(data, "supportedSuites"), out);
}

static enum key_bundle_verdict check_json(struct wire_slice json, const struct uuid *owner,
                                          struct key_bundle *out)
{
	json_t *data =
		json_loadb((const char *)json.at, json.len, JSON_REJECT_DUPLICATES, NULL);
	const enum key_bundle_verdict verdict = check_object(data, owner, out);

	json_decref(data);
	return verdict;
}

enum key_bundle_verdict key_bundle_check(const struct key_bundle_texts *texts,
                                         enum key_bundle_verify verify,
                                         const struct uuid *owner, uint8_t *scratch,
                                         struct key_bundle *out)
{
	struct key_bundle b;
	enum key_bundle_verdict verdict;
	size_t len;

	if (!base64_decode_exact(texts->master_identity_key, b.master, sizeof(b.master)) ||
	    !base64_decode_exact(texts->signature, b.signature, sizeof(b.signature)) ||
	    !base64_decode(texts->bundle_data, scratch, KEY_BUNDLE_DATA_MAX, &len))
		return KEY_BUNDLE_MALFORMED;
	b.data = wire_slice(scratch, len);
	if (verify == KEY_BUNDLE_STRICT &&
	    crypto_sign_verify_detached(b.signature, scratch, len, b.master) != 0)
		return KEY_BUNDLE_FORGED;
	verdict = check_json(b.data, owner, &b);
	if (verdict == KEY_BUNDLE_VALID)
		*out = b;
	return verdict;
}

/* ---- The blob ---- */

size_t key_bundle_pack(const struct key_bundle *bundle, uint8_t *out, size_t room)
{
	const uint32_t head[3] = { htole32(KEY_BUNDLE_MASTER_LEN),
		                   htole32((uint32_t)bundle->data.len),
		                   htole32(KEY_BUNDLE_SIGNATURE_LEN) };
	const size_t len = BLOB_HEAD_LEN + KEY_BUNDLE_MASTER_LEN + bundle->data.len +
	                   KEY_BUNDLE_SIGNATURE_LEN;

	if (len > room)
		return len;
	memcpy(out, head, BLOB_HEAD_LEN);
	out += BLOB_HEAD_LEN;
	memcpy(out, bundle->master, KEY_BUNDLE_MASTER_LEN);
	out += KEY_BUNDLE_MASTER_LEN;
	memcpy(out, bundle->data.at, bundle->data.len);
	out += bundle->data.len;
	memcpy(out, bundle->signature, KEY_BUNDLE_SIGNATURE_LEN);
	return len;
}

bool key_bundle_unpack(struct wire_slice blob, struct key_bundle *out)
{
	const size_t fixed = BLOB_HEAD_LEN + KEY_BUNDLE_MASTER_LEN + KEY_BUNDLE_SIGNATURE_LEN;
	struct key_bundle b;
	uint32_t head[3];

	if (blob.len < fixed)
		return false;
	memcpy(head, blob.at, BLOB_HEAD_LEN);
	if (le32toh(head[0]) != KEY_BUNDLE_MASTER_LEN || le32toh(head[1]) != blob.len - fixed ||
	    le32toh(head[2]) != KEY_BUNDLE_SIGNATURE_LEN)
		return false;
	memcpy(b.master, blob.at + BLOB_HEAD_LEN, sizeof(b.master));
	b.data = wire_slice(blob.at + BLOB_HEAD_LEN + KEY_BUNDLE_MASTER_LEN, blob.len - fixed);
	memcpy(b.signature, b.data.at + b.data.len, sizeof(b.signature));
	if (check_json(b.data, NULL, &b) != KEY_BUNDLE_VALID)
		return false;
	*out = b;
	return true;
}
