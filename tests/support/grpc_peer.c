/* SPDX-License-Identifier: MIT */
#include "support/grpc_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <nghttp2/nghttp2.h>

#include <criterion/criterion.h>

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

void grpc_peer_connect(struct grpc_peer *p, uint16_t port)
{
	const struct timeval limit = { .tv_sec = 20 };
	const struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	nghttp2_hd_inflater *inflater;

	memset(p, 0, sizeof(*p));
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(p->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	cr_assert_eq(connect(p->fd, (const void *)&addr, sizeof(addr)), 0);
	cr_assert_eq(nghttp2_hd_inflate_new(&inflater), 0);
	p->inflater = inflater;
}

void grpc_peer_open(struct grpc_peer *p, uint16_t port)
{
	grpc_peer_connect(p, port);
	grpc_peer_send(p, PREFACE, sizeof(PREFACE) - 1);
	grpc_peer_frame(p, H2_SETTINGS, 0, 0, NULL, 0);
}

void grpc_peer_close(struct grpc_peer *p)
{
	nghttp2_hd_inflate_del(p->inflater);
	close(p->fd);
}

void grpc_peer_send(struct grpc_peer *p, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	while (len > 0) {
		const ssize_t n = send(p->fd, at, len, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		at += n;
		len -= (size_t)n;
	}
}

void grpc_peer_frame(struct grpc_peer *p, uint8_t type, uint8_t flags, uint32_t id,
                     const void *payload, size_t len)
{
	uint8_t bytes[9 + 16384];

	cr_assert_leq(len, 16384);
	bytes[0] = (uint8_t)(len >> 16);
	bytes[1] = (uint8_t)(len >> 8);
	bytes[2] = (uint8_t)len;
	bytes[3] = type;
	bytes[4] = flags;
	bytes[5] = (uint8_t)(id >> 24);
	bytes[6] = (uint8_t)(id >> 16);
	bytes[7] = (uint8_t)(id >> 8);
	bytes[8] = (uint8_t)id;
	if (len > 0)
		memcpy(bytes + 9, payload, len);
	grpc_peer_send(p, bytes, 9 + len);
}

static bool read_all(struct grpc_peer *p, uint8_t *to, size_t len)
{
	while (len > 0) {
		const ssize_t n = recv(p->fd, to, len, 0);

		if (n <= 0)
			return false;
		to += n;
		len -= (size_t)n;
	}
	return true;
}

static uint32_t u32(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

bool grpc_peer_next(struct grpc_peer *p)
{
	uint8_t head[9];

	if (!read_all(p, head, sizeof(head)))
		return false;
	p->frame.len = u32(head) >> 8;
	p->frame.type = head[3];
	p->frame.flags = head[4];
	p->frame.id = u32(head + 5);
	cr_assert_leq(p->frame.len, sizeof(p->frame.payload));
	if (!read_all(p, p->frame.payload, p->frame.len))
		return false;
	if (p->frame.type == H2_SETTINGS && (p->frame.flags & H2_ACK) == 0)
		grpc_peer_frame(p, H2_SETTINGS, H2_ACK, 0, NULL, 0);
	if (p->frame.type == H2_GOAWAY) {
		p->last_goaway = u32(p->frame.payload);
		p->goaway_code = u32(p->frame.payload + 4);
		p->goaways++;
	}
	return true;
}

bool grpc_peer_is_sent_away(struct grpc_peer *p, uint32_t code)
{
	while (grpc_peer_next(p))
		;
	return p->goaways > 0 && p->goaway_code == code;
}

static size_t put_text(uint8_t *to, const char *text)
{
	const size_t len = strlen(text);
	size_t n = 1;

	if (len < 127) {
		to[0] = (uint8_t)len;
	} else { /* an integer of HPACK in more bytes */
		size_t rest = len - 127;

		to[0] = 127;
		for (; rest >= 128; rest >>= 7)
			to[n++] = (uint8_t)(0x80 | (rest & 0x7f));
		to[n++] = (uint8_t)rest;
	}
	memcpy(to + n, text, len);
	return n + len;
}

static size_t put_pair(uint8_t *to, const char *name, const char *value)
{
	size_t n = 1;

	to[0] = 0; /* a literal, not indexed */
	n += put_text(to + n, name);
	return n + put_text(to + n, value);
}

void grpc_peer_headers(struct grpc_peer *p, uint32_t id, uint8_t flags, const char *path,
                       const char *content_type, const char *const *more)
{
	uint8_t block[16384];
	size_t n = 0;

	n += put_pair(block + n, ":method", "POST");
	n += put_pair(block + n, ":scheme", "http");
	n += put_pair(block + n, ":path", path);
	n += put_pair(block + n, ":authority", "localhost");
	n += put_pair(block + n, "te", "trailers");
	if (content_type != NULL)
		n += put_pair(block + n, "content-type", content_type);
	for (; more != NULL && *more != NULL; more += 2)
		n += put_pair(block + n, more[0], more[1]);
	grpc_peer_frame(p, H2_HEADERS, flags, id, block, n);
}

void grpc_peer_message(struct grpc_peer *p, uint32_t id, uint8_t flags, uint8_t compressed,
                       const void *bytes, uint32_t len)
{
	uint8_t data[16384];

	cr_assert_leq(len + 5, sizeof(data));
	data[0] = compressed;
	grpc_prefix_write(data, len);
	data[0] = compressed;
	if (len > 0)
		memcpy(data + 5, bytes, len);
	grpc_peer_frame(p, H2_DATA, flags, id, data, len + 5);
}

void grpc_peer_call(struct grpc_peer *p, uint32_t id, const char *path, const void *bytes,
                    uint32_t len)
{
	grpc_peer_headers(p, id, H2_END_HEADERS, path, "application/grpc", NULL);
	grpc_peer_message(p, id, H2_END_STREAM, 0, bytes, len);
}

static void take_header(struct grpc_answer *a, const nghttp2_nv *nv)
{
	const struct wire_slice name = wire_slice(nv->name, nv->namelen);
	const struct wire_slice value = wire_slice(nv->value, nv->valuelen);
	char number[8];

	if (wire_slice_is(name, ":status"))
		snprintf(a->http, sizeof(a->http), "%.*s", (int)value.len, (char *)nv->value);
	if (wire_slice_is(name, "grpc-status")) {
		snprintf(number, sizeof(number), "%.*s", (int)value.len, (char *)nv->value);
		a->status = atoi(number);
	}
	if (wire_slice_is(name, "grpc-message"))
		grpc_message_decode(a->message, sizeof(a->message), value);
	if (wire_slice_is(name, "grpc-accept-encoding"))
		snprintf(a->accept_encoding, sizeof(a->accept_encoding), "%.*s", (int)value.len,
		         (char *)nv->value);
}

/* Every block goes through the inflater: its table is of the whole connection. */
static void inflate(struct grpc_peer *p, struct grpc_answer *a)
{
	const uint8_t *at = p->frame.payload;
	size_t left = p->frame.len;

	for (;;) {
		nghttp2_nv nv;
		int flags = 0;
		const ssize_t n = nghttp2_hd_inflate_hd2(p->inflater, &nv, &flags, at, left, 1);

		cr_assert_geq(n, 0, "headers that cannot be read");
		at += n;
		left -= (size_t)n;
		if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0 && a != NULL)
			take_header(a, &nv);
		if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0)
			break;
	}
	nghttp2_hd_inflate_end_headers(p->inflater);
}

void grpc_peer_answer(struct grpc_peer *p, uint32_t id, struct grpc_answer *a)
{
	bool has_headers = false, is_over = false;

	memset(a, 0, sizeof(*a));
	a->status = -1;
	while (!is_over) {
		const struct h2_frame *f = &p->frame;

		cr_assert(grpc_peer_next(p), "the connection ended before the answer to %u",
		          id);
		if (f->type == H2_HEADERS)
			inflate(p, f->id == id ? a : NULL);
		if (f->id != id)
			continue;
		is_over = (f->type == H2_HEADERS || f->type == H2_DATA) &&
		          (f->flags & H2_END_STREAM) != 0;
		if (f->type == H2_HEADERS) {
			a->is_trailers_only = !has_headers && is_over;
			has_headers = true;
		} else if (f->type == H2_DATA && f->len > 0) {
			a->body = realloc(a->body, a->body_len + f->len);
			memcpy(a->body + a->body_len, f->payload, f->len);
			a->body_len += f->len;
		} else if (f->type == H2_RST_STREAM) {
			a->reset = u32(f->payload) + 1;
			is_over = true;
		}
	}
}

void grpc_peer_expect(struct grpc_peer *p, uint32_t id, enum grpc_status status)
{
	struct grpc_answer a;

	grpc_peer_answer(p, id, &a);
	cr_expect_eq(a.status, (int)status, "%s in place of %s: %s",
	             a.status < 0 ? "nothing" : grpc_status_name((unsigned)a.status),
	             grpc_status_name(status), a.message);
	free(a.body);
}

bool grpc_peer_wait(bool (*figure)(const struct grpc_server_figures *f))
{
	for (int i = 0; i < 2000; i++) {
		struct grpc_server_figures f;

		grpc_server_figures(&f);
		if (figure(&f))
			return true;
		usleep(10000);
	}
	return false;
}
