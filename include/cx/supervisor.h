/* SPDX-License-Identifier: MIT */
/* A supervisor starts its children and restarts one that failed, in place: the child's ref
 * stays valid, its ordinary lane keeps what waits, its state begins anew with start().  Notices and
 * other control messages that come before that are lost: start() watches again whom it has to.
 * Delay before the n-th restart in a row: drawn from 0 to backoff_min_ms * 2^(n - 1), at most
 * backoff_max_ms (full jitter); n is 1 again after window_ms without a failure.  More than
 * max_restarts of all children together in one window: the supervisor itself fails.  A window of window_ms
 * begins with the first failure after the last one has ended.
 * Each failure of a child is logged (see cx_fail). */
#ifndef CX_SUPERVISOR_H
#define CX_SUPERVISOR_H

#include <cx/actor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One child of a supervisor; children start in the order of their array.  A type that is NULL or
 * CX_PLACE_THREAD (those are spawned at boot only) ends the process when the supervisor starts. */
struct cx_child {
	const struct cx_actor_type *type;
	const void *conf; /* must outlive the supervisor: start gets it again */
	uint64_t home_key;
	struct cx_ref *
		ref; /* written on the supervisor's worker, before the child's start; may be NULL */
};

/* What a supervisor is spawned with.  More children than 32, or a count of them without an array, ends the
 * process when the supervisor starts. */
struct cx_supervisor_conf {
	const struct cx_child *children; /* must outlive the supervisor; NULL: none */
	size_t child_count;              /* at most 32 */
	uint32_t max_restarts;           /* 0: 10 */
	uint32_t window_ms;              /* 0: 60000 */
	uint32_t backoff_min_ms;         /* 0: 50 */
	uint32_t backoff_max_ms;         /* 0: 5000 */
};

/* The type to give to cx_spawn or cx_runtime_spawn, with a struct cx_supervisor_conf.  When a
 * supervisor ends, its children end. */
extern const struct cx_actor_type cx_supervisor_type;

#ifdef __cplusplus
}
#endif
#endif
