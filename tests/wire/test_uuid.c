/* SPDX-License-Identifier: MIT */
#include "wire/uuid.h"

#include <ctype.h>

#include <criterion/criterion.h>

TestSuite(uuid, .timeout = 20);

#define LOWER "3f6c1d9e-8a47-4f05-b1d2-6e0c9a7b5d33"

Test(uuid, is_written_in_lower_case_and_taken_in_any)
{
	static const uint8_t bytes[16] = { 0x3f, 0x6c, 0x1d, 0x9e, 0x8a, 0x47, 0x4f, 0x05,
		                           0xb1, 0xd2, 0x6e, 0x0c, 0x9a, 0x7b, 0x5d, 0x33 };
	struct uuid lower, upper, mixed;
	char text[UUID_TEXT_LEN];

	cr_assert(uuid_parse(wire_text(LOWER), &lower, NULL));
	cr_assert(uuid_parse(wire_text("3F6C1D9E-8A47-4F05-B1D2-6E0C9A7B5D33"), &upper, NULL));
	cr_assert(uuid_parse(wire_text("3F6c1d9E-8a47-4F05-b1D2-6e0C9A7b5D33"), &mixed, NULL));
	cr_assert(memcmp(lower.b, bytes, 16) == 0);
	cr_assert(uuid_equal(&lower, &upper) && uuid_equal(&lower, &mixed));
	uuid_format(&upper, text);
	cr_assert(memcmp(text, LOWER, UUID_TEXT_LEN) == 0);
}

Test(uuid, keeps_the_case_of_each_digit_beside_it)
{
	static const char *const texts[] = {
		LOWER,
		"E621E1F8-C36C-495A-93FC-0C247A3E6E5F",
		"e621E1f8-C36c-495A-93fc-0C247a3E6e5f",
		"00000000-0000-0000-0000-00000000000F",
		"Aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char text[UUID_TEXT_LEN];
		struct uuid u;
		uint32_t upper, bit = 0;

		cr_assert(uuid_parse(wire_text(texts[i]), &u, &upper));
		for (size_t at = 0; at < UUID_TEXT_LEN; at++) {
			if (texts[i][at] == '-')
				continue;
			cr_assert((upper >> bit & 1) == (isupper(texts[i][at]) != 0),
			          "%s digit %u", texts[i], bit);
			bit++;
		}
		uuid_format_case(&u, upper, text);
		cr_assert(memcmp(text, texts[i], UUID_TEXT_LEN) == 0, "%.36s", text);
	}
}

Test(uuid, marks_of_upper_case_do_not_touch_decimal_digits)
{
	char text[UUID_TEXT_LEN];
	struct uuid u;

	cr_assert(uuid_parse(wire_text(LOWER), &u, NULL));
	uuid_format_case(&u, UINT32_MAX, text);
	cr_assert(memcmp(text, "3F6C1D9E-8A47-4F05-B1D2-6E0C9A7B5D33", UUID_TEXT_LEN) == 0);
}

/* Every byte value at every place: right exactly where it is a digit or the dash that belongs
 * there. */
Test(uuid, takes_only_hex_digits_and_dashes_in_their_places)
{
	for (size_t at = 0; at < UUID_TEXT_LEN; at++) {
		for (int c = 0; c < 256; c++) {
			char text[] = LOWER;
			const bool is_dash = LOWER[at] == '-';
			const bool is_right = is_dash ? c == '-' : c < 128 && isxdigit(c);
			struct uuid u;

			text[at] = (char)c;
			cr_assert(uuid_parse(wire_slice(text, UUID_TEXT_LEN), &u, NULL) ==
			                  is_right,
			          "byte %d at %zu", c, at);
		}
	}
}

Test(uuid, of_another_length_is_none)
{
	struct uuid u;

	cr_assert(!uuid_parse(wire_text(""), &u, NULL));
	cr_assert(!uuid_parse(wire_slice(NULL, 0), &u, NULL));
	cr_assert(!uuid_parse(wire_slice(LOWER, 35), &u, NULL));
	cr_assert(!uuid_parse(wire_text(LOWER "0"), &u, NULL));
	cr_assert(!uuid_parse(wire_text("3f6c1d9e8a474f05b1d26e0c9a7b5d33"), &u, NULL));
	cr_assert(!uuid_parse(wire_text("{3f6c1d9e-8a47-4f05-b1d2-6e0c9a7b5d33}"), &u, NULL));
}

Test(uuid, that_does_not_parse_leaves_the_output_alone)
{
	struct uuid u = { { 1, 2, 3 } };
	uint32_t upper = 7;

	cr_assert(!uuid_parse(wire_text("3f6c1d9e-8a47-4f05-b1d2-6e0c9a7b5d3g"), &u, &upper));
	cr_assert(u.b[0] == 1 && u.b[1] == 2 && u.b[2] == 3 && upper == 7);
}

Test(uuid, of_random_bytes_is_version_4)
{
	const uint8_t ones[16] = { 255, 255, 255, 255, 255, 255, 255, 255,
		                   255, 255, 255, 255, 255, 255, 255, 255 };
	const uint8_t zeros[16] = { 0 };
	const struct uuid high = uuid_v4(ones), low = uuid_v4(zeros);
	char text[UUID_TEXT_LEN];

	uuid_format(&high, text);
	cr_assert(memcmp(text, "ffffffff-ffff-4fff-bfff-ffffffffffff", UUID_TEXT_LEN) == 0);
	uuid_format(&low, text);
	cr_assert(memcmp(text, "00000000-0000-4000-8000-000000000000", UUID_TEXT_LEN) == 0);
}

/* A user's shard is hash % count: each of 8 shards must get its share of counted-up ids. */
Test(uuid, hash_spreads_ids_that_differ_little)
{
	unsigned shards[8] = { 0 };

	for (uint32_t i = 0; i < 8000; i++) {
		struct uuid u = { { 0 } };

		memcpy(u.b + (i % 4) * 4, &i, sizeof(i));
		shards[uuid_hash(&u) % 8]++;
		cr_assert(uuid_hash(&u) != uuid_hash_seeded(&u, 1));
	}
	for (size_t i = 0; i < 8; i++)
		cr_assert(shards[i] > 800 && shards[i] < 1200, "shard %zu has %u of 8000", i,
		          shards[i]);
}
