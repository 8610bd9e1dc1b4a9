/* SPDX-License-Identifier: MIT */
/* A message as a block of memory.
 *
 * `origin` says in one word where the block goes back to: the address of a pool (aligned to a cache
 * line, so its low bits are free) with the block's class in these bits; or CX__ORIGIN_MALLOC.  So
 * whether the thread that frees owns the block is one comparison. */
#ifndef CX_RUNTIME_MESSAGE_H
#define CX_RUNTIME_MESSAGE_H

#include <string.h>

#include <cx/actor.h>

#include "runtime/pool.h"

#define CX__MSG_MAX 4096 /* bytes */
#define CX__ORIGIN_CLASS ((uintptr_t)63)
#define CX__ORIGIN_MALLOC CX__ORIGIN_CLASS

_Static_assert(CX__POOL_CLASSES < CX__ORIGIN_MALLOC && _Alignof(struct cx__pool) >= 64,
               "a class fits into the low bits of a pool's address");
_Static_assert(CX__MSG_MAX <= CX__POOL_MAX && CX_MSG_LIMIT <= UINT16_MAX, "a pool's block");
/* A message with one number is one cache line. */
_Static_assert(sizeof(struct cx_msg) + sizeof(uint64_t) == 64, "the header grew");

/* The rare ways of take and free below.  pool NULL: by malloc. */
struct cx_msg *cx__msg_take_slow(struct cx__pool *pool, uint32_t type, size_t size);
void cx__msg_free_slow(struct cx_msg *msg);

/* Zeroed but for type, size and origin.  pool: cx__pool_here(), not NULL. */
static inline struct cx_msg *cx__msg_take(struct cx__pool *pool, uint32_t type, size_t size)
{
	struct cx_msg *msg;
	uint16_t cls;

	cx_assert(size >= sizeof(*msg) && size <= CX__MSG_MAX && type < CX_MSG_LIMIT);
	cls = cx__pool_class(pool, size);
	msg = cx__pool_take_resting(pool, cls);
	if (__builtin_expect(msg == NULL, 0)) /* a tail call: this way keeps no registers */
		return cx__msg_take_slow(pool, type, size);
	memset(msg, 0, CX__POOL_STEP); /* small ones without a call or a loop */
	for (size_t at = CX__POOL_STEP; __builtin_expect(at < size, 0); at += CX__POOL_STEP)
		memset((uint8_t *)msg + at, 0, CX__POOL_STEP);
	msg->origin = (uintptr_t)pool | cls;
	msg->type = (uint16_t)type;
	msg->size = (uint16_t)size;
	return msg;
}

/* here: as cx__pool_here(). */
static inline void cx__msg_free_at(struct cx__pool *here, struct cx_msg *msg)
{
	const uintptr_t cls = msg->origin ^ (uintptr_t)here;

	if (__builtin_expect(msg->buf == NULL && cls < CX__POOL_CLASSES, 1))
		cx__pool_rest(here, msg, (uint16_t)cls);
	else
		cx__msg_free_slow(msg);
}

static inline void cx__msg_free(struct cx_msg *msg)
{
	cx__msg_free_at(cx__pool_here(), msg);
}

#endif
