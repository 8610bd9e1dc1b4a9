/* SPDX-License-Identifier: MIT */
#include "wire/grpc_frame.h"

#include <stdio.h>

#include <criterion/criterion.h>

TestSuite(grpc_frame, .timeout = 10);

Test(grpc_frame, a_timeout_is_read_in_every_unit_and_rounded_up)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} cases[] = {
		{ "1H", 3600000 }, { "2M", 120000 },      { "3S", 3000 },
		{ "4m", 4 },       { "5u", 1 },           { "1000u", 1 },
		{ "1001u", 2 },    { "1n", 1 },           { "0n", 0 },
		{ "0m", 0 },       { "00000001S", 1000 }, { "99999999H", 359999996400000 },
	};
	uint64_t ms;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_assert(grpc_timeout_parse(wire_text(cases[i].text), &ms), "%s",
		          cases[i].text);
		cr_assert_eq(ms, cases[i].ms, "%s: %lu", cases[i].text, (unsigned long)ms);
	}
}

Test(grpc_frame, what_is_no_timeout_is_refused)
{
	static const char *const wrong[] = {
		"",    "S",   "1",    "1s",         "-1S", "1 S",
		"+1S", "1SS", "1.5S", "123456789S", "S1",  "\xff"
	};
	uint64_t ms;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		cr_assert_not(grpc_timeout_parse(wire_text(wrong[i]), &ms), "%s", wrong[i]);
}

Test(grpc_frame, a_timeout_is_written_so_that_it_is_never_shorter)
{
	static const uint64_t cases[] = { 0,         1,         999,         99999999,
		                          100000000, 100000001, 99999999000, UINT64_MAX };
	char text[GRPC_TIMEOUT_CHARS];
	uint64_t ms;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const size_t len = grpc_timeout_write(text, cases[i]);

		cr_assert_eq(len, strlen(text));
		cr_assert(grpc_timeout_parse(wire_text(text), &ms), "%s", text);
		cr_assert(ms >= cases[i] || ms == UINT64_C(99999999000), "%s", text);
	}
	grpc_timeout_write(text, 1500);
	cr_assert_str_eq(text, "1500m");
	grpc_timeout_write(text, 100000001);
	cr_assert_str_eq(text, "100001S");
}

Test(grpc_frame, content_types_of_grpc_are_told_from_others)
{
	static const char *const right[] = { "application/grpc", "application/grpc+proto",
		                             "application/grpc;charset=utf-8",
		                             "Application/GRPC" };
	static const char *const wrong[] = { "", "application/grp", "application/grpcx",
		                             "application/grpc-web", "text/plain" };

	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		cr_assert(grpc_content_type_is_grpc(wire_text(right[i])), "%s", right[i]);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		cr_assert_not(grpc_content_type_is_grpc(wire_text(wrong[i])), "%s", wrong[i]);
}

Test(grpc_frame, a_status_above_the_known_ones_is_unknown)
{
	enum grpc_status status;

	cr_assert(grpc_status_parse(wire_text("16"), &status));
	cr_assert_eq(status, GRPC_UNAUTHENTICATED);
	cr_assert(grpc_status_parse(wire_text("17"), &status));
	cr_assert_eq(status, GRPC_UNKNOWN);
	cr_assert_not(grpc_status_parse(wire_text("0x"), &status));
	cr_assert_not(grpc_status_parse(wire_text(""), &status));
	cr_assert_not(grpc_status_parse(wire_text("0000"), &status));
}

Test(grpc_frame, a_message_survives_encoding_and_is_cut_at_its_limit)
{
	char encoded[GRPC_MESSAGE_CHARS], decoded[GRPC_MESSAGE_CHARS], big[300];

	grpc_message_encode(encoded, wire_text("50% of gr\xc3\xbc\xc3\x9f\n"));
	cr_assert_str_eq(encoded, "50%25 of gr%C3%BC%C3%9F%0A");
	grpc_message_decode(decoded, sizeof(decoded), wire_text(encoded));
	cr_assert_str_eq(decoded, "50% of gr\xc3\xbc\xc3\x9f\n");
	memset(big, 0xff, sizeof(big));
	cr_assert_eq(grpc_message_encode(encoded, wire_slice(big, sizeof(big))),
	             3 * GRPC_MESSAGE_BYTES_MAX);
	grpc_message_decode(decoded, sizeof(decoded), wire_text("%4"));
	cr_assert_str_eq(decoded, "%4");
	grpc_message_decode(decoded, sizeof(decoded), wire_text("%zz%41"));
	cr_assert_str_eq(decoded, "%zzA");
	cr_assert_eq(grpc_message_decode(decoded, 3, wire_text("abcdef")), 2);
}

Test(grpc_frame, messages_are_taken_apart_wherever_they_are_cut)
{
	static const uint8_t stream[] = "\0\0\0\0\3abc\0\0\0\0\0\1\0\0\0\2xy";
	const size_t len = sizeof(stream) - 1;

	for (size_t cut = 1; cut <= len; cut++) {
		struct grpc_reader r = { 0 };
		char story[64] = "";
		size_t at = 0;

		while (at < len) {
			const size_t n = len - at < cut ? len - at : cut;
			struct wire_slice data;
			size_t used, told = strlen(story);

			switch (grpc_reader_next(&r, stream + at, n, &used, &data)) {
			case GRPC_READ_MORE:
				break;
			case GRPC_READ_START:
				snprintf(story + told, sizeof(story) - told,
				         "%s%u:", r.is_compressed ? "z" : "", r.len);
				break;
			case GRPC_READ_DATA:
				snprintf(story + told, sizeof(story) - told, "%.*s",
				         (int)data.len, (const char *)data.at);
				break;
			}
			cr_assert(used > 0 && used <= n);
			at += used;
		}
		cr_assert(grpc_reader_is_idle(&r));
		cr_assert_str_eq(story, "3:abc0:z2:xy", "cut %zu: %s", cut, story);
	}
}
