/* SPDX-License-Identifier: MIT */
/* One partition of the log: takes its users' records, appends them to their inboxes, then wakes
 * the users' connections.  Strictly in the order of the log, with a few batches on the way.
 *
 *   in   LOG_RECORDS
 *   ask  inbox_append -> INBOX_APPENDED
 *   out  hub_wake */
#ifndef ACTORS_PARTITION_H
#define ACTORS_PARTITION_H

#include <cx/actor.h>

#include "actors/relay.h"

struct partition_conf {
	const struct relay *relay;
	uint32_t number; /* takes records with relay_home(owner) == number */
};

extern const struct cx_actor_type partition_type;

#endif
