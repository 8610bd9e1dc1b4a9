/* SPDX-License-Identifier: MIT */
#include "io/inbox_pending.h"

#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

TestSuite(inbox_pending, .timeout = 60);

#define MANY 30000

static struct pending settle_of(uint64_t corr, uint64_t id)
{
	return (struct pending){ .corr = corr, .kind = PENDING_SETTLE, .id = id };
}

Test(inbox_pending, gives_each_question_to_its_answer_once)
{
	struct inbox_pending list = { 0 };
	struct pending p;

	cr_assert_not(inbox_pending_take(&list, 1, &p));
	for (uint64_t n = 1; n <= 1000; n++) {
		p = settle_of(n * 64, n);
		inbox_pending_add(&list, &p);
	}
	for (uint64_t n = 1; n <= 1000; n += 2) {
		cr_assert(inbox_pending_take(&list, n * 64, &p));
		cr_assert_eq(p.id, n);
		cr_assert_not(inbox_pending_take(&list, n * 64, &p));
	}
	for (uint64_t n = 1000; n >= 2; n -= 2) {
		cr_assert(inbox_pending_take(&list, n * 64, &p));
		cr_assert_eq(p.id, n);
	}
	cr_assert_not(inbox_pending_take(&list, 0, &p));
	inbox_pending_free(&list);
}

Test(inbox_pending, all_that_joined_wait_for_the_same_answer)
{
	struct inbox_pending list = { 0 };
	struct pending p = settle_of(7, 70);
	const uint32_t place = inbox_pending_add(&list, &p);
	uint64_t seen = 0;

	for (uint32_t n = 0; n < 300; n++) {
		p = settle_of(0, 70);
		p.caller.corr = n + 1;
		inbox_pending_join(&list, place, &p);
		p = settle_of(1000 + n, n); /* others, so that the list grows meanwhile */
		inbox_pending_add(&list, &p);
	}
	for (uint32_t n = 0; n < 301; n++) {
		cr_assert(inbox_pending_take(&list, 7, &p), "%u", n);
		cr_assert_eq(p.id, 70);
		seen += p.caller.corr;
	}
	cr_assert_eq(seen, 300 * 301 / 2, "each once");
	cr_assert_not(inbox_pending_take(&list, 7, &p));
	for (uint32_t n = 0; n < 300; n++)
		cr_assert(inbox_pending_take(&list, 1000 + n, &p));
	inbox_pending_free(&list);
}

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double come_and_go_ms(struct inbox_pending *list)
{
	const double began = cpu_ms();
	struct pending p;

	for (uint64_t n = 1; n <= MANY; n++) {
		p = settle_of(1000000 + n, n);
		inbox_pending_add(list, &p);
		cr_assert(inbox_pending_take(list, 1000000 + n, &p));
	}
	return cpu_ms() - began;
}

/* Reads that a slow disk keeps waiting must not make the settles of others dear. */
Test(inbox_pending, those_that_wait_long_cost_the_others_nothing)
{
	struct inbox_pending list = { 0 };
	const double alone_ms = come_and_go_ms(&list);
	struct pending p;
	double beside_ms, began;

	for (uint64_t n = 1; n <= MANY; n++) {
		p = settle_of(n, n);
		inbox_pending_add(&list, &p);
	}
	beside_ms = come_and_go_ms(&list);
	cr_assert_lt(beside_ms, 50 * alone_ms + 50, "%.1f ms and %.1f ms", alone_ms, beside_ms);
	began = cpu_ms();
	for (uint64_t n = 1; n <= MANY; n++) { /* they too, oldest first */
		cr_assert(inbox_pending_take(&list, n, &p));
		p.corr = MANY + n;
		inbox_pending_add(&list, &p);
	}
	beside_ms = cpu_ms() - began;
	cr_assert_lt(beside_ms, 50 * alone_ms + 50, "%.1f ms and %.1f ms", alone_ms, beside_ms);
	inbox_pending_free(&list);
}
