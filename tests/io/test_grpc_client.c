/* SPDX-License-Identifier: MIT */
/* The client against our server, and against servers that are gone, silent or false. */
#include "io/grpc_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "io/grpc_resolve.h"
#include "support/grpc_service.h"
#include "support/tls_pair.h"

/* One actor asks what a test wants and counts what comes; the test's thread reads the counts. */
struct plan {
	struct cx_ref client;
	const char *method;
	uint32_t count, timeout_ms, bytes;
};

static struct {
	uint32_t by_status[17], by_error[CX_ERR_COUNT], wrong, answers;
	char message[GRPC_MESSAGE_BYTES_MAX + 1];
} got;

static void count(uint32_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
}

static void on_go(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct plan *p = (const void *)CX_MSG_AS(struct grpc_control_msg, msg)->name;
	struct cx_buf *buf = cx_buf_new(p->bytes);

	(void)state;
	memset(cx_buf_data(buf), 'q', p->bytes);
	for (uint32_t i = 0; i < p->count; i++) {
		uint64_t corr;
		const enum cx_err err =
			grpc_call(ctx, p->client, p->method, buf, p->timeout_ms, &corr);

		if (err != CX_OK) {
			count(&got.by_error[err]);
			count(&got.answers);
		}
	}
	cx_buf_unref(buf);
}

static void on_result(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct grpc_result *m = CX_MSG_AS(struct grpc_result, msg);

	(void)ctx;
	(void)state;
	if (m->status == GRPC_OK)
		for (size_t i = 0; i < cx_buf_len(msg->buf); i++)
			if (cx_buf_bytes(msg->buf)[i] != 'q') {
				count(&got.wrong);
				break;
			}
	memcpy(got.message, m->message, sizeof(got.message));
	count(&got.by_status[m->status]);
	count(&got.answers);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	count(&got.by_error[CX_MSG_AS(struct cx_msg_error, msg)->err]);
	count(&got.answers);
}

static const struct cx_handler handlers[] = {
	CX_ON(GRPC_CONTROL, struct grpc_control_msg, on_go),
	CX_ON(GRPC_RESULT, struct grpc_result, on_result),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
};

static const struct cx_actor_type driver_type = {
	.name = "test_driver",
	.state_size = 1,
	.mailbox_cap = 65536,
	.placement = CX_PLACE_IO,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

static struct grpc_test_server server;
static struct cx_ref driver, client;
static char targets[256];
static struct tls_pair pair;

/* The server's settings and, with its port in place of %u, the client's targets. */
static void start(const char *text, struct grpc_client_conf conf)
{
	const char *why = grpc_test_make(&server);

	cr_assert_null(why, "%s", why);
	snprintf(targets, sizeof(targets), text, server.port, server.port);
	conf.targets = targets;
	cr_assert_eq(cx_runtime_spawn(server.rt, &grpc_client_type, &conf, 1, &client), CX_OK);
	cr_assert_eq(cx_runtime_spawn(server.rt, &driver_type, NULL, 0, &driver), CX_OK);
	why = grpc_test_run(&server);
	cr_assert_null(why, "%s", why);
}

static void ask(const char *method, uint32_t n, uint32_t timeout_ms, uint32_t bytes)
{
	static struct plan plan;
	struct grpc_control_msg *m =
		(struct grpc_control_msg *)(void *)cx_post_new(GRPC_CONTROL, sizeof(*m));

	plan = (struct plan){ client, method, n, timeout_ms, bytes };
	m->name = (const char *)&plan;
	__atomic_store_n(&got.answers, 0, __ATOMIC_SEQ_CST);
	memset(got.by_status, 0, sizeof(got.by_status));
	cr_assert_eq(cx_post(server.rt, driver, &m->hdr), CX_OK);
}

static void await(uint32_t answers)
{
	for (int i = 0; i < 8000; i++) {
		if (__atomic_load_n(&got.answers, __ATOMIC_SEQ_CST) >= answers)
			return;
		usleep(5000);
	}
	cr_assert_fail("%u of %u answers came", got.answers, answers);
}

static void expect(enum grpc_status status, uint32_t n)
{
	await(n);
	cr_assert_eq(got.by_status[status], n, "%u of %u are %s; the last one says: %s",
	             got.by_status[status], n, grpc_status_name(status), got.message);
	cr_assert_eq(got.wrong, 0);
}

/* Until a connection is there: what is asked before may be UNAVAILABLE. */
static void await_connection(void)
{
	for (int i = 0; i < 100; i++) {
		ask(TEST_ECHO, 1, 20000, 1);
		await(1);
		if (got.by_status[GRPC_OK] == 1)
			return;
		usleep(50000);
	}
	cr_assert_fail("no connection: %s", got.message);
}

/* Until the server has so many connections open, and has had at least so many calls. */
static bool server_comes_to(const struct grpc_server_figures *wanted)
{
	struct grpc_server_figures f;

	for (int i = 0; i < 4000; i++) {
		grpc_server_figures(&f);
		if (f.open == wanted->open && f.calls >= wanted->calls)
			return true;
		usleep(5000);
	}
	return false;
}

static void defaults(void)
{
	grpc_test_defaults(&server);
}

static void stop(void)
{
	grpc_test_stop(&server);
}

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

/* --- false servers --- */

struct false_server {
	int fd;
	uint16_t port;
	bool greets; /* sends SETTINGS, then closes when a call has come; else closes at once */
};

static void listen_falsely(struct false_server *s)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
		                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);

	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(s->fd, (void *)&addr, sizeof(addr)), 0);
	cr_assert_eq(listen(s->fd, 64), 0);
	cr_assert_eq(getsockname(s->fd, (void *)&addr, &len), 0);
	s->port = ntohs(addr.sin_port);
}

static void *serve_falsely(void *arg)
{
	const struct false_server *s = arg;
	const struct timeval patience = { .tv_usec = 300000 }; /* or it is never joined */
	char bytes[4096];

	for (;;) {
		const int fd = accept(s->fd, NULL, NULL);

		if (fd < 0)
			return NULL;
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		if (s->greets && send(fd, "\0\0\0\4\0\0\0\0\0", 9, MSG_NOSIGNAL) == 9)
			for (ssize_t n, all = 0; all < 200; all += n)
				if ((n = recv(fd, bytes, sizeof(bytes), 0)) <= 0)
					break;
		close(fd);
	}
}

static void end_falsely(struct false_server *s, pthread_t thread)
{
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(s->fd);
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
