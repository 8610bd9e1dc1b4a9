/* SPDX-License-Identifier: MIT */
/* Invariants:
 *  1. An outbox entry is told to XDEL only after each of its events was answered KAFKA_OK.
 *  2. An event in memory is in exactly one of: gathered, ready, flying.
 *  3. An answer that says not written, unknown or busy, or none, puts the event back into ready.
 *  4. What leaves memory without being written (spilled, stop) is still in the outbox. */
#include "actors/ack_batcher_internal.h"

#include <stdlib.h>

#define FLYING_MAX 4096   /* events told to the producer and not answered */
#define PRODUCE_MS 150000 /* longer than KAFKA_DELIVERY_TIMEOUT_MS is by default */
#define DELETE_MS 10000
#define DONE_MAX 65536 /* ids to be deleted; more are left to the sweep */
#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS 2000
#define SWEEP_AGE_MS 30000
#define FLUSH_MARGIN_MS 1000 /* the asker's deadline comes after ours */
#define WORKERS_MAX 64

struct line {
	_Alignas(64) struct ack_batcher_figures figures;
};

static struct line all[WORKERS_MAX];

void ack_batcher_figures(struct ack_batcher_figures *out)
{
	*out = (struct ack_batcher_figures){ 0 };
	for (unsigned w = 0; w < WORKERS_MAX; w++) /* pairs with ack_count */
		figures_add(out, &all[w].figures, sizeof(*out));
}

static uint32_t longer(uint32_t backoff_ms)
{
	if (backoff_ms == 0)
		return BACKOFF_FIRST_MS;
	return backoff_ms < BACKOFF_MAX_MS / 2 ? backoff_ms * 2 : BACKOFF_MAX_MS;
}

/* ---- in ---- */

uint32_t ack_take_in(struct ack_batcher *b, struct ack_place place, bool is_swept,
                     struct wire_slice bytes)
{
	const uint32_t entry = ack_entry_new(&b->queue, place, is_swept);
	struct ack_list *const to = is_swept ? &b->ready : &b->gathered;
	uint8_t key[ACK_KEY_LEN];
	struct wire_slice json;
	uint32_t n = 0;
	size_t at = 0;

	while (ack_events_next(bytes, &at, &json)) {
		if (ack_event_key(json, key)) {
			ack_list_push(to, ack_event_new(&b->queue, entry, json, key));
			n++;
		} else {
			ack_count(&b->figures->unreadable, 1);
		}
	}
	if (at < bytes.len)
		ack_count(&b->figures->unreadable, 1);
	ack_count(&b->figures->waiting, n);
	if (n == 0)
		ack_entry_free(&b->queue, entry);
	return n;
}

/* Fisher-Yates (Knuth, The Art of Computer Programming, 3.4.2, algorithm P). */
static void shuffle(struct cx_ctx *ctx, uint32_t *at, uint32_t n)
{
	for (uint32_t i = n; i > 1; i--) {
		/* the bias of % is below 2^-32 */
		const uint32_t j = (uint32_t)(cx_random(ctx) % i), was = at[i - 1];

		at[i - 1] = at[j];
		at[j] = was;
	}
}

static void release(struct cx_ctx *ctx, struct ack_batcher *b)
{
	struct ack_list *const g = &b->gathered;

	if (ack_list_count(g) == 0)
		return;
	cx_timer_cancel(ctx, &b->gather_timer);
	shuffle(ctx, g->at + g->head, ack_list_count(g));
	while (ack_list_count(g) > 0)
		ack_list_push(&b->ready, ack_list_pop(g));
}

static void on_add(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct ack_batcher *const b = state;
	const struct ack_batcher_add_msg *const m = CX_MSG_AS(struct ack_batcher_add_msg, msg);
	const struct ack_place place = { m->outbox_ms, m->outbox_seq };

	if (b->queue.event_count + m->count > ACK_BATCHER_WAITING_MAX) {
		ack_count(&b->figures->spilled, m->count);
		return;
	}
	if (msg->buf == NULL ||
	    ack_take_in(b, place, false,
	                wire_slice(cx_buf_bytes(msg->buf), cx_buf_len(msg->buf))) == 0) {
		ack_places_push(&b->done, place);
		return;
	}
	if (b->conf.buffer_ms > 0 && !b->is_flushing && !cx_timer_is_armed(&b->gather_timer))
		cx_timer_arm(ctx, &b->gather_timer, b->conf.buffer_ms, TIMER_A);
}

/* ---- out ---- */

static void again(struct cx_ctx *ctx, struct ack_batcher *b, uint32_t event)
{
	ack_list_push(&b->ready, event);
	ack_count(&b->figures->retried, 1);
	if (cx_timer_is_armed(&b->retry_timer))
		return;
	b->backoff_ms = longer(b->backoff_ms);
	cx_timer_arm(ctx, &b->retry_timer, b->backoff_ms, TIMER_B);
}

static void pump(struct cx_ctx *ctx, struct ack_batcher *b)
{
	while (ack_list_count(&b->ready) > 0 && b->queue.flying < FLYING_MAX &&
	       !cx_timer_is_armed(&b->retry_timer)) {
		const uint32_t event = ack_list_pop(&b->ready);
		const struct ack_event *const e = &b->queue.events[event];
		uint64_t corr;

		if (kafka_produce(ctx, b->conf.producer, b->conf.topic,
		                  wire_slice(e->key, ACK_KEY_LEN), 0, e->json, PRODUCE_MS,
		                  &corr) == CX_OK)
			ack_fly(&b->queue, event, corr);
		else
			again(ctx, b, event);
	}
}

static void written(struct cx_ctx *ctx, struct ack_batcher *b, uint32_t event)
{
	const uint32_t number = b->queue.events[event].entry;
	struct ack_entry *const entry = &b->queue.entries[number];

	ack_event_free(&b->queue, event);
	ack_count(&b->figures->waiting, UINT64_MAX);
	ack_count(&b->figures->written, 1);
	b->backoff_ms = 0;
	if (--entry->left > 0)
		return;
	if (entry->is_swept)
		ack_sweep_written(ctx, b);
	else if (b->done.count < DONE_MAX)
		ack_places_push(&b->done, entry->place);
	ack_entry_free(&b->queue, number);
}

/* Told to Redis in bulk: what is done while one answer is awaited goes with the next. */
static void delete_done(struct cx_ctx *ctx, struct ack_batcher *b)
{
	const struct ack_places was = b->sent;

	if (b->done.count == 0 || b->delete_corr != 0 || cx_timer_is_armed(&b->delete_timer))
		return;
	b->sent = b->done;
	b->done = was;
	b->done.count = 0;
	ack_delete(b, b->conf.instance, &b->sent);
	if (redis_batch_send(ctx, b->conf.redis, &b->batch, DELETE_MS, &b->delete_corr) !=
	    CX_OK) {
		b->delete_corr = 0;
		for (uint32_t i = 0; i < b->sent.count; i++)
			ack_places_push(&b->done, b->sent.at[i]);
		b->sent.count = 0;
		b->delete_backoff_ms = longer(b->delete_backoff_ms);
		cx_timer_arm(ctx, &b->delete_timer, b->delete_backoff_ms, TIMER_B);
	}
}

/* ---- the end ---- */

static void answer_flush(struct cx_ctx *ctx, struct ack_batcher *b)
{
	struct ack_batcher_flushed *const m =
		CX_MSG_NEW(ctx, ACK_BATCHER_FLUSHED, struct ack_batcher_flushed);

	m->left = b->queue.event_count;
	cx_answer(ctx, b->flusher, &m->hdr);
	b->flusher.corr = 0;
	cx_timer_cancel(ctx, &b->limit_timer);
}

static void on_flush(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct ack_batcher *const b = state;

	if (b->flusher.corr != 0)
		answer_flush(ctx, b);
	b->is_flushing = true;
	b->flusher = cx_caller_of(msg);
	cx_timer_arm(ctx, &b->limit_timer,
	             CX_MSG_AS(struct ack_batcher_flush_msg, msg)->limit_ms, TIMER_A);
}

/* ---- answers, time ---- */

static void on_produced(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct ack_batcher *const b = state;
	const uint32_t event = ack_land(&b->queue, msg->corr);

	if (event == ACK_NONE)
		return;
	if (CX_MSG_AS(struct kafka_produced, msg)->outcome == KAFKA_OK)
		written(ctx, b, event);
	else
		again(ctx, b, event);
}

static void deleted(struct cx_ctx *ctx, struct ack_batcher *b, const struct cx_buf *reply)
{
	b->delete_corr = 0;
	if (reply == NULL || !ack_is_without_error(reply)) { /* twice does no harm */
		for (uint32_t i = 0; i < b->sent.count && b->done.count < DONE_MAX; i++)
			ack_places_push(&b->done, b->sent.at[i]);
		b->delete_backoff_ms = longer(b->delete_backoff_ms);
		cx_timer_arm(ctx, &b->delete_timer, b->delete_backoff_ms, TIMER_B);
	} else {
		b->delete_backoff_ms = 0;
	}
	b->sent.count = 0;
}

static void answered(struct cx_ctx *ctx, struct ack_batcher *b, uint64_t corr,
                     const struct cx_buf *reply)
{
	if (corr == b->delete_corr)
		deleted(ctx, b, reply);
	else if (corr == b->sweep.corr)
		ack_sweep_go_on(ctx, b, reply);
}

static void on_redis(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const bool is_answered = CX_MSG_AS(struct redis_reply, msg)->outcome == REDIS_ANSWERED;

	answered(ctx, state, msg->corr, is_answered ? msg->buf : NULL);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct ack_batcher *const b = state;
	const uint32_t event = ack_land(&b->queue, msg->corr);

	if (event != ACK_NONE)
		again(ctx, b, event);
	else
		answered(ctx, b, msg->corr, NULL);
}

static void on_time(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct ack_batcher *const b = state;
	const struct cx_timer *const timer = CX_MSG_AS(struct cx_msg_timer, msg)->timer;

	if (timer == &b->gather_timer) {
		release(ctx, b);
	} else if (timer == &b->limit_timer) {
		if (b->flusher.corr != 0)
			answer_flush(ctx, b);
	} else if (timer == &b->adopt_timer) {
		cx_timer_arm(ctx, &b->adopt_timer, b->conf.adopt_ms, TIMER_C);
		if (!b->is_flushing)
			ack_sweep_begin(ctx, b);
	} /* else it is time to try again, which batch_end does */
}

static void batch_end(struct cx_ctx *ctx, void *state)
{
	struct ack_batcher *const b = state;

	if (b->conf.buffer_ms == 0 || b->is_flushing)
		release(ctx, b);
	pump(ctx, b);
	delete_done(ctx, b);
	if (b->flusher.corr != 0 && b->queue.event_count == 0 && b->done.count == 0 &&
	    b->delete_corr == 0)
		answer_flush(ctx, b);
}

/* ---- life ---- */

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct ack_batcher *const b = state;

	b->conf = *(const struct ack_batcher_conf *)conf;
	if (b->conf.sweep_age_ms == 0)
		b->conf.sweep_age_ms = SWEEP_AGE_MS;
	cx_assert(cx_worker_index(ctx) < WORKERS_MAX);
	b->figures = &all[cx_worker_index(ctx)].figures;
	ack_queue_init(&b->queue);
	if (b->conf.adopt_ms > 0)
		cx_timer_arm(ctx, &b->adopt_timer, 0, TIMER_C);
	return CX_OK;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct ack_batcher *const b = state;

	if (b->figures == NULL)
		return;
	if (b->flusher.corr != 0)
		answer_flush(ctx, b);
	ack_count(&b->figures->waiting, UINT64_MAX - b->queue.event_count + 1);
	ack_queue_free(&b->queue);
	free(b->gathered.at);
	free(b->ready.at);
	free(b->done.at);
	free(b->sent.at);
	free(b->sweep.places.at);
	redis_batch_free(&b->batch);
}

static const struct cx_handler handlers[] = {
	CX_ON(ACK_BATCHER_ADD, struct ack_batcher_add_msg, on_add),
	CX_ON(ACK_BATCHER_FLUSH, struct ack_batcher_flush_msg, on_flush),
	CX_ON(KAFKA_PRODUCED, struct kafka_produced, on_produced),
	CX_ON(REDIS_REPLY, struct redis_reply, on_redis),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
	CX_ON(TIMER_A, struct cx_msg_timer, on_time),
	CX_ON(TIMER_B, struct cx_msg_timer, on_time),
	CX_ON(TIMER_C, struct cx_msg_timer, on_time),
};

const struct cx_actor_type ack_batcher_type = {
	.name = "ack_batcher",
	.state_size = sizeof(struct ack_batcher),
	.conf_size = sizeof(struct ack_batcher_conf),
	.mailbox_cap = 4096,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.batch_end = batch_end,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

/* ---- senders ---- */

enum cx_err ack_batcher_add(struct cx_ctx *ctx, struct cx_ref batcher, struct cx_buf *events,
                            uint32_t count, uint64_t outbox_ms, uint64_t outbox_seq)
{
	struct ack_batcher_add_msg *const m =
		CX_MSG_NEW(ctx, ACK_BATCHER_ADD, struct ack_batcher_add_msg);

	m->hdr.buf = cx_buf_ref(events);
	m->count = count;
	m->outbox_ms = outbox_ms;
	m->outbox_seq = outbox_seq;
	return cx_send_reserved(ctx, batcher, &m->hdr);
}

enum cx_err ack_batcher_flush(struct cx_ctx *ctx, struct cx_ref batcher, uint32_t limit_ms,
                              uint64_t *corr)
{
	struct ack_batcher_flush_msg *const m =
		CX_MSG_NEW(ctx, ACK_BATCHER_FLUSH, struct ack_batcher_flush_msg);

	m->limit_ms = limit_ms;
	return cx_ask(ctx, batcher, &m->hdr, limit_ms + FLUSH_MARGIN_MS, corr);
}
