/* SPDX-License-Identifier: MIT */
/* Calls through sockets, adapter and service; and peers that break the rules. */
#include "io/grpc_server.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <nghttp2/nghttp2.h>

#include <criterion/criterion.h>

#include "support/grpc_peer.h"
#include "support/grpc_service.h"

static struct grpc_test_server server;
static struct grpc_peer peer;

static void start_with_defaults(void)
{
	const char *why;

	grpc_test_defaults(&server);
	why = grpc_test_make(&server);
	if (why == NULL)
		why = grpc_test_run(&server);
	cr_assert_null(why, "%s", why);
}

static void stop(void)
{
	grpc_test_stop(&server);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void open_stream(uint32_t id, const char *path, const char *name, const char *value)
{
	const char *const more[] = { name, value, NULL };

	grpc_peer_headers(&peer, id, H2_END_HEADERS, path, "application/grpc", more);
}

TestSuite(grpc_server, .init = start_with_defaults, .fini = stop, .timeout = 60);

Test(grpc_server, answers_a_call_with_its_message_and_status_in_trailers)
{
	struct grpc_answer a;

	grpc_peer_open(&peer, server.port);
	grpc_peer_call(&peer, 1, TEST_ECHO, "hello", 5);
	grpc_peer_answer(&peer, 1, &a);
	cr_assert_str_eq(a.http, "200");
	cr_assert_eq(a.status, GRPC_OK);
	cr_assert_not(a.is_trailers_only);
	cr_assert_eq(a.body_len, 10);
	cr_assert_arr_eq(a.body, "\0\0\0\0\5hello", 10);
	free(a.body);
	grpc_peer_call(&peer, 3, TEST_ECHO, NULL, 0);
	grpc_peer_answer(&peer, 3, &a);
	cr_assert_eq(a.status, GRPC_OK);
	cr_assert_eq(a.body_len, 5);
	free(a.body);
	grpc_peer_close(&peer);
}

Test(grpc_server, an_error_of_the_service_is_trailers_only_with_its_text)
{
	struct grpc_answer a;

	grpc_peer_open(&peer, server.port);
	grpc_peer_call(&peer, 1, TEST_FAIL, "x", 1);
	grpc_peer_answer(&peer, 1, &a);
	cr_assert(a.is_trailers_only);
	cr_assert_eq(a.status, GRPC_INVALID_ARGUMENT);
	cr_assert_str_eq(a.message, "gr\xc3\xbc\xc3\x9f 100%");
	cr_assert_eq(a.body_len, 0);
	grpc_peer_close(&peer);
}

Test(grpc_server, an_unknown_method_is_unimplemented)
{
	struct grpc_answer a;

	grpc_peer_open(&peer, server.port);
	grpc_peer_call(&peer, 1, "/test.Echo/None", "x", 1);
	grpc_peer_answer(&peer, 1, &a);
	cr_assert(a.is_trailers_only);
	cr_assert_eq(a.status, GRPC_UNIMPLEMENTED);
	grpc_peer_close(&peer);
}

Test(grpc_server, another_content_type_gets_415_and_another_method_405)
{
	static const char *const wrong[] = { "application/json", "application/grpcx", NULL };
	struct grpc_answer a;
	uint32_t id = 1;

	grpc_peer_open(&peer, server.port);
	for (int i = 0; i < 3; i++, id += 2) {
		grpc_peer_headers(&peer, id, H2_END_HEADERS | H2_END_STREAM, TEST_ECHO,
		                  wrong[i], NULL);
		grpc_peer_answer(&peer, id, &a);
		cr_assert_str_eq(a.http, "415");
		cr_assert_eq(a.status, -1);
		free(a.body);
	}
	grpc_peer_frame(&peer, H2_HEADERS, H2_END_HEADERS | H2_END_STREAM, id,
	                "\x82\x84\x86\x41\x01h", 6); /* GET / http, authority h */
	grpc_peer_answer(&peer, id, &a);
	cr_assert_str_eq(a.http, "405", "reset %u", a.reset);
	free(a.body);
	grpc_peer_call(&peer, id + 2, TEST_ECHO, "x", 1);
	grpc_peer_expect(&peer, id + 2, GRPC_OK);
	grpc_peer_close(&peer);
}

Test(grpc_server, content_types_with_a_format_are_taken)
{
	grpc_peer_open(&peer, server.port);
	grpc_peer_headers(&peer, 1, H2_END_HEADERS, TEST_ECHO, "application/grpc+proto", NULL);
	grpc_peer_message(&peer, 1, H2_END_STREAM, 0, "x", 1);
	grpc_peer_expect(&peer, 1, GRPC_OK);
	grpc_peer_close(&peer);
}

Test(grpc_server, ends_a_call_at_its_deadline)
{
	const uint64_t began_ms = now_ms();
	uint64_t took_ms;

	grpc_peer_open(&peer, server.port);
	open_stream(1, TEST_NEVER, "grpc-timeout", "200m");
	grpc_peer_message(&peer, 1, H2_END_STREAM, 0, "x", 1);
	grpc_peer_expect(&peer, 1, GRPC_DEADLINE_EXCEEDED);
	took_ms = now_ms() - began_ms;
	cr_assert(took_ms >= 200 && took_ms < 10000, "%lu ms", (unsigned long)took_ms);
	open_stream(3, TEST_ECHO, "grpc-timeout", "150m"); /* the message never comes */
	grpc_peer_expect(&peer, 3, GRPC_DEADLINE_EXCEEDED);
	open_stream(5, TEST_ECHO, "grpc-timeout", "soon");
	grpc_peer_message(&peer, 5, H2_END_STREAM, 0, "x", 1);
	grpc_peer_expect(&peer, 5, GRPC_INTERNAL);
	grpc_peer_close(&peer);
}

Test(grpc_server, a_compressed_message_is_unimplemented_and_says_what_is_taken)
{
	struct grpc_answer a;

	grpc_peer_open(&peer, server.port);
	open_stream(1, TEST_ECHO, "grpc-encoding", "gzip");
	grpc_peer_message(&peer, 1, H2_END_STREAM, 1, "x", 1);
	grpc_peer_answer(&peer, 1, &a);
	cr_assert_eq(a.status, GRPC_UNIMPLEMENTED);
	cr_assert_str_eq(a.accept_encoding, "identity");
	grpc_peer_close(&peer);
}

Test(grpc_server, refuses_a_message_over_the_limit_by_its_announcement_alone)
{
	struct grpc_answer a;

	grpc_peer_open(&peer, server.port);
	grpc_peer_headers(&peer, 1, H2_END_HEADERS, TEST_ECHO, "application/grpc", NULL);
	grpc_peer_frame(&peer, H2_DATA, 0, 1, "\0\0\x40\0\1", 5); /* 4 MiB + 1 */
	grpc_peer_answer(&peer, 1, &a);
	cr_assert_eq(a.status, GRPC_RESOURCE_EXHAUSTED);
	cr_assert(grpc_peer_next(&peer)); /* and the peer may stop sending */
	cr_assert_eq(peer.frame.type, H2_RST_STREAM);
	cr_assert_eq(peer.frame.payload[3], 0);
	grpc_peer_close(&peer);
}

/* 32 MiB announced and not sent is what one connection may hold. */
Test(grpc_server, bounds_what_is_announced_and_does_not_come)
{
	grpc_peer_open(&peer, server.port);
	for (uint32_t i = 0; i < 9; i++) {
		grpc_peer_headers(&peer, 1 + 2 * i, H2_END_HEADERS, TEST_ECHO,
		                  "application/grpc", NULL);
		grpc_peer_frame(&peer, H2_DATA, 0, 1 + 2 * i, "\0\0\x40\0\0", 5);
	}
	grpc_peer_expect(&peer, 17, GRPC_RESOURCE_EXHAUSTED);
	grpc_peer_frame(&peer, H2_RST_STREAM, 0, 1, "\0\0\0\x08", 4); /* frees its 4 MiB */
	grpc_peer_headers(&peer, 19, H2_END_HEADERS, TEST_ECHO, "application/grpc", NULL);
	grpc_peer_frame(&peer, H2_DATA, 0, 19, "\0\0\x40\0\0", 5);
	grpc_peer_call(&peer, 21, TEST_ECHO, "x", 1);
	grpc_peer_expect(&peer, 21, GRPC_OK);
	grpc_peer_headers(&peer, 23, H2_END_HEADERS, TEST_ECHO, "application/grpc", NULL);
	grpc_peer_frame(&peer, H2_DATA, 0, 23, "\0\0\x40\0\0", 5);
	grpc_peer_expect(&peer, 23, GRPC_RESOURCE_EXHAUSTED);
	grpc_peer_close(&peer);
}

Test(grpc_server, a_call_without_or_with_two_or_half_a_message_is_refused)
{
	grpc_peer_open(&peer, server.port);
	grpc_peer_headers(&peer, 1, H2_END_HEADERS | H2_END_STREAM, TEST_ECHO,
	                  "application/grpc", NULL);
	grpc_peer_expect(&peer, 1, GRPC_UNIMPLEMENTED);
	grpc_peer_headers(&peer, 3, H2_END_HEADERS, TEST_ECHO, "application/grpc", NULL);
	grpc_peer_message(&peer, 3, 0, 0, "x", 1);
	grpc_peer_message(&peer, 3, H2_END_STREAM, 0, "y", 1);
	grpc_peer_expect(&peer, 3, GRPC_UNIMPLEMENTED);
	grpc_peer_headers(&peer, 5, H2_END_HEADERS, TEST_ECHO, "application/grpc", NULL);
	grpc_peer_frame(&peer, H2_DATA, H2_END_STREAM, 5, "\0\0\0\0\5he", 7);
	grpc_peer_expect(&peer, 5, GRPC_INTERNAL);
	grpc_peer_close(&peer);
}

Test(grpc_server, takes_a_message_in_frames_of_one_byte)
{
	static const char bytes[] = "\0\0\0\0\5hello";
	struct grpc_answer a;

	grpc_peer_open(&peer, server.port);
	grpc_peer_headers(&peer, 1, H2_END_HEADERS, TEST_ECHO, "application/grpc", NULL);
	for (int i = 0; i < 10; i++)
		grpc_peer_frame(&peer, H2_DATA, i == 9 ? H2_END_STREAM : 0, 1, &bytes[i], 1);
	grpc_peer_answer(&peer, 1, &a);
	cr_assert_eq(a.body_len, 10);
	cr_assert_arr_eq(a.body, bytes, 10);
	free(a.body);
	grpc_peer_close(&peer);
}

Test(grpc_server, too_many_header_bytes_are_refused)
{
	char big[12001];

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	grpc_peer_open(&peer, server.port);
	open_stream(1, TEST_ECHO, "a", big);
	grpc_peer_message(&peer, 1, H2_END_STREAM, 0, "x", 1);
	grpc_peer_expect(&peer, 1, GRPC_OK);
	grpc_peer_headers(&peer, 3, 0, TEST_ECHO, "application/grpc",
	                  (const char *const[]){ "a", big, NULL });
	big[0] = 0;
	big[1] = 1;
	big[2] = 'b';
	memcpy(big + 3, "\x7f\xf1\x2d", 3); /* 6000 = 127 + 0x71 + (0x2d << 7) */
	grpc_peer_frame(&peer, H2_CONTINUATION, H2_END_HEADERS, 3, big, 6 + 6000);
	grpc_peer_expect(&peer, 3, GRPC_RESOURCE_EXHAUSTED);
	grpc_peer_close(&peer);
}

Test(grpc_server, answers_pings_but_not_a_flood_of_them)
{
	grpc_peer_open(&peer, server.port);
	for (int i = 0; i < 100; i++)
		grpc_peer_frame(&peer, H2_PING, 0, 0, "12345678", 8);
	for (int i = 0; i < 100;) {
		cr_assert(grpc_peer_next(&peer));
		i += peer.frame.type == H2_PING;
	}
	for (int i = 0; i < 3000; i++)
		grpc_peer_frame(&peer, H2_PING, 0, 0, "12345678", 8);
	cr_assert(grpc_peer_is_sent_away(&peer, 11)); /* ENHANCE_YOUR_CALM */
	grpc_peer_close(&peer);
}

Test(grpc_server, a_flood_of_resets_ends_the_connection)
{
	grpc_peer_open(&peer, server.port);
	for (uint32_t i = 0; i < 4000; i++) {
		grpc_peer_headers(&peer, 1 + 2 * i, H2_END_HEADERS, TEST_NEVER,
		                  "application/grpc", NULL);
		grpc_peer_frame(&peer, H2_RST_STREAM, 0, 1 + 2 * i, "\0\0\0\x08", 4);
	}
	while (grpc_peer_next(&peer))
		;
	cr_assert_geq(peer.goaways, 1);
	grpc_peer_close(&peer);
}

static bool has_refused_nobody(const struct grpc_server_figures *f)
{
	return f->open == 0;
}

Test(grpc_server, what_is_not_http2_ends_the_connection)
{
	static const char *const bytes[] = { "GET / HTTP/1.1\r\n\r\n",
		                             "PRI * HTTP/2.0\r\n\r\nXX",
		                             "\x16\x03\x01\x02\x00\x01\x00\x01" };

	char all[64];

	for (int i = 0; i < 3; i++) {
		grpc_peer_connect(&peer, server.port);
		memset(all, 'x', sizeof(all)); /* a frame header and more */
		memcpy(all, bytes[i], strlen(bytes[i]));
		grpc_peer_send(&peer, all, sizeof(all));
		while (grpc_peer_next(&peer))
			;
		grpc_peer_close(&peer);
	}
	cr_assert(grpc_peer_wait(has_refused_nobody));
}

Test(grpc_server, has_a_thousand_calls_in_flight_on_one_connection)
{
	const uint64_t began_ms = now_ms();

	grpc_peer_open(&peer, server.port);
	for (uint32_t i = 0; i < 1000; i++)
		grpc_peer_call(&peer, 1 + 2 * i, TEST_LATER, &i, sizeof(i));
	for (unsigned ended = 0; ended < 1000;) {
		cr_assert(grpc_peer_next(&peer));
		cr_assert_neq(peer.frame.type, H2_RST_STREAM);
		ended += peer.frame.type == H2_HEADERS &&
		         (peer.frame.flags & H2_END_STREAM) != 0;
	}
	cr_assert_lt(now_ms() - began_ms, 40000, "one after the other");
	grpc_peer_close(&peer);
}

Test(grpc_server, refuses_the_streams_over_the_limit_it_told)
{
	unsigned refused = 0;

	grpc_peer_open(&peer, server.port);
	for (uint32_t i = 0; i < 1030; i++)
		grpc_peer_call(&peer, 1 + 2 * i, TEST_NEVER, "x", 1);
	grpc_peer_frame(&peer, H2_PING, 0, 0, "all sent", 8);
	for (int pings = 0; pings < 2;) { /* the answer to the first one overtakes */
		cr_assert(grpc_peer_next(&peer));
		if (peer.frame.type == H2_PING && pings++ == 0)
			grpc_peer_frame(&peer, H2_PING, 0, 0, "all read", 8);
		refused += peer.frame.type == H2_RST_STREAM && peer.frame.payload[3] == 7;
	}
	cr_assert_eq(refused, 6, "%u refused", refused);
	grpc_peer_close(&peer);
}

/* The answers wait until the peer opens its window, and others are served meanwhile. */
Test(grpc_server, a_big_answer_waits_for_the_window_of_the_peer)
{
	static const uint8_t more[] = { 0, 0x20, 0, 0 }; /* 2 MiB */
	struct grpc_answer a;

	grpc_peer_open(&peer, server.port);
	grpc_peer_call(&peer, 1, TEST_BIG, "x", 1);
	grpc_peer_frame(&peer, H2_PING, 0, 0, "how far?", 8);
	do {
		cr_assert(grpc_peer_next(&peer));
	} while (peer.frame.type != H2_PING);
	grpc_peer_frame(&peer, H2_WINDOW_UPDATE, 0, 0, more, 4);
	grpc_peer_frame(&peer, H2_WINDOW_UPDATE, 0, 1, more, 4);
	grpc_peer_answer(&peer, 1, &a);
	cr_assert_eq(a.status, GRPC_OK);
	cr_assert_gt(a.body_len, 900000);
	free(a.body);
	grpc_peer_close(&peer);
}

Test(grpc_server, drains_calls_under_way_and_says_where_it_ends)
{
	grpc_peer_open(&peer, server.port);
	grpc_peer_call(&peer, 1, TEST_LATER, "x", 1);
	while (peer.frame.type != H2_PING) { /* SETTINGS are done when it comes back */
		grpc_peer_frame(&peer, H2_PING, 0, 0, "12345678", 8);
		cr_assert(grpc_peer_next(&peer));
	}
	grpc_test_drain(&server);
	do {
		cr_assert(grpc_peer_next(&peer));
	} while (peer.goaways == 0);
	cr_assert_eq(peer.last_goaway, 0x7fffffff);
	grpc_peer_call(&peer, 3, TEST_ECHO, "y", 1); /* on its way when the first one came */
	grpc_peer_expect(&peer, 1, GRPC_OK);
	while (grpc_peer_next(&peer))
		;
	cr_assert_geq(peer.goaways, 2);
	cr_assert_eq(peer.last_goaway, 3);
	cr_assert_eq(peer.goaway_code, 0);
	cr_assert(grpc_peer_wait(has_refused_nobody));
	grpc_peer_close(&peer);
}

Test(grpc_server, calls_of_a_service_that_ended_are_unavailable)
{
	grpc_peer_open(&peer, server.port);
	grpc_peer_call(&peer, 1, TEST_NEVER, "x", 1);
	grpc_peer_call(&peer, 3, TEST_DIE, "x", 1);
	grpc_peer_expect(&peer, 1, GRPC_UNAVAILABLE);
	grpc_peer_call(&peer, 5, TEST_ECHO, "x", 1);
	grpc_peer_expect(&peer, 5, GRPC_UNAVAILABLE);
	grpc_peer_close(&peer);
}

Test(grpc_server, stops_with_peers_in_every_state)
{
	struct grpc_peer peers[6];

	grpc_peer_connect(&peers[0], server.port);
	for (int i = 1; i < 6; i++)
		grpc_peer_open(&peers[i], server.port);
	grpc_peer_headers(&peers[1], 1, 0, TEST_ECHO, "application/grpc", NULL);
	grpc_peer_headers(&peers[2], 1, H2_END_HEADERS, TEST_ECHO, "application/grpc", NULL);
	grpc_peer_frame(&peers[2], H2_DATA, 0, 1, "\0\0\x01\0\0abc", 8);
	grpc_peer_call(&peers[3], 1, TEST_NEVER, "x", 1);
	grpc_peer_call(&peers[4], 1, TEST_BIG, "x", 1);
	grpc_peer_call(&peers[5], 1, TEST_LATER, "x", 1);
	usleep(50000);
	for (int i = 0; i < 6; i++)
		nghttp2_hd_inflate_del(peers[i].inflater);
	/* the suite's fini stops the server; leaks and stray memory are the sanitizers' to find */
}
