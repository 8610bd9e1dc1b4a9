/* SPDX-License-Identifier: MIT */
#include "io/redis_reader.h"

#include <stdlib.h>
#include <string.h>

#include <hiredis/read.h>

#include "io/redis.h"

#define LINE_BYTES_MAX 65536
#define IDLE_BYTES (256 * 1024) /* more is given back when it is empty */
#define FEED_BYTES \
	8192 /* hiredis moves what is left of its buffer each 1024 bytes it used up */

struct redis_reader {
	redisReader *parser;
	uint8_t *flat; /* the reply being put together */
	size_t len, cap;
};

/* Room for n more bytes, or NULL: the reply is over its limit. */
static uint8_t *room(struct redis_reader *r, size_t n)
{
	uint8_t *at;

	if (n > REDIS_ANSWER_BYTES_MAX - r->len)
		return NULL;
	if (r->len + n > r->cap) {
		r->cap = 2 * (r->len + n) + 256;
		r->flat = realloc(r->flat, r->cap);
		cx_assert(r->flat != NULL);
	}
	at = r->flat + r->len;
	r->len += n;
	return at;
}

static void *put(const redisReadTask *task, enum redis_kind kind, const void *bytes, size_t len)
{
	struct redis_reader *r = task->privdata;
	uint8_t *at = room(r, 1 + len);

	if (at == NULL)
		return NULL;
	at[0] = (uint8_t)kind;
	if (len > 0)
		memcpy(at + 1, bytes, len);
	return r;
}

static void *put_string(const redisReadTask *task, char *text, size_t len)
{
	const enum redis_kind kind = task->type == REDIS_REPLY_ERROR    ? REDIS_ERROR
	                             : task->type == REDIS_REPLY_STATUS ? REDIS_STATUS
	                                                                : REDIS_STRING;
	struct redis_reader *r = task->privdata;
	const uint32_t n = (uint32_t)len;
	uint8_t *at;

	if (len > REDIS_ANSWER_BYTES_MAX || put(task, kind, &n, sizeof(n)) == NULL)
		return NULL;
	at = room(r, len);
	if (at != NULL && len > 0)
		memcpy(at, text, len);
	return at != NULL ? r : NULL;
}

static void *put_array(const redisReadTask *task, int elements)
{
	const uint32_t n = (uint32_t)elements;

	return n <= REDIS_ELEMENTS_MAX ? put(task, REDIS_ARRAY, &n, sizeof(n)) : NULL;
}

static void *put_integer(const redisReadTask *task, long long value)
{
	const int64_t n = value;

	return put(task, REDIS_INTEGER, &n, sizeof(n));
}

static void *put_nil(const redisReadTask *task)
{
	return put(task, REDIS_NIL, NULL, 0);
}

static void forget(void *object)
{
	(void)object; /* all values lie in the reader */
}

static redisReplyObjectFunctions functions = {
	.createString = put_string,
	.createArray = put_array,
	.createInteger = put_integer,
	.createNil = put_nil,
	.freeObject = forget,
};

struct redis_reader *redis_reader_new(void)
{
	struct redis_reader *r = calloc(1, sizeof(*r));

	cx_assert(r != NULL);
	r->parser = redisReaderCreateWithFunctions(&functions);
	cx_assert(r->parser != NULL);
	r->parser->privdata = r;
	r->parser->maxbuf = IDLE_BYTES;
	return r;
}

void redis_reader_free(struct redis_reader *reader)
{
	if (reader == NULL)
		return;
	redisReaderFree(reader->parser);
	free(reader->flat);
	free(reader);
}

/* Whatever is not whole yet begins with a line: its own, or the one with its length. */
static bool is_within_limits(const redisReader *p)
{
	const size_t pending = p->len - p->pos;

	if (pending > REDIS_ANSWER_BYTES_MAX)
		return false;
	return pending <= LINE_BYTES_MAX ||
	       memchr(p->buf + p->pos, '\n', LINE_BYTES_MAX) != NULL;
}

static enum cx_err take_replies(struct redis_reader *r, redis_reader_fn *fn, void *arg)
{
	for (;;) {
		void *reply = NULL;

		if (redisReaderGetReply(r->parser, &reply) != REDIS_OK)
			return CX_EPROTO;
		if (reply == NULL)
			return is_within_limits(r->parser) ? CX_OK : CX_EPROTO;
		if (!fn(arg, r->flat, r->len))
			return CX_EPROTO;
		r->len = 0;
		if (r->cap > IDLE_BYTES) {
			free(r->flat);
			r->flat = NULL;
			r->cap = 0;
		}
	}
}

enum cx_err redis_reader_feed(struct redis_reader *reader, const void *bytes, size_t len,
                              redis_reader_fn *fn, void *arg)
{
	const char *at = bytes;
	enum cx_err err = CX_OK;

	while (len > 0 && err == CX_OK) {
		const size_t n = len < FEED_BYTES ? len : FEED_BYTES;

		if (redisReaderFeed(reader->parser, at, n) != REDIS_OK)
			return CX_EPROTO;
		err = take_replies(reader, fn, arg);
		at += n;
		len -= n;
	}
	return err;
}
