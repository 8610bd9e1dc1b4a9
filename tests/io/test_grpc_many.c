/* SPDX-License-Identifier: MIT */
/* Many calls on one stream: our client with our server, and with one that breaks the rules or does not
 * know them. */
#include "io/grpc_client_fixture.h"
#include "support/grpc_peer.h"
#include "support/tls_pair.h"
#include "wire/grpc_many.h"

static const char echo[] = TEST_ECHO, never[] = TEST_NEVER, later[] = TEST_LATER,
		  fail[] = TEST_FAIL, die[] = TEST_DIE;

static void start_many(const char *method, const char *many_by, struct grpc_client_conf conf)
{
	conf.many_of = method;
	conf.many_by = many_by;
	start("http://127.0.0.1:%u", conf);
	await_connection();
}

static uint64_t calls_of_many(void)
{
	struct grpc_server_figures f;

	grpc_server_figures(&f);
	return f.many;
}

TestSuite(grpc_many, .init = defaults, .fini = stop, .timeout = 60);

Test(grpc_many, each_call_brings_its_answer)
{
	start_many(echo, TEST_MANY_ECHO, (struct grpc_client_conf){ 0 });
	ask(echo, 1, 20000, 0);
	expect(GRPC_OK, 1);
	ask(echo, 2000, 20000, 700);
	expect(GRPC_OK, 2000);
	ask(echo, 20, 20000, 3000000);
	expect(GRPC_OK, 20);
	cr_assert_eq(calls_of_many(), 2021);
}

Test(grpc_many, many_calls_wait_on_one_stream_and_those_of_other_methods_go_beside_it)
{
	start_many(later, TEST_MANY_LATER, (struct grpc_client_conf){ .connections = 1 });
	ask(later, 500, 20000, 10);
	expect(GRPC_OK, 500);
	ask(TEST_ECHO, 10, 20000, 10); /* others have streams of their own */
	expect(GRPC_OK, 10);
	cr_assert_eq(calls_of_many(), 500);
}

Test(grpc_many, an_error_of_the_service_comes_with_its_text_and_is_that_calls_alone)
{
	start_many(fail, TEST_MANY_FAIL, (struct grpc_client_conf){ 0 });
	ask(fail, 5, 20000, 5);
	expect(GRPC_INVALID_ARGUMENT, 5);
	cr_assert_str_eq(got.message, "gr\xc3\xbc\xc3\x9f 100%");
	cr_assert_eq(calls_of_many(), 5);
}

Test(grpc_many, more_calls_than_may_be_there_wait_for_their_turn)
{
	server.settings.max_streams = 10;
	start_many(echo, TEST_MANY_ECHO, (struct grpc_client_conf){ .connections = 1 });
	ask(echo, 3000, 20000, 100);
	expect(GRPC_OK, 3000);
	cr_assert_eq(calls_of_many(), 3000);
}

Test(grpc_many, a_call_ends_at_its_deadline_and_its_late_answer_is_dropped)
{
	start_many(later, TEST_MANY_LATER, (struct grpc_client_conf){ .connections = 1 });
	ask(later, 50, 100, 10);
	expect(GRPC_DEADLINE_EXCEEDED, 50);
	ask(later, 50, 20000, 10); /* in the same memory as those before */
	expect(GRPC_OK, 50);
	cr_assert_eq(calls_of_many(), 100);
}

Test(grpc_many, what_a_service_does_not_answer_keeps_its_place_at_the_server)
{
	server.settings.max_streams = 10;
	start_many(never, TEST_MANY_NEVER, (struct grpc_client_conf){ .connections = 1 });
	ask(never, 10, 300, 10);
	expect(GRPC_DEADLINE_EXCEEDED, 10);
	ask(never, 3, 300, 10); /* the server knows nothing of those deadlines */
	expect(GRPC_RESOURCE_EXHAUSTED, 3);
}

Test(grpc_many, a_server_that_does_not_offer_it_gets_calls_apart)
{
	start_many(echo, "/test.Echo/ManyNone", (struct grpc_client_conf){ 0 });
	ask(echo, 100, 20000, 10);
	expect(GRPC_OK, 100);
	cr_assert_eq(calls_of_many(), 0);
}

Test(grpc_many, calls_under_way_end_when_the_server_drains)
{
	struct grpc_server_figures f;

	start_many(later, TEST_MANY_LATER, (struct grpc_client_conf){ 0 });
	grpc_server_figures(&f);
	f.calls += 200;
	ask(later, 200, 20000, 10);
	cr_assert(server_comes_to(&f), "all are there before it drains");
	grpc_test_drain(&server);
	expect(GRPC_OK, 200);
	cr_assert(server_comes_to(&(struct grpc_server_figures){ .open = 0 }),
	          "a stream without calls keeps no connection open");
	ask(later, 1, 20000, 10);
	expect(GRPC_UNAVAILABLE, 1);
}

static uint64_t closed_by_server(void)
{
	struct grpc_server_figures f;

	grpc_server_figures(&f);
	return f.closed;
}

static void await_a_close(uint64_t before)
{
	for (unsigned i = 0; closed_by_server() <= before; i++) {
		cr_assert_lt(i, 10000, "no connection was closed for 10 s");
		usleep(1000);
	}
}

Test(grpc_many, a_connection_without_calls_is_idle_whatever_stream_it_has)
{
	server.settings.idle_secs = 1;
	start_many(echo, TEST_MANY_ECHO, (struct grpc_client_conf){ .connections = 1 });
	await_a_close(0);
	await_a_close(
		closed_by_server()); /* so that the next one has its whole second before it */
	usleep(200000);
	await_connection();
	ask(echo, 10, 20000, 10);
	expect(GRPC_OK, 10);
}

Test(grpc_many, the_calls_of_a_service_that_ended_are_unavailable)
{
	start_many(die, TEST_MANY_DIE, (struct grpc_client_conf){ 0 });
	ask(die, 10, 20000, 10);
	expect(GRPC_UNAVAILABLE, 10);
}

Test(grpc_many, a_connection_that_dies_makes_its_calls_unavailable)
{
	struct false_server s = { .greets = true };
	pthread_t thread;
	char text[100];

	listen_falsely(&s);
	pthread_create(&thread, NULL, serve_falsely, &s);
	snprintf(text, sizeof(text), "http://127.0.0.1:%u", s.port);
	start(text, (struct grpc_client_conf){
			    .connections = 1, .many_of = echo, .many_by = TEST_MANY_ECHO });
	ask(echo, 5, 20000, 100);
	expect(GRPC_UNAVAILABLE, 5);
	end_falsely(&s, thread);
}

Test(grpc_many, works_over_tls)
{
	struct tls_pair pair;

	tls_pair_make(&pair, "localhost");
	server.settings.tls_cert_file = pair.cert_file;
	server.settings.tls_key_file = pair.key_file;
	start("https://localhost:%u", (struct grpc_client_conf){ .ca_file = pair.cert_file,
	                                                         .many_of = echo,
	                                                         .many_by = TEST_MANY_ECHO });
	await_connection();
	ask(echo, 200, 20000, 20000);
	expect(GRPC_OK, 200);
	cr_assert_eq(calls_of_many(), 200);
	tls_pair_remove(&pair);
}

/* ---- a false server, on a blocking socket, frame by frame ---- */

struct wire_server {
	struct false_server s;
	int fd;
	uint32_t accepted;
	uint8_t frame[16384 + 9];
};

static void read_all(int fd, uint8_t *to, size_t len)
{
	for (size_t at = 0; at < len;) {
		const ssize_t n = recv(fd, to + at, len - at, 0);

		cr_assert(n > 0, "the client is gone");
		at += (size_t)n;
	}
}

/* The next frame of that type; returns its payload's length. */
static size_t await_frame(struct wire_server *w, uint8_t type)
{
	for (;;) {
		size_t len;

		read_all(w->fd, w->frame, 9);
		len = (size_t)w->frame[0] << 16 | (size_t)w->frame[1] << 8 | w->frame[2];
		cr_assert(len <= 16384);
		read_all(w->fd, w->frame + 9, len);
		if (w->frame[3] == type)
			return len;
	}
}

static void send_frame(struct wire_server *w, uint8_t type, uint8_t flags, uint8_t id,
                       const void *payload, size_t len)
{
	const uint8_t head[9] = {
		0, (uint8_t)(len >> 8), (uint8_t)len, type, flags, 0, 0, 0, id
	};

	cr_assert_eq(send(w->fd, head, 9, MSG_NOSIGNAL), 9);
	cr_assert_eq(send(w->fd, payload, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Greets, and has read the client's preface and its request for the stream. */
static void accept_wire_with(struct wire_server *w, const void *settings, size_t len)
{
	uint8_t preface[24];
	char text[100];

	listen_falsely(&w->s);
	snprintf(text, sizeof(text), "http://127.0.0.1:%u", w->s.port);
	start(text, (struct grpc_client_conf){
			    .connections = 1, .many_of = echo, .many_by = TEST_MANY_ECHO });
	w->fd = accept(w->s.fd, NULL, NULL);
	read_all(w->fd, preface, sizeof(preface));
	send_frame(w, H2_SETTINGS, 0, 0, settings, len);
	await_frame(w, H2_HEADERS);
	cr_assert_eq(w->frame[8], 1);
}

static void accept_wire(struct wire_server *w)
{
	accept_wire_with(w, "", 0);
}

/* :status 200 (indexed), content-type application/grpc (literal, name 31 of the static table) */
static const char yes_head[] = "\x88\x0f\x10\x10"
			       "application/grpc";

static void close_wire(struct wire_server *w)
{
	close(w->fd);
	close(w->s.fd);
}

Test(grpc_many, without_a_word_of_the_server_calls_go_apart)
{
	struct wire_server w = { 0 };

	accept_wire(&w);
	ask(echo, 1, 20000, 3);
	await_frame(&w, H2_RST_STREAM); /* after 2 s */
	await_frame(&w, H2_HEADERS);
	cr_assert_eq(w.frame[8], 3, "a stream of its own");
	close_wire(&w);
	expect(GRPC_UNAVAILABLE, 1);
}

/* The answer's bytes one by one, with a field that nobody knows; answers to calls that nobody made. */
Test(grpc_many, an_answer_may_come_in_pieces_and_strange_ones_are_passed_over)
{
	static const char strange[] = "\0\0\0\0\6\x08\xff\xff\xff\xff\x0f";
	static const char unknown[] = "\xa8\x06\x07"; /* field 101 */
	struct wire_server w = { 0 };
	uint8_t answer[100];
	struct grpc_many_request r;
	size_t len;

	accept_wire(&w);
	send_frame(&w, H2_HEADERS, H2_END_HEADERS, 1, yes_head, sizeof(yes_head) - 1);
	ask(echo, 1, 20000, 3);
	len = await_frame(&w, H2_DATA);
	cr_assert(grpc_many_read_request(wire_slice(w.frame + 14, len - 5), &r));
	cr_assert(wire_slice_is(r.request, "qqq"));
	cr_assert(r.timeout_ms > 10000 && r.timeout_ms <= 20000);
	len = grpc_many_answer(
		answer + 5, 90,
		&(struct grpc_many_answer){ .id = r.id, .response = wire_text("qqq") });
	memcpy(answer + 5 + len, unknown, 3);
	grpc_prefix_write(answer, (uint32_t)len + 3);
	send_frame(&w, H2_DATA, 0, 1, strange, sizeof(strange) - 1);
	for (size_t at = 0; at < 5 + len + 3; at++)
		send_frame(&w, H2_DATA, 0, 1, answer + at, 1);
	expect(GRPC_OK, 1);
	ask(echo, 1, 20000, 3);
	await_frame(&w, H2_DATA);
	send_frame(&w, H2_DATA, 0, 1, answer, 5 + len + 3); /* once more: that call has ended */
	send_frame(&w, H2_DATA, 0, 1, "\0\0\0\0\2\x08\x80", 7); /* no message */
	expect(GRPC_UNAVAILABLE, 1);
	close_wire(&w);
}

Test(grpc_many, the_end_of_the_stream_is_the_end_of_its_calls)
{
	struct wire_server w = { 0 };

	accept_wire(&w);
	send_frame(&w, H2_HEADERS, H2_END_HEADERS, 1, yes_head, sizeof(yes_head) - 1);
	ask(echo, 3, 20000, 3);
	await_frame(&w, H2_DATA);
	send_frame(&w, H2_RST_STREAM, 0, 1, "\0\0\0\x02", 4);
	expect(GRPC_UNAVAILABLE, 3);
	close_wire(&w);
}

/* As a server may end a stream whose other half is open: without a word but its trailers. */
Test(grpc_many, trailers_alone_end_the_stream_too)
{
	/* grpc-status 0, literal */
	static const char trailers[] = "\0\x0bgrpc-status\x01"
				       "0";
	struct wire_server w = { 0 };

	accept_wire(&w);
	send_frame(&w, H2_HEADERS, H2_END_HEADERS, 1, yes_head, sizeof(yes_head) - 1);
	ask(echo, 3, 3000, 3); /* long before its silence would tell */
	await_frame(&w, H2_DATA);
	send_frame(&w, H2_HEADERS, H2_END_HEADERS | H2_END_STREAM, 1, trailers,
	           sizeof(trailers) - 1);
	expect(GRPC_UNAVAILABLE, 3);
	close_wire(&w);
}

/* GOAWAY with calls under way, then nothing: the last of them ends by its deadline, and with it the
 * connection. */
Test(grpc_many, a_connection_that_leaves_ends_with_the_deadline_of_its_last_call)
{
	static const char goaway[8] = { 0, 0, 0, 1, 0, 0, 0, 0 };
	struct wire_server w = { 0 };
	char byte;

	accept_wire(&w);
	send_frame(&w, H2_HEADERS, H2_END_HEADERS, 1, yes_head, sizeof(yes_head) - 1);
	ask(echo, 1, 700, 3);
	await_frame(&w, H2_DATA);
	send_frame(&w, H2_GOAWAY, 0, 0, goaway, sizeof(goaway));
	expect(GRPC_DEADLINE_EXCEEDED, 1);
	while (recv(w.fd, &byte, 1, 0) > 0)
		; /* until it is closed */
	close_wire(&w);
}

static void send_answer(struct wire_server *w, const struct grpc_many_answer *a)
{
	uint8_t out[5 + GRPC_MANY_ROOM + 10];
	const size_t len = grpc_many_answer(out + 5, sizeof(out) - 5, a);

	grpc_prefix_write(out, (uint32_t)len);
	send_frame(w, H2_DATA, 0, 1, out, 5 + len);
}

/* The window lets out one request of a lane and half of the next.  When the first one fails, what has not
 * begun to leave must not be carried out any more. */
Test(grpc_many, behind_a_failure_in_a_lane_nothing_is_sent_that_has_not_begun)
{
	static const uint8_t window_of_24[6] = { 0, 4, 0, 0, 0, 24 };
	struct wire_server w = { 0 };
	size_t len = 0;

	affinity = 7;
	accept_wire_with(&w, window_of_24, sizeof(window_of_24));
	send_frame(&w, H2_HEADERS, H2_END_HEADERS, 1, yes_head, sizeof(yes_head) - 1);
	await_frame(&w, H2_SETTINGS); /* ours is known */
	ask(echo, 4, 20000, 3);
	while (len < 24)
		len += await_frame(&w, H2_DATA);
	cr_assert_eq(len, 24);
	send_answer(&w, &(struct grpc_many_answer){ .id = 0, .status = GRPC_UNAVAILABLE });
	await(3);
	cr_assert_eq(got.by_status[GRPC_UNAVAILABLE], 3, "all but the one that is half out");
	send_frame(&w, H2_WINDOW_UPDATE, 0, 1, "\0\0\4\0", 4);
	send_frame(&w, H2_PING, 0, 0, "12345678", 8);
	cr_assert_eq(await_frame(&w, H2_DATA), 8, "its other half");
	send_frame(&w, H2_PING, 0, 0, "87654321", 8);
	do {
		read_all(w.fd, w.frame, 9);
		read_all(w.fd, w.frame + 9, (size_t)w.frame[1] << 8 | w.frame[2]);
		cr_assert_neq(w.frame[3], H2_DATA, "and nothing more");
	} while (w.frame[3] != H2_PING || memcmp(w.frame + 9, "87654321", 8) != 0);
	send_answer(&w, &(struct grpc_many_answer){ .id = 1, .response = wire_text("qqq") });
	await(4);
	cr_assert_eq(got.by_status[GRPC_OK], 1);
	close_wire(&w);
}

/* Greets, says that it leaves, and waits for the client to go. */
static void *leave_at_once(void *arg)
{
	static const char settings[9] = { 0, 0, 0, 4 };
	static const char goaway[17] = { 0, 0, 8, 7 };
	struct wire_server *w = arg;
	char bytes[512];

	for (;;) {
		const int fd = accept(w->s.fd, NULL, NULL);

		if (fd < 0)
			return NULL;
		__atomic_fetch_add(&w->accepted, 1, __ATOMIC_SEQ_CST);
		send(fd, settings, sizeof(settings), MSG_NOSIGNAL);
		send(fd, goaway, sizeof(goaway), MSG_NOSIGNAL);
		while (recv(fd, bytes, sizeof(bytes), 0) > 0)
			;
		close(fd);
	}
}

Test(grpc_many, a_server_that_leaves_at_once_is_tried_again_with_pauses)
{
	struct wire_server w = { 0 };
	pthread_t thread;
	char text[100];
	uint32_t n;

	listen_falsely(&w.s);
	pthread_create(&thread, NULL, leave_at_once, &w);
	snprintf(text, sizeof(text), "http://127.0.0.1:%u", w.s.port);
	start(text, (struct grpc_client_conf){ .connections = 1 });
	usleep(1500000);
	n = __atomic_load_n(&w.accepted, __ATOMIC_SEQ_CST);
	cr_assert(n >= 2 && n <= 60, "%u times", n);
	end_falsely(&w.s, thread);
}
