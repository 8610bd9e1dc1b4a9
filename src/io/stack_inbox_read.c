/* SPDX-License-Identifier: MIT */
/* Reads.  How many entries fit into the bytes that are asked for is a guess from what the user's
 * entries were like, because Redis counts entries; it is never so high that the answer could be more
 * than the adapter takes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/stack_inbox_internal.h"

/* An entry is a frame of at most 100,000 bytes and its head, so a batch of so many stays below
 * REDIS_ANSWER_BYTES_MAX. */
#define BATCH_ENTRIES_MAX 240u
#define ENTRY_BYTES_MAX 131072u
_Static_assert((uint64_t)BATCH_ENTRIES_MAX *ENTRY_BYTES_MAX < REDIS_ANSWER_BYTES_MAX, "fits");

#define BATCH_READS_MAX 64
#define MEAN_BYTES_MAX (1u << 22)
#define CLOCK_SLACK_MS 3600000 /* clocks of several machines */

struct read {
	struct inbox_user *user;
	struct cx_caller caller;
	uint64_t after;
	uint64_t tail; /* when it was sent: all up to here was in the stream */
	uint64_t life; /* of Redis, for which that holds */
	uint32_t max_bytes;
	uint32_t entries; /* asked for */
};

struct read_batch {
	struct question question;
	uint32_t count, entries;
	struct read reads[BATCH_READS_MAX];
};

struct found { /* one entry of an answer */
	uint64_t id;
	bool is_entry; /* false: not of our making */
	struct inbox_entry entry;
};

/* ---- the answer ---- */

/* [id, [name, value, ...]] */
static bool next_found(struct redis_walk *walk, struct found *out)
{
	struct redis_value pair, id, fields, value = { 0 };

	*out = (struct found){ 0 };
	if (!redis_walk_next(walk, &pair) || pair.kind != REDIS_ARRAY || pair.count != 2 ||
	    !redis_walk_next(walk, &id) || !redis_walk_next(walk, &fields))
		return false;
	for (uint32_t i = 0; fields.kind == REDIS_ARRAY && i < fields.count; i++)
		if (!redis_walk_next(walk, &value))
			return false;
	if (!inbox_id_parse(id.text, &out->id))
		return false;
	out->is_entry = fields.kind == REDIS_ARRAY && fields.count == 2 &&
	                value.kind == REDIS_STRING && inbox_entry_read(value.text, &out->entry);
	return true;
}

static bool is_over(struct cx_ctx *ctx, struct stack_inbox *s, const struct found *f)
{
	const int64_t now_ms = steady_wall_ms(&s->wall, ctx);

	return s->settings->message_ttl_ms > 0 &&
	       f->entry.wall_ms < now_ms - s->settings->message_ttl_ms - CLOCK_SLACK_MS;
}

/* The entry after `from`. */
static void learn(struct stack_inbox *s, struct inbox_user *user, uint64_t from,
                  const struct found *f, bool is_there)
{
	if (!is_there) {
		inbox_index_cover(user, from, f->id);
		return;
	}
	inbox_index_extend(&s->index, user, from,
	                   &(struct box_entry){ .id = f->id,
	                                        .peer = f->entry.peer,
	                                        .key = f->entry.key,
	                                        .key_case = f->entry.key_case,
	                                        .kind = f->entry.kind });
}

static void measure(struct stack_inbox *s, struct inbox_user *user, size_t bytes, uint32_t n)
{
	uint32_t mean;

	if (n == 0)
		return;
	mean = bytes / n < MEAN_BYTES_MAX ? (uint32_t)(bytes / n) : MEAN_BYTES_MAX;
	user->mean_bytes = mean; /* his own are the best guess of what comes next */
	s->mean_bytes =
		(s->mean_bytes * 7 + (mean < ENTRY_BYTES_MAX ? mean : ENTRY_BYTES_MAX)) / 8;
}

/* Takes out those that are not to be handed out, and tells the index of all; returns how many stay. */
static uint32_t sift(struct cx_ctx *ctx, struct stack_inbox *s, const struct read *r,
                     struct found *found, uint32_t n)
{
	uint64_t over[BATCH_ENTRIES_MAX], from = r->after;
	uint32_t kept = 0, over_count = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct found *f = &found[i];
		const bool is_done = f->is_entry && is_over(ctx, s, f);
		const bool is_there = f->is_entry && !is_done;
		const bool is_kept =
			is_there && inbox_index_may_hand_out(r->user, f->id, f->entry.kind);

		if (is_done)
			over[over_count++] = f->id;
		learn(s, r->user, from, f, is_there);
		from = f->id;
		if (is_kept)
			found[kept++] = *f;
	}
	if (over_count > 0)
		chore_delete(ctx, s, &r->user->owner, over, over_count);
	return kept;
}

static size_t put_record(uint8_t *at, const struct read *r, const struct found *f,
                         uint64_t prev)
{
	const struct record head = { .kind = f->entry.kind,
		                     .id = f->id,
		                     .ref = prev,
		                     .wall_ms = f->entry.wall_ms,
		                     .owner = r->user->owner,
		                     .peer = f->entry.peer,
		                     .key = f->entry.key,
		                     .key_case = f->entry.key_case };

	return record_write(at, &head, f->entry.frame.at, f->entry.frame.len);
}

/* last: the id up to which everything was asked for and came; is_end: the stream ends there. */
static void hand_out(struct cx_ctx *ctx, struct stack_inbox *s, const struct read *r,
                     const struct found *found, uint32_t n, uint64_t last, bool is_end)
{
	size_t bytes = 0, at = 0;
	struct cx_buf *out = NULL;
	uint32_t count = 0;

	while (count < n) {
		const size_t size = record_size(found[count].entry.frame.len);

		if (count > 0 && bytes + size > r->max_bytes)
			break;
		bytes += size;
		count++;
	}
	if (count > 0)
		out = cx_buf_new(bytes);
	for (uint32_t i = 0; i < count; i++)
		at += put_record(cx_buf_data(out) + at, r, &found[i],
		                 i > 0 ? found[i - 1].id : r->after);
	measure(s, r->user, bytes, count);
	if (count < n)
		inbox_answer_read(ctx, r->caller, out, count, found[count - 1].id, true);
	else
		inbox_answer_read(ctx, r->caller, out, count, last, !is_end);
}

static bool take_entries(struct cx_ctx *ctx, struct stack_inbox *s, const struct read *r,
                         struct redis_walk *walk, uint32_t n)
{
	struct found *found = calloc(n + 1, sizeof(*found));
	uint64_t last = r->after;
	uint32_t count = 0;

	cx_assert(found != NULL);
	while (count < n && next_found(walk, &found[count]))
		last = found[count++].id;
	if (count == n) {
		const bool is_end = n < r->entries;
		const uint32_t kept = sift(ctx, s, r, found, n);

		if (is_end && r->tail > last && r->life == s->lives) {
			inbox_index_cover(r->user, last, r->tail);
			last = r->tail;
		}
		hand_out(ctx, s, r, found, kept, last, is_end);
	}
	free(found);
	return count == n;
}

static void take_answer(struct cx_ctx *ctx, struct stack_inbox *s, const struct read *r,
                        struct redis_walk *walk)
{
	struct redis_walk inside = *walk;
	struct redis_value v;

	if (!redis_walk_next(&inside, &v)) {
		inbox_fail_read(ctx, r->caller, r->after);
		return;
	}
	redis_walk_skip(walk);
	if (is_wrong_type(&v)) /* the account was deleted: nothing waits for it */
		inbox_answer_read(ctx, r->caller, NULL, 0, r->after, false);
	else if (v.kind != REDIS_ARRAY || v.count > r->entries ||
	         !take_entries(ctx, s, r, &inside, v.count))
		inbox_fail_read(ctx, r->caller, r->after);
}

/* Perhaps the answer was too much. */
static void ask_for_less(struct inbox_user *user)
{
	if (user->mean_bytes < MEAN_BYTES_MAX)
		user->mean_bytes *= 2;
}

static void on_entries(struct cx_ctx *ctx, struct stack_inbox *s, struct question *q,
                       const struct answer *a)
{
	struct read_batch *b = (struct read_batch *)(void *)q;
	struct redis_walk walk = { 0 };

	if (a->kind == ANSWER_IS)
		walk = redis_walk_start(a->buf);
	for (uint32_t i = 0; i < b->count; i++) {
		struct read *r = &b->reads[i];

		if (a->kind == ANSWER_IS) {
			take_answer(ctx, s, r, &walk);
		} else {
			if (a->kind == ANSWER_UNKNOWN)
				ask_for_less(r->user);
			inbox_fail_read(ctx, r->caller, r->after);
		}
		if (--r->user->reads == 0)
			r->user->settled_count = 0;
		user_unhold(s, r->user);
	}
	free(b);
}

/* ---- asking ---- */

static uint32_t entries_for(const struct inbox_user *user, uint32_t max_bytes)
{
	const uint32_t n = max_bytes / user->mean_bytes + 1;

	return n < BATCH_ENTRIES_MAX ? n : BATCH_ENTRIES_MAX;
}

void read_take(struct cx_ctx *ctx, struct stack_inbox *s, const struct inbox_read_msg *m)
{
	struct inbox_user *user;
	uint32_t entries;

	if (m->after >= UINT64_MAX - 1) {
		inbox_answer_read(ctx, cx_caller_of(&m->hdr), NULL, 0, m->after, false);
		return;
	}
	if (cx_now_ms(ctx) < s->no_reads_until_ms) {
		inbox_fail_read(ctx, cx_caller_of(&m->hdr), m->after);
		return;
	}
	user = inbox_index_use(&s->index, &m->owner, s->mean_bytes);
	entries = entries_for(user, m->max_bytes);
	if (s->open_reads != NULL && (s->open_reads->count == BATCH_READS_MAX ||
	                              s->open_reads->entries + entries > BATCH_ENTRIES_MAX))
		read_send(ctx, s);
	if (s->open_reads == NULL) {
		s->open_reads = calloc(1, sizeof(*s->open_reads));
		cx_assert(s->open_reads != NULL);
	}
	user->busy++;
	user->reads++;
	s->open_reads->entries += entries;
	s->open_reads->reads[s->open_reads->count++] =
		(struct read){ .user = user,
		               .caller = cx_caller_of(&m->hdr),
		               .after = m->after,
		               .tail = user->tail,
		               .life = s->lives,
		               .max_bytes = m->max_bytes,
		               .entries = entries };
}

static void add_command(struct stack_inbox *s, const struct read *r)
{
	char key[STACK_KEY_MAX], start[INBOX_ID_TEXT_MAX], count[16];
	const struct redis_arg argv[] = {
		REDIS_TEXT("XRANGE"),
		{ key, stack_key_inbox(key, s->settings->prefix, &r->user->owner) },
		/* beyond the highest seq comes the next ms: the bits are side by side */
		{ start, inbox_id_format(r->after + 1, start) },
		REDIS_TEXT("+"),
		REDIS_TEXT("COUNT"),
		{ count, (size_t)snprintf(count, sizeof(count), "%u", r->entries) },
	};

	redis_batch_add(&s->redis, argv, CX_COUNTOF(argv));
}

void read_send(struct cx_ctx *ctx, struct stack_inbox *s)
{
	struct read_batch *b = s->open_reads;
	uint64_t corr;

	if (b == NULL)
		return;
	s->open_reads = NULL;
	for (uint32_t i = 0; i < b->count; i++)
		add_command(s, &b->reads[i]);
	if (!s->is_stopping && redis_batch_send(ctx, s->conf.redis, &s->redis,
	                                        STACK_INBOX_READ_MS, &corr) == CX_OK)
		question_wait(s, &b->question, corr, on_entries);
	else
		on_entries(ctx, s, &b->question, &(struct answer){ ANSWER_NEVER, NULL });
}
