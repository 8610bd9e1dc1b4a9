/* SPDX-License-Identifier: MIT */
/* Calls of one affinity: their order at the server, and what a failure means for those behind it. */
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <construct/messages.h>

#include "io/grpc_client.h"
#include "support/grpc_service.h"

#define LANES 40
#define EACH 90 /* all of them at once are within the client's mailbox */

static const char order[] = TEST_ORDER;
static struct grpc_test_server server;
static struct cx_ref driver, client;
static char targets[100];

/* What the driver does in one turn, and what it has got. */
static struct plan {
	const char *method;
	const char *first; /* one of this goes before, or NULL */
	uint64_t affinity;
	uint32_t count;
	bool is_order, mends;
} plan;

static struct {
	uint32_t by_status[17], errors, answers;
} got;

static void count(uint32_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
}

static void call(struct cx_ctx *ctx, const char *method, struct cx_buf *buf, uint64_t affinity)
{
	uint64_t corr;

	cx_assert(grpc_call_by(ctx, client, method, buf, affinity, 20000, &corr) == CX_OK);
	cx_buf_unref(buf);
}

/* Of all lanes in turn; every seventh takes many frames, so that those behind it could pass. */
static void call_in_order(struct cx_ctx *ctx)
{
	for (uint32_t n = 0; n < plan.count; n++)
		for (uint32_t who = 0; who < LANES; who++) {
			const size_t len = (n + who) % 7 == 0 ? 90000 : 100;
			struct cx_buf *buf = cx_buf_new(len);

			memset(cx_buf_data(buf), 0, len);
			memcpy(cx_buf_data(buf), (uint32_t[2]){ who, n }, 8);
			call(ctx, order, buf, plan.affinity + who);
		}
}

static void on_go(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	if (plan.mends)
		cx_assert(grpc_mend(ctx, client, plan.affinity) == CX_OK);
	if (plan.first != NULL)
		call(ctx, plan.first, cx_buf_new(0), plan.affinity);
	if (plan.is_order)
		call_in_order(ctx);
	else
		for (uint32_t i = 0; i < plan.count; i++)
			call(ctx, plan.method, cx_buf_new(0), plan.affinity);
}

static void on_result(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	count(&got.by_status[CX_MSG_AS(struct grpc_result, msg)->status]);
	count(&got.answers);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	count(&got.errors);
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

/* other_port: of one more target, or 0. */
static void start_beside(struct grpc_client_conf conf, uint16_t other_port)
{
	const char *why = grpc_test_make(&server);

	cr_assert_null(why, "%s", why);
	if (other_port == 0)
		snprintf(targets, sizeof(targets), "http://127.0.0.1:%u", server.port);
	else
		snprintf(targets, sizeof(targets), "http://127.0.0.1:%u,http://127.0.0.1:%u",
		         server.port, other_port);
	conf.targets = targets;
	cr_assert(cx_runtime_spawn(server.rt, &grpc_client_type, &conf, 1, &client) == CX_OK);
	cr_assert(cx_runtime_spawn(server.rt, &driver_type, NULL, 0, &driver) == CX_OK);
	why = grpc_test_run(&server);
	cr_assert_null(why, "%s", why);
}

static void start(struct grpc_client_conf conf)
{
	start_beside(conf, 0);
}

static void post(struct plan p, uint32_t answers)
{
	memset(&got, 0, sizeof(got));
	plan = p;
	cr_assert(cx_post(server.rt, driver,
	                  cx_post_new(GRPC_CONTROL, sizeof(struct grpc_control_msg))) == CX_OK);
	for (int i = 0; i < 6000; i++) {
		if (__atomic_load_n(&got.answers, __ATOMIC_SEQ_CST) >= answers)
			return;
		usleep(5000);
	}
	cr_assert_fail("%u of %u answers came", got.answers, answers);
}

/* n calls of this affinity in one turn, all with this status. */
static void expect(const char *method, uint64_t affinity, uint32_t n, enum grpc_status status)
{
	post((struct plan){ .method = method, .affinity = affinity, .count = n }, n);
	cr_assert(got.by_status[status] == n, "%u of %u are %s", got.by_status[status], n,
	          grpc_status_name(status));
}

/* The first calls may find nothing to go to. */
static void await_connection(void)
{
	for (int i = 0; i < 100; i++) {
		post((struct plan){ .method = TEST_ECHO, .count = 1 }, 1);
		if (got.by_status[GRPC_OK] == 1)
			return;
		usleep(20000);
	}
	cr_assert_fail("no connection");
}

static void set_up(void)
{
	grpc_test_defaults(&server);
}

static void tear_down(void)
{
	grpc_test_stop(&server);
}

TestSuite(grpc_lane, .init = set_up, .fini = tear_down, .timeout = 60);

static void expect_order(struct grpc_client_conf conf)
{
	conf.max_queue = LANES * EACH;
	start(conf);
	await_connection();
	post((struct plan){ .is_order = true, .affinity = 1000, .count = EACH }, EACH * LANES);
	cr_assert(got.by_status[GRPC_OK] == EACH * LANES, "%u of %u in order, %u errors",
	          got.by_status[GRPC_OK], EACH * LANES, got.errors);
}

Test(grpc_lane, calls_reach_the_server_in_order_however_big_they_are)
{
	expect_order((struct grpc_client_conf){ .connections = 8 });
}

Test(grpc_lane, calls_of_one_stream_reach_the_server_in_order)
{
	struct grpc_server_figures f;

	expect_order((struct grpc_client_conf){ .many_of = order, .many_by = TEST_MANY_ORDER });
	grpc_server_figures(&f);
	cr_assert(f.many == EACH * LANES);
}

Test(grpc_lane, calls_of_one_stream_reach_the_server_in_order_when_few_may_be_there)
{
	server.settings.max_streams = 12;
	expect_order((struct grpc_client_conf){ .many_of = order, .many_by = TEST_MANY_ORDER });
}

Test(grpc_lane, calls_reach_the_server_in_order_when_streams_are_few)
{
	server.settings.max_streams = 7;
	expect_order((struct grpc_client_conf){ .connections = 4 });
}

Test(grpc_lane, after_a_failure_nothing_behind_it_is_carried_out_until_it_is_mended)
{
	start((struct grpc_client_conf){ 0 });
	await_connection();
	expect(TEST_ECHO, 7, 10, GRPC_OK);
	expect(TEST_BUSY, 7, 1, GRPC_UNAVAILABLE);
	expect(TEST_ECHO, 7, 10, GRPC_UNAVAILABLE);
	expect(TEST_ECHO, 8, 10, GRPC_OK); /* others go on */
	expect(TEST_ECHO, 0, 10, GRPC_OK);
	post((struct plan){ .method = TEST_ECHO, .affinity = 7, .count = 10, .mends = true },
	     10);
	cr_assert(got.by_status[GRPC_OK] == 10);
}

Test(grpc_lane, a_refusal_of_the_service_stops_nobody)
{
	start((struct grpc_client_conf){ 0 });
	await_connection();
	expect(TEST_FAIL, 7, 3, GRPC_INVALID_ARGUMENT);
	expect(TEST_ECHO, 7, 10, GRPC_OK);
}

Test(grpc_lane, what_waits_in_the_queue_fails_with_the_one_before_it)
{
	server.settings.max_streams = 1;
	start((struct grpc_client_conf){ .connections = 1 });
	await_connection();
	post(
		(struct plan){
			.first = TEST_BUSY, .method = TEST_ECHO, .affinity = 7, .count = 20 },
		21);
	cr_assert(got.by_status[GRPC_UNAVAILABLE] == 21, "%u", got.by_status[GRPC_UNAVAILABLE]);
	expect(TEST_ECHO, 8, 1, GRPC_OK);
}

Test(grpc_lane, a_call_that_finds_the_queue_full_stops_those_behind_it)
{
	server.settings.max_streams = 1;
	start((struct grpc_client_conf){ .connections = 1, .max_queue = 1 });
	await_connection();
	post((struct plan){ .method = TEST_LATER, .affinity = 7, .count = 4 }, 4);
	cr_assert(got.errors >= 1, "the queue was full");
	cr_assert(got.by_status[GRPC_UNAVAILABLE] + got.by_status[GRPC_OK] + got.errors == 4);
	expect(TEST_ECHO, 7, 1, GRPC_UNAVAILABLE);
	expect(TEST_ECHO, 8, 1, GRPC_OK);
}

/* ---- a server that takes calls and then says that it has carried out none of them ---- */

static struct {
	int fd;
	uint16_t port;
	uint32_t greeted; /* the client's answer to our SETTINGS has come */
} liar;

static void listen_falsely(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
		                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);

	liar.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(bind(liar.fd, (void *)&addr, sizeof(addr)) == 0);
	cr_assert(listen(liar.fd, 1) == 0);
	cr_assert(getsockname(liar.fd, (void *)&addr, &len) == 0);
	liar.port = ntohs(addr.sin_port);
}

/* One connection; the second one finds nobody. */
static void *serve_falsely(void *arg)
{
	static const uint8_t settings[9] = { 0, 0, 0, 4 };
	static const uint8_t goaway[17] = { 0, 0, 8, 7 }; /* last stream 0, NO_ERROR */
	const int fd = accept(liar.fd, NULL, NULL);
	char bytes[4096];
	ssize_t all = 0, n;

	(void)arg;
	if (fd < 0)
		return NULL;
	close(liar.fd);
	send(fd, settings, sizeof(settings), MSG_NOSIGNAL);
	while (all < 5000 && (n = recv(fd, bytes, sizeof(bytes), 0)) > 0) {
		all += n;
		if (all > 24 + 9) /* the preface, an acknowledgement */
			__atomic_store_n(&liar.greeted, 1, __ATOMIC_SEQ_CST);
	}
	send(fd, goaway, sizeof(goaway), MSG_NOSIGNAL);
	while (recv(fd, bytes, sizeof(bytes), 0) > 0)
		;
	close(fd);
	return NULL;
}

Test(grpc_lane, calls_that_a_server_refused_at_its_end_are_not_mixed_into_another_order)
{
	struct grpc_server_figures f = { 0 };
	uint32_t refused;
	pthread_t thread;

	listen_falsely();
	pthread_create(&thread, NULL, serve_falsely, NULL);
	start_beside((struct grpc_client_conf){ 0 }, liar.port);
	for (int i = 0; i < 4000; i++) {
		grpc_server_figures(&f);
		if (f.open == 1 && __atomic_load_n(&liar.greeted, __ATOMIC_SEQ_CST))
			break;
		usleep(5000);
	}
	cr_assert(f.open == 1 && __atomic_load_n(&liar.greeted, __ATOMIC_SEQ_CST));
	usleep(200000); /* both greetings are over: each has its part of the lanes */
	post((struct plan){ .is_order = true, .affinity = 1000, .count = 20 }, 20 * LANES);
	refused = got.by_status[GRPC_UNAVAILABLE];
	cr_assert(refused > 0 && refused % 20 == 0, "%u refused: lanes, whole", refused);
	cr_assert(got.by_status[GRPC_OK] == 20 * LANES - refused);
	pthread_join(thread, NULL);
}
