/* SPDX-License-Identifier: MIT */
#include "wire/user_address.h"

#include <criterion/criterion.h>

TestSuite(user_address, .timeout = 20);

#define ID "7d1f0a52-93c4-4c0e-9f3b-0b6a4f1e2c11"

static bool parses(const char *text)
{
	struct user_address address;

	return user_address_parse(wire_text(text), &address);
}

Test(user_address, is_an_id_with_or_without_a_domain)
{
	struct user_address bare, full;

	cr_assert(user_address_parse(wire_text(ID), &bare));
	cr_assert(bare.domain.len == 0);
	cr_assert(user_address_parse(wire_text(ID "@eu.Example"), &full));
	cr_assert(uuid_equal(&bare.user, &full.user));
	cr_assert(wire_slice_is(full.domain, "eu.Example"));
}

Test(user_address, needs_a_domain_with_a_dot_behind_its_at_sign)
{
	cr_assert(parses(ID "@a.b"));
	cr_assert(parses(ID "@xn--bcher-kva.example"));
	cr_assert(!parses(ID "@"));
	cr_assert(!parses(ID "@localhost"));
	cr_assert(!parses(ID "@."));
	cr_assert(!parses(ID "@a."));
	cr_assert(!parses(ID "@.b"));
	cr_assert(!parses(ID "@a..b"));
	cr_assert(!parses(ID "@a b.c"));
	cr_assert(!parses(ID "@a.b@c.d"));
	cr_assert(!parses(ID "@a.b:8080"));
	cr_assert(!parses(ID ".a.b"));
	cr_assert(!parses(ID "0"));
	cr_assert(!parses("nobody"));
	cr_assert(!parses("@a.b"));
	cr_assert(!parses(""));
}

Test(user_address, domain_has_at_most_253_characters)
{
	char text[UUID_TEXT_LEN + 1 + 255] = ID "@";
	struct user_address address;

	memset(text + UUID_TEXT_LEN + 1, 'a', 254);
	text[UUID_TEXT_LEN + 3] = '.';
	cr_assert(user_address_parse(wire_slice(text, UUID_TEXT_LEN + 1 + 253), &address));
	cr_assert(!user_address_parse(wire_slice(text, UUID_TEXT_LEN + 1 + 254), &address));
}

Test(user_address, at_the_own_domain_in_any_case_is_local)
{
	struct user_address bare, own, other;

	cr_assert(user_address_parse(wire_text(ID), &bare));
	cr_assert(user_address_parse(wire_text(ID "@EU.example"), &own));
	cr_assert(user_address_parse(wire_text(ID "@us.example"), &other));
	cr_assert(user_address_is_local(&bare, wire_text("eu.EXAMPLE")));
	cr_assert(user_address_is_local(&own, wire_text("eu.EXAMPLE")));
	cr_assert(!user_address_is_local(&other, wire_text("eu.EXAMPLE")));
	cr_assert(user_address_is_local(&bare, wire_slice(NULL, 0)));
	cr_assert(!user_address_is_local(&own, wire_slice(NULL, 0)));
}

Test(user_address, is_written_in_lower_case)
{
	char out[USER_ADDRESS_BYTES_MAX];
	struct user_address address;
	size_t len;

	cr_assert(user_address_parse(
		wire_text("7D1F0A52-93C4-4C0E-9F3B-0B6A4F1E2C11@Eu.Example"), &address));
	len = user_address_format(&address, out);
	cr_assert(wire_slice_is(wire_slice(out, len), ID "@eu.example"));
}
