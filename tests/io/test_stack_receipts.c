/* SPDX-License-Identifier: MIT */
/* Delivery events into senders' inboxes. */
#include "receipts_fixture.h"
#include "wire/push.h"

TestSuite(stack_receipts, .init = setup, .fini = teardown, .timeout = 60);

Test(stack_receipts, receipts_are_appended_after_the_newest_entry_grouped_by_sender)
{
	seed(ANNA, "77-0");
	assign(100);
	event(ANNA, 1);
	event(BORA, 2);
	event(ANNA, 3);
	give();
	expect(KAFKA_DONE, 103);
	read_inbox(BORA);
	cr_assert_eq(raw.count, 1);
	is_receipt(0, INBOX_ID(0, 1), 2);
	cr_assert_str_eq(ask("XLEN " INBOX(ANNA)), ":2");
	ask("XDEL " INBOX(ANNA) " 77-0");
	read_inbox(ANNA);
	cr_assert_eq(raw.count, 1);
	are_two(0, INBOX_ID(77, 1), 1, 3);
	/* the newest place counts, though its entry is gone */
	ask("XDEL " INBOX(ANNA) " 77-1");
	event(ANNA, 4);
	give();
	expect(KAFKA_DONE, 104);
	read_inbox(ANNA);
	cr_assert_eq(raw.count, 1);
	is_receipt(0, INBOX_ID(77, 2), 4);
}

/* One entry has so many; the next ones have the places behind it. */
Test(stack_receipts, many_receipts_of_one_sender_are_few_entries)
{
	unsigned messages[40];

	seed(ANNA, "77-0");
	assign(0);
	for (unsigned i = 0; i < 40; i++) {
		messages[i] = 100 + i;
		event(ANNA, messages[i]);
	}
	event(BORA, 7);
	give();
	expect(KAFKA_DONE, 41);
	ask("XDEL " INBOX(ANNA) " 77-0");
	read_inbox(ANNA);
	cr_assert_eq(raw.count, 3);
	is_receipts(0, INBOX_ID(77, 1), messages, 16);
	is_receipts(1, INBOX_ID(77, 2), messages + 16, 16);
	is_receipts(2, INBOX_ID(77, 3), messages + 32, 8);
	read_inbox(BORA);
	is_receipt(0, INBOX_ID(0, 1), 7);
	{
		struct stack_receipts_figures f;

		stack_receipts_figures(&f);
		cr_assert_eq(f.appended, 41);
	}
}

static unsigned pushes;
static struct pushed {
	uint64_t id, ref;
	struct uuid owner;
	uint8_t kind;
	uint32_t frame_len;
} pushed[8];
static unsigned pushed_count;

static void on_push(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct cx_buf *const copy = cx_buf_copy(cx_buf_bytes(msg->buf), cx_buf_len(msg->buf));
	const struct wire_slice all = wire_slice(cx_buf_bytes(copy), cx_buf_len(copy));
	const struct record *r;
	size_t at = 0;

	(void)ctx;
	(void)state;
	cx_assert(push_kind_of(all) == PUSH_ENTRIES);
	while (pushed_count < 8 && push_next_entry(all, &at, &r)) {
		pushed[pushed_count] =
			(struct pushed){ r->id, r->ref, r->owner, r->kind, r->frame_len };
		__atomic_fetch_add(&pushed_count, 1, __ATOMIC_RELEASE);
	}
	cx_buf_unref(copy);
}

static void ignore(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	__atomic_fetch_add(&pushes, 1, __ATOMIC_RELEASE);
}

static const struct cx_handler listener_handlers[] = {
	CX_ON(REDIS_PUSH, struct redis_push, on_push),
	CX_ON(REDIS_SUBSCRIBED, struct redis_subscribed, ignore),
};
static const struct cx_actor_type listener_type = {
	.name = "listener",
	.state_size = 8,
	.mailbox_cap = 100,
	.placement = CX_PLACE_IO,
	.handlers = listener_handlers,
	.handler_count = CX_COUNTOF(listener_handlers),
};

static void spawn_listener(struct cx_ctx *ctx, void *arg)
{
	struct redis_sub_conf sub = bench.sub;

	(void)arg;
	cx_assert(cx_spawn(ctx, &listener_type, NULL, 0, &sub.subscriber) == CX_OK);
	cx_assert(cx_spawn(ctx, &redis_sub_type, &sub, 0, &bench.sub_adapter) == CX_OK);
}

Test(stack_receipts, who_is_connected_is_told_with_the_entry_before)
{
	const struct uuid anna = id_of(ANNA);

	redis_bench_run(&bench, 2, spawn_listener, NULL);
	cr_assert(reaches(&pushes, 1));
	seed(ANNA, "77-5");
	ask("HSET " ROUTE(ANNA) " " INSTANCE "/64 1/9 " INSTANCE "/128 1/9 nonsense x");
	ask("SET " ROUTE(CARL) " not-a-hash");
	assign(0);
	for (unsigned i = 0; i < 18; i++)
		event(ANNA, i);
	event(BORA, 103);
	event(CARL, 104);
	give();
	expect(KAFKA_DONE, 20);
	cr_assert(reaches(&pushed_count, 2));
	usleep(100000);
	cr_assert_eq(pushed_count, 2, "one push for both connections, none for who is away");
	cr_assert_eq(pushed[0].ref, INBOX_ID(77, 5));
	cr_assert_eq(pushed[0].id, INBOX_ID(77, 6));
	cr_assert_eq(pushed[0].frame_len, 16 * SERVER_FRAME_DELIVERED_LEN);
	cr_assert_eq(pushed[1].ref, INBOX_ID(77, 6));
	cr_assert_eq(pushed[1].id, INBOX_ID(77, 7));
	cr_assert_eq(pushed[1].kind, RECORD_RECEIPT);
	cr_assert(uuid_equal(&pushed[1].owner, &anna));
	cr_assert_eq(pushed[1].frame_len, 2 * SERVER_FRAME_DELIVERED_LEN);
	cr_assert_str_eq(ask("XLEN " INBOX(CARL)), ":1");
}

Test(stack_receipts, a_repetition_brings_the_receipt_again_and_breaks_nothing)
{
	assign(0);
	event(ANNA, 1);
	give();
	expect(KAFKA_DONE, 1);
	epoch++;
	assign(0);
	event(ANNA, 1);
	event(ANNA, 2);
	give();
	expect(KAFKA_DONE, 2);
	read_inbox(ANNA);
	cr_assert_eq(raw.count, 2);
	is_receipt(0, INBOX_ID(0, 1), 1);
	are_two(1, INBOX_ID(0, 2), 1, 2);
}

Test(stack_receipts, places_run_over_into_the_next_message_place)
{
	seed(ANNA, "9-16777214");
	assign(0);
	for (unsigned i = 0; i < 17; i++)
		event(ANNA, i);
	give();
	expect(KAFKA_DONE, 17);
	ask("XDEL " INBOX(ANNA) " 9-16777214");
	read_inbox(ANNA);
	cr_assert_eq(raw.count, 2);
	cr_assert_eq(raw.entries[0].id, INBOX_ID(10, 0));
	is_receipt(1, INBOX_ID(10, 1), 16);
}

Test(stack_receipts, older_events_find_their_sender_in_redis)
{
	uint8_t hash[HASH_LEN];
	char hex[HASH_HEX_LEN];
	struct stack_receipts_figures f;

	hash_hmac(secret, wire_text(ANNA), hash);
	hash_hex(hash, HASH_LEN, hex);
	snprintf(command, sizeof(command), "SET sender_hash:%.64s " ANNA, hex);
	ask(command);
	hash_hmac(secret, wire_text(CARL), hash);
	hash_hex(hash, HASH_LEN, hex);
	snprintf(command, sizeof(command), "HSET sender_hash:%.64s a b", hex);
	ask(command);
	assign(0);
	older_event(BORA, 1); /* nobody knows him any more */
	older_event(ANNA, 2);
	event(BORA, 3);
	older_event(CARL, 4);
	older_event(ANNA, 5);
	give();
	expect(KAFKA_DONE, 5);
	read_inbox(ANNA);
	cr_assert_eq(raw.count, 1);
	are_two(0, INBOX_ID(0, 1), 2, 5);
	read_inbox(BORA);
	cr_assert_eq(raw.count, 1);
	is_receipt(0, INBOX_ID(0, 1), 3);
	cr_assert_str_eq(ask("DBSIZE"), ":4", "two hashes, two inboxes, nobody else's");
	stack_receipts_figures(&f);
	cr_assert_eq(f.senderless, 2);
}

Test(stack_receipts, events_over_their_time_are_passed_over)
{
	assign(0);
	event_at(ANNA, 1, time(NULL) - 7 * DAY_S - 100);
	event_at(ANNA, 2, time(NULL) - 7 * DAY_S + 100);
	give();
	expect(KAFKA_DONE, 2);
	read_inbox(ANNA);
	cr_assert_eq(raw.count, 1);
	is_receipt(0, INBOX_ID(0, 1), 2);
}

Test(stack_receipts, a_deleted_sender_is_passed_over)
{
	struct stack_receipts_figures f;

	ask("SET " INBOX(ANNA) " gone EX 1000");
	assign(0);
	event(ANNA, 1);
	event(BORA, 2);
	give();
	expect(KAFKA_DONE, 2);
	cr_assert_str_eq(ask("GET " INBOX(ANNA)), "\"gone\"");
	cr_assert_str_eq(ask("XLEN " INBOX(BORA)), ":1");
	stack_receipts_figures(&f);
	cr_assert_eq(f.gone, 1);
}

static struct wire_slice header_of(const struct kafka_double_record *r, const char *name)
{
	struct wire_slice value = { 0 };

	cr_assert(kafka_header_find(wire_slice(r->bytes, r->headers_len), name, &value), "%s",
	          name);
	return value;
}

static void release(struct cx_ctx *ctx, void *arg)
{
	(void)arg;
	kafka_double_release(ctx, conf.producer);
}

Test(stack_receipts, what_cannot_be_read_is_a_dead_letter_before_its_offset_is_done)
{
	struct kafka_double_record r;
	char touched[DELIVERY_EVENT_LEN_MAX];
	char *route;

	kafka_double_say_for(KAFKA_NOT_WRITTEN, 2);
	assign(40);
	event(ANNA, 1);
	add_value("nonsense", 8);
	add_value(NULL, 0);
	memset(touched, 0, sizeof(touched));
	write_event(touched, ANNA, 9, time(NULL));
	route = strstr(touched, "\"route\":\"");
	cr_assert_not_null(route);
	route[20] = route[20] == 'A' ? 'B' : 'A';
	add_value(touched, strlen(touched));
	kafka_double_hold(true);
	give();
	cr_assert(kafka_double_wait(3));
	cr_assert_not(kafka_double_comes(300), "done before they are answered");
	redis_bench_run(&bench, 2, release, NULL); /* two of them: not written */
	cr_assert(kafka_double_wait_written(3), "tried again until they are");
	expect(KAFKA_DONE, 44);
	cr_assert_eq(kafka_double_count(), 5);
	r = kafka_double_at(0);
	cr_assert_eq(r.topic, (uint32_t)LETTERS);
	cr_assert_str_eq(r.key, "key");
	cr_assert(wire_slice_is(header_of(&r, "source-topic"), "m-delivery-ack"));
	cr_assert(wire_slice_is(header_of(&r, "source-partition"), "2"));
	cr_assert(wire_slice_is(header_of(&r, "source-offset"), "41"));
	cr_assert_gt(header_of(&r, "reason").len, 3);
	cr_assert(wire_slice_is(wire_slice(r.bytes + r.headers_len, r.len - r.headers_len),
	                        "nonsense"));
	read_inbox(ANNA);
	cr_assert_eq(raw.count, 1, "once, though the letters were tried again");
}

Test(stack_receipts, while_redis_is_away_nothing_is_done_and_then_all_is)
{
	assign(0);
	event(ANNA, 1);
	give();
	expect(KAFKA_DONE, 1);
	kill(server.pid, SIGSTOP);
	for (unsigned i = 0; i < 300; i++)
		event(i % 2 == 0 ? ANNA : BORA, 2 + i);
	give();
	usleep(300000); /* it is sent, and its answer will be lost */
	redis_server_kill(&server);
	cr_assert(redis_bench_wait(redis_has_failed, 1));
	event(BORA, 1000);
	give();
	cr_assert_not(kafka_double_comes(1500), "done though it is nowhere");
	redis_server_run(&server);
	expect(KAFKA_DONE, 257);
	expect(KAFKA_DONE, 302); /* the rest of one batch and the next are one job */
	/* 128 of the first job and 22 of the second, 23 for her; this Redis keeps nothing of before */
	cr_assert_str_eq(ask("XLEN " INBOX(ANNA)), ":10");
	cr_assert_str_eq(ask("XLEN " INBOX(BORA)), ":10");
	{
		struct stack_receipts_figures f;

		stack_receipts_figures(&f);
		cr_assert_eq(f.appended, 302);
	}
}

/* One at a time would be a round trip for each small batch: 1,000 receipts a second at most. */
Test(stack_receipts, batches_that_came_meanwhile_go_together)
{
	unsigned jobs = 0;
	int64_t done = 0;

	assign(0);
	event(ANNA, 1);
	give();
	expect(KAFKA_DONE, 1);
	kill(server.pid, SIGSTOP);
	for (unsigned i = 0; i < 50; i++) {
		event(i % 2 == 0 ? ANNA : BORA, 2 + i);
		give();
	}
	kill(server.pid, SIGCONT);
	while (done < 51) {
		done = kafka_double_next().next_offset;
		jobs++;
	}
	cr_assert(jobs <= 5, "%u jobs for what came in 50 batches", jobs);
	{
		struct stack_receipts_figures f;

		stack_receipts_figures(&f);
		cr_assert_eq(f.appended, 51);
	}
}

/* n entries, whose jobs end one after the other. */
static void give_entries(unsigned n)
{
	while (n > 0) {
		const unsigned some = n < 16 ? n : 16;

		for (unsigned i = 0; i < some * STACK_RECEIPTS_ENTRY; i++)
			event(ANNA, i);
		give();
		expect(KAFKA_DONE, next_offset);
		n -= some;
	}
}

Test(stack_receipts, the_oldest_receipts_give_way_to_the_youngest)
{
	struct stack_receipts_figures f;

	cr_assert_eq(ask("EVAL for\ti=1,9990\tdo\tredis.call('XADD',KEYS[1],'0-'..i,'e','x'.."
	                 "string.char(2))\tend\treturn\t1 1 " INBOX(ANNA))[0],
	             ':');
	assign(0);
	give_entries(38);
	stack_receipts_figures(&f);
	cr_assert_eq(f.appended, 38 * STACK_RECEIPTS_ENTRY);
	cr_assert_eq(f.dropped, 6 + 625, "what was over after the first 16, and a sixteenth");
	cr_assert_str_eq(ask("XLEN " INBOX(ANNA)), ":9397");
	cr_assert_str_eq(ask("XRANGE " INBOX(ANNA) " 0-1 0-631"), "[0");
	cr_assert_neq(strcmp(ask("XRANGE " INBOX(ANNA) " 0-10028 0-10028"), "[0"), 0);
}

Test(stack_receipts, messages_that_wait_are_never_dropped_for_receipts)
{
	struct stack_receipts_figures f;

	seed(ANNA, "5-0");
	cr_assert_eq(
		ask("EVAL local\tv=redis.call('XRANGE',KEYS[1],'-','+')[1][2][2]\tfor\ti=1,"
	            "11000\tdo\tredis.call('XADD',KEYS[1],(5+i)..'-0','e',v)\tend\t"
	            "return\t1 1 " INBOX(ANNA))[0],
		':');
	assign(0);
	event(ANNA, 1);
	give();
	expect(KAFKA_DONE, 1);
	cr_assert_str_eq(ask("GET q:receipts:{" ANNA "}"), "\"1\"");
	give_entries(155);
	cr_assert_str_eq(ask("GET q:receipts:{" ANNA "}"), "\"1\"", "not looked at each time");
	event(ANNA, 2);
	give();
	expect(KAFKA_DONE, next_offset);
	cr_assert_str_eq(ask("XLEN " INBOX(ANNA)), ":11158");
	cr_assert_str_eq(ask("GET q:receipts:{" ANNA "}"), "\"157\"", "but all are counted");
	cr_assert_gt(strtoll(ask("TTL q:receipts:{" ANNA "}") + 1, NULL, 10), 0);
	ask("DEL " INBOX(ANNA));
	give_entries(156);
	cr_assert_str_eq(ask("EXISTS q:receipts:{" ANNA "}"), ":0", "counts only what is many");
	stack_receipts_figures(&f);
	cr_assert_eq(f.dropped, 0);
}
