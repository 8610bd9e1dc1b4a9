/* SPDX-License-Identifier: MIT */
/* gRPC client: unary calls to one service that several servers offer.
 *
 * One adapter actor for each set of targets and worker (CX_PLACE_IO).  It keeps a connection to each
 * address open (to eight of them where there are more), and sends each call on the one with the fewest
 * calls, up to what the peer allows; more calls wait in a bounded queue.
 *
 *   in    what grpc_call sends
 *   out   GRPC_RESULT, or CX_MSG_ERROR: exactly one for each call
 *
 * When a connection dies its calls get UNAVAILABLE, and whether they were carried out is not known:
 * the caller decides about a retry.  New calls go to the others.  With no connection at all, and none
 * being tried, calls get UNAVAILABLE at once.  A connection is tried again after a random delay of at most
 * 50 ms, doubled with each failure up to 5 s, at the address with the fewest connections, names
 * resolved anew (on the offload pool).  A peer that does not answer a PING within 5 s of silence and 5 more is dead. */
#ifndef IO_GRPC_CLIENT_H
#define IO_GRPC_CLIENT_H

#include <cx/actor.h>

#include <construct/messages.h>

#include "wire/grpc_frame.h"

struct grpc_client_conf {
	const char *targets;        /* "http://host:port,https://host2"; outlives the runtime */
	const char *ca_file;        /* PEM, for https; NULL: the system's store */
	uint32_t connections;       /* 1..8; 0: 2; more when there are more addresses */
	uint32_t max_queue;         /* calls that wait for a connection; 0: 4096 */
	uint32_t max_message_bytes; /* of an answer; 0: 4 MiB */
	/* Calls of many_of go on one stream of each connection, by the method many_by
	 * (wire/grpc_many.h), where the server offers that, else as any other.  An answer over
	 * max_message_bytes ends the connection then.  Both static, many_of the pointer that the calls
	 * have; NULL: none. */
	const char *many_of, *many_by;
};

/* conf: struct grpc_client_conf; home_key: a worker's index.
 * start blocks to read the certificates; it fails with CX_EINVAL when targets or ca_file are wrong. */
extern const struct cx_actor_type grpc_client_type;

/* GRPC_RESULT.  hdr.buf: the answer's bytes when status is GRPC_OK (never NULL then). */
struct grpc_result {
	struct cx_msg hdr;
	enum grpc_status status;
	char message[GRPC_MESSAGE_BYTES_MAX + 1]; /* of the server, or ours; for people */
};

/* Can this be configured?  For those who check settings.  Thread: any. */
bool grpc_client_targets_are_valid(const char *targets);

/* Ask for one call.  One answer with *corr comes back: GRPC_RESULT, or CX_MSG_ERROR: CX_EFULL (max_queue
 * calls wait: busy), CX_EGONE.  The deadline goes to the server as grpc-timeout, and is kept here.
 * Thread: any handler.  Keeps: a reference on buf (may be NULL: the empty message); method must be static.
 * Returns as cx_ask: not CX_OK: no answer will come. */
CX_NODISCARD enum cx_err grpc_call(struct cx_ctx *ctx, struct cx_ref client, const char *method,
                                   struct cx_buf *buf, uint32_t timeout_ms, uint64_t *corr);

/* The same for calls that must stay in order: those of one affinity (not 0) go to one connection
 * while that lives, and reach the server in the order in which they were asked for.  The connection is
 * one to the address that every client with the same addresses up chooses for this affinity; where
 * that goes down, to the next.  When one of
 * them ends with UNAVAILABLE, CANCELLED, RESOURCE_EXHAUSTED or CX_EFULL, those behind it that were not
 * sent, and all that are asked for later, get UNAVAILABLE and are not carried out, until grpc_mend
 * (or a minute later): so the caller can wait for all of them and begin again from the first that
 * failed.  When a connection is told to finish, what is asked for waits until the calls on it have
 * ended.  Affinity 0: as grpc_call.
 * Thread, Keeps, Returns: as grpc_call. */
CX_NODISCARD enum cx_err grpc_call_by(struct cx_ctx *ctx, struct cx_ref client,
                                      const char *method, struct cx_buf *buf, uint64_t affinity,
                                      uint32_t timeout_ms, uint64_t *corr);

/* Calls of this affinity are sent again, beginning with those asked for after this.
 * Thread: any handler, the one that asks with this affinity.
 * Returns CX_OK, or CX_EGONE: the client has ended. */
CX_NODISCARD enum cx_err grpc_mend(struct cx_ctx *ctx, struct cx_ref client, uint64_t affinity);

/* The messages behind the senders; private to the adapter, here for messages.def. */
struct grpc_request_msg {
	struct cx_msg hdr;
	const char *method;
	uint64_t affinity;
	uint32_t timeout_ms;
};
struct grpc_mend_msg {
	struct cx_msg hdr;
	uint64_t affinity;
};

#endif
