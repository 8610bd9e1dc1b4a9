/* SPDX-License-Identifier: MIT */
/* What a connection has received: answers to asks, in order (form: postgres_request.h). */
#ifndef IO_POSTGRES_ANSWER_H
#define IO_POSTGRES_ANSWER_H

#include "io/postgres_conn.h"

/* Takes what the library has read, and answers the asks that are complete.
 * Thread: the connection's, with the ctx of its owner.
 * Returns false: what came does not fit what was asked, the connection must end. */
CX_NODISCARD bool postgres_answer_read(struct cx_ctx *ctx, struct postgres_conn *c);

#endif
