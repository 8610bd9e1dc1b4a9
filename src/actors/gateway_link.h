/* SPDX-License-Identifier: MIT */
/* In the place of the gateway where that is another process: submissions go to it by gRPC.
 *
 *   ask  GATEWAY_SUBMIT   from connections
 *   ask  grpc_call_by     SubmitMessage, the sender is the affinity; on SubmitMessages where the
 *                         client was told so (many_of, many_by) and the gateway offers it
 *   out  GATEWAY_OUTCOME  one for each submission, in the order of submission for one sender
 *
 * One a worker, in relay.gateways[], beside the gRPC client of its worker.  At most 64 calls of one
 * sender and 8192 of all are under way; the rest waits here, up to 65536, then SERVER_ERROR.
 *
 * A call that ends without an outcome (connection lost, gateway busy or ending) stops its sender: when
 * all its calls have ended, they are sent again in order from the first without an outcome, after 20 ms,
 * doubled each time up to 500 ms, until 12 s after the submission; then KAFKA_FAILURE.  The id makes
 * that safe: DUPLICATE in answer to a second try is a success.  One without an outcome that a later
 * accepted message to the same recipient has passed is KAFKA_FAILURE at once: accepted later, it would
 * be out of order. */
#ifndef ACTORS_GATEWAY_LINK_H
#define ACTORS_GATEWAY_LINK_H

#include <cx/actor.h>

#include "actors/gateway.h"
#include "actors/relay.h"

struct gateway_link_conf {
	const struct relay *relay;
	struct cx_ref client; /* the grpc_client of this worker */
};

/* For many_of and many_by of that client. */
extern const char gateway_link_method[], gateway_link_many[];

extern const struct cx_actor_type gateway_link_type; /* home_key: the worker's index */

/* Sums over all workers, for /metrics.  Thread: any. */
struct gateway_link_figures {
	uint64_t submitted; /* to be sent: not refused by the connection before */
	uint64_t calls;     /* tries included */
	uint64_t lost;      /* calls that ended without an outcome */
	uint64_t
		failed; /* answered with KAFKA_FAILURE or SERVER_ERROR for want of an outcome */
	uint64_t in_flight; /* now */
};
void gateway_link_figures(struct gateway_link_figures *out);

#endif
