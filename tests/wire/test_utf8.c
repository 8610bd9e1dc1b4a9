/* SPDX-License-Identifier: MIT */
#include "wire/utf8.h"

#include <criterion/criterion.h>

TestSuite(utf8, .timeout = 60);

/* By the table of RFC 3629, written another way: decode, then judge the number. */
static bool is_valid_slowly(const uint8_t *t, size_t len)
{
	for (size_t i = 0; i < len;) {
		const int more = t[i] < 0x80             ? 0
		                 : (t[i] & 0xe0) == 0xc0 ? 1
		                 : (t[i] & 0xf0) == 0xe0 ? 2
		                 : (t[i] & 0xf8) == 0xf0 ? 3
		                                         : -1;
		static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
		uint32_t c;

		if (more < 0 || i + (size_t)more >= len)
			return false;
		c = more == 0 ? t[i] : t[i] & (0x3fu >> more);
		for (int k = 1; k <= more; k++) {
			if ((t[i + (size_t)k] & 0xc0) != 0x80)
				return false;
			c = c << 6 | (t[i + (size_t)k] & 0x3f);
		}
		if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
			return false;
		i += (size_t)more + 1;
	}
	return true;
}

Test(utf8, agrees_with_the_definition_on_all_texts_of_three_bytes)
{
	for (uint32_t n = 0; n < 1u << 24; n++) {
		const uint8_t t[3] = { (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n };

		if (utf8_is_valid(wire_slice(t, 3)) != is_valid_slowly(t, 3))
			cr_assert_fail("%02x %02x %02x", t[0], t[1], t[2]);
	}
}

Test(utf8, agrees_with_the_definition_on_four_bytes_of_every_kind)
{
	static const uint8_t seconds[] = {
		0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0
	};

	for (int first = 0; first < 256; first++) {
		for (size_t a = 0; a < sizeof(seconds); a++) {
			for (size_t b = 0; b < sizeof(seconds); b++) {
				for (size_t c = 0; c < sizeof(seconds); c++) {
					const uint8_t t[4] = { (uint8_t)first, seconds[a],
						               seconds[b], seconds[c] };

					cr_assert(utf8_is_valid(wire_slice(t, 4)) ==
					                  is_valid_slowly(t, 4),
					          "%02x %02x %02x %02x", t[0], t[1], t[2],
					          t[3]);
				}
			}
		}
	}
}

Test(utf8, comes_to_the_same_in_pieces)
{
	static const char text[] =
		"plain text, sixteen and more \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80 end";
	const uint8_t *t = (const uint8_t *)text;

	for (size_t cut = 0; cut < sizeof(text); cut++) {
		const uint32_t state = utf8_feed(UTF8_ACCEPT, t, cut);

		cr_assert(state != UTF8_REJECT);
		cr_assert(utf8_feed(state, t + cut, sizeof(text) - 1 - cut + 1) == UTF8_ACCEPT);
	}
}

Test(utf8, rejects_at_the_first_byte_that_cannot_be_right)
{
	cr_assert(utf8_feed(UTF8_ACCEPT, (const uint8_t *)"\xed", 1) != UTF8_REJECT);
	cr_assert(utf8_feed(UTF8_ACCEPT, (const uint8_t *)"\xed\xa0", 2) == UTF8_REJECT);
	cr_assert(utf8_feed(UTF8_ACCEPT, (const uint8_t *)"\xf4\x90", 2) == UTF8_REJECT);
	cr_assert(utf8_feed(UTF8_ACCEPT, (const uint8_t *)"\xe0\x80", 2) == UTF8_REJECT);
	cr_assert(utf8_feed(UTF8_ACCEPT, (const uint8_t *)"\xf5", 1) == UTF8_REJECT);
	cr_assert(utf8_feed(UTF8_REJECT, (const uint8_t *)"a", 1) == UTF8_REJECT);
}

Test(utf8, counts_and_reads_characters)
{
	static const char text[] = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80";
	const uint8_t *at = (const uint8_t *)text;

	cr_assert(utf8_length(wire_text(text)) == 4);
	cr_assert(utf8_next(&at) == 'a');
	cr_assert(utf8_next(&at) == 0xe4);
	cr_assert(utf8_next(&at) == 0x20ac);
	cr_assert(utf8_next(&at) == 0x1f600);
	cr_assert(at == (const uint8_t *)text + sizeof(text) - 1);
}
