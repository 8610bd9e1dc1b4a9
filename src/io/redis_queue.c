/* SPDX-License-Identifier: MIT */
#include "io/redis_queue.h"

#include <stdlib.h>

#include "io/redis_figures.h"

#define PINGS_MAX 2 /* places beside commands_max */
#define SWEEP_MS 100

static struct redis_entry *entry_at(const struct redis_queue *q, uint32_t i)
{
	return &q->ring[i & q->mask];
}

/* Its place in the queue is given up by the caller. */
static void release(struct redis_queue *q, struct redis_entry *e)
{
	if (e->kind == REDIS_ENTRY_PING) {
		q->pings--;
	} else if (e->kind != REDIS_ENTRY_DEAD) {
		q->commands -= e->count;
		q->bytes -= cx_buf_len(e->buf);
		redis_count(&q->figures->in_flight, -(uint64_t)e->count);
		cx_buf_unref(e->buf);
	}
	e->kind = REDIS_ENTRY_DEAD;
	e->buf = NULL;
}

static bool is_late(const struct redis_entry *e, uint64_t now_ms)
{
	return e->kind != REDIS_ENTRY_PING && e->kind != REDIS_ENTRY_DEAD &&
	       now_ms > e->deadline_ms;
}

void redis_queue_init(struct redis_queue *q, uint32_t commands_max, size_t bytes_max,
                      struct redis_figures *figures)
{
	uint32_t places = 16;

	while (places < commands_max + PINGS_MAX)
		places *= 2;
	*q = (struct redis_queue){ .mask = places - 1,
		                   .commands_max = commands_max,
		                   .bytes_max = bytes_max,
		                   .figures = figures };
	q->ring = calloc(places, sizeof(*q->ring));
	cx_assert(q->ring != NULL);
}

/* While nothing is sent, those whose time is up must not keep others out. */
static void sweep(struct cx_ctx *ctx, struct redis_queue *q)
{
	const uint64_t now_ms = cx_now_ms(ctx);
	uint32_t kept = q->mid;

	if (now_ms - q->swept_ms < SWEEP_MS)
		return;
	q->swept_ms = now_ms;
	for (uint32_t i = q->mid; i != q->tail; i++) {
		struct redis_entry *e = entry_at(q, i);

		if (is_late(e, now_ms)) {
			release(q, e);
			redis_count(&q->figures->late, 1);
		} else {
			*entry_at(q, kept++) = *e;
		}
	}
	q->tail = kept;
}

static bool has_room(const struct redis_queue *q, uint32_t commands, size_t bytes)
{
	return q->commands + commands <= q->commands_max && q->bytes + bytes <= q->bytes_max &&
	       q->tail - q->head <= q->mask - PINGS_MAX; /* the dead have places too */
}

enum cx_err redis_queue_push(struct cx_ctx *ctx, struct redis_queue *q,
                             const struct redis_call_msg *msg)
{
	const size_t bytes = cx_buf_len(msg->hdr.buf);

	if (!has_room(q, msg->count, bytes))
		sweep(ctx, q);
	if (!has_room(q, msg->count, bytes)) {
		redis_count(&q->figures->refused, msg->count);
		return CX_EFULL;
	}
	*entry_at(q, q->tail++) = (struct redis_entry){
		.caller = cx_caller_of(&msg->hdr),
		.buf = cx_buf_ref(msg->hdr.buf),
		.deadline_ms = cx_now_ms(ctx) + msg->timeout_ms,
		.count = msg->count,
		.left = msg->count,
		.script = msg->script,
		.args = msg->args,
		.kind = msg->script > 0 ? REDIS_ENTRY_EVALSHA : REDIS_ENTRY_CALL,
	};
	q->commands += msg->count;
	q->bytes += bytes;
	redis_count(&q->figures->in_flight, msg->count);
	return CX_OK;
}

void redis_queue_push_ping(struct redis_queue *q)
{
	if (q->pings == PINGS_MAX)
		return;
	cx_assert(q->tail - q->head <= q->mask);
	*entry_at(q, q->tail++) =
		(struct redis_entry){ .kind = REDIS_ENTRY_PING, .count = 1, .left = 1 };
	q->pings++;
}

struct redis_entry *redis_queue_waiting(struct cx_ctx *ctx, struct redis_queue *q)
{
	const uint64_t now_ms = cx_now_ms(ctx);

	for (; q->mid != q->tail; q->mid++) {
		struct redis_entry *e = entry_at(q, q->mid);

		if (!is_late(e, now_ms))
			return e;
		release(q, e);
		redis_count(&q->figures->late, 1);
	}
	return NULL;
}

void redis_queue_staged(struct redis_queue *q)
{
	cx_assert(q->mid != q->tail);
	q->mid++;
}

struct redis_entry *redis_queue_head(struct redis_queue *q)
{
	while (q->head != q->mid && entry_at(q, q->head)->kind == REDIS_ENTRY_DEAD)
		q->head++;
	return q->head != q->mid ? entry_at(q, q->head) : NULL;
}

void redis_queue_pop(struct redis_queue *q)
{
	cx_assert(q->head != q->mid);
	release(q, entry_at(q, q->head));
	q->head++;
}

void redis_queue_again(struct redis_queue *q, enum redis_entry_kind kind)
{
	struct redis_entry again = *entry_at(q, q->head);

	cx_assert(q->head != q->mid);
	again.kind = kind;
	q->head++; /* so that there is a place */
	*entry_at(q, q->tail++) = again;
}

static void answer_lost(struct cx_ctx *ctx, struct redis_queue *q, const struct redis_entry *e)
{
	struct redis_reply *m;

	if (e->kind == REDIS_ENTRY_PING || e->kind == REDIS_ENTRY_DEAD)
		return;
	m = CX_MSG_NEW(ctx, REDIS_REPLY, struct redis_reply);
	m->outcome = REDIS_LOST;
	m->count = e->count;
	cx_answer(ctx, e->caller, &m->hdr);
	redis_count(&q->figures->lost, e->count);
}

void redis_queue_lose(struct cx_ctx *ctx, struct redis_queue *q, uint64_t sent)
{
	struct redis_entry *e;

	while ((e = redis_queue_head(q)) != NULL && e->at < sent) {
		answer_lost(ctx, q, e);
		redis_queue_pop(q);
	}
	q->mid = q->head;
}

void redis_queue_free(struct cx_ctx *ctx, struct redis_queue *q, uint64_t sent)
{
	redis_queue_lose(ctx, q, sent);
	for (; q->head != q->tail; q->head++) {
		struct redis_entry *e = entry_at(q, q->head);

		if (e->kind != REDIS_ENTRY_PING && e->kind != REDIS_ENTRY_DEAD)
			cx_answer_error(ctx, e->caller, CX_EGONE);
		release(q, e);
	}
	free(q->ring);
	q->ring = NULL;
}
