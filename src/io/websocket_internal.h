/* SPDX-License-Identifier: MIT */
/* What the files of the WebSocket adapter share.  Reading order: websocket.c (actor, senders),
 * websocket_setup.c, websocket_conn.c (table, deadlines, polling), websocket_accept.c (sockets until they
 * are a WebSocket or a request), websocket_peer.c (half-open ones by address), websocket_lws.c (the
 * handshake, by libwebsockets), websocket_tls.c, websocket_in.c (frames in), websocket_out.c (bytes out, closing).
 *
 * Invariants:
 * 1. A connection's memory and its place in the table live as long as the adapter; `gen` changes when
 *    it is given back, so a late message for it is ignored.
 * 2. While libwebsockets works on a connection it has a descriptor of its own to close: a duplicate of
 *    the socket, with TLS one end of a pair (it sees no TLS).  take() puts a dead socket in its place, so
 *    libwebsockets can end its side as it likes without touching the connection.
 * 3. Our watch and libwebsockets never read one socket at the same time.
 * 4. An adapter's state is touched on its worker only: in its own turns, and by the senders in turns of
 *    actors on the same worker (at_hand in websocket.c).
 * 5. Output is strictly in order: one queue for each connection, written from its head. */
#ifndef IO_WEBSOCKET_INTERNAL_H
#define IO_WEBSOCKET_INTERNAL_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <openssl/ssl.h>
#include <uv.h>

#include <cx/io.h>

#include "io/loop_uv.h"
#include "io/websocket.h"
#include "io/websocket_head.h"
#include "wire/ws_frame.h"

#define WS_BACKLOG 4096
#define WS_RECV_BYTES 65536
#define WS_STAGE_BYTES 65536
#define WS_FRAMES_MAX 64    /* delivered and not yet consumed: flow rule (a) */
#define WS_BYTES_MAX 262144 /* the same in bytes */
#define WS_CLOSE_MS 5000    /* for the peer to close */
#define WS_LINGER_MS 2000   /* for a refused or answered HTTP client to read it */
#define WS_STANDING_MS 1000 /* for a client that found no place to send its request */
#define WS_TICK_MS 250
#define WS_WORKERS_MAX 64
#define WS_CHUNK 128  /* connections allocated at once */
#define WS_PEERS 1024 /* lists of half-open handshakes by address, each worker */
#define WS_SHARES 4   /* max_handshakes / this is one address's when places are short */

struct lws;
struct lws_context;
struct lws_vhost;
struct ws_adapter;

/* A WebSocket:  FREE -> HEAD -> LWS -> OPEN -> CLOSING -> FREE
 * a request:    FREE -> HEAD -> LWS -> BODY -> HTTP -> CLOSING -> FREE
 * anything may go to CLOSING (refused) or FREE (gone). */
enum ws_phase {
	WS_FREE,
	WS_HEAD, /* TLS handshake and request head */
	WS_LWS,  /* libwebsockets looks at the head, inside one call */
	WS_BODY, /* we gather a request's body */
	WS_HTTP, /* an HTTP_REQUEST waits for its answer */
	WS_OPEN,
	WS_CLOSING, /* nothing more is accepted for it; flush, say goodbye, wait for the peer */
};

/* One piece of output.  kind: enum ws_kind, or below. */
enum ws_out_kind { WS_OUT_PING = 16, WS_OUT_PONG, WS_OUT_CLOSE, WS_OUT_RAW };

struct ws_out {
	struct ws_out *next;
	struct cx_buf *buf; /* NULL: len is 0 */
	uint32_t offset, len;
	uint8_t kind;
};

struct ws_out_queue {
	struct ws_out *head, *tail;
};

struct ws_conn {
	struct loop_watch watch; /* first; its fd is the socket */
	struct ws_adapter *adapter;
	struct ws_conn *next, *prev;           /* in adapter->lists[list] */
	struct ws_conn *peer_next, *peer_prev; /* in adapter->peers by peer, while has_peer */
	struct ws_conn *dirty_next;
	struct ws_out_queue out;
	uint64_t deadline_ms, began_ms;
	uint64_t ping_number; /* of the last ping, until its pong came */
	uint64_t out_bytes;   /* queued, headers not counted */
	SSL *tls;
	struct lws *wsi;
	struct cx_buf *msg; /* message or request body being put together */
	uint8_t *carry;     /* received, not looked at yet */
	struct cx_ref actor;
	struct ws_parser parser;
	struct ws_origin origin;
	uint32_t out_sent; /* bytes of the first piece that the kernel has, header included */
	uint32_t msg_len;
	uint32_t carry_at, carry_len; /* the part of carry that is left */
	uint32_t credit;
	uint32_t path_len;            /* of a request, in msg */
	uint32_t frames_in, bytes_in; /* delivered, not consumed */
	uint32_t index, gen;
	uint32_t peer; /* hash of its address */
	uint8_t phase;
	uint8_t list;    /* enum ws_list */
	uint8_t counted; /* enum ws_counted: in ws_shared */
	bool is_dirty : 1;
	bool has_peer : 1;
	bool is_blocked : 1; /* the kernel's send buffer is full */
	bool is_paused : 1;  /* flow rule (a) */
	bool is_text : 1;    /* the message being put together */
	bool told_closed : 1;
	bool close_queued : 1;
	bool peer_done : 1; /* nothing more is expected from the peer but the end */
	bool fin_sent : 1;
	bool saw_eof : 1;         /* while closing, with output left */
	bool is_head_request : 1; /* the answer has no body */
	bool tls_wants_write : 1; /* an SSL_read waits for the socket to be writable */
};

/* Each has one delay, so it is in order of deadlines. */
enum ws_list {
	WS_LIST_NONE,
	WS_LIST_EARLY,    /* half-open, from accept to a whole request: handshake_secs */
	WS_LIST_STANDING, /* half-open beyond max_handshakes: WS_STANDING_MS */
	WS_LIST_HTTP,     /* a request that waits for its answer: handshake_secs */
	WS_LIST_CLOSING,  /* WS_CLOSE_MS */
	WS_LIST_LINGER,   /* answered HTTP clients: WS_LINGER_MS */
	WS_LISTS
};

enum ws_counted { WS_COUNTED_NOT, WS_COUNTED_HANDSHAKE, WS_COUNTED_OPEN };

struct ws_conn_list {
	struct ws_conn *first, *last;
	uint32_t count;
};

struct ws_peer_list {
	struct ws_conn *first, *last; /* oldest first */
	uint32_t count;
};

/* For figures: single writer (the worker), read by anybody. */
static inline void ws_count(uint64_t *counter, uint64_t n)
{
	/* relaxed: a figure, pairs with the load in websocket_figures */
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* One for each worker; made by websocket_setup, freed by websocket_teardown. */
struct ws_adapter {
	_Alignas(64) struct websocket_figures figures;
	const struct websocket_settings *settings;
	struct cx_worker *worker;
	struct cx_ref self;
	uv_loop_t *loop;
	struct cx_ctx *ctx; /* while a turn of the actor runs, else NULL */
	struct loop_watch listener;
	bool is_listening, is_draining, is_choked; /* choked: out of descriptors */
	bool is_woken;                             /* a turn has been asked for */
	uint32_t jitter_ms;
	struct lws_context *lws;
	struct lws_vhost *vhost;
	SSL_CTX *tls;      /* of new connections, shared by the workers; NULL: plain */
	SSL_CTX *tls_next; /* offered by the thread that reloads, till ws_tls_swap; atomic */
	struct ws_conn *adopting;
	int answer_fd; /* while adopting with TLS: where libwebsockets' answer comes out */
	struct ws_conn **chunks;
	uint32_t chunk_count, free_count;
	struct ws_conn *free_conns; /* linked by next */
	struct ws_conn_list lists[WS_LISTS];
	struct ws_peer_list peers[WS_PEERS];
	uint64_t peer_salt;
	struct ws_conn *dirty;
	struct ws_out *free_outs;
	struct ws_out_chunk *out_chunks;
	struct cx_timer timer;
	uint8_t *recv_buf, *stage;
	unsigned index;
};

/* Of all workers. */
struct ws_shared {
	uint32_t open;        /* sockets that are a WebSocket */
	uint32_t handshaking; /* sockets that are not yet one */
	int dead_fd;          /* a socket whose peer is gone */
};
extern struct ws_shared ws_shared;

/* What a struct ws_control_msg asks for. */
enum ws_control { WS_CONTROL_FLUSH, WS_CONTROL_PING, WS_CONTROL_CLOSE, WS_CONTROL_RELOAD };

/* websocket.c */
/* The actor's turn begins with the first event of a poll and ends with the poll. */
void ws_enter(struct ws_adapter *a);

/* websocket_setup.c */
struct ws_adapter *ws_adapter_of(unsigned worker);

/* websocket_conn.c */
struct ws_conn *ws_conn_new(struct ws_adapter *a);
struct ws_conn *ws_conn_at(struct ws_adapter *a, uint32_t index, uint32_t gen);
/* Gives the socket and all that hangs on it back.  Late events find gen changed. */
void ws_conn_free(struct ws_conn *c);
/* Put a freed one back, when the dirty list does not hold it any more. */
void ws_conn_release(struct ws_conn *c);
/* It is no more among the open or handshaking ones. */
void ws_uncount(struct ws_conn *c);
/* Move into a list, and out of the one it was in; its deadline is counted from now. */
void ws_conn_list(struct ws_conn *c, enum ws_list list);
/* See to it that deadlines are looked at. */
void ws_tick_later(struct ws_adapter *a);
/* Ask the loop for what the connection's state needs. */
void ws_conn_poll(struct ws_conn *c);
struct ws_handle ws_conn_handle(const struct ws_conn *c);

/* websocket_peer.c */
/* Count among the half-open ones of its address; ws_conn_list takes it out again. */
void ws_peer_enter(struct ws_conn *c, const struct ws_origin *origin);
void ws_peer_leave(struct ws_conn *c);
/* The oldest half-open one of the same address, if there are more than its share; else NULL. */
struct ws_conn *ws_peer_oldest_over_share(const struct ws_conn *c);

/* websocket_accept.c */
void ws_accept_start(struct ws_adapter *a);
void ws_accept_stop(struct ws_adapter *a);
void ws_head_readable(struct ws_conn *c);
void ws_body_readable(struct ws_conn *c);
/* Close what is over its deadline; true when something still waits. */
bool ws_deadlines(struct ws_adapter *a, uint64_t now_ms);
/* The handshake is done, the socket (and c->tls) is ours. */
void ws_established(struct ws_conn *c);
/* One more WebSocket, if max_connections allows it. */
bool ws_reserve_open(struct ws_conn *c);
/* A request is whole: hand it to the http actor.  path NULL: it is in c->msg, with the body. */
void ws_request(struct ws_conn *c, enum http_method method, const char *path,
                uint32_t path_len);
void ws_respond(struct ws_conn *c, uint16_t status, const char *content_type,
                const char *headers, struct cx_buf *body);
/* Tell the connection's actor that the process ends. */
void ws_tell_drain(struct ws_conn *c);
/* Answer with a status line and close. */
void ws_refuse(struct ws_conn *c, uint16_t status);

/* websocket_lws.c */
CX_NODISCARD enum cx_err ws_lws_open(struct ws_adapter *a, const char **error_text);
void ws_lws_close(struct ws_adapter *a);  /* on the worker */
void ws_lws_finish(struct ws_adapter *a); /* on the main thread, after the loop is closed */
/* Give the whole head to libwebsockets, and the socket. */
void ws_lws_adopt(struct ws_conn *c, const char *bytes, size_t len);
/* End libwebsockets' side of a handshake that is given up. */
void ws_lws_abandon(struct ws_conn *c);

/* websocket_in.c */
void ws_open_readable(struct ws_conn *c);
void ws_closing_readable(struct ws_conn *c);
/* After flow rule (a) may have opened: go on with what was kept back. */
void ws_resume(struct ws_conn *c);
/* Look through what was kept back for the peer's close. */
void ws_closing_carry(struct ws_conn *c);
/* Keep bytes that were received but not looked at. */
void ws_carry(struct ws_conn *c, const uint8_t *bytes, size_t len);
void ws_carry_drop(struct ws_conn *c);
/* Close with this code because of what the peer did, or because its actor is gone. */
void ws_fail(struct ws_conn *c, uint16_t code);
/* Tell the actor that it is over. */
void ws_tell_closed(struct ws_conn *c, uint16_t code);

/* websocket_out.c */
void ws_out_push(struct ws_conn *c, struct cx_buf *buf, uint32_t offset, uint32_t len,
                 uint8_t kind);
void ws_out_drop(struct ws_conn *c);
void ws_out_flush(struct ws_conn *c);
void ws_out_free_all(struct ws_adapter *a);
void ws_mark_dirty(struct ws_conn *c);
/* Queue a close frame and wait for the peer's (peer_done false), or only for the end. */
void ws_say_close(struct ws_conn *c, uint16_t code, const char *reason, size_t reason_len);
enum ws_close_wait { WS_AWAIT_CLOSE, WS_AWAIT_END };
void ws_begin_closing(struct ws_conn *c, enum ws_close_wait wait, enum ws_list list);

/* websocket_tls.c */
/* A context with the pair; *out NULL without a cert.  On failure *error_text says what to mend. */
CX_NODISCARD enum cx_err ws_tls_new(const char *cert, const char *key, SSL_CTX **out,
                                    const char **error_text);
/* Take the context that is offered, if one is. */
void ws_tls_swap(struct ws_adapter *a);
/* False: out of memory. */
CX_NODISCARD bool ws_tls_start(struct ws_conn *c);
/* As recv and send; -1 with errno EAGAIN when it must wait. */
ssize_t ws_recv(struct ws_conn *c, void *bytes, size_t len);
ssize_t ws_send_some(struct ws_conn *c, const void *bytes, size_t len);
void ws_tls_goodbye(struct ws_conn *c);
/* What ws_tls_new does, for other servers. */
CX_NODISCARD enum cx_err ws_tls_load(SSL_CTX *tls, const char *cert, const char *key,
                                     const char **error_text);
void ws_tls_prepare(SSL_CTX *tls);

#endif
