/* SPDX-License-Identifier: MIT */
/* For adapters: actors that also get callbacks from their worker's event loop. */
#ifndef CX_IO_H
#define CX_IO_H

#include <cx/actor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A thread of the runtime; may be kept for the runtime's life. */
struct cx_worker;

/* The worker that runs this handler.
 * Thread: any handler.
 * Returns it, never NULL. */
struct cx_worker *cx_worker_of(const struct cx_ctx *ctx);

/* The worker's event loop.
 * Thread: any; what may be done with the loop is the loop's own rule.
 * Returns what cx_loop_ops.open gave (a uv_loop_t for the libuv loop). */
void *cx_worker_loop(const struct cx_worker *worker);

/* Make a turn of actor `self` out of a loop callback: between enter and leave, ctx works as in a
 * handler.  Does not nest, is not counted among the actor's turns, and is not
 * watched: it must not block.  cx_io_leave runs the actor's batch_end, and ends the actor when
 * cx_stop or cx_fail was called.  A `self` that does not live any more ends the process.
 * Thread: the worker's own, inside its loop's poll.
 * Returns the ctx, valid until cx_io_leave. */
struct cx_ctx *cx_io_enter(struct cx_worker *worker, struct cx_ref self);
void cx_io_leave(struct cx_ctx *ctx);

/* What the actors of this worker sent to others is with these.  The runtime keeps messages between workers back for
 * a few turns, to send several at once, but not before it tells anybody anything in another way.  An
 * adapter that tells the outside something (a write to a socket) calls this first: else somebody could learn of
 * it and send a message that overtakes what was sent here before.
 * Thread: any; does nothing on one that is not a worker's. */
void cx_io_flush(void);

#ifdef __cplusplus
}
#endif
#endif
