/* SPDX-License-Identifier: MIT */
/* Which messages were acknowledged: a bounded set of hashes, filled from the delivery-ack topic while
 * Redis is filled again from the log (decision 0006, section 7).
 *
 * Only the first 8 bytes of a hash are kept: with ten million in the set the chance that any of ten
 * million other messages is taken for acknowledged is 5 in a million, once a loss of Redis.
 * Open addressing, linear probing, nothing is ever taken out (Knuth, TAOCP vol. 3, 6.4, algorithm L).
 *
 * Thread: any number of stack_receipts add while any number of stack_partition ask; slots are atomic.
 * What was added before STACK_REBUILT was sent is seen by who has received it. */
#ifndef IO_STACK_ACKED_H
#define IO_STACK_ACKED_H

#include <stdbool.h>
#include <stdint.h>

#define STACK_ACKED_HASH_LEN 32

struct stack_acked;

/* Room for max hashes, 16 to 32 bytes each (touched as they come).  Never NULL. */
struct stack_acked *stack_acked_new(uint32_t max);
/* Nobody uses it any more.  NULL is taken. */
void stack_acked_free(struct stack_acked *acked);

/* Returns false: no room; the message may come once more. */
bool stack_acked_add(struct stack_acked *acked, const uint8_t hash[STACK_ACKED_HASH_LEN]);
/* Whether the message of this hash (delivery_message_hash) was acknowledged. */
bool stack_acked_has(const struct stack_acked *acked, const uint8_t hash[STACK_ACKED_HASH_LEN]);

#endif
