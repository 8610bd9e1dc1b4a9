/* SPDX-License-Identifier: MIT */
/* Acknowledgements of entries that the index knows, on their way to Redis: all of a turn in one batch,
 * whose first command puts their delivery events into the outbox, and then one XDEL a user.
 *
 * 1. An entry that is being settled says in `question` which batch and which settle of it; who
 *    acknowledges it too gets that one's outcome.
 * 2. Not answered: it waits again.  Events that went into the outbox all the same are found there by the
 *    batcher.
 * 3. An outbox that refuses them does not keep Redis from deleting: then it is a failure, and the events
 *    go to the batcher from here. */
#include <stdlib.h>
#include <string.h>

#include "io/stack_inbox_internal.h"
#include "io/stack_outbox.h"
#include "wire/delivery_event.h"

#define EVENT_ROOM (2 + DELIVERY_EVENT_LEN_MAX)
#define NONE UINT32_MAX

struct settle {
	struct inbox_user *user;
	uint64_t id;
	struct cx_caller caller;
	uint32_t next; /* of the same user, or NONE */
	enum inbox_outcome outcome;
};

struct settle_join {
	struct settle_join *next;
	uint32_t settle;
	struct cx_caller caller;
};

struct settle_group { /* of one user: one command */
	uint32_t first, last;
};

struct settle_batch {
	struct question question;
	uint64_t number; /* from 1 */
	uint32_t slot, cap, count, group_count, event_count;
	struct settle_join *joins;
	struct settle *settles;      /* cap of them */
	struct settle_group *groups; /* cap of them */
	struct cx_buf *events;       /* once it is sent, or NULL */
};

/* ---- gathering ---- */

static uint32_t take_slot(struct stack_inbox *s, struct settle_batch *b)
{
	uint32_t slot = 0;

	while (slot < s->slot_count && s->slots[slot] != NULL)
		slot++;
	if (slot == s->slot_count) {
		s->slot_count = s->slot_count == 0 ? 16 : s->slot_count * 2;
		s->slots = realloc(s->slots, s->slot_count * sizeof(struct settle_batch *));
		cx_assert(s->slots != NULL);
		for (uint32_t i = slot; i < s->slot_count; i++)
			s->slots[i] = NULL;
	}
	s->slots[slot] = b;
	return slot;
}

static struct settle_batch *open_batch(struct cx_ctx *ctx, struct stack_inbox *s)
{
	struct settle_batch *b;

	if (s->open_settles != NULL && s->open_settles->count == XDEL_MAX)
		settle_send(ctx, s);
	if (s->open_settles != NULL)
		return s->open_settles;
	b = calloc(1, sizeof(*b));
	cx_assert(b != NULL);
	b->number = ++s->batches;
	b->slot = take_slot(s, b);
	s->events_len = 0;
	s->open_settles = b;
	return b;
}

static void reserve(struct settle_batch *b)
{
	if (b->count < b->cap)
		return;
	b->cap = b->cap == 0 ? 8 : b->cap * 2;
	b->settles = realloc(b->settles, b->cap * sizeof(*b->settles));
	b->groups = realloc(b->groups, b->cap * sizeof(*b->groups));
	cx_assert(b->settles != NULL && b->groups != NULL);
}

static void free_batch(struct settle_batch *b)
{
	cx_buf_unref(b->events);
	free(b->settles);
	free(b->groups);
	free(b);
}

static void add_to_group(struct settle_batch *b, struct inbox_user *user, uint32_t settle)
{
	struct settle_group *g;

	if (user->open_batch != b->number) {
		user->open_batch = b->number;
		user->open_group = b->group_count++;
		b->groups[user->open_group] = (struct settle_group){ settle, settle };
		return;
	}
	g = &b->groups[user->open_group];
	b->settles[g->last].next = settle;
	g->last = settle;
}

static void add_event(struct cx_ctx *ctx, struct stack_inbox *s, const struct uuid *owner,
                      const struct box_entry *e)
{
	uint8_t *at;
	size_t len;

	if (s->events == NULL)
		s->events = malloc(XDEL_MAX * EVENT_ROOM);
	cx_assert(s->events != NULL);
	at = s->events + s->events_len;
	len = delivery_event_write(s->settings->key, &e->peer, owner, &e->key, e->key_case,
	                           cx_wall_ms(ctx) / 1000, (char *)at + 2,
	                           DELIVERY_EVENT_LEN_MAX);
	cx_assert(len <= DELIVERY_EVENT_LEN_MAX);
	at[0] = (uint8_t)len;
	at[1] = (uint8_t)(len >> 8);
	s->events_len += 2 + len;
	s->open_settles->event_count++;
}

static void begin(struct cx_ctx *ctx, struct stack_inbox *s, struct inbox_user *user,
                  struct box_entry *e, struct cx_caller caller)
{
	struct settle_batch *b = open_batch(ctx, s);
	const uint32_t n = b->count;

	reserve(b);
	b->count++;
	b->settles[n] =
		(struct settle){ .user = user, .id = e->id, .caller = caller, .next = NONE };
	add_to_group(b, user, n);
	if (s->settings->receipts)
		add_event(ctx, s, &user->owner, e);
	e->state = BOX_SETTLING;
	e->question = b->slot * XDEL_MAX + n;
	user->busy++;
}

/* inv. 1 */
static void join(struct stack_inbox *s, const struct box_entry *e, struct cx_caller caller)
{
	struct settle_batch *b = s->slots[e->question / XDEL_MAX];
	struct settle_join *j = malloc(sizeof(*j));

	cx_assert(j != NULL);
	*j = (struct settle_join){ b->joins, e->question % XDEL_MAX, caller };
	cx_assert(b->settles[j->settle].id == e->id);
	b->joins = j;
}

bool settle_try(struct cx_ctx *ctx, struct stack_inbox *s, struct inbox_user *user,
                const struct uuid *key, const struct uuid *from, struct cx_caller caller)
{
	struct box_entry *e = box_find_key(user->box, BOX_WAITING, key, from);

	if (e != NULL) {
		begin(ctx, s, user, e, caller);
		return true;
	}
	e = box_find_key(user->box, BOX_SETTLING, key, from);
	if (e != NULL)
		join(s, e, caller);
	return e != NULL;
}

/* ---- sending ---- */

void delete_add(struct redis_batch *batch, const char *prefix, const struct uuid *owner,
                const uint64_t *ids, uint32_t count)
{
	char key[STACK_KEY_MAX], texts[XDEL_MAX][INBOX_ID_TEXT_MAX];
	struct redis_arg argv[XDEL_MAX + 2] = { REDIS_TEXT("XDEL") };

	cx_assert(count <= XDEL_MAX);
	argv[1] = (struct redis_arg){ key, stack_key_inbox(key, prefix, owner) };
	for (uint32_t i = 0; i < count; i++)
		argv[i + 2] = (struct redis_arg){ texts[i], inbox_id_format(ids[i], texts[i]) };
	redis_batch_add(batch, argv, count + 2);
}

static void add_events(struct stack_inbox *s, const struct settle_batch *b)
{
	char key[STACK_KEY_MAX];
	const struct redis_arg argv[] = {
		REDIS_TEXT("XADD"),
		{ key, stack_key_outbox(key, s->settings->prefix, s->settings->instance) },
		REDIS_TEXT("*"),
		REDIS_TEXT("e"),
		{ cx_buf_bytes(b->events), cx_buf_len(b->events) },
	};

	redis_batch_add(&s->redis, argv, CX_COUNTOF(argv));
}

static void add_deletes(struct stack_inbox *s, const struct settle_batch *b)
{
	uint64_t ids[XDEL_MAX];

	for (uint32_t g = 0; g < b->group_count; g++) {
		uint32_t n = 0;

		for (uint32_t i = b->groups[g].first; i != NONE; i = b->settles[i].next)
			ids[n++] = b->settles[i].id;
		delete_add(&s->redis, s->settings->prefix,
		           &b->settles[b->groups[g].first].user->owner, ids, n);
	}
}

/* ---- the answer ---- */

/* "ms-seq" of the outbox: this ms is a time, which is more than an inbox id holds. */
static bool read_place(struct wire_slice text, uint64_t *ms, uint64_t *seq)
{
	uint64_t *part = ms;

	*ms = *seq = 0;
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] == '-' && part == ms && i > 0)
			part = seq;
		else if (text.at[i] < '0' || text.at[i] > '9' || *part > UINT64_MAX / 10 - 1)
			return false;
		else
			*part = *part * 10 + (text.at[i] - '0');
	}
	return part == seq;
}

/* They are in the outbox there, or, 0-0, nowhere (inv. 3). */
static void hand_over(struct cx_ctx *ctx, const struct stack_inbox *s,
                      const struct settle_batch *b, uint64_t ms, uint64_t seq)
{
	struct ack_batcher_add_msg *m;
	enum cx_err err;

	if (b->event_count == 0)
		return;
	m = CX_MSG_NEW(ctx, ACK_BATCHER_ADD, struct ack_batcher_add_msg);
	m->hdr.buf = cx_buf_ref(b->events);
	m->count = b->event_count;
	m->outbox_ms = ms;
	m->outbox_seq = seq;
	err = cx_send_reserved(ctx, s->conf.acks, &m->hdr);
	(void)err; /* it has ended: they are found in the outbox */
}

static void finish(struct cx_ctx *ctx, struct stack_inbox *s, struct settle *one,
                   bool is_deleted)
{
	struct box_entry *e = box_find(one->user->box, one->id);

	if (is_deleted)
		lately_note(&s->lately, &one->user->owner, one->id, cx_now_ms(ctx));
	if (e != NULL && e->state == BOX_SETTLING && is_deleted) {
		inbox_index_remove(&s->index, one->user, e);
		inbox_index_settled(one->user, one->id);
	} else if (e != NULL && e->state == BOX_SETTLING) {
		e->state = BOX_WAITING;
	}
	inbox_answer_settle(ctx, one->caller, one->outcome);
	user_unhold(s, one->user);
}

/* are_events_stored: else deleting them is not enough to say that it is done. */
static void finish_group(struct cx_ctx *ctx, struct stack_inbox *s, struct settle_batch *b,
                         uint32_t group, const struct redis_value *v, bool are_events_stored)
{
	const bool is_deleted = v->kind == REDIS_INTEGER || is_wrong_type(v);
	enum inbox_outcome outcome = INBOX_FAILED;

	if (is_wrong_type(v))
		outcome = INBOX_UNKNOWN; /* the account was deleted */
	else if (is_deleted && are_events_stored)
		outcome = INBOX_OK;
	for (uint32_t i = b->groups[group].first; i != NONE;) {
		struct settle *one = &b->settles[i];

		i = one->next;
		one->outcome = outcome;
		finish(ctx, s, one, is_deleted);
	}
}

static void finish_joins(struct cx_ctx *ctx, struct settle_batch *b)
{
	while (b->joins != NULL) {
		struct settle_join *j = b->joins;

		b->joins = j->next;
		inbox_answer_settle(ctx, j->caller, b->settles[j->settle].outcome);
		free(j);
	}
}

static void on_settled(struct cx_ctx *ctx, struct stack_inbox *s, struct question *q,
                       const struct answer *a)
{
	struct settle_batch *b = (struct settle_batch *)(void *)q;
	struct redis_value v = { 0 };
	struct redis_walk walk = { 0 };
	uint64_t ms = 0, seq = 0;
	bool are_stored = true;

	if (a->kind == ANSWER_IS)
		walk = redis_walk_start(a->buf);
	if (b->event_count > 0) {
		are_stored = a->kind == ANSWER_IS && redis_walk_next(&walk, &v) &&
		             v.kind == REDIS_STRING && read_place(v.text, &ms, &seq);
		if (!are_stored)
			ms = seq = 0;
		if (a->kind == ANSWER_IS)
			hand_over(ctx, s, b, ms, seq);
	}
	s->slots[b->slot] = NULL;
	for (uint32_t g = 0; g < b->group_count; g++) {
		if (a->kind != ANSWER_IS || !redis_walk_next(&walk, &v))
			v = (struct redis_value){ .kind = REDIS_NIL };
		finish_group(ctx, s, b, g, &v, are_stored);
	}
	finish_joins(ctx, b);
	free_batch(b);
}

void settle_send(struct cx_ctx *ctx, struct stack_inbox *s)
{
	struct settle_batch *b = s->open_settles;
	uint64_t corr;

	if (b == NULL)
		return;
	s->open_settles = NULL;
	if (b->event_count > 0) {
		b->events = cx_buf_copy(s->events, s->events_len);
		add_events(s, b);
	}
	add_deletes(s, b);
	if (!s->is_stopping &&
	    redis_batch_send(ctx, s->conf.redis, &s->redis, STACK_INBOX_ASK_MS, &corr) == CX_OK)
		question_wait(s, &b->question, corr, on_settled);
	else
		on_settled(ctx, s, &b->question, &(struct answer){ ANSWER_NEVER, NULL });
}
