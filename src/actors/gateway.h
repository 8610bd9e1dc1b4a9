/* SPDX-License-Identifier: MIT */
/* Where messages enter: one gateway a worker finds (or starts) the sender's limiter, which
 * checks, limits and appends.
 *
 *   ask  GATEWAY_SUBMIT  from connections
 *   out  GATEWAY_OUTCOME (from the limiter), in the order of submission for one sender */
#ifndef ACTORS_GATEWAY_H
#define ACTORS_GATEWAY_H

#include <cx/actor.h>

#include <construct/messages.h>

#include "actors/relay.h"
#include "wire/client_frame.h"
#include "wire/uuid.h"

#define GATEWAY_ID_MAX UUID_TEXT_LEN /* characters of a message id */

/* What became of one send: ERROR_NONE means accepted.  hdr.buf: the answer's frame, when the
 * connection had refused it itself. */
struct gateway_outcome {
	struct cx_msg hdr;
	enum error_code code;
	uint32_t frame_bytes; /* of the client's frame, to give back */
	char id[GATEWAY_ID_MAX + 1];
	char text[72]; /* instead of the code's default text, when not empty */
};

/* One send.  hdr.buf: the `message` frame for the recipient.  code other than ERROR_NONE: refused
 * already by the connection, takes its turn in the order of answers only; hdr.buf is the answer. */
struct gateway_submit {
	struct uuid sender, owner, key;
	uint32_t key_case;
	uint32_t frame_bytes;
	enum error_code code;
	char id[GATEWAY_ID_MAX + 1];
};

struct gateway_submit_msg {
	struct cx_msg hdr;
	struct gateway_submit submit;
	struct cx_caller caller; /* the connection, when it comes from the gateway */
};

extern const struct cx_actor_type gateway_type; /* conf: struct relay_conf */

/* Keeps: a reference on frame.
 * Returns as cx_ask. */
CX_NODISCARD enum cx_err gateway_submit(struct cx_ctx *ctx, const struct relay *relay,
                                        const struct gateway_submit *submit,
                                        struct cx_buf *frame, uint32_t timeout_ms,
                                        uint64_t *corr);

#endif
