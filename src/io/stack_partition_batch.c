/* SPDX-License-Identifier: MIT */
/* A batch as one call of the script (stack_partition_script.c). */
#include "io/stack_partition_internal.h"

#include <stdio.h>

#include "io/kafka_record.h"
#include "io/stack_keys.h"
#include "wire/delivery_event.h"
#include "wire/inbox_entry.h"
#include "wire/server_frame.h"

#define DAY_MS (INT64_C(24) * 3600 * 1000)
#define INBOX_EXTRA_MS (2 * DAY_MS)
#define ID_TEXT INBOX_ID_TEXT_MAX
#define FRAME_EXTRA 1024 /* of a message frame beside its content */

/* ---- a record ---- */

struct build { /* of one call */
	struct stack_partition *s;
	struct stack_part *p;
	struct stack_batch *b;
	struct stack_work *w;
	int64_t wall_ms, steady_ms; /* steady_ms: by which records end */
	uint64_t now_ms;
	struct stack_span hashes[STACK_BATCH_RECORDS]; /* that get a TTL */
	uint32_t inboxes[STACK_BATCH_RECORDS];         /* the same, by item */
	uint32_t hash_count, inbox_count;
};

static void add_entry(struct build *x, struct envelope *e, const struct kafka_record *r,
                      int64_t wall_ms, struct stack_item *item)
{
	struct stack_partition *const s = x->s;
	struct stack_work *const w = x->w;
	const size_t room = e->message.content.len + e->sender_domain.len +
	                    e->recipient_domain.len + FRAME_EXTRA;
	uint8_t *const frame = stack_scratch_room(s, room);
	struct inbox_entry entry = { .kind = RECORD_MESSAGE,
		                     .wall_ms = wall_ms,
		                     .peer = e->sender,
		                     .key = e->message.id,
		                     .key_case = e->message.id_case,
		                     .partition = (uint16_t)x->p->number,
		                     .offset = (uint64_t)r->offset };

	e->message.from = (struct user_address){ e->sender, e->sender_domain };
	e->message.to = (struct user_address){ e->recipient, e->recipient_domain };
	entry.frame = wire_slice(frame, server_frame_message(frame, room, &e->message));
	cx_assert(entry.frame.len <= room);
	item->entry = w->entries_len;
	item->entry_len = (uint32_t)(INBOX_ENTRY_HEAD_LEN + entry.frame.len);
	stack_grow(&w->entries, &w->entries_cap, w->entries_len + item->entry_len);
	inbox_entry_write(w->entries + w->entries_len, item->entry_len, &entry);
	w->entries_len += item->entry_len;
}

static void add_keys(struct build *x, const struct envelope *e, int64_t wall_ms,
                     struct stack_item *item)
{
	struct stack_partition *const s = x->s;
	const char *const prefix = s->settings->prefix;
	struct stack_span *const keys = &s->keys[s->key_count];
	struct stack_span *const args = &s->args[s->arg_count];
	struct stack_seen seen;
	uint8_t *to;

	stack_seen_of(&seen, &e->sender, &e->message.id);
	to = stack_scratch_room(s, STACK_KEY_MAX);
	keys[0] = stack_scratch_took(s, stack_key_inbox((char *)to, prefix, &item->user));
	to = stack_scratch_room(s, STACK_KEY_MAX);
	keys[1] = stack_scratch_took(
		s, stack_key_dedup((char *)to, prefix, stack_seen_bucket(&seen)));
	s->key_count += 2;
	to = stack_scratch_room(s, STACK_SEEN_FIELD_LEN + STACK_SEEN_VALUE_LEN + ID_TEXT);
	memcpy(to, stack_seen_field(&seen), STACK_SEEN_FIELD_LEN);
	args[0] = stack_scratch_took(s, STACK_SEEN_FIELD_LEN);
	to += STACK_SEEN_FIELD_LEN;
	stack_seen_value(to, (uint16_t)x->p->number, (uint64_t)item->offset, wall_ms);
	args[1] = stack_scratch_took(s, STACK_SEEN_VALUE_LEN);
	to += STACK_SEEN_VALUE_LEN;
	args[2] = stack_scratch_took(
		s, inbox_id_format(inbox_id((uint64_t)item->offset + 1, 0), (char *)to));
	args[3] = (struct stack_span){ item->entry, item->entry_len };
	s->arg_count += 4;
	if (stack_needs_ttl(s, stack_steps(wall_ms, s->settings->dedup_window_ms), &seen))
		x->hashes[x->hash_count++] = keys[1];
}

static void note_user(struct build *x, struct stack_item *item)
{
	struct stack_partition *const s = x->s;
	struct stack_work *const w = x->w;
	struct stack_user *const u = stack_users_get(&s->users, &item->user);

	if (u->batch == s->batches) {
		item->lookup = u->lookup;
	} else if (stack_routes_cache_find(&s->routes, &item->user, x->now_ms) == NULL) {
		u->batch = s->batches;
		u->lookup = w->lookup_count;
		item->lookup = w->lookup_count;
		w->lookups[w->lookup_count++] = item->user;
	}
	if (x->now_ms >= u->ttl_until_ms) {
		u->ttl_until_ms = x->now_ms + (uint64_t)DAY_MS;
		x->inboxes[x->inbox_count++] = w->item_count;
	}
}

static bool is_acked(const struct build *x, const struct envelope *e, int64_t offset)
{
	const struct stack_partition *const s = x->s;
	uint8_t hash[HASH_LEN];

	if (offset >= x->p->acked_below || s->settings->acked == NULL ||
	    s->settings->key == NULL)
		return false;
	delivery_pair_hash(s->settings->key, &e->sender, &e->message.id, e->message.id_case,
	                   hash);
	return stack_acked_has(s->settings->acked, hash);
}

static const char *fault_of(const struct stack_part *p, const struct kafka_record *r,
                            struct envelope *e, bool *is_short)
{
	enum envelope_fault fault;

	*is_short = false;
	if (r->value.at == NULL)
		return "no value";
	if (p->number >= INBOX_ENTRY_NO_PARTITION || r->offset > STACK_OFFSET_MAX)
		return "place out of range";
	fault = envelope_read(r->value, e);
	*is_short = fault == ENVELOPE_NO_MEMORY;
	return fault == ENVELOPE_OK ? NULL : envelope_fault_text(fault);
}

/* The record that stands at `at`.  Returns false: the batch must wait, memory is short. */
static bool add_record(struct build *x, const struct kafka_record *r, size_t at)
{
	struct stack_partition *const s = x->s;
	struct stack_item *const item = &x->w->items[x->w->item_count];
	const int64_t wall_ms = r->timestamp_ms >= 0 ? r->timestamp_ms : x->wall_ms;
	struct envelope e = { 0 };
	const char *fault = NULL;
	bool is_short = false;

	if (wall_ms + s->settings->message_ttl_ms <= x->steady_ms) {
		stack_partition_count(&s->figures->expired, 1);
		return true;
	}
	fault = fault_of(x->p, r, &e, &is_short);
	if (fault == NULL) {
		*item = (struct stack_item){ .user = e.recipient,
			                     .offset = r->offset,
			                     .lookup = STACK_NO_LOOKUP };
		if (!is_acked(x, &e, r->offset)) {
			add_entry(x, &e, r, wall_ms, item);
			note_user(x, item);
		}
		add_keys(x, &e, wall_ms, item);
		x->w->item_count++;
	} else if (!is_short && !x->b->is_read) {
		stack_dead_add(x->b, at, fault);
	}
	envelope_free(&e);
	return !is_short;
}

/* ---- the call ---- */

static void add_key(struct build *x, size_t (*name)(char *, const char *, const struct uuid *),
                    const struct uuid *user)
{
	struct stack_partition *const s = x->s;
	uint8_t *const to = stack_scratch_room(s, STACK_KEY_MAX);

	s->keys[s->key_count++] =
		stack_scratch_took(s, name((char *)to, s->settings->prefix, user));
}

static void add_fence_key(struct build *x)
{
	struct stack_partition *const s = x->s;
	char *const to = (char *)stack_scratch_room(s, STACK_KEY_MAX);

	s->keys[s->key_count++] = stack_scratch_took(s, stack_fence_key(to, s, x->p));
}

static struct stack_span add_text(struct stack_partition *s, const char *text)
{
	const size_t len = strlen(text);

	if (len > 0)
		memcpy(stack_scratch_room(s, len), text, len);
	return stack_scratch_took(s, len);
}

static struct stack_span add_number(struct stack_partition *s, int64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)n);
	return add_text(s, text);
}

static void add_fixed(struct build *x)
{
	struct stack_partition *const s = x->s;

	s->args[0] = add_text(s, x->p->fence);
	s->args[1] = add_text(s, x->b->fence);
	s->args[2] = add_number(s, x->w->item_count);
	s->args[3] = add_number(s, x->w->lookup_count);
	s->args[4] = add_number(s, x->inbox_count);
	s->args[5] = add_number(s, (s->settings->message_ttl_ms + INBOX_EXTRA_MS) / 1000);
	s->args[6] = add_number(s, stack_seen_ttl_secs(s));
	s->args[7] = add_number(s, STACK_FENCE_TTL_SECS);
}

static bool add_records(struct build *x)
{
	const uint8_t *const bytes = cx_buf_bytes(x->b->buf);
	struct kafka_record r;

	for (size_t at = x->b->at, from = at; kafka_record_next(bytes, x->b->end, &at, &r);
	     from = at)
		if (!add_record(x, &r, from))
			return false;
	x->b->is_read = true;
	for (uint32_t i = 0; i < x->w->lookup_count; i++)
		add_key(x, stack_key_route, &x->w->lookups[i]);
	for (uint32_t i = 0; i < x->inbox_count; i++)
		add_key(x, stack_key_inbox, &x->w->items[x->inboxes[i]].user);
	for (uint32_t i = 0; i < x->hash_count; i++)
		x->s->keys[x->s->key_count++] = x->hashes[i];
	return true;
}

static unsigned fill_argv(struct build *x)
{
	struct stack_partition *const s = x->s;
	const uint32_t records = STACK_SCRIPT_FIXED + 4 * x->w->item_count;
	unsigned n = 0;

	for (uint32_t i = 0; i < s->key_count; i++)
		s->argv[n++] = (struct redis_arg){ s->scratch + s->keys[i].at, s->keys[i].len };
	for (uint32_t i = 0; i < s->arg_count; i++) {
		const bool is_entry = i >= STACK_SCRIPT_FIXED && i < records &&
		                      (i - STACK_SCRIPT_FIXED) % 4 == 3 && s->args[i].len > 0;
		const uint8_t *const base = is_entry ? x->w->entries : s->scratch;

		s->argv[n++] = (struct redis_arg){ base + s->args[i].at, s->args[i].len };
	}
	return n;
}

bool stack_batch_ask(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p,
                     struct stack_batch *b)
{
	struct build x = { .s = s,
		           .p = p,
		           .b = b,
		           .w = stack_work_take(s),
		           .wall_ms = cx_wall_ms(ctx),
		           .steady_ms = steady_wall_ms(&s->wall, ctx),
		           .now_ms = cx_now_ms(ctx) };
	unsigned n;

	b->work = x.w;
	s->bytes_asked += b->end - b->at;
	s->batches++;
	s->key_count = 0;
	s->arg_count = STACK_SCRIPT_FIXED;
	s->scratch_len = 0;
	x.w->routes_asked = stack_routes_cache_now(&s->routes);
	stack_fence_text(b->fence, s, p, b->next_offset, x.wall_ms);
	add_fence_key(&x);
	if (!add_records(&x))
		goto failed;
	add_fixed(&x);
	n = fill_argv(&x);
	if (redis_call_script(ctx, s->conf.redis, s->conf.script_base, s->key_count, s->argv, n,
	                      STACK_CALL_MS, &b->corr) == CX_OK)
		return true;
failed:
	stack_work_drop(s, b);
	return false;
}
