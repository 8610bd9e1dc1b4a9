/* SPDX-License-Identifier: MIT */
/* gRPC server of one worker: HTTP/2 sockets on one side, one message a call on the other.
 *
 * One adapter actor a worker (CX_PLACE_IO) with a listener of its own.  A unary call becomes a
 * GRPC_CALL to settings->service of its worker, which answers once with grpc_reply, from any
 * worker.  A method may also be offered for many calls on one stream (wire/grpc_many.h): the service sees
 * no difference.  grpc.health.v1 and server reflection (v1, v1alpha) are answered by the adapter itself.
 *
 *   to settings->service   GRPC_CALL
 *   in                     what the typed senders below send
 *
 * What a peer can make grow, and its bound.  A connection: max_streams calls at once, and as many
 * on its streams of many calls together; requests that
 * are not whole yet GRPC_SMALL_MAX bytes each, bigger ones GRPC_PARTIAL_MAX bytes in all (over it
 * RESOURCE_EXHAUSTED, before memory is taken);
 * while the service holds, or the socket owes, more than GRPC_HELD_MAX bytes, the peer gets no new
 * window, so at most GRPC_WINDOW_BYTES more come.  Sockets: max_connections.  A peer that
 * pings, resets or asks without reading faster than the limits in grpc_server_conn.c is sent away. */
#ifndef IO_GRPC_SERVER_H
#define IO_GRPC_SERVER_H

#include <cx/actor.h>

#include <construct/messages.h>

#include "wire/grpc_frame.h"
#include "wire/grpc_health.h"

#define GRPC_STREAMS_DEFAULT 1024
#define GRPC_MESSAGE_DEFAULT (4 * 1024 * 1024)
#define GRPC_HEADER_LIST_MAX 16384 /* bytes, as HTTP/2 counts them */
#define GRPC_WINDOW_BYTES 1048576  /* of a connection */
#define GRPC_STREAM_WINDOW_BYTES 262144
#define GRPC_SMALL_MAX 16384
#define GRPC_PARTIAL_MAX (32 * 1024 * 1024)
#define GRPC_HELD_MAX (8 * 1024 * 1024)

struct grpc_method {
	const char *path; /* "/package.Service/Method"; static */
	uint32_t id;      /* comes back in GRPC_CALL */
	bool is_many;     /* a stream of calls of this id */
};

struct grpc_server_settings {
	const char *bind;          /* address, or NULL: [::] dual stack */
	uint16_t port;             /* of all workers (SO_REUSEPORT) */
	const char *tls_cert_file; /* PEM, or NULL: plain, HTTP/2 by prior knowledge */
	const char *tls_key_file;
	uint32_t max_connections;   /* over all workers; over it: closed at once; 0: 1024 */
	uint32_t max_streams;       /* of a connection; told to the peer; 0: 1024 */
	uint32_t max_message_bytes; /* of a request; 0: 4 MiB */
	uint32_t handshake_secs;    /* until the peer's SETTINGS; 0: 10 */
	uint32_t idle_secs;         /* without a call: GOAWAY; 0: 3600 */
	uint32_t call_secs; /* deadline of calls that bring none or a longer one; 0: 60 */
	uint16_t workers;
	const struct grpc_method *methods; /* static */
	size_t method_count;
	const struct cx_ref *service; /* one actor a worker */
};

/* A call at the service: a value that may be kept.  A stale one is ignored by the adapter. */
struct grpc_handle {
	struct cx_ref server;
	uint32_t index;
	uint32_t gen;
	uint32_t held; /* bytes of the request */
	uint64_t id;   /* in a stream of many calls */
};

/* GRPC_CALL: hdr.buf = the request's bytes.  After deadline_ms (cx_now_ms) nobody waits any more: the
 * adapter has answered DEADLINE_EXCEEDED, or on a stream of many calls the caller has given it up. */
struct grpc_call {
	struct cx_msg hdr;
	struct grpc_handle handle;
	uint64_t deadline_ms;
	uint32_t method; /* struct grpc_method.id */
};

/* conf: none (grpc_server_setup has the settings); home_key: the worker's index. */
extern const struct cx_actor_type grpc_server_type;

/* Main thread, after cx_runtime_new (with loop_uv_ops) and before cx_runtime_start: one bound
 * listener a worker, TLS loaded.  port 0 picks a free one; *bound_port tells.
 * On failure *error_text (static or lasting) names the thing. */
CX_NODISCARD enum cx_err grpc_server_setup(const struct grpc_server_settings *settings,
                                           uint16_t *bound_port, const char **error_text);
/* Main thread, after cx_runtime_stop. */
void grpc_server_teardown(void);

/* Read certificate and key again; connections from now on get them, those that are open keep theirs.
 * Thread: main, between setup and teardown.  Blocks: reads two files.
 * Returns CX_OK (also without TLS: nothing is done), or as tls_h2_server: the old pair stays. */
CX_NODISCARD enum cx_err grpc_server_reload_tls(const char **error_text);

/* Start accepting; or drain: the port is closed, health turns NOT_SERVING, peers get GOAWAY, calls under
 * way are finished, connections end with their last call.
 * Thread: any handler; grpc_server_listen_post: a thread that is not the runtime's. */
enum grpc_listen { GRPC_LISTEN_START, GRPC_LISTEN_DRAIN };
CX_NODISCARD enum cx_err grpc_server_listen(struct cx_ctx *ctx, struct cx_ref server,
                                            enum grpc_listen what);
CX_NODISCARD enum cx_err grpc_server_listen_post(struct cx_runtime *rt, struct cx_ref server,
                                                 enum grpc_listen what);

/* What the health service of this adapter says of a service (its full name, or "" for the whole), and tells
 * to those who watch.  All start as SERVING.  Other names have no effect.
 * Thread: any handler.  Keeps: nothing (name: static). */
CX_NODISCARD enum cx_err grpc_server_health(struct cx_ctx *ctx, struct cx_ref server,
                                            const char *name, enum grpc_health health);

/* Answer a call: with buf (may be NULL: the empty message) when status is GRPC_OK, else with the
 * status and a message for people (cut at 128 bytes; NULL: none).  Once for each call.
 * Thread: any handler.  Keeps: a reference on buf (the caller's is not taken).
 * Returns CX_OK or CX_EGONE. */
CX_NODISCARD enum cx_err grpc_reply(struct cx_ctx *ctx, struct grpc_handle handle,
                                    enum grpc_status status, const char *message,
                                    struct cx_buf *buf);

/* Counters for /metrics; sum over all workers.  Thread: any. */
struct grpc_server_figures {
	uint64_t accepted, refused, closed, calls, replies, errors, deadlines, flooded;
	uint64_t many; /* of calls: on a stream of many */
	uint64_t open; /* connections now */
};
void grpc_server_figures(struct grpc_server_figures *out);

/* The messages behind the senders; private to the adapter, here for messages.def. */
struct grpc_reply_msg {
	struct cx_msg hdr;
	struct grpc_handle handle;
	uint8_t status;
	char message[GRPC_MESSAGE_BYTES_MAX + 1];
};
struct grpc_control_msg {
	struct cx_msg hdr;
	const char *name;
	uint8_t what;
	uint8_t health;
};

#endif
