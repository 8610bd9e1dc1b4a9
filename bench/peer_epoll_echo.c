/* SPDX-License-Identifier: MIT */
/* The yardstick for `construct echo`: a WebSocket echo server on bare epoll.
 *
 *   peer_epoll_echo PORT_FILE      listens on a free port of 127.0.0.1, writes it there
 *
 * One thread, no actors, no library between the socket and the frame.  It does what an echo
 * server must (handshake, unmasking, control frames, partial reads and writes, pipelined
 * frames) and nothing it need not: no UTF-8 check, no limits but one frame's size.
 *
 *   1. All sockets share one input and one output buffer; a connection owns memory only
 *      while it has half a frame or unsent bytes.
 *   2. What one read brought is answered by one write.
 *   3. A connection with unsent bytes is not read until they are gone. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/sha.h>

#define FRAME_MAX_BYTES (1u << 20)
#define IN_BYTES (FRAME_MAX_BYTES + 65536u) /* a kept half frame, then one read */
#define READ_BYTES 65536u
#define HEADER_MAX_BYTES 14u
#define EVENT_COUNT 512
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

enum { OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

struct bytes {
	uint8_t *at;
	size_t len;
};

struct conn {
	int fd;
	bool open;           /* the handshake is done */
	bool closing;        /* a close frame is on its way out, then the socket goes */
	struct bytes half;   /* input that is not a whole frame yet */
	struct bytes unsent; /* output the socket did not take */
};

struct frame {
	uint8_t first; /* FIN and opcode, echoed as they are */
	const uint8_t *mask;
	const uint8_t *payload;
	size_t len;
	size_t whole; /* header and payload */
};

static uint8_t in_buf[IN_BYTES];
static uint8_t out_buf[IN_BYTES];
static int epoll_fd;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void keep(struct bytes *b, const uint8_t *from, size_t len)
{
	uint8_t *copy = NULL;

	if (len > 0) {
		copy = malloc(len);
		if (copy == NULL)
			die("malloc");
		memcpy(copy, from, len);
	}
	free(b->at);
	b->at = copy;
	b->len = len;
}

static void watch(const struct conn *c, int op, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = (void *)(uintptr_t)c };

	if (epoll_ctl(epoll_fd, op, c->fd, &ev) != 0)
		die("epoll_ctl");
}

static void drop(struct conn *c)
{
	close(c->fd);
	free(c->half.at);
	free(c->unsent.at);
	free(c);
}

/* Returns false when the connection is gone. */
static bool send_out(struct conn *c, const uint8_t *from, size_t len)
{
	const ssize_t n = len == 0 ? 0 : send(c->fd, from, len, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN) {
		drop(c);
		return false;
	}
	const size_t sent = n < 0 ? 0 : (size_t)n;

	if (sent < len) {
		keep(&c->unsent, from + sent, len - sent);
		watch(c, EPOLL_CTL_MOD, EPOLLOUT);
	} else if (c->closing) {
		drop(c);
		return false;
	}
	return true;
}

/* Unmasks `len` bytes into `to`, eight at a time. */
static void unmask(uint8_t *restrict to, const uint8_t *restrict from, size_t len,
                   const uint8_t mask[4])
{
	uint64_t wide;
	size_t i = 0;

	memcpy(&wide, mask, 4);
	memcpy((uint8_t *)&wide + 4, mask, 4);
	for (; i + 8 <= len; i += 8) {
		uint64_t word;

		memcpy(&word, from + i, 8);
		word ^= wide;
		memcpy(to + i, &word, 8);
	}
	for (; i < len; i++)
		to[i] = from[i] ^ mask[i & 3];
}

/* Returns 1 with *f, 0 if more bytes are needed, -1 if no client may send this. */
static int parse_frame(const uint8_t *at, size_t len, struct frame *f)
{
	size_t header = 6;
	uint64_t size;

	if (len < 2)
		return 0;
	if ((at[1] & 0x80) == 0)
		return -1;
	size = at[1] & 0x7f;
	if (size == 126) {
		header = 8;
		if (len < header)
			return 0;
		size = (uint64_t)at[2] << 8 | at[3];
	} else if (size == 127) {
		header = 14;
		if (len < header)
			return 0;
		size = 0;
		for (int i = 2; i < 10; i++)
			size = size << 8 | at[i];
	}
	if (size > FRAME_MAX_BYTES - HEADER_MAX_BYTES)
		return -1;
	if (len < header + size)
		return 0;
	*f = (struct frame){
		.first = at[0],
		.mask = at + header - 4,
		.payload = at + header,
		.len = (size_t)size,
		.whole = header + (size_t)size,
	};
	return 1;
}

static size_t put_header(uint8_t *to, uint8_t first, size_t len)
{
	to[0] = first;
	if (len < 126) {
		to[1] = (uint8_t)len;
		return 2;
	}
	if (len < 65536) {
		to[1] = 126;
		to[2] = (uint8_t)(len >> 8);
		to[3] = (uint8_t)len;
		return 4;
	}
	to[1] = 127;
	for (int i = 0; i < 8; i++)
		to[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
	return 10;
}

/* Answers every whole frame in `at`; returns the bytes used, or SIZE_MAX for a bad frame.
 * An answer is never longer than its question (no mask), so out_buf cannot overflow. */
static size_t answer_frames(struct conn *c, const uint8_t *at, size_t len, size_t *out_len)
{
	size_t used = 0;
	size_t out = 0;
	struct frame f;
	int rc = 0;

	while (!c->closing && (rc = parse_frame(at + used, len - used, &f)) > 0) {
		const uint8_t op = f.first & 0x0f;

		used += f.whole;
		if (op == OP_PONG)
			continue;
		if (op == OP_PING)
			f.first = 0x80 | OP_PONG;
		if (op == OP_CLOSE)
			c->closing = true;
		out += put_header(out_buf + out, f.first, f.len);
		unmask(out_buf + out, f.payload, f.len, f.mask);
		out += f.len;
	}
	*out_len = out;
	return rc < 0 ? SIZE_MAX : used;
}

/* The value of Sec-WebSocket-Key, or NULL. */
static const char *find_key(const char *head, size_t *len)
{
	static const char name[] = "\r\nSec-WebSocket-Key:";
	const char *key = strcasestr(head, name);

	if (key == NULL)
		return NULL;
	key += sizeof(name) - 1;
	key += strspn(key, " ");
	*len = strcspn(key, " \r");
	return key;
}

/* Writes the 101 for the request head into out_buf; 0 if it is no WebSocket request. */
static size_t answer_handshake(const char *head)
{
	char text[128];
	uint8_t digest[SHA_DIGEST_LENGTH];
	char accept[32];
	size_t key_len;
	const char *key = find_key(head, &key_len);

	if (key == NULL || key_len > 64)
		return 0;
	const int n = snprintf(text, sizeof(text), "%.*s" GUID, (int)key_len, key);

	SHA1((const uint8_t *)text, (size_t)n, digest);
	EVP_EncodeBlock((uint8_t *)accept, digest, sizeof(digest));
	return (size_t)snprintf((char *)out_buf, sizeof(out_buf),
	                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
	                        "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
	                        accept);
}

/* Both return the bytes of in_buf used, SIZE_MAX if the connection has to go. */
static size_t on_handshake(struct conn *c, size_t len, size_t *out_len)
{
	const uint8_t *end = memmem(in_buf, len, "\r\n\r\n", 4);

	if (end == NULL)
		return len > 8192 ? SIZE_MAX : 0;
	const size_t head = (size_t)(end - in_buf) + 4;

	in_buf[head - 1] = 0; /* the last '\n': a string now */
	*out_len = answer_handshake((const char *)in_buf);
	c->open = true;
	return *out_len == 0 ? SIZE_MAX : head;
}

static void on_readable(struct conn *c)
{
	const size_t had = c->half.len;
	size_t used;
	size_t out = 0;

	if (had > 0)
		memcpy(in_buf, c->half.at, had);
	const ssize_t n = recv(c->fd, in_buf + had, READ_BYTES, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		drop(c);
		return;
	}
	const size_t len = had + (size_t)n;

	used = c->open ? answer_frames(c, in_buf, len, &out) : on_handshake(c, len, &out);
	if (used == SIZE_MAX) {
		drop(c);
		return;
	}
	if (used < len || had > 0)
		keep(&c->half, in_buf + used, len - used);
	if (out > 0)
		send_out(c, out_buf, out);
}

static void on_writable(struct conn *c)
{
	const struct bytes rest = c->unsent;

	c->unsent = (struct bytes){ NULL, 0 };
	if (send_out(c, rest.at, rest.len) && c->unsent.len == 0)
		watch(c, EPOLL_CTL_MOD, EPOLLIN);
	free(rest.at);
}

static void on_accept(int listener)
{
	const int one = 1;
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct conn *c = calloc(1, sizeof(*c));

		if (c == NULL)
			die("calloc");
		c->fd = fd;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		watch(c, EPOLL_CTL_ADD, EPOLLIN);
	}
	if (errno != EAGAIN && errno != ECONNABORTED)
		die("accept4");
}

static int listen_anywhere(const char *port_file)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
		                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	char temporary[512];
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) != 0 || listen(fd, 4096) != 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
		die("listen");
	snprintf(temporary, sizeof(temporary), "%s.new", port_file);
	FILE *out = fopen(temporary, "w");

	if (out == NULL || fprintf(out, "%d\n", ntohs(addr.sin_port)) < 0 || fclose(out) != 0 ||
	    rename(temporary, port_file) != 0)
		die(port_file);
	return fd;
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENT_COUNT];

	if (argc != 2) {
		fprintf(stderr, "usage: peer_epoll_echo PORT_FILE\n");
		return 2;
	}
	const int listener = listen_anywhere(argv[1]);
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &ev) != 0)
		die("epoll");
	for (;;) {
		const int n = epoll_wait(epoll_fd, events, EVENT_COUNT, -1);

		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;

			if (c == NULL)
				on_accept(listener);
			else if (c->unsent.len > 0)
				on_writable(c);
			else
				on_readable(c);
		}
	}
}
