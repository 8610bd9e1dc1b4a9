/* SPDX-License-Identifier: MIT */
/* Frames through sockets, adapter and actor. */
#include "io/websocket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "support/ws_peer.h"
#include "wire/ws_frame.h"

#define TEXT (PEER_FIN | WS_OP_TEXT)
#define BINARY (PEER_FIN | WS_OP_BINARY)
#define PING (PEER_FIN | WS_OP_PING)
#define PONG (PEER_FIN | WS_OP_PONG)
#define CLOSE (PEER_FIN | WS_OP_CLOSE)

static struct ws_server server;

static void start_echo(void)
{
	ws_server_defaults(&server);
	ws_server_start(&server);
}

static void stop(void)
{
	ws_server_stop(&server);
}

TestSuite(websocket, .init = start_echo, .fini = stop, .timeout = 60);

Test(websocket, returns_a_frame_with_its_kind)
{
	const int fd = peer_open(server.port);

	peer_send_frame(fd, BINARY, "\0\1\2", 3);
	peer_expect(fd, BINARY, "\0\1\2", 3);
	peer_send_frame(fd, TEXT, "gr\xc3\xbc\xc3\x9f", 6);
	peer_expect(fd, TEXT, "gr\xc3\xbc\xc3\x9f", 6);
	peer_send_frame(fd, TEXT, "", 0);
	peer_expect(fd, TEXT, "", 0);
	close(fd);
}

Test(websocket, joins_fragments_and_answers_a_ping_between_them)
{
	const int fd = peer_open(server.port);

	peer_send_frame(fd, WS_OP_TEXT, "one ", 4);
	peer_send_frame(fd, PING, "between", 7);
	peer_send_frame(fd, WS_OP_CONTINUATION, "", 0);
	peer_send_frame(fd, WS_OP_CONTINUATION, "two ", 4);
	peer_send_frame(fd, PEER_FIN | WS_OP_CONTINUATION, "three", 5);
	peer_expect(fd, PONG, "between", 7);
	peer_expect(fd, TEXT, "one two three", 13);
	close(fd);
}

Test(websocket, answers_every_ping_in_its_place_among_the_frames)
{
	const int fd = peer_open(server.port);
	uint8_t all[300 * 32];
	size_t used = 0;
	char text[16];

	for (int i = 0; i < 300; i++) {
		const int n = snprintf(text, sizeof(text), "%d", i);

		used += peer_frame(all + used, i % 3 == 0 ? BINARY : PING, text, (size_t)n);
	}
	peer_send(fd, all, used);
	for (int i = 0; i < 300; i++) {
		const int n = snprintf(text, sizeof(text), "%d", i);

		peer_expect(fd, i % 3 == 0 ? BINARY : PONG, text, (size_t)n);
	}
	close(fd);
}

Test(websocket, takes_frames_byte_by_byte)
{
	const int fd = peer_open(server.port);
	uint8_t frame[64];
	const size_t len = peer_frame(frame, TEXT, "drop by drop", 12);

	for (size_t i = 0; i < len; i++) {
		peer_send(fd, frame + i, 1);
		usleep(1000);
	}
	peer_expect(fd, TEXT, "drop by drop", 12);
	close(fd);
}

Test(websocket, returns_big_messages_whole)
{
	const size_t sizes[] = { 125, 126, 65535, 65536, 65537, 1000000, 4 * 1024 * 1024 };
	const int fd = peer_open(server.port);
	uint8_t *bytes = malloc(4 * 1024 * 1024);

	for (size_t i = 0; i < 4 * 1024 * 1024; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	for (size_t i = 0; i < CX_COUNTOF(sizes); i++) {
		peer_send_frame(fd, BINARY, bytes, sizes[i]);
		peer_expect(fd, BINARY, bytes, sizes[i]);
	}
	free(bytes);
	close(fd);
}

Test(websocket, closes_a_message_over_the_limit_with_1009)
{
	static const uint8_t header[] = { BINARY, 0x80 | 127, 0, 0, 0, 0, 0,
		                          0x40,   0,          1, 1, 2, 3, 4 };
	const int fd = peer_open(server.port);
	const int slow = peer_open(server.port);

	peer_send(fd, header, sizeof(header)); /* 4 MiB + 1 announced */
	peer_expect_close(fd, 1009);
	close(fd);
	peer_send_frame(slow, WS_OP_BINARY, "first", 5); /* the same in fragments */
	peer_send(slow,
	          (const uint8_t[]){ PEER_FIN, 0x80 | 127, 0, 0, 0, 0, 0, 0x3f, 0xff, 0xfc },
	          10);
	peer_send(slow, "\1\2\3\4", 4);
	peer_expect_close(slow, 1009);
	close(slow);
}

Test(websocket, closes_what_breaks_the_protocol)
{
	static const struct {
		const char *bytes;
		size_t len;
		uint16_t code;
	} cases[] = {
		{ "\x82\x01x", 3, 1002 },                /* no mask */
		{ "\xc2\x81\1\2\3\4x", 7, 1002 },        /* RSV1 */
		{ "\x83\x81\1\2\3\4x", 7, 1002 },        /* opcode 3 */
		{ "\x09\x80\1\2\3\4", 6, 1002 },         /* a ping in parts */
		{ "\x80\x81\1\2\3\4x", 7, 1002 },        /* nothing to continue */
		{ "\x81\x81\0\0\0\0\xff", 7, 1007 },     /* not UTF-8 */
		{ "\x01\x82\0\0\0\0\xc0\x80", 8, 1007 }, /* the same, before the end */
		{ "\x88\x81\0\0\0\0\x03", 7, 1002 },     /* half a close code */
		{ "\x88\x82\0\0\0\0\x03\xed", 8, 1002 }, /* 1005 may not be sent */
	};

	for (size_t i = 0; i < CX_COUNTOF(cases); i++) {
		const int fd = peer_open(server.port);

		peer_send(fd, cases[i].bytes, cases[i].len);
		peer_expect_close(fd, cases[i].code);
		close(fd);
	}
}

Test(websocket, returns_the_close_code_then_ends_the_stream)
{
	int fd = peer_open(server.port);
	struct peer_got got;

	peer_send_frame(fd, CLOSE, "\x0f\xa1hello", 7);
	peer_expect_close(fd, 4001);
	close(fd);
	fd = peer_open(server.port);
	peer_send_frame(fd, CLOSE, "", 0);
	got = peer_next(fd);
	cr_assert_eq(got.first, CLOSE);
	cr_assert_eq(got.len, 0);
	cr_assert_eq(peer_next(fd).len, (size_t)-1);
	close(fd);
}

Test(websocket, frames_that_came_with_the_handshake_are_not_lost)
{
	const int fd = peer_connect(server.port);
	uint8_t all[1024];
	size_t used = strlen(peer_upgrade);
	char head[129];

	memcpy(all, peer_upgrade, used);
	used += peer_frame(all + used, BINARY, "early", 5);
	peer_send(fd, all, used);
	cr_assert_eq(recv(fd, head, sizeof(head), MSG_WAITALL), (ssize_t)sizeof(head));
	peer_expect(fd, BINARY, "early", 5);
	close(fd);
}

static bool nobody_is_left(const struct websocket_figures *f)
{
	return f->open == 0 && f->handshaking == 0;
}

/* Who closes at once may not have been accepted yet: an empty house is not enough. */
static bool all_came_and_left(const struct websocket_figures *f)
{
	return f->accepted == 60 && nobody_is_left(f);
}

Test(websocket, forgets_clients_however_they_leave)
{
	const struct linger hard = { .l_onoff = 1, .l_linger = 0 };
	struct websocket_figures f;

	for (int i = 0; i < 60; i++) {
		const int fd = i % 6 == 5 ? peer_connect(server.port) : peer_open(server.port);

		if (i % 6 == 1)
			peer_send_frame(fd, BINARY, "x", 1);
		if (i % 6 == 2)
			peer_send(fd, "\x82", 1);
		if (i % 6 == 3)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		if (i % 6 == 4)
			peer_send_frame(fd, CLOSE, "\x03\xe8", 2);
		close(fd);
	}
	cr_assert(peer_wait(all_came_and_left));
	websocket_figures(&f);
	cr_assert_eq(f.established, 50);
}

/* Flow: what a client sends and does not read back is bounded on our side. */
Test(websocket, stops_reading_from_a_client_that_does_not_read)
{
	const size_t frame_bytes = 10000;
	const int fd = peer_open(server.port);
	uint8_t *frame = malloc(frame_bytes + 14);
	uint8_t *payload = calloc(1, frame_bytes);
	struct websocket_figures f;
	unsigned sent = 0;
	size_t len, at = 0;
	struct peer_got got;

	for (;; sent++) { /* until neither side takes more */
		ssize_t n = 0;

		memcpy(payload, &sent, sizeof(sent));
		len = peer_frame(frame, BINARY, payload, frame_bytes);
		for (at = 0; at < len; at += (size_t)n) {
			for (int tries = 0; tries < 50; tries++) {
				n = send(fd, frame + at, len - at, MSG_DONTWAIT | MSG_NOSIGNAL);
				if (n > 0)
					break;
				usleep(10000);
			}
			if (n <= 0)
				break;
		}
		if (at < len)
			break;
		cr_assert_lt(sent, 20000, "200 MB were taken: nothing holds the client back");
	}
	websocket_figures(&f);
	cr_assert_lt(f.bytes_in - f.bytes_out, 262144 * 2 + 64 * frame_bytes,
	             "%lu bytes wait in memory", (unsigned long)(f.bytes_in - f.bytes_out));
	for (unsigned i = 0; i < sent; i++) {
		unsigned number;

		got = peer_next(fd);
		cr_assert_eq(got.len, frame_bytes);
		memcpy(&number, got.payload, sizeof(number));
		cr_assert_eq(number, i, "%u came in place of %u", number, i);
	}
	peer_send(fd, frame + at, len - at); /* the rest of the half frame */
	got = peer_next(fd);
	cr_assert_eq(got.len, frame_bytes);
	free(frame);
	free(payload);
	close(fd);
}

Test(websocket, many_clients_on_both_workers)
{
	int fds[300];
	char text[32];

	for (int i = 0; i < 300; i++)
		fds[i] = peer_open(server.port);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 300; i++) {
			const int n =
				snprintf(text, sizeof(text), "client %d round %d", i, round);

			peer_send_frame(fds[i], BINARY, text, (size_t)n);
		}
		for (int i = 0; i < 300; i++) {
			const int n =
				snprintf(text, sizeof(text), "client %d round %d", i, round);

			peer_expect(fds[i], BINARY, text, (size_t)n);
		}
	}
	for (int i = 0; i < 300; i++)
		close(fds[i]);
	cr_assert(peer_wait(nobody_is_left));
}

Test(websocket, drain_refuses_new_clients_and_closes_the_others_with_1012)
{
	int fds[20];

	for (int i = 0; i < 20; i++)
		fds[i] = peer_open(server.port);
	for (unsigned i = 0; i < WS_PEER_WORKERS; i++)
		cr_assert_eq(ws_listen_post(server.rt, server.adapters[i], WS_LISTEN_DRAIN, 0),
		             CX_OK);
	for (int i = 0; i < 20; i++) {
		struct peer_got got = peer_next(fds[i]);

		cr_assert_eq(got.first, CLOSE);
		cr_assert_eq(got.payload[0] << 8 | got.payload[1], 1012);
		peer_send_frame(fds[i], CLOSE, "\x03\xf4", 2);
		cr_assert_eq(peer_next(fds[i]).len, (size_t)-1);
		close(fds[i]);
	}
	cr_assert(peer_wait(nobody_is_left));
}

Test(websocket, stops_with_clients_in_every_state)
{
	uint8_t big[70000] = { 0 };

	(void)peer_connect(server.port);
	peer_text(peer_connect(server.port), "GET / HT");
	(void)peer_open(server.port);
	for (int i = 0; i < 50; i++)
		peer_send_frame(peer_open(server.port), BINARY, big, sizeof(big));
	peer_send(peer_open(server.port), "\x82\xfe", 2);
	/* the suite's fini stops the server; leaks and stray memory are the sanitizers' to find */
}
