/* SPDX-License-Identifier: MIT */
/* Connections of the client: opening, trying again, health, end. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cx/log.h>

#include "io/grpc_client_internal.h"
#include "io/openssl_h2.h"

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 5000
#define CONNECT_MS 5000 /* TCP, TLS and SETTINGS, each */
#define MANY_MS 2000    /* for a word about the stream of many calls, then without it */
#define SILENCE_MS 5000 /* with calls under way: then a PING */
#define ANSWER_MS 5000  /* for the PING */
#define STEADY_MS 5000  /* up for so long: the next failure is a first one */
#define RESOLVE_AGE_MS 1000
#define WINDOW_BYTES 4194304
#define STREAM_WINDOW_BYTES 1048576

static void set_state(struct grpc_client_conn *c, enum grpc_conn_state state)
{
	c->state = (uint8_t)state;
	c->since_ms = cx_now_ms(c->client->ctx);
}

static bool is_alive(const struct grpc_client_conn *c)
{
	return c->state >= GRPC_CONN_CONNECTING && c->state <= GRPC_CONN_READY;
}

/* No connection, and none being tried: who waits would wait for nothing. */
static void look_whether_dead(struct grpc_client *g)
{
	bool is_any_waiting = false;

	g->is_dead = false;
	for (size_t i = 0; i < GRPC_SLOTS_MAX; i++) {
		if (is_alive(&g->slots[i]))
			return;
		is_any_waiting |= g->slots[i].state == GRPC_CONN_WAITING;
	}
	g->is_dead = is_any_waiting;
}

static uint64_t backoff_ms(struct grpc_client_conn *c)
{
	const uint32_t n = c->failures < 7 ? c->failures : 7;
	const uint64_t cap = (uint64_t)BACKOFF_MIN_MS << n;

	return 1 + cx_random(c->client->ctx) % (cap < BACKOFF_MAX_MS ? cap : BACKOFF_MAX_MS);
}

static void close_conn(struct grpc_client_conn *c, const char *why)
{
	grpc_transport_close(&c->t);
	while (c->calls != NULL)
		grpc_call_finish(c->client, c->calls, GRPC_UNAVAILABLE, why);
	grpc_many_free(c);
	c->is_failing = c->is_pinged = c->is_goaway = c->is_greeted = false;
	c->t.is_connecting = c->t.tls_wants_write = c->t.wants_room = false;
}

/* The peer is gone or was never there: try again later. */
static void fail(struct grpc_client_conn *c, const char *why)
{
	struct grpc_client *g = c->client;
	const bool was_leaving = c->state == GRPC_CONN_LEAVE;
	const uint64_t now_ms = cx_now_ms(g->ctx);

	if (c->state == GRPC_CONN_READY && now_ms - c->since_ms >= STEADY_MS)
		c->failures = 0;
	if (c->t.tls != NULL && c->state == GRPC_CONN_GREETING && !c->is_greeted)
		why = tls_h2_why(c->t.tls);
	cx_log(CX_WARN, "grpc.connection_lost", "state=%d failures=%u why=\"%s\"", c->state,
	       c->failures, why);
	close_conn(c, "the connection was lost");
	if (was_leaving) {
		set_state(c, GRPC_CONN_FREE); /* another one took its place */
		return;
	}
	set_state(c, GRPC_CONN_WAITING);
	cx_timer_arm(g->ctx, &c->timer, backoff_ms(c), TIMER_C);
	c->failures++;
	if (now_ms - g->resolved_ms >= RESOLVE_AGE_MS)
		grpc_client_resolve(g);
	look_whether_dead(g);
}

static bool open_session(struct grpc_client_conn *c)
{
	struct grpc_client *g = c->client;
	const nghttp2_settings_entry entries[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES },
	};

	if (g->targets[c->target].is_tls) {
		c->t.tls = tls_h2_connect(g->tls, c->t.watch.fd, g->targets[c->target].host);
		if (c->t.tls == NULL)
			return false;
	}
	return nghttp2_session_client_new(&c->t.session, g->callbacks, c) == 0 &&
	       nghttp2_submit_settings(c->t.session, NGHTTP2_FLAG_NONE, entries,
	                               CX_COUNTOF(entries)) == 0 &&
	       nghttp2_session_set_local_window_size(c->t.session, NGHTTP2_FLAG_NONE, 0,
	                                             WINDOW_BYTES) == 0 &&
	       grpc_many_open(c);
}

static void mark_dirty(struct grpc_client_conn *c)
{
	c->is_dirty = true;
}

static void on_connected(struct grpc_client_conn *c)
{
	int error = 0;
	socklen_t len = sizeof(error);

	c->t.is_connecting = false;
	if (getsockopt(c->t.watch.fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
		fail(c, strerror(error));
		return;
	}
	grpc_transport_tune(c->t.watch.fd);
	set_state(c, GRPC_CONN_GREETING);
	if (open_session(c))
		mark_dirty(c);
	else
		fail(c, "no session");
}

static void on_conn_event(struct loop_watch *watch, unsigned events)
{
	struct grpc_client_conn *c = (struct grpc_client_conn *)(void *)watch;

	grpc_client_enter(c->client);
	if (c->state == GRPC_CONN_CONNECTING) {
		on_connected(c);
		return;
	}
	if ((events & LOOP_READABLE) || c->t.tls_wants_write) {
		const enum grpc_io io = grpc_transport_read(&c->t, c->client->scratch);

		c->silent_from_ms = cx_now_ms(c->client->ctx);
		if (io == GRPC_IO_END) {
			fail(c, "the peer closed it");
			return;
		}
		c->is_failing |= io == GRPC_IO_BROKEN;
	}
	mark_dirty(c);
}

/* The same in every process, whatever order a name's addresses come in: FNV-1a, the variant of Fowler,
 * Noll and Vo that RFC 9923 describes. */
static uint64_t place_of(const struct grpc_address *a)
{
	const bool is_v4 = a->any.sa_family == AF_INET;
	const uint8_t *const host =
		is_v4 ? (const uint8_t *)&a->v4.sin_addr : (const uint8_t *)&a->v6.sin6_addr;
	const uint16_t port = ntohs(is_v4 ? a->v4.sin_port : a->v6.sin6_port);
	const size_t len = is_v4 ? sizeof(a->v4.sin_addr) : sizeof(a->v6.sin6_addr);
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len + 2; i++) {
		hash ^= i < len ? host[i] : i == len ? port >> 8 : port & 0xff;
		hash *= UINT64_C(0x100000001b3);
	}
	return hash;
}

static uint32_t others_at(const struct grpc_client_conn *c, uint64_t place)
{
	const struct grpc_client *g = c->client;
	uint32_t n = 0;

	for (size_t i = 0; i < GRPC_SLOTS_MAX; i++)
		n += &g->slots[i] != c && g->slots[i].place == place &&
		     g->slots[i].state != GRPC_CONN_FREE &&
		     g->slots[i].state != GRPC_CONN_LEAVE;
	return n;
}

/* The one with the fewest connections, the next in turn of those: so all are known, and whoever has
 * the same addresses chooses the same for an affinity. */
static const struct grpc_address *address_for(struct grpc_client_conn *c)
{
	struct grpc_client *g = c->client;
	uint32_t best = 0, fewest = UINT32_MAX;

	for (uint32_t i = 0; i < g->address_count && fewest > 0; i++) {
		const uint32_t at = (g->next_address + i) % g->address_count;
		const uint32_t n = others_at(c, place_of(&g->addresses[at]));

		if (n >= fewest)
			continue;
		fewest = n;
		best = at;
	}
	g->next_address = best + 1;
	c->place = place_of(&g->addresses[best]);
	return &g->addresses[best];
}

static void dial(struct grpc_client_conn *c)
{
	struct grpc_client *g = c->client;
	const struct grpc_address *a = address_for(c);
	const socklen_t len = a->any.sa_family == AF_INET ? sizeof(a->v4) : sizeof(a->v6);
	const int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	set_state(c, GRPC_CONN_CONNECTING);
	c->target = a->target;
	if (fd < 0) {
		fail(c, "no socket left");
		return;
	}
	c->t.watch = (struct loop_watch){ .fd = fd, .fn = on_conn_event };
	c->t.loop = g->loop;
	c->t.is_connecting = true;
	if (connect(fd, &a->any, len) != 0 && errno != EINPROGRESS) {
		fail(c, strerror(errno));
		return;
	}
	if (!grpc_transport_poll(&c->t))
		fail(c, "no memory");
}

void grpc_client_retry(struct grpc_client_conn *c)
{
	if (c->state == GRPC_CONN_WAITING && c->client->address_count > 0)
		dial(c);
	look_whether_dead(c->client);
}

/* One to each address at least. */
static uint32_t wanted(const struct grpc_client *g)
{
	const uint32_t n = g->address_count < GRPC_CONNECTIONS_MAX ? g->address_count
	                                                           : GRPC_CONNECTIONS_MAX;

	return g->conf.connections > n ? g->conf.connections : n;
}

void grpc_client_connect(struct grpc_client *g)
{
	uint32_t busy = 0;

	if (g->address_count == 0)
		return;
	for (size_t i = 0; i < GRPC_SLOTS_MAX; i++)
		busy += g->slots[i].state != GRPC_CONN_FREE &&
		        g->slots[i].state != GRPC_CONN_LEAVE;
	for (size_t i = 0; i < GRPC_SLOTS_MAX && busy < wanted(g); i++) {
		if (g->slots[i].state != GRPC_CONN_FREE)
			continue;
		g->slots[i].failures = 0;
		dial(&g->slots[i]);
		busy++;
	}
}

void grpc_conn_greeted(struct grpc_client_conn *c)
{
	if (!c->is_greeted && c->state == GRPC_CONN_GREETING)
		c->since_ms = cx_now_ms(c->client->ctx); /* MANY_MS begins */
	c->is_greeted = true;
	grpc_conn_look(c);
}

void grpc_conn_look(struct grpc_client_conn *c)
{
	if (c->state == GRPC_CONN_GREETING && c->is_greeted && c->many.state != GRPC_MANY_ASKED)
		set_state(c, GRPC_CONN_READY);
}

bool grpc_conn_is_up(const struct grpc_client_conn *c)
{
	return c->state == GRPC_CONN_READY && !c->is_goaway && !c->is_failing;
}

bool grpc_conn_has_room(const struct grpc_client_conn *c)
{
	return grpc_conn_is_up(c) &&
	       c->call_count < nghttp2_session_get_remote_settings(
				       c->t.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

struct grpc_client_conn *grpc_client_pick(struct grpc_client *g)
{
	struct grpc_client_conn *best = NULL;

	for (size_t i = 0; i < GRPC_SLOTS_MAX; i++) {
		struct grpc_client_conn *c = &g->slots[i];

		if (grpc_conn_has_room(c) && (best == NULL || c->call_count < best->call_count))
			best = c;
	}
	return best;
}

/* It was of no use yet. */
static bool is_new(const struct grpc_client_conn *c)
{
	return c->state == GRPC_CONN_GREETING ||
	       (c->state == GRPC_CONN_READY && c->call_count == 0 &&
	        cx_now_ms(c->client->ctx) - c->since_ms < STEADY_MS);
}

static const char *why_failing(const struct grpc_client_conn *c)
{
	if (!c->is_failing)
		return "the peer closed it";
	return c->many.is_lost ? "the peer ended the stream of calls"
	                       : "the peer broke the protocol";
}

static void flush(struct grpc_client_conn *c)
{
	const enum grpc_io io = grpc_transport_write(&c->t, c->client->scratch);

	if (io != GRPC_IO_OK || c->is_failing) {
		fail(c, why_failing(c));
		return;
	}
	if (c->is_goaway && is_new(c)) {
		fail(c, "the peer is leaving"); /* else it would be dialled again at once */
		return;
	}
	if (c->is_goaway && c->state != GRPC_CONN_LEAVE)
		set_state(c, GRPC_CONN_LEAVE);
	if (c->state == GRPC_CONN_LEAVE && c->call_count == 0) {
		close_conn(c, "");
		set_state(c, GRPC_CONN_FREE);
		return;
	}
	if (grpc_transport_is_done(&c->t))
		fail(c, "the session has ended");
	else if (!grpc_transport_poll(&c->t))
		fail(c, "no memory");
}

void grpc_client_flush(struct grpc_client *g)
{
	for (size_t i = 0; i < GRPC_SLOTS_MAX; i++) {
		struct grpc_client_conn *c = &g->slots[i];

		if (!c->is_dirty)
			continue;
		c->is_dirty = false;
		if (c->state >= GRPC_CONN_GREETING)
			flush(c);
	}
	/* A GOAWAY without calls: its place is taken in this turn. */
	grpc_client_connect(g);
}

static void look_at(struct grpc_client_conn *c, uint64_t now_ms)
{
	const uint64_t silent_ms = now_ms - c->silent_from_ms;

	if ((c->state == GRPC_CONN_CONNECTING || c->state == GRPC_CONN_GREETING) &&
	    now_ms - c->since_ms >= CONNECT_MS) {
		fail(c, "no answer");
		return;
	}
	if (c->is_greeted && c->state == GRPC_CONN_GREETING && now_ms - c->since_ms >= MANY_MS)
		grpc_many_give_up(c);
	if (c->state < GRPC_CONN_READY || c->call_count == 0)
		return;
	if (silent_ms >= SILENCE_MS + ANSWER_MS) {
		fail(c, "silence");
	} else if (silent_ms >= SILENCE_MS && !c->is_pinged) {
		c->is_pinged = true;
		c->is_failing |=
			nghttp2_submit_ping(c->t.session, NGHTTP2_FLAG_NONE, NULL) != 0;
		mark_dirty(c);
	} else if (silent_ms < SILENCE_MS) {
		c->is_pinged = false;
	}
}

void grpc_client_tick(struct grpc_client *g)
{
	const uint64_t now_ms = cx_now_ms(g->ctx);

	for (size_t i = 0; i < GRPC_SLOTS_MAX; i++)
		look_at(&g->slots[i], now_ms);
}

void grpc_client_close(struct grpc_client *g)
{
	for (size_t i = 0; i < GRPC_SLOTS_MAX; i++) {
		if (g->slots[i].state >= GRPC_CONN_CONNECTING)
			close_conn(&g->slots[i], "the client ends");
		g->slots[i].state = GRPC_CONN_FREE;
	}
}
