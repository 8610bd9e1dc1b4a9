/* SPDX-License-Identifier: MIT */
/* The inbox on Redis with its asker; Redis is real or a fake, as the test says.  One test file
 * includes this once. */
#ifndef TESTS_IO_STACK_INBOX_FIXTURE_H
#define TESTS_IO_STACK_INBOX_FIXTURE_H

#include <stdio.h>

#include "io/redis.h"
#include "io/stack_inbox.h"
#include "io/stack_outbox.h"
#include "wire/delivery_event.h"
#include "wire/inbox_entry.h"
#include "wire/secret.h"

#define FIXTURE_MORE                                                \
	CX_ON(REDIS_CALL, struct redis_call_msg, record_msg),       \
		CX_ON(REDIS_REPLY, struct redis_reply, record_msg), \
		CX_ON(ACK_BATCHER_ADD, struct ack_batcher_add_msg, record_msg),
#include "actors/fixture.h"

#define PREFIX "q:"
#define INSTANCE UINT64_C(0xabcdef)
#define DAY_MS INT64_C(86400000)
#define OWNER 1 /* whose inbox, unless said */
#define PEER 2

static struct cx_ref inbox_ref, asker, acks, hub;
static struct stack_inbox_settings inbox_settings;
static struct delivery_key delivery;
static struct inbox inbox;

static int64_t wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void inbox_start(struct cx_ref redis)
{
	static const uint8_t secret[HASH_KEY_LEN] = { 1, 2, 3 };
	struct stack_inbox_conf conf = { .settings = &inbox_settings, .redis = redis };

	cr_assert(secret_init());
	delivery_key_init(&delivery, secret);
	inbox_settings.prefix = PREFIX;
	inbox_settings.instance = INSTANCE;
	inbox_settings.message_ttl_ms = 7 * DAY_MS;
	inbox_settings.receipts = true;
	inbox_settings.key = &delivery;
	asker = fake();
	hub = fake();
	conf.acks = acks = fake();
	inbox_ref = spawn_at(&stack_inbox_type, &conf);
	inbox = (struct inbox){ .shards = &inbox_ref, .count = 1 };
}

/* ---- entries ---- */

struct put {
	uint64_t id;
	uint32_t key, peer;
	uint8_t kind;
	int64_t wall_ms;
	size_t frame_len;
};

static struct put message(uint64_t id)
{
	return (struct put){ .id = id,
		             .key = (uint32_t)inbox_id_ms(id),
		             .peer = PEER,
		             .kind = RECORD_MESSAGE,
		             .wall_ms = wall_ms(),
		             .frame_len = 5 };
}

/* Into out, which has room for the head and the frame. */
static size_t put_bytes(const struct put *p, uint8_t *out)
{
	uint8_t *frame = calloc(1, p->frame_len);
	const struct inbox_entry e = { .kind = p->kind,
		                       .wall_ms = p->wall_ms,
		                       .peer = uuid_of(p->peer),
		                       .key = uuid_of(p->key),
		                       .frame = wire_slice(frame, p->frame_len) };
	size_t len;

	memset(frame, (int)('a' + inbox_id_ms(p->id) % 26), p->frame_len);
	len = inbox_entry_write(out, INBOX_ENTRY_HEAD_LEN + p->frame_len, &e);
	free(frame);
	return len;
}

/* ---- asking ---- */

UNUSED static void ask_read_of(uint32_t owner, uint64_t after, uint32_t max_bytes)
{
	ASK(asker, inbox_ref, INBOX_READ, struct inbox_read_msg, NULL, .owner = uuid_of(owner),
	    .after = after, .max_bytes = max_bytes);
}

static void ask_settle_of(uint32_t owner, uint32_t key, uint32_t from)
{
	ASK(asker, inbox_ref, INBOX_SETTLE, struct inbox_settle_msg, NULL,
	    .owner = uuid_of(owner), .key = uuid_of(key), .from = uuid_of(from),
	    .has_from = from != 0);
}

static void ask_settle(uint32_t key)
{
	ask_settle_of(OWNER, key, 0);
}

static enum inbox_outcome settled(void)
{
	return GOT(struct inbox_settled, take(asker, INBOX_SETTLED))->outcome;
}

static void do_presence(struct cx_ctx *ctx, void *arg)
{
	const struct uuid owner = uuid_of(OWNER);

	cx_assert(inbox_presence(ctx, &inbox, &owner, *(const bool *)arg) == CX_OK);
}

static void presence(bool is_present)
{
	do_as(hub, do_presence, &is_present);
	quiet();
}

/* ids of an answer, as text: "1-0 2-0 | next 2-0 more" or "failed" */
UNUSED static const char *entries_text(const struct got *g)
{
	static char text[16384];
	const struct inbox_entries *m = GOT(struct inbox_entries, g);
	const uint8_t *at = g->buf == NULL ? NULL : cx_buf_bytes(g->buf);
	const uint8_t *end = at == NULL ? NULL : at + cx_buf_len(g->buf);
	const struct record *r;
	char id[INBOX_ID_TEXT_MAX];
	uint32_t count = 0;
	size_t n = 0;
	bool torn = false;

	while (at != NULL && (r = record_next(&at, end, &torn)) != NULL) {
		inbox_id_format(r->id, id);
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s ", id);
		count++;
	}
	cr_assert(!torn && count == m->count);
	inbox_id_format(m->next, id);
	snprintf(text + n, sizeof(text) - n, "| %s%s%s", id, m->more ? " more" : "",
	         m->failed ? " failed" : "");
	return text;
}

UNUSED static const char *entries(void)
{
	return entries_text(take(asker, INBOX_ENTRIES));
}

struct learn {
	const struct put *puts;
	uint32_t count;
	uint64_t prev;
};

static void do_learn(struct cx_ctx *ctx, void *arg)
{
	const struct learn *l = arg;
	struct inbox_learn_msg *m = inbox_learn_new(ctx);
	const size_t each = record_size(5);
	uint64_t prev = l->prev;

	m->hdr.buf = cx_buf_new(each * l->count);
	for (uint32_t i = 0; i < l->count; i++) {
		const struct put *p = &l->puts[i];
		const struct record r = { .kind = p->kind,
			                  .id = p->id,
			                  .owner = uuid_of(OWNER),
			                  .peer = uuid_of(p->peer),
			                  .key = uuid_of(p->key) };

		record_write(cx_buf_data(m->hdr.buf) + i * each, &r, "frame", 5);
		m->items[m->count++] = (struct inbox_item){ .owner = r.owner,
			                                    .id = p->id,
			                                    .prev = prev,
			                                    .offset = (uint32_t)(i * each),
			                                    .len = 5,
			                                    .kind = p->kind,
			                                    .fresh = 1 };
		prev = p->id;
	}
	cx_assert(inbox_learn(ctx, &inbox, 0, m) == CX_OK);
}

/* They were pushed, one after the other, after prev. */
static void learn(const struct put *puts, uint32_t count, uint64_t prev)
{
	do_as(hub, do_learn, &(struct learn){ puts, count, prev });
	quiet();
}

#define ID(ms) INBOX_ID(ms, 0)

#endif
