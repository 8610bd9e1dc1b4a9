/* SPDX-License-Identifier: MIT */
/* libuv as the workers' event loop: one uv_loop_t a worker, woken by its own eventfd. */
#ifndef IO_LOOP_UV_H
#define IO_LOOP_UV_H

#include <cx/runtime.h>

struct uv_loop_s;

/* cx_worker_loop() is then the uv_loop_t.  arg: unused. */
extern const struct cx_loop_ops loop_uv_ops;

/* The loop of a worker, or NULL when it is not open.
 * Thread: main, after cx_runtime_new and before cx_runtime_start. */
struct uv_loop_s *loop_uv_of(unsigned worker);

/* Call leave(arg) once, when this poll of the loop ends: so an adapter may enter its actor at the
 * first event of a poll and leave it after the last.  Another adapter that entered before is made
 * to leave at once.
 * Thread: the worker's own, inside its loop's poll. */
void loop_uv_at_end(struct uv_loop_s *loop, void (*leave)(void *arg), void *arg);

#endif
