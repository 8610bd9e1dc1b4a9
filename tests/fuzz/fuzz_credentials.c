/* SPDX-License-Identifier: MIT */
/* User names and passwords: what is taken keeps the rules, judged here another way. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/credentials.h"
#include "wire/utf8.h"

static size_t starts(const uint8_t *data, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < size; i++)
		n += (data[i] & 0xc0) != 0x80;
	return n;
}

static bool has_any(const uint8_t *data, size_t size, uint8_t first, uint8_t last)
{
	for (size_t i = 0; i < size; i++) {
		if (data[i] >= first && data[i] <= last)
			return true;
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct wire_slice text = wire_slice(data, size);
	const bool is_text = utf8_is_valid(text);
	const size_t count = starts(data, size);

	if (username_is_valid(text)) {
		CHECK(is_text && count >= 3 && count <= 64);
		CHECK(!has_any(data, size, 0, 31) && !has_any(data, size, 127, 127));
		CHECK(data[0] != ' ' && data[size - 1] != ' ');
	}
	if (password_is_strong(text)) {
		CHECK(is_text && count >= 10 && count <= 128);
		CHECK(has_any(data, size, '0', '9') && !has_any(data, size, 0, 0));
	} else if (is_text && count >= 10 && count <= 128) {
		CHECK(!has_any(data, size, 'A', 'Z') || !has_any(data, size, 'a', 'z') ||
		      !has_any(data, size, '0', '9') || has_any(data, size, 0, 0));
	}
	CHECK(device_token_is_valid(text) == (is_text && count >= 1 && count <= 128));
	return 0;
}
