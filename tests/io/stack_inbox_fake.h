/* SPDX-License-Identifier: MIT */
/* stack_inbox_fixture.h with a fake in the place of Redis: the test takes its calls and says what it
 * answers. */
#ifndef TESTS_IO_STACK_INBOX_FAKE_H
#define TESTS_IO_STACK_INBOX_FAKE_H

#include "stack_inbox_fixture.h"

static struct cx_ref redis;

static void set_up(void)
{
	fixture_start();
	redis = fake();
	inbox_start(redis);
}

/* ---- answers of Redis, in the form that redis_walk reads ---- */

static uint8_t answer_bytes[65536];
static size_t answer_len;

static void add(const void *bytes, size_t len)
{
	memcpy(answer_bytes + answer_len, bytes, len);
	answer_len += len;
}

static void add_value(enum redis_kind kind, const void *text, size_t len)
{
	const uint8_t byte = (uint8_t)kind;
	const uint32_t n = (uint32_t)len;

	add(&byte, 1);
	add(&n, sizeof(n));
	if (text != NULL)
		add(text, len);
}

static void add_array(uint32_t count)
{
	add_value(REDIS_ARRAY, NULL, count);
}

static void add_integer(int64_t n)
{
	const uint8_t byte = REDIS_INTEGER;

	add(&byte, 1);
	add(&n, sizeof(n));
}

static void add_text(enum redis_kind kind, const char *text)
{
	add_value(kind, text, strlen(text));
}

static void add_id(uint64_t id)
{
	char text[INBOX_ID_TEXT_MAX];

	inbox_id_format(id, text);
	add_text(REDIS_STRING, text);
}

/* What XRANGE says of messages with these ids. */
static void add_entries(uint64_t from, uint64_t upto)
{
	add_array((uint32_t)(upto + 1 - from));
	for (uint64_t i = from; i <= upto; i++) {
		const struct put p = message(ID(i));
		uint8_t bytes[100];

		add_array(2);
		add_id(ID(i));
		add_array(2);
		add_text(REDIS_STRING, "e");
		add_value(REDIS_STRING, bytes, put_bytes(&p, bytes));
	}
}

/* What the script says of them. */
static void add_heads(uint64_t from, uint64_t upto, bool is_end)
{
	add_array((uint32_t)(upto + 1 - from) * 2 + 1);
	add_integer(is_end);
	for (uint64_t i = from; i <= upto; i++) {
		const struct put p = message(ID(i));
		uint8_t bytes[100];

		add_id(ID(i));
		add_value(REDIS_STRING, bytes, put_bytes(&p, bytes));
	}
}

/* Redis says what was added, to this call. */
static void say(const struct got *call)
{
	struct cx_buf *buf = cx_buf_copy(answer_bytes, answer_len);

	ANSWER(call, REDIS_REPLY, struct redis_reply, buf, .outcome = REDIS_ANSWERED,
	       .count = GOT(struct redis_call_msg, call)->count);
	cx_buf_unref(buf);
	answer_len = 0;
	quiet();
}

static void say_deleted(const struct got *call, unsigned commands)
{
	add_text(REDIS_STRING, "1700000000000-3");
	while (commands-- > 0)
		add_integer(1);
	say(call);
}

static const struct got *call(void)
{
	return take(redis, REDIS_CALL);
}

static bool has_text(const struct got *g, const char *text)
{
	return memmem(cx_buf_bytes(g->buf), cx_buf_len(g->buf), text, strlen(text)) != NULL;
}

static bool is_script(const struct got *g)
{
	return GOT(struct redis_call_msg, g)->script != 0;
}

#endif
