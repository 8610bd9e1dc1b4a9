/* SPDX-License-Identifier: MIT */
/* Ids and addresses: what is read is written back, in its own case and in lower case. */
#include <ctype.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/user_address.h"
#include "wire/uuid.h"

static bool is_uuid_slowly(const uint8_t *t, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		const bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (is_dash ? t[i] != '-' : t[i] > 127 || !isxdigit(t[i]))
			return false;
	}
	return size == UUID_TEXT_LEN;
}

static void check_uuid(const uint8_t *data, size_t size)
{
	char text[UUID_TEXT_LEN];
	struct uuid u;
	uint32_t upper;

	if (!uuid_parse(wire_slice(data, size), &u, &upper)) {
		CHECK(!is_uuid_slowly(data, size));
		return;
	}
	CHECK(is_uuid_slowly(data, size));
	uuid_format_case(&u, upper, text);
	CHECK(memcmp(text, data, UUID_TEXT_LEN) == 0);
	uuid_format(&u, text);
	for (size_t i = 0; i < UUID_TEXT_LEN; i++)
		CHECK(text[i] == tolower(data[i]));
}

static void check_bits(const uint8_t *data)
{
	struct uuid u, back;
	uint32_t upper, got;
	char text[UUID_TEXT_LEN];

	memcpy(u.b, data, sizeof(u.b));
	memcpy(&upper, data + sizeof(u.b), sizeof(upper));
	uuid_format_case(&u, upper, text);
	CHECK(uuid_parse(wire_slice(text, sizeof(text)), &back, &got));
	CHECK(uuid_equal(&u, &back) && (got & ~upper) == 0);
	CHECK(uuid_hash(&u) == uuid_hash(&back));
	u = uuid_v4(data);
	uuid_format(&u, text);
	CHECK(text[14] == '4' && strchr("89ab", text[19]) != NULL);
}

static void check_address(const uint8_t *data, size_t size)
{
	struct user_address a, back;
	char text[USER_ADDRESS_BYTES_MAX];
	size_t len;

	if (!user_address_parse(wire_slice(data, size), &a))
		return;
	check_inside(a.domain, data, size);
	CHECK(size <= sizeof(text));
	len = user_address_format(&a, text);
	CHECK(len == size);
	for (size_t i = 0; i < size; i++)
		CHECK(text[i] == tolower(data[i]));
	CHECK(user_address_parse(wire_slice(text, len), &back));
	CHECK(uuid_equal(&a.user, &back.user) && domain_equal(a.domain, back.domain));
	CHECK(user_address_is_local(&a, back.domain));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_uuid(data, size);
	check_address(data, size);
	if (size >= 20)
		check_bits(data);
	return 0;
}
