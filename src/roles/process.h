/* SPDX-License-Identifier: MIT */
/* What every role does as a process: signals, the port file, draining. */
#ifndef CONSTRUCT_ROLES_PROCESS_H
#define CONSTRUCT_ROLES_PROCESS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include <cx/runtime.h>

#include "roles/config.h"

struct process {
	const struct config *config;
	const char *role;
	struct cx_runtime *rt;
	const struct cx_ref *adapters; /* of the WebSocket front, one a worker */
	unsigned adapter_count;
	const struct cx_ref *grpc_servers; /* the same number of them, or NULL */
	uint32_t reserve_ms; /* of DRAIN_SECS, for what comes after the clients; 0: 2 s */
	uint32_t jitter_ms;  /* over which clients are asked to reconnect */
	sigset_t signals;
	pid_t parent;         /* when we started */
	pid_t asked_by;       /* who sent the signal that began the drain */
	uint64_t asked_at_ms; /* monotonic */
};

/* SIGTERM, SIGINT and SIGHUP wait for process_serve; before any thread is started. */
void process_block_signals(struct process *p);

/* From here on the process's threads do not interrupt others when they wake (SCHED_BATCH), unless a scheduling
 * policy was chosen for it.  Before any thread is started. */
void process_share_cpus(void);

/* Whole or not at all.  path NULL: nothing to do.  Returns false with errno set. */
CX_NODISCARD bool process_write_port(const char *path, uint16_t port);

/* Serve until SIGTERM or SIGINT, then drain: no new clients, those there are asked to go (1012), until
 * all are gone or DRAIN_SECS are nearly over.  SIGHUP reads the certificate again.  Now and then what
 * lies free in the heap goes back to the system.
 * A second SIGTERM or SIGINT ends the process at once.  The same request twice is none: a signal to the
 * whole process group reaches us once from its sender and once more through a parent that hands it on
 * (make, timeout).  Blocks.  Thread: main. */
void process_serve(struct process *p);

#endif
