/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "io/stack_routes_internal.h"

#define TIMEOUT_MS 5000
#define INSTANCE_DIGITS 16
#define TOO_MANY 4409
#define BATCH_BYTES (1024 * 1024) /* no user is added beyond */

/* ---- batches ---- */

static struct routes_batch *batch_new(struct stack_routes *r, enum routes_batch_kind kind)
{
	struct routes_batch *b = calloc(1, sizeof(*b));

	cx_assert(b != NULL);
	b->kind = kind;
	b->next = r->flying;
	r->flying = b;
	r->flying_count++;
	return b;
}

void routes_batch_drop(struct stack_routes *r, struct routes_batch *b)
{
	struct routes_batch **at = &r->flying;

	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	r->flying_count--;
	free(b->written);
	free(b->kicks);
	free(b->gone);
	free(b);
}

/* inv. 3 */
static void failed(struct cx_ctx *ctx, struct stack_routes *r, struct routes_batch *b)
{
	uint32_t lost = 0;

	for (uint32_t i = 0; i < b->users; i++) {
		struct routes_user *u = uuid_map_get(&r->users, &b->written[i].user);

		if (u == NULL)
			continue;
		if (b->written[i].is_announced)
			u->is_announced = false;
		routes_to_due(r, u);
	}
	for (uint32_t i = 0; i < b->kick_count; i++)
		lost += !routes_queue_add(&r->kicks, &b->kicks[i], sizeof(b->kicks[i]));
	for (uint32_t i = 0; i < b->gone_count; i++)
		lost += !routes_queue_add(&r->gone, &b->gone[i], sizeof(b->gone[i]));
	routes_count(&r->figures->leaves_lost, b->leaves);
	routes_count(&r->figures->kicks_lost, lost);
	routes_batch_drop(r, b);
	routes_back_off(ctx, r);
}

static void send_batch(struct cx_ctx *ctx, struct stack_routes *r, struct routes_batch *b)
{
	if (redis_batch_send(ctx, r->conf.redis, &r->batch, TIMEOUT_MS, &b->corr) != CX_OK)
		failed(ctx, r, b);
}

static void add_route(struct push_route *items, uint32_t *n, const struct stack_routes *r,
                      const struct uuid *user, bool is_joined)
{
	items[(*n)++] = (struct push_route){ .user = *user,
		                             .instance = r->conf.settings->instance,
		                             .is_joined = is_joined };
}

/* inv. 2 */
static void send_fields(struct cx_ctx *ctx, struct stack_routes *r)
{
	struct routes_batch *b = batch_new(r, ROUTES_BATCH_FIELDS);
	struct push_route *items = malloc(2 * ROUTES_CHUNK * sizeof(*items));
	const struct routes_leave *leaves = (const struct routes_leave *)(void *)r->leaves.at;
	struct routes_user *u;
	uint32_t n = 0;

	b->written = malloc(ROUTES_CHUNK * sizeof(*b->written));
	cx_assert(items != NULL && b->written != NULL);
	b->leaves = r->leaves.count < ROUTES_CHUNK ? r->leaves.count : ROUTES_CHUNK;
	for (uint32_t i = 0; i < b->leaves; i++) {
		routes_add_leave(r, &leaves[i]);
		/* who is here again is said to have joined, below or soon */
		if (leaves[i].is_last && uuid_map_get(&r->users, &leaves[i].user) == NULL)
			add_route(items, &n, r, &leaves[i].user, false);
	}
	routes_queue_drop(&r->leaves, b->leaves, sizeof(*leaves));
	while (r->leaves.count == 0 && b->users < ROUTES_CHUNK && r->batch.len < BATCH_BYTES &&
	       (u = r->due.first) != NULL) {
		routes_add_user(r, u);
		b->written[b->users++] =
			(struct routes_written){ .user = u->id,
			                         .joined_to_ms = r->last_join_ms,
			                         .is_announced = !u->is_announced };
		if (!u->is_announced)
			add_route(items, &n, r, &u->id, true);
		u->is_announced = true;
		routes_to_written(r, u, cx_now_ms(ctx));
	}
	routes_add_news(r, items, n);
	free(items);
	routes_count(&r->figures->written, b->users);
	send_batch(ctx, r, b);
}

static void *queue_take(struct routes_queue *q, uint32_t *n, size_t size)
{
	void *items;

	*n = q->count < ROUTES_CHUNK ? q->count : ROUTES_CHUNK;
	if (*n == 0)
		return NULL;
	items = malloc(*n * size);
	cx_assert(items != NULL);
	memcpy(items, q->at, *n * size);
	routes_queue_drop(q, *n, size);
	return items;
}

static void send_say(struct cx_ctx *ctx, struct stack_routes *r)
{
	struct routes_batch *b = batch_new(r, ROUTES_BATCH_SAY);

	b->kicks = queue_take(&r->kicks, &b->kick_count, sizeof(*b->kicks));
	b->gone = queue_take(&r->gone, &b->gone_count, sizeof(*b->gone));
	routes_add_kicks(ctx, r, b);
	routes_add_gone(r, b);
	send_batch(ctx, r, b);
}

/* ---- not repeated: a heartbeat later it is told again ---- */

static void send_and_forget(struct cx_ctx *ctx, struct stack_routes *r,
                            struct redis_batch *batch)
{
	uint64_t corr;

	if (redis_batch_send(ctx, r->conf.redis, batch, TIMEOUT_MS, &corr) == CX_OK)
		cx_ask_cancel(ctx, corr);
}

static void send_registry(struct cx_ctx *ctx, struct stack_routes *r)
{
	routes_add_registry(ctx, r);
	send_and_forget(ctx, r, &r->batch);
	r->registry_ms = cx_now_ms(ctx);
}

static bool has_fields(const struct stack_routes *r)
{
	return r->leaves.count > 0 || r->due.first != NULL;
}

static bool has_to_say(const struct stack_routes *r)
{
	return r->kicks.count > 0 || r->gone.count > 0;
}

static bool is_registry_due(struct cx_ctx *ctx, const struct stack_routes *r)
{
	return r->conf.keeps_registry && !r->is_drained &&
	       (r->registry_ms == 0 ||
	        cx_now_ms(ctx) - r->registry_ms >= r->conf.settings->heartbeat_ms);
}

static bool may_send(const struct stack_routes *r)
{
	return r->flying_count < ROUTES_IN_FLIGHT_MAX && !cx_timer_is_armed(&r->backoff);
}

bool routes_flush(struct cx_ctx *ctx, struct stack_routes *r)
{
	if (cx_timer_is_armed(&r->backoff))
		return false;
	if (is_registry_due(ctx, r))
		send_registry(ctx, r);
	if (r->asides.count > 0)
		send_and_forget(ctx, r, &r->asides);
	if (has_to_say(r) && may_send(r))
		send_say(ctx, r);
	if (has_fields(r) && may_send(r))
		send_fields(ctx, r);
	return (has_fields(r) || has_to_say(r)) && may_send(r);
}

/* ---- what came of it ---- */

/* "INSTANCE/N"; false: not ours to understand. */
static bool read_field(struct wire_slice text, uint64_t *instance, uint32_t *number)
{
	char copy[INSTANCE_DIGITS + 1 + 10 + 1];
	char *end;
	unsigned long long n;

	if (text.len <= INSTANCE_DIGITS + 1 || text.len >= sizeof(copy) ||
	    text.at[INSTANCE_DIGITS] != '/')
		return false;
	memcpy(copy, text.at, text.len);
	copy[text.len] = '\0';
	copy[INSTANCE_DIGITS] = '\0';
	*instance = strtoull(copy, &end, 16);
	if (*end != '\0')
		return false;
	n = strtoull(copy + INSTANCE_DIGITS + 1, &end, 10);
	*number = (uint32_t)n;
	return *end == '\0' && n <= UINT32_MAX;
}

static void displace(struct cx_ctx *ctx, struct stack_routes *r, const struct uuid *user,
                     struct wire_slice field)
{
	struct push_kick_connection kick = { .user = *user, .code = TOO_MANY };
	struct routes_displaced *m;
	uint64_t instance;
	enum cx_err err;

	if (!read_field(field, &instance, &kick.number))
		return;
	routes_count(&r->figures->displaced, 1);
	if (instance != r->conf.settings->instance) {
		routes_add_displaced(r, instance, &kick);
		return;
	}
	m = CX_MSG_NEW(ctx, ROUTES_DISPLACED, struct routes_displaced);
	m->user = *user;
	m->number = kick.number;
	err = cx_send_reserved(ctx, r->conf.hub, &m->hdr); /* one a connection and heartbeat */
	(void)err;                                         /* only at the runtime's end */
}

static void tell_joined(struct cx_ctx *ctx, struct stack_routes *r, const struct uuid *user)
{
	struct routes_joined *m = CX_MSG_NEW(ctx, ROUTES_JOINED, struct routes_joined);
	enum cx_err err;

	m->user = *user;
	err = cx_send_reserved(ctx, r->conf.hub, &m->hdr);
	(void)err; /* only at the runtime's end */
}

/* They have their time of joining in Redis; if they lose it there, ours will do. */
static void grow_up(struct routes_user *u, const struct routes_written *w)
{
	for (uint32_t i = 0; i < u->count; i++)
		if (u->members[i].join_ms <= w->joined_to_ms)
			u->members[i].is_young = false;
}

/* False: this user was not written. */
static bool take_user(struct cx_ctx *ctx, struct stack_routes *r,
                      const struct routes_written *w, struct redis_walk *walk)
{
	struct routes_user *u = uuid_map_get(&r->users, &w->user);
	struct redis_value v, was_gone, field;

	if (!redis_walk_next(walk, &v) || v.kind != REDIS_ARRAY || v.count == 0 ||
	    !redis_walk_next(walk, &was_gone) || was_gone.kind != REDIS_INTEGER)
		return false;
	for (uint32_t i = 1; i < v.count; i++)
		if (redis_walk_next(walk, &field) && field.kind == REDIS_STRING)
			displace(ctx, r, &w->user, field.text);
	if (u == NULL)
		return true;
	grow_up(u, w);
	if (w->is_announced) {
		tell_joined(ctx, r, &w->user);
	} else if (was_gone.integer == 1) { /* lost meanwhile, and a worker may have looked */
		u->is_announced = false;
		routes_to_due(r, u);
	}
	return true;
}

static void take_fields(struct cx_ctx *ctx, struct stack_routes *r,
                        const struct routes_batch *b, const struct cx_buf *values)
{
	struct redis_walk walk = redis_walk_start(values);
	bool is_whole = true;

	for (uint32_t i = 0; i < b->leaves; i++)
		redis_walk_skip(&walk);
	for (uint32_t i = 0; i < b->users; i++) {
		struct redis_walk next = walk;
		struct routes_user *u;

		redis_walk_skip(&next);
		if (!take_user(ctx, r, &b->written[i], &walk)) {
			is_whole = false;
			u = uuid_map_get(&r->users, &b->written[i].user);
			if (u != NULL) {
				u->is_announced = false;
				routes_to_due(r, u);
			}
		}
		walk = next;
	}
	if (is_whole)
		r->backoff_ms = 0;
	else
		routes_back_off(ctx, r);
}

static bool is_without_error(const struct cx_buf *values)
{
	struct redis_walk walk = redis_walk_start(values);
	struct redis_value v;

	while (redis_walk_next(&walk, &v))
		if (v.kind == REDIS_ERROR)
			return false;
	return true;
}

void routes_answered(struct cx_ctx *ctx, struct stack_routes *r, uint64_t corr,
                     const struct cx_buf *values)
{
	struct routes_batch *b = r->flying;

	while (b != NULL && b->corr != corr)
		b = b->next;
	if (b == NULL)
		return;
	if (values == NULL || (b->kind == ROUTES_BATCH_SAY && !is_without_error(values))) {
		failed(ctx, r, b);
		return;
	}
	if (b->kind == ROUTES_BATCH_FIELDS) {
		take_fields(ctx, r, b, values);
	} else {
		r->backoff_ms = 0;
		routes_kicks_said(ctx, r, b, redis_walk_start(values));
	}
	routes_batch_drop(r, b);
}
