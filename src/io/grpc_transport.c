/* SPDX-License-Identifier: MIT */
#include "io/grpc_transport.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cx/io.h>

#include "io/openssl_h2.h"

#define READS_A_TURN 8 /* then others have their turn */
#define WRITES_A_TURN 32

static ssize_t receive(struct grpc_transport *t, void *bytes, size_t len)
{
	if (t->tls == NULL)
		return recv(t->watch.fd, bytes, len, 0);
	return tls_h2_recv(t->tls, bytes, len, &t->tls_wants_write);
}

/* Without h2 agreed on, bytes that happen to look like it are not taken for it. */
static bool is_spoken(const struct grpc_transport *t)
{
	return t->tls == NULL || tls_h2_is_ready(t->tls);
}

static enum grpc_io feed(struct grpc_transport *t, const uint8_t *bytes, size_t len)
{
	if (!is_spoken(t))
		return GRPC_IO_END;
	if (nghttp2_session_mem_recv(t->session, bytes, len) < 0 ||
	    nghttp2_session_get_outbound_queue_size(t->session) > GRPC_QUEUE_MAX)
		return GRPC_IO_BROKEN;
	return GRPC_IO_OK;
}

enum grpc_io grpc_transport_read(struct grpc_transport *t, struct grpc_scratch *scratch)
{
	for (int i = 0; i < READS_A_TURN; i++) {
		const ssize_t n = receive(t, scratch->recv, sizeof(scratch->recv));
		enum grpc_io io;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return GRPC_IO_OK;
		if (n <= 0)
			return GRPC_IO_END;
		io = feed(t, scratch->recv, (size_t)n);
		if (io != GRPC_IO_OK)
			return io;
		if (t->tls == NULL && (size_t)n < sizeof(scratch->recv))
			return GRPC_IO_OK; /* all that was there */
	}
	return GRPC_IO_OK;
}

enum grpc_io grpc_transport_discard(struct grpc_transport *t, struct grpc_scratch *scratch)
{
	const ssize_t n = recv(t->watch.fd, scratch->recv, sizeof(scratch->recv), 0);

	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return GRPC_IO_OK;
	return GRPC_IO_END;
}

/* Frames for one write.  At least one always fits: DATA is cut at 16 KiB by nghttp2. */
static ssize_t gather(struct grpc_transport *t, uint8_t *stage)
{
	size_t len = 0;

	while (len < GRPC_STAGE_BYTES / 2) {
		const uint8_t *frame;
		const ssize_t n = nghttp2_session_mem_send(t->session, &frame);

		if (n < 0 || (size_t)n > GRPC_STAGE_BYTES - len)
			return -1;
		if (n == 0)
			break;
		memcpy(stage + len, frame, (size_t)n);
		len += (size_t)n;
	}
	return (ssize_t)len;
}

/* How much of bytes left; *io tells when the peer is gone. */
static size_t send_some(struct grpc_transport *t, const uint8_t *bytes, size_t len,
                        enum grpc_io *io)
{
	size_t at = 0;

	*io = GRPC_IO_OK;
	cx_io_flush();
	while (at < len) {
		bool wants_write = false;
		const ssize_t n = t->tls == NULL ? send(t->watch.fd, bytes + at, len - at,
		                                        MSG_NOSIGNAL | MSG_DONTWAIT)
		                                 : tls_h2_send(t->tls, bytes + at, len - at,
		                                               &wants_write);

		if (n > 0) {
			at += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		t->wants_room = t->tls == NULL || wants_write;
		if (n == 0 || errno != EAGAIN)
			*io = GRPC_IO_END;
		break;
	}
	return at;
}

static enum grpc_io send_rest(struct grpc_transport *t)
{
	enum grpc_io io;

	t->rest_at +=
		(uint32_t)send_some(t, t->rest + t->rest_at, t->rest_len - t->rest_at, &io);
	if (t->rest_at == t->rest_len) {
		free(t->rest);
		t->rest = NULL;
		t->rest_at = t->rest_len = 0;
	}
	return io;
}

static enum grpc_io keep_rest(struct grpc_transport *t, const uint8_t *bytes, size_t len)
{
	t->rest = malloc(len);
	if (t->rest == NULL)
		return GRPC_IO_END;
	memcpy(t->rest, bytes, len);
	t->rest_at = 0;
	t->rest_len = (uint32_t)len;
	return GRPC_IO_OK;
}

enum grpc_io grpc_transport_write(struct grpc_transport *t, struct grpc_scratch *scratch)
{
	t->wants_room = false;
	if (t->rest != NULL) {
		const enum grpc_io io = send_rest(t);

		if (io != GRPC_IO_OK || t->rest != NULL)
			return io;
	}
	for (int i = 0; i < WRITES_A_TURN; i++) {
		const ssize_t len = gather(t, scratch->stage);
		enum grpc_io io;
		size_t sent;

		if (len < 0)
			return GRPC_IO_BROKEN;
		if (len == 0)
			return GRPC_IO_OK;
		sent = send_some(t, scratch->stage, (size_t)len, &io);
		if (io != GRPC_IO_OK)
			return io;
		if (sent < (size_t)len)
			return keep_rest(t, scratch->stage + sent, (size_t)len - sent);
	}
	t->wants_room = true; /* more to write, when others had their turn */
	return GRPC_IO_OK;
}

bool grpc_transport_poll(struct grpc_transport *t)
{
	unsigned events = LOOP_READABLE;

	if (t->wants_room || t->tls_wants_write || t->is_connecting)
		events |= LOOP_WRITABLE;
	return loop_uv_watch(t->loop, &t->watch, events) == CX_OK;
}

bool grpc_transport_is_done(const struct grpc_transport *t)
{
	return t->rest == NULL && !nghttp2_session_want_read(t->session) &&
	       !nghttp2_session_want_write(t->session);
}

void grpc_transport_close(struct grpc_transport *t)
{
	cx_io_flush();
	if (t->watch.fd >= 0) {
		const enum cx_err err = loop_uv_watch(t->loop, &t->watch, 0);

		cx_assert(err == CX_OK); /* taking away needs no memory */
		tls_h2_free(t->tls);
		close(t->watch.fd);
	}
	t->watch.fd = -1;
	t->tls = NULL;
	nghttp2_session_del(t->session);
	t->session = NULL;
	free(t->rest);
	t->rest = NULL;
	t->rest_at = t->rest_len = 0;
}

void grpc_transport_tune(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	const int one = 1;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&peer;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&peer;
	bool is_loopback;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (getpeername(fd, (struct sockaddr *)(void *)&peer, &len) != 0)
		return;
	is_loopback = peer.ss_family == AF_INET
	                      ? ntohl(v4->sin_addr.s_addr) >> 24 == 127
	                      : IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
	                                (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) &&
	                                 v6->sin6_addr.s6_addr[12] == 127);
	if (is_loopback) /* refused: the default does */
		setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}
