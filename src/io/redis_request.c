/* SPDX-License-Identifier: MIT */
/* Encoding happens on the caller's worker: the adapter only copies. */
#include "io/redis_request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned digits_of(size_t n)
{
	unsigned digits = 1;

	while (n >= 10) {
		n /= 10;
		digits++;
	}
	return digits;
}

static size_t head_size(size_t n)
{
	return 1 + digits_of(n) + 2;
}

size_t redis_head_write(uint8_t *to, char sign, size_t n)
{
	const unsigned digits = digits_of(n);

	to[0] = (uint8_t)sign;
	for (unsigned i = digits; i > 0; i--) {
		to[i] = (uint8_t)('0' + n % 10);
		n /= 10;
	}
	to[digits + 1] = '\r';
	to[digits + 2] = '\n';
	return digits + 3;
}

/* Saturates over the limit instead of wrapping. */
size_t redis_args_size(const struct redis_arg *argv, unsigned n)
{
	size_t size = 0;

	for (unsigned i = 0; i < n && size <= REDIS_REQUEST_BYTES_MAX; i++) {
		if (argv[i].len > REDIS_REQUEST_BYTES_MAX)
			return REDIS_REQUEST_BYTES_MAX + 1;
		size += head_size(argv[i].len) + argv[i].len + 2;
	}
	return size;
}

size_t redis_request_size(const struct redis_arg *argv, unsigned n)
{
	return head_size(n) + redis_args_size(argv, n);
}

uint8_t *redis_args_write(uint8_t *to, const struct redis_arg *argv, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		to += redis_head_write(to, '$', argv[i].len);
		if (argv[i].len > 0)
			memcpy(to, argv[i].at, argv[i].len);
		to += argv[i].len;
		*to++ = '\r';
		*to++ = '\n';
	}
	return to;
}

uint8_t *redis_request_write(uint8_t *to, const struct redis_arg *argv, unsigned n)
{
	to += redis_head_write(to, '*', n);
	return redis_args_write(to, argv, n);
}

struct redis_arg redis_number(char out[REDIS_NUMBER_MAX], int64_t n)
{
	return (struct redis_arg){ out,
		                   (size_t)snprintf(out, REDIS_NUMBER_MAX, "%" PRId64, n) };
}

static struct redis_call_msg *new_call(struct cx_ctx *ctx, struct cx_buf *buf, uint32_t count,
                                       uint32_t timeout_ms)
{
	struct redis_call_msg *m = CX_MSG_NEW(ctx, REDIS_CALL, struct redis_call_msg);

	m->hdr.buf = buf;
	m->count = count;
	m->timeout_ms = timeout_ms;
	return m;
}

enum cx_err redis_call(struct cx_ctx *ctx, struct cx_ref redis, const struct redis_arg *argv,
                       unsigned n, uint32_t timeout_ms, uint64_t *corr)
{
	const size_t size = redis_request_size(argv, n);
	struct cx_buf *buf;

	cx_assert(n > 0);
	if (size > REDIS_REQUEST_BYTES_MAX)
		return CX_EINVAL;
	buf = cx_buf_new(size);
	redis_request_write(cx_buf_data(buf), argv, n);
	return cx_ask(ctx, redis, &new_call(ctx, buf, 1, timeout_ms)->hdr, timeout_ms, corr);
}

enum cx_err redis_call_script(struct cx_ctx *ctx, struct cx_ref redis, unsigned script,
                              unsigned key_count, const struct redis_arg *argv, unsigned n,
                              uint32_t timeout_ms, uint64_t *corr)
{
	char digits[12];
	const int len = snprintf(digits, sizeof(digits), "%u", key_count);
	const struct redis_arg keys = { digits, (size_t)len };
	const size_t size = redis_args_size(&keys, 1) + redis_args_size(argv, n);
	struct redis_call_msg *m;
	struct cx_buf *buf;

	cx_assert(key_count <= n && script < REDIS_SCRIPTS_MAX);
	if (size > REDIS_REQUEST_BYTES_MAX)
		return CX_EINVAL;
	buf = cx_buf_new(size);
	redis_args_write(redis_args_write(cx_buf_data(buf), &keys, 1), argv, n);
	m = new_call(ctx, buf, 1, timeout_ms);
	m->script = script + 1;
	m->args = n + 1;
	return cx_ask(ctx, redis, &m->hdr, timeout_ms, corr);
}

void redis_batch_add(struct redis_batch *batch, const struct redis_arg *argv, unsigned n)
{
	const size_t size = redis_request_size(argv, n);

	cx_assert(n > 0);
	if (batch->is_too_big || batch->len + size > REDIS_REQUEST_BYTES_MAX) {
		batch->is_too_big = true;
		return;
	}
	if (batch->len + size > batch->cap) {
		batch->cap = 2 * (batch->len + size);
		batch->at = realloc(batch->at, batch->cap);
		cx_assert(batch->at != NULL);
	}
	redis_request_write(batch->at + batch->len, argv, n);
	batch->len += size;
	batch->count++;
}

enum cx_err redis_batch_send(struct cx_ctx *ctx, struct cx_ref redis, struct redis_batch *batch,
                             uint32_t timeout_ms, uint64_t *corr)
{
	const bool is_valid =
		!batch->is_too_big && batch->count > 0 && batch->count <= REDIS_BATCH_MAX;
	const uint32_t count = batch->count;
	struct cx_buf *buf = is_valid ? cx_buf_copy(batch->at, batch->len) : NULL;

	batch->len = 0;
	batch->count = 0;
	batch->is_too_big = false;
	if (!is_valid)
		return CX_EINVAL;
	return cx_ask(ctx, redis, &new_call(ctx, buf, count, timeout_ms)->hdr, timeout_ms,
	              corr);
}

void redis_batch_free(struct redis_batch *batch)
{
	free(batch->at);
	*batch = (struct redis_batch){ 0 };
}
