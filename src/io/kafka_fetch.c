/* SPDX-License-Identifier: MIT */
/* 1. Every record that the library gives is handed on (or read again, behind a seek): it counts it as read.
 * 2. A record is copied and destroyed at once: a kept one would pin its whole fetch.
 * 3. Records stand in scratch within one turn only. */
#include "io/kafka_consumer_state.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include <cx/io.h>
#include <cx/log.h>

#include "io/kafka_record.h"

#define TURN_RECORDS 2000 /* then other messages (kafka_done, ...) get their turn */
#define HEADERS_MAX 2048  /* what a record's headers may take; more are left away */
#define SEEK_MS 1000
#define COMMIT_LOST_MS 10000

struct kafka_partition *kafka_fetch_find(const struct kafka_consumer *c, uint32_t topic,
                                         int32_t number)
{
	struct kafka_partition *p = c->partitions;

	while (p != NULL && (p->topic != topic || p->number != number))
		p = p->next;
	return p;
}

static struct kafka_partition *find_by_name(const struct kafka_consumer *c, const char *topic,
                                            int32_t number)
{
	for (uint32_t t = 0; t < c->conf->topic_count; t++)
		if (strcmp(c->conf->topics[t], topic) == 0)
			return kafka_fetch_find(c, t, number);
	return NULL;
}

/* A list with just this partition, the caller's. */
static rd_kafka_topic_partition_list_t *just(const struct kafka_consumer *c,
                                             const struct kafka_partition *p, int64_t offset)
{
	rd_kafka_topic_partition_list_t *const list = rd_kafka_topic_partition_list_new(1);

	rd_kafka_topic_partition_list_add(list, c->conf->topics[p->topic], p->number)->offset =
		offset;
	return list;
}

/* ---- credits ---- */

static void pause_if_unpaid(struct kafka_consumer *c, struct kafka_partition *p)
{
	rd_kafka_topic_partition_list_t *list;

	if (p->is_paused || p->unpaid_bytes < c->conf->credit_bytes)
		return;
	list = just(c, p, 0);
	p->is_paused = rd_kafka_pause_partitions(c->rk, list) == RD_KAFKA_RESP_ERR_NO_ERROR;
	c->figures.pauses += p->is_paused;
	rd_kafka_topic_partition_list_destroy(list);
}

static void resume_if_paid(struct kafka_consumer *c, struct kafka_partition *p)
{
	rd_kafka_topic_partition_list_t *list;

	if (!p->is_paused || p->unpaid_bytes > c->conf->credit_bytes / 2 || c->rk == NULL)
		return;
	list = just(c, p, 0);
	p->is_paused = rd_kafka_resume_partitions(c->rk, list) != RD_KAFKA_RESP_ERR_NO_ERROR;
	rd_kafka_topic_partition_list_destroy(list);
}

void kafka_fetch_done(struct kafka_consumer *c, struct kafka_partition *p, int64_t next_offset)
{
	kafka_partition_done(p, next_offset);
	resume_if_paid(c, p);
}

/* ---- records ---- */

static void send_records(struct cx_ctx *ctx, struct kafka_consumer *c,
                         struct kafka_partition *p, struct cx_buf *buf, uint32_t count,
                         int64_t first, int64_t next)
{
	struct kafka_records *const m = CX_MSG_NEW(ctx, KAFKA_RECORDS, struct kafka_records);

	c->figures.batches++;
	c->figures.records += count;
	c->figures.bytes += cx_buf_len(buf);
	kafka_partition_sent(p, next, cx_buf_len(buf));
	p->moved_ms = cx_now_ms(ctx);
	m->hdr.buf = buf;
	m->topic = p->topic;
	m->partition = p->number;
	m->epoch = p->epoch;
	m->count = count;
	m->first_offset = first;
	m->next_offset = next;
	if (cx_send_reserved(ctx, p->owner, &m->hdr) != CX_OK)
		cx_log(CX_WARN, "kafka.owner_gone", "partition=%d", p->number);
	pause_if_unpaid(c, p);
}

static void flush(struct cx_ctx *ctx, struct kafka_consumer *c)
{
	if (c->scratch_count == 0)
		return;
	/* An exact copy: a batch that waits at its owner's pins what it holds, not more. */
	send_records(ctx, c, c->scratch_of, cx_buf_copy(c->scratch, c->scratch_used),
	             c->scratch_count, c->scratch_first, c->scratch_next);
	c->scratch_count = 0;
	c->scratch_used = 0;
	c->scratch_of = NULL;
}

static bool is_wanted(const struct kafka_consumer *c, const char *name)
{
	if (c->conf->headers == NULL)
		return true;
	for (uint32_t i = 0; i < c->conf->header_count; i++)
		if (strcmp(c->conf->headers[i], name) == 0)
			return true;
	return false;
}

static size_t pack_headers(const struct kafka_consumer *c, const rd_kafka_message_t *m,
                           uint8_t *out)
{
	rd_kafka_headers_t *headers;
	const char *name;
	const void *value;
	size_t len, used = 0;

	if (rd_kafka_message_headers(m, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return 0;
	for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &len) == 0; i++) {
		const struct wire_slice slice = wire_slice(value, len);

		if (!is_wanted(c, name) || strlen(name) > UINT8_MAX ||
		    used + kafka_header_size(name, slice) > HEADERS_MAX)
			continue;
		kafka_header_write(out + used, name, slice);
		used += kafka_header_size(name, slice);
	}
	return used;
}

static void take_record(struct cx_ctx *ctx, struct kafka_consumer *c, struct kafka_partition *p,
                        const rd_kafka_message_t *m)
{
	uint8_t headers[HEADERS_MAX];
	const struct kafka_record record = {
		.offset = m->offset,
		.timestamp_ms = rd_kafka_message_timestamp(m, NULL),
		.key = wire_slice(m->key, m->key_len),
		.headers = wire_slice(headers, pack_headers(c, m, headers)),
		.value = wire_slice(m->payload, m->len),
	};
	const size_t size = kafka_record_size(&record);

	if (c->scratch_of != p || c->scratch_used + size > KAFKA_SCRATCH_BYTES)
		flush(ctx, c);
	if (size > KAFKA_SCRATCH_BYTES) {
		struct cx_buf *const buf = cx_buf_new(size);

		kafka_record_write(cx_buf_data(buf), &record);
		send_records(ctx, c, p, buf, 1, m->offset, m->offset + 1);
		return;
	}
	kafka_record_write(c->scratch + c->scratch_used, &record);
	if (c->scratch_count == 0)
		c->scratch_first = m->offset;
	c->scratch_of = p;
	c->scratch_used += size;
	c->scratch_count++;
	c->scratch_next = m->offset + 1;
	/* Flushed here so that a partition is paused as soon as its credit is used up. */
	if (p->unpaid_bytes + c->scratch_used >= c->conf->credit_bytes)
		flush(ctx, c);
}

static void take_error(struct kafka_consumer *c, const rd_kafka_message_t *m)
{
	c->figures.errors++;
	/* The client does not fetch a partition again that was away for a moment, and hangs when it
	 * is closed. */
	if (rd_kafka_fatal_error(c->rk, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR ||
	    m->err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
	    m->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		c->is_broken = true;
	cx_log(CX_WARN, "kafka.consumer_error", "err=%s partition=%d",
	       rd_kafka_err2name(m->err), m->partition);
}

/* What a seek left behind is dropped by the client.  So below where we are means that the topic was made
 * anew, or cut and reset: from here on it is read like one that was never seen. */
static void begin_anew(struct kafka_partition *p, int64_t offset)
{
	cx_log(CX_WARN, "kafka.partition_went_back",
	       "partition=%d position=%" PRId64 " offset=%" PRId64, p->number, p->position,
	       offset);
	p->seek_to = offset;
}

bool kafka_fetch_turn(struct cx_ctx *ctx, struct kafka_consumer *c)
{
	rd_kafka_message_t *m = NULL;
	uint32_t n;

	for (n = 0; n < TURN_RECORDS && c->rebalance == NULL; n++) {
		struct kafka_partition *p;

		m = rd_kafka_consumer_poll(c->rk, 0);
		if (m == NULL)
			break;
		p = m->rkt == NULL ? NULL
		                   : find_by_name(c, rd_kafka_topic_name(m->rkt), m->partition);
		if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR)
			take_error(c, m);
		else if (p != NULL && p->seek_to < 0 && m->offset >= p->position)
			take_record(ctx, c, p, m);
		else if (p != NULL && p->seek_to < 0)
			begin_anew(p, m->offset);
		rd_kafka_message_destroy(m);
	}
	flush(ctx, c);
	return n < TURN_RECORDS;
}

/* ---- commits ---- */

bool kafka_fetch_is_committed(const struct kafka_consumer *c)
{
	for (const struct kafka_partition *p = c->partitions; p != NULL; p = p->next)
		if (p->done >= 0 && p->done != p->committed)
			return false;
	return true;
}

void kafka_fetch_commit(struct cx_ctx *ctx, struct kafka_consumer *c)
{
	rd_kafka_topic_partition_list_t *list;

	if (c->is_committing && cx_now_ms(ctx) - c->committing_ms < COMMIT_LOST_MS)
		return;
	list = rd_kafka_topic_partition_list_new(8);
	for (const struct kafka_partition *p = c->partitions; p != NULL; p = p->next)
		if (p->done >= 0 && p->done != p->committed)
			rd_kafka_topic_partition_list_add(list, c->conf->topics[p->topic],
			                                  p->number)
				->offset = p->done;
	cx_io_flush();
	if (list->cnt > 0 && rd_kafka_commit_queue(c->rk, list, c->commit_queue, NULL, NULL) ==
	                             RD_KAFKA_RESP_ERR_NO_ERROR) {
		c->is_committing = true;
		c->committing_ms = cx_now_ms(ctx);
	}
	rd_kafka_topic_partition_list_destroy(list);
}

static void take_commit(struct kafka_consumer *c, rd_kafka_event_t *event)
{
	const rd_kafka_resp_err_t err = rd_kafka_event_error(event);
	const rd_kafka_topic_partition_list_t *const list =
		rd_kafka_event_topic_partition_list(event);

	c->is_committing = false;
	if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
		c->figures.commit_errors++; /* the next commit says it again */
		cx_log(CX_WARN, "kafka.commit_failed", "err=%s", rd_kafka_err2name(err));
		return;
	}
	c->figures.commits++;
	for (int i = 0; list != NULL && i < list->cnt; i++) {
		struct kafka_partition *const p =
			find_by_name(c, list->elems[i].topic, list->elems[i].partition);

		if (p != NULL && list->elems[i].err == RD_KAFKA_RESP_ERR_NO_ERROR)
			p->committed = list->elems[i].offset;
	}
}

static uint64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void kafka_fetch_committed(struct kafka_consumer *c, uint64_t wait_ms)
{
	const uint64_t until_ms = clock_ms() + wait_ms;

	for (;;) {
		const uint64_t now_ms = clock_ms();
		const bool shall_wait = c->is_committing && now_ms < until_ms;
		rd_kafka_event_t *const event = rd_kafka_queue_poll(
			c->commit_queue, shall_wait ? (int)(until_ms - now_ms) : 0);

		if (event == NULL && !shall_wait)
			return;
		if (event != NULL && rd_kafka_event_type(event) == RD_KAFKA_EVENT_OFFSET_COMMIT)
			take_commit(c, event);
		if (event != NULL)
			rd_kafka_event_destroy(event);
	}
}

/* ---- seeks ---- */

void kafka_fetch_tell_assigned(struct cx_ctx *ctx, const struct kafka_partition *p,
                               int64_t next_offset)
{
	struct kafka_assigned *const m = CX_MSG_NEW(ctx, KAFKA_ASSIGNED, struct kafka_assigned);

	m->topic = p->topic;
	m->partition = p->number;
	m->epoch = p->epoch;
	m->next_offset = next_offset;
	if (cx_send_reserved(ctx, p->owner, &m->hdr) != CX_OK)
		cx_log(CX_WARN, "kafka.owner_gone", "partition=%d", p->number);
}

void kafka_fetch_seek(struct cx_ctx *ctx, struct kafka_consumer *c, struct kafka_partition *p)
{
	rd_kafka_topic_partition_list_t *const list = just(c, p, p->seek_to);
	rd_kafka_error_t *error;
	bool is_moved;

	/* A paused partition would go on where it was paused. */
	if (p->is_paused)
		p->is_paused = rd_kafka_resume_partitions(c->rk, list) != 0;
	list->elems[0].offset = p->seek_to;
	error = rd_kafka_seek_partitions(c->rk, list, SEEK_MS);
	is_moved = error == NULL && list->elems[0].err == RD_KAFKA_RESP_ERR_NO_ERROR;
	if (error != NULL)
		rd_kafka_error_destroy(error);
	rd_kafka_topic_partition_list_destroy(list);
	if (!is_moved) {
		c->figures.errors++;
		return;
	}
	c->figures.seeks++;
	kafka_partition_restart(p, p->seek_to, ++c->epoch);
	p->moved_ms = cx_now_ms(ctx);
	kafka_fetch_tell_assigned(ctx, p, p->position);
}
