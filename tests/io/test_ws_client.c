/* SPDX-License-Identifier: MIT */
/* The server's end is driven by the test itself, byte by byte where that matters: loop and
 * server share one thread, so every case is deterministic. */
#include "io/ws_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "io/ws_client_frame.h"
#include "wire/ws_frame.h"

#define SECOND_NS UINT64_C(1000000000)
#define BIG (300 * 1024)

struct seen {
	struct ws_client *conn;
	int opened, ended, messages, pongs;
	bool drop_at_message;
	enum ws_client_op op;
	uint8_t *bytes; /* of the last message */
	size_t len;
	struct ws_client_end end;
};

static struct ws_client_loop *loop;
static struct ws_client_target *target;
static int listener, peer;
static char url[64];
static struct seen seen;

static void on_open(struct ws_client *conn)
{
	((struct seen *)ws_client_user(conn))->opened++;
}

static void on_message(struct ws_client *conn, enum ws_client_op op, const uint8_t *data,
                       size_t len)
{
	struct seen *s = ws_client_user(conn);

	if (op == WS_CLIENT_PONG) {
		s->pongs++;
		return;
	}
	s->messages++;
	s->op = op;
	free(s->bytes);
	s->bytes = malloc(len + 1);
	memcpy(s->bytes, data, len);
	s->len = len;
	if (s->drop_at_message)
		ws_client_drop(conn);
}

static void on_end(struct ws_client *conn, const struct ws_client_end *end)
{
	struct seen *s = ws_client_user(conn);

	s->ended++;
	s->end = *end;
}

static const struct ws_client_handlers handlers = {
	.on_open = on_open,
	.on_message = on_message,
	.on_end = on_end,
};

/* Turns until nothing more happens for a while. */
static void settle(void)
{
	for (int i = 0; i < 4; i++)
		ws_client_loop_turn(loop, ws_client_now_ns() + SECOND_NS / 500);
}

/* A busy kernel may take longer to carry bytes from one socket to the other. */
static bool comes(const int *count, int n)
{
	settle();
	for (int i = 0; i < 5000 && *count < n; i++)
		ws_client_loop_turn(loop, ws_client_now_ns() + SECOND_NS / 500);
	return *count == n;
}

static void set_up(void)
{
	const struct ws_client_loop_conf conf = { .connections = 4, .seed = 7 };
	struct sockaddr_in address = { .sin_family = AF_INET,
		                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	struct ws_client_target_conf where = { .url = url, .timeout_ms = 1000 };
	char why[200];

	listener = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert(bind(listener, (const void *)&address, sizeof(address)) == 0);
	cr_assert(listen(listener, 8) == 0);
	getsockname(listener, (void *)&address, &len);
	snprintf(url, sizeof(url), "ws://127.0.0.1:%u/ws", ntohs(address.sin_port));
	cr_assert(ws_client_target_open(&where, &target, why, sizeof(why)) == CX_OK, "%s", why);
	close(accept(listener, NULL, NULL)); /* the one that only looked */
	cr_assert(ws_client_loop_new(&conf, &loop) == CX_OK);
	memset(&seen, 0, sizeof(seen));
}

static void tear_down(void)
{
	ws_client_loop_free(loop);
	ws_client_target_close(target);
	free(seen.bytes);
	close(peer);
	close(listener);
}

/* Bytes the client has sent, at most one read's worth; 0 when there are none. */
static size_t from_client(uint8_t *to, size_t size)
{
	struct pollfd waiting = { .fd = peer, .events = POLLIN };
	ssize_t got;

	if (poll(&waiting, 1, 0) != 1)
		return 0;
	got = recv(peer, to, size, 0);
	return got > 0 ? (size_t)got : 0;
}

/* The same, after turns, when some are to come. */
static size_t hear_client(uint8_t *to, size_t size)
{
	size_t got = 0;

	settle();
	for (int i = 0; i < 5000 && (got = from_client(to, size)) == 0; i++)
		ws_client_loop_turn(loop, ws_client_now_ns() + SECOND_NS / 500);
	return got;
}

static void to_client(const void *data, size_t len)
{
	cr_assert(send(peer, data, len, MSG_NOSIGNAL) == (ssize_t)len);
}

/* Opens a connection up to the request, which is in request[]. */
static void start_upgrade(char *request, size_t size)
{
	const int on = 1;
	size_t len = 0;

	cr_assert(ws_client_open(loop, target, &handlers, &seen, &seen.conn) == CX_OK);
	settle();
	peer = accept(listener, NULL, NULL);
	setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	len = hear_client((uint8_t *)request, size - 1);
	request[len] = '\0';
	cr_assert(strstr(request, "\r\n\r\n") != NULL);
}

static size_t answer_for(const char *request, char *answer, size_t size)
{
	const char *key = strstr(request, "Sec-WebSocket-Key: ");
	char accept_key[WS_ACCEPT_LEN];

	cr_assert(key != NULL);
	cr_assert(ws_accept_key(wire_slice(key + 19, 24), accept_key));
	return (size_t)snprintf(answer, size,
	                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
	                        "Connection: Upgrade\r\nsec-websocket-ACCEPT:  %.*s\r\n\r\n",
	                        WS_ACCEPT_LEN, accept_key);
}

static void open_connection(void)
{
	char request[2048];
	char answer[512];

	start_upgrade(request, sizeof(request));
	to_client(answer, answer_for(request, answer, sizeof(answer)));
	cr_assert(comes(&seen.opened, 1));
}

/* Reads one masked frame at data.  Returns its length and leaves the payload unmasked. */
static size_t unmask(uint8_t *data, size_t size, uint8_t *op, uint8_t **payload, size_t *len)
{
	struct ws_parser parser;
	struct ws_event event;
	size_t used;

	ws_parser_init(&parser, WS_ROLE_SERVER, BIG);
	used = ws_parser_next(&parser, data, size, &event);
	cr_assert(event.type != WS_EVENT_FAIL);
	*op = data[0] & 15;
	*payload = event.at;
	*len = event.len;
	return used;
}

static size_t put_digits(uint8_t *to, int number)
{
	char text[16];

	snprintf(text, sizeof(text), "%010d", number);
	memcpy(to, text, 10);
	return 10;
}

TestSuite(ws_client, .init = set_up, .fini = tear_down, .timeout = 20);
TestSuite(ws_client_frame, .timeout = 5);
TestSuite(ws_client_target, .timeout = 20);

Test(ws_client_frame, reads_every_length_form_and_waits_for_the_rest)
{
	static const size_t lengths[] = { 0, 1, 125, 126, 127, 65535, 65536, 100000 };
	static uint8_t bytes[100000 + WS_SERVER_HEADER_MAX];

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		const size_t header = ws_header_write(bytes, WS_OP_BINARY, lengths[i]);
		const size_t whole = header + lengths[i];
		struct ws_client_frame frame;

		for (size_t cut = 0; cut < whole; cut += cut < 20 ? 1 : whole / 7 + 1)
			cr_assert(ws_client_frame_get(bytes, cut, &frame) == 0,
			          "%zu of %zu bytes are not a frame", cut, whole);
		cr_assert(ws_client_frame_get(bytes, sizeof(bytes), &frame) == (ssize_t)whole);
		cr_assert(eq(sz, frame.len, lengths[i]));
		cr_assert(eq(ptr, (void *)(uintptr_t)frame.payload, bytes + header));
		cr_assert(eq(u8, frame.op, WS_OP_BINARY));
		cr_assert(frame.is_final);
	}
}

Test(ws_client_frame, refuses_what_no_server_may_send)
{
	static const uint8_t bad[][10] = {
		{ 0x82, 0x81, 0, 0, 0, 0, 0 },            /* masked */
		{ 0xc2, 0x00 },                           /* a reserved bit */
		{ 0x92, 0x00 },                           /* another */
		{ 0x09, 0x00 },                           /* a ping in parts */
		{ 0x88, 126, 0, 126 },                    /* a close frame of 126 bytes */
		{ 0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 1 }, /* 1 MiB and one byte */
		{ 0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0 }, /* 2^63 */
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct ws_client_frame frame;

		cr_assert(ws_client_frame_get(bad[i], sizeof(bad[i]), &frame) == -1, "case %zu",
		          i);
	}
}

Test(ws_client_target, refuses_what_is_no_url)
{
	static const char *const bad[] = {
		"",          "localhost:80",       "ftp://host/",      "ws://",
		"ws:///x",   "ws://host:0/",       "ws://host:65536/", "ws://host:8o/",
		"ws://[::1", "ws://user@host/",    "ws://ho st/",      "ws://host:",
		"ws://:80/", "ws://host/\r\nA: b",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct ws_client_target_conf conf = { .url = bad[i], .timeout_ms = 100 };
		char why[200] = "";

		cr_assert(ws_client_target_open(&conf, &target, why, sizeof(why)) == CX_EINVAL,
		          "\"%s\"", bad[i]);
		cr_assert(strlen(why) > 0);
	}
}

Test(ws_client_target, says_that_nothing_listens)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	const int fd =
		socket(AF_INET, SOCK_STREAM, 0); /* bound, so nobody else's; not listening */
	struct ws_client_target_conf conf = { .url = url, .timeout_ms = 1000 };
	char why[200] = "";

	cr_assert(bind(fd, (const void *)&address, sizeof(address)) == 0);
	getsockname(fd, (void *)&address, &len);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u", ntohs(address.sin_port));
	cr_assert(ws_client_target_open(&conf, &target, why, sizeof(why)) == CX_EIO);
	cr_assert(strstr(why, "nothing listens") != NULL, "%s", why);
	close(fd);
}

Test(ws_client, upgrades_also_when_the_answer_comes_byte_by_byte)
{
	char request[2048];
	char answer[512];
	size_t len;

	start_upgrade(request, sizeof(request));
	cr_assert(strncmp(request, "GET /ws HTTP/1.1\r\n", 18) == 0, "%s", request);
	len = answer_for(request, answer, sizeof(answer));
	for (size_t i = 0; i < len; i++) {
		cr_assert(eq(int, seen.opened, 0));
		to_client(answer + i, 1);
		ws_client_loop_turn(loop, ws_client_now_ns() + SECOND_NS);
	}
	cr_assert(comes(&seen.opened, 1));
}

Test(ws_client, takes_a_frame_that_comes_with_the_answer)
{
	char request[2048];
	char answer[512];
	size_t len;

	start_upgrade(request, sizeof(request));
	len = answer_for(request, answer, sizeof(answer));
	memcpy(answer + len, "\x82\x02hi", 4);
	to_client(answer, len + 4);
	cr_assert(comes(&seen.opened, 1));
	cr_assert(comes(&seen.messages, 1));
	cr_assert(eq(int, memcmp(seen.bytes, "hi", 2), 0));
}

Test(ws_client, ends_when_the_upgrade_is_refused)
{
	static const char answer[] =
		"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
	char request[2048];

	start_upgrade(request, sizeof(request));
	to_client(answer, sizeof(answer) - 1);
	cr_assert(comes(&seen.ended, 1));
	cr_assert(eq(int, (int)seen.end.kind, WS_CLIENT_END_HTTP));
	cr_assert(eq(int, seen.end.http_status, 503));
	cr_assert(strstr(seen.end.text, "503 Service Unavailable") != NULL);
}

Test(ws_client, ends_when_the_accept_key_is_wrong)
{
	char request[2048];
	char answer[512];
	size_t len;

	start_upgrade(request, sizeof(request));
	len = answer_for(request, answer, sizeof(answer));
	answer[len - 10] = answer[len - 10] == 'x' ? 'y' : 'x';
	to_client(answer, len);
	settle();
	cr_assert(eq(int, seen.opened, 0));
	cr_assert(comes(&seen.ended, 1));
	cr_assert(eq(int, (int)seen.end.kind, WS_CLIENT_END_HTTP));
}

Test(ws_client, sends_a_turns_frames_in_one_write_each_masked_anew)
{
	uint8_t bytes[256];
	uint8_t *payload;
	uint8_t op;
	size_t len;
	size_t got;
	size_t first;

	open_connection();
	ws_client_send(seen.conn, WS_CLIENT_BINARY, "first message", 13);
	ws_client_send(seen.conn, WS_CLIENT_TEXT, "first message", 13);
	cr_assert(eq(sz, from_client(bytes, sizeof(bytes)), 0),
	          "nothing leaves before the turn");
	got = hear_client(bytes, sizeof(bytes));
	cr_assert(eq(sz, got, 2 * (6 + 13)), "one segment");
	cr_assert(ne(int, memcmp(bytes + 2, bytes + 21, 4), 0), "masks differ");
	cr_assert(ne(int, memcmp(bytes + 6, "first message", 13), 0), "masked");
	first = unmask(bytes, got, &op, &payload, &len);
	cr_assert(eq(sz, len, 13));
	cr_assert(eq(u8, op, WS_CLIENT_BINARY));
	cr_assert(eq(int, memcmp(payload, "first message", 13), 0));
	unmask(bytes + first, got - first, &op, &payload, &len);
	cr_assert(eq(u8, op, WS_CLIENT_TEXT));
	cr_assert(eq(int, memcmp(payload, "first message", 13), 0));
}

Test(ws_client, keeps_what_the_socket_does_not_take)
{
	static uint8_t out[BIG];
	static uint8_t in[4 * (BIG + WS_HEADER_MAX)];
	const size_t whole = 4 * (sizeof(out) + WS_HEADER_MAX);
	const int small = 4096;
	size_t got = 0;
	size_t at = 0;

	open_connection();
	setsockopt(peer, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 251);
	for (int i = 0; i < 4; i++)
		ws_client_send(seen.conn, WS_CLIENT_BINARY, out, sizeof(out));
	while (got < whole) {
		ws_client_loop_turn(loop, 0);
		got += from_client(in + got, sizeof(in) - got);
	}
	for (int i = 0; i < 4; i++) {
		uint8_t *payload;
		uint8_t op;
		size_t len;

		at += unmask(in + at, got - at, &op, &payload, &len);
		cr_assert(eq(sz, len, sizeof(out)));
		cr_assert(eq(int, memcmp(payload, out, len), 0));
	}
	cr_assert(eq(sz, at, got));
	cr_assert(eq(int, seen.ended, 0));
}

Test(ws_client, takes_frames_cut_at_any_byte)
{
	uint8_t bytes[600];
	size_t len = ws_header_write(bytes, WS_OP_BINARY, 200);

	open_connection();
	memset(bytes + len, 'x', 200);
	len += 200;
	for (size_t cut = 1; cut < len; cut++) {
		to_client(bytes, cut);
		settle();
		cr_assert(eq(int, seen.messages, (int)cut - 1), "half a frame is no message");
		to_client(bytes + cut, len - cut);
		cr_assert(comes(&seen.messages, (int)cut));
		cr_assert(eq(sz, seen.len, 200));
	}
}

Test(ws_client, takes_many_frames_of_one_read_and_the_beginning_of_the_next)
{
	static uint8_t bytes[1000 * 12 + 5];
	size_t len = 0;

	open_connection();
	for (int i = 0; i < 1000; i++) {
		len += ws_header_write(bytes + len, WS_OP_BINARY, 10);
		len += put_digits(bytes + len, i);
	}
	memcpy(bytes + len,
	       "\x82\x0a"
	       "012",
	       5);
	to_client(bytes, len + 5);
	cr_assert(comes(&seen.messages, 1000));
	cr_assert(eq(int, memcmp(seen.bytes, "0000000999", 10), 0));
	to_client("3456789", 7);
	cr_assert(comes(&seen.messages, 1001));
	cr_assert(eq(int, memcmp(seen.bytes, "0123456789", 10), 0));
}

Test(ws_client, joins_fragments_and_answers_the_ping_between_them)
{
	uint8_t bytes[64];
	uint8_t *payload;
	uint8_t op;
	size_t len;

	open_connection();
	to_client("\x01\x03"
	          "abc"
	          "\x89\x02"
	          "pp"
	          "\x00\x01"
	          "d"
	          "\x80\x02"
	          "ef",
	          16);
	cr_assert(comes(&seen.messages, 1));
	cr_assert(eq(sz, seen.len, 6));
	cr_assert(eq(int, (int)seen.op, WS_CLIENT_TEXT));
	cr_assert(eq(int, memcmp(seen.bytes, "abcdef", 6), 0));
	unmask(bytes, hear_client(bytes, sizeof(bytes)), &op, &payload, &len);
	cr_assert(eq(u8, op, WS_CLIENT_PONG));
	cr_assert(eq(sz, len, 2));
	cr_assert(eq(int, memcmp(payload, "pp", 2), 0));
}

Test(ws_client, reports_pongs)
{
	open_connection();
	to_client("\x8a\x00", 2);
	cr_assert(comes(&seen.pongs, 1));
	cr_assert(eq(int, seen.messages, 0));
}

Test(ws_client, ends_on_fragments_out_of_order)
{
	open_connection();
	to_client("\x80\x01x", 3); /* a continuation of nothing */
	cr_assert(comes(&seen.ended, 1));
	cr_assert(eq(int, (int)seen.end.kind, WS_CLIENT_END_PROTOCOL));
}

Test(ws_client, returns_the_servers_close_frame_and_reports_its_code)
{
	uint8_t bytes[64];
	uint8_t *payload;
	uint8_t op;
	size_t len;

	open_connection();
	to_client("\x82\x01x\x88\x09\x03\xf4restart", 14);
	cr_assert(comes(&seen.messages, 1));
	cr_assert(comes(&seen.ended, 1));
	cr_assert(eq(int, (int)seen.end.kind, WS_CLIENT_END_CLOSED));
	cr_assert(eq(u16, seen.end.code, 1012));
	cr_assert(strstr(seen.end.text, "restart") != NULL);
	len = hear_client(bytes, sizeof(bytes));
	cr_assert(eq(sz, len, 8));
	cr_assert(eq(u8, bytes[0], 0x88));
	unmask(bytes, len, &op, &payload, &len);
	cr_assert(eq(sz, from_client(bytes, sizeof(bytes)), 0), "closed");
}

Test(ws_client, waits_for_the_answer_to_its_own_close_frame)
{
	uint8_t bytes[64];

	open_connection();
	ws_client_close(seen.conn, 1000);
	ws_client_send(seen.conn, WS_CLIENT_BINARY, "late", 4);
	cr_assert(eq(sz, hear_client(bytes, sizeof(bytes)), 8),
	          "the close frame and nothing else");
	cr_assert(eq(int, seen.ended, 0));
	to_client("\x82\x01x", 3); /* was under way */
	to_client("\x88\x02\x03\xe8", 4);
	cr_assert(comes(&seen.messages, 1));
	cr_assert(comes(&seen.ended, 1));
	cr_assert(eq(u16, seen.end.code, 1000));
}

Test(ws_client, reports_a_connection_that_breaks)
{
	open_connection();
	to_client("\x82\x7e\x01", 3); /* half a header */
	shutdown(peer, SHUT_WR);
	cr_assert(comes(&seen.ended, 1));
	cr_assert(eq(int, (int)seen.end.kind, WS_CLIENT_END_BROKEN));
}

Test(ws_client, takes_nothing_more_after_a_drop_inside_the_handler)
{
	open_connection();
	seen.drop_at_message = true;
	to_client("\x82\x01x\x82\x01y\x88\x00", 8);
	cr_assert(comes(&seen.messages, 1));
	cr_assert(eq(int, seen.ended, 0), "the owner knows");
}
