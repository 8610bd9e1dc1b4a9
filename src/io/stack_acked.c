/* SPDX-License-Identifier: MIT */
#include "io/stack_acked.h"

#include <stdlib.h>
#include <string.h>

#include <cx/actor.h>

struct stack_acked {
	uint64_t *slots; /* 0: empty */
	uint64_t mask;
	uint32_t max, count;
};

struct stack_acked *stack_acked_new(uint32_t max)
{
	struct stack_acked *const a = calloc(1, sizeof(*a));
	uint64_t slots = 64;

	cx_assert(a != NULL);
	while (slots < (uint64_t)max * 2) /* at most half full: probes stay short */
		slots *= 2;
	a->slots = calloc(slots, sizeof(*a->slots));
	cx_assert(a->slots != NULL);
	a->mask = slots - 1;
	a->max = max;
	return a;
}

void stack_acked_free(struct stack_acked *a)
{
	if (a == NULL)
		return;
	free(a->slots);
	free(a);
}

static uint64_t print_of(const uint8_t hash[STACK_ACKED_HASH_LEN])
{
	uint64_t print;

	memcpy(&print, hash, sizeof(print)); /* of a keyed hash: nobody can choose it */
	return print != 0 ? print : 1;
}

bool stack_acked_add(struct stack_acked *a, const uint8_t hash[STACK_ACKED_HASH_LEN])
{
	const uint64_t print = print_of(hash);

	for (uint64_t i = print & a->mask;; i = (i + 1) & a->mask) {
		uint64_t seen = __atomic_load_n(&a->slots[i], __ATOMIC_RELAXED);

		if (seen == print)
			return true;
		if (seen != 0)
			continue;
		/* relaxed: a slot is its whole content; over max by the number of adders at most */
		if (__atomic_load_n(&a->count, __ATOMIC_RELAXED) >= a->max)
			return false;
		if (__atomic_compare_exchange_n(&a->slots[i], &seen, print, false,
		                                __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
			__atomic_fetch_add(&a->count, 1, __ATOMIC_RELAXED);
			return true;
		}
		if (seen == print)
			return true;
	}
}

bool stack_acked_has(const struct stack_acked *a, const uint8_t hash[STACK_ACKED_HASH_LEN])
{
	const uint64_t print = print_of(hash);

	for (uint64_t i = print & a->mask;; i = (i + 1) & a->mask) {
		/* relaxed: pairs with the exchange in stack_acked_add */
		const uint64_t seen = __atomic_load_n(&a->slots[i], __ATOMIC_RELAXED);

		if (seen == print || seen == 0)
			return seen == print;
	}
}
