/* SPDX-License-Identifier: MIT */
#include "io/stack_inbox.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "io/stack_inbox_internal.h"

#define USER_MAX 65536
#define TOTAL_MAX 1000000
#define MEAN_BYTES 400 /* of an entry, before any was seen */
#define CHORES_MAX 1000
#define CHORE_MS 5000
#define OTHERS_DELETE_MS \
	2000 /* until all servers have found Redis again, when it was away for seconds */

/* ---- questions under way ---- */

static struct question **bucket_of(struct stack_inbox *s, uint64_t corr)
{
	return &s->questions[(corr * UINT64_C(0x9e3779b97f4a7c15) >> 32) &
	                     (QUESTION_BUCKETS - 1)];
}

void question_wait(struct stack_inbox *s, struct question *q, uint64_t corr, question_fn *then)
{
	struct question **bucket = bucket_of(s, corr);

	*q = (struct question){ *bucket, corr, then };
	*bucket = q;
}

static struct question *question_take(struct stack_inbox *s, uint64_t corr)
{
	struct question **at = bucket_of(s, corr), *q;

	while (*at != NULL && (*at)->corr != corr)
		at = &(*at)->next;
	q = *at;
	if (q != NULL)
		*at = q->next;
	return q;
}

bool is_wrong_type(const struct redis_value *v)
{
	/* the error of a script names it, too, behind other words in older servers */
	return v->kind == REDIS_ERROR && v->text.len >= 9 &&
	       memmem(v->text.at, v->text.len, "WRONGTYPE", 9) != NULL;
}

void user_unhold(struct stack_inbox *s, struct inbox_user *user)
{
	user->busy--;
	inbox_index_release(&s->index, user);
}

static void on_reply(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_inbox *s = state;
	struct question *q = question_take(s, msg->corr);
	const bool is_answered = CX_MSG_AS(struct redis_reply, msg)->outcome == REDIS_ANSWERED;

	if (q != NULL) /* else a chore's */
		q->then(ctx, s, q,
		        &(struct answer){ is_answered ? ANSWER_IS : ANSWER_UNKNOWN, msg->buf });
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_inbox *s = state;
	struct question *q = question_take(s, msg->corr);
	const bool is_sent = CX_MSG_AS(struct cx_msg_error, msg)->err == CX_ETIMEOUT;

	if (q != NULL)
		q->then(ctx, s, q,
		        &(struct answer){ is_sent ? ANSWER_UNKNOWN : ANSWER_NEVER, NULL });
}

/* ---- deletions that nobody waits for ---- */

static void send_chores(struct cx_ctx *ctx, struct stack_inbox *s)
{
	uint64_t corr;
	enum cx_err err;

	if (s->chores.count == 0)
		return;
	err = redis_batch_send(ctx, s->conf.redis, &s->chores, CHORE_MS, &corr);
	(void)err; /* lost: what should be gone is found again by the next read */
}

void chore_delete(struct cx_ctx *ctx, struct stack_inbox *s, const struct uuid *owner,
                  const uint64_t *ids, uint32_t count)
{
	delete_add(&s->chores, s->settings->prefix, owner, ids, count);
	if (s->chores.count >= CHORES_MAX)
		send_chores(ctx, s);
}

/* ---- the others ---- */

static void on_read(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	read_take(ctx, state, CX_MSG_AS(struct inbox_read_msg, msg));
}

static void on_settle(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct inbox_settle_msg *m = CX_MSG_AS(struct inbox_settle_msg, msg);
	struct stack_inbox *s = state;
	struct inbox_user *user = inbox_index_use(&s->index, &m->owner, s->mean_bytes);

	user->busy++;
	if (!settle_try(ctx, s, user, &m->key, m->has_from ? &m->from : NULL,
	                cx_caller_of(msg)))
		find_take(ctx, s, user, m);
	user_unhold(s, user);
}

static void on_receipts_done(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	receipts_take(state, CX_MSG_AS(struct inbox_receipts_done_msg, msg));
}

static void on_timer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)msg;
	receipts_on_timer(ctx, state);
}

static void on_learn(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct inbox_learn_msg *m = CX_MSG_AS(struct inbox_learn_msg, msg);
	struct stack_inbox *s = state;

	(void)ctx;
	for (uint32_t i = 0; i < m->count && i < INBOX_BATCH_MAX; i++) {
		const struct inbox_item *item = &m->items[i];
		const struct record *r =
			(const struct record *)(const void *)(cx_buf_bytes(msg->buf) +
		                                              item->offset);
		struct inbox_user *user = inbox_index_find(&s->index, &item->owner);

		if (user == NULL)
			continue;
		inbox_index_extend(&s->index, user, item->prev,
		                   &(struct box_entry){ .id = item->id,
		                                        .peer = r->peer,
		                                        .key = r->key,
		                                        .key_case = r->key_case,
		                                        .kind = item->kind });
		user->busy++; /* when the index is full it forgets him */
		user_unhold(s, user);
	}
}

static void on_presence(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct inbox_presence_msg *m = CX_MSG_AS(struct inbox_presence_msg, msg);
	struct stack_inbox *s = state;
	struct inbox_user *user = inbox_index_find(&s->index, &m->owner);

	(void)ctx;
	if (user == NULL && !m->is_present)
		return;
	user = inbox_index_use(&s->index, &m->owner, s->mean_bytes);
	user->is_present = m->is_present != 0;
	inbox_index_release(&s->index, user);
}

/* It may have lost its last writes: what was heard of is not there, or is but was taken out, and what
 * comes anew may get ids that others had.  What was taken out here is taken out again; others do so too, so
 * nobody reads before they may have. */
static void on_changed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_inbox *s = state;

	(void)msg;
	s->lives++;
	lately_repeat(ctx, s);
	s->no_reads_until_ms = cx_now_ms(ctx) + OTHERS_DELETE_MS;
	receipts_forget(s);
	inbox_index_doubt(&s->index);
}

/* ---- lifecycle ---- */

static void batch_end(struct cx_ctx *ctx, void *state)
{
	struct stack_inbox *s = state;

	settle_send(ctx, s);
	send_chores(ctx, s);
	read_send(ctx, s);
	receipts_send(ctx, s);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct stack_inbox *s = state;

	s->conf = *(const struct stack_inbox_conf *)conf;
	s->settings = s->conf.settings;
	s->mean_bytes = MEAN_BYTES;
	steady_wall_start(&s->wall, ctx);
	s->index.user_max = s->settings->index_max > 0 ? s->settings->index_max : USER_MAX;
	s->index.total_max =
		s->settings->index_total_max > 0 ? s->settings->index_total_max : TOTAL_MAX;
	if (getrandom(&s->index.seed, sizeof(s->index.seed), 0) !=
	    (ssize_t)sizeof(s->index.seed))
		s->index.seed = cx_random(ctx);
	return CX_OK;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct stack_inbox *s = state;

	s->is_stopping = true; /* nothing is sent any more */
	settle_send(ctx, s);
	read_send(ctx, s);
	receipts_send(ctx, s);
	for (uint32_t i = 0; i < QUESTION_BUCKETS; i++) {
		while (s->questions[i] != NULL) {
			struct question *q = s->questions[i];

			s->questions[i] = q->next;
			q->then(ctx, s, q, &(struct answer){ ANSWER_UNKNOWN, NULL });
		}
	}
	redis_batch_free(&s->redis);
	redis_batch_free(&s->chores);
	inbox_index_free(&s->index);
	free(s->slots);
	free(s->events);
	free(s->held.ring);
	lately_free(&s->lately);
}

static const struct cx_handler handlers[] = {
	CX_ON(INBOX_READ, struct inbox_read_msg, on_read),
	CX_ON(INBOX_SETTLE, struct inbox_settle_msg, on_settle),
	CX_ON(INBOX_RECEIPTS_DONE, struct inbox_receipts_done_msg, on_receipts_done),
	CX_ON(INBOX_LEARN, struct inbox_learn_msg, on_learn),
	CX_ON(INBOX_PRESENCE, struct inbox_presence_msg, on_presence),
	CX_ON(REDIS_REPLY, struct redis_reply, on_reply),
	CX_ON(REDIS_CHANGED, struct redis_changed, on_changed),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
	CX_ON(TIMER_A, struct cx_msg_timer, on_timer),
};

const struct cx_actor_type stack_inbox_type = {
	.name = "inbox",
	.state_size = sizeof(struct stack_inbox),
	.conf_size = sizeof(struct stack_inbox_conf),
	.mailbox_cap = 65536,
	.batch_max = 256,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.batch_end = batch_end,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
