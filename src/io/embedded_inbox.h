/* SPDX-License-Identifier: MIT */
/* inbox.h on the embedded log: an index in memory of each active user's inbox.  The bytes are where the
 * log has them: in the batch they came with (held by reference), later in rows of their own.
 * One actor a worker. */
#ifndef IO_EMBEDDED_INBOX_H
#define IO_EMBEDDED_INBOX_H

#include <cx/actor.h>

#include "io/inbox.h"

struct embedded_inbox_settings {
	struct cx_ref log, log_reader;
	bool receipts; /* a settled message makes a `delivered` ack for its sender */
};

/* conf: const struct embedded_inbox_settings * (one pointer); it outlives the actor */
extern const struct cx_actor_type embedded_inbox_type;

#endif
