/* SPDX-License-Identifier: MIT */
/* All senders of a job in one call: what becomes of each, and what Redis is not asked twice. */
#include "receipts_fixture.h"
#include "wire/push.h"

TestSuite(stack_receipts_many, .init = setup, .fini = teardown, .timeout = 60);

/* Of the server's life, those of scripts too. */
static long long calls_of(const char *name)
{
	const char *said;

	snprintf(command, sizeof(command),
	         "EVAL return(string.match(redis.call('INFO','commandstats'),"
	         "'cmdstat_%s:calls=(%%d+)'))or'0' 0",
	         name);
	said = ask(command);
	cr_assert_eq(said[0], '"', "%s", said);
	return strtoll(said + 1, NULL, 10);
}

static const char *user_text(unsigned n)
{
	static char text[UUID_TEXT_LEN + 1];

	snprintf(text, sizeof(text), "dddddddd-0000-4000-8000-%012u", n);
	return text;
}

static const char *of_user(const char *format, unsigned n)
{
	static char words[200];

	snprintf(words, sizeof(words), format, user_text(n));
	return ask(words);
}

Test(stack_receipts_many, a_hundred_senders_are_one_call_and_none_takes_anothers_place)
{
	struct stack_receipts_figures f;

	of_user("SET q:inbox:{%s} gone EX 1000", 7);
	for (unsigned round = 1; round <= 2; round++) {
		if (round == 1)
			assign(0);
		for (unsigned i = 0; i < 200; i++)
			event(user_text(i % 100), round * 1000 + i);
		give();
		expect(KAFKA_DONE, 200 * round);
		cr_assert_eq(calls_of("evalsha"), round, "one a job");
	}
	stack_receipts_figures(&f);
	cr_assert_eq(f.appended, 396);
	cr_assert_eq(f.gone, 4);
	cr_assert_str_eq(of_user("GET q:inbox:{%s}", 7), "\"gone\"");
	cr_assert_leq(strtoll(of_user("TTL q:inbox:{%s}", 7) + 1, NULL, 10), 1000);
	for (unsigned i = 0; i < 100; i += 33) {
		read_inbox(user_text(i));
		cr_assert_eq(raw.count, 2);
		are_two(0, INBOX_ID(0, 1), 1000 + i, 1100 + i);
		are_two(1, INBOX_ID(0, 2), 2000 + i, 2100 + i);
	}
}

Test(stack_receipts_many, one_over_his_bound_gives_way_and_the_others_do_not_notice)
{
	struct stack_receipts_figures f;

	cr_assert_eq(ask("EVAL for\ti=1,10100\tdo\tredis.call('XADD',KEYS[1],'0-'..i,'e','x'.."
	                 "string.char(2))\tend\treturn\t1 1 " INBOX(ANNA))[0],
	             ':');
	assign(0);
	for (unsigned i = 0; i < 100; i++)
		event(user_text(i), i);
	event(ANNA, 1000);
	event(BORA, 1001);
	give();
	expect(KAFKA_DONE, 102);
	stack_receipts_figures(&f);
	cr_assert_eq(f.appended, 102);
	cr_assert_eq(f.dropped, 101 + 625);
	cr_assert_str_eq(ask("XLEN " INBOX(ANNA)), ":9375");
	cr_assert_str_eq(ask("XLEN " INBOX(BORA)), ":1");
	cr_assert_str_eq(of_user("XLEN q:inbox:{%s}", 99), ":1");
}

Test(stack_receipts_many, one_sender_that_fails_holds_up_the_offset_and_is_tried_again_alone)
{
	/* no id is left behind this one */
	seed(ANNA, "18446744073709551615-18446744073709551615");
	assign(0);
	event(BORA, 1);
	event(ANNA, 2);
	event(CARL, 3);
	give();
	cr_assert_not(kafka_double_comes(500));
	cr_assert_str_eq(ask("XLEN " INBOX(BORA)), ":1");
	cr_assert_str_eq(ask("XLEN " INBOX(CARL)), ":1");
	ask("DEL " INBOX(ANNA));
	expect(KAFKA_DONE, 3);
	cr_assert_str_eq(ask("XLEN " INBOX(ANNA)), ":1");
	cr_assert_str_eq(ask("XLEN " INBOX(BORA)), ":1", "not once more");
	cr_assert_str_eq(ask("XLEN " INBOX(CARL)), ":1", "not once more");
}

static long long ttl_of_anna(void)
{
	return strtoll(ask("TTL " INBOX(ANNA)) + 1, NULL, 10);
}

Test(stack_receipts_many, an_inbox_gets_its_time_to_live_once_a_day_and_when_it_is_new)
{
	seed(ANNA, "77-5");
	assign(0);
	event(ANNA, 1);
	event(BORA, 2);
	give();
	expect(KAFKA_DONE, 2);
	cr_assert_gt(ttl_of_anna(), 8 * DAY_S);
	cr_assert_gt(strtoll(ask("TTL " INBOX(BORA)) + 1, NULL, 10), 8 * DAY_S);
	ask("EXPIRE " INBOX(ANNA) " 100");
	event(ANNA, 3);
	give();
	expect(KAFKA_DONE, 3);
	cr_assert_leq(ttl_of_anna(), 100, "set once a day");
	/* the two ways to be new: behind the place that was seen last, and never there */
	ask("DEL " INBOX(ANNA));
	ask("DEL " INBOX(BORA));
	event(ANNA, 4);
	event(BORA, 5);
	give();
	expect(KAFKA_DONE, 5);
	cr_assert_gt(ttl_of_anna(), 8 * DAY_S);
	cr_assert_gt(strtoll(ask("TTL " INBOX(BORA)) + 1, NULL, 10), 8 * DAY_S);
	ask("DEL " INBOX(ANNA));
	seed(ANNA, "99-0");
	ask("DEL " INBOX(ANNA));
	event(ANNA, 6);
	give();
	expect(KAFKA_DONE, 6);
	cr_assert_gt(ttl_of_anna(), 8 * DAY_S);
}

Test(stack_receipts_many, a_place_is_behind_the_newest_though_others_append_meanwhile)
{
	seed(ANNA, "77-5");
	assign(0);
	event(ANNA, 1); /* 77-6 */
	give();
	expect(KAFKA_DONE, 1);
	seed(ANNA, "77-7");
	for (unsigned i = 0; i < 17; i++)
		event(ANNA, 10 + i); /* 77-8, 77-9 */
	give();
	expect(KAFKA_DONE, 18);
	seed(ANNA, "80-2");
	for (unsigned i = 0; i < 17; i++)
		event(ANNA, 30 + i); /* 80-3, 80-4 */
	give();
	expect(KAFKA_DONE, 35);
	ask("XDEL " INBOX(ANNA) " 77-5 77-7 80-2");
	read_inbox(ANNA);
	cr_assert_eq(raw.count, 5);
	is_receipt(0, INBOX_ID(77, 6), 1);
	cr_assert_eq(raw.entries[1].id, INBOX_ID(77, 8));
	is_receipt(2, INBOX_ID(77, 9), 26);
	cr_assert_eq(raw.entries[3].id, INBOX_ID(80, 3));
	is_receipt(4, INBOX_ID(80, 4), 46);
	cr_assert_eq(calls_of("xinfo|stream"), 2, "only where the stream had gone on");
}

Test(stack_receipts_many, places_run_over_though_the_last_was_seen_long_before)
{
	seed(ANNA, "9-1");
	assign(0);
	event(ANNA, 1);
	give();
	expect(KAFKA_DONE, 1);
	seed(ANNA, "9-16777213");
	for (unsigned i = 0; i < 17; i++)
		event(ANNA, 10 + i);
	give();
	expect(KAFKA_DONE, 18);
	ask("XDEL " INBOX(ANNA) " 9-1 9-2 9-16777213");
	read_inbox(ANNA);
	cr_assert_eq(raw.count, 2);
	cr_assert_eq(raw.entries[0].id, INBOX_ID(10, 0));
	is_receipt(1, INBOX_ID(10, 1), 26);
}

/* ---- routes ---- */

static void send_route(struct cx_ctx *ctx, void *arg)
{
	struct redis_push *const m = CX_MSG_NEW(ctx, REDIS_PUSH, struct redis_push);
	_Alignas(8) uint8_t payload[PUSH_ROUTE_LEN(1)];

	m->hdr.buf = cx_buf_copy(payload, push_write_route(payload, arg, 1));
	cx_assert(cx_send(ctx, receipts, &m->hdr) == CX_OK);
}

static void hear(const char *user, bool is_joined)
{
	struct push_route route = { .user = id_of(user),
		                    .instance = 0xa1,
		                    .is_joined = is_joined };

	redis_bench_run(&bench, 3, send_route, &route);
}

static void send_subscribed(struct cx_ctx *ctx, void *arg)
{
	struct redis_subscribed *const m =
		CX_MSG_NEW(ctx, REDIS_SUBSCRIBED, struct redis_subscribed);

	(void)arg;
	cx_assert(cx_send_reserved(ctx, receipts, &m->hdr) == CX_OK);
}

static void send_unsubscribed(struct cx_ctx *ctx, void *arg)
{
	struct cx_msg *const m = cx_msg_new(ctx, REDIS_UNSUBSCRIBED, sizeof(*m));

	(void)arg;
	cx_assert(cx_send_reserved(ctx, receipts, m) == CX_OK);
}

/* A receipt for Anna, and how many pushes went to an instance until it was done. */
static long long publishes_of_one(unsigned message)
{
	const long long before = calls_of("publish");

	event(ANNA, message);
	give();
	expect(KAFKA_DONE, next_offset);
	return calls_of("publish") - before;
}

/* Whoever joins just after a receipt is told to look (below): that is done, too. */
static void joins_and_is_told(const char *user)
{
	const long long before = calls_of("publish");

	hear(user, true);
	for (int i = 0; i < 2000 && calls_of("publish") == before; i++)
		usleep(5000);
	cr_assert_eq(calls_of("publish"), before + 1);
}

Test(stack_receipts_many, a_route_is_read_once_and_follows_what_is_heard)
{
	assign(0);
	redis_bench_run(&bench, 3, send_subscribed, NULL);
	cr_assert_eq(publishes_of_one(1), 0, "she is away");
	ask("HSET " ROUTE(ANNA) " " INSTANCE "/64 1/9");
	cr_assert_eq(publishes_of_one(2), 0, "and nobody said that she came");
	joins_and_is_told(ANNA);
	cr_assert_eq(publishes_of_one(3), 1);
	cr_assert_eq(publishes_of_one(4), 1);
	hear(ANNA, false);
	cr_assert_eq(publishes_of_one(5), 0);
	cr_assert_eq(calls_of("hkeys"), 1);
	redis_bench_run(&bench, 3, send_subscribed, NULL); /* something may have been missed */
	cr_assert_eq(publishes_of_one(6), 1);
	cr_assert_eq(calls_of("hkeys"), 2);
	redis_bench_run(&bench, 3, send_unsubscribed,
	                NULL); /* nothing is heard: nothing is kept */
	publishes_of_one(7);
	publishes_of_one(8);
	cr_assert_eq(calls_of("hkeys"), 4);
}

Test(stack_receipts_many, who_joins_just_after_a_receipt_is_told_to_look)
{
	long long before;

	assign(0);
	event(ANNA, 1);
	give();
	expect(KAFKA_DONE, 1);
	before = calls_of("publish");
	hear(ANNA, true);
	hear(BORA, true);
	usleep(200000);
	cr_assert_eq(calls_of("publish") - before, 1, "Anna, not Bora");
	usleep(2000000);
	hear(ANNA, true);
	usleep(200000);
	cr_assert_eq(calls_of("publish") - before, 1, "she has read since");
}
