/* SPDX-License-Identifier: MIT */
/* The workers' event loop: a small epoll loop of our own with a uv_loop_t inside it.
 *
 * libuv is for the libraries that want it (libwebsockets) and for rare events.  Sockets with much
 * traffic are watched directly: libuv takes up to 1024 events at once and calls back for all of them
 * before anything else runs, and by the time their actors run what was read has left the caches
 * (docs/decisions/0002-websocket-data-plane.md has the figures). */
#ifndef IO_LOOP_UV_H
#define IO_LOOP_UV_H

#include <cx/runtime.h>

struct uv_loop_s;

enum loop_event { LOOP_READABLE = 1, LOOP_WRITABLE = 2 };

/* A descriptor in the loop; lives in its owner's memory.  Zeroed, then fd and fn set. */
struct loop_watch {
	int fd;
	unsigned events; /* watched for now; the loop's */
	void (*fn)(struct loop_watch *watch, unsigned events);
};

/* cx_worker_loop() is then the uv_loop_t.  arg: unused. */
extern const struct cx_loop_ops loop_uv_ops;

/* The loop of a worker, or NULL when it is not open.
 * Thread: main, after cx_runtime_new and before cx_runtime_start. */
struct uv_loop_s *loop_uv_of(unsigned worker);

/* Watch for these events (enum loop_event, ored) from now on; 0: for none.  After 0, and only then, the
 * descriptor may be closed and the watch be freed: nothing will be called for it.  An error or the end
 * of the stream is told as LOOP_READABLE, and LOOP_WRITABLE if that was asked for.
 * Thread: the worker's own.
 * Returns CX_ENOMEM: nothing has changed. */
CX_NODISCARD enum cx_err loop_uv_watch(struct uv_loop_s *loop, struct loop_watch *watch,
                                       unsigned events);

/* Call leave(arg) once, when this poll of the loop ends: so an adapter may enter its actor at the
 * first event of a poll and leave it after the last.  Another adapter that entered before is made
 * to leave at once.
 * Thread: the worker's own, inside its loop's poll. */
void loop_uv_at_end(struct uv_loop_s *loop, void (*leave)(void *arg), void *arg);

/* An adapter that entered with loop_uv_at_end leaves now: another one enters for a single event.
 * Thread: the worker's own, inside its loop's poll. */
void loop_uv_end_turn(struct uv_loop_s *loop);

#endif
