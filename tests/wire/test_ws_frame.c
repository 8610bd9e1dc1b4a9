/* SPDX-License-Identifier: MIT */
#include "wire/ws_frame.h"

#include <stdio.h>

#include <criterion/criterion.h>

#include "wire/utf8.h"

TestSuite(ws_frame, .timeout = 30);

#define LIMIT 100000

static const uint8_t mask[4] = { 0x37, 0xfa, 0x21, 0x3d };

/* ---- A peer: what it sends, and what was made of it ---- */

struct peer {
	uint8_t sent[300000];
	size_t len;
};

static struct peer peer;

static void send_frame(unsigned first, const void *payload, size_t len)
{
	uint8_t *const at = peer.sent + peer.len;
	const size_t head = ws_header_write_masked(at, WS_OP_CONTINUATION, len, mask);

	at[0] = (uint8_t)first;
	ws_mask_copy(at + head, payload, len, mask, 0);
	peer.len += head + len;
}

static void send_text(unsigned first, const char *payload)
{
	send_frame(first, payload, strlen(payload));
}

static void send_raw(const void *bytes, size_t len)
{
	memcpy(peer.sent + peer.len, bytes, len);
	peer.len += len;
}

#define FIN 0x80
#define TEXT (FIN | WS_OP_TEXT)
#define BINARY (FIN | WS_OP_BINARY)
#define PING (FIN | WS_OP_PING)
#define PONG (FIN | WS_OP_PONG)
#define CLOSE (FIN | WS_OP_CLOSE)

/* Parses everything in chunks of `chunk` bytes and writes down what comes:
 * "T[hello]" a text message, "B[...]" binary, "Pi[..]", "Po[..]", "C1000[bye]", "F1002". */
static const char *story_in(size_t chunk)
{
	static char out[8192];
	static uint8_t copy[sizeof(peer.sent)];
	struct ws_parser parser;
	size_t n = 0;
	bool is_open = false;

	ws_parser_init(&parser, WS_ROLE_SERVER, LIMIT);
	memcpy(copy, peer.sent, peer.len);
	for (size_t at = 0; at < peer.len;) {
		const size_t end = at + chunk < peer.len ? at + chunk : peer.len;
		struct ws_event e;
		const size_t took = ws_parser_next(&parser, copy + at, end - at, &e);

		cr_assert(took > 0 && took <= end - at);
		at += took;
		if (e.type == WS_EVENT_NONE)
			continue;
		if (e.type == WS_EVENT_DATA) {
			cr_assert(e.is_first == !is_open);
			is_open = !e.is_last;
			if (e.is_first)
				n += (size_t)snprintf(out + n, sizeof(out) - n,
				                      e.is_text ? "T[" : "B[");
			if (e.len < 100)
				n += (size_t)snprintf(out + n, sizeof(out) - n, "%.*s",
				                      (int)e.len, (const char *)e.at);
			if (e.is_last)
				n += (size_t)snprintf(out + n, sizeof(out) - n, "] ");
		} else if (e.type == WS_EVENT_FAIL) {
			n += (size_t)snprintf(out + n, sizeof(out) - n, "F%u ", e.code);
		} else if (e.type == WS_EVENT_CLOSE) {
			n += (size_t)snprintf(out + n, sizeof(out) - n, "C%u[%.*s] ", e.code,
			                      (int)e.len, (const char *)e.at);
		} else {
			n += (size_t)snprintf(out + n, sizeof(out) - n, "%s[%.*s] ",
			                      e.type == WS_EVENT_PING ? "Pi" : "Po", (int)e.len,
			                      (const char *)e.at);
		}
	}
	out[n] = '\0';
	return out;
}

/* The story must not depend on how the bytes were cut. */
static void expect(const char *story)
{
	for (size_t chunk = 1; chunk <= 40; chunk++)
		cr_assert_str_eq(story_in(chunk), story, "in chunks of %zu: %s", chunk,
		                 story_in(chunk));
	cr_assert_str_eq(story_in(sizeof(peer.sent)), story, "whole: %s",
	                 story_in(sizeof(peer.sent)));
	peer.len = 0;
}

/* ---- Messages ---- */

Test(ws_frame, reads_the_masked_hello_of_rfc_6455)
{
	send_raw("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
	expect("T[Hello] ");
}

Test(ws_frame, a_message_in_one_chunk_is_one_event_inside_the_chunk)
{
	struct ws_parser parser;
	struct ws_event e;

	send_text(BINARY, "payload");
	ws_parser_init(&parser, WS_ROLE_SERVER, LIMIT);
	cr_assert(ws_parser_is_idle(&parser));
	cr_assert(ws_parser_next(&parser, peer.sent, peer.len, &e) == peer.len);
	cr_assert(e.type == WS_EVENT_DATA && e.is_first && e.is_last && !e.is_text);
	cr_assert(e.at == peer.sent + 6 && e.len == 7 && memcmp(e.at, "payload", 7) == 0);
	cr_assert(ws_parser_is_idle(&parser));
}

Test(ws_frame, joins_fragments_with_control_frames_between)
{
	send_text(WS_OP_TEXT, "one ");
	send_text(PING, "p");
	send_text(WS_OP_CONTINUATION, "");
	send_text(PONG, "");
	send_text(WS_OP_CONTINUATION, "two ");
	send_text(FIN, "three");
	send_text(BINARY, "");
	const char *whole = story_in(sizeof(peer.sent));
	cr_assert_str_eq(whole, "T[one Pi[p] Po[] two three] B[] ");
	expect("T[one Pi[p] Po[] two three] B[] ");
}

Test(ws_frame, many_frames_may_lie_in_one_chunk)
{
	for (int i = 0; i < 50; i++)
		send_text(i % 2 == 0 ? BINARY : PING, "x");
	for (size_t i = 0; i < 3; i++) {
		const char *story = story_in(i == 0 ? 1 : i == 1 ? 7 : sizeof(peer.sent));

		for (int k = 0; k < 25; k++)
			cr_assert(memcmp(story + k * 11, "B[x] Pi[x] ", 11) == 0);
	}
}

Test(ws_frame, reads_the_three_forms_of_length)
{
	static const size_t lengths[] = { 0, 125, 126, 65535, 65536, LIMIT };
	static uint8_t payload[LIMIT];

	memset(payload, 'z', sizeof(payload));
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct ws_parser parser;
		struct ws_event e;
		size_t head;

		send_frame(BINARY, payload, lengths[i]);
		head = peer.len - lengths[i];
		cr_assert(head == 4 + ws_header_len(lengths[i]));
		ws_parser_init(&parser, WS_ROLE_SERVER, LIMIT);
		cr_assert(ws_parser_next(&parser, peer.sent, peer.len, &e) == peer.len);
		cr_assert(e.len == lengths[i] && memcmp(e.at, payload, e.len) == 0);
		peer.len = 0;
	}
}

/* ---- What no client may send ---- */

static void expect_failure_of(const char *bytes, size_t len)
{
	send_raw(bytes, len);
	send_raw("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 14);
	expect("F1002 ");
}
#define EXPECT_FAILURE(bytes) expect_failure_of(bytes, sizeof(bytes) - 1)

Test(ws_frame, what_breaks_the_protocol_fails_with_1002)
{
	EXPECT_FAILURE("\x82\x01"); /* no mask */
	EXPECT_FAILURE("\xc2\x80"); /* reserved bits */
	EXPECT_FAILURE("\xa2\x80");
	EXPECT_FAILURE("\x92\x80");
	EXPECT_FAILURE("\x83\x80"); /* reserved opcodes */
	EXPECT_FAILURE("\x87\x80");
	EXPECT_FAILURE("\x8b\x80");
	EXPECT_FAILURE("\x8f\x80");
	EXPECT_FAILURE("\x09\x80"); /* a ping in parts */
	EXPECT_FAILURE("\x08\x80");
	EXPECT_FAILURE("\x89\xfe\x00\x7e"); /* a ping of 126 bytes */
	EXPECT_FAILURE("\x88\xff");
	EXPECT_FAILURE("\x80\x80"); /* a continuation of nothing */
	EXPECT_FAILURE("\x00\x80");
	EXPECT_FAILURE("\x82\xfe\x00\x7d");                         /* 125 in two bytes */
	EXPECT_FAILURE("\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff"); /* 65535 in eight */
	EXPECT_FAILURE("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00"); /* 2^63 */
}

Test(ws_frame, a_new_message_inside_another_fails_with_1002)
{
	send_text(WS_OP_TEXT, "a");
	send_text(TEXT, "b");
	expect("T[aF1002 ");
	send_text(WS_OP_BINARY, "a");
	send_text(WS_OP_BINARY, "b");
	expect("B[aF1002 ");
	send_text(WS_OP_TEXT, "a");
	send_text(FIN, "b");
	send_text(FIN, "c");
	expect("T[ab] F1002 ");
}

Test(ws_frame, what_comes_after_a_failure_is_swallowed)
{
	send_text(0x83, "");
	send_text(TEXT, "hello");
	send_text(PING, "p");
	expect("F1002 ");
}

/* ---- The limit ---- */

Test(ws_frame, a_message_over_the_limit_fails_with_1009_at_its_header)
{
	static uint8_t payload[LIMIT];
	uint8_t head[WS_HEADER_MAX];

	send_raw(head, ws_header_write_masked(head, WS_OP_BINARY, LIMIT + 1, mask));
	expect("F1009 ");
	send_raw(head, ws_header_write_masked(head, WS_OP_TEXT, UINT64_MAX >> 1, mask));
	expect("F1009 ");
	send_frame(WS_OP_BINARY, payload, LIMIT);
	send_raw("\x80\x81\x00\x00\x00\x00", 6);
	cr_assert_str_eq(story_in(sizeof(peer.sent)), "B[F1009 ");
	peer.len -= 6;
	send_text(FIN, "");
	send_text(BINARY, "next");
	cr_assert_str_eq(story_in(sizeof(peer.sent)), "B[] B[next] ");
}

/* ---- Text ---- */

Test(ws_frame, text_may_be_cut_inside_a_character)
{
	send_frame(WS_OP_TEXT, "\xce", 1);
	send_frame(WS_OP_CONTINUATION, "\xba\xe1\xbd", 3);
	send_frame(FIN, "\xb9", 1);
	expect("T[\xce\xba\xe1\xbd\xb9] ");
}

Test(ws_frame, bad_text_fails_with_1007_at_its_first_wrong_byte)
{
	struct ws_parser parser;
	struct ws_event e;

	/* A long message announced, its second part already wrong. */
	send_frame(WS_OP_TEXT, "good \xf4", 6);
	send_frame(WS_OP_CONTINUATION, "\x90", 1);
	cr_assert_str_eq(story_in(sizeof(peer.sent)), "T[good \xf4"
	                                              "F1007 ");
	peer.len = 0;
	send_frame(TEXT, "\xed\xa0\x80 and more", 12);
	ws_parser_init(&parser, WS_ROLE_SERVER, LIMIT);
	cr_assert(ws_parser_next(&parser, peer.sent, 6 + 1, &e) == 7 &&
	          e.type == WS_EVENT_DATA);
	cr_assert(ws_parser_next(&parser, peer.sent + 7, 1, &e) == 1);
	cr_assert(e.type == WS_EVENT_FAIL && e.code == WS_CLOSE_BAD_TEXT);
}

Test(ws_frame, text_that_ends_inside_a_character_fails_with_1007)
{
	send_frame(TEXT, "\xe2\x82", 2);
	cr_assert_str_eq(story_in(sizeof(peer.sent)), "F1007 ");
	peer.len = 0;
	send_frame(WS_OP_TEXT, "\xe2\x82", 2);
	send_text(FIN, "");
	cr_assert_str_eq(story_in(sizeof(peer.sent)), "T[\xe2\x82"
	                                              "F1007 ");
}

Test(ws_frame, binary_may_hold_anything)
{
	send_frame(BINARY, "\xff\xfe", 2);
	expect("B[\xff\xfe] ");
}

/* ---- Closing ---- */

static void send_close(unsigned code, const char *reason)
{
	uint8_t payload[WS_CONTROL_MAX];

	payload[0] = (uint8_t)(code >> 8);
	payload[1] = (uint8_t)code;
	memcpy(payload + 2, reason, strlen(reason));
	send_frame(CLOSE, payload, 2 + strlen(reason));
}

Test(ws_frame, close_gives_code_and_reason_and_ends_the_story)
{
	send_close(1000, "bye \xe2\x82\xac");
	send_text(TEXT, "too late");
	expect("C1000[bye \xe2\x82\xac] ");
	send_frame(CLOSE, "", 0);
	expect("C1005[] ");
}

Test(ws_frame, close_codes_are_those_that_may_travel)
{
	static const unsigned good[] = { 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011,
		                         1012, 1013, 1014, 3000, 3999, 4000, 4401, 4999 };
	static const unsigned bad[] = { 0,    1,    999,  1004, 1005, 1006, 1015,
		                        1016, 1100, 2000, 2999, 5000, 65535 };
	char story[16];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		snprintf(story, sizeof(story), "C%u[] ", good[i]);
		send_close(good[i], "");
		expect(story);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		send_close(bad[i], "");
		expect("F1002 ");
	}
}

Test(ws_frame, close_with_one_byte_or_bad_text_fails)
{
	send_frame(CLOSE, "\x03", 1);
	expect("F1002 ");
	send_close(1000, "\xff");
	expect("F1007 ");
	send_close(1000, "\xe2\x82");
	expect("F1007 ");
}

/* ---- The client's side ---- */

Test(ws_frame, a_client_reads_what_a_server_writes_and_refuses_masks)
{
	uint8_t bytes[32];
	const size_t head = ws_header_write(bytes, WS_OP_TEXT, 5);
	struct ws_parser parser;
	struct ws_event e;

	memcpy(bytes + head, "hello", 5);
	ws_parser_init(&parser, WS_ROLE_CLIENT, LIMIT);
	cr_assert(ws_parser_next(&parser, bytes, head + 5, &e) == head + 5);
	cr_assert(e.type == WS_EVENT_DATA && e.is_text && memcmp(e.at, "hello", 5) == 0);
	ws_header_write_masked(bytes, WS_OP_TEXT, 5, mask);
	cr_assert(ws_parser_next(&parser, bytes, 11, &e) == 2);
	cr_assert(e.type == WS_EVENT_FAIL && e.code == WS_CLOSE_PROTOCOL);
}

Test(ws_frame, masking_twice_gives_back_the_bytes_at_every_length_and_offset)
{
	uint8_t plain[80], masked[80];

	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i * 7);
	for (size_t len = 0; len <= sizeof(plain); len++) {
		for (size_t offset = 0; offset < 4; offset++) {
			ws_mask_copy(masked, plain, len, mask, offset);
			for (size_t i = 0; i < len; i++)
				cr_assert(masked[i] == (plain[i] ^ mask[(i + offset) % 4]));
			ws_mask(masked, len, mask, offset);
			cr_assert(memcmp(masked, plain, len) == 0);
		}
	}
}

Test(ws_frame, headers_are_as_short_as_they_can_be)
{
	uint8_t head[WS_HEADER_MAX];

	cr_assert(ws_header_write(head, WS_OP_BINARY, 125) == 2 &&
	          memcmp(head, "\x82\x7d", 2) == 0);
	cr_assert(ws_header_write(head, WS_OP_BINARY, 126) == 4 &&
	          memcmp(head, "\x82\x7e\x00\x7e", 4) == 0);
	cr_assert(ws_header_write(head, WS_OP_BINARY, 65536) == 10 &&
	          memcmp(head, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10) == 0);
	cr_assert(ws_header_write_fragment(head, WS_OP_TEXT, WS_MORE, 1) == 2 &&
	          memcmp(head, "\x01\x01", 2) == 0);
}

Test(ws_frame, close_payload_cuts_a_long_reason_between_characters)
{
	char reason[126];
	uint8_t out[WS_CONTROL_MAX];
	size_t len;

	for (size_t i = 0; i < sizeof(reason); i += 3)
		memcpy(reason + i, "\xe2\x82\xac", 3);
	len = ws_close_payload(out, WS_CLOSE_RESTART, wire_slice(reason, sizeof(reason)));
	cr_assert(len == 125 && out[0] == 0x03 && out[1] == 0xf4);
	cr_assert(utf8_is_valid(wire_slice(out + 2, len - 2)));
	len = ws_close_payload(out, WS_CLOSE_RESTART, wire_slice(reason + 1, 125));
	cr_assert(len <= 125 && (reason[1 + len - 2] & 0xc0) != 0x80);
	cr_assert(ws_close_payload(out, WS_CLOSE_NO_STATUS, wire_text("x")) == 0);
	cr_assert(ws_close_payload(out, 4401, wire_text("")) == 2);
}

Test(ws_frame, accept_key_is_that_of_rfc_6455)
{
	char out[WS_ACCEPT_LEN];

	cr_assert(ws_accept_key(wire_text("dGhlIHNhbXBsZSBub25jZQ=="), out));
	cr_assert(memcmp(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", WS_ACCEPT_LEN) == 0);
	cr_assert(!ws_accept_key(wire_text(""), out));
	cr_assert(!ws_accept_key(wire_text("dGhlIHNhbXBsZSBub25j"), out));
	cr_assert(!ws_accept_key(wire_text("dGhlIHNhbXBsZSBub25jZQ==AAAA"), out));
}
