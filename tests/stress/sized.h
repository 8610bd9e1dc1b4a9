/* SPDX-License-Identifier: MIT */
/* Messages of many sizes whose bytes are checked. */
#ifndef TESTS_STRESS_SIZED_H
#define TESTS_STRESS_SIZED_H

#include <stdatomic.h>
#include <string.h>

#include <cx/io.h>
#include <cx/log.h>
#include <cx/runtime.h>

#include "stress.h"

#define SIZES 6
#define HEAD sizeof(struct sized)

/* Each of the latter has an id for each size. */
enum { GO = CX_MSG_USER, TAKE, M1, M2 = M1 + SIZES, TELL = M2 + SIZES, NEXT = TELL + SIZES };

/* In lines 1, 2, 4 and 8, the most a parcel takes; and two that go alone. */
static const uint16_t sizes[SIZES] = { 64, 100, 200, 512, 513, 4096 };

struct sized { /* a pattern follows, up to its size */
	struct cx_msg hdr;
	uint32_t a, b;
};

static struct cx_runtime *rt;
static _Atomic uint64_t broken; /* messages whose bytes are not those sent */
static _Atomic uint64_t bad_order, handled;
static _Atomic int is_over;

static inline unsigned size_index(uint64_t random)
{
	static const uint8_t of[16] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5 };

	return of[random % 16];
}

/* ctx NULL: for cx_post. */
static inline struct cx_msg *make(struct cx_ctx *ctx, uint32_t first_id, uint64_t random,
                                  uint32_t a, uint32_t b)
{
	const unsigned i = size_index(random);
	struct cx_msg *msg = ctx != NULL ? cx_msg_new(ctx, first_id + i, sizes[i])
	                                 : cx_post_new(first_id + i, sizes[i]);
	struct sized *m = (struct sized *)(void *)msg;

	m->a = a;
	m->b = b;
	memset((uint8_t *)m + HEAD, (int)((a ^ b) & 0xff), sizes[i] - HEAD);
	if ((random >> 8) % 4 == 0)
		msg->buf = cx_buf_copy(&b, sizeof(b));
	return msg;
}

static inline void check_bytes(const struct cx_msg *msg)
{
	const struct sized *m = CX_MSG_AS(struct sized, msg);
	const uint8_t *bytes = (const uint8_t *)m;
	bool ok = true;

	for (size_t i = HEAD; i < msg->size; i++)
		ok = ok && bytes[i] == (uint8_t)((m->a ^ m->b) & 0xff);
	if (msg->buf != NULL)
		ok = ok && cx_buf_len(msg->buf) == sizeof(m->b) &&
		     memcmp(cx_buf_bytes(msg->buf), &m->b, sizeof(m->b)) == 0;
	if (!ok)
		atomic_fetch_add(&broken, 1);
}

/* Handlers for all sizes from first_id on.  Returns how many there are. */
static inline size_t on_sizes(struct cx_handler *table, size_t count, uint32_t first_id,
                              cx_handler_fn *fn)
{
	for (unsigned i = 0; i < SIZES; i++)
		table[count++] =
			(struct cx_handler){ .type = first_id + i, .size = sizes[i], .fn = fn };
	return count;
}

static inline void must(enum cx_err err)
{
	if (err == CX_OK)
		return;
	printf("refused: %s\n", cx_err_name(err));
	abort();
}

static inline void make_runtime(unsigned workers)
{
	const struct cx_runtime_conf conf = { .workers = workers, .offload_threads = 2 };

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	must(cx_runtime_new(&conf, &rt));
	atomic_store(&broken, 0);
	atomic_store(&bad_order, 0);
	atomic_store(&handled, 0);
	atomic_store(&is_over, 0);
}

static inline void wait_until(const _Atomic uint64_t *count, uint64_t at_least)
{
	for (int i = 0; i < 120000 && atomic_load(count) < at_least; i++)
		stress_sleep_ms(1);
}

static inline void end_runtime(void)
{
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
	STRESS_CHECK(atomic_load(&broken) == 0, "%llu messages broken",
	             (unsigned long long)broken);
	STRESS_CHECK(atomic_load(&bad_order) == 0, "%llu out of order",
	             (unsigned long long)bad_order);
}

#endif
