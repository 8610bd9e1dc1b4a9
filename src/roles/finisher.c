/* SPDX-License-Identifier: MIT */
/* 1. Events first: the producer that they need is closed after them.
 * 2. `done` is posted once, whoever does not answer: each ask has its deadline. */
#include "roles/finisher.h"

#include <construct/messages.h>

#include "actors/ack_batcher.h"
#include "io/kafka_consumer.h"
#include "io/kafka_producer.h"

#define MARGIN_MS 500

struct finisher {
	struct finisher_conf conf;
	uint32_t waiting; /* answers of this step */
	bool is_closing;  /* the second step */
	bool is_done;
};

static void close_clients(struct cx_ctx *ctx, struct finisher *f)
{
	const uint32_t timeout_ms = f->conf.limit_ms + MARGIN_MS;
	uint64_t corr;

	f->is_closing = true;
	if (f->conf.consumer != NULL &&
	    kafka_consumer_close(ctx, *f->conf.consumer, timeout_ms, &corr) == CX_OK)
		f->waiting++;
	if (f->conf.producer != NULL &&
	    kafka_producer_close(ctx, *f->conf.producer, f->conf.limit_ms, &corr) == CX_OK)
		f->waiting++;
}

static void go_on(struct cx_ctx *ctx, struct finisher *f)
{
	if (f->waiting == 0 && !f->is_closing)
		close_clients(ctx, f);
	if (f->waiting > 0 || f->is_done)
		return;
	f->is_done = true;
	sem_post(f->conf.done);
}

static void on_finish(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct finisher *f = state;
	uint64_t corr;

	(void)msg;
	for (uint32_t i = 0; f->conf.batchers != NULL && i < f->conf.batcher_count; i++)
		if (ack_batcher_flush(ctx, f->conf.batchers[i], f->conf.limit_ms, &corr) ==
		    CX_OK)
			f->waiting++;
	go_on(ctx, f);
}

static void on_answer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct finisher *f = state;

	(void)msg;
	if (f->waiting > 0)
		f->waiting--;
	go_on(ctx, f);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	((struct finisher *)state)->conf = *(const struct finisher_conf *)conf;
	return CX_OK;
}

static const struct cx_handler handlers[] = {
	CX_ON(ROLE_FINISH, struct cx_msg, on_finish),
	CX_ON(ACK_BATCHER_FLUSHED, struct ack_batcher_flushed, on_answer),
	CX_ON(KAFKA_CONSUMER_CLOSED, struct kafka_consumer_closed, on_answer),
	CX_ON(KAFKA_PRODUCER_CLOSED, struct kafka_producer_closed, on_answer),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_answer),
};

const struct cx_actor_type finisher_type = {
	.name = "finisher",
	.state_size = sizeof(struct finisher),
	.conf_size = sizeof(struct finisher_conf),
	.mailbox_cap = 64,
	.placement = CX_PLACE_IO,
	.start = start,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

enum cx_err finisher_post(struct cx_runtime *rt, struct cx_ref finisher)
{
	return cx_post(rt, finisher, cx_post_new(ROLE_FINISH, sizeof(struct cx_msg)));
}
