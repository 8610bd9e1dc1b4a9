/* SPDX-License-Identifier: MIT */
/* What tests of kafka_log do: send, report as Kafka, write to Redis as the worker and other gateways. */
#ifndef TESTS_IO_KAFKA_LOG_CASES_H
#define TESTS_IO_KAFKA_LOG_CASES_H

#include "kafka_log_fixture.h"

/* ---- asking ---- */

static inline struct uuid kl_uuid(uint32_t n)
{
	struct uuid u = { .b = { 0x11 } };

	memcpy(u.b + 12, &n, sizeof(n));
	return u;
}

struct kl_send {
	uint32_t sender, recipient, id;
	uint32_t content_len; /* 0: 8; a multiple of 4 */
	uint32_t timeout_ms;  /* 0: 20000 */
	uint32_t count;       /* ids from id on; 0: one */
	uint64_t corr;        /* of the last */
	struct cx_buf *frame;
	enum cx_err err;
};

static inline struct cx_buf *kl_frame(const struct kl_send *s)
{
	static char content[KL_FRAME];
	struct chat_message m = { .id = kl_uuid(s->id), .timestamp = 1700000000 };
	struct cx_buf *buf;
	size_t len;

	memset(content, 'A', sizeof(content));
	m.from.user = kl_uuid(s->sender);
	m.to.user = kl_uuid(s->recipient);
	m.content = wire_slice(content, s->content_len > 0 ? s->content_len : 8);
	m.message_number = s->id;
	len = server_frame_message(NULL, 0, &m);
	buf = cx_buf_new(len);
	cr_assert_eq(server_frame_message(cx_buf_data(buf), len, &m), len);
	return buf;
}

static inline void kl_ask(struct cx_ctx *ctx, void *arg)
{
	struct kl_send *const s = arg;
	struct uuid sender = kl_uuid(s->sender), recipient = kl_uuid(s->recipient);

	for (uint32_t i = 0; i < (s->count > 0 ? s->count : 1); i++) {
		const struct uuid id = kl_uuid(s->id + i);

		s->err = log_append(ctx, kl_log, &recipient, &sender, &id, 0, s->frame,
		                    s->timeout_ms > 0 ? s->timeout_ms : 20000, &s->corr);
		cx_assert(s->err == CX_OK);
	}
}

static inline uint64_t kl_send(struct kl_send s)
{
	s.frame = kl_frame(&s);
	kl_run(kl_ask, &s);
	cx_buf_unref(s.frame);
	return s.corr;
}

static inline uint64_t kl_send_one(uint32_t sender, uint32_t recipient, uint32_t id)
{
	return kl_send((struct kl_send){ .sender = sender, .recipient = recipient, .id = id });
}

/* Send and wait for the answer. */
static inline enum log_outcome kl_append(uint32_t sender, uint32_t recipient, uint32_t id)
{
	const uint64_t corr = kl_send_one(sender, recipient, id);
	const struct kl_answer a = kl_next_answer();

	cr_assert_eq(a.corr, corr);
	return (enum log_outcome)a.outcome;
}

struct kl_report {
	struct cx_caller caller;
	enum kafka_outcome what;
	int64_t offset;
};

static inline void kl_do_report(struct cx_ctx *ctx, void *arg)
{
	const struct kl_report *const r = arg;

	kl_say(ctx, r->caller, r->what, r->offset);
}

static inline void kl_report(const struct kl_record *record, enum kafka_outcome what,
                             int64_t offset)
{
	struct kl_report r = { record->caller, what, offset };

	kl_run(kl_do_report, &r);
}

/* ---- Redis ---- */

struct kl_redis_ask {
	const struct redis_arg *argv;
	unsigned n;
};

static inline void kl_do_redis(struct cx_ctx *ctx, void *arg)
{
	const struct kl_redis_ask *const a = arg;
	uint64_t corr;
	const enum cx_err err = redis_call(ctx, kl_redis_ref, a->argv, a->n, KL_WAIT_MS, &corr);

	cx_assert(err == CX_OK);
}

/* The first value of the reply as text. */
static inline const char *kl_redis_args(const struct redis_arg *argv, unsigned n)
{
	struct kl_redis_ask ask = { argv, n };
	const struct timespec until = kl_from_now(KL_WAIT_MS);
	bool is_late = false;

	kl_has_reply = false;
	kl_run(kl_do_redis, &ask);
	pthread_mutex_lock(&kl_mutex);
	while (!kl_has_reply && !is_late)
		is_late = pthread_cond_timedwait(&kl_arrived, &kl_mutex, &until) != 0;
	pthread_mutex_unlock(&kl_mutex);
	cr_assert(kl_has_reply, "no reply of Redis");
	return kl_reply;
}

/* Words apart by blanks. */
static inline const char *kl_redis(const char *words)
{
	struct redis_arg argv[16];
	unsigned n = 0;

	for (const char *at = words; *at != '\0' && n < 16;) {
		const size_t len = strcspn(at, " ");

		argv[n++] = (struct redis_arg){ at, len };
		at += len + (at[len] == ' ');
	}
	return kl_redis_args(argv, n);
}

static inline int64_t kl_wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline struct redis_arg kl_claim_member(uint32_t sender, uint32_t id,
                                               struct stack_seen *seen)
{
	const struct uuid s = kl_uuid(sender), k = kl_uuid(id);

	stack_seen_of(seen, &s, &k);
	return (struct redis_arg){ seen->h, 16 };
}

/* Its score, or "nil". */
static inline const char *kl_claim(uint32_t sender, uint32_t id)
{
	struct stack_seen seen;
	const struct redis_arg argv[] = { REDIS_TEXT("ZSCORE"), REDIS_TEXT(KL_PREFIX "claims"),
		                          kl_claim_member(sender, id, &seen) };

	return kl_redis_args(argv, 3);
}

/* As another gateway does, one that lapses in ms; instead of whose it was.  Returns its score. */
static inline const char *kl_claim_by_other(uint32_t sender, uint32_t id, int64_t ms)
{
	static char score[24];
	struct stack_seen seen;
	const struct redis_arg member = kl_claim_member(sender, id, &seen);

	snprintf(score, sizeof(score), "%lld",
	         (long long)((kl_wall_ms() + ms - 5000) << 10 | 1));
	const struct redis_arg argv[] = { REDIS_TEXT("ZADD"),
		                          REDIS_TEXT(KL_PREFIX "claims"),
		                          { score, strlen(score) },
		                          member };

	kl_redis_args(argv, 4);
	return score;
}

/* As the worker does. */
static inline void kl_remember(uint32_t sender, uint32_t id)
{
	const struct uuid s = kl_uuid(sender), k = kl_uuid(id);
	struct stack_seen seen;
	char key[STACK_KEY_MAX];
	size_t len;

	stack_seen_of(&seen, &s, &k);
	len = stack_key_dedup(key, KL_PREFIX, stack_seen_bucket(&seen));
	const struct redis_arg argv[] = { REDIS_TEXT("HSET"),
		                          { key, len },
		                          { stack_seen_field(&seen), STACK_SEEN_FIELD_LEN },
		                          REDIS_TEXT("1234567890") };

	cr_assert_str_eq(kl_redis_args(argv, 4), "1");
}

/* An entry of the inbox, as the worker writes it, this old. */
static inline void kl_put_entry(uint32_t recipient, uint64_t id, enum record_kind kind,
                                size_t frame_len, int64_t age_ms)
{
	static uint8_t bytes[KL_FRAME + INBOX_ENTRY_HEAD_LEN], frame[KL_FRAME];
	const struct uuid user = kl_uuid(recipient);
	struct inbox_entry e = { .kind = (uint8_t)kind };
	char key[STACK_KEY_MAX], place[INBOX_ID_TEXT_MAX];
	struct timespec now;
	size_t len;

	clock_gettime(CLOCK_REALTIME, &now);
	e.wall_ms = (int64_t)now.tv_sec * 1000 - age_ms;
	e.frame = wire_slice(frame, frame_len);
	if (kind == RECORD_RECEIPT)
		e.partition = INBOX_ENTRY_NO_PARTITION;
	len = inbox_entry_write(bytes, sizeof(bytes), &e);
	const struct redis_arg argv[] = {
		REDIS_TEXT("XADD"),
		{ key, stack_key_inbox(key, KL_PREFIX, &user) },
		{ place, inbox_id_format(id, place) },
		REDIS_TEXT("e"),
		{ bytes, len },
	};
	cr_assert_str_eq(kl_redis_args(argv, 5), place);
}

static inline const char *kl_inbox(const char *command, uint32_t recipient, const char *more)
{
	const struct uuid user = kl_uuid(recipient);
	char key[STACK_KEY_MAX], words[STACK_KEY_MAX + 64];

	stack_key_inbox(key, KL_PREFIX, &user);
	snprintf(words, sizeof(words), "%s %s%s", command, key, more);
	return kl_redis(words);
}

static inline struct kafka_log_figures kl_figures(void)
{
	struct kafka_log_figures f;

	kafka_log_figures(&f);
	return f;
}

#endif
