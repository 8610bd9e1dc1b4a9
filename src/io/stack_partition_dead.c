/* SPDX-License-Identifier: MIT */
#include "io/stack_partition_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/kafka_producer.h"
#include "io/kafka_record.h"

#define VALUE_MAX (512u * 1024u) /* with headers it must fit where the record itself did */
#define PRODUCE_MS 60000
#define HEADERS 4

void stack_dead_add(struct stack_batch *b, size_t at, const char *reason)
{
	struct stack_dead *const dead =
		realloc(b->dead, (b->dead_count + 1) * sizeof(*dead)); /* rare */

	cx_assert(dead != NULL);
	dead[b->dead_count++] = (struct stack_dead){ .at = at, .reason = reason };
	b->dead = dead;
	b->dead_left++;
}

static enum cx_err produce(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p,
                           struct stack_batch *b, struct stack_dead *dead)
{
	char partition[16], offset[24];
	struct kafka_record r;
	struct {
		const char *name;
		struct wire_slice value;
	} h[HEADERS];
	size_t at = dead->at, headers_len = 0, len;
	struct cx_buf *buf;
	enum cx_err err;
	uint8_t *to;

	if (!kafka_record_next(cx_buf_bytes(b->buf), b->end, &at, &r))
		return CX_EINVAL;
	snprintf(partition, sizeof(partition), "%" PRId32, p->number);
	snprintf(offset, sizeof(offset), "%" PRId64, r.offset);
	h[0].name = "source-topic";
	h[0].value = wire_text(s->settings->message_topic);
	h[1].name = "source-partition";
	h[1].value = wire_text(partition);
	h[2].name = "source-offset";
	h[2].value = wire_text(offset);
	h[3].name = "reason";
	h[3].value = wire_text(dead->reason);
	for (unsigned i = 0; i < HEADERS; i++)
		headers_len += kafka_header_size(h[i].name, h[i].value);
	len = r.value.len < VALUE_MAX ? r.value.len : VALUE_MAX;
	buf = cx_buf_new(headers_len + len);
	to = cx_buf_data(buf);
	for (unsigned i = 0; i < HEADERS; i++) {
		kafka_header_write(to, h[i].name, h[i].value);
		to += kafka_header_size(h[i].name, h[i].value);
	}
	if (len > 0)
		memcpy(to, r.value.at, len);
	if (r.key.len > KAFKA_PRODUCE_KEY_MAX)
		r.key.len = KAFKA_PRODUCE_KEY_MAX;
	err = kafka_produce(ctx, s->conf.producer, s->settings->dead_letter_topic, r.key,
	                    (uint32_t)headers_len, buf, PRODUCE_MS, &dead->corr);
	cx_buf_unref(buf);
	return err;
}

bool stack_dead_ask(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p,
                    struct stack_batch *b)
{
	bool is_asked = true;

	for (uint32_t i = 0; i < b->dead_count; i++) {
		struct stack_dead *const dead = &b->dead[i];

		if (!dead->is_written && dead->corr == 0 &&
		    produce(ctx, s, p, b, dead) != CX_OK) {
			dead->corr = 0;
			is_asked = false;
		}
	}
	return is_asked;
}

bool stack_dead_answered(struct stack_partition *s, struct stack_batch *b, uint64_t corr,
                         bool is_written)
{
	for (uint32_t i = 0; i < b->dead_count; i++) {
		struct stack_dead *const dead = &b->dead[i];

		if (dead->corr != corr)
			continue;
		dead->corr = 0;
		dead->is_written = is_written;
		b->dead_left -= is_written;
		stack_partition_count(&s->figures->dead_letters, is_written);
		return true;
	}
	return false;
}
