/* SPDX-License-Identifier: MIT */
/* The client against our server, and against servers that are gone, silent or false. */
#include "io/grpc_client_fixture.h"
#include "io/grpc_resolve.h"
#include "support/tls_pair.h"

static struct tls_pair pair;

TestSuite(grpc_client, .init = defaults, .fini = stop, .timeout = 60);

Test(grpc_client, a_call_brings_its_answer)
{
	start("http://127.0.0.1:%u", (struct grpc_client_conf){ 0 });
	ask(TEST_ECHO, 1, 20000, 5);
	expect(GRPC_OK, 1);
	ask(TEST_ECHO, 1, 20000, 0);
	expect(GRPC_OK, 1);
	ask(TEST_ECHO, 20, 10000, 3000000);
	expect(GRPC_OK, 20);
}

Test(grpc_client, an_error_of_the_service_comes_with_its_text)
{
	start("http://127.0.0.1:%u/", (struct grpc_client_conf){ 0 });
	ask(TEST_FAIL, 1, 20000, 5);
	expect(GRPC_INVALID_ARGUMENT, 1);
	cr_assert_str_eq(got.message, "gr\xc3\xbc\xc3\x9f 100%");
	ask("/test.Echo/None", 1, 20000, 5);
	expect(GRPC_UNIMPLEMENTED, 1);
	ask(TEST_ECHO, 1, 20000, 4 * 1024 * 1024 + 1);
	expect(GRPC_RESOURCE_EXHAUSTED, 1);
}

Test(grpc_client, an_answer_over_the_limit_is_refused)
{
	start("http://127.0.0.1:%u", (struct grpc_client_conf){ .max_message_bytes = 1000 });
	ask(TEST_ECHO, 1, 20000, 1001);
	expect(GRPC_RESOURCE_EXHAUSTED, 1);
	ask(TEST_ECHO, 1, 20000, 1000);
	expect(GRPC_OK, 1);
}

Test(grpc_client, two_thousand_calls_are_in_flight_on_two_connections)
{
	start("http://127.0.0.1:%u", (struct grpc_client_conf){ 0 });
	ask(TEST_LATER, 2000, 20000, 10);
	expect(GRPC_OK, 2000);
	cr_assert(server_comes_to(&(struct grpc_server_figures){ .open = 2 }));
}

Test(grpc_client, more_calls_than_streams_wait_for_their_turn)
{
	server.settings.max_streams = 10;
	start("http://127.0.0.1:%u", (struct grpc_client_conf){ .connections = 1 });
	ask(TEST_ECHO, 3000, 20000, 100);
	expect(GRPC_OK, 3000);
}

Test(grpc_client, ends_a_call_at_its_deadline)
{
	start("http://127.0.0.1:%u", (struct grpc_client_conf){ 0 });
	ask(TEST_NEVER, 10, 200, 10);
	expect(GRPC_DEADLINE_EXCEEDED, 10);
	ask(TEST_ECHO, 10, 20000, 10);
	expect(GRPC_OK, 10);
}

Test(grpc_client, says_unavailable_when_nobody_listens)
{
	start("http://127.0.0.1:1", (struct grpc_client_conf){ 0 });
	ask(TEST_ECHO, 10, 20000, 10);
	expect(GRPC_UNAVAILABLE, 10);
}

Test(grpc_client, says_unavailable_when_a_name_cannot_be_resolved)
{
	start("http://no-such-host.invalid:1", (struct grpc_client_conf){ 0 });
	ask(TEST_ECHO, 10, 30000, 10);
	expect(GRPC_UNAVAILABLE, 10);
}

Test(grpc_client, goes_to_another_address_when_one_fails)
{
	struct false_server s = { 0 };
	pthread_t thread;
	char text[100];

	listen_falsely(&s);
	pthread_create(&thread, NULL, serve_falsely, &s);
	snprintf(text, sizeof(text), "http://127.0.0.1:%u, http://127.0.0.1:%%u", s.port);
	start(text, (struct grpc_client_conf){ 0 });
	await_connection();
	ask(TEST_ECHO, 500, 20000, 10);
	expect(GRPC_OK, 500);
	end_falsely(&s, thread);
}

Test(grpc_client, calls_in_flight_on_a_connection_that_dies_are_unavailable)
{
	struct false_server s = { .greets = true };
	pthread_t thread;
	char text[100];

	listen_falsely(&s);
	pthread_create(&thread, NULL, serve_falsely, &s);
	snprintf(text, sizeof(text), "http://127.0.0.1:%u", s.port);
	start(text, (struct grpc_client_conf){ .connections = 1 });
	ask(TEST_ECHO, 5, 20000, 100);
	expect(GRPC_UNAVAILABLE, 5);
	end_falsely(&s, thread);
}

/* Without calls a peer owes nothing: what it was silent before is not counted.  Ticks are 500 ms apart, the
 * first comes before the answer. */
Test(grpc_client, a_connection_that_was_idle_is_not_taken_for_dead)
{
	start("http://127.0.0.1:%u", (struct grpc_client_conf){ .connections = 1 });
	await_connection();
	usleep(10500000);
	ask(TEST_NEVER, 3, 800, 10);
	expect(GRPC_DEADLINE_EXCEEDED, 3);
}

Test(grpc_client, a_slow_call_lives_as_long_as_the_peer_answers_pings)
{
	start("http://127.0.0.1:%u", (struct grpc_client_conf){ .connections = 1 });
	await_connection();
	ask(TEST_NEVER, 1, 12000, 10);
	expect(GRPC_DEADLINE_EXCEEDED, 1);
}

Test(grpc_client, a_peer_that_says_nothing_at_all_is_given_up)
{
	struct false_server s = { 0 };
	char text[100];
	int fd;

	listen_falsely(&s);
	snprintf(text, sizeof(text), "http://127.0.0.1:%u", s.port);
	start(text, (struct grpc_client_conf){ .connections = 1 });
	fd = accept(s.fd, NULL, NULL);
	cr_assert_eq(send(fd, "\0\0\0\4\0\0\0\0\0", 9, MSG_NOSIGNAL), 9);
	ask(TEST_ECHO, 2, 30000, 10);
	expect(GRPC_UNAVAILABLE, 2);
	cr_assert_str_eq(got.message, "the connection was lost");
	close(fd);
	close(s.fd);
}

Test(grpc_client, a_full_queue_is_busy_and_what_waits_has_its_deadline)
{
	struct false_server s = { 0 };
	char text[100];

	listen_falsely(&s); /* the kernel accepts, nobody answers */
	snprintf(text, sizeof(text), "http://127.0.0.1:%u", s.port);
	start(text, (struct grpc_client_conf){ .max_queue = 50 });
	ask(TEST_ECHO, 80, 500, 10);
	await(80);
	cr_assert_eq(got.by_error[CX_EFULL], 30);
	cr_assert_eq(got.by_status[GRPC_DEADLINE_EXCEEDED], 50);
	close(s.fd);
}

Test(grpc_client, calls_under_way_end_when_the_server_drains)
{
	struct grpc_server_figures f;

	start("http://127.0.0.1:%u", (struct grpc_client_conf){ 0 });
	await_connection();
	grpc_server_figures(&f);
	f.calls += 200;
	ask(TEST_LATER, 200, 20000, 10);
	cr_assert(server_comes_to(&f), "all are there before it drains");
	grpc_test_drain(&server);
	expect(GRPC_OK, 200);
	ask(TEST_ECHO, 1, 20000, 10);
	expect(GRPC_UNAVAILABLE, 1);
}

/* --- TLS --- */

static void start_tls(const char *text, const char *ca_file)
{
	server.settings.tls_cert_file = pair.cert_file;
	server.settings.tls_key_file = pair.key_file;
	start(text, (struct grpc_client_conf){ .ca_file = ca_file });
}

static void with_pair(void)
{
	defaults();
	tls_pair_make(&pair, "localhost");
}

static void without_pair(void)
{
	stop();
	tls_pair_remove(&pair);
}

TestSuite(grpc_client_tls, .init = with_pair, .fini = without_pair, .timeout = 60);

Test(grpc_client_tls, calls_a_server_whose_certificate_is_right)
{
	start_tls("https://localhost:%u", pair.cert_file);
	await_connection();
	ask(TEST_ECHO, 20, 10000, 500000);
	expect(GRPC_OK, 20);
}

Test(grpc_client_tls, refuses_a_certificate_of_another_name)
{
	tls_pair_remove(&pair);
	tls_pair_make(&pair, "elsewhere.test");
	start_tls("https://localhost:%u", pair.cert_file);
	ask(TEST_ECHO, 3, 20000, 10);
	expect(GRPC_UNAVAILABLE, 3);
}

Test(grpc_client_tls, refuses_an_address_that_the_certificate_does_not_name)
{
	start_tls("https://127.0.0.1:%u", pair.cert_file);
	ask(TEST_ECHO, 3, 20000, 10);
	expect(GRPC_UNAVAILABLE, 3);
}

Test(grpc_client_tls, refuses_a_certificate_that_nobody_vouches_for)
{
	start_tls("https://localhost:%u", NULL);
	ask(TEST_ECHO, 3, 20000, 10);
	expect(GRPC_UNAVAILABLE, 3);
}

Test(grpc_client_tls, does_not_speak_plain_to_a_tls_server)
{
	start_tls("http://localhost:%u", NULL);
	ask(TEST_ECHO, 3, 20000, 10);
	expect(GRPC_UNAVAILABLE, 3);
}

/* --- targets --- */

Test(grpc_targets, are_parsed_and_wrong_ones_refused, .timeout = 10)
{
	static const char *const wrong[] = { "",
		                             "localhost:1",
		                             "ftp://h:1",
		                             "http://",
		                             "http://:1",
		                             "http://h:0",
		                             "http://h:65536",
		                             "http://h:1x",
		                             "http://h:1,",
		                             ",http://h:1",
		                             "http://h:1/path",
		                             "http://user@h:1",
		                             "http://[::1",
		                             "http://[::1]x",
		                             "http://h h:1" };
	struct grpc_target t[GRPC_TARGETS_MAX];

	for (size_t i = 0; i < CX_COUNTOF(wrong); i++)
		cr_expect_not(grpc_client_targets_are_valid(wrong[i]), "%s", wrong[i]);
	cr_assert_eq(grpc_targets_parse("http://a:1,https://b.c/, http://[::1]:50051", t), 3);
	cr_assert_str_eq(t[0].host, "a");
	cr_assert_str_eq(t[0].port, "1");
	cr_assert_not(t[0].is_tls);
	cr_assert_str_eq(t[1].authority, "b.c:443");
	cr_assert(t[1].is_tls);
	cr_assert_str_eq(t[2].host, "::1");
	cr_assert_str_eq(t[2].authority, "[::1]:50051");
}
