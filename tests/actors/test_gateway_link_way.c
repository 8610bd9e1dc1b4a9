/* SPDX-License-Identifier: MIT */
/* The whole way in one process: users, link, gRPC client, gRPC server, submissions, gateway, limiter;
 * only store and log are fakes, which always say yes and look at what they get. */
#include "actors/link_fixture.h"
#include "actors/submissions.h"
#include "io/grpc_server.h"
#include "io/log.h"
#include "io/store.h"

static struct relay far; /* the side of the gateway */
static uint32_t appended, differing;
static uint32_t next_of[SENDERS];

static void on_store(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct store_op *op = CX_MSG_AS(struct store_op, msg);
	struct store_result *m = CX_MSG_NEW(ctx, STORE_RESULT, struct store_result);

	(void)state;
	m->what = op->what;
	m->outcome = STORE_OK;
	m->granted = op->n;
	cx_reply(ctx, msg, &m->hdr);
}

static void on_append(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	static uint8_t frame[BASE64_TEXT_LEN(CONTENT_MAX) + 1024];
	const struct log_append_msg *a = CX_MSG_AS(struct log_append_msg, msg);
	struct log_appended *m = CX_MSG_NEW(ctx, LOG_APPENDED, struct log_appended);
	uint32_t sender;
	size_t len;

	(void)state;
	memcpy(&sender, a->peer.b, sizeof(sender));
	cx_assert(sender < SENDERS);
	len = frame_write(frame, sizeof(frame), sender, next_of[sender]++);
	if (len != cx_buf_len(msg->buf) || memcmp(frame, cx_buf_bytes(msg->buf), len) != 0)
		__atomic_fetch_add(&differing, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&appended, 1, __ATOMIC_SEQ_CST);
	m->outcome = LOG_OK;
	cx_reply(ctx, msg, &m->hdr);
}

static const struct cx_handler backend_handlers[] = {
	CX_ON(STORE_OP, struct store_op, on_store),
	CX_ON(LOG_APPEND, struct log_append_msg, on_append),
};

static const struct cx_actor_type backend_type = {
	.name = "test_backend",
	.state_size = 1,
	.mailbox_cap = 65536,
	.placement = CX_PLACE_IO,
	.handlers = backend_handlers,
	.handler_count = CX_COUNTOF(backend_handlers),
};

static struct cx_runtime *rt;
static struct cx_ref servers[2], services[2];

/* Returns the port. */
static uint16_t spawn_far(void)
{
	static const struct relay_conf conf = { .relay = &far };
	const struct grpc_server_settings settings = { .bind = "127.0.0.1",
		                                       .workers = 2,
		                                       .methods = submissions_methods,
		                                       .method_count = SUBMISSIONS_METHODS,
		                                       .service = services };
	const char *why;
	uint16_t port;

	far.workers = 2;
	cr_assert(grpc_server_setup(&settings, &port, &why) == CX_OK, "%s", why);
	cr_assert(cx_runtime_spawn(rt, &backend_type, NULL, 0, &far.logs[0]) == CX_OK);
	far.logs[1] = far.logs[0];
	far.store.reader = far.store.writer = far.logs[0];
	for (unsigned i = 0; i < 2; i++) {
		cr_assert(cx_runtime_spawn(rt, &submissions_type, &conf, i, &services[i]) ==
		          CX_OK);
		cr_assert(cx_runtime_spawn(rt, &gateway_type, &conf, i, &far.gateways[i]) ==
		          CX_OK);
		cr_assert(cx_runtime_spawn(rt, &grpc_server_type, NULL, i, &servers[i]) ==
		          CX_OK);
	}
	return port;
}

Test(gateway_link_way, every_message_arrives_byte_by_byte_as_it_was_sent_and_in_order,
     .timeout = 90)
{
	const struct cx_runtime_conf conf = { .workers = 2, .loop = &loop_uv_ops };
	struct gateway_link_figures f;
	struct cx_ref ref;
	char targets[60];

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	cr_assert(cx_runtime_new(&conf, &rt) == CX_OK);
	snprintf(targets, sizeof(targets), "http://127.0.0.1:%u", spawn_far());
	ref = spawn_near(rt, 2, targets);
	cr_assert(cx_runtime_start(rt) == CX_OK);
	for (unsigned i = 0; i < 2; i++)
		cr_assert(grpc_server_listen_post(rt, servers[i], GRPC_LISTEN_START) == CX_OK);
	begin(rt, ref);
	await_answers(TOTAL);
	cx_runtime_stop(rt);
	gateway_link_figures(&f);
	cx_runtime_free(rt);
	grpc_server_teardown();
	cr_log_info("%u answers, %llu calls, slowest %u ms", users.total,
	            (unsigned long long)f.calls, users.longest_ms);
	cr_assert(users.wrong == 0 && users.failed == 0, "%u wrong, %u failed", users.wrong,
	          users.failed);
	cr_assert(users.total == TOTAL && appended == TOTAL, "%u appended", appended);
	cr_assert(differing == 0, "%u are not as they were sent", differing);
}
