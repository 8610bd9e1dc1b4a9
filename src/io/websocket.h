/* SPDX-License-Identifier: MIT */
/* WebSocket and HTTP front of one worker: sockets and frames become messages and back.
 *
 * One adapter actor a worker (CX_PLACE_IO).  For each WebSocket that is established it spawns
 * an actor of conf->connection_type on the same worker, whose start gets a
 * struct ws_connection_conf.
 *
 *   to the connection   WS_FRAME WS_PING WS_PONG WS_CREDIT WS_DRAIN WS_CLOSED (the last one)
 *   to conf->http       HTTP_REQUEST
 *   in                  what the typed senders below send
 *
 * Flow: (a) in: the adapter stops reading a socket while 64 frames (or 256 KiB) are delivered
 * and not yet given back by ws_consumed, or while its own unsent bytes are over the window.
 * (b) out: a connection starts with a window of ws_window_bytes; it subtracts the length of
 * each inbox frame it sends, sends none while the window is used up, and WS_CREDIT gives bytes
 * back as the kernel takes them (in steps of a quarter window, or when nothing is queued).
 * What is queued for one socket is therefore bounded by window + one answer for each
 * unconsumed frame. */
#ifndef IO_WEBSOCKET_H
#define IO_WEBSOCKET_H

#include <stdint.h>

#include <cx/actor.h>

#include <construct/messages.h>

#include "io/websocket_origin.h"

/* Names one socket for good: a stale handle is ignored by the adapter. */
struct ws_handle {
	struct cx_ref adapter;
	uint32_t index;
	uint32_t gen;
};

struct ws_connection_conf {
	struct ws_handle handle;
	const void *context; /* websocket_settings.connection_context */
	uint32_t window_bytes;
	struct ws_origin origin;
};

/* WS_FRAME: one whole application message (fragments joined); hdr.buf holds its bytes. */
struct ws_frame_in {
	struct cx_msg hdr;
	uint8_t is_text; /* else binary */
};

/* WS_PING: the peer's ping, in order with its frames.  Answer each with ws_pong, when all that
 * came before it is done: it counts as a frame that is not consumed until then (flow rule a).
 * hdr.buf holds its payload (0..125 bytes), NULL for none. */
struct ws_ping_in {
	struct cx_msg hdr;
};

/* WS_PONG: answer to the last ws_ping; number is the one given there.  Pongs nobody asked for are
 * dropped before. */
struct ws_pong_in {
	struct cx_msg hdr;
	uint64_t number;
};

/* WS_CREDIT: these bytes of inbox frames have left. */
struct ws_credit {
	struct cx_msg hdr;
	uint32_t bytes;
};

/* WS_DRAIN: the process ends; finish what is in flight, then ws_close(1012). */
struct ws_drain_in {
	struct cx_msg hdr;
	uint32_t jitter_ms; /* the reconnect hint to spread clients over */
};

/* WS_CLOSED: the socket is gone, nothing can be sent; the last message.  The actor stops itself. */
struct ws_closed {
	struct cx_msg hdr;
	uint16_t
		code; /* the peer's close code; 1005: a close frame without one, 1006: none came */
};

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_OTHER };

/* HTTP_REQUEST: hdr.buf = path (without query), or path then body for POST (body_at). */
struct http_request {
	struct cx_msg hdr;
	struct ws_handle handle;
	enum http_method method;
	uint32_t path_len;
};

/* Where a WebSocket may be opened; elsewhere the upgrade gets 404. */
enum ws_endpoint {
	WS_ENDPOINT_ROOT, /* / and /ws */
	WS_ENDPOINT_ANY,
	WS_ENDPOINT_NONE, /* a port for HTTP only */
};

struct websocket_settings {
	const char *bind;          /* address, or NULL: [::] dual stack */
	uint16_t port;             /* of all workers (SO_REUSEPORT) */
	const char *tls_cert_file; /* PEM, or NULL: plain */
	const char *tls_key_file;
	uint32_t max_connections; /* over all workers; over it: 503 */
	uint32_t max_handshakes;  /* sockets that are not yet a WebSocket, over all workers */
	uint32_t handshake_secs;  /* then closed; 10 */
	uint32_t max_frame_bytes; /* application message; over it: close 1009 */
	uint32_t window_bytes;    /* see above; 262144 */
	uint16_t workers;
	enum ws_endpoint endpoint;
	const struct cx_actor_type
		*connection_type; /* CX_PLACE_IO; NULL with WS_ENDPOINT_NONE */
	const void *connection_context;
	const struct cx_ref *http; /* one actor a worker, or NULL: every request is 404 */
};

/* conf: none (websocket_setup has the settings); home_key: the worker's index. */
extern const struct cx_actor_type websocket_type;

/* Main thread, after cx_runtime_new (with loop_uv_ops) and before cx_runtime_start: lws contexts, one
 * SO_REUSEPORT listener a worker (bound, not yet listening), TLS loaded.  Raises the soft limit of open
 * files to what max_connections needs.  port 0 picks a free one; *bound_port tells.
 * On failure *error_text (static or lasting) names the thing. */
CX_NODISCARD enum cx_err websocket_setup(struct websocket_settings *settings,
                                         uint16_t *bound_port, const char **error_text);
/* Can the pair be used?  cert NULL: yes.  *error_text (of this thread, until the next call) names the
 * variable and the file.  Thread: any.  Blocks: on the two files. */
CX_NODISCARD enum cx_err websocket_check_tls(const char *cert, const char *key,
                                             const char **error_text);
/* Main thread, after cx_runtime_stop. */
void websocket_teardown(void);
/* Read certificate and key again, once (SIGHUP); with a bad pair nothing changes.  New connections get
 * the new ones, those that are there keep theirs.  adapters: settings->workers of them.
 * Thread: the main thread.  Blocks: until every worker has swapped, at most 5 s.
 * Returns CX_OK: all use it; CX_EINVAL: the pair is bad; CX_ETIMEOUT: a worker is late and will take it;
 * CX_EFULL: one is late with the pair before, nothing changed. */
CX_NODISCARD enum cx_err websocket_reload_tls(struct cx_runtime *rt,
                                              const struct cx_ref *adapters,
                                              const char **error_text);

/* Start accepting; stop it for good (the port is closed); stop it and send WS_DRAIN to all
 * connections, those that were still on their way too.
 * Thread: any handler; ws_listen_post: a thread that is not the runtime's. */
enum ws_listen { WS_LISTEN_START, WS_LISTEN_STOP, WS_LISTEN_DRAIN };
CX_NODISCARD enum cx_err ws_listen(struct cx_ctx *ctx, struct cx_ref adapter,
                                   enum ws_listen what, uint32_t jitter_ms);
CX_NODISCARD enum cx_err ws_listen_post(struct cx_runtime *rt, struct cx_ref adapter,
                                        enum ws_listen what, uint32_t jitter_ms);

/* Queue one binary frame: len bytes of buf from offset on; written when the adapter's turn ends,
 * together with all else that waits for the socket.
 * Thread: the connection's handlers.  Keeps: a reference on buf (the caller's is not taken).
 * Returns CX_OK or CX_EGONE; never CX_EFULL (bounded by the flow rules above). */
enum ws_kind {
	WS_ANSWER, /* to the client's own request: outside the window */
	WS_INBOX,  /* counts against the window, comes back as WS_CREDIT */
	WS_TEXT,   /* as WS_ANSWER, a text frame (echo) */
};
CX_NODISCARD enum cx_err ws_send(struct cx_ctx *ctx, struct ws_handle handle,
                                 struct cx_buf *buf, uint32_t offset, uint32_t len,
                                 enum ws_kind kind);

/* Ping with number (not 0), which comes back in WS_PONG. */
CX_NODISCARD enum cx_err ws_ping(struct cx_ctx *ctx, struct ws_handle handle, uint64_t number);
/* Answer a WS_PING with its payload (buf may be NULL).  Keeps: a reference. */
CX_NODISCARD enum cx_err ws_pong(struct cx_ctx *ctx, struct ws_handle handle,
                                 struct cx_buf *payload);
/* Give back n frames of `bytes` in all: their work is done. */
CX_NODISCARD enum cx_err ws_consumed(struct cx_ctx *ctx, struct ws_handle handle,
                                     uint32_t frames, uint32_t bytes);
/* Flush what is queued, send a close frame, end the socket at the peer's close or after 5 s. */
CX_NODISCARD enum cx_err ws_close(struct cx_ctx *ctx, struct ws_handle handle, uint16_t code,
                                  const char *reason);

/* Answer an HTTP_REQUEST; the connection is closed after it.  content_type and headers (extra
 * lines, each ended by CRLF, or NULL) must be static.  Keeps: a reference on body. */
CX_NODISCARD enum cx_err http_respond(struct cx_ctx *ctx, struct ws_handle handle,
                                      uint16_t status, const char *content_type,
                                      const char *headers, struct cx_buf *body);

/* Counters for /metrics; sum over all workers.  Thread: any. */
struct websocket_figures {
	uint64_t accepted, refused_connections, refused_handshakes, handshakes_failed,
		established;
	uint64_t open, handshaking, frames_in, frames_out, bytes_in, bytes_out, sends, reads;
	uint64_t closed_too_big, closed_protocol, http_requests;
};
void websocket_figures(struct websocket_figures *out);

/* The messages behind the senders above; private to the adapter, here for messages.def. */
struct ws_send_msg {
	struct cx_msg hdr;
	uint32_t index, gen, offset, len;
	uint8_t kind;
};
struct ws_control_msg {
	struct cx_msg hdr;
	uint32_t index, gen;
	uint64_t number;
	uint16_t code;
	uint8_t what;
	char reason[64];
};
struct ws_consumed_msg {
	struct cx_msg hdr;
	uint32_t index, gen, frames, bytes;
};
struct ws_listen_msg {
	struct cx_msg hdr;
	uint32_t jitter_ms;
	uint8_t what;
};
struct http_respond_msg {
	struct cx_msg hdr;
	uint32_t index, gen;
	uint16_t status;
	const char *content_type, *headers;
};

#endif
