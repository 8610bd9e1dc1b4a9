/* SPDX-License-Identifier: MIT */
#include "wire/inbox_entry.h"

#include <stdlib.h>

#include <criterion/criterion.h>

TestSuite(inbox_entry, .timeout = 20);

static struct inbox_entry sample(void)
{
	static const uint8_t frame[] = { 1, 2, 3 };
	struct inbox_entry e = {
		.kind = RECORD_MESSAGE,
		.wall_ms = INT64_C(0x0102030405060708),
		.key_case = 0x11223344,
		.partition = 0x5566,
		.offset = UINT64_C(0x090a0b0c0d0e0f10),
		.frame = { .at = frame, .len = sizeof(frame) },
	};

	memset(e.peer.b, 0xaa, sizeof(e.peer.b));
	memset(e.key.b, 0xbb, sizeof(e.key.b));
	return e;
}

/* The bytes stay in Redis over an upgrade: they are these for ever. */
Test(inbox_entry, layout_is_the_same_for_ever)
{
	static const uint8_t head[24] = { 1,  1,  0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
		                          8,  7,  6,    5,    4,    3,    2,    1,
		                          16, 15, 14,   13,   12,   11,   10,   9 };
	const struct inbox_entry e = sample();
	uint8_t out[INBOX_ENTRY_HEAD_LEN + 3];

	cr_assert(inbox_entry_write(out, sizeof(out), &e) == sizeof(out));
	cr_assert(memcmp(out, head, sizeof(head)) == 0);
	for (int i = 0; i < 16; i++)
		cr_assert(out[24 + i] == 0xaa && out[40 + i] == 0xbb);
	cr_assert(memcmp(out + INBOX_ENTRY_HEAD_LEN, e.frame.at, 3) == 0);
}

Test(inbox_entry, what_is_written_is_read_back)
{
	struct inbox_entry e = sample(), back;
	uint8_t out[80];

	for (int kind = RECORD_MESSAGE; kind <= RECORD_RECEIPT; kind++) {
		size_t len;

		e.kind = (uint8_t)kind;
		len = inbox_entry_write(out, sizeof(out), &e);
		cr_assert(inbox_entry_read(wire_slice(out, len), &back));
		cr_assert(back.kind == kind && back.wall_ms == e.wall_ms);
		cr_assert(back.partition == e.partition && back.offset == e.offset);
		cr_assert(uuid_equal(&back.peer, &e.peer) && uuid_equal(&back.key, &e.key));
		cr_assert(back.key_case == e.key_case);
		cr_assert(wire_slice_equal(back.frame, e.frame) &&
		          back.frame.at == out + INBOX_ENTRY_HEAD_LEN);
	}
}

Test(inbox_entry, says_what_it_needs_and_overruns_no_room)
{
	const struct inbox_entry e = sample();

	for (size_t room = 0; room < INBOX_ENTRY_HEAD_LEN + 3; room++) {
		uint8_t *out = malloc(room > 0 ? room : 1);

		cr_assert(out != NULL);
		cr_assert(inbox_entry_write(out, room, &e) == INBOX_ENTRY_HEAD_LEN + 3);
		free(out);
	}
}

Test(inbox_entry, what_is_not_of_this_version_is_refused)
{
	struct inbox_entry e = sample(), back;
	uint8_t out[80];
	const size_t len = inbox_entry_write(out, sizeof(out), &e);

	for (size_t cut = 0; cut <= INBOX_ENTRY_HEAD_LEN; cut++) {
		uint8_t *part = malloc(cut > 0 ? cut : 1);

		cr_assert(part != NULL);
		memcpy(part, out, cut);
		cr_assert(!inbox_entry_read(wire_slice(part, cut), &back));
		free(part);
	}
	for (int value = 0; value < 256; value++) {
		out[0] = (uint8_t)value;
		cr_assert(inbox_entry_read(wire_slice(out, len), &back) == (value == 1));
		out[0] = 1;
		out[1] = (uint8_t)value;
		cr_assert(inbox_entry_read(wire_slice(out, len), &back) ==
		          (value == RECORD_MESSAGE || value == RECORD_RECEIPT));
		out[1] = RECORD_MESSAGE;
	}
}

Test(inbox_entry, place_is_written_as_redis_writes_it_and_read_back)
{
	static const struct {
		uint64_t ms, seq;
		const char *text;
	} places[] = {
		{ 0, 0, "0-0" },
		{ 1, 0, "1-0" },
		{ 10, 205, "10-205" },
		{ 1099511627775, 16777215, "1099511627775-16777215" },
	};
	uint64_t id;

	cr_assert(INBOX_ID(7, 3) == inbox_id(7, 3) && inbox_id(7, 3) == (7 << 24 | 3));
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		char text[INBOX_ID_TEXT_MAX];

		id = inbox_id(places[i].ms, places[i].seq);
		cr_assert(inbox_id_format(id, text) == strlen(places[i].text));
		cr_assert(strcmp(text, places[i].text) == 0);
		cr_assert(inbox_id_parse(wire_text(text), &id));
		cr_assert(inbox_id_ms(id) == places[i].ms && inbox_id_seq(id) == places[i].seq);
	}
}

Test(inbox_entry, greatest_place_fits_and_nothing_above_it)
{
	char text[INBOX_ID_TEXT_MAX];
	uint64_t id = 5;

	cr_assert(inbox_id_format(UINT64_MAX, text) < sizeof(text));
	cr_assert(strcmp(text, "1099511627775-16777215") == 0);
	cr_assert(inbox_id_parse(wire_text(text), &id) && id == UINT64_MAX);
	id = 5;
	cr_assert(!inbox_id_parse(wire_text("1099511627776-0"), &id));
	cr_assert(!inbox_id_parse(wire_text("1-16777216"), &id) && id == 5);
	/* A time of today, as `XADD *` would make it: never a place in an inbox. */
	cr_assert(!inbox_id_parse(wire_text("1767225600123-0"), &id) && id == 5);
}

Test(inbox_entry, text_that_is_no_place_is_refused)
{
	static const char *const bad[] = {
		"",
		"-",
		"1",
		"1-",
		"-1",
		"1-1-1",
		"1--1",
		"+1-1",
		"1-+1",
		" 1-1",
		"1-1 ",
		"01-1",
		"1-01",
		"1-x",
		"x-1",
		"00-0",
		"18446744073709551617-0",
		"1-18446744073709551617",
		"184467440737095516160000000000-0",
	};
	uint64_t id = 5;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert(!inbox_id_parse(wire_text(bad[i]), &id) && id == 5, "%s", bad[i]);
	cr_assert(!inbox_id_parse(wire_slice(NULL, 0), &id));
	cr_assert(!inbox_id_parse(wire_slice("1-1\0", 4), &id));
}
