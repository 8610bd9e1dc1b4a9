/* SPDX-License-Identifier: MIT */
/* The run queue that can be stolen from: the owner alone, and beside a thief. */
#include "runtime/deque.h"
#include "structures.h"

#define FILL 32 /* pushed, then taken */

static struct cx__deque deque;

/* An operation is a push and a take. */
static uint64_t owner(void)
{
	static int item;
	uint64_t taken = 0;

	while (!bench_is_over()) {
		for (int i = 0; i < FILL; i++)
			if (!cx__deque_push(&deque, &item))
				break; /* the thief was slow and a take lost its race */
		for (int i = 0; i < FILL; i++)
			taken += cx__deque_take(&deque) != NULL;
	}
	return taken;
}

static uint64_t thief(void)
{
	uint64_t taken = 0;

	while (!bench_is_over())
		for (int i = 0; i < FILL; i++)
			taken += cx__deque_take(&deque) != NULL;
	return taken;
}

static uint64_t crew(unsigned index, void *arg)
{
	(void)arg;
	return index == 0 ? owner() : thief();
}

int main(void)
{
	bench_rate("deque", "owner", crew, NULL, 1);
	bench_rate("deque", "owner and thief", crew, NULL, 2);
	return 0;
}
