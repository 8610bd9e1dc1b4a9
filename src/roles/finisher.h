/* SPDX-License-Identifier: MIT */
/* The last phase of a role on Kafka, after its clients are gone: delivery events go out, what is done
 * is committed, the group is left, the producer is flushed. */
#ifndef CONSTRUCT_ROLES_FINISHER_H
#define CONSTRUCT_ROLES_FINISHER_H

#include <semaphore.h>

#include <cx/runtime.h>

/* Refs may be filled after the spawn and before the workers run; CX_NOBODY: there is none. */
struct finisher_conf {
	const struct cx_ref *batchers; /* ack_batchers, or NULL */
	uint32_t batcher_count;
	const struct cx_ref *consumer, *producer; /* or NULL */
	uint32_t limit_ms;                        /* for each of the two steps */
	sem_t *done;                              /* posted once at the end */
};

/* Conf: struct finisher_conf; home_key: any worker. */
extern const struct cx_actor_type finisher_type;

/* Begin; done comes within twice limit_ms and a second.  Thread: one that is not the runtime's. */
CX_NODISCARD enum cx_err finisher_post(struct cx_runtime *rt, struct cx_ref finisher);

#endif
