/* SPDX-License-Identifier: MIT */
/* The call for all senders of a job (stack_receipts_script.c): what is in it by what this worker knows
 * of them, and who is to be told. */
#include "io/stack_receipts_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/stack_heard.h"
#include "io/stack_keys.h"
#include "wire/inbox_entry.h"
#include "wire/server_frame.h"

#define APPEND_MS 10000
#define USERS_MAX 65536
#define ROUTES_LIFE_MS 60000
#define TTL_MARGIN_MS (INT64_C(2) * 86400000) /* the key lives longer than what is in it */
#define TTL_EACH_MS (UINT64_C(86400000))      /* it is set that often by this worker */
#define ENTRY_LEN (INBOX_ENTRY_HEAD_LEN + SERVER_FRAME_DELIVERED_LEN) /* of one receipt */
#define FRAMES_LEN (STACK_RECEIPTS_ENTRY * SERVER_FRAME_DELIVERED_LEN)
#define KEYS_MAX (5 * RCPT_JOB_MAX)
#define NUMBERS_MAX (6 + 3 * RCPT_JOB_MAX)
#define ARGS_MAX (NUMBERS_MAX + 2 * RCPT_JOB_MAX)

/* What a call is made up in; used again. */
struct rcpt_call {
	uint32_t key_count, arg_count, number_count;
	uint32_t inboxes, lookups, ttls, checks;
	struct redis_arg argv[KEYS_MAX + ARGS_MAX]; /* keys, then args */
	struct redis_arg args[ARGS_MAX];
	char keys[KEYS_MAX][STACK_KEY_MAX];
	char numbers[NUMBERS_MAX][24];
	uint32_t bytes_len; /* of entries */
	uint8_t bytes[RCPT_JOB_MAX * ENTRY_LEN];
};

void rcpt_append_start(struct stack_receipts *s)
{
	s->call = malloc(sizeof(*s->call));
	cx_assert(s->call != NULL);
	stack_users_init(&s->users, USERS_MAX);
	stack_routes_cache_init(&s->routes, USERS_MAX, ROUTES_LIFE_MS);
}

void rcpt_append_stop(struct stack_receipts *s)
{
	stack_users_clear(&s->users);
	stack_routes_cache_free(&s->routes);
	free(s->call);
}

void rcpt_hear(struct stack_receipts *s, const struct cx_buf *payload, uint64_t now_ms)
{
	const struct stack_heard heard = { &s->routes, &s->users,
		                           s->conf.settings->channel_prefix, &s->batch };

	rcpt_count(&s->figures->looks, stack_heard_take(&heard, payload, now_ms));
}

static size_t count_key(char out[STACK_KEY_MAX], const char *prefix, const struct uuid *user)
{
	char id[UUID_TEXT_LEN];

	uuid_format(user, id);
	return (size_t)snprintf(out, STACK_KEY_MAX, "%sreceipts:{%.*s}", prefix, UUID_TEXT_LEN,
	                        id);
}

/* ---- entries: up to STACK_RECEIPTS_ENTRY receipts each ---- */

static uint32_t entries_of(const struct rcpt_group *group)
{
	return (group->count + STACK_RECEIPTS_ENTRY - 1u) / STACK_RECEIPTS_ENTRY;
}

/* The frames of the next entry; *i is the first receipt behind it then.  Returns their length. */
static size_t write_frames(uint8_t out[FRAMES_LEN], const struct rcpt_job *job, uint16_t *i)
{
	size_t len = 0;

	for (; *i != RCPT_NONE && len < FRAMES_LEN; *i = job->receipts[*i].next) {
		const struct rcpt_receipt *const r = &job->receipts[*i];

		len += server_frame_ack(out + len, FRAMES_LEN - len, &r->message,
		                        r->message_case, ACK_DELIVERED);
	}
	return len;
}

/* ---- the call ---- */

static void add_key(struct rcpt_call *c,
                    size_t (*name)(char *, const char *, const struct uuid *),
                    const char *prefix, const struct uuid *user)
{
	char *const to = c->keys[c->key_count];

	c->argv[c->key_count++] = (struct redis_arg){ to, name(to, prefix, user) };
}

static void add_arg(struct rcpt_call *c, const void *at, size_t len)
{
	c->args[c->arg_count++] = (struct redis_arg){ at, len };
}

static void add_number(struct rcpt_call *c, int64_t n)
{
	char *const to = c->numbers[c->number_count++];

	add_arg(c, to, (size_t)snprintf(to, sizeof(c->numbers[0]), "%" PRId64, n));
}

/* What is to be done beside appending, by what this worker knows of the user. */
static void plan(struct stack_receipts *s, struct rcpt_call *c, struct rcpt_group *group,
                 uint64_t now_ms)
{
	const struct stack_user *const u = stack_users_get(&s->users, &group->sender);
	const uint32_t left = u->until_check, n = entries_of(group);

	group->has_lookup = stack_routes_cache_find(&s->routes, &group->sender, now_ms) == NULL;
	group->has_ttl = now_ms >= u->ttl_until_ms;
	group->unchecked = u->last_id == 0 ? n : left <= n ? RCPT_CHECK_EACH - left + n : 0;
	c->lookups += group->has_lookup;
	c->ttls += group->has_ttl;
	c->checks += group->unchecked > 0;
}

static void add_keys(struct stack_receipts *s, struct rcpt_call *c, const struct rcpt_job *job)
{
	const char *const prefix = s->conf.settings->prefix;
	const struct rcpt_group *const end = job->groups + job->group_count;

	for (const struct rcpt_group *g = job->groups; g < end; g++)
		if (g->state == RCPT_ASKED)
			add_key(c, stack_key_inbox, prefix, &g->sender);
	for (const struct rcpt_group *g = job->groups; g < end; g++)
		if (g->state == RCPT_ASKED && g->has_lookup)
			add_key(c, stack_key_route, prefix, &g->sender);
	for (const struct rcpt_group *g = job->groups; g < end; g++)
		if (g->state == RCPT_ASKED && g->has_ttl)
			add_key(c, stack_key_inbox, prefix, &g->sender);
	for (const struct rcpt_group *g = job->groups; g < end; g++) {
		if (g->state != RCPT_ASKED || g->unchecked == 0)
			continue;
		add_key(c, stack_key_inbox, prefix, &g->sender);
		add_key(c, count_key, prefix, &g->sender);
	}
}

/* The ms of the last id that this worker saw in his inbox. */
static void add_hint(struct stack_receipts *s, struct rcpt_call *c, const struct uuid *user)
{
	const struct stack_user *const u = stack_users_find(&s->users, user);

	if (u != NULL && u->last_id != 0)
		add_number(c, (int64_t)inbox_id_ms(u->last_id));
	else
		add_arg(c, "", 0);
}

static void add_entries(struct rcpt_call *c, const struct rcpt_job *job,
                        const struct rcpt_group *group, int64_t wall_ms)
{
	uint8_t frames[FRAMES_LEN];

	for (uint16_t i = group->first; i != RCPT_NONE;) {
		const struct rcpt_receipt *const first = &job->receipts[i];
		const struct inbox_entry e = {
			.kind = RECORD_RECEIPT,
			.wall_ms = wall_ms,
			.key = first->message,
			.key_case = first->message_case,
			.partition = INBOX_ENTRY_NO_PARTITION,
			.frame = wire_slice(frames, write_frames(frames, job, &i)),
		};
		uint8_t *const to = c->bytes + c->bytes_len;
		const size_t len = inbox_entry_write(to, sizeof(c->bytes) - c->bytes_len, &e);

		c->bytes_len += (uint32_t)len;
		add_arg(c, to, len);
	}
}

static void add_args(struct cx_ctx *ctx, struct stack_receipts *s, struct rcpt_call *c,
                     const struct rcpt_job *job)
{
	const struct rcpt_group *const end = job->groups + job->group_count;

	add_number(c, s->conf.settings->message_ttl_ms + TTL_MARGIN_MS);
	add_number(c, STACK_RECEIPTS_MAX);
	add_number(c, c->inboxes);
	add_number(c, c->lookups);
	add_number(c, c->ttls);
	add_number(c, c->checks);
	for (const struct rcpt_group *g = job->groups; g < end; g++)
		if (g->state == RCPT_ASKED && g->unchecked > 0)
			add_number(c, g->unchecked);
	for (const struct rcpt_group *g = job->groups; g < end; g++) {
		if (g->state != RCPT_ASKED)
			continue;
		add_hint(s, c, &g->sender);
		add_number(c, entries_of(g));
		add_entries(c, job, g, cx_wall_ms(ctx));
	}
}

enum cx_err rcpt_append(struct cx_ctx *ctx, struct stack_receipts *s, struct rcpt_job *job,
                        uint64_t *corr)
{
	struct rcpt_call *const c = s->call;
	enum cx_err err;

	c->key_count = c->arg_count = c->number_count = c->bytes_len = 0;
	c->inboxes = c->lookups = c->ttls = c->checks = 0;
	for (uint16_t i = 0; i < job->group_count; i++) {
		struct rcpt_group *const g = &job->groups[i];

		if (g->state != RCPT_OPEN)
			continue;
		g->state = RCPT_ASKED;
		c->inboxes++;
		plan(s, c, g, cx_now_ms(ctx));
	}
	job->routes_asked = stack_routes_cache_now(&s->routes);
	add_keys(s, c, job);
	add_args(ctx, s, c, job);
	memcpy(c->argv + c->key_count, c->args, c->arg_count * sizeof(c->args[0]));
	err = redis_call_script(ctx, s->conf.redis, s->conf.script_base, c->key_count, c->argv,
	                        c->key_count + c->arg_count, APPEND_MS, corr);
	for (uint16_t i = 0; i < job->group_count && err != CX_OK; i++)
		if (job->groups[i].state == RCPT_ASKED)
			job->groups[i].state = RCPT_OPEN;
	return err;
}

/* ---- the answer ---- */

static void push_all(struct cx_ctx *ctx, struct stack_receipts *s, const struct rcpt_job *job,
                     const struct rcpt_group *group, const struct stack_routes *routes,
                     uint64_t id)
{
	/* The place before is the entry before, unless it is of another ms. */
	uint64_t before = inbox_id_seq(id) > 0 ? id - 1 : UINT64_MAX;

	for (uint16_t i = group->first; i != RCPT_NONE;) {
		const struct rcpt_receipt *const first = &job->receipts[i];
		const struct record head = {
			.kind = RECORD_RECEIPT,
			.id = id,
			.ref = before,
			.wall_ms = cx_wall_ms(ctx),
			.owner = group->sender,
			.key = first->message,
			.key_case = first->message_case,
		};
		uint8_t frames[FRAMES_LEN];
		const size_t len = write_frames(frames, job, &i);

		stack_push_add(&s->push, routes, &head, wire_slice(frames, len));
		before = id++;
	}
	rcpt_count(&s->figures->pushes, group->count);
}

static void remember(struct stack_receipts *s, const struct rcpt_group *group, uint64_t id,
                     uint64_t now_ms)
{
	struct stack_user *const u = stack_users_get(&s->users, &group->sender);
	const uint32_t n = entries_of(group);

	u->last_id = id + n - 1;
	u->appended_ms = now_ms;
	if (group->has_ttl)
		u->ttl_until_ms = now_ms + TTL_EACH_MS;
	if (group->unchecked > 0)
		u->until_check = RCPT_CHECK_EACH;
	else
		u->until_check -= u->until_check > n ? n : u->until_check;
}

/* What the script says of one inbox.  Returns false: it did not work. */
static bool take_group(struct cx_ctx *ctx, struct stack_receipts *s, const struct rcpt_job *job,
                       const struct rcpt_group *group, const struct stack_routes *found,
                       const struct redis_value *v)
{
	const struct stack_routes *const known =
		stack_routes_cache_find(&s->routes, &group->sender, 0);
	const struct stack_routes *const routes = known != NULL ? known : found;
	uint64_t id;

	if (v->kind == REDIS_NIL) {
		rcpt_count(&s->figures->gone, group->count);
		return true;
	}
	if (v->kind != REDIS_STRING)
		return false;
	rcpt_count(&s->figures->appended, group->count);
	if (!inbox_id_parse(v->text, &id))
		return true; /* no place of ours: whoever reads passes over it */
	remember(s, group, id, cx_now_ms(ctx));
	if (routes->count > 0)
		push_all(ctx, s, job, group, routes, id);
	return true;
}

static void take_routes(struct stack_receipts *s, const struct rcpt_job *job,
                        struct redis_walk *walk, uint64_t now_ms)
{
	struct redis_value v, field;

	for (uint16_t i = 0; i < job->group_count; i++) {
		const struct rcpt_group *const g = &job->groups[i];
		struct stack_routes *const routes = &s->found[i];

		routes->count = 0;
		if (g->state != RCPT_ASKED || !g->has_lookup || !redis_walk_next(walk, &v))
			continue;
		for (uint32_t n = 0; v.kind == REDIS_ARRAY && n < v.count; n++)
			if (redis_walk_next(walk, &field) && field.kind == REDIS_STRING)
				(void)stack_routes_add_field(routes, field.text);
		stack_routes_cache_put(&s->routes, &g->sender, routes, job->routes_asked,
		                       now_ms);
		rcpt_count(&s->figures->lookups, 1);
	}
}

static uint32_t count_asked(const struct rcpt_job *job, uint32_t *inboxes)
{
	uint32_t all_values = 0;

	*inboxes = 0;
	for (uint16_t i = 0; i < job->group_count; i++) {
		const struct rcpt_group *const g = &job->groups[i];

		if (g->state != RCPT_ASKED)
			continue;
		*inboxes += 1;
		all_values += 1u + g->has_lookup + (g->unchecked > 0);
	}
	return all_values;
}

bool rcpt_appended(struct cx_ctx *ctx, struct stack_receipts *s, struct rcpt_job *job,
                   const struct cx_buf *reply)
{
	struct redis_walk walk = redis_walk_start(reply), items;
	bool is_good = true;
	struct redis_value v;
	uint32_t inboxes;

	if (!redis_walk_next(&walk, &v) || v.kind != REDIS_ARRAY ||
	    v.count != count_asked(job, &inboxes))
		return false;
	items = walk;
	for (uint32_t i = 0; i < inboxes; i++)
		redis_walk_skip(&walk);
	take_routes(s, job, &walk, cx_now_ms(ctx));
	for (uint16_t i = 0; i < job->group_count; i++) {
		struct rcpt_group *const g = &job->groups[i];
		bool is_done;

		if (g->state != RCPT_ASKED)
			continue;
		is_done = redis_walk_next(&items, &v) &&
		          take_group(ctx, s, job, g, &s->found[i], &v);
		g->state = is_done ? RCPT_DONE : RCPT_OPEN;
		is_good &= is_done;
	}
	while (redis_walk_next(&walk, &v)) /* of the bounds */
		rcpt_count(&s->figures->dropped, (uint64_t)v.integer);
	return is_good;
}
