/* SPDX-License-Identifier: MIT */
#include "wire/credentials.h"

#include <criterion/criterion.h>

TestSuite(credentials, .timeout = 20);

static bool is_name(const char *text)
{
	return username_is_valid(wire_text(text));
}

static bool is_strong(const char *text)
{
	return password_is_strong(wire_text(text));
}

/* n times the same character */
static const char *repeat(const char *c, size_t n, const char *end)
{
	static char text[2048];

	text[0] = '\0';
	for (size_t at = 0; n > 0; n--, at += strlen(c))
		memcpy(text + at, c, strlen(c) + 1);
	memcpy(text + strlen(text), end, strlen(end) + 1);
	return text;
}

Test(credentials, username_has_3_to_64_characters_of_any_script)
{
	cr_assert(!is_name("") && !is_name("ab") && is_name("abc"));
	cr_assert(!is_name("\xc3\xa4\xc3\xa4") && is_name("\xc3\xa4\xc3\xa4\xc3\xa4"));
	cr_assert(is_name(repeat("a", 64, "")) && !is_name(repeat("a", 65, "")));
	cr_assert(is_name(repeat("\xf0\x9f\x98\x80", 64, "")));
	cr_assert(!is_name(repeat("\xf0\x9f\x98\x80", 65, "")));
	cr_assert(is_name("Anna-Maria O'Neil_42.x@y"));
}

Test(credentials, username_has_nothing_invisible)
{
	cr_assert(!is_name(" anna") && !is_name("anna ") && is_name("an na"));
	cr_assert(!is_name("\xc2\xa0"
	                   "anna") &&
	          !is_name("anna\xe3\x80\x80"));
	cr_assert(!is_name("an\nna") && !is_name("an\tna") && !is_name("an\x7fna"));
	cr_assert(!username_is_valid(wire_slice("an\0na", 5)));
	cr_assert(!is_name("an\xe2\x80\xae"
	                   "na")); /* right-to-left override */
	cr_assert(!is_name("an\xe2\x80\x8b"
	                   "na")); /* zero width space */
	cr_assert(!is_name("an\xef\xbb\xbf"
	                   "na")); /* byte order mark */
	cr_assert(!is_name("an\xff"
	                   "na"));
}

Test(credentials, password_has_10_to_128_characters)
{
	cr_assert(!is_strong("Abcdefg12") && is_strong("Abcdefgh12"));
	cr_assert(is_strong(repeat("x", 126, "A1")) && !is_strong(repeat("x", 127, "A1")));
	cr_assert(is_strong(repeat("\xf0\x9f\x98\x80", 125, "Aa1")));
	cr_assert(!is_strong(repeat("\xf0\x9f\x98\x80", 126, "Aa1")));
	cr_assert(!is_strong("Aa1\xf0\x9f\x98\x80\xf0\x9f\x98\x80"));
	cr_assert(!is_strong(""));
}

Test(credentials, password_needs_both_cases_and_a_digit)
{
	cr_assert(is_strong("Correct-Horse1"));
	cr_assert(!is_strong("correct-horse1") && !is_strong("CORRECT-HORSE1"));
	cr_assert(!is_strong("Correct-Horse-"));
	cr_assert(is_strong("\xd0\x9f\xd0\xb0\xd1\x80\xd0\xbe\xd0\xbb\xd1\x8c-1234"));
	cr_assert(!is_strong("\xd0\xbf\xd0\xb0\xd1\x80\xd0\xbe\xd0\xbb\xd1\x8c-1234"));
	cr_assert(is_strong("\xc3\x84\xc3\xb6\xc3\xbc-1234567"));
	cr_assert(is_strong("\xce\x91\xce\xb2\xce\xb3-1234567"));
}

Test(credentials, password_holds_no_nul_and_is_utf8)
{
	cr_assert(!password_is_strong(wire_slice("Correct\0Horse1", 14)));
	cr_assert(!is_strong("Correct\xffHorse1"));
}

Test(credentials, device_token_has_1_to_128_characters)
{
	cr_assert(!device_token_is_valid(wire_text("")));
	cr_assert(device_token_is_valid(wire_text("x")));
	cr_assert(device_token_is_valid(wire_text(repeat("\xc3\xa4", 128, ""))));
	cr_assert(!device_token_is_valid(wire_text(repeat("\xc3\xa4", 129, ""))));
}
