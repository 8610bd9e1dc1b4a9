/* SPDX-License-Identifier: MIT */
/* Writes records to Kafka: idempotent, acks=all, each accepted record answered exactly once.
 *
 *   ask   kafka_produce          -> KAFKA_PRODUCED
 *         kafka_producer_close   -> KAFKA_PRODUCER_CLOSED
 *         kafka_producer_figures -> KAFKA_PRODUCER_FIGURES
 *
 * Order: what one caller asks for one topic and key is written in the order asked; after a
 * KAFKA_BUSY or KAFKA_NOT_WRITTEN the next one may still be written.  A topic of `spread` has no order:
 * its records go where the next batch goes, to one partition after the other, whatever their keys.
 * With n partitions that is one request to the broker where keys make up to n.
 * Gathering: records wait up to KAFKA_PRODUCER_LINGER_MS for company, but only when the rate makes
 * that pay (kafka_linger.h); and for the partition's last batch, when one is on its way.  A batch is
 * full, and waits for no company, at 16 times KAFKA_PRODUCER_BATCH_SIZE.
 * A fatal error of the library ends its client.  A new one is made and gets what surely was not
 * written, in order; what may have been written is answered KAFKA_UNKNOWN.
 *
 * It has a thread of its own: making, ending and feeding a new client block in the library, and
 * handing over a record takes the library's locks, against its own threads.  A worker must wait for
 * neither.  What it costs is one wake-up of that thread for each batch of records. */
#ifndef IO_KAFKA_PRODUCER_H
#define IO_KAFKA_PRODUCER_H

#include <cx/actor.h>

#include <construct/messages.h>

#include "io/kafka_conf.h"
#include "wire/slice.h"

#define KAFKA_PRODUCE_KEY_MAX 64
#define KAFKA_TOPICS_MAX 8

enum kafka_outcome {
	KAFKA_OK,          /* on disk as acks says */
	KAFKA_NOT_WRITTEN, /* surely; may be tried again */
	KAFKA_UNKNOWN,     /* it may have been written; trying again may write it twice */
	KAFKA_BUSY,        /* not taken: too much waits */
};

struct kafka_produced {
	struct cx_msg hdr;
	enum kafka_outcome outcome;
	int32_t partition; /* partition and offset with KAFKA_OK; offset -1: not told */
	int64_t offset;
};

struct kafka_producer_closed {
	struct cx_msg hdr;
	uint32_t not_written, unknown; /* answered so because the time was over */
};

struct kafka_producer_figures {
	struct cx_msg hdr;
	bool is_connected;  /* the last news was a report, not "all brokers are down" */
	uint32_t queued;    /* accepted and not answered */
	uint32_t gathering; /* of them not yet handed to the library */
	uint64_t queued_bytes;
	uint64_t oldest_ms; /* how long the oldest of them waits */
	uint32_t linger_ms; /* now */
	uint64_t written, not_written, unknown, busy;
	uint64_t batches;  /* handed to the library, one request each */
	uint64_t errors;   /* events of the library */
	uint64_t rebuilt;  /* clients ended by a fatal error */
	uint64_t replayed; /* records handed to a later client than the first */
};

struct kafka_producer_conf {
	struct cx_runtime *rt;
	const struct kafka_settings *settings;
	const char *topics[KAFKA_TOPICS_MAX]; /* kafka_produce names them by place */
	uint32_t topic_count;
	uint32_t spread; /* 1 << topic of those whose records may go to any partition */
};

/* Spawn with the address of a `const struct kafka_producer_conf *`; both live as long as the
 * runtime.  Ends at once with CX_EINVAL when kafka_check refuses the settings. */
extern const struct cx_actor_type kafka_producer_type;

/* Write one record.  buf = packed headers (kafka_record.h), headers_len bytes, 0: none; then the
 * value.  Keeps: a reference on buf until the answer.  Thread: any handler.
 * Answer: KAFKA_PRODUCED; or CX_MSG_ERROR (CX_ETIMEOUT: as KAFKA_UNKNOWN; CX_EGONE; CX_EINVAL: no
 * such topic, or the key is longer than KAFKA_PRODUCE_KEY_MAX).
 * Returns as cx_ask; CX_EFULL is as good as KAFKA_BUSY. */
CX_NODISCARD enum cx_err kafka_produce(struct cx_ctx *ctx, struct cx_ref producer,
                                       uint32_t topic, struct wire_slice key,
                                       uint32_t headers_len, struct cx_buf *buf,
                                       uint32_t timeout_ms, uint64_t *corr);

/* Take no more, wait up to flush_ms for reports, answer all, end the client.  The actor lives on and
 * answers KAFKA_NOT_WRITTEN.  Returns as cx_ask. */
CX_NODISCARD enum cx_err kafka_producer_close(struct cx_ctx *ctx, struct cx_ref producer,
                                              uint32_t flush_ms, uint64_t *corr);

CX_NODISCARD enum cx_err kafka_producer_figures(struct cx_ctx *ctx, struct cx_ref producer,
                                                uint32_t timeout_ms, uint64_t *corr);

struct kafka_produce_msg { /* hdr.buf = headers, value */
	struct cx_msg hdr;
	uint32_t headers_len;
	uint16_t topic, key_len; /* key_len beyond the key's room: refused */
	uint8_t key[KAFKA_PRODUCE_KEY_MAX];
};
struct kafka_producer_close_msg {
	struct cx_msg hdr;
	uint32_t flush_ms;
};

#endif
