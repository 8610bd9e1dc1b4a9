/* SPDX-License-Identifier: MIT */
#include "io/stack_receipts_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOKUP_MS 10000
#define LETTER_MS 150000       /* longer than KAFKA_DELIVERY_TIMEOUT_MS is by default */
#define OLD_KEY "sender_hash:" /* of older servers (storage.md 3): without a prefix */

void rcpt_job_free(struct rcpt_job *job)
{
	cx_buf_unref(job->buf);
	free(job);
}

/* ---- records in ---- */

static void take_letter(struct rcpt_job *job, const struct kafka_record *record,
                        const char *reason)
{
	job->letters[job->letter_count++] =
		(struct rcpt_letter){ .record = *record, .reason = reason };
}

void rcpt_take(struct stack_receipts *s, struct rcpt_job *job,
               const struct kafka_record *record, int64_t wall_ms)
{
	const struct stack_settings *const set = s->conf.settings;
	struct rcpt_receipt *const r = &job->receipts[job->receipt_count];
	enum delivery_fault fault = DELIVERY_NOT_JSON;
	struct delivery_event e;

	if (record->value.at != NULL)
		fault = delivery_event_read(set->key, record->value, &e);
	if (fault != DELIVERY_OK) {
		take_letter(job, record, delivery_fault_text(fault));
		return;
	}
	if (set->delivery_expiry_ms > 0 &&
	    e.delivered_at < (wall_ms - set->delivery_expiry_ms) / 1000) {
		rcpt_count(&s->figures->expired, 1);
		return;
	}
	*r = (struct rcpt_receipt){
		.sender = e.sender,
		.message = e.message,
		.message_case = e.message_case,
		.is_hashed = !e.has_route,
		.next = RCPT_NONE,
	};
	memcpy(r->sender_hash, e.sender_hash, HASH_LEN);
	job->has_hashed |= r->is_hashed;
	job->receipt_count++;
}

/* ---- asks ---- */

static struct rcpt_ask **bucket_of(struct stack_receipts *s, uint64_t corr)
{
	/* multiplicative hashing: Knuth, The Art of Computer Programming, 6.4 */
	return &s->buckets[(corr * UINT64_C(0x9e3779b97f4a7c15)) >> 54 & (RCPT_BUCKETS - 1)];
}

static void wait_for(struct stack_receipts *s, struct rcpt_job *job, struct rcpt_ask *ask,
                     uint64_t corr, enum rcpt_what what, uint16_t index)
{
	struct rcpt_ask **const at = bucket_of(s, corr);

	*ask = (struct rcpt_ask){
		.next = *at, .job = job, .corr = corr, .what = what, .index = index
	};
	*at = ask;
	job->pending++;
}

static struct rcpt_ask *take_ask(struct stack_receipts *s, uint64_t corr)
{
	struct rcpt_ask **at = bucket_of(s, corr);
	struct rcpt_ask *ask;

	while (*at != NULL && (*at)->corr != corr)
		at = &(*at)->next;
	ask = *at;
	if (ask != NULL)
		*at = ask->next;
	return ask;
}

/* ---- senders of older events ---- */

static void ask_senders(struct cx_ctx *ctx, struct stack_receipts *s, struct rcpt_job *job)
{
	uint64_t corr;

	for (uint16_t i = 0; i < job->receipt_count; i++) {
		char key[sizeof(OLD_KEY) + HASH_HEX_LEN] = OLD_KEY;
		const struct redis_arg argv[] = { REDIS_TEXT("GET"),
			                          { key, sizeof(OLD_KEY) - 1 + HASH_HEX_LEN } };

		if (!job->receipts[i].is_hashed)
			continue;
		hash_hex(job->receipts[i].sender_hash, HASH_LEN, key + sizeof(OLD_KEY) - 1);
		redis_batch_add(&s->batch, argv, 2);
	}
	if (redis_batch_send(ctx, s->conf.redis, &s->batch, LOOKUP_MS, &corr) == CX_OK)
		wait_for(s, job, &job->asks[0], corr, RCPT_LOOKUP, 0);
	else
		job->has_failed = true;
}

static bool is_all_text_or_nil(const struct cx_buf *reply)
{
	struct redis_walk walk = redis_walk_start(reply);
	struct redis_value v;

	/* WRONGTYPE: nothing that an older server left */
	while (redis_walk_next(&walk, &v))
		if (v.kind == REDIS_ERROR &&
		    !(v.text.len > 9 && memcmp(v.text.at, "WRONGTYPE", 9) == 0))
			return false;
	return true;
}

/* The answers in order; who is not known any more is passed over. */
static bool on_senders(struct stack_receipts *s, struct rcpt_job *job,
                       const struct cx_buf *reply)
{
	struct redis_walk walk;
	struct redis_value v;
	uint16_t kept = 0;

	if (reply == NULL || !is_all_text_or_nil(reply))
		return false;
	walk = redis_walk_start(reply);
	for (uint16_t i = 0; i < job->receipt_count; i++) {
		struct rcpt_receipt *const r = &job->receipts[i];

		if (r->is_hashed && (!redis_walk_next(&walk, &v) || v.kind != REDIS_STRING ||
		                     !uuid_parse(v.text, &r->sender, NULL))) {
			rcpt_count(&s->figures->senderless, 1);
			continue;
		}
		r->is_hashed = false;
		job->receipts[kept++] = *r;
	}
	job->receipt_count = kept;
	job->has_hashed = false;
	return true;
}

/* ---- by sender ---- */

static void group(struct rcpt_job *job)
{
	for (uint16_t i = 0; i < job->receipt_count; i++) {
		struct rcpt_group *g = job->groups;

		while (g < job->groups + job->group_count &&
		       !uuid_equal(&g->sender, &job->receipts[i].sender))
			g++;
		if (g == job->groups + job->group_count) {
			*g = (struct rcpt_group){ .sender = job->receipts[i].sender,
				                  .first = i };
			job->group_count++;
		} else {
			job->receipts[g->last].next = i;
		}
		g->last = i;
		g->count++;
	}
	job->is_grouped = true;
}

/* ---- dead letters ---- */

static size_t header(uint8_t *out, const char *name, const char *text)
{
	const struct wire_slice value = wire_text(text);

	if (out != NULL)
		kafka_header_write(out, name, value);
	return kafka_header_size(name, value);
}

static size_t headers(uint8_t *out, const struct stack_settings *set, int32_t partition,
                      const struct rcpt_letter *l)
{
	char partition_text[16], offset_text[24];
	size_t n = 0;

	snprintf(partition_text, sizeof(partition_text), "%" PRId32, partition);
	snprintf(offset_text, sizeof(offset_text), "%" PRId64, l->record.offset);
	n += header(out != NULL ? out + n : NULL, "source-topic", set->ack_topic);
	n += header(out != NULL ? out + n : NULL, "source-partition", partition_text);
	n += header(out != NULL ? out + n : NULL, "source-offset", offset_text);
	n += header(out != NULL ? out + n : NULL, "reason", l->reason);
	return n;
}

static enum cx_err send_letter(struct cx_ctx *ctx, struct stack_receipts *s,
                               const struct rcpt_job *job, const struct rcpt_letter *l,
                               uint64_t *corr)
{
	const struct stack_settings *const set = s->conf.settings;
	const int32_t partition = job->partition->number;
	const size_t head = headers(NULL, set, partition, l);
	struct cx_buf *const buf = cx_buf_new(head + l->record.value.len);
	const bool has_key =
		l->record.key.at != NULL && l->record.key.len <= KAFKA_PRODUCE_KEY_MAX;
	enum cx_err err;

	headers(cx_buf_data(buf), set, partition, l);
	if (l->record.value.len > 0)
		memcpy(cx_buf_data(buf) + head, l->record.value.at, l->record.value.len);
	err = kafka_produce(ctx, s->conf.producer, set->dead_letter_topic,
	                    has_key ? l->record.key : wire_slice(NULL, 0), (uint32_t)head, buf,
	                    LETTER_MS, corr);
	cx_buf_unref(buf);
	return err;
}

/* ---- the way of a job ---- */

static bool has_open(const struct rcpt_job *job)
{
	for (uint16_t i = 0; i < job->group_count; i++)
		if (job->groups[i].state == RCPT_OPEN)
			return true;
	return false;
}

/* No answer, or one that says nothing of them. */
static void reopen(struct rcpt_job *job)
{
	for (uint16_t i = 0; i < job->group_count; i++)
		if (job->groups[i].state == RCPT_ASKED)
			job->groups[i].state = RCPT_OPEN;
}

static void ask_all(struct cx_ctx *ctx, struct stack_receipts *s, struct rcpt_job *job)
{
	uint64_t corr;

	for (uint16_t i = 0; i < job->letter_count; i++) {
		struct rcpt_letter *const l = &job->letters[i];

		if (l->state != RCPT_OPEN)
			continue;
		if (send_letter(ctx, s, job, l, &corr) == CX_OK) {
			l->state = RCPT_ASKED;
			wait_for(s, job, &job->asks[1 + i], corr, RCPT_LETTER, i);
		} else {
			job->has_failed = true;
		}
	}
	if (!has_open(job))
		return;
	if (rcpt_append(ctx, s, job, &corr) == CX_OK)
		wait_for(s, job, &job->asks[0], corr, RCPT_APPEND, 0);
	else
		job->has_failed = true;
}

void rcpt_go(struct cx_ctx *ctx, struct stack_receipts *s, struct rcpt_job *job)
{
	job->has_failed = false;
	if (job->has_hashed) {
		ask_senders(ctx, s, job);
	} else {
		if (!job->is_grouped)
			group(job);
		ask_all(ctx, s, job);
	}
	if (job->pending > 0)
		return;
	if (job->has_failed)
		rcpt_try_later(ctx, s, job);
	else
		job->is_over = true;
}

void rcpt_answer(struct cx_ctx *ctx, struct stack_receipts *s, uint64_t corr,
                 const struct cx_buf *reply, bool is_written)
{
	const struct rcpt_ask *const ask = take_ask(s, corr);
	struct rcpt_job *job;
	bool is_done;

	if (ask == NULL) /* of a PUBLISH: nobody waits for it */
		return;
	job = ask->job;
	job->pending--;
	if (ask->what == RCPT_LOOKUP) {
		is_done = on_senders(s, job, reply);
	} else if (ask->what == RCPT_LETTER) {
		is_done = is_written;
		job->letters[ask->index].state = is_done ? RCPT_DONE : RCPT_OPEN;
		rcpt_count(&s->figures->dead_letters, is_done);
	} else {
		is_done = reply != NULL && rcpt_appended(ctx, s, job, reply);
		reopen(job);
	}
	job->has_failed |= !is_done;
	if (job->pending > 0)
		return;
	/* after KAFKA_REVOKED nothing new is asked */
	if (ask->what == RCPT_LOOKUP && job->partition != NULL && job->partition->is_revoked)
		job->has_failed = true;
	if (job->partition == NULL)
		rcpt_job_free(job);
	else if (job->has_failed)
		rcpt_try_later(ctx, s, job);
	else if (ask->what == RCPT_LOOKUP)
		rcpt_go(ctx, s, job);
	else
		job->is_over = true;
}
