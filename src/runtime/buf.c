/* SPDX-License-Identifier: MIT */
#include <cx/buf.h>

#include <stdatomic.h>
#include <string.h>

#include <cx/actor.h>

#include "runtime/pool.h"

struct cx_buf {
	struct cx__pool *owner;
	_Atomic uint32_t refs;
	uint16_t cls;
	uint16_t unused;
	size_t len;
	_Alignas(8) uint8_t bytes[];
};

struct cx_buf *cx_buf_new(size_t len)
{
	struct cx__pool *pool = cx__pool_here();
	struct cx_buf *buf;
	uint16_t cls;

	if (len > SIZE_MAX - sizeof(*buf)) /* no sum with the head: none can be had */
		cx__out_of_memory("a buffer", len);
	buf = cx__pool_take(pool, sizeof(*buf) + len, &cls);
	buf->owner = pool;
	atomic_init(&buf->refs, 1);
	buf->cls = cls;
	buf->unused = 0;
	buf->len = len;
	return buf;
}

struct cx_buf *cx_buf_copy(const void *bytes, size_t len)
{
	struct cx_buf *buf = cx_buf_new(len);

	if (len > 0)
		memcpy(buf->bytes, bytes, len);
	return buf;
}

struct cx_buf *cx_buf_ref(struct cx_buf *buf)
{
	/* relaxed: whoever hands the buffer on orders it (mailbox push and drain) */
	if (buf != NULL)
		atomic_fetch_add_explicit(&buf->refs, 1, memory_order_relaxed);
	return buf;
}

void cx_buf_unref(struct cx_buf *buf)
{
	/* acq_rel: the last one sees all reads of the others done before it frees */
	if (buf == NULL || atomic_fetch_sub_explicit(&buf->refs, 1, memory_order_acq_rel) != 1)
		return;
	cx__pool_give(buf->owner, buf, buf->cls);
}

uint8_t *cx_buf_data(struct cx_buf *buf)
{
	return buf->bytes;
}

const uint8_t *cx_buf_bytes(const struct cx_buf *buf)
{
	return buf->bytes;
}

size_t cx_buf_len(const struct cx_buf *buf)
{
	return buf->len;
}

void cx_buf_trim(struct cx_buf *buf, size_t len)
{
	cx_assert(len <= buf->len);
	buf->len = len;
}
