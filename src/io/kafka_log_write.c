/* SPDX-License-Identifier: MIT */
/* From a lane to Kafka. */
#include "io/kafka_log_state.h"
#include "wire/envelope.h"
#include "wire/server_frame.h"

#define FULL_TICK_MS 5

static struct klog_append **bucket_of(struct klog *s, uint64_t corr)
{
	/* multiplicative hashing: Knuth, The Art of Computer Programming, 6.4 */
	return &s->at_kafka[(corr * UINT64_C(0x9e3779b97f4a7c15)) >> 52 & (KLOG_BUCKETS - 1)];
}

struct klog_append *klog_take_at_kafka(struct klog *s, uint64_t corr)
{
	struct klog_append **at = bucket_of(s, corr);
	struct klog_append *a;

	while (*at != NULL && (*at)->corr != corr)
		at = &(*at)->next;
	a = *at;
	if (a != NULL)
		*at = a->next;
	return a;
}

static void producer_full(struct cx_ctx *ctx, struct klog *s)
{
	if (s->is_producer_full)
		return;
	s->is_producer_full = true;
	cx_timer_arm(ctx, &s->tick, FULL_TICK_MS, TIMER_A);
}

void klog_put_back(struct cx_ctx *ctx, struct klog *s, struct klog_append *a)
{
	a->may_be_written = false;
	klog_place_back(a);
	klog_line_up(s, a, a->lane->first);
	klog_ready(s, a);
	producer_full(ctx, s);
}

/* The record's value; NULL: the frame is not a message. */
static struct cx_buf *envelope_of(const struct klog_append *a)
{
	struct envelope e = { .sender = a->lane->peer, .recipient = a->quota->owner };
	struct server_frame frame;
	struct cx_buf *value;
	size_t room, len;

	if (!server_frame_decode(cx_buf_bytes(a->frame), a->frame_len, &frame) ||
	    frame.type != SERVER_MESSAGE)
		return NULL;
	e.message = frame.message;
	e.sender_domain = frame.message.from.domain;
	e.recipient_domain = frame.message.to.domain;
	room = ENVELOPE_LEN_MAX(frame.message.content.len);
	value = cx_buf_new(room);
	len = envelope_write((char *)cx_buf_data(value), room, &e);
	if (len > room) { /* content with escapes */
		cx_buf_unref(value);
		value = cx_buf_new(len);
		room = len;
		len = envelope_write((char *)cx_buf_data(value), room, &e);
		cx_assert(len == room);
	}
	cx_buf_trim(value, len);
	return value;
}

static enum cx_err produce(struct cx_ctx *ctx, struct klog *s, struct klog_append *a)
{
	const uint64_t now_ms = cx_now_ms(ctx);
	char key[UUID_TEXT_LEN];

	if (a->deadline_ms <= now_ms)
		return CX_ETIMEOUT;
	if (a->value == NULL)
		a->value = envelope_of(a);
	if (a->value == NULL)
		return CX_EINVAL;
	uuid_format(&a->quota->owner, key);
	return kafka_produce(ctx, s->conf.producer, s->settings->topic,
	                     wire_slice(key, sizeof(key)), 0, a->value,
	                     (uint32_t)(a->deadline_ms - now_ms), &a->corr);
}

static void hand_over(struct cx_ctx *ctx, struct klog *s, struct klog_append *a)
{
	const enum cx_err err = produce(ctx, s, a);
	struct klog_append **bucket;

	if (err == CX_EFULL) {
		producer_full(ctx, s);
		return;
	}
	if (err != CX_OK) {
		klog_finish(ctx, s, a, LOG_FAILED, 0);
		return;
	}
	klog_count(&s->figures->unclaimed, a->claim != KLOG_CLAIMED);
	a->may_be_written = true;
	a->step = KLOG_AT_KAFKA;
	klog_leave_line(s, a);
	a->lane->handed_over = a->number;
	klog_place_use(a);
	quota_begin(a->quota, a->frame_len);
	bucket = bucket_of(s, a->corr);
	a->next = *bucket;
	*bucket = a;
}

static enum quota_verdict judge(struct cx_ctx *ctx, const struct klog *s,
                                const struct klog_append *a)
{
	if (s->is_open || a->place == KLOG_PLACE_HELD)
		return a->quota->is_gone ? QUOTA_GONE : QUOTA_PASS;
	return quota_judge(&s->quotas, a->quota, a->frame_len, a->number, cx_now_ms(ctx));
}

static void run_lane(struct cx_ctx *ctx, struct klog *s, struct klog_lane *lane)
{
	struct klog_append *a;

	while (lane->blocked_on == NULL && !s->is_producer_full && (a = lane->first) != NULL &&
	       a->step == KLOG_READY) {
		switch (judge(ctx, s, a)) {
		case QUOTA_PASS:
			hand_over(ctx, s, a);
			break;
		case QUOTA_FULL:
			klog_finish(ctx, s, a, LOG_INBOX_FULL, 0);
			break;
		case QUOTA_GONE:
			klog_finish(ctx, s, a, LOG_NO_OWNER, 0);
			break;
		case QUOTA_LOOK:
			klog_block(lane, a->quota);
			klog_look(ctx, s, a->quota, lane);
			break;
		case QUOTA_WAIT:
			klog_block(lane, a->quota);
			break;
		}
	}
}

void klog_run_lanes(struct cx_ctx *ctx, struct klog *s)
{
	struct klog_lane *lane;

	while ((lane = s->dirty_first) != NULL) {
		/* it stays marked while it runs, so that what ends in it does not free it */
		run_lane(ctx, s, lane);
		s->dirty_first = lane->dirty_next;
		if (s->dirty_first == NULL)
			s->dirty_last = NULL;
		lane->is_dirty = false;
		klog_lane_end(s, lane);
	}
}
