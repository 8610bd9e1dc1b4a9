/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "io/kafka_log_state.h"

#define FREE_MAX 1024
#define TICK_MS 50
/* An answer leaves so much earlier than the asker stops waiting: a sixteenth, at most this. */
#define MARGIN_MS 250

static void *make(size_t size)
{
	void *const at = malloc(size);

	cx_assert(at != NULL);
	return at;
}

/* ---- lanes ---- */

void klog_mark(struct klog *s, struct klog_lane *lane)
{
	if (lane->is_dirty)
		return;
	lane->is_dirty = true;
	lane->dirty_next = NULL;
	*(s->dirty_last != NULL ? &s->dirty_last->dirty_next : &s->dirty_first) = lane;
	s->dirty_last = lane;
}

static struct klog_lane *lane_of(struct klog *s, const struct uuid *peer)
{
	struct klog_lane *lane = uuid_map_get(&s->lanes, peer);

	if (lane != NULL)
		return lane;
	lane = s->free_lanes;
	if (lane != NULL) {
		s->free_lanes = lane->next;
		s->free_lane_count--;
	} else {
		lane = make(sizeof(*lane));
	}
	*lane = (struct klog_lane){ .peer = *peer };
	uuid_map_put(&s->lanes, peer, lane);
	return lane;
}

void klog_lane_end(struct klog *s, struct klog_lane *lane)
{
	if (lane->members > 0 || lane->is_dirty)
		return;
	uuid_map_take(&s->lanes, &lane->peer);
	if (s->free_lane_count >= FREE_MAX) {
		free(lane);
		return;
	}
	lane->next = s->free_lanes;
	s->free_lanes = lane;
	s->free_lane_count++;
}

static void lane_add(struct klog_lane *lane, struct klog_append *a, struct klog_append *before)
{
	struct klog_append *const after = before != NULL ? before->lane_prev : lane->last;

	a->lane_prev = after;
	a->lane_next = before;
	*(after != NULL ? &after->lane_next : &lane->first) = a;
	*(before != NULL ? &before->lane_prev : &lane->last) = a;
}

static void lane_take(struct klog_append *a)
{
	struct klog_lane *const lane = a->lane;

	*(a->lane_prev != NULL ? &a->lane_prev->lane_next : &lane->first) = a->lane_next;
	*(a->lane_next != NULL ? &a->lane_next->lane_prev : &lane->last) = a->lane_prev;
}

void klog_block(struct klog_lane *lane, struct quota *q)
{
	lane->blocked_on = q;
	lane->next = NULL;
	*(q->last_waiter != NULL ? &q->last_waiter->next : &q->waiters) = lane;
	q->last_waiter = lane;
}

static void lane_unblock(struct klog_lane *lane)
{
	struct quota *const q = lane->blocked_on;
	struct klog_lane *before = NULL;

	if (q == NULL)
		return;
	for (struct klog_lane *l = q->waiters; l != lane; l = l->next)
		before = l;
	*(before != NULL ? &before->next : &q->waiters) = lane->next;
	if (q->last_waiter == lane)
		q->last_waiter = before;
	lane->blocked_on = NULL;
}

void klog_wake(struct klog *s, struct quota *q)
{
	for (struct klog_lane *lane = q->waiters; lane != NULL; lane = lane->next) {
		lane->blocked_on = NULL;
		klog_mark(s, lane);
	}
	q->waiters = q->last_waiter = NULL;
}

/* ---- what waits ---- */

static void wait_add(struct klog *s, struct klog_append *a)
{
	a->wait_next = NULL;
	a->wait_prev = s->waiting_last;
	*(s->waiting_last != NULL ? &s->waiting_last->wait_next : &s->waiting_first) = a;
	s->waiting_last = a;
}

static void wait_take(struct klog *s, struct klog_append *a)
{
	*(a->wait_prev != NULL ? &a->wait_prev->wait_next : &s->waiting_first) = a->wait_next;
	*(a->wait_next != NULL ? &a->wait_next->wait_prev : &s->waiting_last) = a->wait_prev;
}

void klog_line_up(struct klog *s, struct klog_append *a, struct klog_append *before)
{
	if (before != NULL) /* it was blocked for the sake of another first one */
		lane_unblock(a->lane);
	lane_add(a->lane, a, before);
	wait_add(s, a);
}

void klog_leave_line(struct klog *s, struct klog_append *a)
{
	lane_take(a);
	wait_take(s, a);
}

void klog_need_tick(struct cx_ctx *ctx, struct klog *s)
{
	if (s->waiting_first != NULL && !cx_timer_is_armed(&s->tick))
		cx_timer_arm(ctx, &s->tick, TICK_MS, TIMER_A);
}

/* ---- appends ---- */

static uint64_t deadline_of(struct cx_ctx *ctx, const struct klog *s, uint32_t timeout_ms)
{
	const uint32_t ms =
		timeout_ms == 0 || timeout_ms > s->timeout_ms ? s->timeout_ms : timeout_ms;

	return cx_now_ms(ctx) + ms - (ms / 16 < MARGIN_MS ? ms / 16 : MARGIN_MS);
}

struct klog_append *klog_append_new(struct cx_ctx *ctx, struct klog *s,
                                    const struct cx_msg *msg, const struct stack_seen *seen)
{
	const struct log_append_msg *const m = CX_MSG_AS(struct log_append_msg, msg);
	struct klog_append *a = s->free;

	if (a != NULL) {
		s->free = a->next;
		s->free_count--;
	} else {
		a = make(sizeof(*a));
	}
	*a = (struct klog_append){
		.lane = lane_of(s, &m->peer),
		.quota = quota_take(&s->quotas, &m->owner),
		.caller = cx_caller_of(msg),
		.frame = cx_buf_ref(msg->buf),
		.frame_len = (uint32_t)cx_buf_len(msg->buf),
		.step = KLOG_READY,
		.number = ++s->next_number,
		.deadline_ms = deadline_of(ctx, s, m->timeout_ms),
		.seen = *seen,
	};
	a->lane->members++;
	s->count++;
	s->bytes += a->frame_len;
	klog_count(&s->figures->in_flight, 1);
	return a;
}

void klog_append_free(struct klog *s, struct klog_append *a)
{
	cx_buf_unref(a->frame);
	cx_buf_unref(a->value);
	quota_drop(&s->quotas, a->quota);
	s->count--;
	s->bytes -= a->frame_len;
	klog_count(&s->figures->in_flight, UINT64_MAX);
	if (s->free_count >= FREE_MAX) {
		free(a);
		return;
	}
	a->next = s->free;
	s->free = a;
	s->free_count++;
}

void klog_follow(struct klog *s, struct klog_append *leader, struct klog_append *a)
{
	wait_add(s, a);
	a->step = KLOG_FOLLOWING;
	a->leader = leader;
	a->next = leader->followers;
	leader->followers = a;
}

static void answer(struct cx_ctx *ctx, struct klog *s, const struct klog_append *a,
                   enum log_outcome outcome, uint64_t id)
{
	struct kafka_log_figures *const f = s->figures;
	uint64_t *const figures[] = {
		[LOG_OK] = &f->appended,           [LOG_DUPLICATE] = &f->duplicates,
		[LOG_INBOX_FULL] = &f->inbox_full, [LOG_NO_OWNER] = &f->no_owner,
		[LOG_FAILED] = &f->failed,
	};
	struct log_appended *const m = CX_MSG_NEW(ctx, LOG_APPENDED, struct log_appended);

	m->outcome = outcome;
	m->id = id;
	klog_count(figures[outcome], 1);
	cx_answer(ctx, a->caller, &m->hdr);
}

static void leave_leader(struct klog_append *a)
{
	struct klog_append **at = &a->leader->followers;

	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
}

static void finish_followers(struct cx_ctx *ctx, struct klog *s, struct klog_append *a,
                             enum log_outcome outcome)
{
	while (a->followers != NULL) {
		struct klog_append *const f = a->followers;
		struct klog_lane *const lane = f->lane;

		a->followers = f->next;
		answer(ctx, s, f, outcome == LOG_OK ? LOG_DUPLICATE : outcome, 0);
		wait_take(s, f);
		lane->members--;
		klog_append_free(s, f);
		klog_lane_end(s, lane);
	}
}

void klog_bury(struct cx_ctx *ctx, struct klog *s, struct klog_append *a)
{
	klog_free_claim(ctx, s, a);
	klog_place_end(ctx, s, a);
	klog_append_free(s, a);
}

void klog_finish(struct cx_ctx *ctx, struct klog *s, struct klog_append *a,
                 enum log_outcome outcome, uint64_t id)
{
	const struct uuid key = recent_key(&a->seen);
	struct klog_lane *const lane = a->lane;
	const bool is_first = lane->first == a;

	answer(ctx, s, a, outcome, id);
	if (a->step == KLOG_FOLLOWING) {
		wait_take(s, a);
		leave_leader(a);
	} else {
		uuid_map_take(&s->under_way, &key);
		finish_followers(ctx, s, a, outcome);
		if (is_first)
			lane_unblock(lane);
		if (a->step != KLOG_AT_KAFKA)
			klog_leave_line(s, a);
		if (lane->first != NULL)
			klog_mark(s, lane);
	}
	lane->members--;
	if (a->step == KLOG_GATHERED || a->step == KLOG_ASKED)
		a->step = KLOG_DEAD;
	else
		klog_bury(ctx, s, a);
	klog_lane_end(s, lane);
}

void klog_ready(struct klog *s, struct klog_append *a)
{
	a->step = KLOG_READY;
	klog_mark(s, a->lane);
}

void klog_lanes_free(struct klog *s)
{
	struct klog_append *a;
	struct klog_lane *lane;

	while ((a = s->free) != NULL) {
		s->free = a->next;
		free(a);
	}
	while ((lane = s->free_lanes) != NULL) {
		s->free_lanes = lane->next;
		free(lane);
	}
	uuid_map_free(&s->lanes);
	uuid_map_free(&s->under_way);
}
