/* SPDX-License-Identifier: MIT */
/* Invariants
 * 1. fd, tls and reader exist exactly in CONNECTING (fd only), LOGIN and UP.
 * 2. The timer is armed in all states but UP and STOPPED: nothing waits without a limit.
 * 3. Callbacks of the reader never close the connection under it: they leave a reason in why. */
#include "io/redis_link.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cx/io.h>
#include <cx/log.h>

#include "io/redis_figures.h"
#include "io/redis_login.h"
#include "io/redis_value.h"
#include "io/ws_client_tls.h"

#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 5000
#define STEADY_MS 1000 /* a connection that lived so long was a good one */
#define READ_BYTES 16384
#define READS_A_POLL 8              /* then others have their turn */
#define OUT_IDLE_BYTES (256 * 1024) /* more is given back when it is empty */

static void release(struct redis_link *link)
{
	cx_io_flush();
	if (link->watch.fd >= 0) {
		const enum cx_err err = loop_uv_watch(link->loop, &link->watch, 0);

		cx_assert(err == CX_OK); /* taking away needs no memory */
		if (link->tls != NULL)
			ws_client_tls_shutdown(link->tls);
		close(link->watch.fd);
	}
	ws_client_tls_free(link->tls);
	redis_reader_free(link->reader);
	link->watch.fd = -1;
	link->tls = NULL;
	link->reader = NULL;
	link->is_more = false;
	link->out_at = link->out_len = 0;
}

/* Full jitter: clients that lost one server together come back apart. */
static uint32_t retry_delay_ms(struct cx_ctx *ctx, unsigned failures)
{
	const unsigned doubled = failures < 7 ? failures : 7;
	const uint64_t window_ms = (uint64_t)RETRY_MIN_MS << doubled;

	return (uint32_t)(1 + cx_random(ctx) %
	                              (window_ms < RETRY_MAX_MS ? window_ms : RETRY_MAX_MS));
}

void redis_link_fail(struct cx_ctx *ctx, struct redis_link *link, const char *why)
{
	const bool was_up = link->state == REDIS_LINK_UP;
	uint32_t delay_ms;

	if (link->state == REDIS_LINK_STOPPED)
		return;
	if (was_up && cx_now_ms(ctx) - link->up_ms >= STEADY_MS)
		link->failures = 0;
	delay_ms = retry_delay_ms(ctx, link->failures++);
	cx_log(CX_WARN, "redis.lost", "was_up=%d why=\"%s\" retry_ms=%u", (int)was_up, why,
	       delay_ms);
	link->state = REDIS_LINK_WAITING;
	release(link);
	redis_count(&link->figures->failures, 1);
	cx_timer_arm(ctx, &link->timer, delay_ms, TIMER_A);
	if (was_up) {
		redis_count(&link->figures->connected, UINT64_MAX);
		link->ops->on_down(ctx, link->owner);
	}
}

static void update_watch(struct cx_ctx *ctx, struct redis_link *link)
{
	unsigned events = LOOP_READABLE;

	if (link->is_more || (link->out_at < link->out_len &&
	                      (link->tls == NULL || ws_client_tls_wants_write(link->tls))))
		events |= LOOP_WRITABLE;
	if (loop_uv_watch(link->loop, &link->watch, events) != CX_OK)
		redis_link_fail(ctx, link, "no memory for a watch");
}

static void fail_io(struct cx_ctx *ctx, struct redis_link *link, int error)
{
	char tls_error[120] = "";

	if (link->tls != NULL)
		ws_client_tls_error(link->tls, tls_error, sizeof(tls_error));
	snprintf(link->why, sizeof(link->why), "%s",
	         tls_error[0] != '\0' ? tls_error
	         : error != 0         ? strerrordesc_np(error)
	                              : "the server closed the connection");
	redis_link_fail(ctx, link, link->why);
}

void redis_link_put(struct redis_link *link, const void *bytes, size_t len)
{
	if (link->out_len + len > link->out_cap && link->out_at > 0) {
		memmove(link->out, link->out + link->out_at, link->out_len - link->out_at);
		link->out_len -= link->out_at;
		link->out_at = 0;
	}
	if (link->out_len + len > link->out_cap) {
		link->out_cap = 2 * (link->out_len + len) + 4096;
		link->out = realloc(link->out, link->out_cap);
		cx_assert(link->out != NULL);
	}
	memcpy(link->out + link->out_len, bytes, len);
	link->out_len += len;
	link->put += len;
}

size_t redis_link_backlog(const struct redis_link *link)
{
	return link->out_len - link->out_at;
}

static void all_sent(struct redis_link *link)
{
	link->out_at = link->out_len = 0;
	if (link->out_cap > OUT_IDLE_BYTES) {
		free(link->out);
		link->out = NULL;
		link->out_cap = 0;
	}
}

void redis_link_flush(struct cx_ctx *ctx, struct redis_link *link)
{
	if (link->state != REDIS_LINK_LOGIN && link->state != REDIS_LINK_UP)
		return;
	cx_io_flush();
	while (link->out_at < link->out_len) {
		const uint8_t *at = link->out + link->out_at;
		const size_t len = link->out_len - link->out_at;
		const ssize_t done = link->tls != NULL
		                             ? ws_client_tls_write(link->tls, at, len)
		                             : send(link->watch.fd, at, len, MSG_NOSIGNAL);

		redis_count(&link->figures->sends, 1);
		if (done < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (done <= 0) {
			fail_io(ctx, link, done < 0 ? errno : 0);
			return;
		}
		link->out_at += (size_t)done;
		if (link->state == REDIS_LINK_UP)
			link->sent += (uint64_t)done;
	}
	if (link->out_at == link->out_len)
		all_sent(link);
	update_watch(ctx, link);
}

static bool on_login_reply(struct cx_ctx *ctx, struct redis_link *link,
                           const struct redis_value *value)
{
	if (!redis_login_take(link, value))
		return false;
	if (link->login_at < link->login_count)
		return true;
	cx_timer_cancel(ctx, &link->timer);
	link->state = REDIS_LINK_UP;
	link->up_ms = cx_now_ms(ctx);
	link->put = link->sent = 0;
	redis_count(&link->figures->connects, 1);
	redis_count(&link->figures->connected, 1);
	cx_log(CX_INFO, "redis.connected", "tls=%d", link->tls != NULL);
	link->ops->on_up(ctx, link->owner);
	return true;
}

struct turn { /* what a reader's callback needs */
	struct cx_ctx *ctx;
	struct redis_link *link;
};

static bool on_bytes(void *arg, const uint8_t *bytes, size_t len)
{
	const struct turn *turn = arg;
	struct redis_link *link = turn->link;
	struct redis_walk walk = redis_walk_bytes(bytes, len);
	struct redis_value value;

	if (link->state == REDIS_LINK_UP)
		return link->ops->on_reply(turn->ctx, link->owner, bytes, len);
	return redis_walk_next(&walk, &value) && on_login_reply(turn->ctx, link, &value);
}

/* Returns whether there may be more. */
static bool read_once(struct cx_ctx *ctx, struct redis_link *link)
{
	struct turn turn = { ctx, link };
	uint8_t bytes[READ_BYTES];
	const ssize_t got = link->tls != NULL
	                            ? ws_client_tls_read(link->tls, bytes, sizeof(bytes))
	                            : recv(link->watch.fd, bytes, sizeof(bytes), 0);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (got <= 0) {
		fail_io(ctx, link, got < 0 ? errno : 0);
		return false;
	}
	link->rx_ms = cx_now_ms(ctx);
	snprintf(link->why, sizeof(link->why), "the server broke the protocol or a limit");
	if (redis_reader_feed(link->reader, bytes, (size_t)got, on_bytes, &turn) != CX_OK) {
		redis_link_fail(ctx, link, link->why); /* inv. 3 */
		return false;
	}
	/* A socket that had less than asked for is empty; TLS hands out single records. */
	return link->tls != NULL || (size_t)got == sizeof(bytes);
}

static void try_address(struct cx_ctx *ctx, struct redis_link *link)
{
	const int one = 1;
	const struct sockaddr *to;
	int fd;

	while (link->address < link->addresses.count) {
		to = (const struct sockaddr *)&link->addresses.at[link->address];
		fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (fd >= 0 && (connect(fd, to, link->addresses.len[link->address]) == 0 ||
		                errno == EINPROGRESS)) {
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
			setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
			link->watch.fd = fd;
			link->state = REDIS_LINK_CONNECTING;
			if (loop_uv_watch(link->loop, &link->watch, LOOP_WRITABLE) != CX_OK)
				redis_link_fail(ctx, link, "no memory for a watch");
			return;
		}
		if (fd >= 0)
			close(fd);
		link->address++;
	}
	redis_link_fail(ctx, link, "no address of the host can be connected to");
}

static void on_connected(struct cx_ctx *ctx, struct redis_link *link)
{
	int error = 0;
	socklen_t len = sizeof(error);

	getsockopt(link->watch.fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error != 0) {
		release(link);
		link->address++;
		if (link->address < link->addresses.count)
			try_address(ctx, link);
		else
			redis_link_fail(ctx, link, strerrordesc_np(error));
		return;
	}
	link->state = REDIS_LINK_LOGIN;
	link->reader = redis_reader_new();
	if (link->trust != NULL) {
		link->tls = ws_client_tls_new(link->trust, link->watch.fd);
		if (link->tls == NULL) {
			redis_link_fail(ctx, link, "no TLS state");
			return;
		}
	}
	redis_login_put(link); /* with TLS it leaves only after the certificate was checked */
	redis_link_flush(ctx, link);
}

static void on_event(struct loop_watch *watch, unsigned events)
{
	struct redis_link *link = (struct redis_link *)(void *)watch;
	struct cx_ctx *ctx;

	loop_uv_end_turn(link->loop); /* of an adapter that stays until the poll's end */
	ctx = cx_io_enter(link->worker, link->self);
	(void)events; /* both are tried: TLS may read to write and write to read */
	if (link->state == REDIS_LINK_CONNECTING) {
		on_connected(ctx, link);
	} else {
		unsigned reads = 0;

		while (reads < READS_A_POLL && read_once(ctx, link))
			reads++;
		/* The rest may lie in TLS, where no poll sees it: a socket with room wakes us. */
		link->is_more = reads == READS_A_POLL;
		redis_link_flush(ctx, link);
	}
	cx_io_leave(ctx);
}

void redis_link_on_resolved(struct cx_ctx *ctx, struct redis_link *link,
                            const struct redis_addresses *addresses)
{
	if (link->state != REDIS_LINK_RESOLVING)
		return; /* its time was up */
	link->addresses = *addresses;
	link->address = 0;
	if (addresses->count == 0)
		redis_link_fail(ctx, link, "the host has no address");
	else
		try_address(ctx, link);
}

void redis_link_on_timer(struct cx_ctx *ctx, struct redis_link *link)
{
	if (link->state != REDIS_LINK_WAITING) {
		redis_link_fail(ctx, link, "connecting took too long");
		return;
	}
	link->state = REDIS_LINK_RESOLVING;
	cx_timer_arm(ctx, &link->timer, link->connect_ms, TIMER_A); /* inv. 2 */
	if (redis_resolve(ctx, link->url) != CX_OK)
		redis_link_fail(ctx, link, "the offload pool is full");
}

void redis_link_check(struct cx_ctx *ctx, struct redis_link *link, uint64_t since_ms)
{
	const uint64_t now_ms = cx_now_ms(ctx);
	const uint64_t heard_ms = link->rx_ms > since_ms ? link->rx_ms : since_ms;

	if (link->state != REDIS_LINK_UP || now_ms < heard_ms)
		return;
	if (now_ms - heard_ms >= link->dead_ms ||
	    now_ms - since_ms >= 12 * (uint64_t)link->dead_ms)
		redis_link_fail(ctx, link, "the server does not answer");
}

enum cx_err redis_link_start(struct cx_ctx *ctx, struct redis_link *link, const char *ca_file)
{
	char why[320] = "out of memory";

	link->watch = (struct loop_watch){ .fd = -1, .fn = on_event };
	link->worker = cx_worker_of(ctx);
	link->loop = cx_worker_loop(link->worker);
	link->self = cx_self(ctx);
	link->figures = redis_figures_of(cx_worker_index(ctx));
	if (link->url->is_tls) {
		signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
		link->trust = ws_client_tls_context_new(link->url->host, ca_file, false, why,
		                                        sizeof(why));
		if (link->trust == NULL) {
			cx_log(CX_ERROR, "redis.no_trust", "why=\"%s\"", why);
			link->state = REDIS_LINK_STOPPED;
			return CX_EIO;
		}
	}
	redis_link_on_timer(ctx, link);
	return CX_OK;
}

void redis_link_stop(struct cx_ctx *ctx, struct redis_link *link)
{
	(void)ctx;
	if (link->state == REDIS_LINK_UP)
		redis_count(&link->figures->connected, UINT64_MAX);
	if (link->state != REDIS_LINK_STOPPED)
		release(link);
	link->state = REDIS_LINK_STOPPED;
	ws_client_tls_context_free(link->trust);
	link->trust = NULL;
	free(link->out);
	link->out = NULL;
	link->out_cap = 0;
}
