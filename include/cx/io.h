/* SPDX-License-Identifier: MIT */
/* For adapters: actors that also get callbacks from their worker's event loop. */
#ifndef CX_IO_H
#define CX_IO_H

#include <cx/actor.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cx_worker; /* a thread of the runtime; may be kept for its life */

struct cx_worker *cx_worker_of(const struct cx_ctx *ctx);

/* The worker's loop as opened by cx_loop_ops.open (a uv_loop_t for the libuv loop). */
void *cx_worker_loop(const struct cx_worker *worker);

/* A loop callback becomes a turn of actor `self`: inside, ctx works as in a handler.
 * Thread: the worker's own, inside its loop's poll.  Does not nest.
 * cx_io_leave runs the actor's batch_end. */
struct cx_ctx *cx_io_enter(struct cx_worker *worker, struct cx_ref self);
void cx_io_leave(struct cx_ctx *ctx);

#ifdef __cplusplus
}
#endif
#endif
