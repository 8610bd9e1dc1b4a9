/* SPDX-License-Identifier: MIT */
/* Questions of the embedded inbox that the log has not answered yet: a ring in the order of asking. */
#ifndef IO_INBOX_PENDING_H
#define IO_INBOX_PENDING_H

#include <stdbool.h>

#include <cx/actor.h>

#include "wire/uuid.h"

enum pending_kind { PENDING_INDEX, PENDING_FETCH, PENDING_SETTLE };

struct pending {
	uint64_t corr; /* 0: answered */
	enum pending_kind kind;
	struct uuid owner;
	struct cx_caller caller;
	uint64_t id; /* settle: the entry; fetch: read after it */
};

/* Zeroed is empty. */
struct inbox_pending {
	struct pending *ring;
	uint32_t first, end,
		cap; /* first and end only grow (and wrap); cap is a power of two */
};

void inbox_pending_add(struct inbox_pending *list, const struct pending *p);
/* The oldest that waits for that answer; false: none (any more). */
bool inbox_pending_take(struct inbox_pending *list, uint64_t corr, struct pending *out);
/* The question that settles this entry, to wait for its answer too; 0: none is on its way. */
uint64_t inbox_pending_settle(const struct inbox_pending *list, const struct uuid *owner,
                              uint64_t id);
void inbox_pending_free(struct inbox_pending *list);

#endif
