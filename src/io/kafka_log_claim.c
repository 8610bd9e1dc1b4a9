/* SPDX-License-Identifier: MIT */
/* Claims: `SET NX PX` with a token that no other append has, so that whoever frees one frees his own
 * (inv. 3); it lapses by itself. */
#include <inttypes.h>
#include <stdio.h>

#include "io/kafka_log_state.h"

#define LOOK_MS 100
/* Who is killed keeps his claims, so a retry elsewhere must outlast one; but one that lapses while its
 * append is pending costs a second record, so not less than Kafka mostly takes to change a leader. */
#define CLAIM_MS "5000"
#define ASK_APPENDS_MAX 512 /* in one batch: at most four commands each */
#define ASKED_MAX 1024      /* in all: what comes meanwhile makes larger batches */
#define TOKEN_MAX 64

static struct redis_arg token(char out[TOKEN_MAX], const struct klog *s,
                              const struct klog_append *a)
{
	return klog_arg(out, (size_t)snprintf(out, TOKEN_MAX, "%016" PRIx64 "/%u.%" PRIu64,
	                                      s->settings->instance, s->worker, a->number));
}

void klog_free_claim(struct cx_ctx *ctx, struct klog *s, const struct klog_append *a)
{
	char key[STACK_KEY_MAX], text[TOKEN_MAX];
	uint64_t corr;

	if (a->claim == KLOG_UNCLAIMED || a->may_be_written || s->is_open)
		return;
	const struct redis_arg argv[] = {
		klog_arg(key, stack_key_claim(key, s->settings->prefix, &a->seen)),
		token(text, s, a),
	};
	/* not waited for: else it lapses */
	if (redis_call_script(ctx, s->conf.redis, s->conf.script_base + KLOG_SCRIPT_FREE, 1,
	                      argv, 2, KLOG_ASK_MS, &corr) == CX_OK)
		cx_ask_cancel(ctx, corr);
}

void klog_gather(struct klog *s, struct klog_append *a)
{
	a->step = KLOG_GATHERED;
	a->next = NULL;
	*(s->gathered_last != NULL ? &s->gathered_last->next : &s->gathered_first) = a;
	s->gathered_last = a;
}

static struct klog_append *take_gathered(struct klog *s)
{
	struct klog_append *const a = s->gathered_first;

	s->gathered_first = a->next;
	if (s->gathered_first == NULL)
		s->gathered_last = NULL;
	a->next = NULL;
	return a;
}

static void add_length(struct cx_ctx *ctx, struct klog *s, struct klog_append *a)
{
	char key[STACK_KEY_MAX];

	a->asks_length = quota_is_due(a->quota, cx_now_ms(ctx));
	if (!a->asks_length)
		return;
	quota_look_begins(a->quota, s->next_number);
	const struct redis_arg argv[] = {
		REDIS_TEXT("XLEN"),
		klog_arg(key, stack_key_inbox(key, s->settings->prefix, &a->quota->owner)),
	};
	redis_batch_add(&s->batch, argv, 2);
}

static void add_claim(struct cx_ctx *ctx, struct klog *s, struct klog_append *a)
{
	const char *const prefix = s->settings->prefix;
	const int64_t g = stack_dedup_generation(cx_wall_ms(ctx), s->settings->dedup_window_ms);
	char key[STACK_KEY_MAX], text[TOKEN_MAX];

	for (int64_t back = 0; back < 2; back++) {
		const struct redis_arg remembered[] = {
			REDIS_TEXT("HEXISTS"),
			klog_arg(key, stack_key_dedup(key, prefix, &a->seen, g - back)),
			{ stack_seen_field(&a->seen), STACK_SEEN_FIELD_LEN },
		};

		redis_batch_add(&s->batch, remembered, 3);
	}
	const struct redis_arg claim[] = {
		REDIS_TEXT("SET"), klog_arg(key, stack_key_claim(key, prefix, &a->seen)),
		token(text, s, a), REDIS_TEXT("NX"),
		REDIS_TEXT("PX"),  REDIS_TEXT(CLAIM_MS),
	};
	redis_batch_add(&s->batch, claim, CX_COUNTOF(claim));
	a->claim = KLOG_MAY_BE_CLAIMED;
}

static void ask_claims(struct cx_ctx *ctx, struct klog *s)
{
	struct klog_question *const q = klog_question_new(s, KLOG_CLAIMS);
	enum cx_err err;

	while (s->gathered_first != NULL && q->count < ASK_APPENDS_MAX) {
		struct klog_append *const a = take_gathered(s);

		if (a->step == KLOG_DEAD) {
			klog_bury(ctx, s, a);
			continue;
		}
		a->step = KLOG_ASKED;
		add_claim(ctx, s, a);
		add_length(ctx, s, a);
		*(q->last != NULL ? &q->last->next : &q->first) = a;
		q->last = a;
		q->count++;
	}
	if (q->count == 0) {
		klog_question_free(s, q);
		return;
	}
	err = redis_batch_send(ctx, s->conf.redis, &s->batch, KLOG_ASK_MS, &q->corr);
	klog_asked(ctx, s, q, err);
}

void klog_ask_gathered(struct cx_ctx *ctx, struct klog *s)
{
	while (s->gathered_first != NULL && !s->is_open && s->asked < ASKED_MAX)
		ask_claims(ctx, s);
	while (s->gathered_first != NULL && s->is_open) {
		struct klog_append *const a = take_gathered(s);

		if (a->step == KLOG_DEAD)
			klog_bury(ctx, s, a);
		else
			klog_ready(s, a);
	}
}

/* ---- answers ---- */

static void on_length(struct cx_ctx *ctx, struct klog *s, struct quota *q,
                      const struct redis_value *v)
{
	const uint64_t now_ms = cx_now_ms(ctx);

	if (v->kind == REDIS_INTEGER) {
		quota_looked(&s->quotas, q, QUOTA_LOOK_LENGTH, (uint64_t)v->integer, 0, 0,
		             now_ms);
	} else if (v->kind == REDIS_ERROR && v->text.len >= 9 &&
	           memcmp(v->text.at, "WRONGTYPE", 9) == 0) {
		quota_looked(&s->quotas, q, QUOTA_LOOK_GONE, 0, 0, 0, now_ms);
	} else {
		klog_count(&s->figures->redis_failures, 1);
		quota_look_failed(q, now_ms);
	}
	klog_wake(s, q);
}

static void on_claim(struct cx_ctx *ctx, struct klog *s, struct klog_append *a,
                     bool is_remembered, const struct redis_value *set)
{
	if (set->kind == REDIS_STATUS)
		a->claim = KLOG_CLAIMED;
	else if (set->kind == REDIS_NIL)
		a->claim = KLOG_UNCLAIMED;
	else
		klog_count(&s->figures->redis_failures, 1);
	if (a->step == KLOG_DEAD) {
		klog_bury(ctx, s, a);
		return;
	}
	a->step = KLOG_READY;
	if (is_remembered) {
		klog_finish(ctx, s, a, LOG_DUPLICATE, 0);
	} else if (set->kind == REDIS_NIL) {
		klog_count(&s->figures->pending_waits, !a->has_waited);
		a->has_waited = true;
		a->step = KLOG_PENDING;
		a->look_ms = cx_now_ms(ctx) + LOOK_MS;
	} else {
		klog_mark(s, a->lane);
	}
}

/* A value that is not there is taken for an error: it settles nothing. */
struct redis_value klog_next_value(struct redis_walk *walk)
{
	struct redis_value v;

	if (!redis_walk_next(walk, &v))
		v = (struct redis_value){ .kind = REDIS_ERROR };
	return v;
}

void klog_on_claims(struct cx_ctx *ctx, struct klog *s, struct klog_question *q,
                    struct redis_walk *walk)
{
	struct klog_append *a;

	while ((a = q->first) != NULL) {
		bool is_remembered = false;
		struct redis_value set, length;

		q->first = a->next;
		for (int i = 0; i < 2; i++) {
			const struct redis_value v = klog_next_value(walk);

			is_remembered |= v.kind == REDIS_INTEGER && v.integer != 0;
		}
		set = klog_next_value(walk);
		if (a->asks_length) {
			length = klog_next_value(walk);
			on_length(ctx, s, a->quota, &length);
		}
		on_claim(ctx, s, a, is_remembered, &set);
	}
}
