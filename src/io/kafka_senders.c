/* SPDX-License-Identifier: MIT */
/* The typed senders of the Kafka adapters. */
#include <string.h>

#include "io/kafka_consumer.h"
#include "io/kafka_producer.h"

#define CLOSE_MS 5000 /* to take back what the library still has, and to end it */

/* ---- producer ---- */

enum cx_err kafka_produce(struct cx_ctx *ctx, struct cx_ref producer, uint32_t topic,
                          struct wire_slice key, uint32_t headers_len, struct cx_buf *buf,
                          uint32_t timeout_ms, uint64_t *corr)
{
	struct kafka_produce_msg *const m =
		CX_MSG_NEW(ctx, KAFKA_PRODUCE, struct kafka_produce_msg);

	m->hdr.buf = cx_buf_ref(buf);
	m->headers_len = headers_len;
	m->topic = topic < KAFKA_TOPICS_MAX ? (uint16_t)topic : KAFKA_TOPICS_MAX;
	m->key_len = key.len > sizeof(m->key) ? UINT16_MAX : (uint16_t)key.len;
	if (key.len <= sizeof(m->key) && key.len > 0)
		memcpy(m->key, key.at, key.len);
	return cx_ask(ctx, producer, &m->hdr, timeout_ms, corr);
}

enum cx_err kafka_producer_close(struct cx_ctx *ctx, struct cx_ref producer, uint32_t flush_ms,
                                 uint64_t *corr)
{
	struct kafka_producer_close_msg *const m =
		CX_MSG_NEW(ctx, KAFKA_PRODUCER_CLOSE, struct kafka_producer_close_msg);

	m->flush_ms = flush_ms;
	return cx_ask(ctx, producer, &m->hdr, flush_ms + CLOSE_MS, corr);
}

enum cx_err kafka_producer_figures(struct cx_ctx *ctx, struct cx_ref producer,
                                   uint32_t timeout_ms, uint64_t *corr)
{
	return cx_ask(ctx, producer,
	              cx_msg_new(ctx, KAFKA_PRODUCER_ASK_FIGURES, sizeof(struct cx_msg)),
	              timeout_ms, corr);
}

/* ---- consumer ---- */

static enum cx_err tell(struct cx_ctx *ctx, struct cx_ref consumer, uint32_t type,
                        uint32_t topic, int32_t partition, uint32_t epoch, int64_t next_offset)
{
	struct kafka_place *const m = CX_MSG_NEW(ctx, type, struct kafka_place);

	m->topic = topic;
	m->partition = partition;
	m->epoch = epoch;
	m->next_offset = next_offset;
	return cx_send_reserved(ctx, consumer, &m->hdr);
}

enum cx_err kafka_done(struct cx_ctx *ctx, struct cx_ref consumer, uint32_t topic,
                       int32_t partition, uint32_t epoch, int64_t next_offset)
{
	return tell(ctx, consumer, KAFKA_DONE, topic, partition, epoch, next_offset);
}

enum cx_err kafka_revoked_done(struct cx_ctx *ctx, struct cx_ref consumer, uint32_t topic,
                               int32_t partition, uint32_t epoch, int64_t next_offset)
{
	return tell(ctx, consumer, KAFKA_REVOKED_DONE, topic, partition, epoch, next_offset);
}

enum cx_err kafka_seek(struct cx_ctx *ctx, struct cx_ref consumer, uint32_t topic,
                       int32_t partition, uint32_t epoch, int64_t next_offset)
{
	return tell(ctx, consumer, KAFKA_SEEK, topic, partition, epoch, next_offset);
}

enum cx_err kafka_consumer_close(struct cx_ctx *ctx, struct cx_ref consumer,
                                 uint32_t timeout_ms, uint64_t *corr)
{
	return cx_ask(ctx, consumer,
	              cx_msg_new(ctx, KAFKA_CONSUMER_CLOSE, sizeof(struct cx_msg)), timeout_ms,
	              corr);
}

enum cx_err kafka_consumer_figures(struct cx_ctx *ctx, struct cx_ref consumer,
                                   uint32_t timeout_ms, uint64_t *corr)
{
	return cx_ask(ctx, consumer,
	              cx_msg_new(ctx, KAFKA_CONSUMER_ASK_FIGURES, sizeof(struct cx_msg)),
	              timeout_ms, corr);
}
