/* SPDX-License-Identifier: MIT */
/* The figures of a running relay over a Unix socket: `construct top` asks, the relay answers.
 *
 * One request a connection: the line "figures", answered by one line of JSON (wire/top_figures.h),
 * then the relay closes.  Everything else is closed without an answer.  The relay's side is a thread
 * of its own that polls: it answers when all workers are stuck, and no peer can reach a worker.
 * Peers are bounded in number (the oldest gives way), in bytes (a request's line, an answer) and in
 * time (TOP_PEER_MS). */
#ifndef IO_TOP_SOCKET_H
#define IO_TOP_SOCKET_H

#include <stdbool.h>

#include <cx/err.h>
#include <cx/runtime.h>

#include "wire/top_figures.h"

#define TOP_PEER_MS 5000 /* from accept to close */
#define TOP_ERROR_MAX 256

struct top_socket;

/* Listen at `path`, mode 0600.  The socket file of a dead process is replaced.
 * Thread: main.  Keeps: rt, until top_socket_close; version, for good.
 * Returns CX_OK; CX_EINVAL: another process listens there, or `path` is
 * something else than a socket or too long; CX_EIO, CX_ENOMEM.  Then *out is not written and
 * error_text says it in one line that names the path. */
CX_NODISCARD enum cx_err top_socket_open(struct cx_runtime *rt, const char *path,
                                         const char *version, struct top_socket **out,
                                         char error_text[static TOP_ERROR_MAX]);

/* The thread ends, the file is removed.  NULL: nothing.  Thread: main, before cx_runtime_free. */
void top_socket_close(struct top_socket *top);

/* Ask the relay that listens at `path`; waits a few seconds at most.
 * Thread: any outside the runtime.
 * Returns false: error_text says why in one line that names the path. */
CX_NODISCARD bool top_socket_fetch(const char *path, struct top_figures *out,
                                   char error_text[static TOP_ERROR_MAX]);

#endif
