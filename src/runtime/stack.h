/* SPDX-License-Identifier: MIT */
/* The many-producers, one-taker stack behind mailboxes, run queues and pools: Concurrency Kit's
 * ck_stack with batch pop (one compare-and-swap to push, one exchange to take all; no ABA, since
 * nothing pops singly).
 *
 * 1. An entry's link is written before the entry is on the stack, and read before the entry goes on.
 * 2. Whoever takes gets every entry whose push was done, newest first; entries of one pusher so keep
 *    their order when the chain is turned round.
 * 3. The taker owns what it took: nobody else reads a link.
 * Model: tests/models/pool_return.pml.
 *
 * ThreadSanitizer cannot see into its inline assembly.  Annotations around it leave the write of
 * `next` unordered, and a suppression is not found when TSan has lost the older stack trace, so
 * under TSan the same two operations are spelled with the compiler's atomics. */
#ifndef CX_RUNTIME_STACK_H
#define CX_RUNTIME_STACK_H

#include <ck_pr.h>
#include <ck_stack.h>

#include "runtime/annotate.h"

#ifdef CX__TSAN
static inline void cx__stack_push(ck_stack_t *stack, ck_stack_entry_t *entry)
{
	ck_stack_entry_t *head = __atomic_load_n(&stack->head, __ATOMIC_RELAXED);

	do {
		__atomic_store_n(&entry->next, head, __ATOMIC_RELAXED);
	} while (!__atomic_compare_exchange_n(&stack->head, &head, entry, 1, __ATOMIC_SEQ_CST,
	                                      __ATOMIC_RELAXED));
}

static inline ck_stack_entry_t *cx__stack_take_all(ck_stack_t *stack)
{
	return __atomic_exchange_n(&stack->head, (ck_stack_entry_t *)0, __ATOMIC_SEQ_CST);
}

static inline int cx__stack_is_empty(const ck_stack_t *stack)
{
	return __atomic_load_n(&stack->head, __ATOMIC_SEQ_CST) == 0;
}

static inline int cx__stack_recheck_empty(const ck_stack_t *stack)
{
	return cx__stack_is_empty(stack);
}
#else
/* The push ends in a locked instruction, so what the pusher reads afterwards is ordered behind it. */
static inline void cx__stack_push(ck_stack_t *stack, ck_stack_entry_t *entry)
{
	ck_stack_push_upmc(stack, entry);
	ck_pr_fence_atomic_load();
}

static inline ck_stack_entry_t *cx__stack_take_all(ck_stack_t *stack)
{
	return ck_stack_batch_pop_upmc(stack);
}

static inline int cx__stack_is_empty(const ck_stack_t *stack)
{
	return ck_pr_load_ptr(&stack->head) == 0;
}

/* The same, read after every atomic exchange before it in program order (sleeping, parked): a plain
 * load may overtake an exchange that is a pair of exclusives, as on ARM. */
static inline int cx__stack_recheck_empty(const ck_stack_t *stack)
{
	ck_pr_fence_atomic_load();
	return cx__stack_is_empty(stack);
}
#endif

#endif
