/* SPDX-License-Identifier: MIT */
#include "support/ws_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "actors/echo.h"
#include "io/loop_uv.h"
#include "wire/ws_frame.h"

const char peer_upgrade[] = "GET / HTTP/1.1\r\n"
			    "Host: localhost\r\n"
			    "Upgrade: websocket\r\n"
			    "Connection: keep-alive, Upgrade\r\n"
			    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
			    "Sec-WebSocket-Version: 13\r\n\r\n";

struct http_state {
	unsigned requests;
};

static void on_request(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	static const char *const names[] = { "GET", "HEAD", "POST", "OTHER" };
	struct http_state *http = state;
	const struct http_request *m = CX_MSG_AS(struct http_request, msg);
	const char *path = (const char *)cx_buf_bytes(msg->buf);
	const size_t body_len = cx_buf_len(msg->buf) - m->path_len;
	char text[9000];
	struct cx_buf *buf;
	enum cx_err err;
	int n;

	http->requests++;
	if (m->path_len == 5 && memcmp(path, "/slow", 5) == 0)
		return;
	if (m->path_len == 4 && memcmp(path, "/big", 4) == 0) {
		buf = cx_buf_new(4000000);
		memset(cx_buf_data(buf), 'b', 4000000);
	} else {
		n = snprintf(text, sizeof(text), "%s %.*s %zu", names[m->method],
		             (int)m->path_len, path, body_len);
		for (size_t i = 0; i < body_len; i++) /* a body of one letter is one */
			if (path[m->path_len + i] != 'z')
				n = snprintf(text, sizeof(text), "odd body");
		buf = cx_buf_copy(text, (size_t)n);
	}
	err = http_respond(ctx, m->handle, m->method == HTTP_OTHER ? 405 : 200, "text/plain",
	                   m->method == HTTP_OTHER ? "Allow: GET, HEAD, POST\r\n" : NULL, buf);
	cx_assert(err == CX_OK);
	cx_buf_unref(buf);
}

static const struct cx_handler http_handlers[] = {
	CX_ON(HTTP_REQUEST, struct http_request, on_request),
};

static const struct cx_actor_type http_type = {
	.name = "test_http",
	.state_size = sizeof(struct http_state),
	.mailbox_cap = 64,
	.placement = CX_PLACE_IO,
	.handlers = http_handlers,
	.handler_count = CX_COUNTOF(http_handlers),
};

void ws_server_defaults(struct ws_server *s)
{
	memset(s, 0, sizeof(*s));
	s->settings = (struct websocket_settings){
		.bind = "127.0.0.1",
		.max_connections = 4000,
		.max_handshakes = 256,
		.handshake_secs = 10,
		.max_frame_bytes = 4 * 1024 * 1024,
		.window_bytes = 262144,
		.workers = WS_PEER_WORKERS,
		.endpoint = WS_ENDPOINT_ANY,
		.connection_type = &echo_type,
	};
}

void ws_server_with_http(struct ws_server *s)
{
	s->settings.http = s->http;
}

void ws_server_start(struct ws_server *s)
{
	const struct cx_runtime_conf conf = { .workers = WS_PEER_WORKERS,
		                              .loop = &loop_uv_ops };
	const char *error_text = NULL;

	cr_assert_eq(cx_runtime_new(&conf, &s->rt), CX_OK);
	cr_assert_eq(websocket_setup(&s->settings, &s->port, &error_text), CX_OK, "%s",
	             error_text);
	for (unsigned i = 0; i < WS_PEER_WORKERS; i++) {
		cr_assert_eq(cx_runtime_spawn(s->rt, &websocket_type, NULL, i, &s->adapters[i]),
		             CX_OK);
		if (s->settings.http != NULL)
			cr_assert_eq(cx_runtime_spawn(s->rt, &http_type, NULL, i, &s->http[i]),
			             CX_OK);
	}
	cr_assert_eq(cx_runtime_start(s->rt), CX_OK);
	for (unsigned i = 0; i < WS_PEER_WORKERS; i++)
		cr_assert_eq(ws_listen_post(s->rt, s->adapters[i], WS_LISTEN_START, 0), CX_OK);
}

void ws_server_stop(struct ws_server *s)
{
	cx_runtime_stop(s->rt);
	cx_runtime_free(s->rt);
	websocket_teardown();
}

int peer_connect_from(uint16_t port, unsigned last_byte)
{
	const struct timeval limit = { .tv_sec = 20 };
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in from = { .sin_family = AF_INET };
	int fd;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < 2000; i++) { /* the workers may not listen yet */
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		cr_assert_geq(fd, 0);
		from.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + last_byte);
		cr_assert_eq(
			bind(fd, (const struct sockaddr *)(const void *)&from, sizeof(from)),
			0);
		if (connect(fd, (const struct sockaddr *)(const void *)&addr, sizeof(addr)) ==
		    0) {
			setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
			setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
			return fd;
		}
		close(fd);
		usleep(10000);
	}
	cr_assert_fail("nobody listens on port %u", port);
	return -1;
}

int peer_connect(uint16_t port)
{
	return peer_connect_from(port, 1);
}

void peer_send(int fd, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	while (len > 0) {
		const ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		cr_assert_gt(n, 0, "send: %s", strerror(errno));
		at += n;
		len -= (size_t)n;
	}
}

void peer_text(int fd, const char *text)
{
	peer_send(fd, text, strlen(text));
}

size_t peer_read_all(int fd, char *out, size_t max, bool *was_reset)
{
	size_t used = 0;
	ssize_t n = 1;

	while (used < max && n > 0) {
		n = recv(fd, out + used, max - used, 0);
		cr_assert(n >= 0 || errno == ECONNRESET, "recv: %s", strerror(errno));
		if (n > 0)
			used += (size_t)n;
	}
	*was_reset = n < 0;
	out[used < max ? used : max - 1] = '\0';
	return used;
}

static bool read_exactly(int fd, void *out, size_t len)
{
	uint8_t *at = out;

	while (len > 0) {
		const ssize_t n = recv(fd, at, len, 0);

		if (n <= 0) {
			cr_assert_eq(n, 0, "recv: %s", strerror(errno));
			return false;
		}
		at += n;
		len -= (size_t)n;
	}
	return true;
}

int peer_open(uint16_t port)
{
	const int fd = peer_connect(port);
	char head[512];
	size_t used = 0;

	peer_text(fd, peer_upgrade);
	while (used < 4 || memcmp(head + used - 4, "\r\n\r\n", 4) != 0) {
		cr_assert_lt(used, sizeof(head));
		cr_assert(read_exactly(fd, head + used, 1), "ended in the handshake");
		used++;
	}
	cr_assert_eq(memcmp(head, "HTTP/1.1 101 ", 13), 0, "%.*s", (int)used, head);
	cr_assert_not_null(memmem(head, used, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28));
	return fd;
}

size_t peer_frame(uint8_t *out, uint8_t first, const void *payload, size_t len)
{
	static const uint8_t mask[4] = { 0x12, 0x34, 0x56, 0x78 };
	const uint8_t *from = payload;
	size_t n = 0;

	out[n++] = first;
	if (len < 126) {
		out[n++] = (uint8_t)(0x80 | len);
	} else if (len <= 0xffff) {
		out[n++] = 0x80 | 126;
		out[n++] = (uint8_t)(len >> 8);
		out[n++] = (uint8_t)len;
	} else {
		out[n++] = 0x80 | 127;
		for (int shift = 56; shift >= 0; shift -= 8)
			out[n++] = (uint8_t)(len >> shift);
	}
	memcpy(out + n, mask, 4);
	n += 4;
	for (size_t i = 0; i < len; i++)
		out[n++] = from[i] ^ mask[i & 3];
	return n;
}

void peer_send_frame(int fd, uint8_t first, const void *payload, size_t len)
{
	uint8_t *frame = malloc(len + 14);

	peer_send(fd, frame, peer_frame(frame, first, payload, len));
	free(frame);
}

struct peer_got peer_next(int fd)
{
	static uint8_t *kept;
	struct peer_got got = { 0, NULL, (size_t)-1 };
	uint8_t head[8];

	free(kept);
	kept = NULL;
	if (!read_exactly(fd, head, 2))
		return got;
	got.first = head[0];
	got.len = head[1];
	if (got.len == 126) {
		cr_assert(read_exactly(fd, head, 2));
		got.len = (size_t)head[0] << 8 | head[1];
	} else if (got.len == 127) {
		cr_assert(read_exactly(fd, head, 8));
		got.len = 0;
		for (int i = 0; i < 8; i++)
			got.len = got.len << 8 | head[i];
	}
	kept = malloc(got.len + 1);
	cr_assert_not_null(kept);
	cr_assert(read_exactly(fd, kept, got.len));
	got.payload = kept;
	return got;
}

void peer_expect(int fd, uint8_t first, const void *payload, size_t len)
{
	const struct peer_got got = peer_next(fd);

	cr_assert_eq(got.len, len, "%zu bytes, not %zu (first byte %02x)", got.len, len,
	             got.first);
	cr_assert_eq(got.first, first, "%02x, not %02x", got.first, first);
	cr_assert_eq(memcmp(got.payload, payload, len), 0);
}

void peer_expect_close(int fd, uint16_t code)
{
	struct peer_got got = peer_next(fd);

	cr_assert_eq(got.first, PEER_FIN | WS_OP_CLOSE, "%02x", got.first);
	cr_assert_geq(got.len, 2);
	cr_assert_eq(got.payload[0] << 8 | got.payload[1], code, "%d",
	             got.payload[0] << 8 | got.payload[1]);
	got = peer_next(fd);
	cr_assert_eq(got.len, (size_t)-1, "more after the close");
}

bool peer_wait(bool (*figure)(const struct websocket_figures *f))
{
	struct websocket_figures f;

	for (int i = 0; i < 2000; i++) {
		websocket_figures(&f);
		if (figure(&f))
			return true;
		usleep(10000);
	}
	return false;
}
