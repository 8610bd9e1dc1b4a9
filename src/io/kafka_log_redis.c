/* SPDX-License-Identifier: MIT */
/* Questions to Redis, and the circuit: after a question without a use (lost, late, refused) nothing is
 * asked, all that waits for Redis goes on without it, and a PING each second finds out when it is
 * back.  So an append pays at most once, and at most KLOG_ASK_MS. */
#include <stdlib.h>

#include "io/kafka_log_state.h"

#define OPEN_MS 1000
#define FREE_MAX 64

struct klog_question *klog_question_new(struct klog *s, enum klog_question_kind kind)
{
	struct klog_question *q = s->free_questions;

	if (q != NULL) {
		s->free_questions = q->next;
		s->free_question_count--;
	} else {
		q = malloc(sizeof(*q));
		cx_assert(q != NULL);
	}
	*q = (struct klog_question){ .kind = kind };
	return q;
}

void klog_question_free(struct klog *s, struct klog_question *q)
{
	if (s->free_question_count >= FREE_MAX) {
		free(q);
		return;
	}
	q->next = s->free_questions;
	s->free_questions = q;
	s->free_question_count++;
}

static void question_add(struct klog *s, struct klog_question *q)
{
	*(s->questions_last != NULL ? &s->questions_last->next : &s->questions_first) = q;
	s->questions_last = q;
	s->asked += q->count;
}

/* Answers come in the order of the questions, so the first look mostly finds it. */
static struct klog_question *question_take(struct klog *s, uint64_t corr)
{
	struct klog_question *q = s->questions_first, *before = NULL;

	while (q != NULL && q->corr != corr) {
		before = q;
		q = q->next;
	}
	if (q == NULL)
		return NULL;
	*(before != NULL ? &before->next : &s->questions_first) = q->next;
	if (s->questions_last == q)
		s->questions_last = before;
	s->asked -= q->count;
	return q;
}

/* ---- the circuit ---- */

/* Without an answer: whoever waited for it goes on. */
static void give_up(struct cx_ctx *ctx, struct klog *s, struct klog_question *q)
{
	struct klog_append *a;

	while ((a = q->first) != NULL) {
		q->first = a->next;
		if (a->asks_length) {
			quota_look_failed(a->quota, cx_now_ms(ctx));
			klog_wake(s, a->quota);
		}
		if (a->step == KLOG_DEAD)
			klog_bury(ctx, s, a);
		else
			klog_ready(s, a);
	}
	if (q->kind == KLOG_LOOK) {
		quota_look_failed(q->quota, cx_now_ms(ctx));
		klog_wake(s, q->quota);
		quota_drop(&s->quotas, q->quota);
	}
	klog_question_free(s, q);
}

static void open_circuit(struct cx_ctx *ctx, struct klog *s)
{
	struct klog_question *q;

	klog_count(&s->figures->redis_failures, 1);
	s->is_open = true;
	cx_timer_arm(ctx, &s->probe, OPEN_MS, TIMER_B);
	while ((q = s->questions_first) != NULL) {
		cx_ask_cancel(ctx, q->corr);
		give_up(ctx, s, question_take(s, q->corr));
	}
}

/* The question is q's; asked or given up at once. */
void klog_asked(struct cx_ctx *ctx, struct klog *s, struct klog_question *q, enum cx_err err)
{
	if (err == CX_OK) {
		question_add(s, q);
		return;
	}
	open_circuit(ctx, s);
	give_up(ctx, s, q);
}

void klog_probe(struct cx_ctx *ctx, struct klog *s)
{
	const struct redis_arg ping[] = { REDIS_TEXT("PING") };
	struct klog_question *const q = klog_question_new(s, KLOG_PROBE);
	const enum cx_err err = redis_call(ctx, s->conf.redis, ping, 1, KLOG_ASK_MS, &q->corr);

	klog_asked(ctx, s, q, err);
}

/* ---- answers ---- */

bool klog_answered(struct cx_ctx *ctx, struct klog *s, uint64_t corr, const struct cx_buf *buf)
{
	struct klog_question *const q = question_take(s, corr);
	struct redis_walk walk;

	if (q == NULL)
		return false;
	if (buf == NULL) {
		open_circuit(ctx, s);
		give_up(ctx, s, q);
		return true;
	}
	walk = redis_walk_start(buf);
	if (q->kind == KLOG_CLAIMS) {
		klog_on_claims(ctx, s, q, &walk);
	} else if (q->kind == KLOG_WHOSE) {
		klog_on_whose(ctx, s, q, &walk);
	} else if (q->kind == KLOG_LOOK) {
		klog_on_look(ctx, s, q, &walk);
		quota_drop(&s->quotas, q->quota);
	} else if (klog_next_value(&walk).kind == REDIS_STATUS) {
		s->is_open = false;
	} else {
		open_circuit(ctx, s);
	}
	klog_question_free(s, q);
	return true;
}

void klog_questions_free(struct cx_ctx *ctx, struct klog *s)
{
	struct klog_question *q;

	while ((q = s->questions_first) != NULL)
		give_up(ctx, s, question_take(s, q->corr));
	while ((q = s->free_questions) != NULL) {
		s->free_questions = q->next;
		free(q);
	}
	redis_batch_free(&s->batch);
}
