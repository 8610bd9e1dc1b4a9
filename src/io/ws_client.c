/* SPDX-License-Identifier: MIT */
/* Invariants:
 * 1. A connection is in loop->all until it is reaped; reaping happens only between the flush
 *    and the wait of a turn, when neither the dirty list nor a batch of events can name it.
 * 2. conn->out is held only while bytes wait in it, conn->in only while a frame is cut off.
 * 3. A failed write ends nothing: the reader still takes what the server had sent (its close
 *    frame says why) and then meets the same failure. */
#include "io/ws_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sys/epoll.h>
#include <unistd.h>

#include "io/ws_client_frame.h"
#include "io/ws_client_target.h"
#include "io/ws_client_tls.h"
#include "io/ws_client_upgrade.h"
#include "wire/ws_frame.h"

#define EVENTS_A_TURN 1024
#define READ_BYTES (WS_CLIENT_MESSAGE_BYTES_MAX + 65536) /* holds one cut-off frame and more */
#define OUT_BYTES 16384                                  /* first size of an output buffer */
#define OUT_SPARE_MAX 4096                               /* kept for the next writer */

/* UPGRADING -> OPEN -> CLOSING -> DEAD, and from each to DEAD */
enum state {
	UPGRADING, /* connecting, or waiting for the 101 */
	OPEN,
	CLOSING, /* our close frame is out */
	DEAD,    /* closed, waits to be reaped */
};

struct ws_client {
	int fd;
	uint8_t state;
	uint8_t fragment_op; /* of the message being joined, 0: none */
	bool is_dirty;       /* in the loop's dirty list */
	bool waits_for_room; /* EPOLLOUT is armed */
	bool has_write_failed;
	uint32_t out_off, out_len, out_cap; /* unsent: out[out_off .. out_len) */
	uint8_t *out;
	uint8_t *in; /* a frame's beginning */
	size_t in_len;
	uint8_t *fragment;
	size_t fragment_len;
	void *user;
	const struct ws_client_handlers *handlers;
	struct ws_client_loop *loop;
	struct ws_client_tls *tls;
	const struct ws_client_target *target;
	struct ws_client *next, *prev; /* loop->all, or (next only) loop->dead */
};

struct ws_client_loop {
	int epoll_fd;
	uint32_t next_source;
	uint64_t mask_state;
	uint64_t stamp_ns;
	uint8_t *read_buf;
	struct ws_client **dirty;
	size_t dirty_len, dirty_cap;
	struct ws_client *all;
	struct ws_client *dead;
	uint8_t *spare[OUT_SPARE_MAX];
	size_t spare_len;
	struct epoll_event events[EVENTS_A_TURN];
	struct ws_client_nonce nonce; /* one a loop: saves a hash a connection */
};

static void *must(void *memory)
{
	if (!memory) {
		fputs("out of memory\n", stderr);
		abort();
	}
	return memory;
}

uint64_t ws_client_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

uint64_t ws_client_loop_stamp_ns(const struct ws_client_loop *loop)
{
	return loop->stamp_ns;
}

static uint32_t next_mask(struct ws_client_loop *loop)
{
	uint64_t x = loop->mask_state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	loop->mask_state = x;
	return (uint32_t)(x >> 16);
}

static void mark_dirty(struct ws_client *conn)
{
	struct ws_client_loop *loop = conn->loop;

	if (conn->is_dirty)
		return;
	if (loop->dirty_len == loop->dirty_cap) {
		loop->dirty_cap *= 2;
		loop->dirty =
			must(realloc(loop->dirty, loop->dirty_cap * sizeof(*loop->dirty)));
	}
	conn->is_dirty = true;
	loop->dirty[loop->dirty_len++] = conn;
}

/* Room for len more bytes of output. */
static uint8_t *out_room(struct ws_client *conn, size_t len)
{
	struct ws_client_loop *loop = conn->loop;

	if (!conn->out) {
		conn->out = loop->spare_len ? loop->spare[--loop->spare_len]
		                            : must(malloc(OUT_BYTES));
		conn->out_cap = OUT_BYTES;
	}
	if (conn->out_cap - conn->out_len < len) {
		while (conn->out_cap - conn->out_len < len)
			conn->out_cap *= 2;
		conn->out = must(realloc(conn->out, conn->out_cap));
	}
	return conn->out + conn->out_len;
}

static void out_release(struct ws_client *conn)
{
	struct ws_client_loop *loop = conn->loop;

	if (!conn->out)
		return;
	if (conn->out_cap == OUT_BYTES && loop->spare_len < OUT_SPARE_MAX)
		loop->spare[loop->spare_len++] = conn->out;
	else
		free(conn->out);
	conn->out = NULL;
	conn->out_off = conn->out_len = conn->out_cap = 0;
}

static void put_frame(struct ws_client *conn, uint8_t op, const void *data, size_t len)
{
	const uint32_t word = next_mask(conn->loop);
	uint8_t *to = out_room(conn, len + WS_HEADER_MAX);
	uint8_t mask[4];
	size_t header;

	memcpy(mask, &word, sizeof(mask));
	header = ws_header_write_masked(to, (enum ws_op)op, len, mask);
	ws_mask_copy(to + header, data, len, mask, 0);
	conn->out_len += (uint32_t)(header + len);
	mark_dirty(conn);
}

static void set_waits_for_room(struct ws_client *conn, bool waits)
{
	struct epoll_event event = {
		.events = EPOLLIN | (waits ? (uint32_t)EPOLLOUT : 0U),
		.data.ptr = conn,
	};

	if (conn->waits_for_room == waits)
		return;
	conn->waits_for_room = waits;
	epoll_ctl(conn->loop->epoll_fd, EPOLL_CTL_MOD, conn->fd, &event);
}

static ssize_t write_some(struct ws_client *conn)
{
	const uint8_t *from = conn->out + conn->out_off;
	const size_t len = conn->out_len - conn->out_off;

	if (conn->tls)
		return ws_client_tls_write(conn->tls, from, len);
	return send(conn->fd, from, len, MSG_NOSIGNAL);
}

static void flush(struct ws_client *conn)
{
	while (conn->out_off < conn->out_len) {
		const ssize_t done = write_some(conn);

		if (done > 0) {
			conn->out_off += (uint32_t)done;
			continue;
		}
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EAGAIN) {
			set_waits_for_room(conn,
			                   !conn->tls || ws_client_tls_wants_write(conn->tls));
			return;
		}
		conn->has_write_failed = true; /* inv. 3 */
		break;
	}
	out_release(conn);
	set_waits_for_room(conn, false);
}

static void flush_all(struct ws_client_loop *loop)
{
	for (size_t i = 0; i < loop->dirty_len; i++) {
		struct ws_client *conn = loop->dirty[i];

		conn->is_dirty = false;
		if (conn->state != DEAD)
			flush(conn);
	}
	loop->dirty_len = 0;
}

static void shut(struct ws_client *conn)
{
	struct ws_client_loop *loop = conn->loop;

	if (conn->tls)
		ws_client_tls_shutdown(conn->tls);
	ws_client_tls_free(conn->tls);
	conn->tls = NULL;
	close(conn->fd);
	out_release(conn);
	free(conn->in);
	free(conn->fragment);
	conn->in = conn->fragment = NULL;
	conn->state = DEAD;
	if (conn->next)
		conn->next->prev = conn->prev;
	if (conn->prev)
		conn->prev->next = conn->next;
	else
		loop->all = conn->next;
	conn->next = loop->dead;
	loop->dead = conn;
}

static void reap(struct ws_client_loop *loop)
{
	while (loop->dead) {
		struct ws_client *conn = loop->dead;

		loop->dead = conn->next;
		free(conn);
	}
}

static void finish(struct ws_client *conn, const struct ws_client_end *end)
{
	shut(conn);
	conn->handlers->on_end(conn, end);
}

static void finish_protocol(struct ws_client *conn, const char *what)
{
	struct ws_client_end end = { .kind = WS_CLIENT_END_PROTOCOL };

	snprintf(end.text, sizeof(end.text), "the server broke the WebSocket protocol: %s",
	         what);
	finish(conn, &end);
}

/* The socket gave an error or its end (error 0). */
static void finish_broken(struct ws_client *conn, int error)
{
	struct ws_client_end end = { .kind = WS_CLIENT_END_BROKEN };
	char reason[120];

	if (conn->tls && !ws_client_tls_is_ready(conn->tls) && error != ECONNREFUSED) {
		end.kind = WS_CLIENT_END_TLS;
		ws_client_tls_error(conn->tls, reason, sizeof(reason));
		snprintf(end.text, sizeof(end.text), "the TLS handshake failed: %s", reason);
	} else if (conn->state == UPGRADING) {
		end.kind = error ? WS_CLIENT_END_CONNECT : WS_CLIENT_END_HTTP;
		snprintf(end.text, sizeof(end.text), "%s%s%s",
		         error ? "no connection: " : "the server closed it before the upgrade",
		         error ? strerror(error) : "",
		         conn->tls || (error && error != ECONNRESET) ? "" : " (try wss://)");
	} else {
		snprintf(end.text, sizeof(end.text), "the connection broke: %s",
		         error ? strerror(error) : "ended without a close frame");
	}
	finish(conn, &end);
}

static void finish_closed(struct ws_client *conn, const struct ws_client_frame *frame)
{
	struct ws_client_end end = { .kind = WS_CLIENT_END_CLOSED, .code = WS_CLOSE_NO_STATUS };
	int reason_len = 0;

	if (frame->len == 1) {
		finish_protocol(conn, "a close frame of one byte");
		return;
	}
	if (frame->len >= 2) {
		end.code = (uint16_t)(frame->payload[0] << 8 | frame->payload[1]);
		reason_len = (int)frame->len - 2;
	}
	snprintf(end.text, sizeof(end.text), "closed with %u%s%.*s", end.code,
	         reason_len ? " " : "", reason_len, (const char *)frame->payload + 2);
	if (conn->state == OPEN) {
		put_frame(conn, WS_OP_CLOSE, frame->payload, frame->len < 2 ? 0 : 2);
		flush(conn);
	}
	finish(conn, &end);
}

static void on_control(struct ws_client *conn, const struct ws_client_frame *frame)
{
	if (frame->op == WS_OP_CLOSE)
		finish_closed(conn, frame);
	else if (frame->op == WS_CLIENT_PING && conn->state == OPEN)
		put_frame(conn, WS_CLIENT_PONG, frame->payload, frame->len);
	else if (frame->op == WS_CLIENT_PONG)
		conn->handlers->on_message(conn, WS_CLIENT_PONG, frame->payload, frame->len);
	else if (frame->op > WS_CLIENT_PONG)
		finish_protocol(conn, "an unknown opcode");
}

/* A part of a message: kept until the last has come. */
static void on_fragment(struct ws_client *conn, const struct ws_client_frame *frame)
{
	uint8_t *whole;

	if ((frame->op == WS_OP_CONTINUATION) != (conn->fragment_op != 0) || frame->op > 2) {
		finish_protocol(conn, "fragments out of order");
		return;
	}
	if (conn->fragment_len + frame->len > WS_CLIENT_MESSAGE_BYTES_MAX) {
		finish_protocol(conn, "a message over 1 MiB");
		return;
	}
	if (frame->op != WS_OP_CONTINUATION)
		conn->fragment_op = frame->op;
	conn->fragment = must(realloc(conn->fragment, conn->fragment_len + frame->len + 1));
	memcpy(conn->fragment + conn->fragment_len, frame->payload, frame->len);
	conn->fragment_len += frame->len;
	if (!frame->is_final)
		return;
	whole = conn->fragment;
	conn->fragment = NULL;
	conn->handlers->on_message(conn, (enum ws_client_op)conn->fragment_op, whole,
	                           conn->fragment_len);
	conn->fragment_op = 0;
	conn->fragment_len = 0;
	free(whole);
}

static void on_frame(struct ws_client *conn, const struct ws_client_frame *frame)
{
	if (frame->op & 8)
		on_control(conn, frame);
	else if (!frame->is_final || frame->op == WS_OP_CONTINUATION || conn->fragment_op)
		on_fragment(conn, frame);
	else if (frame->op > WS_CLIENT_BINARY)
		finish_protocol(conn, "an unknown opcode");
	else
		conn->handlers->on_message(conn, (enum ws_client_op)frame->op, frame->payload,
		                           frame->len);
}

/* Returns the bytes used. */
static size_t take_frames(struct ws_client *conn, const uint8_t *data, size_t len)
{
	size_t at = 0;

	while (conn->state != DEAD) {
		struct ws_client_frame frame;
		const ssize_t used = ws_client_frame_get(data + at, len - at, &frame);

		if (used == 0)
			break;
		if (used < 0) {
			finish_protocol(conn, "a malformed frame");
			break;
		}
		at += (size_t)used;
		on_frame(conn, &frame);
	}
	return at;
}

/* The answer to the upgrade.  Returns the bytes used, 0 when it is not whole yet. */
static size_t take_response(struct ws_client *conn, const uint8_t *data, size_t len)
{
	struct ws_client_end end;
	const ssize_t used = ws_client_upgrade_response(&conn->loop->nonce, data, len, &end);

	if (used > 0) {
		conn->state = OPEN;
		conn->handlers->on_open(conn);
	} else if (used < 0) {
		finish(conn, &end);
	}
	return used > 0 ? (size_t)used : 0;
}

static void take_input(struct ws_client *conn, const uint8_t *data, size_t len)
{
	size_t used = 0;

	if (conn->state == UPGRADING)
		used = take_response(conn, data, len);
	if (conn->state == OPEN || conn->state == CLOSING)
		used += take_frames(conn, data + used, len - used);
	if (conn->state == DEAD || used == len)
		return;
	conn->in_len = len - used;
	conn->in = must(malloc(conn->in_len));
	memcpy(conn->in, data + used, conn->in_len);
}

/* One read into the shared buffer, behind what was cut off before.
 * Returns whether there may be more that epoll would not report (TLS keeps records). */
static bool read_once(struct ws_client *conn)
{
	uint8_t *buf = conn->loop->read_buf;
	const size_t kept = conn->in_len;
	ssize_t got;

	if (conn->tls)
		got = ws_client_tls_read(conn->tls, buf + kept, READ_BYTES - kept);
	else
		got = recv(conn->fd, buf + kept, READ_BYTES - kept, 0);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (got <= 0) {
		finish_broken(conn, got < 0 ? errno : 0);
		return false;
	}
	conn->loop->stamp_ns = ws_client_now_ns();
	if (kept) {
		memcpy(buf, conn->in, kept);
		free(conn->in);
		conn->in = NULL;
		conn->in_len = 0;
	}
	take_input(conn, buf, kept + (size_t)got);
	return conn->tls && conn->state != DEAD;
}

static void on_event(struct ws_client *conn, uint32_t events)
{
	if (conn->state == DEAD)
		return;
	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		while (read_once(conn))
			;
	if (conn->state != DEAD && conn->out && (events & EPOLLOUT || conn->tls))
		mark_dirty(conn);
}

/* epoll_pwait2 where the kernel has it, else milliseconds rounded up. */
static int wait_events(struct ws_client_loop *loop, uint64_t wake_ns)
{
	const uint64_t now_ns = wake_ns ? ws_client_now_ns() : 0;
	const uint64_t left_ns = wake_ns > now_ns ? wake_ns - now_ns : 0;
	const struct timespec left = {
		.tv_sec = (time_t)(left_ns / UINT64_C(1000000000)),
		.tv_nsec = (long)(left_ns % UINT64_C(1000000000)),
	};
	const int n = epoll_pwait2(loop->epoll_fd, loop->events, EVENTS_A_TURN, &left, NULL);

	if (n >= 0 || errno != ENOSYS)
		return n;
	return epoll_wait(loop->epoll_fd, loop->events, EVENTS_A_TURN,
	                  (int)((left_ns + 999999) / 1000000));
}

void ws_client_loop_turn(struct ws_client_loop *loop, uint64_t wake_ns)
{
	int n;

	flush_all(loop);
	reap(loop); /* inv. 1 */
	n = wait_events(loop, wake_ns);
	for (int i = 0; i < n; i++)
		on_event(loop->events[i].data.ptr, loop->events[i].events);
}

enum cx_err ws_client_loop_new(const struct ws_client_loop_conf *conf,
                               struct ws_client_loop **out)
{
	struct ws_client_loop *loop = must(calloc(1, sizeof(*loop)));

	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0 || !ws_client_nonce_make(&loop->nonce)) {
		free(loop);
		return CX_EIO;
	}
	loop->mask_state = conf->seed | 1;
	loop->read_buf = must(malloc(READ_BYTES));
	loop->dirty_cap = conf->connections + 64;
	loop->dirty = must(calloc(loop->dirty_cap, sizeof(*loop->dirty)));
	*out = loop;
	return CX_OK;
}

void ws_client_loop_free(struct ws_client_loop *loop)
{
	if (!loop)
		return;
	while (loop->all)
		shut(loop->all);
	reap(loop);
	while (loop->spare_len)
		free(loop->spare[--loop->spare_len]);
	close(loop->epoll_fd);
	free(loop->dirty);
	free(loop->read_buf);
	free(loop);
}

static void put_request(struct ws_client *conn)
{
	char *to = (char *)out_room(conn, WS_CLIENT_REQUEST_BYTES_MAX);

	conn->out_len +=
		(uint32_t)ws_client_upgrade_request(conn->target, &conn->loop->nonce, to);
	mark_dirty(conn);
}

enum cx_err ws_client_open(struct ws_client_loop *loop, const struct ws_client_target *target,
                           const struct ws_client_handlers *handlers, void *user,
                           struct ws_client **out)
{
	const int fd = ws_client_target_connect(target, loop->next_source++);
	struct ws_client *conn;
	struct epoll_event event = { .events = EPOLLIN };

	if (fd < 0)
		return CX_EIO;
	conn = must(calloc(1, sizeof(*conn)));
	conn->fd = fd;
	conn->loop = loop;
	conn->target = target;
	conn->handlers = handlers;
	conn->user = user;
	if (target->tls)
		conn->tls = must(ws_client_tls_new(target->tls, fd));
	conn->next = loop->all;
	if (loop->all)
		loop->all->prev = conn;
	loop->all = conn;
	event.data.ptr = conn;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event);
	put_request(conn);
	*out = conn;
	return CX_OK;
}

void *ws_client_user(const struct ws_client *conn)
{
	return conn->user;
}

void ws_client_send(struct ws_client *conn, enum ws_client_op op, const void *data, size_t len)
{
	if (conn->state == OPEN && !conn->has_write_failed)
		put_frame(conn, (uint8_t)op, data, len);
}

void ws_client_close(struct ws_client *conn, uint16_t code)
{
	const uint8_t payload[2] = { (uint8_t)(code >> 8), (uint8_t)code };

	if (conn->state != OPEN)
		return;
	put_frame(conn, WS_OP_CLOSE, payload, sizeof(payload));
	conn->state = CLOSING;
}

void ws_client_drop(struct ws_client *conn)
{
	if (conn->state != DEAD)
		shut(conn);
}

void ws_client_abort(struct ws_client *conn)
{
	const struct linger now = { .l_onoff = 1, .l_linger = 0 };

	if (conn->state == DEAD)
		return;
	setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	shut(conn);
}
