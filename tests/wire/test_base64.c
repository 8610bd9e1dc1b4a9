/* SPDX-License-Identifier: MIT */
#include "wire/base64.h"

#include <criterion/criterion.h>

TestSuite(base64, .timeout = 20);

static const char alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static bool decodes(const char *text)
{
	uint8_t out[256];
	size_t len, bytes;
	const bool ok = base64_decode(wire_text(text), out, sizeof(out), &len);

	cr_assert(base64_is_valid(wire_text(text), &bytes) == ok, "%s", text);
	cr_assert(!ok || bytes == len);
	return ok;
}

Test(base64, knows_the_examples_of_rfc_4648)
{
	static const char *const pairs[][2] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		const struct wire_slice plain = wire_text(pairs[i][0]),
					text = wire_text(pairs[i][1]);
		uint8_t bytes[8];
		char out[12];
		size_t len;

		cr_assert(base64_encode(plain.at, plain.len, out) == text.len);
		cr_assert(memcmp(out, text.at, text.len) == 0);
		cr_assert(base64_decode(text, bytes, sizeof(bytes), &len));
		cr_assert(wire_slice_equal(wire_slice(bytes, len), plain));
	}
}

Test(base64, gives_back_every_length_and_byte)
{
	uint8_t bytes[200], back[200];
	char text[BASE64_TEXT_LEN(200)];
	size_t len;

	for (size_t n = 0; n <= sizeof(bytes); n++) {
		for (size_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)(i * 37 + n * 11);
		len = base64_encode(bytes, n, text);
		cr_assert(len == BASE64_TEXT_LEN(n));
		cr_assert(base64_is_valid(wire_slice(text, len), &len) && len == n);
		cr_assert(base64_decode_exact(wire_slice(text, BASE64_TEXT_LEN(n)), back, n));
		cr_assert(memcmp(bytes, back, n) == 0);
		len = base64url_encode(bytes, n, text);
		cr_assert(len == BASE64URL_TEXT_LEN(n));
		cr_assert(base64url_decode(wire_slice(text, len), back, n, &len) && len == n);
		cr_assert(memcmp(bytes, back, n) == 0);
	}
}

Test(base64, takes_no_padding_but_the_right_one)
{
	cr_assert(decodes("QUJD") && decodes("QUI=") && decodes("QQ=="));
	cr_assert(!decodes("QUI") && !decodes("QQ") && !decodes("Q") && !decodes("QQ="));
	cr_assert(!decodes("Q===") && !decodes("====") && !decodes("QQ=A") && !decodes("=QQQ"));
	cr_assert(!decodes("QQ==QUJD"));
}

Test(base64, takes_no_unused_bits)
{
	cr_assert(decodes("QQ==") && !decodes("QR==") && !decodes("QX=="));
	cr_assert(decodes("QUI=") && !decodes("QUJ="));
}

/* Each byte value at each place of a text long enough for the wide loop and its tail. */
Test(base64, takes_no_character_outside_its_alphabet)
{
	for (size_t at = 0; at < 40; at++) {
		for (int c = 0; c < 256; c++) {
			uint8_t text[40], out[30];
			const bool is_right = c != 0 && strchr(alphabet, c) != NULL;
			size_t len;

			memset(text, 'A', sizeof(text));
			text[at] = (uint8_t)c;
			/* At the end '=' is padding. */
			if (c == '=' && at == 39)
				continue;
			cr_assert(base64_is_valid(wire_slice(text, 40), NULL) == is_right,
			          "%d at %zu", c, at);
			cr_assert(base64_decode(wire_slice(text, 40), out, 30, &len) ==
			          is_right);
		}
	}
}

Test(base64, does_not_write_beyond_the_room_it_has)
{
	uint8_t out[4] = { 9, 9, 9, 9 };
	size_t len;

	cr_assert(!base64_decode(wire_text("QUJDRA=="), out, 3, &len));
	cr_assert(out[3] == 9);
	cr_assert(base64_decode(wire_text("QUJDRA=="), out, 4, &len) && len == 4);
	cr_assert(!base64_decode_exact(wire_text("QUJD"), out, 4));
	cr_assert(!base64_decode_exact(wire_text("QUJDRA=="), out, 3));
}

Test(base64, url_form_has_its_own_characters_and_no_padding)
{
	const uint8_t bytes[] = { 0xfb, 0xff, 0xfe };
	uint8_t out[8];
	char text[4];
	size_t len;

	cr_assert(base64url_encode(bytes, 3, text) == 4 && memcmp(text, "-__-", 4) == 0);
	cr_assert(!base64url_decode(wire_text("+//+"), out, sizeof(out), &len));
	cr_assert(!base64url_decode(wire_text("QQ=="), out, sizeof(out), &len));
	cr_assert(!base64url_decode(wire_text("A"), out, sizeof(out), &len));
	cr_assert(!base64url_decode(wire_text("QR"), out, sizeof(out), &len));
	cr_assert(base64url_decode(wire_text("QQ"), out, sizeof(out), &len) && len == 1);
}
