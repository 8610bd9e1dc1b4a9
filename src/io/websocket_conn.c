/* SPDX-License-Identifier: MIT */
/* Connections: their table, life, deadlines and place in the loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cx/log.h>

#include "io/websocket_internal.h"

struct ws_handle ws_conn_handle(const struct ws_conn *c)
{
	const struct ws_handle handle = { c->adapter->self, c->index, c->gen };

	return handle;
}

static void add_chunk(struct ws_adapter *a)
{
	struct ws_conn **chunks =
		realloc(a->chunks, (a->chunk_count + 1) * sizeof(struct ws_conn *));
	struct ws_conn *chunk = calloc(WS_CHUNK, sizeof(*chunk));

	cx_assert(chunks != NULL && chunk != NULL);
	a->chunks = chunks;
	for (unsigned i = WS_CHUNK; i-- > 0;) {
		chunk[i].index = a->chunk_count * WS_CHUNK + i;
		chunk[i].gen = 1;
		chunk[i].adapter = a;
		chunk[i].next = a->free_conns;
		a->free_conns = &chunk[i];
	}
	a->chunks[a->chunk_count++] = chunk;
}

struct ws_conn *ws_conn_new(struct ws_adapter *a)
{
	struct ws_conn *c;
	uint32_t index, gen;

	if (a->free_conns == NULL)
		add_chunk(a);
	c = a->free_conns;
	a->free_conns = c->next;
	index = c->index;
	gen = c->gen;
	memset(c, 0, sizeof(*c));
	c->adapter = a;
	c->index = index;
	c->gen = gen;
	c->watch.fd = -1;
	return c;
}

struct ws_conn *ws_conn_at(struct ws_adapter *a, uint32_t index, uint32_t gen)
{
	struct ws_conn *c;

	if (index >= a->chunk_count * WS_CHUNK)
		return NULL;
	c = &a->chunks[index / WS_CHUNK][index % WS_CHUNK];
	return c->gen == gen && c->phase != WS_FREE ? c : NULL;
}

void ws_conn_release(struct ws_conn *c)
{
	if (c->phase != WS_FREE || c->is_dirty)
		return;
	c->next = c->adapter->free_conns;
	c->adapter->free_conns = c;
}

void ws_uncount(struct ws_conn *c)
{
	/* relaxed: only the numbers matter */
	if (c->counted == WS_COUNTED_HANDSHAKE)
		__atomic_fetch_sub(&ws_shared.handshaking, 1, __ATOMIC_RELAXED);
	else if (c->counted == WS_COUNTED_OPEN)
		__atomic_fetch_sub(&ws_shared.open, 1, __ATOMIC_RELAXED);
	c->counted = WS_COUNTED_NOT;
}

void ws_conn_free(struct ws_conn *c)
{
	cx_assert(c->phase != WS_FREE);
	ws_lws_abandon(c);
	ws_conn_list(c, WS_LIST_NONE);
	ws_uncount(c);
	c->phase = WS_FREE;
	c->gen++;
	ws_out_drop(c);
	ws_carry_drop(c);
	cx_buf_unref(c->msg);
	c->msg = NULL;
	if (loop_uv_watch(c->adapter->loop, &c->watch, 0) != CX_OK)
		cx_assert(false); /* taking out needs no memory */
	if (c->tls != NULL)
		SSL_free(c->tls);
	c->tls = NULL;
	cx_io_flush();
	close(c->watch.fd);
	c->watch.fd = -1;
	ws_conn_release(c);
}

static void list_remove(struct ws_conn *c)
{
	struct ws_conn_list *list = &c->adapter->lists[c->list];

	if (c->prev == NULL)
		list->first = c->next;
	else
		c->prev->next = c->next;
	if (c->next == NULL)
		list->last = c->prev;
	else
		c->next->prev = c->prev;
	list->count--;
}

static uint32_t list_delay_ms(const struct ws_adapter *a, enum ws_list list)
{
	switch (list) {
	case WS_LIST_EARLY:
	case WS_LIST_HTTP:
		return a->settings->handshake_secs * 1000;
	case WS_LIST_STANDING:
		return WS_STANDING_MS;
	case WS_LIST_CLOSING:
		return WS_CLOSE_MS;
	default:
		return WS_LINGER_MS;
	}
}

void ws_conn_list(struct ws_conn *c, enum ws_list to)
{
	struct ws_adapter *a = c->adapter;
	struct ws_conn_list *list = &a->lists[to];

	if (c->list != WS_LIST_NONE)
		list_remove(c);
	if (to != WS_LIST_EARLY)
		ws_peer_leave(c);
	c->list = (uint8_t)to;
	if (to == WS_LIST_NONE)
		return;
	c->deadline_ms = cx_now_ms(a->ctx) + list_delay_ms(a, to);
	c->next = NULL;
	c->prev = list->last;
	if (list->last == NULL)
		list->first = c;
	else
		list->last->next = c;
	list->last = c;
	list->count++;
	ws_tick_later(a);
}

void ws_tick_later(struct ws_adapter *a)
{
	if (!cx_timer_is_armed(&a->timer))
		cx_timer_arm(a->ctx, &a->timer, WS_TICK_MS, TIMER_A);
}

static void on_event(struct loop_watch *watch, unsigned events)
{
	struct ws_conn *c = (struct ws_conn *)(void *)watch;

	ws_enter(c->adapter);
	if (events & LOOP_WRITABLE) {
		if (c->is_blocked) {
			c->is_blocked = false;
			ws_mark_dirty(c);
		}
		if (c->tls_wants_write)
			events |= LOOP_READABLE;
		c->tls_wants_write = false;
	}
	if (!(events & LOOP_READABLE)) {
		ws_conn_poll(c);
		return;
	}
	switch (c->phase) {
	case WS_HEAD:
		ws_head_readable(c);
		break;
	case WS_BODY:
		ws_body_readable(c);
		break;
	case WS_OPEN:
		ws_open_readable(c);
		break;
	case WS_CLOSING:
		ws_closing_readable(c);
		break;
	default:
		ws_conn_poll(c);
		break;
	}
}

static unsigned events_wanted(const struct ws_conn *c)
{
	unsigned events = 0;

	if (c->phase == WS_HEAD || c->phase == WS_BODY ||
	    (c->phase == WS_OPEN && !c->is_paused) || (c->phase == WS_CLOSING && !c->saw_eof))
		events |= LOOP_READABLE;
	if (c->is_blocked || c->tls_wants_write)
		events |= LOOP_WRITABLE;
	return events;
}

void ws_conn_poll(struct ws_conn *c)
{
	const unsigned events = events_wanted(c);

	if (events == c->watch.events || c->phase == WS_FREE)
		return;
	c->watch.fn = on_event;
	if (loop_uv_watch(c->adapter->loop, &c->watch, events) == CX_OK)
		return;
	/* The kernel has no room for one more: its deadline ends it. */
	cx_log(CX_WARN, "websocket.watch_failed", "errno=%d", errno);
	if (c->list == WS_LIST_NONE)
		ws_conn_list(c, WS_LIST_LINGER);
}
