/* SPDX-License-Identifier: MIT */
/* What the tests of the partition owner share: one bench, and what they say about it. */
#ifndef TESTS_IO_PARTITION_CASES_H
#define TESTS_IO_PARTITION_CASES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "io/kafka_record.h"
#include "support/partition_bench.h"
#include "wire/inbox_entry.h"
#include "wire/push.h"
#include "wire/server_frame.h"

#define INBOX PARTITION_PREFIX "inbox:{10000000-0000-0000-0000-0000%02x000000}"
#define ROUTE PARTITION_PREFIX "route:{10000000-0000-0000-0000-0000%02x000000}"
#define QUIET_MS 150

static struct partition_bench bench;
static struct stack_partition_figures figures;

static inline void setup(void)
{
	partition_bench_prepare(&bench);
	partition_bench_start(&bench);
}

static inline void teardown(void)
{
	partition_bench_end(&bench);
}

/* ---- helpers ---- */

static inline const char *redis(const char *format, unsigned user)
{
	char words[300];

	snprintf(words, sizeof(words), format, user);
	return partition_bench_redis(&bench, words);
}

static inline void send(int32_t p, uint32_t epoch, const struct partition_record *records,
                        uint32_t count)
{
	partition_bench_records(&bench, p, epoch, partition_pack(records, count), count,
	                        records[0].offset, records[count - 1].offset + 1);
}

static inline void expect_done(int64_t next_offset)
{
	struct partition_event e;

	do {
		e = partition_bench_next(KAFKA_DONE);
		cr_assert_leq(e.next_offset, next_offset);
	} while (e.next_offset < next_offset);
}

static inline void expect_quiet(uint32_t type)
{
	struct partition_event e;

	cr_assert_not(partition_bench_comes(type, QUIET_MS, &e), "a message %u came", type);
}

/* Until the figures say so: what is done without a word to the consumer is over then. */
#define EVENTUALLY(condition)                                                             \
	do {                                                                              \
		int tries_ = 2000;                                                        \
		while ((stack_partition_figures(&figures), !(condition)) && tries_-- > 0) \
			usleep(10000);                                                    \
		cr_assert(tries_ >= 0, "never so: %s", #condition);                       \
	} while (0)

/* The user is at the server that listens. */
static inline void route(unsigned user)
{
	redis("HSET " ROUTE " a1b2c3d4e5f60718/5 1/2", user);
}

static inline void expect_entry(struct wire_slice bytes, size_t *at, uint64_t id, uint64_t prev,
                                int64_t offset)
{
	const struct record *r = NULL;
	struct server_frame frame;
	char text[32];

	cr_assert(push_next_entry(bytes, at, &r));
	cr_assert_eq(r->id, id);
	cr_assert_eq(r->ref, prev, "prev of %llx", (unsigned long long)id);
	cr_assert_eq(r->kind, RECORD_MESSAGE);
	cr_assert(server_frame_decode(r->frame, r->frame_len, &frame));
	cr_assert_eq(frame.type, SERVER_MESSAGE);
	snprintf(text, sizeof(text), "text%08lld", (long long)offset);
	cr_assert(wire_slice_is(frame.message.content, text));
}

static inline struct wire_slice next_push(enum push_kind kind)
{
	const struct partition_event e = partition_bench_next(REDIS_PUSH);
	const struct wire_slice bytes = wire_slice(cx_buf_bytes(e.buf), cx_buf_len(e.buf));

	cr_assert_eq(push_kind_of(bytes), kind, "kind %u", bytes.at[0]);
	return bytes;
}

static inline void expect_look(unsigned user)
{
	const struct wire_slice bytes = next_push(PUSH_LOOK);
	const struct uuid expected = partition_uuid(user);
	struct push_look look;
	size_t at = 0;

	cr_assert(push_next_look(bytes, &at, &look));
	cr_assert(uuid_equal(&look.user, &expected));
}

/* The ids in a user's stream, as "ms-seq ms-seq ". */
static inline const char *ids(unsigned user)
{
	static const char script[] =
		"EVAL local\tt=redis.call('XRANGE',KEYS[1],'-','+')local\ts=''for\ti=1,#t\tdo\t"
		"s=s..t[i][1]..'_'end\treturn\ts 1 " INBOX;

	return redis(script, user);
}

static struct partition_record many[3000];

/* Records from first on, all for user 7. */
static inline void send_many(int32_t p, uint32_t epoch, unsigned first, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		many[i] = (struct partition_record){
			.offset = first + i, .from = 1, .to = 7, .id = first + i
		};
	send(p, epoch, many, count);
}

#endif
