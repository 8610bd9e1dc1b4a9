/* SPDX-License-Identifier: MIT */
/* What the files of the gRPC server share.  Reading order: grpc_server.c (actor, senders),
 * grpc_server_setup.c, grpc_server_conn.c (sockets, limits, drain), grpc_server_call.c (requests),
 * grpc_server_many.c (many on one stream), grpc_server_reply.c (answers), grpc_server_builtin.c (health,
 * reflection).
 *
 * Invariants:
 * 1. A stream's memory lives as long as the adapter; `gen` changes when it is given back, so a late
 *    reply or timer for it is ignored.
 * 2. Nothing is closed or freed inside a callback of nghttp2: callbacks set flags, the turn's end acts.
 * 3. Each stream is answered once: by the service, the adapter, or its deadline; `is_over` says so.
 * 4. partial_bytes, held_bytes, out_bytes and many_calls of a connection are sums over its streams. */
#ifndef IO_GRPC_SERVER_INTERNAL_H
#define IO_GRPC_SERVER_INTERNAL_H

#include <cx/io.h>

#include "io/grpc_server.h"
#include "io/grpc_transport.h"
#include "wire/grpc_reflection.h"

#define GRPC_WORKERS_MAX 64
#define GRPC_SERVICES_MAX 16
#define GRPC_STREAM_CHUNK 64 /* streams allocated at once */
#define GRPC_TICK_MS 250
#define GRPC_PINGS_BURST 1000 /* then GRPC_PINGS_A_SECOND */
#define GRPC_PINGS_A_SECOND 100

struct grpc_adapter;
struct grpc_conn;
struct ssl_ctx_st;

/* FREE -> HEAD -> BODY -> SERVICE -> REPLY -> FREE; to REPLY from each, to FREE from each (reset).
 * Streaming (Watch, reflection, many calls) stays in BODY until its answers end. */
enum grpc_phase {
	GRPC_PHASE_FREE,
	GRPC_PHASE_HEAD,    /* request headers are coming */
	GRPC_PHASE_BODY,    /* the message is coming */
	GRPC_PHASE_SERVICE, /* GRPC_CALL is out */
	GRPC_PHASE_REPLY,   /* the last of the answer is in the session */
};

enum grpc_kind {
	GRPC_KIND_NONE, /* no such method */
	GRPC_KIND_SERVICE,
	GRPC_KIND_MANY,
	GRPC_KIND_HEALTH_CHECK,
	GRPC_KIND_HEALTH_WATCH,
	GRPC_KIND_REFLECTION,
};

/* One message of an answer. */
struct grpc_piece {
	struct grpc_piece *next;
	struct cx_buf *buf;
	uint32_t len; /* of buf */
};

struct grpc_stream {
	struct grpc_conn *conn;
	struct grpc_stream *next, *prev; /* of the connection; or (next only) free */
	struct cx_buf *msg;              /* the request, being put together */
	struct grpc_piece *out_head, *out_tail;
	uint64_t deadline_ms;
	struct cx_timer timer;
	struct grpc_reader reader;
	int32_t id;
	uint32_t index, gen;
	uint32_t msg_len;
	uint32_t held; /* counted in conn->held_bytes */
	uint32_t header_bytes;
	uint32_t out_at;    /* sent of out_head, prefix included */
	uint32_t out_count; /* pieces */
	uint32_t calls;     /* GRPC_KIND_MANY: at the service */
	uint32_t method;
	uint8_t phase, kind;
	uint8_t status; /* for the trailers */
	int8_t service; /* of a watch: place in services, -1: an unknown one */
	bool is_post : 1;
	bool is_grpc : 1;     /* content type */
	bool has_timeout : 1; /* grpc-timeout came */
	bool is_bad_timeout : 1;
	bool is_input_over : 1; /* END_STREAM came */
	bool is_head_sent : 1;
	bool is_over : 1;     /* the last piece, or the status, is decided: inv. 3 */
	bool is_deferred : 1; /* the session waits for more pieces */
	bool is_watching : 1;
	bool is_last_due : 1; /* GRPC_KIND_MANY: ends with the last of the calls that are there */
	char message[GRPC_MESSAGE_BYTES_MAX + 1]; /* for the trailers */
};

/* OPENING -> OPEN -> LEAVING -> CLOSING -> gone; from each to CLOSING or gone. */
enum grpc_conn_phase {
	GRPC_CONN_OPENING, /* until the peer's SETTINGS */
	GRPC_CONN_OPEN,
	GRPC_CONN_LEAVING, /* a first GOAWAY is out */
	GRPC_CONN_CLOSING, /* all is said, our half is shut: the peer's end is awaited */
	GRPC_CONN_GONE,    /* waits for the turn's end to be freed */
};

struct grpc_conn {
	struct grpc_transport t; /* first */
	struct grpc_adapter *adapter;
	struct grpc_conn *next, *prev; /* of the adapter */
	struct grpc_conn *dirty_next;
	struct grpc_stream *streams;
	uint64_t since_ms;  /* this phase; in OPEN: without calls */
	uint64_t moved_ms;  /* output last got on */
	uint64_t bucket_ms; /* pings: last refilled */
	uint64_t partial_bytes, held_bytes, out_bytes;
	uint64_t unconsumed; /* window of the connection that is not given back yet */
	uint32_t stream_count;
	uint32_t many_calls; /* at the service */
	uint32_t ping_tokens;
	uint8_t phase;
	bool is_dirty;
	bool is_failing;                    /* inv. 2: end it after what can still be said */
	bool is_goaway_due, is_goaway_said; /* the second GOAWAY */
};

/* For figures: single writer (the worker), read by anybody. */
static inline void grpc_count(uint64_t *counter, uint64_t n)
{
	/* relaxed: a figure, pairs with the load in grpc_server_figures */
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

struct grpc_service {
	char name[GRPC_HEALTH_SERVICE_CHARS];
	uint8_t health; /* enum grpc_health */
};

/* One for each worker; made by grpc_server_setup, freed by grpc_server_teardown. */
struct grpc_adapter {
	_Alignas(64) struct grpc_server_figures figures;
	const struct grpc_server_settings *settings;
	struct cx_worker *worker;
	struct cx_ref self;
	struct uv_loop_s *loop;
	struct cx_ctx *ctx; /* while a turn of the actor runs, else NULL */
	struct loop_watch listener;
	bool is_listening, is_draining, is_choked; /* choked: out of descriptors */
	struct ssl_ctx_st *tls,
		*tls_next; /* next: put there by a reload, taken by the worker */
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	struct grpc_scratch *scratch;
	struct grpc_conn *conns, *dirty;
	struct grpc_stream **chunks;
	uint32_t chunk_count;
	struct grpc_stream *free_streams;
	struct grpc_piece *free_pieces;
	struct grpc_service services[GRPC_SERVICES_MAX]; /* 0: "", the whole */
	const char *service_names[GRPC_SERVICES_MAX];    /* for reflection: without the whole */
	size_t service_count;
	struct cx_timer timer;
	unsigned index;
};

enum grpc_control { GRPC_CONTROL_START, GRPC_CONTROL_DRAIN, GRPC_CONTROL_HEALTH };

/* grpc_server.c */
/* The actor's turn begins with the first event of a poll and ends with the poll. */
void grpc_enter(struct grpc_adapter *a);

/* grpc_server_setup.c */
struct grpc_adapter *grpc_adapter_of(unsigned worker);
/* One more connection, if max_connections allows it. */
bool grpc_reserve(const struct grpc_adapter *a);
void grpc_release(void);

/* grpc_server_conn.c */
void grpc_accept_start(struct grpc_adapter *a);
void grpc_accept_stop(struct grpc_adapter *a);
void grpc_mark_dirty(struct grpc_conn *c);
/* Look at deadlines, idle and stalled connections. */
void grpc_tick(struct grpc_adapter *a);
/* Write what is due, close what is over: the end of a turn. */
void grpc_flush_dirty(struct grpc_adapter *a);
/* The second GOAWAY, once. */
void grpc_say_goodbye(struct grpc_conn *c);
void grpc_drain_all(struct grpc_adapter *a);
void grpc_close_all(struct grpc_adapter *a);
/* Give window back to the peer, unless too much is held. */
void grpc_give_window(struct grpc_conn *c);

/* grpc_server_call.c */
void grpc_call_callbacks(nghttp2_session_callbacks *callbacks);
bool grpc_stream_is_streaming(const struct grpc_stream *s);
/* To the service: a request of that method, in buf (not kept). */
enum cx_err grpc_dispatch(struct grpc_stream *s, uint64_t id, uint64_t deadline_ms,
                          struct cx_buf *buf);
/* The stream at a place, or NULL when that one is gone. */
struct grpc_stream *grpc_stream_at(struct grpc_adapter *a, uint32_t index, uint32_t gen);
void grpc_stream_free(struct grpc_stream *s);
void grpc_deadline(struct grpc_stream *s);

/* grpc_server_many.c */
void grpc_many_begin(struct grpc_stream *s);
/* A whole message of the stream. */
void grpc_many_take(struct grpc_stream *s, struct wire_slice message);
void grpc_many_reply(struct grpc_stream *s, const struct grpc_handle *handle,
                     enum grpc_status status, const char *message, struct cx_buf *buf);
/* No more will come, by the peer's word or ours: it ends with the last answer. */
void grpc_many_finish(struct grpc_stream *s);
/* It is over: none of its calls counts any more. */
void grpc_many_forget(struct grpc_stream *s);

/* grpc_server_reply.c */
/* The session is to ask for what there is now: the headers at least. */
void grpc_go_on(struct grpc_stream *s);
/* One more message of the answer.  Keeps: a reference.  False: the peer does not read them. */
bool grpc_push(struct grpc_stream *s, struct cx_buf *buf);
/* The answer ends with this status; message is for people, may be NULL. */
void grpc_end(struct grpc_stream *s, enum grpc_status status, const char *message);
/* An HTTP status without gRPC, for those who do not speak it. */
void grpc_refuse_http(struct grpc_stream *s, const char *status);
void grpc_out_drop(struct grpc_stream *s);

/* grpc_server_builtin.c */
void grpc_services_fill(struct grpc_adapter *a);
enum grpc_kind grpc_method_find(const struct grpc_adapter *a, struct wire_slice path,
                                uint32_t *method);
/* A whole message of one of the adapter's own methods. */
void grpc_builtin(struct grpc_stream *s);
void grpc_health_set(struct grpc_adapter *a, const char *name, enum grpc_health health);
void grpc_health_drain(struct grpc_adapter *a);

#endif
