/* SPDX-License-Identifier: MIT */
/* Trace: the way of one chosen message through the actors, in the format of Chrome's trace viewer.
 *
 * A handler marks the message it handles.  From then on cause is followed: what is sent, asked,
 * answered or offloaded by a handler that runs for a traced message is traced too, and so is what a
 * batch_end sends after a turn with a traced message.  Timers are not followed: what they cause, many
 * messages may have caused together.  An event holds kind of actor, type of message, worker and times;
 * no payload and no identifier. */
#ifndef CX_TRACE_H
#define CX_TRACE_H

#include <stdio.h>

#include <cx/actor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Trace the ways of the first `ways` marked messages, at most `events` events of all together, with at
 * most 65535 messages between them; more are dropped.  Once, before cx_runtime_start.
 * Thread: main.
 * Returns CX_EINVAL (0), CX_ENOMEM. */
CX_NODISCARD enum cx_err cx_runtime_trace(struct cx_runtime *rt, unsigned ways,
                                          unsigned events);

/* The message that is being handled begins a way, unless tracing is off or enough ways have begun.
 * Costs a load and a branch then.  Thread: any handler. */
void cx_trace_mark(struct cx_ctx *ctx);

/* A JSON array of what was traced until now (Trace Event Format: complete events, flows from sender to
 * receiver, thread names; times in microseconds from the first event on).  Empty when tracing is off.
 * Thread: main, between cx_runtime_stop and cx_runtime_free.
 * Returns CX_EIO: `out` refused a write. */
CX_NODISCARD enum cx_err cx_runtime_trace_write(struct cx_runtime *rt, FILE *out);

#ifdef __cplusplus
}
#endif
#endif
