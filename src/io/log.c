/* SPDX-License-Identifier: MIT */
#include "io/log.h"

enum cx_err log_append(struct cx_ctx *ctx, struct cx_ref log, const struct uuid *owner,
                       const struct uuid *peer, const struct uuid *key, uint32_t key_case,
                       struct cx_buf *frame, uint32_t timeout_ms, uint64_t *corr)
{
	struct log_append_msg *const m = CX_MSG_NEW(ctx, LOG_APPEND, struct log_append_msg);

	m->hdr.buf = cx_buf_ref(frame);
	m->owner = *owner;
	m->peer = *peer;
	m->key = *key;
	m->key_case = key_case;
	m->timeout_ms = timeout_ms;
	return cx_ask(ctx, log, &m->hdr, timeout_ms, corr);
}

enum cx_err log_settle(struct cx_ctx *ctx, struct cx_ref log, const struct uuid *owner,
                       uint64_t id, uint32_t frame_len, const struct uuid *peer,
                       struct cx_buf *receipt, uint32_t timeout_ms, uint64_t *corr)
{
	struct log_settle_msg *const m = CX_MSG_NEW(ctx, LOG_SETTLE, struct log_settle_msg);

	m->hdr.buf = cx_buf_ref(receipt);
	m->owner = *owner;
	m->id = id;
	m->frame_len = frame_len;
	if (peer != NULL)
		m->peer = *peer;
	return cx_ask(ctx, log, &m->hdr, timeout_ms, corr);
}

enum cx_err log_receipts_done(struct cx_ctx *ctx, struct cx_ref log, const struct uuid *owner,
                              uint64_t upto)
{
	struct log_receipts_done_msg *const m =
		CX_MSG_NEW(ctx, LOG_RECEIPTS_DONE, struct log_receipts_done_msg);

	m->owner = *owner;
	m->upto = upto;
	return cx_send(ctx, log, &m->hdr);
}

enum cx_err log_index(struct cx_ctx *ctx, struct cx_ref reader, const struct uuid *owner,
                      uint32_t timeout_ms, uint64_t *corr)
{
	struct log_index_msg *const m = CX_MSG_NEW(ctx, LOG_INDEX, struct log_index_msg);

	m->owner = *owner;
	return cx_ask(ctx, reader, &m->hdr, timeout_ms, corr);
}

enum cx_err log_fetch(struct cx_ctx *ctx, struct cx_ref reader, const struct uuid *owner,
                      uint64_t after, uint32_t max_bytes, uint32_t timeout_ms, uint64_t *corr)
{
	struct log_fetch_msg *const m = CX_MSG_NEW(ctx, LOG_FETCH, struct log_fetch_msg);

	m->owner = *owner;
	m->after = after;
	m->max_bytes = max_bytes;
	return cx_ask(ctx, reader, &m->hdr, timeout_ms, corr);
}
