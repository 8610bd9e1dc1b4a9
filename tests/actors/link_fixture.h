/* SPDX-License-Identifier: MIT */
/* For tests of the whole way through gateway_link: users that keep on sending, each with some messages
 * in flight, and watch that the answers come once each and in order.  One test file includes this
 * once. */
#ifndef TESTS_ACTORS_LINK_FIXTURE_H
#define TESTS_ACTORS_LINK_FIXTURE_H

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <construct/messages.h>
#include <cx/log.h>
#include <cx/runtime.h>

#include "actors/gateway_link.h"
#include "actors/relay.h"
#include "io/grpc_client.h"
#include "io/loop_uv.h"
#include "wire/base64.h"
#include "wire/server_frame.h"

#define SENDERS 32
#define EACH 120
#define IN_FLIGHT 16 /* of one sender */
#define TOTAL (SENDERS * EACH)
#define CONTENT_MAX 60000

static struct relay near; /* the side of the connections */

static struct {
	uint32_t sent[SENDERS], answered[SENDERS];
	uint64_t asked_ms[SENDERS][EACH];
	uint32_t total, failed, wrong, longest_ms;
} users;

static struct uuid uuid_of(uint32_t kind, uint32_t n)
{
	struct uuid u = { { 0 } };

	memcpy(u.b, &n, sizeof(n));
	u.b[8] = (uint8_t)kind;
	return u;
}

/* Message n of a sender: small ones, and among them some of many DATA frames. */
static size_t frame_write(uint8_t *out, size_t room, uint32_t sender, uint32_t n)
{
	static const size_t sizes[] = { 40, 1000, 40, CONTENT_MAX, 40, 17000, 40, 3 };
	static uint8_t sealed[CONTENT_MAX];
	static char text[BASE64_TEXT_LEN(CONTENT_MAX)];
	struct chat_message m = { .id = uuid_of(3, sender * EACH + n),
		                  .message_number = n,
		                  .from.user = uuid_of(1, sender),
		                  .to.user = uuid_of(2, sender),
		                  .timestamp = 1000 + n };
	const size_t len = sizes[n % (sizeof(sizes) / sizeof(sizes[0]))];

	memset(sealed, (int)n, len);
	m.content = wire_slice(text, base64_encode(sealed, len, text));
	return server_frame_message(out, room, &m);
}

static void send_next(struct cx_ctx *ctx, uint32_t sender)
{
	const uint32_t n = users.sent[sender];
	struct gateway_submit s = { .sender = uuid_of(1, sender),
		                    .owner = uuid_of(2, sender),
		                    .key = uuid_of(3, sender * EACH + n),
		                    .frame_bytes = sender * EACH + n };
	struct cx_buf *frame;
	uint64_t corr;

	if (n == EACH)
		return;
	users.sent[sender]++;
	users.asked_ms[sender][n] = cx_now_ms(ctx);
	frame = cx_buf_new(frame_write(NULL, 0, sender, n));
	frame_write(cx_buf_data(frame), cx_buf_len(frame), sender, n);
	cx_assert(gateway_submit(ctx, &near, &s, frame, 14500, &corr) == CX_OK);
	cx_buf_unref(frame);
}

static void on_begin(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	for (uint32_t i = 0; i < IN_FLIGHT; i++)
		for (uint32_t sender = 0; sender < SENDERS; sender++)
			send_next(ctx, sender);
}

static void on_outcome(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct gateway_outcome *m = CX_MSG_AS(struct gateway_outcome, msg);
	const uint32_t sender = m->frame_bytes / EACH, n = m->frame_bytes % EACH;
	const uint64_t took_ms = cx_now_ms(ctx) - users.asked_ms[sender][n];

	(void)state;
	users.wrong += n != users.answered[sender];
	users.answered[sender] = n + 1;
	users.failed += m->code != ERROR_NONE;
	if (took_ms > users.longest_ms)
		users.longest_ms = (uint32_t)took_ms;
	__atomic_fetch_add(&users.total, 1, __ATOMIC_SEQ_CST);
	send_next(ctx, sender);
}

static void on_lost(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	users.wrong++;
	__atomic_fetch_add(&users.total, 1, __ATOMIC_SEQ_CST);
}

static const struct cx_handler users_handlers[] = {
	CX_ON(ROLE_FINISH, struct cx_msg, on_begin),
	CX_ON(GATEWAY_OUTCOME, struct gateway_outcome, on_outcome),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_lost),
};

static const struct cx_actor_type users_type = {
	.name = "test_users",
	.state_size = 1,
	.mailbox_cap = 65536,
	.placement = CX_PLACE_IO,
	.handlers = users_handlers,
	.handler_count = CX_COUNTOF(users_handlers),
};

/* Users on worker 0, a link and a client on each. */
static struct cx_ref spawn_near(struct cx_runtime *rt, uint32_t workers, const char *targets)
{
	const struct grpc_client_conf client = { .targets = targets,
		                                 .connections = 3,
		                                 .many_of = gateway_link_method,
		                                 .many_by = gateway_link_many };
	struct gateway_link_conf conf = { .relay = &near };
	struct cx_ref ref;

	near.workers = workers;
	for (uint32_t i = 0; i < workers; i++) {
		cr_assert(cx_runtime_spawn(rt, &grpc_client_type, &client, i, &conf.client) ==
		          CX_OK);
		cr_assert(cx_runtime_spawn(rt, &gateway_link_type, &conf, i,
		                           &near.gateways[i]) == CX_OK);
	}
	cr_assert(cx_runtime_spawn(rt, &users_type, NULL, 0, &ref) == CX_OK);
	return ref;
}

static void begin(struct cx_runtime *rt, struct cx_ref ref)
{
	cr_assert(cx_post(rt, ref, cx_post_new(ROLE_FINISH, sizeof(struct cx_msg))) == CX_OK);
}

/* Until so many answers have come, at most 40 s. */
static void await_answers(uint32_t count)
{
	for (int i = 0; i < 40000; i++) {
		if (__atomic_load_n(&users.total, __ATOMIC_SEQ_CST) >= count)
			return;
		usleep(1000);
	}
	cr_assert_fail("%u of %u answers came", users.total, count);
}

#endif
