/* SPDX-License-Identifier: MIT */
/* Connections: their table, life, deadlines and place in the loop. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	c->fd = -1;
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
	if (c->phase != WS_FREE || c->is_dirty || c->has_poll)
		return;
	c->next = c->adapter->free_conns;
	c->adapter->free_conns = c;
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct ws_conn *c = handle->data;

	c->has_poll = false;
	ws_conn_release(c);
}

static void count_out(struct ws_conn *c)
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
	count_out(c);
	c->phase = WS_FREE;
	c->gen++;
	ws_out_drop(c);
	ws_carry_drop(c);
	cx_buf_unref(c->msg);
	c->msg = NULL;
	if (c->has_poll)
		uv_close((uv_handle_t *)&c->poll, on_poll_closed);
	if (c->tls != NULL)
		SSL_free(c->tls);
	c->tls = NULL;
	close(c->fd);
	c->fd = -1;
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
		return a->settings->handshake_secs * 1000;
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

static void on_poll(uv_poll_t *handle, int status, int events)
{
	struct ws_conn *c = handle->data;

	ws_enter(c->adapter);
	if (status < 0)
		events = UV_READABLE; /* the read will tell */
	if (events & UV_WRITABLE) {
		if (c->is_blocked) {
			c->is_blocked = false;
			ws_mark_dirty(c);
		}
		if (c->tls_wants_write)
			events |= UV_READABLE;
		c->tls_wants_write = false;
	}
	if (!(events & UV_READABLE)) {
		ws_conn_poll(c);
		return;
	}
	switch (c->phase) {
	case WS_HEAD:
		ws_head_readable(c);
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

static int events_wanted(const struct ws_conn *c)
{
	int events = 0;

	if (c->is_held)
		return 0;
	if (c->phase == WS_HEAD || (c->phase == WS_OPEN && !c->is_paused) ||
	    (c->phase == WS_CLOSING && !c->saw_eof))
		events |= UV_READABLE;
	if (c->is_blocked || c->tls_wants_write)
		events |= UV_WRITABLE;
	return events;
}

void ws_conn_poll(struct ws_conn *c)
{
	const int events = events_wanted(c);
	int err = 0;

	if (events == c->polling || c->phase == WS_FREE)
		return;
	if (!c->has_poll) {
		err = uv_poll_init(c->adapter->loop, &c->poll, c->fd);
		cx_assert(err == 0);
		c->poll.data = c;
		c->has_poll = true;
	}
	c->polling = (uint8_t)events;
	if (events == 0)
		uv_poll_stop(&c->poll);
	else
		err = uv_poll_start(&c->poll, events, on_poll);
	cx_assert(err == 0);
}
