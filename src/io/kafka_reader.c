/* SPDX-License-Identifier: MIT */
/* 1. The ends are asked for before the beginnings: of a partition without a record that late all
 *    below the end is passed over, and what comes meanwhile lies behind it and is read.
 * 2. A partition is read when its position is at its end, or the library says that it ends there:
 *    offsets may have gaps. */
#include "io/kafka_reader.h"

#include <stdio.h>
#include <stdlib.h>

#include <librdkafka/rdkafka.h>

#include <cx/actor.h>

#define ANSWER_MS 10000

struct place {
	int64_t begin, position, end;
};

struct kafka_reader {
	struct kafka_opaque opaque; /* first */
	const char *topic;
	rd_kafka_t *rk;
	struct place *places; /* by partition */
	int count;
};

/* ---- where it begins and ends ---- */

/* -1: no answer. */
static int count_partitions(struct kafka_reader *r)
{
	rd_kafka_topic_t *const topic = rd_kafka_topic_new(r->rk, r->topic, NULL);
	const struct rd_kafka_metadata *metadata = NULL;
	int count = -1;

	if (topic != NULL && rd_kafka_metadata(r->rk, 0, topic, &metadata, ANSWER_MS) ==
	                             RD_KAFKA_RESP_ERR_NO_ERROR) {
		const struct rd_kafka_metadata_topic *const t = metadata->topics;

		if (metadata->topic_cnt == 1 && t->err == RD_KAFKA_RESP_ERR_NO_ERROR)
			count = t->partition_cnt;
		else if (metadata->topic_cnt == 1 &&
		         t->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
			count = 0;
		rd_kafka_metadata_destroy(metadata);
	}
	if (topic != NULL)
		rd_kafka_topic_destroy(topic);
	return count;
}

bool kafka_reader_extend(struct kafka_reader *r)
{
	for (int i = 0; i < r->count; i++) {
		int64_t low, high;

		if (rd_kafka_query_watermark_offsets(r->rk, r->topic, i, &low, &high,
		                                     ANSWER_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
			return false;
		r->places[i].begin = low;
		r->places[i].end = high;
	}
	return true;
}

static bool find_begin(struct kafka_reader *r, rd_kafka_topic_partition_list_t *list,
                       int64_t since_ms)
{
	if (since_ms > 0 && list->cnt > 0 &&
	    rd_kafka_offsets_for_times(r->rk, list, ANSWER_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return false;
	for (int i = 0; i < list->cnt; i++) {
		rd_kafka_topic_partition_t *const at = &list->elems[i];
		struct place *const p = &r->places[at->partition];

		if (at->err != RD_KAFKA_RESP_ERR_NO_ERROR)
			return false;
		if (since_ms <= 0)
			at->offset = p->begin;
		else if (at->offset < 0) /* none that late (inv. 1) */
			at->offset = p->end;
		p->position = at->offset;
	}
	return true;
}

static bool begin(struct kafka_reader *r, int64_t since_ms)
{
	rd_kafka_topic_partition_list_t *list;
	bool is_well;

	r->count = count_partitions(r);
	if (r->count < 0)
		return false;
	r->places = calloc((size_t)r->count + 1, sizeof(*r->places));
	cx_assert(r->places != NULL);
	list = rd_kafka_topic_partition_list_new(r->count + 1);
	for (int i = 0; i < r->count; i++)
		rd_kafka_topic_partition_list_add(list, r->topic, i)->offset = since_ms;
	is_well = kafka_reader_extend(r) && find_begin(r, list, since_ms) &&
	          rd_kafka_assign(r->rk, list) == RD_KAFKA_RESP_ERR_NO_ERROR;
	rd_kafka_topic_partition_list_destroy(list);
	return is_well;
}

/* ---- life ---- */

void kafka_reader_free(struct kafka_reader *r)
{
	if (r == NULL)
		return;
	if (r->rk != NULL)
		rd_kafka_destroy(r->rk);
	free(r->places);
	free(r);
}

struct kafka_reader *kafka_reader_new(const struct kafka_settings *s, const char *topic,
                                      int64_t since_ms, char *error, size_t len)
{
	struct kafka_reader *const r = calloc(1, sizeof(*r));
	rd_kafka_conf_t *conf;

	cx_assert(r != NULL);
	r->opaque.settings = s;
	r->topic = topic;
	conf = kafka_conf_consumer(&r->opaque, error, len);
	if (conf == NULL)
		goto free_reader;
	if (rd_kafka_conf_set(conf, "enable.partition.eof", "true", error, len) ==
	    RD_KAFKA_CONF_OK)
		r->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, len);
	if (r->rk == NULL) {
		rd_kafka_conf_destroy(conf);
		goto free_reader;
	}
	rd_kafka_poll_set_consumer(r->rk);
	if (begin(r, since_ms))
		return r;
	snprintf(error, len, "a broker did not answer");
free_reader:
	kafka_reader_free(r);
	return NULL;
}

/* ---- reading ---- */

static bool is_at_end(const struct kafka_reader *r)
{
	for (int i = 0; i < r->count; i++)
		if (r->places[i].position < r->places[i].end)
			return false;
	return true;
}

static void take_one(struct kafka_reader *r, const rd_kafka_message_t *m,
                     kafka_reader_take_fn take, void *arg)
{
	struct place *const p = &r->places[m->partition];

	if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
		take(arg, wire_slice(m->payload, m->len));
		p->position = m->offset + 1;
	} else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && m->offset > p->position) {
		p->position = m->offset; /* inv. 2 */
	}
}

enum kafka_read kafka_reader_turn(struct kafka_reader *r, unsigned most, int wait_ms,
                                  kafka_reader_take_fn take, void *arg)
{
	for (unsigned n = 0; n < most; n++) {
		rd_kafka_message_t *const m =
			rd_kafka_consumer_poll(r->rk, n == 0 ? wait_ms : 0);

		if (m == NULL)
			break;
		/* Other errors are news of a connection: the library makes it again. */
		if (m->partition >= 0 && m->partition < r->count)
			take_one(r, m, take, arg);
		rd_kafka_message_destroy(m);
	}
	if (rd_kafka_fatal_error(r->rk, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return KAFKA_READ_BROKEN;
	return is_at_end(r) ? KAFKA_READ_END : KAFKA_READ_MORE;
}
