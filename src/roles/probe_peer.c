/* SPDX-License-Identifier: MIT */
#include "roles/probe_peer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/random.h>

#include "roles/bench_memory.h"

#define MS UINT64_C(1000000)
#define CLOSE_NORMAL 1000
#define FRAME_BYTES_MAX 4096

struct probe_received {
	struct probe_received *next;
	uint64_t stamp_ns;
	size_t len;
	uint8_t bytes[];
};

static bool fail(struct probe_peer *peer, const char *what)
{
	snprintf(peer->net->why, sizeof(peer->net->why), "%s", what);
	return false;
}

static void on_open(struct ws_client *conn)
{
	((struct probe_peer *)ws_client_user(conn))->is_open = true;
}

static void on_message(struct ws_client *conn, enum ws_client_op op, const uint8_t *data,
                       size_t len)
{
	struct probe_peer *peer = ws_client_user(conn);
	struct probe_received *r;

	if (op == WS_CLIENT_PONG) {
		peer->pongs++;
		return;
	}
	r = bench_alloc(1, sizeof(*r) + len);
	r->len = len;
	r->stamp_ns = ws_client_loop_stamp_ns(peer->net->loop);
	memcpy(r->bytes, data, len);
	if (peer->last)
		peer->last->next = r;
	else
		peer->first = r;
	peer->last = r;
}

static void on_end(struct ws_client *conn, const struct ws_client_end *end)
{
	struct probe_peer *peer = ws_client_user(conn);

	peer->conn = NULL;
	peer->is_open = false;
	peer->has_ended = true;
	peer->end = *end;
}

static const struct ws_client_handlers handlers = {
	.on_open = on_open,
	.on_message = on_message,
	.on_end = on_end,
};

/* Waits until the condition holds, the connection has ended, or time is over. */
static bool wait_for(struct probe_peer *peer, bool (*is_done)(const struct probe_peer *),
                     const char *what)
{
	struct probe_net *net = peer->net;
	const uint64_t deadline_ns = ws_client_now_ns() + net->timeout_ns;

	while (!is_done(peer)) {
		if (peer->has_ended) {
			snprintf(net->why, sizeof(net->why), "%s's connection ended: %s",
			         peer->label == 'A' ? "A" : "B", peer->end.text);
			return false;
		}
		if (ws_client_now_ns() >= deadline_ns) {
			snprintf(net->why, sizeof(net->why), "no %s for %c within %.0f s", what,
			         peer->label, (double)net->timeout_ns / 1e9);
			return false;
		}
		ws_client_loop_turn(net->loop, deadline_ns);
	}
	return true;
}

static bool is_open(const struct probe_peer *peer)
{
	return peer->is_open;
}

static bool has_ended(const struct probe_peer *peer)
{
	return peer->has_ended;
}

static bool has_frame(const struct probe_peer *peer)
{
	return peer->first != NULL;
}

static bool has_pong(const struct probe_peer *peer)
{
	return peer->pongs > 0;
}

static void forget_frames(struct probe_peer *peer)
{
	free(peer->taken);
	peer->taken = NULL;
	while (peer->first) {
		struct probe_received *r = peer->first;

		peer->first = r->next;
		free(r);
	}
	peer->last = NULL;
}

bool probe_peer_init(struct probe_peer *peer, struct probe_net *net,
                     const struct ws_client_target *target, char label)
{
	uint64_t random[3];

	*peer = (struct probe_peer){ .net = net, .target = target, .label = label };
	if (getrandom(random, sizeof(random), 0) != sizeof(random) ||
	    !ws_client_identity_make(&peer->identity))
		return fail(peer, "the system gives no random bytes");
	snprintf(peer->username, sizeof(peer->username), "probe_%016" PRIx64, random[0]);
	snprintf(peer->password, sizeof(peer->password), "Probe-%08x-%016" PRIx64,
	         (uint32_t)random[1], random[2]);
	return true;
}

void probe_peer_free(struct probe_peer *peer)
{
	if (peer->conn)
		ws_client_drop(peer->conn);
	forget_frames(peer);
}

bool probe_peer_open(struct probe_peer *peer)
{
	forget_frames(peer);
	peer->has_ended = peer->is_open = false;
	if (ws_client_open(peer->net->loop, peer->target, &handlers, peer, &peer->conn) !=
	    CX_OK)
		return fail(peer, strerror(errno));
	return wait_for(peer, is_open, "answer to the WebSocket handshake");
}

bool probe_peer_close(struct probe_peer *peer)
{
	if (!peer->conn)
		return fail(peer, "the connection had ended before it was closed");
	ws_client_close(peer->conn, CLOSE_NORMAL);
	if (!wait_for(peer, has_ended, "answer to the close frame"))
		return false;
	if (peer->end.kind == WS_CLIENT_END_CLOSED && peer->end.code == CLOSE_NORMAL)
		return true;
	return fail(peer, peer->end.text);
}

bool probe_peer_ping(struct probe_peer *peer)
{
	if (!peer->conn)
		return fail(peer, "the connection has ended");
	peer->pongs = 0;
	ws_client_send(peer->conn, WS_CLIENT_PING, "probe", 5);
	return wait_for(peer, has_pong, "pong");
}

void probe_peer_send(struct probe_peer *peer, const uint8_t *frame, size_t len)
{
	if (peer->conn)
		ws_client_send(peer->conn, WS_CLIENT_BINARY, frame, len);
}

static const char *name_of(enum bench_frame_type type)
{
	static const char *const names[] = {
		[BENCH_FRAME_MESSAGE] = "message",
		[BENCH_FRAME_ACK] = "ack",
		[BENCH_FRAME_ERROR] = "error",
		[BENCH_FRAME_CONNECT_SUCCESS] = "connectSuccess",
		[BENCH_FRAME_REGISTER_SUCCESS] = "registerSuccess",
		[BENCH_FRAME_PUBLIC_KEY_BUNDLE] = "publicKeyBundle",
		[BENCH_FRAME_DELETE_ACCOUNT_SUCCESS] = "deleteAccountSuccess",
	};

	return (size_t)type < sizeof(names) / sizeof(names[0]) && names[type] ? names[type]
	                                                                      : "answer";
}

static bool take_frame(struct probe_peer *peer, struct bench_frame *frame)
{
	free(peer->taken);
	peer->taken = peer->first;
	peer->first = peer->taken->next;
	peer->stamp_ns = peer->taken->stamp_ns;
	if (!peer->first)
		peer->last = NULL;
	if (bench_frame_read(peer->taken->bytes, peer->taken->len, frame))
		return true;
	return fail(peer, "the server sent a frame that is no {type, payload}");
}

/* `delivered` is promised at least once: where it is not asked for, it may come again. */
static bool is_told_again(const struct bench_frame *frame, enum bench_frame_type wanted)
{
	return wanted != BENCH_FRAME_ACK && frame->type == BENCH_FRAME_ACK &&
	       bench_slice_is(frame->status, "delivered");
}

bool probe_peer_expect(struct probe_peer *peer, enum bench_frame_type type,
                       struct bench_frame *frame)
{
	struct probe_net *net = peer->net;

	do {
		if (!wait_for(peer, has_frame, name_of(type)) || !take_frame(peer, frame))
			return false;
	} while (is_told_again(frame, type));
	if (frame->type == type)
		return true;
	if (frame->type == BENCH_FRAME_ERROR)
		snprintf(net->why, sizeof(net->why), "%c got error %.*s (%.*s) instead of %s",
		         peer->label, (int)frame->code.len, frame->code.at,
		         (int)frame->text.len, frame->text.at, name_of(type));
	else
		snprintf(net->why, sizeof(net->why), "%c got %.*s instead of %s", peer->label,
		         (int)frame->type_name.len, frame->type_name.at, name_of(type));
	return false;
}

bool probe_peer_expect_silence(struct probe_peer *peer, uint64_t for_ns)
{
	const uint64_t until_ns = ws_client_now_ns() + for_ns;
	struct bench_frame frame;

	while (!peer->has_ended && ws_client_now_ns() < until_ns) {
		ws_client_loop_turn(peer->net->loop, until_ns);
		while (peer->first) {
			if (!take_frame(peer, &frame))
				return false;
			if (is_told_again(&frame, BENCH_FRAME_OTHER))
				continue;
			return fail(peer, frame.type == BENCH_FRAME_MESSAGE
			                          ? "a message came again"
			                          : "a frame came");
		}
	}
	return !peer->has_ended || fail(peer, peer->end.text);
}

static size_t put_register(const struct probe_peer *peer, uint8_t *to)
{
	struct bench_writer w = { .at = to };

	bench_put_head(&w, "register", 3);
	bench_put_text(&w, "username");
	bench_put_text(&w, peer->username);
	bench_put_text(&w, "password");
	bench_put_text(&w, peer->password);
	bench_put_text(&w, "publicKey");
	bench_put_bundle(&w, peer->identity.master_key, peer->identity.bundle,
	                 peer->identity.signature);
	return w.len;
}

bool probe_peer_register(struct probe_peer *peer)
{
	uint8_t bytes[FRAME_BYTES_MAX];
	struct bench_frame f;

	probe_peer_send(peer, bytes, put_register(peer, bytes));
	if (!probe_peer_expect(peer, BENCH_FRAME_REGISTER_SUCCESS, &f))
		return false;
	if (f.user_id.len != BENCH_ID_CHARS || f.token.len == 0 ||
	    f.token.len >= sizeof(peer->token))
		return fail(peer, "registerSuccess without a user id or a session token");
	memcpy(peer->id, f.user_id.at, BENCH_ID_CHARS);
	memcpy(peer->token, f.token.at, f.token.len);
	if (!bench_slice_is(f.username, peer->username))
		return fail(peer, "registerSuccess names another user");
	return true;
}

bool probe_peer_connect(struct probe_peer *peer)
{
	uint8_t bytes[FRAME_BYTES_MAX];
	struct bench_frame f;

	if (!probe_peer_open(peer))
		return false;
	probe_peer_send(peer, bytes,
	                bench_frame_texts(bytes, "connect", "sessionToken", peer->token, NULL));
	if (!probe_peer_expect(peer, BENCH_FRAME_CONNECT_SUCCESS, &f))
		return false;
	return bench_slice_is(f.user_id, peer->id) ||
	       fail(peer, "connectSuccess names another user");
}

bool probe_peer_delete(struct probe_peer *peer)
{
	uint8_t bytes[FRAME_BYTES_MAX];
	struct bench_frame f;

	if (!peer->id[0])
		return true;
	if (!peer->conn && !probe_peer_connect(peer))
		return false;
	forget_frames(peer);
	probe_peer_send(peer, bytes,
	                bench_frame_texts(bytes, "deleteAccount", "sessionToken", peer->token,
	                                  "password", peer->password, NULL));
	do { /* what still was on its way does not matter any more */
		if (!wait_for(peer, has_frame, "deleteAccountSuccess"))
			return false;
	} while (!probe_peer_expect(peer, BENCH_FRAME_DELETE_ACCOUNT_SUCCESS, &f) &&
	         f.type != BENCH_FRAME_ERROR);
	if (f.type == BENCH_FRAME_ERROR)
		return false;
	peer->id[0] = '\0';
	return true;
}
