/* SPDX-License-Identifier: MIT */
/* For tests of the gRPC client: a server of ours, a client, and one actor that asks what a test wants and
 * counts what comes; the test's thread reads the counts. */
#ifndef TESTS_IO_GRPC_CLIENT_FIXTURE_H
#define TESTS_IO_GRPC_CLIENT_FIXTURE_H

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

#include "support/grpc_service.h"

struct plan {
	struct cx_ref client;
	const char *method;
	uint32_t count, timeout_ms, bytes;
};

static struct {
	uint32_t by_status[17], by_error[CX_ERR_COUNT], wrong, answers;
	char message[GRPC_MESSAGE_BYTES_MAX + 1];
} got;

static uint64_t affinity; /* of the calls; 0: none */

static inline void count(uint32_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
}

static inline void on_go(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct plan *p = (const void *)CX_MSG_AS(struct grpc_control_msg, msg)->name;
	struct cx_buf *buf = cx_buf_new(p->bytes);

	(void)state;
	memset(cx_buf_data(buf), 'q', p->bytes);
	for (uint32_t i = 0; i < p->count; i++) {
		uint64_t corr;
		const enum cx_err err = grpc_call_by(ctx, p->client, p->method, buf, affinity,
		                                     p->timeout_ms, &corr);

		if (err != CX_OK) {
			count(&got.by_error[err]);
			count(&got.answers);
		}
	}
	cx_buf_unref(buf);
}

static inline void on_result(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
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

static inline void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
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

/* The server's settings and, with its port in place of %u, the client's targets. */
static inline void start(const char *text, struct grpc_client_conf conf)
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

static inline void ask(const char *method, uint32_t n, uint32_t timeout_ms, uint32_t bytes)
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

static inline void await(uint32_t answers)
{
	for (int i = 0; i < 8000; i++) {
		if (__atomic_load_n(&got.answers, __ATOMIC_SEQ_CST) >= answers)
			return;
		usleep(5000);
	}
	cr_assert_fail("%u of %u answers came", got.answers, answers);
}

static inline void expect(enum grpc_status status, uint32_t n)
{
	await(n);
	cr_assert_eq(got.by_status[status], n, "%u of %u are %s; the last one says: %s",
	             got.by_status[status], n, grpc_status_name(status), got.message);
	cr_assert_eq(got.wrong, 0);
}

/* Until a connection is there: what is asked before may be UNAVAILABLE. */
static inline void await_connection(void)
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
static inline bool server_comes_to(const struct grpc_server_figures *wanted)
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

static inline void defaults(void)
{
	grpc_test_defaults(&server);
}

static inline void stop(void)
{
	grpc_test_stop(&server);
}

/* --- false servers --- */

struct false_server {
	int fd;
	uint16_t port;
	bool greets; /* sends SETTINGS, then closes when a call has come; else closes at once */
};

static inline void listen_falsely(struct false_server *s)
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

static inline void *serve_falsely(void *arg)
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

static inline void end_falsely(struct false_server *s, pthread_t thread)
{
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(s->fd);
}

#endif
