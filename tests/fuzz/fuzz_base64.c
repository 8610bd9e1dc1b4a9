/* SPDX-License-Identifier: MIT */
/* Both forms of base64, against libsodium's. */
#include <sodium.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/base64.h"

/* libsodium 1.0.18 takes bytes from 0x80 on for digits. */
static bool is_ascii(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (data[i] >= 0x80)
			return false;
	}
	return true;
}

static void check_standard(const uint8_t *data, size_t size)
{
	const struct wire_slice text = wire_slice(data, size);
	const size_t room = BASE64_BYTES_MAX(size);
	uint8_t *bytes = exact(room), *theirs = exact(room + 3);
	char *again;
	size_t len = 0, claimed = 0, their_len = 0;
	const bool ok = base64_decode(text, bytes, room, &len);

	CHECK(base64_is_valid(text, &claimed) == ok);
	CHECK((sodium_base642bin(theirs, room + 3, (const char *)data, size, NULL, &their_len,
	                         NULL, sodium_base64_VARIANT_ORIGINAL) == 0) == ok);
	if (ok) {
		CHECK(len == claimed && len == their_len && memcmp(bytes, theirs, len) == 0);
		again = (char *)exact(BASE64_TEXT_LEN(len));
		CHECK(base64_encode(bytes, len, again) == size);
		CHECK(size == 0 || memcmp(again, data, size) == 0);
		CHECK(base64_decode_exact(text, bytes, len));
		CHECK(!base64_decode_exact(text, bytes, len + 1));
		CHECK(len == 0 || !base64_decode(text, bytes, len - 1, &their_len));
		free(again);
	}
	free(bytes);
	free(theirs);
}

static void check_url(const uint8_t *data, size_t size)
{
	const size_t room = size * 3 / 4;
	uint8_t *bytes = exact(room), *theirs = exact(room + 3);
	char *again;
	size_t len = 0, their_len = 0;
	const bool ok = base64url_decode(wire_slice(data, size), bytes, room, &len);

	CHECK((sodium_base642bin(theirs, room + 3, (const char *)data, size, NULL, &their_len,
	                         NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0) == ok);
	if (ok) {
		CHECK(len == their_len && memcmp(bytes, theirs, len) == 0);
		again = (char *)exact(BASE64URL_TEXT_LEN(len));
		CHECK(base64url_encode(bytes, len, again) == size);
		CHECK(size == 0 || memcmp(again, data, size) == 0);
		free(again);
	}
	free(bytes);
	free(theirs);
}

static void check_bytes(const uint8_t *data, size_t size)
{
	const size_t text_len = BASE64_TEXT_LEN(size);
	char *text = (char *)exact(text_len);
	uint8_t *back = exact(size);

	CHECK(base64_encode(data, size, text) == text_len);
	CHECK(base64_decode_exact(wire_slice(text, text_len), back, size));
	CHECK(size == 0 || memcmp(back, data, size) == 0);
	free(text);
	free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (is_ascii(data, size)) {
		check_standard(data, size);
		check_url(data, size);
	} else {
		CHECK(!base64_is_valid(wire_slice(data, size), NULL));
	}
	check_bytes(data, size);
	return 0;
}
