/* SPDX-License-Identifier: MIT */
/* Connections: accepting, reading, writing, their limits, and their end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cx/io.h>
#include <cx/log.h>

#include "io/grpc_server_internal.h"
#include "io/openssl_h2.h"

#define ACCEPTS_A_TURN 32

#define DRAIN_NOTICE_MS \
	1000           /* calls on their way are still taken, unless a PING shows sooner */
#define LINGER_MS 1000 /* for the peer to read the last frames */
#define STALL_MS 30000 /* output waits and nothing moves */

static void set_phase(struct grpc_conn *c, enum grpc_conn_phase phase)
{
	c->phase = (uint8_t)phase;
	c->since_ms = cx_now_ms(c->adapter->ctx);
}

void grpc_mark_dirty(struct grpc_conn *c)
{
	if (c->is_dirty)
		return;
	c->is_dirty = true;
	c->dirty_next = c->adapter->dirty;
	c->adapter->dirty = c;
}

static void tick_later(struct grpc_adapter *a)
{
	if (!cx_timer_is_armed(&a->timer))
		cx_timer_arm(a->ctx, &a->timer, GRPC_TICK_MS, TIMER_A);
}

/* The socket goes now; the memory when no list holds it (grpc_flush_dirty). */
static void end(struct grpc_conn *c)
{
	struct grpc_adapter *a = c->adapter;

	if (c->phase == GRPC_CONN_GONE)
		return;
	grpc_transport_close(&c->t);
	while (c->streams != NULL)
		grpc_stream_free(c->streams);
	if (c->next != NULL)
		c->next->prev = c->prev;
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		a->conns = c->next;
	grpc_release();
	grpc_count(&a->figures.closed, 1);
	set_phase(c, GRPC_CONN_GONE);
	grpc_mark_dirty(c);
}

/* All is written: shut our half, so that closing with unread input cannot cut the last frames off. */
static void begin_closing(struct grpc_conn *c)
{
	if (c->phase == GRPC_CONN_CLOSING)
		return;
	cx_io_flush();
	if (c->t.tls != NULL || shutdown(c->t.watch.fd, SHUT_WR) != 0) {
		end(c); /* TLS says goodbye by itself */
		return;
	}
	set_phase(c, GRPC_CONN_CLOSING);
}

void grpc_give_window(struct grpc_conn *c)
{
	if (c->unconsumed == 0 || c->held_bytes + c->out_bytes > GRPC_HELD_MAX)
		return;
	if (nghttp2_session_consume_connection(c->t.session, (size_t)c->unconsumed) != 0)
		c->is_failing = true;
	c->unconsumed = 0;
}

static void flush(struct grpc_conn *c)
{
	const uint64_t now_ms = cx_now_ms(c->adapter->ctx);
	const uint32_t rest = c->t.rest_len - c->t.rest_at;
	enum grpc_io io;

	if (c->phase >= GRPC_CONN_CLOSING)
		return;
	if (c->is_goaway_due) {
		c->is_goaway_due = false;
		if (nghttp2_submit_goaway(c->t.session, NGHTTP2_FLAG_NONE,
		                          nghttp2_session_get_last_proc_stream_id(c->t.session),
		                          NGHTTP2_NO_ERROR, NULL, 0) != 0)
			c->is_failing = true;
	}
	grpc_give_window(c);
	io = grpc_transport_write(&c->t, c->adapter->scratch);
	if (c->t.rest == NULL || c->t.rest_len - c->t.rest_at != rest)
		c->moved_ms = now_ms;
	if (io != GRPC_IO_OK || (c->is_failing && c->t.rest != NULL))
		end(c);
	else if (c->is_failing || grpc_transport_is_done(&c->t))
		begin_closing(c);
	if (c->phase != GRPC_CONN_GONE && !grpc_transport_poll(&c->t))
		end(c);
}

void grpc_flush_dirty(struct grpc_adapter *a)
{
	while (a->dirty != NULL) {
		struct grpc_conn *c = a->dirty;

		a->dirty = c->dirty_next;
		if (c->phase != GRPC_CONN_GONE)
			flush(c); /* still marked, so that end() does not list it */
		c->is_dirty = false;
		if (c->phase == GRPC_CONN_GONE)
			free(c);
	}
}

static void on_conn_event(struct loop_watch *watch, unsigned events)
{
	struct grpc_conn *c = (struct grpc_conn *)(void *)watch;
	struct grpc_adapter *a = c->adapter;
	enum grpc_io io;

	grpc_enter(a);
	if (c->phase == GRPC_CONN_CLOSING) {
		if (grpc_transport_discard(&c->t, a->scratch) == GRPC_IO_END)
			end(c);
		return;
	}
	if ((events & LOOP_READABLE) || c->t.tls_wants_write) {
		io = grpc_transport_read(&c->t, a->scratch);
		if (io == GRPC_IO_END) {
			end(c);
			return;
		}
		if (io == GRPC_IO_BROKEN) {
			grpc_count(&a->figures.flooded, 1);
			c->is_failing = true;
		}
	}
	grpc_mark_dirty(c);
}

static bool open_session(struct grpc_conn *c)
{
	const struct grpc_server_settings *s = c->adapter->settings;
	const nghttp2_settings_entry entries[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, s->max_streams },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, GRPC_STREAM_WINDOW_BYTES },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, GRPC_HEADER_LIST_MAX },
	};

	return nghttp2_session_server_new2(&c->t.session, c->adapter->callbacks, c,
	                                   c->adapter->option) == 0 &&
	       nghttp2_submit_settings(c->t.session, NGHTTP2_FLAG_NONE, entries,
	                               CX_COUNTOF(entries)) == 0 &&
	       nghttp2_session_set_local_window_size(c->t.session, NGHTTP2_FLAG_NONE, 0,
	                                             GRPC_WINDOW_BYTES) == 0;
}

/* A pair that was loaded meanwhile; connections that are open keep theirs. */
static void take_next_tls(struct grpc_adapter *a)
{
	struct ssl_ctx_st *next;

	/* relaxed: mostly there is none, and one that is missed is seen with the next connection */
	if (__atomic_load_n(&a->tls_next, __ATOMIC_RELAXED) == NULL)
		return;
	/* acquire: pairs with the exchange in grpc_server_reload_tls */
	next = __atomic_exchange_n(&a->tls_next, NULL, __ATOMIC_ACQUIRE);
	if (next == NULL)
		return;
	tls_h2_context_free(a->tls);
	a->tls = next;
}

static void welcome(struct grpc_adapter *a, int fd)
{
	struct grpc_conn *c;

	grpc_count(&a->figures.accepted, 1);
	if (!grpc_reserve(a)) {
		grpc_count(&a->figures.refused, 1);
		close(fd);
		return;
	}
	c = calloc(1, sizeof(*c));
	cx_assert(c != NULL);
	grpc_transport_tune(fd);
	c->adapter = a;
	c->t.watch = (struct loop_watch){ .fd = fd, .fn = on_conn_event };
	c->t.loop = a->loop;
	c->ping_tokens = GRPC_PINGS_BURST;
	c->bucket_ms = c->moved_ms = cx_now_ms(a->ctx);
	c->next = a->conns;
	if (c->next != NULL)
		c->next->prev = c;
	a->conns = c;
	set_phase(c, GRPC_CONN_OPENING);
	take_next_tls(a);
	if (a->tls != NULL)
		c->t.tls = tls_h2_accept(a->tls, fd);
	if ((a->tls != NULL && c->t.tls == NULL) || !open_session(c)) {
		end(c);
		return;
	}
	grpc_mark_dirty(c);
	tick_later(a);
}

static void set_listening(struct grpc_adapter *a, unsigned events)
{
	const enum cx_err err = loop_uv_watch(a->loop, &a->listener, events);

	cx_assert(err == CX_OK);
}

static void on_acceptable(struct loop_watch *watch, unsigned events)
{
	struct grpc_adapter *a =
		(struct grpc_adapter *)(void *)((uint8_t *)watch -
	                                        offsetof(struct grpc_adapter, listener));

	(void)events;
	grpc_enter(a);
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		const int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			welcome(a, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			cx_log(CX_WARN, "grpc.accept_failed", "errno=%d", errno);
			set_listening(a, 0); /* the tick starts it again */
			a->is_choked = true;
			tick_later(a);
			return;
		}
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

void grpc_accept_start(struct grpc_adapter *a)
{
	if (a->is_listening || a->listener.fd < 0)
		return;
	a->listener.fn = on_acceptable;
	a->is_listening = true;
	set_listening(a, LOOP_READABLE);
}

void grpc_accept_stop(struct grpc_adapter *a)
{
	if (a->is_listening)
		set_listening(a, 0);
	a->is_listening = false;
	if (a->listener.fd >= 0)
		close(a->listener.fd);
	a->listener.fd = -1;
}

/* A first GOAWAY that names no stream: calls that are on their way are still taken.  The PING's answer
 * comes after them; then the second GOAWAY says where it ends. */
static void leave(struct grpc_conn *c)
{
	if (c->phase >= GRPC_CONN_LEAVING)
		return;
	set_phase(c, GRPC_CONN_LEAVING);
	for (struct grpc_stream *s = c->streams; s != NULL; s = s->next)
		if (s->kind == GRPC_KIND_HEALTH_WATCH || s->kind == GRPC_KIND_REFLECTION)
			grpc_end(s, GRPC_UNAVAILABLE,
			         "the server ends"); /* else it never would */
	if (nghttp2_submit_shutdown_notice(c->t.session) != 0 ||
	    nghttp2_submit_ping(c->t.session, NGHTTP2_FLAG_NONE, NULL) != 0)
		c->is_failing = true;
	grpc_mark_dirty(c);
}

void grpc_say_goodbye(struct grpc_conn *c)
{
	if (c->phase != GRPC_CONN_LEAVING || c->is_goaway_said)
		return;
	c->is_goaway_said = c->is_goaway_due = true;
	/* All that the peer sent before it knew has come. */
	for (struct grpc_stream *s = c->streams; s != NULL; s = s->next)
		if (s->kind == GRPC_KIND_MANY)
			grpc_many_finish(s);
	grpc_mark_dirty(c);
}

void grpc_drain_all(struct grpc_adapter *a)
{
	a->is_draining = true;
	for (struct grpc_conn *c = a->conns; c != NULL; c = c->next)
		leave(c);
}

void grpc_close_all(struct grpc_adapter *a)
{
	while (a->conns != NULL)
		end(a->conns);
	grpc_flush_dirty(a);
}

/* A stream for many calls stays open between them. */
static bool is_idle(const struct grpc_conn *c)
{
	for (const struct grpc_stream *s = c->streams; s != NULL; s = s->next)
		if (s->kind != GRPC_KIND_MANY)
			return false;
	return c->many_calls == 0;
}

static void look_at(struct grpc_conn *c, uint64_t now_ms)
{
	const struct grpc_server_settings *s = c->adapter->settings;
	const uint64_t age_ms = now_ms - c->since_ms;

	if (c->phase == GRPC_CONN_CLOSING && age_ms >= LINGER_MS) {
		end(c);
		return;
	}
	if (c->t.rest != NULL && now_ms - c->moved_ms >= STALL_MS) {
		end(c);
		return;
	}
	if (c->phase == GRPC_CONN_OPENING && age_ms >= UINT64_C(1000) * s->handshake_secs)
		end(c);
	else if (c->phase == GRPC_CONN_OPEN && age_ms >= UINT64_C(1000) * s->idle_secs &&
	         is_idle(c))
		leave(c);
	else if (c->phase == GRPC_CONN_LEAVING && age_ms >= DRAIN_NOTICE_MS)
		grpc_say_goodbye(c);
}

void grpc_tick(struct grpc_adapter *a)
{
	const uint64_t now_ms = cx_now_ms(a->ctx);
	struct grpc_conn *next;

	for (struct grpc_conn *c = a->conns; c != NULL; c = next) {
		next = c->next;
		look_at(c, now_ms);
	}
	if (a->is_choked && a->is_listening) {
		a->is_choked = false;
		set_listening(a, LOOP_READABLE);
	}
	if (a->conns != NULL || a->is_choked)
		tick_later(a);
}
