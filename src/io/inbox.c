/* SPDX-License-Identifier: MIT */
#include "io/inbox.h"

static struct cx_ref shard_of(const struct inbox *inbox, const struct uuid *owner)
{
	return inbox->shards[uuid_hash(owner) % inbox->count];
}

struct inbox_append_msg *inbox_append_new(struct cx_ctx *ctx)
{
	return CX_MSG_NEW(ctx, INBOX_APPEND, struct inbox_append_msg);
}

enum cx_err inbox_append(struct cx_ctx *ctx, const struct inbox *inbox, uint32_t shard,
                         struct inbox_append_msg *m, uint32_t timeout_ms, uint64_t *corr)
{
	return cx_ask(ctx, inbox->shards[shard], &m->hdr, timeout_ms, corr);
}

enum cx_err inbox_read(struct cx_ctx *ctx, const struct inbox *inbox, const struct uuid *owner,
                       uint64_t after, uint32_t max_bytes, uint32_t timeout_ms, uint64_t *corr)
{
	struct inbox_read_msg *m = CX_MSG_NEW(ctx, INBOX_READ, struct inbox_read_msg);

	m->owner = *owner;
	m->after = after;
	m->max_bytes = max_bytes;
	return cx_ask(ctx, shard_of(inbox, owner), &m->hdr, timeout_ms, corr);
}

enum cx_err inbox_settle(struct cx_ctx *ctx, const struct inbox *inbox,
                         const struct uuid *owner, const struct uuid *key,
                         const struct uuid *from, uint32_t timeout_ms, uint64_t *corr)
{
	struct inbox_settle_msg *m = CX_MSG_NEW(ctx, INBOX_SETTLE, struct inbox_settle_msg);

	m->owner = *owner;
	m->key = *key;
	if (from != NULL) {
		m->has_from = 1;
		m->from = *from;
	}
	return cx_ask(ctx, shard_of(inbox, owner), &m->hdr, timeout_ms, corr);
}

enum cx_err inbox_receipts_done(struct cx_ctx *ctx, const struct inbox *inbox,
                                const struct uuid *owner, uint64_t upto)
{
	struct inbox_receipts_done_msg *m =
		CX_MSG_NEW(ctx, INBOX_RECEIPTS_DONE, struct inbox_receipts_done_msg);

	m->owner = *owner;
	m->upto = upto;
	return cx_send(ctx, shard_of(inbox, owner), &m->hdr);
}

struct inbox_learn_msg *inbox_learn_new(struct cx_ctx *ctx)
{
	return CX_MSG_NEW(ctx, INBOX_LEARN, struct inbox_learn_msg);
}

enum cx_err inbox_learn(struct cx_ctx *ctx, const struct inbox *inbox, uint32_t shard,
                        struct inbox_learn_msg *m)
{
	return cx_send(ctx, inbox->shards[shard], &m->hdr);
}

enum cx_err inbox_presence(struct cx_ctx *ctx, const struct inbox *inbox,
                           const struct uuid *owner, bool is_present)
{
	struct inbox_presence_msg *m =
		CX_MSG_NEW(ctx, INBOX_PRESENCE, struct inbox_presence_msg);

	m->owner = *owner;
	m->is_present = is_present;
	return cx_send_reserved(ctx, shard_of(inbox, owner), &m->hdr);
}

void inbox_answer_read(struct cx_ctx *ctx, struct cx_caller caller, struct cx_buf *records,
                       uint32_t count, uint64_t next, bool has_more)
{
	struct inbox_entries *m = CX_MSG_NEW(ctx, INBOX_ENTRIES, struct inbox_entries);

	m->hdr.buf = records;
	m->count = count;
	m->next = next;
	m->more = has_more;
	cx_answer(ctx, caller, &m->hdr);
}

void inbox_fail_read(struct cx_ctx *ctx, struct cx_caller caller, uint64_t after)
{
	struct inbox_entries *m = CX_MSG_NEW(ctx, INBOX_ENTRIES, struct inbox_entries);

	m->next = after;
	m->failed = 1;
	cx_answer(ctx, caller, &m->hdr);
}

void inbox_answer_settle(struct cx_ctx *ctx, struct cx_caller caller,
                         enum inbox_outcome outcome)
{
	struct inbox_settled *m = CX_MSG_NEW(ctx, INBOX_SETTLED, struct inbox_settled);

	m->outcome = outcome;
	cx_answer(ctx, caller, &m->hdr);
}
