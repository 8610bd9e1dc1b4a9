/* SPDX-License-Identifier: MIT */
/* 1. A batch is handed to the inbox whole and in order; nothing younger goes while an older one was
 *    refused.
 * 2. Answers come in the order of the asks (one inbox, one mailbox), so wakes do too.
 * 3. A lost answer loses a push at most: the entries are in the inbox, and connections read on at
 *    the next push or tick. */
#include "actors/partition.h"

#include <stdlib.h>
#include <string.h>

#include "actors/hub.h"
#include "io/inbox.h"
#include "io/log.h"
#include "wire/record.h"

#define ON_THE_WAY_MAX 16 /* asks */
#define ASK_TIMEOUT_MS 10000
#define RETRY_MS 2

struct waiting { /* a committed batch, not yet handed on completely */
	struct waiting *next;
	struct cx_buf *buf;
	size_t done; /* bytes of it */
};

struct partition {
	const struct relay *relay;
	uint32_t number;
	uint32_t on_the_way;
	struct waiting *first, *last;
	struct cx_timer retry;
};

static bool is_ours(const struct partition *p, const struct record *r)
{
	return (r->kind == RECORD_MESSAGE || r->kind == RECORD_RECEIPT ||
	        r->kind == RECORD_USER_GONE) &&
	       relay_home(p->relay, &r->owner) == p->number;
}

/* Fills m with our next records from w; *at: where to go on after it. */
static void gather(const struct partition *p, const struct waiting *w,
                   struct inbox_append_msg *m, size_t *at_byte)
{
	const uint8_t *base = cx_buf_bytes(w->buf);
	const uint8_t *end = base + cx_buf_len(w->buf);
	const uint8_t *at = base + w->done;
	const struct record *r;
	bool torn;

	while (m->count < INBOX_BATCH_MAX && (r = record_next(&at, end, &torn)) != NULL) {
		if (!is_ours(p, r))
			continue;
		m->items[m->count++] = (struct inbox_item){
			.owner = r->owner,
			.id = r->id,
			.offset = (uint32_t)((const uint8_t *)r - base),
			.len = r->frame_len,
			.kind = r->kind,
		};
	}
	*at_byte = (size_t)(at - base);
}

static void drop_first(struct partition *p)
{
	struct waiting *w = p->first;

	p->first = w->next;
	if (p->first == NULL)
		p->last = NULL;
	cx_buf_unref(w->buf);
	free(w);
}

/* Hands on what the limits allow. */
static void pump(struct cx_ctx *ctx, struct partition *p)
{
	while (p->first != NULL && p->on_the_way < ON_THE_WAY_MAX) {
		struct waiting *w = p->first;
		struct inbox_append_msg *m = inbox_append_new(ctx);
		uint64_t corr;
		size_t at;

		gather(p, w, m, &at);
		if (m->count == 0) {
			cx_msg_drop(&m->hdr);
		} else {
			m->hdr.buf = cx_buf_ref(w->buf);
			if (inbox_append(ctx, &p->relay->inbox, p->number, m, ASK_TIMEOUT_MS,
			                 &corr) != CX_OK) {
				cx_timer_arm(ctx, &p->retry, RETRY_MS, TIMER_A); /* inv. 1 */
				return;
			}
			p->on_the_way++;
		}
		w->done = at;
		if (w->done >= cx_buf_len(w->buf))
			drop_first(p);
	}
}

static void on_records(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct partition *p = state;
	struct waiting *w = calloc(1, sizeof(*w)); /* one a commit */

	cx_assert(w != NULL);
	w->buf = cx_buf_ref(msg->buf);
	if (p->last == NULL)
		p->first = w;
	else
		p->last->next = w;
	p->last = w;
	pump(ctx, p);
}

static void on_appended(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct partition *p = state;
	const enum cx_err err =
		hub_wake(ctx, p->relay, p->number, CX_MSG_AS(struct inbox_appended, msg));

	(void)err; /* inv. 3 */
	p->on_the_way--;
	pump(ctx, p);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct partition *p = state;

	(void)msg; /* inv. 3 */
	p->on_the_way--;
	pump(ctx, p);
}

static void on_retry(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)msg;
	pump(ctx, state);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	const struct partition_conf *c = conf;
	struct partition *p = state;

	(void)ctx;
	p->relay = c->relay;
	p->number = c->number;
	return CX_OK;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct partition *p = state;

	(void)ctx;
	while (p->first != NULL)
		drop_first(p);
}

static const struct cx_handler handlers[] = {
	CX_ON(LOG_RECORDS, struct log_records, on_records),
	CX_ON(INBOX_APPENDED, struct inbox_appended, on_appended),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
	CX_ON(TIMER_A, struct cx_msg_timer, on_retry),
};

const struct cx_actor_type partition_type = {
	.name = "partition",
	.state_size = sizeof(struct partition),
	.conf_size = sizeof(struct partition_conf),
	.mailbox_cap = 1024,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
