/* SPDX-License-Identifier: MIT */
/* Many calls on one stream: our server with clients that break the rules. */
#include "io/grpc_client_fixture.h"
#include "support/grpc_peer.h"
#include "wire/grpc_many.h"

TestSuite(grpc_many_server, .init = defaults, .fini = stop, .timeout = 60);

static struct grpc_peer peer;

static void open_many(const char *path)
{
	start("http://127.0.0.1:%u", (struct grpc_client_conf){ 0 });
	grpc_peer_open(&peer, server.port);
	grpc_peer_headers(&peer, 1, H2_END_HEADERS, path, "application/grpc", NULL);
}

static size_t request(uint8_t *out, uint64_t id, uint64_t timeout_ms, const char *text)
{
	const size_t head = grpc_many_head(out, id, timeout_ms, strlen(text));

	memcpy(out + head, text, strlen(text));
	return head + strlen(text);
}

static void send_request(uint64_t id, const char *text)
{
	uint8_t out[200];
	const size_t len = request(out, id, 0, text);

	grpc_peer_frame(&peer, H2_DATA, 0, 1, out, len);
}

/* The first answer of the next frame; its bytes stay there. */
static struct grpc_many_answer next_answer(void)
{
	struct grpc_many_answer a;
	struct wire_slice message;

	do
		cr_assert(grpc_peer_next(&peer));
	while (peer.frame.type != H2_DATA);
	cr_assert(grpc_whole_message(wire_slice(peer.frame.payload, peer.frame.len), &message));
	cr_assert(grpc_many_read_answer(message, &a));
	return a;
}

Test(grpc_many_server, the_headers_come_before_there_is_a_call)
{
	open_many(TEST_MANY_ECHO);
	do
		cr_assert(grpc_peer_next(&peer));
	while (peer.frame.type != H2_HEADERS);
	cr_assert_not(peer.frame.flags & H2_END_STREAM);
	grpc_peer_close(&peer);
}

Test(grpc_many_server, takes_a_request_in_frames_of_one_byte_and_many_in_one_frame)
{
	struct grpc_many_answer a;
	uint8_t out[600];
	size_t len;

	open_many(TEST_MANY_ECHO);
	len = request(out, 7, 5000, "hello");
	for (size_t i = 0; i < len; i++)
		grpc_peer_frame(&peer, H2_DATA, 0, 1, out + i, 1);
	a = next_answer();
	cr_assert_eq(a.id, 7);
	cr_assert_eq(a.status, GRPC_OK);
	cr_assert(wire_slice_is(a.response, "hello"));
	len = request(out, 8, 0, "one");
	len += request(out + len, UINT64_MAX, 0, "two");
	len += request(out + len, 9, 0, "three");
	grpc_peer_frame(&peer, H2_DATA, 0, 1, out, len - 2); /* the last one is cut */
	grpc_peer_frame(&peer, H2_DATA, H2_END_STREAM, 1, out + len - 2, 2);
	{
		struct grpc_answer all;

		grpc_peer_answer(&peer, 1, &all);
		cr_assert_eq(all.status, GRPC_OK, "the stream ends with the last answer");
		cr_assert_eq(all.body_len, 3 * (5 + 2 + 2) + 9 + 3 + 3 + 5);
		free(all.body);
	}
	grpc_peer_close(&peer);
}

Test(grpc_many_server, without_a_request_in_it_or_over_the_limit_a_call_is_refused_alone)
{
	struct grpc_many_answer a;

	server.settings.max_streams = 2;
	open_many(TEST_MANY_LATER);
	grpc_peer_frame(&peer, H2_DATA, 0, 1, "\0\0\0\0\2\x08\x05", 7);
	a = next_answer();
	cr_assert_eq(a.id, 5);
	cr_assert_eq(a.status, GRPC_INVALID_ARGUMENT);
	cr_assert_gt(a.message.len, 0);
	send_request(1, "a");
	send_request(2, "b");
	send_request(3, "c");
	a = next_answer();
	cr_assert_eq(a.id, 3);
	cr_assert_eq(a.status, GRPC_RESOURCE_EXHAUSTED);
	cr_assert_eq(next_answer().status, GRPC_OK);
	grpc_peer_close(&peer);
}

Test(grpc_many_server, what_is_no_message_ends_the_stream)
{
	open_many(TEST_MANY_ECHO);
	grpc_peer_headers(&peer, 3, H2_END_HEADERS, TEST_MANY_ECHO, "application/grpc", NULL);
	grpc_peer_frame(&peer, H2_DATA, 0, 3, "\1\0\0\0\1\x08", 6);
	grpc_peer_expect(&peer, 3, GRPC_UNIMPLEMENTED);
	grpc_peer_headers(&peer, 5, H2_END_HEADERS, TEST_MANY_ECHO, "application/grpc", NULL);
	grpc_peer_frame(&peer, H2_DATA, 0, 5, "\0\0\x40\0\x21", 5); /* 4 MiB and 33 */
	grpc_peer_expect(&peer, 5, GRPC_RESOURCE_EXHAUSTED);
	grpc_peer_headers(&peer, 7, H2_END_HEADERS, TEST_MANY_ECHO, "application/grpc", NULL);
	grpc_peer_frame(&peer, H2_DATA, H2_END_STREAM, 7, "\0\0\0\0\2\x08", 6);
	grpc_peer_expect(&peer, 7, GRPC_INTERNAL);
	grpc_peer_frame(&peer, H2_DATA, 0, 1, "\0\0\0\0\1\x08", 6);
	grpc_peer_expect(&peer, 1, GRPC_INVALID_ARGUMENT);
	{
		const time_t began = time(NULL);

		while (grpc_peer_next(&peer))
			; /* what was under way would not count any more: the connection ends */
		cr_assert_lt(time(NULL) - began, 10, "not by the peer's patience");
	}
	grpc_peer_close(&peer);
}

Test(grpc_many_server, late_replies_of_a_stream_that_was_reset_are_dropped)
{
	open_many(TEST_MANY_LATER);
	for (uint64_t i = 0; i < 100; i++)
		send_request(i, "x");
	grpc_peer_frame(&peer, H2_RST_STREAM, 0, 1, "\0\0\0\x08", 4);
	grpc_peer_headers(&peer, 3, H2_END_HEADERS, TEST_MANY_LATER, "application/grpc", NULL);
	{
		uint8_t out[100];
		const size_t len = request(out, 77, 0, "y");

		grpc_peer_frame(&peer, H2_DATA, H2_END_STREAM, 3, out, len);
	}
	cr_assert_eq(next_answer().id, 77); /* in the same memory */
	grpc_peer_close(&peer);
}

Test(grpc_many_server, a_stream_that_is_held_open_ends_when_the_server_drains)
{
	open_many(TEST_MANY_LATER);
	send_request(1, "x");
	cr_assert_eq(next_answer().id, 1);
	grpc_test_drain(&server);
	grpc_peer_expect(&peer, 1, GRPC_UNAVAILABLE); /* what came meanwhile has no answer */
	grpc_peer_close(&peer);
}

/* Who goes on asking has no answers for that, and cannot keep the server from ending. */
Test(grpc_many_server, a_call_on_a_stream_that_is_to_end_is_refused)
{
	bool was_refused = false;

	open_many(TEST_MANY_LATER);
	send_request(0, "x");
	cr_assert_eq(next_answer().id, 0);
	for (uint64_t id = 1; id < 20; id++)
		send_request(id, "x");
	grpc_test_drain(&server);
	for (uint64_t id = 100; id < 1000 && grpc_peer_next(&peer); id++) {
		struct grpc_many_answer a;
		struct wire_slice message;

		if (peer.frame.type == H2_PING && !(peer.frame.flags & H2_ACK))
			grpc_peer_frame(&peer, H2_PING, H2_ACK, 0, peer.frame.payload, 8);
		if (peer.frame.type == H2_PING || peer.frame.type == H2_GOAWAY)
			send_request(id, "late");
		if (peer.frame.type == H2_DATA &&
		    grpc_whole_message(wire_slice(peer.frame.payload, peer.frame.len),
		                       &message) &&
		    grpc_many_read_answer(message, &a) && a.id >= 100)
			was_refused |= a.status == GRPC_UNAVAILABLE;
		if (peer.frame.type == H2_HEADERS && (peer.frame.flags & H2_END_STREAM))
			break;
	}
	cr_assert(was_refused);
	grpc_peer_close(&peer);
}

/* A peer that asks and does not read has no more answers waiting than twice the calls it may have. */
Test(grpc_many_server, who_asks_and_does_not_read_is_ended)
{
	const uint8_t no_window[6] = { 0, 4, 0, 0, 0, 0 }; /* INITIAL_WINDOW_SIZE 0 */
	struct wire_slice rest, message;
	unsigned answers = 0;
	struct grpc_answer a;

	server.settings.max_streams = 4;
	open_many(TEST_MANY_ECHO);
	grpc_peer_frame(&peer, H2_SETTINGS, 0, 0, no_window, sizeof(no_window));
	for (uint64_t i = 0; i < 20; i++) {
		send_request(i, "x");
		usleep(5000);
	}
	grpc_peer_frame(&peer, H2_WINDOW_UPDATE, 0, 1, "\0\0\xff\xff", 4);
	grpc_peer_answer(&peer, 1, &a);
	cr_assert_eq(a.status, GRPC_RESOURCE_EXHAUSTED);
	cr_assert_str_eq(a.message, "answers are not read");
	rest = wire_slice(a.body, a.body_len);
	for (; grpc_whole_message(rest, &message); answers++)
		rest = wire_slice(message.at + message.len,
		                  rest.len - GRPC_PREFIX_BYTES - message.len);
	cr_assert_eq(answers, 2 * 4, "those that waited, whatever they say");
	free(a.body);
	grpc_peer_close(&peer);
}
