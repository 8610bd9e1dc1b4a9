/* SPDX-License-Identifier: MIT */
/* Questions of the embedded inbox that the log has not answered yet, by the number that the answer
 * carries: reads wait for a slow disk while thousands of settles come and go, so nothing here may cost
 * more the more there wait. */
#ifndef IO_INBOX_PENDING_H
#define IO_INBOX_PENDING_H

#include <stdbool.h>

#include <cx/actor.h>

#include "wire/uuid.h"

enum pending_kind { PENDING_INDEX, PENDING_FETCH, PENDING_SETTLE };

struct pending {
	uint64_t corr; /* 0: a free place */
	enum pending_kind kind;
	uint32_t next;   /* the list's own: in the chain, or of the free places */
	uint32_t joined; /* the list's own: the next that waits for the same answer */
	struct uuid owner;
	struct cx_caller caller;
	uint64_t id; /* settle: the entry; fetch: read after it */
};

/* Zeroed is empty. */
struct inbox_pending {
	struct pending *places;
	uint32_t *chains; /* cap of them, by hash of corr */
	uint32_t cap;     /* a power of two */
	uint32_t first_free;
};

/* No other that waits has this corr.  Returns its place, which is its own until it is taken. */
uint32_t inbox_pending_add(struct inbox_pending *list, const struct pending *p);
/* p waits for the answer to the question at `place`, too. */
void inbox_pending_join(struct inbox_pending *list, uint32_t place, const struct pending *p);
/* One of those that wait for that answer; false: none (any more). */
bool inbox_pending_take(struct inbox_pending *list, uint64_t corr, struct pending *out);
void inbox_pending_free(struct inbox_pending *list);

#endif
