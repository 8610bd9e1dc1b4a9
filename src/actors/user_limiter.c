/* SPDX-License-Identifier: MIT */
/* Invariants
 * 1. Sends wait in `ring` in the order of submission; [first, gate) have passed the checks or failed,
 *    [gate, last) have not been looked at.
 * 2. The gate waits for at most one answer of the store; meanwhile nothing passes it, so appends
 *    leave in the order of submission and the log keeps that order.
 * 3. Outcomes leave from `first` on only, so no answer overtakes an earlier one.
 * 4. Each send ends at its deadline at the latest: the log's answer, a refusal or KAFKA_FAILURE. */
#include "actors/user_limiter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/log.h"
#include "io/store.h"

#define DEADLINE_MS 12000 /* below the client's 15 s */
#define STORE_TIMEOUT_MS 5000
#define RETRY_MS 5
#define IDLE_MS 60000
#define RING_FIRST 16
#define LEASE_MAX 64
#define KNOWN 8 /* recipients remembered */
#define KNOWN_MS 60000
#define HOUR_MS 3600000
#define MINUTE_MS 60000
#define LOCAL_SHARE 10 /* of a limit, allowed for each window while the store is gone */

enum step { AT_GATE, AT_LOG, DONE };

struct send {
	struct gateway_submit submit;
	struct cx_caller caller;
	struct cx_buf *frame;
	uint64_t corr; /* of the append */
	uint64_t deadline_ms;
	enum step step;
	enum error_code code;
	char text[72];
};

enum bucket_name { HOURLY, MINUTELY, BUCKETS };

struct bucket {
	uint32_t max; /* 0: no limit */
	uint32_t window_ms;
	int64_t tokens;
	uint64_t empty_until_ms; /* a lease was refused: not asked again before */
	uint64_t local_from_ms;  /* window of the local allowance */
	uint32_t local_used;
};

struct known {
	struct uuid user;
	uint64_t until_ms;
};

/* What the gate waits for. */
enum waiting { FOR_NOTHING, FOR_BLOCK, FOR_TOKENS, FOR_RECIPIENT, FOR_LOG_ROOM };

struct limiter {
	const struct relay *relay;
	struct uuid user;
	struct cx_ref gateway;
	struct send *ring;
	uint64_t first, gate, last; /* inv. 1; place in the ring is & (cap - 1) */
	uint64_t cap;
	uint64_t handled;
	enum waiting waiting;
	uint64_t store_corr;
	enum bucket_name asked;
	struct bucket buckets[BUCKETS];
	uint64_t blocked_until_ms; /* monotonic: a clock that is set does not prolong it */
	bool is_block_known;
	uint64_t refused_from_ms; /* the hour in which refusals are counted */
	uint32_t refused;
	struct known known[KNOWN];
	uint32_t known_next;
	struct cx_timer idle, retry;
};

static struct send *at(const struct limiter *l, uint64_t n)
{
	return &l->ring[n & (l->cap - 1)];
}

static void answer(struct cx_ctx *ctx, struct send *s)
{
	struct gateway_outcome *m = CX_MSG_NEW(ctx, GATEWAY_OUTCOME, struct gateway_outcome);

	m->code = s->code;
	m->frame_bytes = s->submit.frame_bytes;
	memcpy(m->id, s->submit.id, sizeof(m->id));
	memcpy(m->text, s->text, sizeof(m->text));
	m->hdr.buf = s->frame; /* refused by the connection: its answer, else NULL by now */
	cx_answer(ctx, s->caller, &m->hdr);
}

/* inv. 3 */
static void release(struct cx_ctx *ctx, struct limiter *l)
{
	while (l->first < l->gate && at(l, l->first)->step == DONE) {
		answer(ctx, at(l, l->first));
		l->first++;
		l->handled++;
	}
	if (l->first == l->last)
		cx_timer_arm(ctx, &l->idle, IDLE_MS, TIMER_A);
}

static void finish(struct send *s, enum error_code code)
{
	s->step = DONE;
	s->code = code;
	cx_buf_unref(s->frame);
	s->frame = NULL;
}

static uint32_t left_ms(struct cx_ctx *ctx, const struct send *s)
{
	const uint64_t now_ms = cx_now_ms(ctx);

	return s->deadline_ms > now_ms ? (uint32_t)(s->deadline_ms - now_ms) : 0;
}

/* For the send at the gate, so no longer than that one has (inv. 4). */
static bool ask_store(struct cx_ctx *ctx, struct limiter *l, struct store_op *op,
                      enum waiting what)
{
	const uint32_t left = left_ms(ctx, at(l, l->gate));

	if (store_ask(ctx, &l->relay->store, op,
	              left < STORE_TIMEOUT_MS ? left : STORE_TIMEOUT_MS,
	              &l->store_corr) != CX_OK)
		return false;
	l->waiting = what;
	return true;
}

static void limit_key(const struct limiter *l, const char *name, uint8_t key[16])
{
	relay_limit_key(name, wire_slice(l->user.b, sizeof(l->user.b)), key);
}

static int64_t lease_size(uint32_t max)
{
	const int64_t n = max / 16;

	return n < 1 ? 1 : n > LEASE_MAX ? LEASE_MAX : n;
}

static const char *const bucket_keys[BUCKETS] = { "messages-hour", "messages-minute" };

static bool ask_tokens(struct cx_ctx *ctx, struct limiter *l, enum bucket_name name)
{
	const struct bucket *b = &l->buckets[name];
	struct store_op *op = store_op_new(ctx, STORE_LIMIT_LEASE);

	limit_key(l, bucket_keys[name], op->key);
	op->user = l->user;
	op->max = b->max;
	op->window_ms = b->window_ms;
	op->n = lease_size(b->max);
	l->asked = name;
	return ask_store(ctx, l, op, FOR_TOKENS);
}

/* The store is gone: a bounded allowance of our own. */
static bool take_local(struct cx_ctx *ctx, struct bucket *b)
{
	const uint64_t now_ms = cx_now_ms(ctx);

	if (now_ms - b->local_from_ms > b->window_ms) {
		b->local_from_ms = now_ms;
		b->local_used = 0;
	}
	if (b->local_used > b->max / LOCAL_SHARE)
		return false;
	b->local_used++;
	b->tokens++;
	return true;
}

static int64_t block_ms(const struct limiter *l)
{
	return (int64_t)l->relay->block_seconds * 1000;
}

static void save_block(struct cx_ctx *ctx, struct limiter *l)
{
	struct store_op *op = store_op_new(ctx, STORE_BLOCK_SET);
	uint64_t corr;

	limit_key(l, "messages-block", op->key);
	op->user = l->user;
	op->until_wall_ms = cx_wall_ms(ctx) + block_ms(l);
	/* not waited for: in this process the block holds anyway */
	if (store_ask(ctx, &l->relay->store, op, STORE_TIMEOUT_MS, &corr) == CX_OK)
		cx_ask_cancel(ctx, corr);
}

/* Over the limit: a warning, or, after too many of them, the block. */
static void refuse(struct cx_ctx *ctx, struct limiter *l, struct send *s,
                   const struct bucket *b)
{
	const uint64_t now_ms = cx_now_ms(ctx);
	const uint64_t wait_s =
		b->empty_until_ms > now_ms ? (b->empty_until_ms - now_ms + 999) / 1000 : 1;

	if (now_ms - l->refused_from_ms > HOUR_MS) {
		l->refused_from_ms = now_ms;
		l->refused = 0;
	}
	l->refused++;
	if (l->relay->block_seconds > 0 && l->refused > l->relay->max_messages_per_hour / 2 &&
	    l->relay->max_messages_per_hour > 0) {
		l->blocked_until_ms = now_ms + (uint64_t)block_ms(l);
		l->refused = 0;
		save_block(ctx, l);
		finish(s, ERROR_RATE_LIMIT_BLOCKED);
		return;
	}
	snprintf(s->text, sizeof(s->text), "Slow down! (%llu/%u) Retry in %llu s",
	         (unsigned long long)b->max + l->refused, b->max, (unsigned long long)wait_s);
	finish(s, ERROR_RATE_LIMIT_WARNING);
}

enum verdict { PASS, WAIT, FAIL };

static enum verdict check_block(struct cx_ctx *ctx, struct limiter *l, struct send *s)
{
	struct store_op *op;

	if (!l->is_block_known) {
		op = store_op_new(ctx, STORE_BLOCK_GET);
		limit_key(l, "messages-block", op->key);
		if (ask_store(ctx, l, op, FOR_BLOCK))
			return WAIT;
	}
	if (l->blocked_until_ms <= cx_now_ms(ctx))
		return PASS;
	finish(s, ERROR_USER_BLOCKED);
	return FAIL;
}

static enum verdict check_tokens(struct cx_ctx *ctx, struct limiter *l, struct send *s)
{
	for (int name = 0; name < BUCKETS; name++) {
		struct bucket *b = &l->buckets[name];

		if (b->max == 0 || b->tokens > 0)
			continue;
		if (b->empty_until_ms <= cx_now_ms(ctx)) {
			if (ask_tokens(ctx, l, (enum bucket_name)name))
				return WAIT;
			if (take_local(ctx, b))
				continue;
		}
		refuse(ctx, l, s, b);
		return FAIL;
	}
	for (int name = 0; name < BUCKETS; name++)
		if (l->buckets[name].max > 0)
			l->buckets[name].tokens--;
	return PASS;
}

static bool is_known(struct cx_ctx *ctx, const struct limiter *l, const struct uuid *user)
{
	for (int i = 0; i < KNOWN; i++)
		if (l->known[i].until_ms > cx_now_ms(ctx) &&
		    uuid_equal(&l->known[i].user, user))
			return true;
	return false;
}

static void remember(struct cx_ctx *ctx, struct limiter *l, const struct uuid *user)
{
	l->known[l->known_next % KNOWN] =
		(struct known){ .user = *user, .until_ms = cx_now_ms(ctx) + KNOWN_MS };
	l->known_next++;
}

static enum verdict check_recipient(struct cx_ctx *ctx, struct limiter *l, const struct send *s)
{
	struct store_op *op;

	if (is_known(ctx, l, &s->submit.owner))
		return PASS;
	op = store_op_new(ctx, STORE_USER_EXISTS);
	op->user = s->submit.owner;
	if (ask_store(ctx, l, op, FOR_RECIPIENT))
		return WAIT;
	return PASS; /* cannot be asked: accepted, ends with its TTL (protocol.md 2) */
}

static enum verdict append(struct cx_ctx *ctx, struct limiter *l, struct send *s)
{
	if (log_append(ctx, l->relay->logs[cx_worker_index(ctx)], &s->submit.owner,
	               &s->submit.sender, &s->submit.key, s->submit.key_case, s->frame,
	               left_ms(ctx, s), &s->corr) != CX_OK) {
		l->waiting = FOR_LOG_ROOM;
		cx_timer_arm(ctx, &l->retry, RETRY_MS, TIMER_B);
		return WAIT;
	}
	s->step = AT_LOG;
	return PASS;
}

/* Where a send stands at the gate; tokens are taken once. */
enum stage { STAGE_BLOCK, STAGE_TOKENS, STAGE_RECIPIENT, STAGE_APPEND };

static void open_gate(struct cx_ctx *ctx, struct limiter *l, enum stage stage)
{
	for (; l->gate < l->last; stage = STAGE_BLOCK) {
		struct send *s = at(l, l->gate);
		enum verdict verdict = PASS;

		if (s->code != ERROR_NONE) {
			s->step = DONE;
			verdict = FAIL;
		} else if (left_ms(ctx, s) == 0) {
			/* inv. 4: the store hung, or the log was full */
			finish(s, ERROR_KAFKA_FAILURE);
			verdict = FAIL;
		}
		if (verdict == PASS && stage <= STAGE_BLOCK)
			verdict = check_block(ctx, l, s);
		if (verdict == PASS && stage <= STAGE_TOKENS)
			verdict = check_tokens(ctx, l, s);
		if (verdict == PASS && stage <= STAGE_RECIPIENT)
			verdict = check_recipient(ctx, l, s);
		if (verdict == PASS)
			verdict = append(ctx, l, s);
		if (verdict == WAIT)
			break;
		l->gate++;
	}
	release(ctx, l);
}

static void grow(struct limiter *l)
{
	const uint64_t cap = l->cap == 0 ? RING_FIRST : l->cap * 2;
	struct send *ring = malloc(cap * sizeof(*ring));

	cx_assert(ring != NULL);
	for (uint64_t n = l->first; n < l->last; n++)
		ring[n & (cap - 1)] = *at(l, n);
	free(l->ring);
	l->ring = ring;
	l->cap = cap;
}

static void on_submit(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct limiter *l = state;
	const struct gateway_submit_msg *m = CX_MSG_AS(struct gateway_submit_msg, msg);
	struct send *s;

	if (l->last - l->first == l->cap)
		grow(l);
	s = at(l, l->last++);
	*s = (struct send){
		.submit = m->submit,
		.caller = m->caller,
		.frame = cx_buf_ref(msg->buf),
		.deadline_ms = cx_now_ms(ctx) + DEADLINE_MS,
		.code = m->submit.code,
	};
	if (cx_timer_is_armed(&l->idle))
		cx_timer_cancel(ctx, &l->idle);
	if (l->waiting == FOR_NOTHING)
		open_gate(ctx, l, STAGE_BLOCK);
}

static const enum error_code outcome_codes[] = {
	[LOG_OK] = ERROR_NONE,
	[LOG_DUPLICATE] = ERROR_DUPLICATE_MESSAGE,
	[LOG_INBOX_FULL] = ERROR_INBOX_FULL,
	[LOG_NO_OWNER] = ERROR_USER_NOT_FOUND,
	[LOG_FAILED] = ERROR_KAFKA_FAILURE,
};

/* Answers come nearly in order, so the first look mostly finds it. */
static struct send *find_append(const struct limiter *l, uint64_t corr)
{
	for (uint64_t n = l->first; n < l->gate; n++)
		if (at(l, n)->step == AT_LOG && at(l, n)->corr == corr)
			return at(l, n);
	return NULL;
}

static void on_appended(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct limiter *l = state;
	struct send *s = find_append(l, msg->corr);

	if (s == NULL)
		return;
	finish(s, outcome_codes[CX_MSG_AS(struct log_appended, msg)->outcome]);
	release(ctx, l);
}

/* What is left of it by the wall clock, which may have been set: never more than a whole one. */
static void got_block(struct cx_ctx *ctx, struct limiter *l, const struct store_result *r)
{
	const int64_t left = r->until_wall_ms - cx_wall_ms(ctx);

	if (r->outcome == STORE_FAILED)
		return; /* asked again for the next send; this one passes */
	l->is_block_known = true;
	if (left > 0)
		l->blocked_until_ms =
			cx_now_ms(ctx) + (uint64_t)(left < block_ms(l) ? left : block_ms(l));
}

/* false: the send at the gate was refused. */
static bool got_tokens(struct cx_ctx *ctx, struct limiter *l, const struct store_result *r)
{
	struct bucket *b = &l->buckets[l->asked];

	if (r->outcome == STORE_OK) {
		b->tokens += r->granted;
		return true;
	}
	if (r->outcome != STORE_LIMIT && take_local(ctx, b))
		return true;
	b->empty_until_ms = cx_now_ms(ctx) + (uint64_t)(r->retry_ms > 0 ? r->retry_ms : 1000);
	refuse(ctx, l, at(l, l->gate), b);
	return false;
}

static bool got_recipient(struct cx_ctx *ctx, struct limiter *l, const struct store_result *r)
{
	struct send *s = at(l, l->gate);

	if (r->outcome == STORE_NOT_FOUND) {
		finish(s, ERROR_USER_NOT_FOUND);
		return false;
	}
	if (r->outcome == STORE_OK)
		remember(ctx, l, &s->submit.owner);
	return true;
}

static void go_on(struct cx_ctx *ctx, struct limiter *l, const struct store_result *r)
{
	const enum waiting was = l->waiting;
	enum stage stage = STAGE_APPEND;
	bool passes = true;

	l->waiting = FOR_NOTHING;
	l->store_corr = 0;
	switch (was) {
	case FOR_BLOCK:
		got_block(ctx, l, r);
		stage = l->is_block_known ? STAGE_BLOCK : STAGE_TOKENS;
		break;
	case FOR_TOKENS:
		passes = got_tokens(ctx, l, r);
		stage = STAGE_TOKENS;
		break;
	case FOR_RECIPIENT:
		passes = got_recipient(ctx, l, r);
		break;
	default:
		break;
	}
	if (!passes) {
		l->gate++;
		stage = STAGE_BLOCK;
	}
	open_gate(ctx, l, stage);
}

static void on_store(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct limiter *l = state;

	if (msg->corr == l->store_corr)
		go_on(ctx, l, CX_MSG_AS(struct store_result, msg));
}

/* No answer: from the store, take it as failed; from the log, the send failed (inv. 4). */
static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct store_result failed = { .outcome = STORE_FAILED };
	struct limiter *l = state;
	struct send *s;

	if (l->store_corr != 0 && msg->corr == l->store_corr) {
		go_on(ctx, l, &failed);
		return;
	}
	s = find_append(l, msg->corr);
	if (s == NULL)
		return;
	finish(s, ERROR_KAFKA_FAILURE);
	release(ctx, l);
}

static void on_retry(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct limiter *l = state;

	(void)msg;
	if (l->waiting != FOR_LOG_ROOM)
		return;
	l->waiting = FOR_NOTHING;
	open_gate(ctx, l, STAGE_APPEND);
}

static void on_idle(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct limiter *l = state;
	struct limiter_idle *m;
	enum cx_err err;

	(void)msg;
	if (l->first != l->last)
		return;
	m = CX_MSG_NEW(ctx, LIMITER_IDLE, struct limiter_idle);
	m->user = l->user;
	m->handled = l->handled;
	err = cx_send(ctx, l->gateway, &m->hdr);
	(void)err; /* asked again after the next idle minute */
	cx_timer_arm(ctx, &l->idle, IDLE_MS, TIMER_A);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	const struct user_limiter_conf *c = conf;
	struct limiter *l = state;

	(void)ctx;
	l->relay = c->relay;
	l->user = c->user;
	l->gateway = c->gateway;
	l->buckets[HOURLY] =
		(struct bucket){ .max = c->relay->max_messages_per_hour, .window_ms = HOUR_MS };
	l->buckets[MINUTELY] = (struct bucket){ .max = c->relay->max_messages_per_minute,
		                                .window_ms = MINUTE_MS };
	/* without limits nobody is ever blocked */
	l->is_block_known = c->relay->max_messages_per_hour == 0;
	return CX_OK;
}

/* Tokens that were not used go back, so that a short life costs nothing. */
static void give_back(struct cx_ctx *ctx, const struct limiter *l, enum bucket_name name)
{
	const struct bucket *b = &l->buckets[name];
	struct store_op *op;
	uint64_t corr;

	if (b->max == 0 || b->tokens == 0)
		return;
	op = store_op_new(ctx, STORE_LIMIT_LEASE);
	limit_key(l, bucket_keys[name], op->key);
	op->user = l->user;
	op->max = b->max;
	op->window_ms = b->window_ms;
	op->n = -b->tokens;
	if (store_ask(ctx, &l->relay->store, op, STORE_TIMEOUT_MS, &corr) == CX_OK)
		cx_ask_cancel(ctx, corr);
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct limiter *l = state;

	for (int name = 0; name < BUCKETS; name++)
		give_back(ctx, l, (enum bucket_name)name);
	for (uint64_t n = l->first; n < l->last; n++)
		cx_buf_unref(at(l, n)->frame);
	free(l->ring);
}

static const struct cx_handler handlers[] = {
	CX_ON(GATEWAY_SUBMIT, struct gateway_submit_msg, on_submit),
	CX_ON(LOG_APPENDED, struct log_appended, on_appended),
	CX_ON(STORE_RESULT, struct store_result, on_store),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
	CX_ON(TIMER_A, struct cx_msg_timer, on_idle),
	CX_ON(TIMER_B, struct cx_msg_timer, on_retry),
};

const struct cx_actor_type user_limiter_type = {
	.name = "user_limiter",
	.state_size = sizeof(struct limiter),
	.conf_size = sizeof(struct user_limiter_conf),
	.mailbox_cap = 1024,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
