/* SPDX-License-Identifier: MIT */
/* Claims: members of one sorted set, all appends of a question in one `ZADD NX`.  A score is the time and
 * who, such as no other question has, so that whoever frees a claim frees his own (inv. 3).  It lapses:
 * who asks takes the old ones out. */
#include <string.h>

#include "io/kafka_log_state.h"

#define LOOK_MS 100
/* Who is killed keeps his claims, so a retry elsewhere must outlast one; but one that lapses while its
 * append is pending costs a second record, so not less than Kafka mostly takes to change a leader. */
#define CLAIM_MS 5000
#define CLEAN_MS 200    /* lapsed claims are taken out so often */
#define AHEAD_MS 60000  /* clocks are not so far apart: a claim of then would stay for long */
#define KEY_MS "120000" /* of the whole set, when nobody asks any more */
#define WHO_BITS 10     /* of a score, a double: whole up to 2^53, so until the year 2248 */
#define ASK_APPENDS_MAX 256 /* in one batch: at most two commands each */
#define ASKED_MAX 1024      /* in all */
#define ASK_TOGETHER 32     /* so many do not wait for the answer to those before them */
#define CLAIM_LEN sizeof(((struct uuid *)0)->b)

static struct redis_arg member(const struct klog_append *a)
{
	return (struct redis_arg){ a->seen.h, CLAIM_LEN };
}

/* Of one question; grows. */
static int64_t score(struct cx_ctx *ctx, struct klog *s)
{
	const uint64_t who = (s->settings->instance ^ s->worker) & ((1 << WHO_BITS) - 1);
	const int64_t now = steady_wall_ms(&s->wall, ctx) << WHO_BITS | (int64_t)who;

	s->score = now > s->score ? now : s->score + (1 << WHO_BITS);
	return s->score;
}

void klog_free_claim(struct cx_ctx *ctx, struct klog *s, const struct klog_append *a)
{
	char key[STACK_KEY_MAX], text[REDIS_NUMBER_MAX];
	uint64_t corr;

	if (a->claim == KLOG_UNCLAIMED || a->may_be_written || s->is_open)
		return;
	const struct redis_arg argv[] = {
		klog_arg(key, stack_key_claims(key, s->settings->prefix)),
		member(a),
		redis_number(text, a->score),
	};
	/* not waited for: else it lapses */
	if (redis_call_script(ctx, s->conf.redis, s->conf.script_base + KLOG_SCRIPT_FREE, 1,
	                      argv, 3, KLOG_ASK_MS, &corr) == CX_OK)
		cx_ask_cancel(ctx, corr);
}

void klog_gather(struct klog *s, struct klog_append *a)
{
	a->step = KLOG_GATHERED;
	a->next = NULL;
	*(s->gathered_last != NULL ? &s->gathered_last->next : &s->gathered_first) = a;
	s->gathered_last = a;
	s->gathered++;
}

static struct klog_append *take_gathered(struct klog *s)
{
	struct klog_append *const a = s->gathered_first;

	s->gathered_first = a->next;
	if (s->gathered_first == NULL)
		s->gathered_last = NULL;
	a->next = NULL;
	s->gathered--;
	return a;
}

static void add_length(struct cx_ctx *ctx, struct klog *s, struct klog_append *a)
{
	char key[STACK_KEY_MAX];

	a->asks_length = quota_is_due(&s->quotas, a->quota, cx_now_ms(ctx));
	if (!a->asks_length)
		return;
	quota_look_begins(a->quota, s->next_number);
	const struct redis_arg argv[] = {
		REDIS_TEXT("XLEN"),
		klog_arg(key, stack_key_inbox(key, s->settings->prefix, &a->quota->owner)),
	};
	redis_batch_add(&s->batch, argv, 2);
}

static void add_remembered(struct klog *s, const struct klog_append *a)
{
	char key[STACK_KEY_MAX];
	const struct redis_arg remembered[] = {
		REDIS_TEXT("HEXISTS"),
		klog_arg(key, stack_key_dedup(key, s->settings->prefix,
		                              stack_seen_bucket(&a->seen))),
		{ stack_seen_field(&a->seen), STACK_SEEN_FIELD_LEN },
	};

	redis_batch_add(&s->batch, remembered, 3);
}

static void add_clean(struct cx_ctx *ctx, struct klog *s, struct klog_question *q,
                      struct redis_arg key)
{
	const int64_t wall_ms = steady_wall_ms(&s->wall, ctx);
	char lapsed[REDIS_NUMBER_MAX], ahead[REDIS_NUMBER_MAX];

	q->cleans = cx_now_ms(ctx) >= s->clean_ms;
	if (!q->cleans)
		return;
	s->clean_ms = cx_now_ms(ctx) + CLEAN_MS;
	const struct redis_arg old[] = {
		REDIS_TEXT("ZREMRANGEBYSCORE"),
		key,
		REDIS_TEXT("-inf"),
		redis_number(lapsed, (wall_ms - CLAIM_MS) << WHO_BITS),
	};
	const struct redis_arg false_ones[] = {
		REDIS_TEXT("ZREMRANGEBYSCORE"),
		key,
		redis_number(ahead, (wall_ms + AHEAD_MS) << WHO_BITS),
		REDIS_TEXT("+inf"),
	};
	const struct redis_arg expire[] = { REDIS_TEXT("PEXPIRE"), key, REDIS_TEXT(KEY_MS) };

	redis_batch_add(&s->batch, old, 4);
	redis_batch_add(&s->batch, false_ones, 4);
	redis_batch_add(&s->batch, expire, 3);
}

static void add_claims(struct cx_ctx *ctx, struct klog *s, const struct klog_question *q,
                       struct redis_arg key)
{
	struct redis_arg argv[3 + 2 * ASK_APPENDS_MAX] = { REDIS_TEXT("ZADD"), key,
		                                           REDIS_TEXT("NX") };
	char text[REDIS_NUMBER_MAX];
	const int64_t n = score(ctx, s);
	const struct redis_arg mine = redis_number(text, n);
	unsigned at = 3;

	for (struct klog_append *a = q->first; a != NULL; a = a->next) {
		argv[at++] = mine;
		argv[at++] = member(a);
		a->claim = KLOG_MAY_BE_CLAIMED;
		a->score = n;
	}
	redis_batch_add(&s->batch, argv, at);
}

static void question_put(struct klog_question *q, struct klog_append *a)
{
	a->next = NULL;
	*(q->last != NULL ? &q->last->next : &q->first) = a;
	q->last = a;
	q->count++;
}

/* The claims first: what was remembered before one could be had is seen. */
static void ask_claims(struct cx_ctx *ctx, struct klog *s)
{
	struct klog_question *const q = klog_question_new(s, KLOG_CLAIMS);
	char text[STACK_KEY_MAX];
	const struct redis_arg key =
		klog_arg(text, stack_key_claims(text, s->settings->prefix));
	enum cx_err err;

	while (s->gathered_first != NULL && q->count < ASK_APPENDS_MAX) {
		struct klog_append *const a = take_gathered(s);

		if (a->step == KLOG_DEAD) {
			klog_bury(ctx, s, a);
			continue;
		}
		a->step = KLOG_ASKED;
		question_put(q, a);
	}
	if (q->count == 0) {
		klog_question_free(s, q);
		return;
	}
	add_clean(ctx, s, q, key);
	add_claims(ctx, s, q, key);
	for (struct klog_append *a = q->first; a != NULL; a = a->next) {
		add_remembered(s, a);
		add_length(ctx, s, a);
	}
	err = redis_batch_send(ctx, s->conf.redis, &s->batch, KLOG_ASK_MS, &q->corr);
	klog_asked(ctx, s, q, err);
}

/* A few wait for the answer that is on its way: what comes meanwhile is asked in one. */
static bool may_ask(const struct klog *s)
{
	return s->gathered_first != NULL && !s->is_open &&
	       (s->asked == 0 || (s->gathered >= ASK_TOGETHER && s->asked < ASKED_MAX));
}

void klog_ask_gathered(struct cx_ctx *ctx, struct klog *s)
{
	while (may_ask(s))
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
		quota_looked(&s->quotas, q, QUOTA_LOOK_LENGTH, (uint64_t)v->integer, 0, 0, NULL,
		             now_ms);
	} else if (v->kind == REDIS_ERROR && v->text.len >= 9 &&
	           memcmp(v->text.at, "WRONGTYPE", 9) == 0) {
		quota_looked(&s->quotas, q, QUOTA_LOOK_GONE, 0, 0, 0, NULL, now_ms);
	} else {
		klog_count(&s->figures->redis_failures, 1);
		quota_look_failed(q, now_ms);
	}
	klog_wake(s, q);
}

/* Its claim and what is remembered are known. */
static void settle(struct cx_ctx *ctx, struct klog *s, struct klog_append *a)
{
	if (a->step == KLOG_DEAD) {
		klog_bury(ctx, s, a);
		return;
	}
	a->step = KLOG_READY;
	if (a->is_remembered) {
		klog_finish(ctx, s, a, LOG_DUPLICATE, 0);
	} else if (a->claim == KLOG_UNCLAIMED) {
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

/* Some are another's: which? */
static void ask_whose(struct cx_ctx *ctx, struct klog *s, struct klog_append *first)
{
	struct klog_question *const q = klog_question_new(s, KLOG_WHOSE);
	struct redis_arg argv[2 + ASK_APPENDS_MAX] = { REDIS_TEXT("ZMSCORE") };
	char key[STACK_KEY_MAX];
	unsigned n = 2;
	enum cx_err err;

	argv[1] = klog_arg(key, stack_key_claims(key, s->settings->prefix));
	for (struct klog_append *a = first, *next; a != NULL; a = next) {
		next = a->next;
		argv[n++] = member(a);
		question_put(q, a);
	}
	err = redis_call(ctx, s->conf.redis, argv, n, KLOG_ASK_MS, &q->corr);
	klog_asked(ctx, s, q, err);
}

void klog_on_claims(struct cx_ctx *ctx, struct klog *s, struct klog_question *q,
                    struct redis_walk *walk)
{
	struct klog_append *a, *unclear = NULL, **last = &unclear;
	struct redis_value claimed, remembered, length;

	for (int i = 0; i < 3 && q->cleans; i++)
		(void)klog_next_value(walk);
	claimed = klog_next_value(walk);
	if (claimed.kind != REDIS_INTEGER)
		klog_count(&s->figures->redis_failures, 1); /* they go on without */
	while ((a = q->first) != NULL) {
		q->first = a->next;
		a->next = NULL;
		remembered = klog_next_value(walk);
		a->is_remembered = remembered.kind == REDIS_INTEGER && remembered.integer != 0;
		if (a->asks_length) {
			length = klog_next_value(walk);
			on_length(ctx, s, a->quota, &length);
		}
		if (claimed.kind == REDIS_INTEGER && claimed.integer == (int64_t)q->count)
			a->claim = KLOG_CLAIMED;
		if (a->claim == KLOG_CLAIMED || claimed.kind != REDIS_INTEGER ||
		    a->is_remembered || a->step == KLOG_DEAD) {
			settle(ctx, s, a);
			continue;
		}
		a->asks_length = false;
		*last = a;
		last = &a->next;
	}
	if (unclear != NULL)
		ask_whose(ctx, s, unclear);
}

void klog_on_whose(struct cx_ctx *ctx, struct klog *s, struct klog_question *q,
                   struct redis_walk *walk)
{
	const struct redis_value array = klog_next_value(walk);
	struct klog_append *a;

	if (array.kind != REDIS_ARRAY)
		klog_count(&s->figures->redis_failures, 1);
	while ((a = q->first) != NULL) {
		const struct redis_value v = klog_next_value(walk);
		char text[REDIS_NUMBER_MAX];
		const struct redis_arg mine = redis_number(text, a->score);

		q->first = a->next;
		a->next = NULL;
		if (v.kind == REDIS_STRING && v.text.len == mine.len &&
		    memcmp(v.text.at, text, mine.len) == 0)
			a->claim = KLOG_CLAIMED;
		else if (v.kind == REDIS_STRING || v.kind == REDIS_NIL)
			a->claim = KLOG_UNCLAIMED;
		settle(ctx, s, a);
	}
}
