/* SPDX-License-Identifier: MIT */
/* Encoding happens on the caller's worker: the adapter hands the bytes to the library as they are. */
#include "io/postgres_request.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

const uint8_t *postgres_int64(int64_t v, uint8_t out[8])
{
	const uint64_t big = htobe64((uint64_t)v);

	memcpy(out, &big, sizeof(big));
	return out;
}

/* ---- asking ---- */

/* Saturates over the limit instead of wrapping. */
static size_t call_size(const struct postgres_param *params, unsigned n)
{
	size_t size = 2 * sizeof(uint32_t);

	for (unsigned i = 0; i < n; i++) {
		if (params[i].len > POSTGRES_ASK_BYTES_MAX)
			return POSTGRES_ASK_BYTES_MAX + 1;
		size += sizeof(uint32_t) + params[i].len;
	}
	return size;
}

static uint8_t *put(uint8_t *to, const void *bytes, size_t len)
{
	if (len > 0)
		memcpy(to, bytes, len);
	return to + len;
}

static uint8_t *put_u32(uint8_t *to, uint32_t v)
{
	return put(to, &v, sizeof(v));
}

static uint8_t *call_write(uint8_t *to, unsigned statement, const struct postgres_param *params,
                           unsigned n)
{
	to = put_u32(put_u32(to, statement), n);
	for (unsigned i = 0; i < n; i++) {
		if (params[i].at == NULL) {
			to = put_u32(to, POSTGRES_LEN_NULL);
			continue;
		}
		to = put_u32(to, (uint32_t)params[i].len);
		to = put(to, params[i].at, params[i].len);
	}
	return to;
}

static enum cx_err send_ask(struct cx_ctx *ctx, struct cx_ref pg, struct cx_buf *buf,
                            uint32_t count, uint32_t timeout_ms, uint64_t *corr)
{
	struct postgres_ask_msg *const m =
		CX_MSG_NEW(ctx, POSTGRES_ASK, struct postgres_ask_msg);

	m->hdr.buf = buf;
	m->count = count;
	m->timeout_ms = timeout_ms;
	return cx_ask(ctx, pg, &m->hdr, timeout_ms, corr);
}

enum cx_err postgres_ask(struct cx_ctx *ctx, struct cx_ref pg, unsigned statement,
                         const struct postgres_param *params, unsigned n, uint32_t timeout_ms,
                         uint64_t *corr)
{
	size_t size;
	struct cx_buf *buf;
	const uint8_t *end;

	cx_assert(n <= POSTGRES_PARAMS_MAX);
	size = call_size(params, n);
	if (size > POSTGRES_ASK_BYTES_MAX)
		return CX_EINVAL;
	buf = cx_buf_new(size);
	end = call_write(cx_buf_data(buf), statement, params, n);
	cx_buf_trim(buf, (size_t)(end - cx_buf_bytes(buf)));
	return send_ask(ctx, pg, buf, 1, timeout_ms, corr);
}

void postgres_batch_add(struct postgres_batch *batch, unsigned statement,
                        const struct postgres_param *params, unsigned n)
{
	size_t size;

	cx_assert(n <= POSTGRES_PARAMS_MAX);
	size = call_size(params, n);
	if (batch->is_too_big || batch->len + size > POSTGRES_ASK_BYTES_MAX) {
		batch->is_too_big = true;
		return;
	}
	if (batch->len + size > batch->cap) {
		batch->cap = 2 * (batch->len + size);
		batch->at = realloc(batch->at, batch->cap);
		cx_assert(batch->at != NULL);
	}
	batch->len =
		(size_t)(call_write(batch->at + batch->len, statement, params, n) - batch->at);
	batch->count++;
}

enum cx_err postgres_batch_send(struct cx_ctx *ctx, struct cx_ref pg,
                                struct postgres_batch *batch, uint32_t timeout_ms,
                                uint64_t *corr)
{
	const bool is_valid =
		!batch->is_too_big && batch->count > 0 && batch->count <= POSTGRES_BATCH_MAX;
	const uint32_t count = batch->count;
	struct cx_buf *const buf = is_valid ? cx_buf_copy(batch->at, batch->len) : NULL;

	batch->len = 0;
	batch->count = 0;
	batch->is_too_big = false;
	if (!is_valid)
		return CX_EINVAL;
	return send_ask(ctx, pg, buf, count, timeout_ms, corr);
}

void postgres_batch_free(struct postgres_batch *batch)
{
	free(batch->at);
	*batch = (struct postgres_batch){ 0 };
}

/* ---- walking ---- */

static bool take(struct postgres_walk *walk, void *out, size_t len)
{
	if ((size_t)(walk->end - walk->at) < len)
		return false;
	memcpy(out, walk->at, len);
	walk->at += len;
	return true;
}

struct postgres_walk postgres_walk_start(const struct cx_buf *buf)
{
	const uint8_t *const at = buf != NULL ? cx_buf_bytes(buf) : NULL;

	return (struct postgres_walk){ at, buf != NULL ? at + cx_buf_len(buf) : NULL, 0 };
}

bool postgres_walk_value(struct postgres_walk *walk, struct postgres_value *out)
{
	uint32_t len;

	*out = (struct postgres_value){ NULL, 0 };
	if (walk->values == 0 || !take(walk, &len, sizeof(len)))
		return false;
	walk->values--;
	if (len == POSTGRES_LEN_NULL)
		return true;
	if ((size_t)(walk->end - walk->at) < len)
		return false;
	*out = (struct postgres_value){ walk->at, len };
	walk->at += len;
	return true;
}

bool postgres_walk_answer(struct postgres_walk *walk, struct postgres_answer *out)
{
	struct postgres_value passed;

	while (postgres_walk_value(walk, &passed))
		;
	*out = (struct postgres_answer){ 0, 0, 0 };
	if (!take(walk, &out->rows, sizeof(out->rows)) ||
	    !take(walk, &out->columns, sizeof(out->columns)) ||
	    !take(walk, &out->affected, sizeof(out->affected)))
		return false;
	walk->values = (uint64_t)out->rows * out->columns;
	return true;
}

bool postgres_call_next(struct postgres_walk *walk, struct postgres_call *out)
{
	if (!take(walk, &out->statement, sizeof(out->statement)) ||
	    !take(walk, &out->n, sizeof(out->n)) || out->n > POSTGRES_PARAMS_MAX)
		return false;
	walk->values = out->n;
	for (uint32_t i = 0; i < out->n; i++) {
		struct postgres_value value;

		if (!postgres_walk_value(walk, &value))
			return false;
		/* length 0 is not NULL: the library tells them apart by the pointer */
		out->at[i] = (const char *)value.at;
		out->len[i] = (int)value.len;
	}
	return true;
}
