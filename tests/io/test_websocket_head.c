/* SPDX-License-Identifier: MIT */
#include "io/websocket_head.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

TestSuite(websocket_head, .timeout = 20);

static struct ws_head check(const char *text)
{
	struct ws_head head;

	ws_head_check(text, strlen(text), &head);
	return head;
}

#define WS_LINES                                        \
	"Upgrade: websocket\r\nConnection: Upgrade\r\n" \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

Test(websocket_head, a_whole_head_is_measured_to_the_byte)
{
	struct ws_head head = check("\r\n\r\nGET /a/b?c=d HTTP/1.1\r\nHost: x\r\n\r\nrest");

	cr_assert_eq(head.verdict, WS_HEAD_REQUEST);
	cr_assert_eq(head.skip, 4);
	cr_assert_eq(head.len, strlen("GET /a/b?c=d HTTP/1.1\r\nHost: x\r\n\r\n"));
	cr_assert_eq(head.path_len, 4);
	cr_assert_eq(memcmp(head.path, "/a/b", 4), 0);
	head = check("POST / HTTP/1.1\r\nhost:x\r\ncontent-length:\t17 \r\n\r\n");
	cr_assert_eq(head.verdict, WS_HEAD_REQUEST);
	cr_assert_eq(head.body_len, 17);
}

Test(websocket_head, the_last_x_forwarded_for_is_handed_on)
{
	struct ws_head head = check("GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: a\r\n"
	                            "x-forwarded-for:  b, c \r\n\r\n");

	cr_assert_eq(head.forwarded_len, 4);
	cr_assert_eq(memcmp(head.forwarded, "b, c", 4), 0);
	head = check("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	cr_assert(head.forwarded == NULL);
}

Test(websocket_head, every_prefix_of_a_good_head_asks_for_more)
{
	static const char text[] =
		"GET /ws HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n" WS_LINES "\r\n";
	struct ws_head head;

	for (size_t len = 0; len < strlen(text); len++) {
		ws_head_check(text, len, &head);
		cr_assert_eq(head.verdict, WS_HEAD_MORE, "after %zu bytes: %d", len,
		             head.status);
	}
	cr_assert_eq(check(text).verdict, WS_HEAD_UPGRADE);
}

Test(websocket_head, upgrades_need_all_their_parts)
{
	static const struct {
		const char *text;
		int status;
	} cases[] = {
		{ "GET / HTTP/1.1\r\nHost: x\r\n" WS_LINES "\r\n", 0 },
		{ "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n" WS_LINES "\r\n",
		  0 },
		{ "GET / HTTP/1.0\r\nHost: x\r\n" WS_LINES "\r\n", 400 },
		{ "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" WS_LINES "\r\n", 400 },
		{ "GET / HTTP/1.1\r\n" WS_LINES "\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: x\r\n" WS_LINES "Sec-WebSocket-Version: 13\r\n\r\n",
		  426 },
		{ "GET / HTTP/1.1\r\nHost: x\r\n" WS_LINES "Upgrade: h2c\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "
		  "13\r\n"
		  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		  400 },
		{ "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
		  "Sec-WebSocket-Version: 13\r\n\r\n",
		  400 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct ws_head head = check(cases[i].text);

		cr_assert_eq(head.verdict,
		             cases[i].status == 0 ? WS_HEAD_UPGRADE : WS_HEAD_REFUSE, "%zu", i);
		cr_assert_eq(head.status, cases[i].status, "%zu: %d", i, head.status);
	}
}

Test(websocket_head, lengths_are_digits_only)
{
	cr_assert_eq(ws_head_body_len("0", 1), 0);
	cr_assert_eq(ws_head_body_len("131072", 6), WS_BODY_MAX);
	cr_assert_eq(ws_head_body_len("131073", 6), WS_BODY_MAX + 1);
	cr_assert_eq(ws_head_body_len("18446744073709551617", 20), WS_BODY_MAX + 1);
	cr_assert_eq(ws_head_body_len("", 0), -1);
	cr_assert_eq(ws_head_body_len("-1", 2), -1);
	cr_assert_eq(ws_head_body_len("+1", 2), -1);
	cr_assert_eq(ws_head_body_len("1 1", 3), -1);
}

/* Whatever comes: no read outside, and a verdict that holds together. */
Test(websocket_head, mutated_heads_never_confuse_it)
{
	static const char good[] =
		"POST /a%20b?q=1&r=2 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n" WS_LINES
		"\r\n123456789";
	uint32_t seed = 1;

	for (int round = 0; round < 200000; round++) {
		size_t len = strlen(good);
		struct ws_head head;
		char *text;

		seed = seed * 1664525 + 1013904223;
		len -= seed >> 24 & (round % 7 == 0 ? 127 : 0);
		text = malloc(len); /* exactly, so that the sanitizer sees a byte too many */
		memcpy(text, good, len);
		for (unsigned n = 0; n <= (seed >> 16 & 3); n++) {
			seed = seed * 1664525 + 1013904223;
			text[(seed >> 8) % len] = (char)(seed >> 24);
			if (seed >> 16 & 1)
				text[(seed >> 8) % len] = "\r\n :/%"[seed >> 24 & 5];
		}
		ws_head_check(text, len, &head);
		cr_assert_leq(head.skip + head.len, len);
		cr_assert_eq(head.verdict == WS_HEAD_REFUSE, head.status != 0);
		cr_assert_leq(head.body_len, WS_BODY_MAX);
		free(text);
	}
}
