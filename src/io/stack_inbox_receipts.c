/* SPDX-License-Identifier: MIT */
/* Receipts that have reached all of their owner's connections here.
 *
 * 1. An entry goes for all servers.  So before it does, his route is asked for: while another server
 *    has him, what was pushed there may have been lost, and is shown there by the next look at the
 *    latest.  So it stays for HOLD_MS.
 * 2. Until then it is SETTLING in the index: who connects here does not get it again.
 * 3. Whoever joined another server after the route was read has read what was there, so nothing that he
 *    missed can be among what was confirmed before.
 * 4. What cannot be held, or whose fate is not known, stays in the stream: receipts come again, they are
 *    never lost. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/stack_inbox_internal.h"

#define INSTANCE_DIGITS 16
/* A connection looks every 30 s, its read may take 10 s and fail; one whose client is slow has to show
 * every 60 s that it takes what was sent. */
#define HOLD_MS 90000
#define TICK_MS 1000     /* held ones go together */
#define HELD_MAX 262144u /* of a worker: 8 MiB */

struct confirmed { /* of one user */
	struct uuid owner;
	uint32_t count;
};

struct receipts_batch {
	struct question question;
	uint64_t life; /* of Redis, when they were confirmed */
	uint32_t user_count, user_cap, id_count, id_cap;
	struct confirmed *users;
	uint64_t *ids; /* of all users, one after the other */
};

struct held {
	struct uuid owner;
	uint64_t id;
	uint64_t due_ms;
};

/* ---- those that may go ---- */

static void give_up(struct cx_ctx *ctx, struct stack_inbox *s, const struct uuid *owner,
                    const uint64_t *ids, uint32_t count)
{
	struct inbox_user *const user = inbox_index_find(&s->index, owner);

	for (uint32_t i = 0; user != NULL && i < count; i++) {
		struct box_entry *const e = box_find(user->box, ids[i]);

		if (e == NULL || e->state == BOX_GONE)
			continue;
		inbox_index_settled(user, ids[i]);
		inbox_index_remove(&s->index, user, e);
	}
	for (uint32_t i = 0; i < count; i += XDEL_MAX)
		chore_delete(ctx, s, owner, ids + i,
		             count - i < XDEL_MAX ? count - i : XDEL_MAX);
}

/* ---- those that are held ---- */

static struct held *held_at(const struct receipts_held *h, uint32_t n)
{
	return &h->ring[(h->first + n) & (h->cap - 1)];
}

static void grow(struct receipts_held *h)
{
	const uint32_t cap = h->cap == 0 ? 64 : 2 * h->cap;
	struct held *const ring = malloc(cap * sizeof(*ring));

	cx_assert(ring != NULL);
	for (uint32_t i = 0; i < h->count; i++)
		ring[i] = *held_at(h, i);
	free(h->ring);
	h->ring = ring;
	h->cap = cap;
	h->first = 0;
}

static void hold(struct cx_ctx *ctx, struct stack_inbox *s, const struct uuid *owner,
                 const uint64_t *ids, uint32_t count)
{
	struct receipts_held *const h = &s->held;
	const uint64_t due_ms = cx_now_ms(ctx) + HOLD_MS;

	for (uint32_t i = 0; i < count && h->count < HELD_MAX; i++) {
		if (h->count == h->cap)
			grow(h);
		*held_at(h, h->count++) = (struct held){ *owner, ids[i], due_ms };
	}
	if (h->count > 0 && !cx_timer_is_armed(&h->timer))
		cx_timer_arm(ctx, &h->timer, HOLD_MS, TIMER_A);
}

void receipts_forget(struct stack_inbox *s)
{
	s->held.count = 0;
}

void receipts_on_timer(struct cx_ctx *ctx, struct stack_inbox *s)
{
	struct receipts_held *const h = &s->held;
	const uint64_t until_ms = cx_now_ms(ctx);
	uint64_t ids[XDEL_MAX];

	while (h->count > 0 && held_at(h, 0)->due_ms <= until_ms) {
		const struct uuid owner = held_at(h, 0)->owner;
		uint32_t n = 0;

		while (n < XDEL_MAX && h->count > 0 && held_at(h, 0)->due_ms <= until_ms &&
		       uuid_equal(&held_at(h, 0)->owner, &owner)) {
			ids[n++] = held_at(h, 0)->id;
			h->first++;
			h->count--;
		}
		give_up(ctx, s, &owner, ids, n);
	}
	if (h->count > 0)
		cx_timer_arm(ctx, &h->timer, held_at(h, 0)->due_ms - until_ms + TICK_MS,
		             TIMER_A);
}

/* ---- whose route is asked for ---- */

/* Whether no server but this one is among the fields; false too when that is not known. */
static bool is_ours_alone(const struct stack_inbox *s, struct redis_walk *walk)
{
	char own[INSTANCE_DIGITS + 2];
	struct redis_value v, field;
	bool is_alone;

	snprintf(own, sizeof(own), "%016" PRIx64 "/", s->settings->instance);
	if (!redis_walk_next(walk, &v))
		return false;
	is_alone = v.kind == REDIS_ARRAY;
	for (uint32_t i = 0; v.kind == REDIS_ARRAY && i < v.count; i++)
		is_alone = redis_walk_next(walk, &field) && field.kind == REDIS_STRING &&
		           field.text.len > INSTANCE_DIGITS &&
		           memcmp(field.text.at, own, INSTANCE_DIGITS + 1) == 0 && is_alone;
	return is_alone;
}

static void on_routes(struct cx_ctx *ctx, struct stack_inbox *s, struct question *q,
                      const struct answer *a)
{
	struct receipts_batch *b = (struct receipts_batch *)(void *)q;
	struct redis_walk walk = { 0 };
	const uint64_t *ids = b->ids;

	if (a->kind == ANSWER_IS)
		walk = redis_walk_start(a->buf);
	for (uint32_t i = 0; i < b->user_count && !s->is_stopping && b->life == s->lives; i++) {
		const struct confirmed *c = &b->users[i];

		if (a->kind == ANSWER_IS && is_ours_alone(s, &walk))
			give_up(ctx, s, &c->owner, ids, c->count);
		else
			hold(ctx, s, &c->owner, ids, c->count);
		ids += c->count;
	}
	free(b->users);
	free(b->ids);
	free(b);
}

static void add_id(struct receipts_batch *b, uint64_t id)
{
	if (b->id_count == b->id_cap) {
		b->id_cap = b->id_cap == 0 ? 16 : 2 * b->id_cap;
		b->ids = realloc(b->ids, b->id_cap * sizeof(*b->ids));
		cx_assert(b->ids != NULL);
	}
	b->ids[b->id_count++] = id;
}

static void add_user(struct receipts_batch *b, const struct uuid *owner, uint32_t count)
{
	if (b->user_count == b->user_cap) {
		b->user_cap = b->user_cap == 0 ? 8 : 2 * b->user_cap;
		b->users = realloc(b->users, b->user_cap * sizeof(*b->users));
		cx_assert(b->users != NULL);
	}
	b->users[b->user_count++] = (struct confirmed){ *owner, count };
}

void receipts_take(struct stack_inbox *s, const struct inbox_receipts_done_msg *m)
{
	struct inbox_user *const user = inbox_index_find(&s->index, &m->owner);
	struct receipts_batch *b = s->open_receipts;
	uint32_t before;

	if (user == NULL)
		return;
	if (b == NULL) {
		b = calloc(1, sizeof(*b));
		cx_assert(b != NULL);
		b->life = s->lives;
		s->open_receipts = b;
	}
	before = b->id_count;
	for (uint32_t n = user->box->first;
	     n != user->box->end && box_at(user->box, n)->id <= m->upto; n++) {
		struct box_entry *e = box_at(user->box, n);

		if (e->kind != RECORD_RECEIPT || e->state != BOX_WAITING)
			continue;
		e->state = BOX_SETTLING;
		add_id(b, e->id);
	}
	if (b->id_count > before)
		add_user(b, &m->owner, b->id_count - before);
}

void receipts_send(struct cx_ctx *ctx, struct stack_inbox *s)
{
	struct receipts_batch *b = s->open_receipts;
	char key[STACK_KEY_MAX];
	uint64_t corr;

	if (b == NULL)
		return;
	s->open_receipts = NULL;
	for (uint32_t i = 0; i < b->user_count; i++) {
		const struct redis_arg argv[] = {
			REDIS_TEXT("HKEYS"),
			{ key, stack_key_route(key, s->settings->prefix, &b->users[i].owner) },
		};

		redis_batch_add(&s->redis, argv, CX_COUNTOF(argv));
	}
	if (!s->is_stopping && b->user_count > 0 &&
	    redis_batch_send(ctx, s->conf.redis, &s->redis, STACK_INBOX_ASK_MS, &corr) == CX_OK)
		question_wait(s, &b->question, corr, on_routes);
	else
		on_routes(ctx, s, &b->question, &(struct answer){ ANSWER_NEVER, NULL });
}
