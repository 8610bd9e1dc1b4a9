/* SPDX-License-Identifier: MIT */
/* For tests of stack_receipts: a real Redis, doubles of Kafka's adapters, events that are made and
 * given as records, and what is then in an inbox. */
#ifndef TESTS_IO_RECEIPTS_FIXTURE_H
#define TESTS_IO_RECEIPTS_FIXTURE_H

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "io/kafka_record.h"
#include "io/stack_receipts.h"
#include "support/kafka_double.h"
#include "support/redis_peer.h"
#include "wire/delivery_event.h"
#include "wire/inbox_entry.h"
#include "wire/secret.h"
#include "wire/server_frame.h"

#define ANNA "aaaaaaaa-0000-4000-8000-000000000001"
#define BORA "bbbbbbbb-0000-4000-8000-000000000001"
#define CARL "cccccccc-0000-4000-8000-000000000001"
#define INBOX(user) "q:inbox:{" user "}"
#define ROUTE(user) "q:route:{" user "}"
#define INSTANCE "00000000000000a1"
#define LETTERS 5
#define DAY_S 86400
#define PARTITION 2
#define BYTES_MAX 400000

static struct redis_server server;
static struct redis_bench bench;
static const uint8_t secret[HASH_KEY_LEN] = { 7 };
static struct delivery_key key;
static struct stack_settings settings;
static struct stack_receipts_conf conf;
static struct cx_ref receipts;
static uint32_t epoch;

static inline void spawn(struct cx_ctx *ctx, void *arg)
{
	(void)arg;
	conf.producer = kafka_double_producer(ctx, 1);
	conf.consumer = kafka_double_consumer(ctx, 1);
	cx_assert(cx_spawn(ctx, &stack_receipts_type, &conf, 0, &receipts) == CX_OK);
}

static inline void setup(void)
{
	static const char *const channels[] = { "on:instance:" INSTANCE };

	cr_assert(secret_init());
	delivery_key_init(&key, secret);
	redis_server_prepare(&server);
	redis_server_run(&server);
	redis_bench_defaults(&bench, server.port);
	bench.sub.channels = channels;
	bench.sub.channel_count = 1;
	bench.conf.scripts = stack_receipts_scripts;
	bench.conf.script_count = STACK_RECEIPTS_SCRIPT_COUNT;
	redis_bench_start(&bench);
	settings = (struct stack_settings){ .prefix = "q:",
		                            .channel_prefix = "on",
		                            .message_ttl_ms = INT64_C(7) * 86400000,
		                            .delivery_expiry_ms = INT64_C(7) * 86400000,
		                            .dead_letter_topic = LETTERS,
		                            .message_topic = "m",
		                            .ack_topic = "m-delivery-ack",
		                            .key = &key };
	conf = (struct stack_receipts_conf){ .settings = &settings, .redis = bench.adapter };
	redis_bench_run(&bench, 0, spawn, NULL);
	cr_assert_eq(redis_bench_next().type, (uint32_t)REDIS_SUBSCRIBED);
	epoch = 1;
}

static inline void teardown(void)
{
	redis_bench_stop(&bench);
	redis_server_stop(&server);
	stack_acked_free(settings.acked);
}

/* ---- records ---- */

static char command[300];
static uint8_t bytes[BYTES_MAX];
static size_t byte_count;
static int64_t first_offset, next_offset;

static inline struct uuid id_of(const char *text)
{
	struct uuid id;

	cr_assert(uuid_parse(wire_text(text), &id, NULL), "%s", text);
	return id;
}

static inline void add_value(const void *value, size_t len)
{
	const struct kafka_record r = { .offset = next_offset++,
		                        .timestamp_ms = -1,
		                        .key = wire_text("key"),
		                        .headers = wire_slice(NULL, 0),
		                        .value = wire_slice(value, len) };

	cr_assert_leq(byte_count + kafka_record_size(&r), sizeof(bytes));
	kafka_record_write(bytes + byte_count, &r);
	byte_count += kafka_record_size(&r);
}

static inline const char *message_text(unsigned n)
{
	static char text[UUID_TEXT_LEN + 1];

	snprintf(text, sizeof(text), "%08X-Aa00-4000-8000-00000000000F", n);
	return text;
}

static inline size_t write_event(char *out, const char *sender, unsigned message, int64_t at)
{
	const struct uuid from = id_of(sender), to = id_of(CARL);
	struct uuid id;
	uint32_t upper;

	cr_assert(uuid_parse(wire_text(message_text(message)), &id, &upper));
	return delivery_event_write(&key, &from, &to, &id, upper, at, out,
	                            DELIVERY_EVENT_LEN_MAX);
}

static inline void event_at(const char *sender, unsigned message, int64_t at)
{
	char json[DELIVERY_EVENT_LEN_MAX];

	add_value(json, write_event(json, sender, message, at));
}

static inline void event(const char *sender, unsigned message)
{
	event_at(sender, message, time(NULL));
}

static inline void older_event(const char *sender, unsigned message)
{
	uint8_t hash[HASH_LEN];
	char json[500], hex[3][HASH_HEX_LEN];
	const struct uuid id = id_of(message_text(message));

	delivery_message_hash(&key, &id, 0, hash);
	hash_hex(hash, HASH_LEN, hex[0]);
	hash_hmac(secret, wire_text(sender), hash);
	hash_hex(hash, HASH_LEN, hex[1]);
	memcpy(hex[2], hex[1], HASH_HEX_LEN);
	snprintf(json, sizeof(json),
	         "{\"messageId\":\"%s\",\"messageHash\":\"%.64s\",\"senderIdHash\":\"%.64s\","
	         "\"recipientIdHash\":\"%.64s\",\"deliveredAt\":%" PRId64 "}",
	         message_text(message), hex[0], hex[1], hex[2], (int64_t)time(NULL));
	add_value(json, strlen(json));
}

/* ---- what the consumer says ---- */

struct said {
	int64_t next_offset;
	bool is_lost;
};

static inline void send_assigned(struct cx_ctx *ctx, void *arg)
{
	struct kafka_assigned *const m = CX_MSG_NEW(ctx, KAFKA_ASSIGNED, struct kafka_assigned);

	m->topic = 1;
	m->partition = PARTITION;
	m->epoch = epoch;
	m->next_offset = ((const struct said *)arg)->next_offset;
	cx_assert(cx_send_reserved(ctx, receipts, &m->hdr) == CX_OK);
}

static inline void send_records(struct cx_ctx *ctx, void *arg)
{
	struct kafka_records *const m = CX_MSG_NEW(ctx, KAFKA_RECORDS, struct kafka_records);

	(void)arg;
	m->topic = 1;
	m->partition = PARTITION;
	m->epoch = epoch;
	m->first_offset = first_offset;
	m->next_offset = next_offset;
	m->hdr.buf = cx_buf_copy(bytes, byte_count);
	cx_assert(cx_send_reserved(ctx, receipts, &m->hdr) == CX_OK);
}

static inline void send_revoked(struct cx_ctx *ctx, void *arg)
{
	struct kafka_revoked *const m = CX_MSG_NEW(ctx, KAFKA_REVOKED, struct kafka_revoked);

	m->topic = 1;
	m->partition = PARTITION;
	m->epoch = epoch;
	m->is_lost = ((const struct said *)arg)->is_lost;
	cx_assert(cx_send_reserved(ctx, receipts, &m->hdr) == CX_OK);
}

static inline void assign(int64_t offset)
{
	struct said s = { offset, false };

	redis_bench_run(&bench, 3, send_assigned, &s);
	first_offset = next_offset = offset < 0 ? 0 : offset;
}

/* What was added since the last. */
static inline void give(void)
{
	redis_bench_run(&bench, 3, send_records, NULL);
	byte_count = 0;
	first_offset = next_offset;
}

static inline void expect(enum construct_msg type, int64_t offset)
{
	const struct kafka_double_place p = kafka_double_next();

	cr_assert_eq(p.type, (uint32_t)type);
	cr_assert_eq(p.partition, PARTITION);
	cr_assert_eq(p.epoch, epoch);
	cr_assert_eq(p.next_offset, offset, "%" PRId64 ", not %" PRId64, p.next_offset, offset);
}

/* ---- what is in Redis ---- */

static inline const char *ask(const char *words)
{
	static struct redis_event e;

	redis_bench_ask(&bench, 1, 10000, words);
	do { /* news of the adapters may come between */
		e = redis_bench_next();
	} while (e.type != REDIS_REPLY && e.type != CX_MSG_ERROR);
	cr_assert_eq(e.type, (uint32_t)REDIS_REPLY, "%s", words);
	return e.text;
}

struct raw_ask {
	const char *user;
	unsigned count;
	struct raw_entry {
		uint64_t id;
		struct inbox_entry entry;
		struct server_frame frames[STACK_RECEIPTS_ENTRY];
		unsigned frame_count;
		uint8_t bytes[2048];
	} entries[64];
	volatile bool is_done;
};

static struct raw_ask raw;

static inline void read_frames(struct raw_entry *e)
{
	struct wire_slice all = e->entry.frame;

	for (e->frame_count = 0; all.len > 0; e->frame_count++) {
		cx_assert(all.len >= SERVER_FRAME_DELIVERED_LEN &&
		          e->frame_count < STACK_RECEIPTS_ENTRY &&
		          server_frame_decode(all.at, SERVER_FRAME_DELIVERED_LEN,
		                              &e->frames[e->frame_count]));
		all.at += SERVER_FRAME_DELIVERED_LEN;
		all.len -= SERVER_FRAME_DELIVERED_LEN;
	}
}

static inline enum cx_err raw_start(struct cx_ctx *ctx, void *state, const void *arg)
{
	char name[100];
	const struct redis_arg argv[] = {
		REDIS_TEXT("XRANGE"),
		{ name, (size_t)snprintf(name, sizeof(name), "q:inbox:{%s}", raw.user) },
		REDIS_TEXT("-"),
		REDIS_TEXT("+"),
	};
	uint64_t corr;

	(void)state;
	(void)arg;
	return redis_call(ctx, bench.adapter, argv, 4, 10000, &corr);
}

static inline void raw_reply(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct redis_walk walk = redis_walk_start(msg->buf);
	struct redis_value v;

	(void)state;
	cx_assert(redis_walk_next(&walk, &v) && v.kind == REDIS_ARRAY && v.count <= 64);
	for (raw.count = 0; redis_walk_next(&walk, &v); raw.count++) {
		struct raw_entry *const e = &raw.entries[raw.count];

		cx_assert(redis_walk_next(&walk, &v) && inbox_id_parse(v.text, &e->id));
		cx_assert(redis_walk_next(&walk, &v) && v.count == 2);
		cx_assert(redis_walk_next(&walk, &v) && wire_slice_is(v.text, "e"));
		cx_assert(redis_walk_next(&walk, &v) && v.text.len <= sizeof(e->bytes));
		memcpy(e->bytes, v.text.at, v.text.len);
		cx_assert(inbox_entry_read(wire_slice(e->bytes, v.text.len), &e->entry));
		read_frames(e);
	}
	__atomic_store_n(&raw.is_done, true, __ATOMIC_RELEASE);
	cx_stop(ctx);
}

static const struct cx_handler raw_handlers[] = { CX_ON(REDIS_REPLY, struct redis_reply,
	                                                raw_reply) };
static const struct cx_actor_type raw_type = {
	.name = "raw",
	.state_size = 8,
	.mailbox_cap = 8,
	.placement = CX_PLACE_IO,
	.start = raw_start,
	.handlers = raw_handlers,
	.handler_count = 1,
};

static inline void spawn_raw(struct cx_ctx *ctx, void *arg)
{
	struct cx_ref ref;

	(void)arg;
	cx_assert(cx_spawn(ctx, &raw_type, NULL, 1, &ref) == CX_OK);
}

/* The user's inbox into raw.entries; at most 64 entries. */
static inline void read_inbox(const char *user)
{
	raw.user = user;
	raw.is_done = false;
	redis_bench_run(&bench, 2, spawn_raw, NULL);
	for (int i = 0; i < 20000 && !__atomic_load_n(&raw.is_done, __ATOMIC_ACQUIRE); i++)
		usleep(1000);
	cr_assert(raw.is_done);
}

/* The entry has the receipts of these messages, in this order. */
static inline void is_receipts(unsigned at, uint64_t id, const unsigned *messages,
                               unsigned count)
{
	const struct raw_entry *const e = &raw.entries[at];

	cr_assert_lt(at, raw.count);
	cr_assert_eq(e->id, id, "%" PRIx64, e->id);
	cr_assert_eq(e->entry.kind, RECORD_RECEIPT);
	cr_assert_eq(e->entry.partition, INBOX_ENTRY_NO_PARTITION);
	cr_assert(uuid_is_zero(&e->entry.peer));
	cr_assert_eq(e->frame_count, count);
	for (unsigned i = 0; i < count; i++) {
		cr_assert_eq(e->frames[i].type, SERVER_ACK);
		cr_assert_eq(e->frames[i].ack.status, ACK_DELIVERED);
		cr_assert(wire_slice_is(e->frames[i].ack.message_id, message_text(messages[i])),
		          "the id in its case");
	}
}

static inline void is_receipt(unsigned at, uint64_t id, unsigned message)
{
	is_receipts(at, id, &message, 1);
}

static inline void are_two(unsigned at, uint64_t id, unsigned one, unsigned other)
{
	is_receipts(at, id, (unsigned[]){ one, other }, 2);
}

static inline void seed(const char *user, const char *id)
{
	struct inbox_entry e = { .kind = RECORD_MESSAGE, .frame = wire_text("m") };
	uint8_t out[INBOX_ENTRY_HEAD_LEN + 1];

	cr_assert_eq(inbox_entry_write(out, sizeof(out), &e), sizeof(out));
	for (size_t i = 0; i < sizeof(out);
	     i++) /* words are apart by blanks and end with NUL */
		out[i] = out[i] == 0 ? 'x' : out[i];
	snprintf(command, sizeof(command), "XADD q:inbox:{%s} %s e %.*s", user, id,
	         (int)sizeof(out), (char *)out);
	cr_assert_eq(ask(command)[0], '"');
}

static inline bool reaches(const unsigned *count, unsigned n)
{
	for (int i = 0; i < 20000; i++) {
		if (__atomic_load_n(count, __ATOMIC_ACQUIRE) >= n)
			return true;
		usleep(1000);
	}
	return false;
}

#endif
