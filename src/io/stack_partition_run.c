/* SPDX-License-Identifier: MIT */
/* 1. Batches of a partition are asked in order, up to ASKED_MAX are under way in Redis (those that
 *    wait are joined: much of what a call costs it costs but once), and they finish in order:
 *    kafka_done says the end of the contiguous prefix whose entries are in Redis and whose dead
 *    letters are written.
 * 2. After a failure nothing younger of the partition is asked before the failed one; what was under
 *    way behind it is done again too (its fence keeps it from having had an effect before, see
 *    stack_partition_script.c).
 * 3. Nothing is pushed or said done of an epoch that has ended: its batches and asks go at once. */
#include "io/stack_partition_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#include <cx/log.h>

#include "io/kafka_consumer.h"
#include "io/kafka_record.h"

#define UNFINISHED_MAX 8 /* batches of a partition, from asked to finished */
#define ASKED_MAX 2      /* of them under way in Redis: what comes meanwhile goes together */
#define TURN_MAX 2       /* asked in one turn: making one up takes a millisecond or two */
#define BYTES_ASKED_MAX (16u * 1024u * 1024u)
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 2000

void stack_part_wake_at(struct cx_ctx *ctx, struct stack_partition *s, uint64_t at_ms)
{
	const uint64_t now_ms = cx_now_ms(ctx);

	if (cx_timer_is_armed(&s->timer) && s->timer_ms <= at_ms)
		return;
	s->timer_ms = at_ms;
	cx_timer_arm(ctx, &s->timer, at_ms > now_ms ? at_ms - now_ms : 0, TIMER_A);
}

/* ---- batches ---- */

static void batch_free(struct cx_ctx *ctx, struct stack_partition *s, struct stack_batch *b)
{
	if (b->state == STACK_BATCH_ASKED)
		cx_ask_cancel(ctx, b->corr);
	for (uint32_t i = 0; i < b->dead_count; i++)
		if (b->dead[i].corr != 0)
			cx_ask_cancel(ctx, b->dead[i].corr);
	stack_work_drop(s, b);
	cx_buf_unref(b->buf);
	free(b->dead);
	free(b);
}

/* All that is known of the partition's present epoch goes (inv. 3). */
void stack_part_drop(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p)
{
	while (p->first != NULL) {
		struct stack_batch *const b = p->first;

		p->first = b->next;
		batch_free(ctx, s, b);
	}
	if (p->look_corr != 0)
		cx_ask_cancel(ctx, p->look_corr);
	p->look_corr = 0;
	p->last = NULL;
	p->asked = 0;
	p->is_doubted = false;
	p->state = STACK_PART_IDLE;
}

static void append_batch(struct stack_part *p, struct cx_buf *buf, size_t at, size_t end,
                         uint32_t count, int64_t next_offset)
{
	struct stack_batch *const b = calloc(1, sizeof(*b)); /* one for hundreds of records */

	cx_assert(b != NULL);
	b->buf = cx_buf_ref(buf);
	b->at = at;
	b->end = end;
	b->count = count;
	b->next_offset = next_offset;
	if (p->last == NULL)
		p->first = b;
	else
		p->last->next = b;
	p->last = b;
}

void stack_part_add(struct stack_part *p, const struct kafka_records *m)
{
	const size_t len = cx_buf_len(m->hdr.buf);
	size_t at = 0, from = 0, last = 0;
	struct kafka_record r;
	uint32_t count = 0;

	for (; kafka_record_next(cx_buf_bytes(m->hdr.buf), len, &at, &r); last = at) {
		if (count == STACK_BATCH_RECORDS ||
		    (count > 0 && at - from > STACK_BATCH_BYTES)) {
			append_batch(p, m->hdr.buf, from, last, count, r.offset);
			from = last;
			count = 0;
		}
		count++;
	}
	append_batch(p, m->hdr.buf, from, len, count, m->next_offset);
}

/* ---- failure ---- */

void stack_part_fall(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p)
{
	p->state = STACK_PART_FALLEN;
	p->backoff_ms = p->backoff_ms == 0 ? BACKOFF_MIN_MS : p->backoff_ms * 2;
	if (p->backoff_ms > BACKOFF_MAX_MS)
		p->backoff_ms = BACKOFF_MAX_MS;
	p->retry_ms = cx_now_ms(ctx) + p->backoff_ms;
	stack_part_wake_at(ctx, s, p->retry_ms);
}

/* A try of this batch has failed; it and all behind it wait again (inv. 2). */
void stack_part_fail(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p,
                     struct stack_batch *failed)
{
	for (struct stack_batch *b = failed; b != NULL; b = b->next) {
		if (b->state == STACK_BATCH_WAITING)
			continue;
		if (b->state == STACK_BATCH_ASKED) {
			cx_ask_cancel(
				ctx,
				b->corr); /* one connection: it cannot come after the next */
			stack_work_drop(s, b);
			p->asked--;
		}
		b->state = STACK_BATCH_WAITING;
		if (b->next_offset > p->look_below)
			p->look_below = b->next_offset;
	}
	if (failed->next_offset > p->look_below)
		p->look_below = failed->next_offset;
	stack_batch_forget(s);
	stack_partition_count(&s->figures->failures, 1);
	stack_part_fall(ctx, s, p);
}

/* ---- going on ---- */

void stack_part_finish(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p)
{
	const int64_t before = p->done_to;

	while (p->first != NULL && p->first->state == STACK_BATCH_DONE &&
	       p->first->dead_left == 0) {
		struct stack_batch *const b = p->first;

		p->done_to = b->next_offset;
		p->first = b->next;
		if (p->first == NULL)
			p->last = NULL;
		batch_free(ctx, s, b);
	}
	if (p->done_to != before &&
	    kafka_done(ctx, s->conf.consumer, 0, p->number, p->epoch, p->done_to) != CX_OK)
		cx_log(CX_WARN, "stack.consumer_gone", "partition=%" PRId32, p->number);
}

/* Nothing points into its buffer. */
static bool is_untried(const struct stack_batch *b)
{
	return b->state == STACK_BATCH_WAITING && !b->is_read && b->dead_count == 0;
}

/* Whether b can go on behind len bytes and count records. */
static bool is_joinable(const struct stack_batch *b, size_t len, uint32_t count)
{
	return b != NULL && is_untried(b) && count + b->count <= STACK_BATCH_RECORDS &&
	       len + (b->end - b->at) <= STACK_BATCH_BYTES;
}

/* What waits behind b becomes part of it, as far as there is room: records are copied once. */
static void join(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p,
                 struct stack_batch *b)
{
	size_t len = b->end - b->at, at = len;
	struct stack_batch *end = b->next;
	struct cx_buf *buf;

	for (; is_untried(b) && is_joinable(end, len, b->count); end = end->next) {
		len += end->end - end->at;
		b->count += end->count;
		b->next_offset = end->next_offset;
	}
	if (end == b->next)
		return;
	buf = cx_buf_new(len);
	memcpy(cx_buf_data(buf), (const uint8_t *)cx_buf_bytes(b->buf) + b->at, at);
	while (b->next != end) {
		struct stack_batch *const more = b->next;
		const size_t size = more->end - more->at;

		memcpy((uint8_t *)cx_buf_data(buf) + at,
		       (const uint8_t *)cx_buf_bytes(more->buf) + more->at, size);
		at += size;
		b->next = more->next;
		batch_free(ctx, s, more);
	}
	if (end == NULL)
		p->last = b;
	cx_buf_unref(b->buf);
	b->buf = buf;
	b->at = 0;
	b->end = len;
}

void stack_part_pump(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p)
{
	unsigned n = 0, asked = 0;

	if (p->state != STACK_PART_RUNNING)
		return;
	if (p->is_doubted && p->asked == 0) {
		stack_part_look(ctx, s, p);
		return;
	}
	for (struct stack_batch *b = p->first; b != NULL && n < UNFINISHED_MAX;
	     b = b->next, n++) {
		if (b->state != STACK_BATCH_WAITING)
			continue;
		if (p->is_doubted || p->asked == ASKED_MAX || asked == TURN_MAX ||
		    s->bytes_asked > BYTES_ASKED_MAX)
			return; /* the next reply goes on */
		asked++;
		join(ctx, s, p, b);
		if (!stack_batch_ask(ctx, s, p, b)) {
			stack_part_fail(ctx, s, p, b);
			return;
		}
		b->state = STACK_BATCH_ASKED;
		p->asked++;
		memcpy(p->fence, b->fence, sizeof(p->fence));
		if (!stack_dead_ask(ctx, s, p, b))
			stack_part_wake_at(ctx, s, cx_now_ms(ctx) + STACK_DEAD_RETRY_MS);
	}
}
