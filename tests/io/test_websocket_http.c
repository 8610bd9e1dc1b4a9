/* SPDX-License-Identifier: MIT */
/* HTTP on the WebSocket port, refused handshakes, and the limits on both. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "support/ws_peer.h"
#include "wire/ws_frame.h"

#define ROOM 200000 /* for a request */

static struct ws_server server;

static void start_http_within(unsigned handshake_secs)
{
	ws_server_defaults(&server);
	ws_server_with_http(&server);
	server.settings.endpoint = WS_ENDPOINT_ROOT;
	server.settings.handshake_secs = handshake_secs;
	ws_server_start(&server);
}

/* More than a request in small pieces takes on a busy machine. */
static void start_http(void)
{
	start_http_within(30);
}

static void start_hasty(void)
{
	start_http_within(2);
}

static void stop(void)
{
	ws_server_stop(&server);
}

TestSuite(websocket_http, .init = start_http, .fini = stop, .timeout = 60);
TestSuite(websocket_patience, .init = start_hasty, .fini = stop, .timeout = 60);
TestSuite(websocket_limits, .fini = stop, .timeout = 60);

/* Sends text and returns the whole answer, which must end without a reset. */
static const char *ask_bytes(const void *request, size_t len)
{
	static char answer[65536];
	const int fd = peer_connect(server.port);
	bool was_reset;

	peer_send(fd, request, len);
	peer_read_all(fd, answer, sizeof(answer), &was_reset);
	cr_assert_not(was_reset, "after %.60s", (const char *)request);
	close(fd);
	return answer;
}

static const char *ask(const char *request)
{
	return ask_bytes(request, strlen(request));
}

static int status_of(const char *answer)
{
	int status = 0;

	if (sscanf(answer, "HTTP/1.1 %d ", &status) != 1)
		return 0;
	return status;
}

static const char *body_of(const char *answer)
{
	const char *end = strstr(answer, "\r\n\r\n");

	cr_assert_not_null(end);
	return end + 4;
}

Test(websocket_http, asks_the_http_actor_and_closes_after_the_answer)
{
	const char *answer = ask("GET /health?deep=1 HTTP/1.1\r\nHost: a\r\n\r\n");

	cr_assert_eq(status_of(answer), 200, "%s", answer);
	cr_assert_str_eq(body_of(answer), "GET /health 0");
	cr_assert_not_null(strstr(answer, "\r\nConnection: close\r\n"));
	cr_assert_not_null(strstr(answer, "\r\nContent-Length: 13\r\n"));
	cr_assert_str_eq(body_of(ask("GET /a%20b HTTP/1.0\r\n\r\n")), "GET /a b 0");
}

Test(websocket_http, a_head_request_gets_no_body_but_its_length)
{
	const char *answer = ask("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n");

	cr_assert_eq(status_of(answer), 200);
	cr_assert_not_null(strstr(answer, "\r\nContent-Length: 15\r\n"), "%s", answer);
	cr_assert_str_eq(body_of(answer), "");
}

Test(websocket_http, a_body_arrives_whole_however_it_is_cut)
{
	char *request = malloc(ROOM);
	const int fd = peer_connect(server.port);
	char answer[1024];
	bool was_reset;
	size_t head;

	cr_assert_str_eq(
		body_of(ask("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nzzzzz")),
		"POST /x 5");
	cr_assert_str_eq(
		body_of(ask("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")),
		"POST /x 0");
	head = (size_t)snprintf(
		request, ROOM, "POST /y HTTP/1.1\r\nHost: a\r\nContent-Length: 131072\r\n\r\n");
	memset(request + head, 'z', 131072);
	cr_assert_str_eq(body_of(ask_bytes(request, head + 131072)), "POST /y 131072");
	peer_send(fd, request, head - 3); /* and in pieces */
	usleep(20000);
	peer_send(fd, request + head - 3, 3 + 1000);
	for (int i = 0; i < 10; i++) {
		usleep(10000);
		peer_send(fd, request + head + 1000 + i * 13007, 13007);
	}
	peer_send(fd, request + head + 1000 + 130070, 2);
	peer_read_all(fd, answer, sizeof(answer), &was_reset);
	cr_assert_str_eq(body_of(answer), "POST /y 131072");
	close(fd);
	free(request);
}

Test(websocket_http, a_long_answer_arrives_whole)
{
	const int fd = peer_connect(server.port);
	char *answer = malloc(5000000);
	bool was_reset;
	size_t len;

	peer_text(fd, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
	shutdown(fd, SHUT_WR); /* as some clients do */
	usleep(200000);
	len = peer_read_all(fd, answer, 5000000, &was_reset);
	cr_assert_not(was_reset);
	cr_assert_eq(len - (size_t)(body_of(answer) - answer), 4000000);
	close(fd);
	free(answer);
}

Test(websocket_http, refuses_with_a_clear_status)
{
	static const struct {
		const char *request;
		int status;
	} cases[] = {
		{ "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", 405 },
		{ "DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n", 405 },
		{ "\x16\x03\x01\x02", 400 },
		{ "GET\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\nHost: a\n\n", 400 },
		{ "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505 },
		{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505 },
		{ "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400 },
		{ "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1x\r\n\r\n", 400 },
		{ "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 131073\r\n\r\n", 413 },
		{ "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
		  413 },
		{ "POST /x HTTP/1.1\r\nHost: a\r\n\r\n", 411 },
		{ "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		  501 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, "
		  "HTTP2-Settings\r\n"
		  "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
		  400 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\n",
		  400 },
	};

	for (size_t i = 0; i < CX_COUNTOF(cases); i++) {
		const char *answer = ask(cases[i].request);

		cr_assert_eq(status_of(answer), cases[i].status, "%s: %.40s", cases[i].request,
		             answer);
		cr_assert_eq(status_of(answer) == 405, strstr(answer, "\r\nAllow: ") != NULL);
	}
}

Test(websocket_http, refuses_long_heads)
{
	char *request = malloc(ROOM);
	size_t len = (size_t)snprintf(request, ROOM, "GET /");

	memset(request + len, 'a', 5000);
	snprintf(request + len + 5000, ROOM - (len + 5000), "%s",
	         " HTTP/1.1\r\nHost: a\r\n\r\n");
	cr_assert_eq(status_of(ask(request)), 414);
	len = (size_t)snprintf(request, ROOM, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
	memset(request + len, 'a', 9000);
	request[len + 9000] = '\0';
	cr_assert_eq(status_of(ask(request)), 431, "before its end has come");
	len = (size_t)snprintf(request, ROOM, "GET / HTTP/1.1\r\nHost: a\r\n");
	for (int i = 0; i < 64; i++)
		len += (size_t)snprintf(request + len, ROOM - len, "H%d: x\r\n", i);
	snprintf(request + len, ROOM - (len), "%s", "\r\n");
	cr_assert_eq(status_of(ask(request)), 431);
	free(request);
}

/* A head that is as long as may be still gets through libwebsockets. */
Test(websocket_http, takes_the_longest_head_it_promises)
{
	char *request = malloc(ROOM);
	size_t len = (size_t)snprintf(request, ROOM, "GET / HTTP/1.1\r\nHost: a\r\n");

	for (int i = 0; i < 60; i++)
		len += (size_t)snprintf(request + len, ROOM - len,
		                        "X-Header-Number-%d: %0100d\r\n", i, i);
	cr_assert_lt(len, 8192);
	snprintf(request + len, ROOM - (len), "%s", "\r\n");
	cr_assert_eq(status_of(ask(request)), 200);
	free(request);
}

static void handshake(char *out, const char *path, const char *version, const char *key)
{
	snprintf(out, 1024,
	         "GET %s HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	         "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: %s\r\n\r\n",
	         path, key, version);
}

Test(websocket_http, refuses_other_websocket_versions_with_426)
{
	static const char *const versions[] = { "8", "7", "0", "14", "130", "" };
	char request[1024];

	for (size_t i = 0; i < CX_COUNTOF(versions); i++) {
		const char *answer;

		handshake(request, "/", versions[i], "dGhlIHNhbXBsZSBub25jZQ==");
		answer = ask(request);
		cr_assert_eq(status_of(answer), 426, "version %s: %s", versions[i], answer);
		cr_assert_not_null(strstr(answer, "\r\nSec-WebSocket-Version: 13\r\n"));
	}
}

Test(websocket_http, websockets_are_at_root_and_ws_only)
{
	char request[1024];

	handshake(request, "/", "13", "dGhlIHNhbXBsZSBub25jZQ==");
	close(peer_open(server.port));
	handshake(request, "/elsewhere", "13", "dGhlIHNhbXBsZSBub25jZQ==");
	cr_assert_eq(status_of(ask(request)), 404);
	handshake(request, "/wsx", "13", "dGhlIHNhbXBsZSBub25jZQ==");
	cr_assert_eq(status_of(ask(request)), 404);
	handshake(request, "/", "13", "short");
	cr_assert_eq(status_of(ask(request)), 400);
}

Test(websocket_http, opens_at_ws_with_a_query)
{
	const int fd = peer_connect(server.port);
	char request[1024], answer[13] = "";

	handshake(request, "/ws?client=1", "13", "dGhlIHNhbXBsZSBub25jZQ==");
	peer_text(fd, request);
	cr_assert_eq(recv(fd, answer, 12, MSG_WAITALL), 12);
	cr_assert_str_eq(answer, "HTTP/1.1 101");
	close(fd);
}

/* libwebsockets 4.1.6 read freed memory here: a request kept alive, then `Upgrade: foo`. */
Test(websocket_http, an_odd_upgrade_after_a_request_meets_a_closed_connection)
{
	const char *answer =
		ask("GET /one HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
	            "GET /two HTTP/1.1\r\nHost: a\r\nUpgrade: foo\r\n"
	            "Connection: Upgrade\r\n\r\n");

	cr_assert_str_eq(body_of(answer), "GET /one 0");
}

Test(websocket_http, takes_a_handshake_byte_by_byte)
{
	const int fd = peer_connect(server.port);
	char answer[13] = "";

	for (size_t i = 0; i < strlen(peer_upgrade); i++) {
		peer_send(fd, &peer_upgrade[i], 1);
		usleep(500);
	}
	cr_assert_eq(recv(fd, answer, 12, MSG_WAITALL), 12);
	cr_assert_str_eq(answer, "HTTP/1.1 101");
	close(fd);
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

Test(websocket_patience, gives_up_on_a_client_that_does_not_finish_its_handshake)
{
	const int fd = peer_connect(server.port);
	const double began = now_s();
	char byte;

	peer_text(fd, "GET / HTTP/1.1\r\nHost");
	cr_assert_eq(recv(fd, &byte, 1, 0), 0);
	cr_assert_gt(now_s() - began, 1.5);
	cr_assert_lt(now_s() - began, 9); /* the default is 10 */
	close(fd);
}

Test(websocket_patience, answers_503_when_the_http_actor_does_not)
{
	cr_assert_eq(status_of(ask("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")), 503);
}

/* ---- limits ---- */

static bool nine_are_open(const struct websocket_figures *f)
{
	return f->open == 9;
}

Test(websocket_limits, one_connection_more_than_allowed_gets_503)
{
	int fds[10];
	const char *answer;

	ws_server_defaults(&server);
	server.settings.max_connections = 10;
	ws_server_start(&server);
	for (int i = 0; i < 10; i++)
		fds[i] = peer_open(server.port);
	answer = ask(peer_upgrade);
	cr_assert_eq(status_of(answer), 503, "%s", answer);
	cr_assert_not_null(strstr(answer, "\r\nRetry-After: "));
	close(fds[3]);
	cr_assert(peer_wait(nine_are_open));
	close(peer_open(server.port));
}

static bool no_place_taken(const struct websocket_figures *f)
{
	return f->handshaking == 0;
}

static bool all_places_taken(const struct websocket_figures *f)
{
	return f->handshaking == 8;
}

/* Eight places, eight clients of as many addresses that send nothing. */
static void take_all_places(int fds[8])
{
	ws_server_defaults(&server);
	ws_server_with_http(&server);
	server.settings.max_handshakes = 8;
	ws_server_start(&server);
	for (int i = 0; i < 8; i++)
		fds[i] = peer_connect_from(server.port, 2 + (unsigned)i);
	cr_assert(peer_wait(all_places_taken));
}

Test(websocket_limits, one_handshake_more_than_allowed_gets_503)
{
	const char *answer;
	int fds[8];

	take_all_places(fds);
	answer = ask("GET / HTTP/1.1\r\nHos");
	cr_assert_eq(status_of(answer), 503, "%s", answer);
	cr_assert_not_null(strstr(answer, "\r\nRetry-After: "));
	for (int i = 0; i < 8; i++)
		close(fds[i]);
	cr_assert(peer_wait(no_place_taken));
	close(peer_open(server.port));
}

Test(websocket_limits, a_whole_request_is_served_though_all_places_are_taken)
{
	int fds[8];

	take_all_places(fds);
	for (int i = 0; i < 5; i++) {
		const int fd = peer_connect(server.port);
		char status[13] = "";

		usleep(30000); /* accepted long ago, and nothing has come */
		peer_text(fd, peer_upgrade);
		cr_assert_eq(recv(fd, status, 12, MSG_WAITALL), 12);
		cr_assert_str_eq(status, "HTTP/1.1 101");
		close(fd);
		cr_assert_eq(status_of(ask("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")), 200);
	}
}

enum { SLOW = 16, FLOOD = 600 };

/* 0: still open. */
static bool is_ended(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) >= 0;
}

static bool slow_ones_are_in(const struct websocket_figures *f)
{
	return f->handshaking == SLOW;
}

/* The flood pays, not the clients of other addresses who came before it and are slow. */
Test(websocket_limits, a_flood_from_one_address_takes_no_place_of_another)
{
	struct websocket_figures f;
	bool has_ended[FLOOD] = { false };
	int slow[SLOW], flood[FLOOD], ended = 0;

	ws_server_defaults(&server);
	server.settings.max_handshakes = 64;
	server.settings.handshake_secs = 50; /* nobody goes by himself */
	ws_server_start(&server);
	for (int i = 0; i < SLOW; i++) {
		slow[i] = peer_connect_from(server.port, 2 + (unsigned)i);
		peer_text(slow[i], "GET / HTTP/1.1\r\n");
	}
	cr_assert(peer_wait(
		slow_ones_are_in)); /* a worker that is late finds no place for them */
	for (int i = 0; i < FLOOD; i++) {
		flood[i] = peer_connect_from(server.port, 100);
		peer_text(flood[i], "GET / HT");
		usleep(4000); /* they are over a second old when it ends */
	}
	for (int i = 0; i < SLOW; i++)
		cr_assert_not(is_ended(slow[i]), "slow client %d", i);
	websocket_figures(&f);
	cr_assert_leq(f.handshaking, 64 - 64 / 4 + 1, "%llu",
	              (unsigned long long)f.handshaking);
	for (int tries = 0; tries < 1000 && ended <= FLOOD - 200; tries++) {
		usleep(tries > 0 ? 10000 : 0); /* the last ones may not have been looked at */
		for (int i = 0; i < FLOOD; i++)
			has_ended[i] = has_ended[i] || is_ended(flood[i]);
		ended = 0;
		for (int i = 0; i < FLOOD; i++)
			ended += has_ended[i];
	}
	cr_assert_gt(ended, FLOOD - 200);
	for (int i = 0; i < SLOW; i++)
		cr_assert_not(is_ended(slow[i]), "slow client %d, after it", i);
	for (int i = 0; i < SLOW; i++) {
		char status[13] = "";

		peer_text(slow[i], peer_upgrade + strlen("GET / HTTP/1.1\r\n"));
		cr_assert_eq(recv(slow[i], status, 12, MSG_WAITALL), 12);
		cr_assert_str_eq(status, "HTTP/1.1 101");
	}
}

Test(websocket_limits, two_thousand_half_open_handshakes_do_not_stop_a_new_client)
{
	struct websocket_figures f;
	double began;

	ws_server_defaults(&server);
	ws_server_start(&server);
	for (int i = 0; i < 2000; i++)
		peer_text(peer_connect(server.port), i % 2 ? "GET / HT" : "");
	usleep(1200000);
	began = now_s();
	for (int i = 0; i < 50; i++) {
		const int fd = peer_open(server.port);

		peer_send_frame(fd, PEER_FIN | WS_OP_BINARY, "in", 2);
		peer_expect(fd, PEER_FIN | WS_OP_BINARY, "in", 2);
		close(fd);
	}
	cr_assert_lt(now_s() - began, 15);
	websocket_figures(&f);
	cr_assert_leq(f.handshaking, 256);
	cr_assert_geq(f.established, 50);
}

Test(websocket_limits, signals_are_not_taken_and_descriptors_are_enough)
{
	struct sigaction action;
	struct rlimit limit;

	ws_server_defaults(&server);
	ws_server_start(&server);
	close(peer_open(server.port));
	cr_assert_eq(sigaction(SIGTERM, NULL, &action), 0);
	cr_assert_eq(action.sa_handler, SIG_DFL);
	cr_assert_eq(sigaction(SIGHUP, NULL, &action), 0);
	cr_assert_eq(action.sa_handler, SIG_DFL);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	cr_assert_geq(limit.rlim_cur, 4000 + 2 * 256);
	cr_assert_leq(limit.rlim_cur, 1048576);
}

Test(websocket_limits, names_what_keeps_it_from_starting)
{
	struct ws_server other;
	const char *error_text = NULL;
	uint16_t port;

	ws_server_defaults(&server);
	ws_server_start(&server);
	ws_server_stop(&server);
	ws_server_defaults(&other);
	other.settings.bind = "not an address";
	ws_server_defaults(&server);
	cr_assert_eq(websocket_setup(&other.settings, &port, &error_text), CX_EINVAL);
	cr_assert_str_neq(error_text, "");
	ws_server_start(&server); /* a failed start leaves nothing behind */
	close(peer_open(server.port));
}
