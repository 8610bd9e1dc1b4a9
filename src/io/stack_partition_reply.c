/* SPDX-License-Identifier: MIT */
#include "io/stack_partition_internal.h"

#include "wire/inbox_entry.h"

enum verdict { WAS_THERE, APPENDED, DUPLICATE, NO_OWNER, ACKNOWLEDGED };

struct answer { /* to one batch */
	struct cx_ctx *ctx;
	struct stack_partition *s;
	struct stack_part *p;
	const struct stack_work *w;
	struct stack_routes found[STACK_BATCH_RECORDS]; /* by number of the lookup */
	uint64_t now_ms;
};

static void take_routes(struct answer *a, struct redis_walk *walk)
{
	struct redis_value v, field;

	for (uint32_t i = 0; i < a->w->lookup_count; i++) {
		struct stack_routes *const routes = &a->found[i];

		routes->count = 0;
		if (!redis_walk_next(walk, &v))
			return;
		for (uint32_t n = 0; v.kind == REDIS_ARRAY && n < v.count; n++)
			if (redis_walk_next(walk, &field) && field.kind == REDIS_STRING)
				stack_routes_add_field(routes, field.text);
		stack_routes_cache_put(&a->s->routes, &a->w->lookups[i], routes,
		                       a->w->routes_asked, a->now_ms);
	}
	stack_partition_count(&a->s->figures->lookups, a->w->lookup_count);
}

/* Where the user is: as last heard, else as just read. */
static const struct stack_routes *routes_of(const struct answer *a,
                                            const struct stack_item *item)
{
	static const struct stack_routes nowhere;
	const struct stack_routes *const known =
		stack_routes_cache_find(&a->s->routes, &item->user, 0);

	if (known != NULL)
		return known;
	return item->lookup != STACK_NO_LOOKUP ? &a->found[item->lookup] : &nowhere;
}

static void push(struct answer *a, const struct stack_item *item, uint64_t id)
{
	struct stack_partition *const s = a->s;
	struct stack_user *const u = stack_users_get(&s->users, &item->user);
	const struct stack_routes *const routes = routes_of(a, item);
	const bool is_known = u->last_id != 0 && u->epoch == a->p->epoch;
	struct record head = { .kind = RECORD_MESSAGE,
		               .id = id,
		               .ref = is_known ? u->last_id : UINT64_MAX,
		               .owner = item->user };
	struct inbox_entry e;

	cx_assert(
		inbox_entry_read(wire_slice(a->w->entries + item->entry, item->entry_len), &e));
	head.wall_ms = e.wall_ms;
	head.peer = e.peer;
	head.key = e.key;
	head.key_case = e.key_case;
	stack_push_add(&s->push, routes, &head, e.frame);
	stack_partition_count(&s->figures->pushes, routes->count);
	u->last_id = id;
	u->epoch = a->p->epoch;
	u->appended_ms = a->now_ms;
}

/* It is in, but whether that was ever told is not known. */
static void look(struct answer *a, const struct stack_item *item)
{
	struct stack_user *const u = stack_users_find(&a->s->users, &item->user);
	const struct stack_routes *const routes = routes_of(a, item);

	if (u != NULL) {
		u->last_id = 0;
		u->appended_ms = a->now_ms;
	}
	for (uint32_t i = 0; i < routes->count; i++)
		stack_push_look(a->s->settings->channel_prefix, routes->instances[i],
		                &item->user, &a->s->redis);
	stack_partition_count(&a->s->figures->looks, routes->count);
}

static void take_item(struct answer *a, const struct stack_item *item,
                      const struct redis_value *v)
{
	struct stack_partition_figures *const f = a->s->figures;
	uint64_t id = inbox_id((uint64_t)item->offset + 1, 0);

	if ((v->kind == REDIS_INTEGER && v->integer == APPENDED) ||
	    (v->kind == REDIS_STRING && inbox_id_parse(v->text, &id))) {
		stack_partition_count(&f->appended, 1);
		push(a, item, id);
	} else if (v->kind == REDIS_INTEGER && v->integer == DUPLICATE) {
		stack_partition_count(&f->duplicates, 1);
	} else if (v->kind == REDIS_INTEGER && v->integer == NO_OWNER) {
		stack_partition_count(&f->gone, 1);
	} else if (v->kind == REDIS_INTEGER && v->integer == ACKNOWLEDGED) {
		stack_partition_count(&f->acked, 1);
	} else {
		stack_partition_count(&f->repetitions, 1);
		if (item->entry_len > 0 && item->offset < a->p->look_below)
			look(a, item);
	}
}

static void send_pushes(struct answer *a)
{
	struct stack_partition *const s = a->s;
	enum cx_err err;
	uint64_t corr;

	stack_push_flush(&s->push, s->settings->channel_prefix, &s->redis);
	if (s->redis.count == 0)
		return;
	err = redis_batch_send(a->ctx, s->conf.redis, &s->redis, STACK_CALL_MS, &corr);
	(void)err; /* hints */
}

bool stack_batch_answered(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p,
                          struct stack_batch *b, const struct cx_buf *values)
{
	struct answer a = {
		.ctx = ctx, .s = s, .p = p, .w = b->work, .now_ms = cx_now_ms(ctx)
	};
	struct redis_walk walk = redis_walk_start(values), items;
	struct redis_value v;

	if (!redis_walk_next(&walk, &v) || v.kind != REDIS_ARRAY ||
	    v.count != b->work->item_count + b->work->lookup_count)
		return false; /* another fence, or an error: it had no effect that is not found again */
	items = walk;
	for (uint32_t i = 0; i < b->work->item_count; i++)
		redis_walk_skip(&walk);
	take_routes(&a, &walk);
	for (uint32_t i = 0; i < b->work->item_count; i++)
		if (redis_walk_next(&items, &v))
			take_item(&a, &b->work->items[i], &v);
	send_pushes(&a);
	stack_partition_count(&s->figures->batches, 1);
	return true;
}
