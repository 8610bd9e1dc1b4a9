/* SPDX-License-Identifier: MIT */
/* What the adapter promises to connection actors: windows and credit, pings, closes, endings. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "support/ws_peer.h"
#include "wire/ws_frame.h"

#define BINARY (PEER_FIN | WS_OP_BINARY)
#define CLOSE (PEER_FIN | WS_OP_CLOSE)
#define WINDOW 65536
#define PUSH_BYTES 1000

/* Does what single letters tell it; everything it learns goes to `seen`, read after the server's
 * end or after an answer on the socket. */
struct puppet {
	struct ws_handle handle;
	uint64_t pushed, credit, in_flight_max;
	uint32_t to_push;
	bool keeps_frames; /* never says that a frame is consumed */
};

static struct {
	uint64_t credit, in_flight_max, frames, pong, closed_code, closed, drains, stops;
} seen;

static void note(uint64_t *place, uint64_t value)
{
	__atomic_store_n(place, value, __ATOMIC_SEQ_CST);
}

static uint64_t look(uint64_t *place)
{
	return __atomic_load_n(place, __ATOMIC_SEQ_CST);
}

static bool becomes(uint64_t *place, uint64_t value)
{
	for (int i = 0; i < 2000 && look(place) != value; i++)
		usleep(10000);
	return look(place) == value;
}

/* As a connection should: inbox frames only while the window allows it. */
static void push(struct cx_ctx *ctx, struct puppet *p)
{
	while (p->to_push > 0 && p->pushed - p->credit + PUSH_BYTES <= WINDOW) {
		struct cx_buf *buf = cx_buf_new(PUSH_BYTES + 8);

		memset(cx_buf_data(buf), 0, PUSH_BYTES + 8);
		memcpy(cx_buf_data(buf) + 8, &p->to_push, sizeof(p->to_push));
		cx_assert(ws_send(ctx, p->handle, buf, 8, PUSH_BYTES, WS_INBOX) == CX_OK);
		cx_buf_unref(buf);
		p->pushed += PUSH_BYTES;
		p->to_push--;
	}
	if (p->pushed - p->credit > p->in_flight_max)
		p->in_flight_max = p->pushed - p->credit;
	note(&seen.in_flight_max, p->in_flight_max);
}

static void on_frame(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct puppet *p = state;
	const uint8_t *at = cx_buf_bytes(msg->buf);
	uint32_t n;

	note(&seen.frames, look(&seen.frames) + 1);
	switch (at[0]) {
	case 'p': /* push n inbox frames */
		memcpy(&n, at + 1, sizeof(n));
		p->to_push += n;
		push(ctx, p);
		break;
	case 'P':
		cx_assert(ws_ping(ctx, p->handle, 0x1122334455667788) == CX_OK);
		break;
	case 'c':
		cx_assert(ws_close(ctx, p->handle, 4409, "displaced") == CX_OK);
		break;
	case 'k':
		p->keeps_frames = true;
		break;
	case 'f':
		cx_fail(ctx, CX_EIO);
		break;
	case 'm': /* many answers, then a close */
		for (int i = 0; i < 200; i++)
			cx_assert(ws_send(ctx, p->handle, msg->buf, 0, 1, WS_ANSWER) == CX_OK);
		cx_assert(ws_close(ctx, p->handle, 1000, NULL) == CX_OK);
		break;
	default:
		cx_assert(ws_send(ctx, p->handle, msg->buf, 0, (uint32_t)cx_buf_len(msg->buf),
		                  WS_ANSWER) == CX_OK);
		break;
	}
	if (!p->keeps_frames)
		cx_assert(ws_consumed(ctx, p->handle, 1, (uint32_t)cx_buf_len(msg->buf)) ==
		          CX_OK);
}

static void on_credit(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct puppet *p = state;

	p->credit += CX_MSG_AS(struct ws_credit, msg)->bytes;
	cx_assert(p->credit <= p->pushed);
	note(&seen.credit, p->credit);
	push(ctx, p);
}

static void on_pong(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	note(&seen.pong, CX_MSG_AS(struct ws_pong_in, msg)->number);
}

static void on_closed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	note(&seen.closed_code, CX_MSG_AS(struct ws_closed, msg)->code);
	note(&seen.closed, look(&seen.closed) + 1);
	cx_stop(ctx);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	const struct ws_connection_conf *c = conf;
	struct puppet *p = state;

	(void)ctx;
	p->handle = c->handle;
	cx_assert(c->window_bytes == WINDOW);
	cx_assert(c->context == &seen);
	cx_assert(c->origin.is_loopback);
	return CX_OK;
}

static void on_end(struct cx_ctx *ctx, void *state)
{
	(void)ctx;
	(void)state;
	note(&seen.stops, look(&seen.stops) + 1);
}

static const struct cx_handler handlers[] = {
	CX_ON(WS_FRAME, struct ws_frame_in, on_frame),
	CX_ON(WS_CREDIT, struct ws_credit, on_credit),
	CX_ON(WS_PONG, struct ws_pong_in, on_pong),
	CX_ON(WS_CLOSED, struct ws_closed, on_closed),
};

static const struct cx_actor_type puppet_type = {
	.name = "puppet",
	.state_size = sizeof(struct puppet),
	.conf_size = sizeof(struct ws_connection_conf),
	.mailbox_cap = 8, /* the adapter must not depend on it */
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = on_end,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

static struct ws_server server;

static void start_puppets(void)
{
	ws_server_defaults(&server);
	server.settings.connection_type = &puppet_type;
	server.settings.connection_context = &seen;
	server.settings.window_bytes = WINDOW;
	ws_server_start(&server);
}

static void stop(void)
{
	ws_server_stop(&server);
}

TestSuite(websocket_flow, .init = start_puppets, .fini = stop, .timeout = 60);

Test(websocket_flow, inbox_frames_come_back_as_credit_to_the_byte)
{
	const int fd = peer_open(server.port);
	const uint32_t n = 1000;
	uint8_t order[5] = "p";

	memcpy(order + 1, &n, sizeof(n));
	peer_send_frame(fd, BINARY, order, sizeof(order));
	for (uint32_t i = n; i > 0; i--) {
		const struct peer_got got = peer_next(fd);

		cr_assert_eq(got.len, PUSH_BYTES);
		cr_assert_eq(memcmp(got.payload, &i, sizeof(i)), 0, "in order");
	}
	cr_assert(becomes(&seen.credit, (uint64_t)n * PUSH_BYTES));
	cr_assert_leq(look(&seen.in_flight_max), WINDOW);
	close(fd);
}

/* G5 from the adapter's side: a client that stops reading holds one window, and then gets it all. */
Test(websocket_flow, a_client_that_stops_reading_uses_one_window_and_loses_nothing)
{
	const int fd = peer_open(server.port);
	const int other = peer_open(server.port);
	const uint32_t n = 20000; /* 20 MB */
	uint8_t order[5] = "p";
	uint64_t before = 0;

	memcpy(order + 1, &n, sizeof(n));
	peer_send_frame(fd, BINARY, order, sizeof(order));
	for (int i = 0; i < 20; i++) {
		usleep(500000);
		if (before > 0 && look(&seen.credit) == before)
			break;
		before = look(&seen.credit);
	}
	usleep(300000);
	cr_assert_eq(look(&seen.credit), before, "the socket is full: no credit");
	cr_assert_gt(before, 0);
	cr_assert_leq(before, 12000000, "that much is in the kernel's buffers");
	cr_assert_leq(look(&seen.in_flight_max), WINDOW);
	peer_send_frame(other, BINARY, "x", 1);
	peer_expect(other, BINARY, "x", 1);
	for (uint32_t i = n; i > 0; i--) {
		const struct peer_got got = peer_next(fd);

		cr_assert_eq(memcmp(got.payload, &i, sizeof(i)), 0, "%u", i);
	}
	cr_assert(becomes(&seen.credit, (uint64_t)n * PUSH_BYTES));
	close(fd);
	close(other);
}

Test(websocket_flow, at_most_64_frames_are_on_their_way_to_an_actor)
{
	const int fd = peer_open(server.port);
	uint8_t all[2000];
	size_t used = 0;

	peer_send_frame(fd, BINARY, "k", 1);
	for (int i = 0; i < 200; i++)
		used += peer_frame(all + used, BINARY, "e", 1);
	peer_send(fd, all, used);
	for (int i = 0; i < 63; i++)
		peer_expect(fd, BINARY, "e", 1);
	usleep(200000);
	cr_assert_eq(look(&seen.frames), 64);
	close(fd);
}

Test(websocket_flow, a_ping_is_answered_by_its_number_and_only_once)
{
	const int fd = peer_open(server.port);
	struct peer_got got;
	uint8_t number[8];

	peer_send_frame(fd, PEER_FIN | WS_OP_PONG, "unasked!", 8);
	peer_send_frame(fd, BINARY, "P", 1);
	got = peer_next(fd);
	cr_assert_eq(got.first, PEER_FIN | WS_OP_PING);
	cr_assert_eq(got.len, 8);
	memcpy(number, got.payload, 8);
	peer_send_frame(fd, PEER_FIN | WS_OP_PONG, "wrong", 5);
	peer_send_frame(fd, BINARY, "e", 1);
	peer_expect(fd, BINARY, "e", 1);
	cr_assert_eq(look(&seen.pong), 0);
	peer_send_frame(fd, PEER_FIN | WS_OP_PONG, number, 8);
	cr_assert(becomes(&seen.pong, 0x1122334455667788));
	note(&seen.pong, 0);
	peer_send_frame(fd, PEER_FIN | WS_OP_PONG, number, 8);
	peer_send_frame(fd, BINARY, "e", 1);
	peer_expect(fd, BINARY, "e", 1);
	cr_assert_eq(look(&seen.pong), 0);
	close(fd);
}

Test(websocket_flow, a_close_of_ours_waits_for_the_peers)
{
	const int fd = peer_open(server.port);
	struct peer_got got;

	peer_send_frame(fd, BINARY, "c", 1);
	got = peer_next(fd);
	cr_assert_eq(got.first, CLOSE);
	cr_assert_eq(got.len, 2 + 9);
	cr_assert_eq(memcmp(got.payload,
	                    "\x11\x39"
	                    "displaced",
	                    11),
	             0);
	peer_send_frame(fd, BINARY, "e", 1); /* too late: not delivered */
	usleep(100000);
	cr_assert_eq(look(&seen.closed), 0);
	peer_send_frame(fd, CLOSE, "\x11\x39", 2);
	cr_assert_eq(peer_next(fd).len, (size_t)-1);
	cr_assert(becomes(&seen.closed, 1));
	cr_assert_eq(look(&seen.closed_code), 4409);
	cr_assert_eq(look(&seen.frames), 1);
	close(fd);
}

Test(websocket_flow, a_peer_that_never_closes_is_cut_off_after_five_seconds)
{
	const int fd = peer_open(server.port);
	struct peer_got got;

	peer_send_frame(fd, BINARY, "c", 1);
	got = peer_next(fd);
	cr_assert_eq(got.first, CLOSE);
	cr_assert_eq(peer_next(fd).len, (size_t)-1);
	cr_assert(becomes(&seen.closed, 1));
	cr_assert_eq(look(&seen.closed_code), 1006);
	close(fd);
}

Test(websocket_flow, what_was_queued_leaves_before_the_close)
{
	const int fd = peer_open(server.port);

	peer_send_frame(fd, BINARY, "m", 1);
	for (int i = 0; i < 200; i++)
		peer_expect(fd, BINARY, "m", 1);
	cr_assert_eq(peer_next(fd).first, CLOSE);
	close(fd);
}

Test(websocket_flow, every_actor_learns_of_its_end_once)
{
	const int codes[] = { 1000, 1005, 1006, 1006, 4444 };

	for (int i = 0; i < 5; i++) {
		const int fd = peer_open(server.port);

		note(&seen.closed, 0);
		if (i == 0)
			peer_send_frame(fd, CLOSE, "\x03\xe8", 2);
		if (i == 1)
			peer_send_frame(fd, CLOSE, "", 0);
		if (i == 3)
			peer_send(fd, "\xff\xff\xff", 3);
		if (i == 4)
			peer_send_frame(fd, CLOSE, "\x11\x5c", 2);
		if (i != 2)
			(void)peer_next(fd);
		close(fd);
		cr_assert(becomes(&seen.closed, 1), "%d", i);
		cr_assert_eq(look(&seen.closed_code), (uint64_t)codes[i], "%d: %lu", i,
		             look(&seen.closed_code));
	}
	cr_assert(becomes(&seen.stops, 5));
}

Test(websocket_flow, a_socket_whose_actor_failed_is_closed_with_1011)
{
	const int fd = peer_open(server.port);

	peer_send_frame(fd, BINARY, "f", 1);
	cr_assert(becomes(&seen.stops, 1));
	peer_send_frame(fd, BINARY, "e", 1);
	peer_expect_close(fd, 1011);
	close(fd);
}
