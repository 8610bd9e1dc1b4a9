/* SPDX-License-Identifier: MIT */
/* The form in which asks travel to the adapter and answers back, all numbers in this machine's order.
 *
 *   ask     per statement: u32 number, u32 n, then n values
 *   answer  per statement: u32 rows, u32 columns, u64 affected, then rows * columns values
 *   value   u32 length (POSTGRES_LEN_NULL: none follows), its bytes */
#ifndef IO_POSTGRES_REQUEST_H
#define IO_POSTGRES_REQUEST_H

#include "io/postgres.h"

#define POSTGRES_LEN_NULL UINT32_MAX

struct postgres_call { /* one statement of an ask, borrowed from its buffer */
	uint32_t statement;
	uint32_t n;
	const char *at[POSTGRES_PARAMS_MAX]; /* NULL: the value NULL */
	int len[POSTGRES_PARAMS_MAX];
};

/* The next statement of an ask: walk is postgres_walk_start of its buffer.  False: at the end. */
bool postgres_call_next(struct postgres_walk *walk, struct postgres_call *out);

#endif
