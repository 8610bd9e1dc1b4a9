/* SPDX-License-Identifier: MIT */
/* Sockets until they are a WebSocket, and HTTP requests: listener, limits, request head, answers. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cx/log.h>

#include "io/websocket_internal.h"

#define ACCEPTS_A_TURN 32
#define VICTIM_AGE_MS 1000   /* a handshake this old may be dropped for a new one */
#define OWN_VICTIM_AGE_MS 50 /* for one of the same address, which has more than its share */
#define LINGERERS_MAX 2048   /* refused clients that are waited for, each worker */

static const char *status_text(uint16_t status)
{
	switch (status) {
	case 200:
		return "OK";
	case 202:
		return "Accepted";
	case 400:
		return "Bad Request";
	case 401:
		return "Unauthorized";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 409:
		return "Conflict";
	case 411:
		return "Length Required";
	case 413:
		return "Content Too Large";
	case 414:
		return "URI Too Long";
	case 426:
		return "Upgrade Required";
	case 429:
		return "Too Many Requests";
	case 431:
		return "Request Header Fields Too Large";
	case 500:
		return "Internal Server Error";
	case 501:
		return "Not Implemented";
	case 503:
		return "Service Unavailable";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Status";
	}
}

/* The answer goes out, then the socket ends. */
static void finish(struct ws_conn *c)
{
	if (c->counted == WS_COUNTED_HANDSHAKE)
		ws_uncount(c);
	ws_begin_closing(c, WS_AWAIT_END, WS_LIST_LINGER);
}

void ws_respond(struct ws_conn *c, uint16_t status, const char *content_type,
                const char *headers, struct cx_buf *body)
{
	const uint32_t len = body == NULL ? 0 : (uint32_t)cx_buf_len(body);
	char head[1024];
	struct cx_buf *buf;
	int n;

	n = snprintf(head, sizeof(head),
	             "HTTP/1.1 %u %s\r\n"
	             "Content-Type: %s\r\n"
	             "Content-Length: %u\r\n"
	             "Connection: close\r\n"
	             "%s\r\n",
	             (unsigned)status, status_text(status),
	             content_type == NULL ? "text/plain; charset=utf-8" : content_type,
	             (unsigned)len, headers == NULL ? "" : headers);
	cx_assert(n > 0 && n < (int)sizeof(head)); /* headers are static texts of ours */
	buf = cx_buf_copy(head, (size_t)n);
	ws_out_push(c, buf, 0, (uint32_t)n, WS_OUT_RAW);
	cx_buf_unref(buf);
	if (len > 0 && !c->is_head_request)
		ws_out_push(c, body, 0, len, WS_OUT_RAW);
	finish(c);
}

void ws_refuse(struct ws_conn *c, uint16_t status)
{
	const char *headers = NULL;
	struct cx_buf *body;
	char text[64];
	int n;

	ws_count(&c->adapter->figures.handshakes_failed, 1);
	if (status == 426)
		headers = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
	else if (status == 503)
		headers = "Retry-After: 1\r\n";
	n = snprintf(text, sizeof(text), "{\"error\":\"%s\"}\n", status_text(status));
	body = cx_buf_copy(text, (size_t)n);
	ws_respond(c, status, "application/json", headers, body);
	cx_buf_unref(body);
}

bool ws_reserve_open(struct ws_conn *c)
{
	const uint32_t max = c->adapter->settings->max_connections;

	/* relaxed: only the number matters */
	if (__atomic_add_fetch(&ws_shared.open, 1, __ATOMIC_RELAXED) > max) {
		__atomic_fetch_sub(&ws_shared.open, 1, __ATOMIC_RELAXED);
		ws_count(&c->adapter->figures.refused_connections, 1);
		return false;
	}
	if (c->counted == WS_COUNTED_HANDSHAKE)
		__atomic_fetch_sub(&ws_shared.handshaking, 1, __ATOMIC_RELAXED);
	c->counted = WS_COUNTED_OPEN;
	return true;
}

void ws_tell_drain(struct ws_conn *c)
{
	struct ws_adapter *a = c->adapter;
	struct ws_drain_in *m = CX_MSG_NEW(a->ctx, WS_DRAIN, struct ws_drain_in);

	m->jitter_ms = a->jitter_ms;
	if (cx_send_reserved(a->ctx, c->actor, &m->hdr) != CX_OK)
		ws_fail(c, WS_CLOSE_INTERNAL);
}

void ws_established(struct ws_conn *c)
{
	struct ws_adapter *a = c->adapter;
	const struct ws_connection_conf conf = {
		.handle = ws_conn_handle(c),
		.context = a->settings->connection_context,
		.window_bytes = a->settings->window_bytes,
		.origin = c->origin,
	};

	c->phase = WS_OPEN;
	ws_conn_list(c, WS_LIST_NONE);
	ws_parser_init(&c->parser, WS_ROLE_SERVER, a->settings->max_frame_bytes);
	ws_count(&a->figures.established, 1);
	if (cx_spawn(a->ctx, a->settings->connection_type, &conf, a->index, &c->actor) !=
	    CX_OK) {
		ws_fail(c, WS_CLOSE_INTERNAL);
		return;
	}
	if (a->is_draining)
		ws_tell_drain(c);
}

void ws_request(struct ws_conn *c, enum http_method method, const char *path, uint32_t path_len)
{
	struct ws_adapter *a = c->adapter;
	struct http_request *m;

	ws_count(&a->figures.http_requests, 1);
	c->phase = WS_HTTP;
	ws_conn_list(c, WS_LIST_HTTP);
	c->is_head_request = method == HTTP_HEAD;
	if (a->settings->http == NULL) {
		ws_refuse(c, 404);
		return;
	}
	if (a->lists[WS_LIST_HTTP].count > a->settings->max_handshakes) {
		ws_refuse(c, 503);
		return;
	}
	m = CX_MSG_NEW(a->ctx, HTTP_REQUEST, struct http_request);
	m->handle = ws_conn_handle(c);
	m->method = method;
	m->path_len = path_len;
	m->hdr.buf = path != NULL ? cx_buf_copy(path, path_len) : c->msg;
	if (path == NULL) {
		cx_buf_trim(c->msg, c->msg_len);
		c->msg = NULL;
		c->msg_len = 0;
	}
	if (cx_send(a->ctx, a->settings->http[a->index], &m->hdr) != CX_OK)
		ws_refuse(c, 503);
	else
		ws_conn_poll(c);
}

static void on_body(struct ws_conn *c, const uint8_t *bytes, size_t len)
{
	const size_t room = cx_buf_len(c->msg) - c->msg_len;
	const size_t n = len < room ? len : room;

	if (n > 0)
		memcpy(cx_buf_data(c->msg) + c->msg_len, bytes, n);
	c->msg_len += (uint32_t)n;
	if (n == room)
		ws_request(c, HTTP_POST, NULL, c->path_len);
	else
		ws_conn_poll(c);
}

/* What came behind the head, when libwebsockets has seen the head. */
static void on_rest(struct ws_conn *c)
{
	if (c->phase == WS_OPEN) {
		ws_resume(c);
		ws_conn_poll(c);
	} else if (c->phase == WS_BODY) {
		uint8_t *carry = c->carry;
		const size_t len = c->carry_len;

		c->carry = NULL;
		c->carry_len = 0;
		on_body(c, carry, len);
		free(carry);
	}
}

static void on_head(struct ws_conn *c, uint8_t *bytes, size_t len, const struct ws_head *head)
{
	const char *at = (const char *)bytes + head->skip;
	const size_t behind = len - head->skip - head->len;

	switch (head->verdict) {
	case WS_HEAD_MORE:
		ws_carry(c, bytes, len);
		ws_conn_poll(c);
		return;
	case WS_HEAD_REFUSE:
		ws_refuse(c, head->status);
		return;
	case WS_HEAD_OTHER:
		ws_request(c, HTTP_OTHER, head->path, head->path_len);
		return;
	case WS_HEAD_REQUEST:
	case WS_HEAD_UPGRADE:
		ws_carry(c, (const uint8_t *)at + head->len, behind);
		ws_lws_adopt(c, at, head->len);
		on_rest(c);
		break;
	}
}

/* The peer is gone, or speaks no TLS: then OpenSSL has written an alert, which a close with bytes unread
 * would undo. */
static void cut_off(struct ws_conn *c)
{
	ws_count(&c->adapter->figures.handshakes_failed, 1);
	if (c->tls == NULL || c->adapter->lists[WS_LIST_LINGER].count >= LINGERERS_MAX) {
		ws_conn_free(c);
		return;
	}
	SSL_free(c->tls);
	c->tls = NULL;
	cx_io_flush();
	c->fin_sent = shutdown(c->watch.fd, SHUT_WR) == 0;
	finish(c);
}

void ws_head_readable(struct ws_conn *c)
{
	struct ws_adapter *a = c->adapter;
	uint32_t had = 0;
	struct ws_head head;
	ssize_t n;

	if (c->carry != NULL) { /* from the reads before */
		had = c->carry_len;
		memcpy(a->recv_buf, c->carry, had);
	}
	n = ws_recv(c, a->recv_buf + had, WS_RECV_BYTES - had);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		ws_conn_poll(c);
		return;
	}
	if (n <= 0) {
		cut_off(c);
		return;
	}
	ws_carry_drop(c);
	ws_head_check((const char *)a->recv_buf, had + (size_t)n, &head);
	if (head.forwarded != NULL)
		ws_origin_forwarded(&c->origin, head.forwarded, head.forwarded_len);
	on_head(c, a->recv_buf, had + (size_t)n, &head);
}

void ws_body_readable(struct ws_conn *c)
{
	struct ws_adapter *a = c->adapter;
	const ssize_t n = ws_recv(c, a->recv_buf, WS_RECV_BYTES);

	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		ws_conn_poll(c);
		return;
	}
	if (n > 0)
		on_body(c, a->recv_buf, (size_t)n);
	else
		ws_conn_free(c);
}

/* A half-open one goes for a new one, if it had its time. */
static bool drop(struct ws_adapter *a, struct ws_conn *victim, uint64_t age_ms)
{
	if (victim == NULL || victim->began_ms + age_ms > cx_now_ms(a->ctx))
		return false;
	ws_count(&a->figures.handshakes_failed, 1);
	ws_conn_free(victim);
	return true;
}

/* Places get short: an address that holds more than its share pays with its own oldest one.  All are
 * taken: the oldest of all goes.  False when that one is too young. */
static bool has_place(const struct ws_conn *c)
{
	struct ws_adapter *a = c->adapter;
	const uint32_t max = a->settings->max_handshakes;
	/* relaxed: only the number matters */
	const uint32_t count = __atomic_load_n(&ws_shared.handshaking, __ATOMIC_RELAXED);
	struct ws_conn *own = NULL;

	if (count > max - max / WS_SHARES)
		own = ws_peer_oldest_over_share(c);
	if (own != NULL)
		return drop(a, own, OWN_VICTIM_AGE_MS);
	return count <= max || drop(a, a->lists[WS_LIST_EARLY].first, VICTIM_AGE_MS);
}

static void turn_away(struct ws_conn *c)
{
	struct ws_adapter *a = c->adapter;

	ws_count(&a->figures.refused_handshakes, 1);
	if (a->tls == NULL && a->lists[WS_LIST_LINGER].count < LINGERERS_MAX)
		ws_refuse(c, 503);
	else
		ws_conn_free(c);
}

/* No place: who sends a whole request at once is served all the same, so each gets a moment for it,
 * the shorter the more come. */
static void stand(struct ws_conn *c)
{
	struct ws_adapter *a = c->adapter;
	const struct ws_conn_list *list = &a->lists[WS_LIST_STANDING];

	ws_uncount(c);
	ws_conn_list(c, WS_LIST_STANDING);
	if (list->count > a->settings->max_handshakes / a->settings->workers + 1)
		turn_away(list->first);
}

/* First what it has sent already: a whole request needs no place, whoever holds them. */
static void welcome(struct ws_adapter *a, int fd, const struct ws_origin *origin)
{
	const int one = 1;
	struct ws_conn *c = ws_conn_new(a);
	const uint32_t gen = c->gen;

	ws_count(&a->figures.accepted, 1);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->watch.fd = fd;
	c->origin = *origin;
	c->began_ms = cx_now_ms(a->ctx);
	c->phase = WS_HEAD;
	c->counted = WS_COUNTED_HANDSHAKE;
	/* relaxed: only the number matters */
	__atomic_fetch_add(&ws_shared.handshaking, 1, __ATOMIC_RELAXED);
	ws_conn_list(c, WS_LIST_EARLY);
	ws_peer_enter(c, origin);
	if (a->tls != NULL && !ws_tls_start(c)) {
		ws_conn_free(c);
		return;
	}
	ws_head_readable(c);
	if (c->gen == gen && c->list == WS_LIST_EARLY && !has_place(c))
		stand(c);
}

static void set_listening(struct ws_adapter *a, unsigned events)
{
	const enum cx_err err = loop_uv_watch(a->loop, &a->listener, events);

	cx_assert(err == CX_OK);
}

/* A system whose default is BBR paces every socket with a timer; on this machine's own loopback
 * (a proxy in front, tests) there is no path to spare, only the timer's cost. */
static void spare_loopback(int fd, const struct ws_origin *peer)
{
	if (peer->is_loopback) /* refused: the default does */
		setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}

static void on_acceptable(struct loop_watch *watch, unsigned events)
{
	struct ws_adapter *a =
		(struct ws_adapter *)(void *)((uint8_t *)watch -
	                                      offsetof(struct ws_adapter, listener));

	(void)events;
	ws_enter(a);
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		struct sockaddr_storage peer;
		socklen_t len = sizeof(peer);
		const int fd = accept4(watch->fd, (struct sockaddr *)(void *)&peer, &len,
		                       SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			const struct ws_origin origin = ws_origin_of(&peer);

			spare_loopback(fd, &origin);
			welcome(a, fd, &origin);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			cx_log(CX_WARN, "websocket.accept_failed", "errno=%d", errno);
			set_listening(a, 0); /* the tick starts it again */
			a->is_choked = true;
			ws_tick_later(a);
			return;
		}
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

void ws_accept_start(struct ws_adapter *a)
{
	if (a->is_listening || a->listener.fd < 0)
		return;
	a->listener.fn = on_acceptable;
	a->is_listening = true;
	set_listening(a, LOOP_READABLE);
}

void ws_accept_stop(struct ws_adapter *a)
{
	if (a->is_listening)
		set_listening(a, 0);
	a->is_listening = false;
	if (a->listener.fd >= 0)
		close(a->listener.fd);
	a->listener.fd = -1;
}

/* Over its deadline. */
static void expire(struct ws_conn *c)
{
	if (c->phase == WS_HTTP) {
		ws_refuse(c, 503);
		return;
	}
	if (c->list == WS_LIST_STANDING) {
		turn_away(c);
		return;
	}
	if (c->list == WS_LIST_EARLY)
		ws_count(&c->adapter->figures.handshakes_failed, 1);
	ws_tell_closed(c, WS_CLOSE_ABNORMAL);
	ws_conn_free(c);
}

bool ws_deadlines(struct ws_adapter *a, uint64_t now_ms)
{
	bool is_waiting = false;

	for (int list = WS_LIST_EARLY; list < WS_LISTS; list++) {
		struct ws_conn *c;

		while ((c = a->lists[list].first) != NULL && c->deadline_ms <= now_ms)
			expire(c);
		is_waiting |= c != NULL;
	}
	if (a->is_choked && a->is_listening) {
		a->is_choked = false;
		set_listening(a, LOOP_READABLE);
	}
	return is_waiting;
}
