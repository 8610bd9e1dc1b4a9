/* SPDX-License-Identifier: MIT */
#include "io/stack_routes_internal.h"

#include <stdlib.h>
#include <string.h>

#include "io/figures.h"

#define WORKERS_MAX 64
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 5000
#define TICKS 16 /* a heartbeat */
#define GO_ON_MS 1

struct line {
	_Alignas(64) struct stack_routes_figures figures;
};

static struct line all[WORKERS_MAX];

void stack_routes_figures(struct stack_routes_figures *out)
{
	*out = (struct stack_routes_figures){ 0 };
	for (unsigned w = 0; w < WORKERS_MAX; w++) /* pairs with routes_count */
		figures_add(out, &all[w].figures, sizeof(*out));
}

/* ---- lists and queues ---- */

static void list_take(struct routes_list *list, struct routes_user *u)
{
	if (u->prev != NULL)
		u->prev->next = u->next;
	else
		list->first = u->next;
	if (u->next != NULL)
		u->next->prev = u->prev;
	else
		list->last = u->prev;
	u->next = u->prev = NULL;
}

static void list_add(struct routes_list *list, struct routes_user *u)
{
	u->prev = list->last;
	u->next = NULL;
	if (list->last != NULL)
		list->last->next = u;
	else
		list->first = u;
	list->last = u;
}

void routes_to_due(struct stack_routes *r, struct routes_user *u)
{
	if (u->is_due)
		return;
	list_take(&r->written, u);
	list_add(&r->due, u);
	u->is_due = true;
}

void routes_to_written(struct stack_routes *r, struct routes_user *u, uint64_t now_ms)
{
	list_take(u->is_due ? &r->due : &r->written, u);
	list_add(&r->written, u);
	u->is_due = false;
	u->written_ms = now_ms;
}

bool routes_queue_add(struct routes_queue *q, const void *item, size_t size)
{
	if (q->count >= ROUTES_QUEUE_MAX)
		return false;
	if (q->count == q->cap) {
		q->cap = q->cap == 0 ? 16 : 2 * q->cap;
		q->at = realloc(q->at, q->cap * size);
		cx_assert(q->at != NULL);
	}
	memcpy(q->at + q->count * size, item, size);
	q->count++;
	return true;
}

void routes_queue_drop(struct routes_queue *q, uint32_t n, size_t size)
{
	q->count -= n;
	if (q->count > 0)
		memmove(q->at, q->at + n * size, q->count * size);
}

void routes_back_off(struct cx_ctx *ctx, struct stack_routes *r)
{
	routes_count(&r->figures->failures, 1);
	if (cx_timer_is_armed(&r->backoff))
		return; /* of the same disturbance */
	r->backoff_ms = r->backoff_ms == 0 ? BACKOFF_FIRST_MS : 2 * r->backoff_ms;
	if (r->backoff_ms > BACKOFF_MAX_MS)
		r->backoff_ms = BACKOFF_MAX_MS;
	cx_timer_arm(ctx, &r->backoff, r->backoff_ms / 2 + cx_random(ctx) % r->backoff_ms,
	             TIMER_C);
}

/* ---- users ---- */

static void forget(struct stack_routes *r, struct routes_user *u)
{
	list_take(u->is_due ? &r->due : &r->written, u);
	uuid_map_take(&r->users, &u->id);
	routes_count(&r->figures->users, UINT64_MAX);
	free(u->members);
	free(u);
}

static struct routes_user *user_of(struct stack_routes *r, const struct uuid *id)
{
	struct routes_user *u = uuid_map_get(&r->users, id);

	if (u != NULL)
		return u;
	u = calloc(1, sizeof(*u));
	cx_assert(u != NULL);
	u->id = *id;
	u->is_due = true;
	list_add(&r->due, u);
	uuid_map_put(&r->users, id, u);
	routes_count(&r->figures->users, 1);
	return u;
}

/* The order of joins here is the order in Redis, whatever the wall clock does. */
static int64_t next_join_ms(struct cx_ctx *ctx, struct stack_routes *r)
{
	const int64_t now_ms = cx_wall_ms(ctx);

	r->last_join_ms = now_ms > r->last_join_ms ? now_ms : r->last_join_ms + 1;
	return r->last_join_ms;
}

static void on_join(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct routes_join_msg *m = CX_MSG_AS(struct routes_join_msg, msg);
	struct stack_routes *r = state;
	struct routes_user *u;

	if (r->is_drained)
		return;
	u = user_of(r, &m->user);
	if (u->count == u->cap) {
		u->cap = u->cap == 0 ? 1 : 2 * u->cap;
		u->members = realloc(u->members, u->cap * sizeof(u->members[0]));
		cx_assert(u->members != NULL);
	}
	u->members[u->count++] = (struct routes_member){ .join_ms = next_join_ms(ctx, r),
		                                         .number = m->number,
		                                         .is_young = true };
	routes_to_due(r, u);
}

static void leave(struct stack_routes *r, const struct uuid *user, uint32_t number,
                  bool is_last)
{
	struct routes_leave l;

	memset(&l, 0, sizeof(l));
	l.user = *user;
	l.number = number;
	l.is_last = is_last;
	if (!routes_queue_add(&r->leaves, &l, sizeof(l)))
		routes_count(&r->figures->leaves_lost, 1);
}

static void on_leave(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct routes_leave_msg *m = CX_MSG_AS(struct routes_leave_msg, msg);
	struct stack_routes *r = state;
	struct routes_user *u = uuid_map_get(&r->users, &m->user);
	uint32_t i = 0;

	(void)ctx;
	if (u == NULL)
		return; /* the account is gone, or all was taken out */
	while (i < u->count && u->members[i].number != m->number)
		i++;
	if (i == u->count)
		return;
	memmove(&u->members[i], &u->members[i + 1], (u->count - i - 1) * sizeof(u->members[0]));
	u->count--;
	leave(r, &m->user, m->number, m->is_last != 0);
	if (u->count == 0)
		forget(r, u);
}

static void on_kick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct routes_kick_msg *m = CX_MSG_AS(struct routes_kick_msg, msg);
	struct stack_routes *r = state;

	routes_kick_wait(ctx, r, &m->kick, m->caller);
	if (!routes_queue_add(&r->kicks, &m->kick, sizeof(m->kick)))
		routes_count(&r->figures->kicks_lost, 1);
}

static void on_confirm(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct routes_confirm_msg *m = CX_MSG_AS(struct routes_confirm_msg, msg);

	(void)ctx;
	routes_add_confirm(state, m->to, &m->kick);
}

static void on_confirmed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	routes_kick_done(ctx, state, &CX_MSG_AS(struct routes_confirmed_msg, msg)->kick);
}

static void on_repeat(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)msg;
	routes_kicks_repeat(ctx, state);
}

/* His connections leave later: of a user who is not known here any more. */
static void on_gone(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct push_user_gone gone = {
		.user = CX_MSG_AS(struct routes_gone_msg, msg)->user
	};
	struct stack_routes *r = state;
	struct routes_user *u = uuid_map_get(&r->users, &gone.user);

	(void)ctx;
	if (u != NULL)
		forget(r, u);
	if (!routes_queue_add(&r->gone, &gone, sizeof(gone)))
		routes_count(&r->figures->kicks_lost, 1);
}

static void on_drain(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_routes *r = state;
	struct routes_user *u;

	(void)ctx;
	(void)msg;
	r->is_drained = true;
	while ((u = r->written.first) != NULL || (u = r->due.first) != NULL) {
		for (uint32_t i = 0; i < u->count; i++)
			leave(r, &u->id, u->members[i].number, i + 1 == u->count);
		forget(r, u);
	}
}

/* ---- Redis ---- */

static void on_reply(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const bool is_answered = CX_MSG_AS(struct redis_reply, msg)->outcome == REDIS_ANSWERED;

	routes_answered(ctx, state, msg->corr, is_answered ? msg->buf : NULL);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	routes_answered(ctx, state, msg->corr, NULL);
}

/* All who are here are said again to be here: workers may have looked meanwhile and seen nobody. */
static void on_again(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_routes *r = state;

	(void)msg;
	while (r->written.first != NULL)
		routes_to_due(r, r->written.first);
	for (struct routes_user *u = r->due.first; u != NULL; u = u->next)
		u->is_announced = false;
	r->registry_ms = 0;
	r->backoff_ms = 0;
	cx_timer_cancel(ctx, &r->backoff);
}

/* ---- time ---- */

/* Whose field is older than three quarters of a heartbeat is renewed; of many in the same moment an
 * eighth at a tick, so they are apart the next time. */
static void on_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_routes *r = state;
	const uint32_t heartbeat_ms = r->conf.settings->heartbeat_ms;
	const uint64_t now_ms = cx_now_ms(ctx);
	uint32_t n = r->users.count / 8 + 1;

	(void)msg;
	for (; n > 0 && r->written.first != NULL; n--) {
		if (now_ms - r->written.first->written_ms < heartbeat_ms - heartbeat_ms / 4)
			break;
		routes_to_due(r, r->written.first);
	}
	cx_timer_arm(ctx, &r->tick, heartbeat_ms / TICKS + 1, TIMER_B);
}

/* Waking is all: batch_end does the rest. */
static void on_timer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
}

static void batch_end(struct cx_ctx *ctx, void *state)
{
	struct stack_routes *r = state;

	if (routes_flush(ctx, r) && !cx_timer_is_armed(&r->go_on))
		cx_timer_arm(ctx, &r->go_on, GO_ON_MS, TIMER_A);
}

/* ---- life ---- */

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct stack_routes *r = state;
	const struct stack_routes_conf *c = conf;
	const struct stack_routes_settings *s = c->settings;

	if (s->heartbeat_ms == 0 || s->ttl_ms == 0 || s->max_connections == 0)
		return CX_EINVAL;
	r->conf = *c;
	cx_assert(cx_worker_index(ctx) < WORKERS_MAX);
	r->figures = &all[cx_worker_index(ctx)].figures;
	cx_timer_arm(ctx, &r->tick, 1, TIMER_B);
	return CX_OK;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct stack_routes *r = state;

	(void)ctx;
	while (r->written.first != NULL || r->due.first != NULL)
		forget(r, r->written.first != NULL ? r->written.first : r->due.first);
	while (r->flying != NULL)
		routes_batch_drop(r, r->flying);
	uuid_map_free(&r->users);
	redis_batch_free(&r->batch);
	redis_batch_free(&r->asides);
	routes_kicks_free(r);
	free(r->leaves.at);
	free(r->kicks.at);
	free(r->gone.at);
	free(r->payload);
	free(r->argv);
	free(r->texts);
}

static const struct cx_handler handlers[] = {
	CX_ON(ROUTES_JOIN, struct routes_join_msg, on_join),
	CX_ON(ROUTES_LEAVE, struct routes_leave_msg, on_leave),
	CX_ON(ROUTES_KICK, struct routes_kick_msg, on_kick),
	CX_ON(ROUTES_CONFIRM, struct routes_confirm_msg, on_confirm),
	CX_ON(ROUTES_CONFIRMED, struct routes_confirmed_msg, on_confirmed),
	CX_ON(ROUTES_GONE, struct routes_gone_msg, on_gone),
	CX_ON(ROUTES_AGAIN, struct cx_msg, on_again),
	CX_ON(ROUTES_DRAIN, struct cx_msg, on_drain),
	CX_ON(REDIS_REPLY, struct redis_reply, on_reply),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
	CX_ON(TIMER_A, struct cx_msg_timer, on_timer),
	CX_ON(TIMER_B, struct cx_msg_timer, on_tick),
	CX_ON(TIMER_C, struct cx_msg_timer, on_timer),
	CX_ON(TIMER_D, struct cx_msg_timer, on_repeat),
};

const struct cx_actor_type stack_routes_type = {
	.name = "stack_routes",
	.state_size = sizeof(struct stack_routes),
	.conf_size = sizeof(struct stack_routes_conf),
	.mailbox_cap = 65536,
	.batch_max = 256,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.batch_end = batch_end,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
