/* SPDX-License-Identifier: MIT */
/* A socket, plain or TLS, under one nghttp2 session: what the gRPC server and the client share.
 *
 * Bounds: the kernel's buffer full, the rest of one write (at most GRPC_STAGE_BYTES) is kept and nothing
 * more is taken out of the session.  A session whose queue of frames passes GRPC_QUEUE_MAX belongs to a
 * peer that asks and does not read: it is given up. */
#ifndef IO_GRPC_TRANSPORT_H
#define IO_GRPC_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include <nghttp2/nghttp2.h>

#include "io/loop_uv.h"

#define GRPC_STAGE_BYTES 131072
#define GRPC_RECV_BYTES 65536
#define GRPC_QUEUE_MAX 10000 /* frames that wait in a session */

struct ssl_st;

/* Shared by all transports of a worker. */
struct grpc_scratch {
	uint8_t recv[GRPC_RECV_BYTES];
	uint8_t stage[GRPC_STAGE_BYTES];
};

struct grpc_transport {
	struct loop_watch watch; /* first; its fd is the socket, -1: none */
	struct uv_loop_s *loop;
	struct ssl_st *tls;       /* NULL: plain */
	nghttp2_session *session; /* NULL: not yet */
	uint8_t *rest;            /* taken out of the session, not yet sent */
	uint32_t rest_at, rest_len;
	bool tls_wants_write; /* a read waits for room */
	bool wants_room;      /* a write waits: for room, or (TLS) for input */
	bool is_connecting;   /* a client's connect is under way */
};

enum grpc_io {
	GRPC_IO_OK,
	GRPC_IO_END,    /* the peer ended the stream, or broke it */
	GRPC_IO_BROKEN, /* the session cannot go on: what it still says (GOAWAY) may be written */
};

/* Read what is there and hand it to the session: its callbacks run inside. */
CX_NODISCARD enum grpc_io grpc_transport_read(struct grpc_transport *t,
                                              struct grpc_scratch *scratch);
/* Write what the session has to say until it is done or the kernel takes no more. */
CX_NODISCARD enum grpc_io grpc_transport_write(struct grpc_transport *t,
                                               struct grpc_scratch *scratch);
/* Read and forget, while the end is awaited. */
CX_NODISCARD enum grpc_io grpc_transport_discard(struct grpc_transport *t,
                                                 struct grpc_scratch *scratch);
/* Ask the loop for what the state needs.  False: the loop has no memory left. */
CX_NODISCARD bool grpc_transport_poll(struct grpc_transport *t);
/* Output is done and the session has nothing left to do. */
bool grpc_transport_is_done(const struct grpc_transport *t);
/* Close the socket, free session and TLS. */
void grpc_transport_close(struct grpc_transport *t);
/* Quick small frames, and no pacing on this machine's own loopback. */
void grpc_transport_tune(int fd);

#endif
