/* SPDX-License-Identifier: MIT */
/* The server's inbox on a real Redis: what is read, and what of it goes by itself. */
#include "io/stack_keys.h"
#include "stack_inbox_redis.h"

TestSuite(stack_inbox, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- reading ---- */

Test(stack_inbox, hands_out_what_waits_in_order_from_after_every_id)
{
	presence(true);
	ask_read_of(OWNER, 0, 65536);
	cr_assert_str_eq(entries(), "| 0-0");
	put_messages(1, 3);
	put((struct put){ .id = INBOX_ID(3, 1),
	                  .kind = RECORD_RECEIPT,
	                  .wall_ms = wall_ms(),
	                  .frame_len = 9 });
	put_messages(4, 4);
	ask_read_of(OWNER, 0, 65536);
	cr_assert_str_eq(entries(), "1-0 2-0 3-0 3-1 4-0 | 4-0");
	ask_read_of(OWNER, ID(1), 65536);
	cr_assert_str_eq(entries(), "2-0 3-0 3-1 4-0 | 4-0");
	ask_read_of(OWNER, ID(3), 65536);
	cr_assert_str_eq(entries(), "3-1 4-0 | 4-0");
	ask_read_of(OWNER, INBOX_ID(3, (1 << 24) - 1), 65536);
	cr_assert_str_eq(entries(), "4-0 | 4-0");
	ask_read_of(OWNER, ID(4), 65536);
	cr_assert_str_eq(entries(), "| 4-0");
	ask_read_of(OWNER, UINT64_MAX - 1, 65536);
	cr_assert_eq(GOT(struct inbox_entries, take(asker, INBOX_ENTRIES))->count, 0);
	ask_read_of(3, 0, 65536);
	cr_assert_str_eq(entries(), "| 0-0", "another's is not his");
}

Test(stack_inbox, a_record_says_all_that_the_entry_says)
{
	struct put p = message(ID(7));
	const struct record *r;
	const struct got *g;

	p.frame_len = 13;
	put(p);
	ask_read_of(OWNER, ID(2), 65536);
	g = take(asker, INBOX_ENTRIES);
	r = (const struct record *)(const void *)cx_buf_bytes(g->buf);
	cr_assert_eq(r->kind, RECORD_MESSAGE);
	cr_assert_eq(r->id, ID(7));
	cr_assert_eq(r->ref, ID(2));
	cr_assert_eq(r->wall_ms, p.wall_ms);
	cr_assert_eq(r->frame_len, 13);
	cr_assert_eq(memcmp(r->frame, "hhhhhhhhhhhhh", 13), 0);
	cr_assert_eq(memcmp(&r->key, &(const struct uuid[]){ uuid_of(7) }, 16), 0);
	cr_assert_eq(memcmp(&r->peer, &(const struct uuid[]){ uuid_of(PEER) }, 16), 0);
	cr_assert_eq(memcmp(&r->owner, &(const struct uuid[]){ uuid_of(OWNER) }, 16), 0);
}

/* Reads on as a connection does; returns the number of entries, in order, and of answers. */
static uint32_t read_all(uint32_t max_bytes, uint32_t *answers)
{
	uint64_t after = 0, last = 0;
	uint32_t count = 0;
	bool more = true;

	for (*answers = 0; more; ++*answers) {
		const struct inbox_entries *m;
		const uint8_t *at, *end;
		const struct record *r;
		const struct got *g;
		bool torn;

		ask_read_of(OWNER, after, max_bytes);
		g = take(asker, INBOX_ENTRIES);
		m = GOT(struct inbox_entries, g);
		cr_assert_not(m->failed);
		cr_assert_geq(m->next, after);
		after = m->next;
		more = m->more != 0;
		if (g->buf == NULL)
			continue;
		cr_assert(cx_buf_len(g->buf) <= max_bytes || m->count == 1);
		at = cx_buf_bytes(g->buf);
		end = at + cx_buf_len(g->buf);
		while ((r = record_next(&at, end, &torn)) != NULL) {
			cr_assert_gt(r->id, last);
			cr_assert_eq(r->ref, count == 0 ? 0 : last);
			last = r->id;
			count++;
		}
	}
	return count;
}

Test(stack_inbox, comes_in_pieces_of_the_bytes_that_were_asked_for)
{
	uint32_t answers;

	put_messages(1, 600);
	for (unsigned i = 601; i <= 620; i++) {
		struct put p = message(ID(i));

		p.frame_len = 20000;
		put(p);
	}
	cr_assert_eq(read_all(65536, &answers), 620);
	cr_assert(answers > 5 && answers < 30, "%u answers", answers);
	cr_assert_eq(read_all(1, &answers), 620);
	cr_assert_eq(read_all(1000000, &answers), 620);
}

Test(stack_inbox, entries_of_the_largest_size_after_the_smallest_fit_into_an_answer)
{
	uint32_t answers;

	presence(true); /* so that what his entries were like is remembered */
	put_messages(1, 100);
	cr_assert_eq(read_all(4000000, &answers), 100);
	for (unsigned i = 101; i <= 550; i++) {
		struct put p = message(ID(i));

		p.frame_len = 100000;
		put(p);
	}
	cr_assert_eq(read_all(65536, &answers), 550);
}

Test(stack_inbox, what_is_over_its_time_is_passed_over_and_deleted)
{
	struct put p = message(ID(2));

	p.wall_ms -= 8 * DAY_MS;
	put(message(ID(1)));
	put(p);
	p.id = ID(3);
	p.wall_ms = wall_ms() - 7 * DAY_MS - 60000; /* less than what clocks may differ */
	put(p);
	p.id = ID(4);
	p.wall_ms = wall_ms() - 9 * DAY_MS;
	put(p);
	ask_read_of(OWNER, 0, 65536);
	cr_assert_str_eq(entries(), "1-0 3-0 | 4-0");
	cr_assert_str_eq(stream(), "1-0 3-0 ");
}

Test(stack_inbox, a_clock_that_is_set_deletes_nothing)
{
	put(message(ID(1)));
	set_wall_ms(30 * DAY_MS);
	ask_read_of(OWNER, 0, 65536);
	cr_assert_str_eq(entries(), "1-0 | 1-0");
	set_wall_ms(-30 * DAY_MS);
	ask_read_of(OWNER, 0, 65536);
	cr_assert_str_eq(entries(), "1-0 | 1-0");
	set_wall_ms(0);
	ask_read_of(OWNER, 0, 65536);
	cr_assert_str_eq(entries(), "1-0 | 1-0");
	cr_assert_str_eq(stream(), "1-0 ");
}

Test(stack_inbox, what_is_not_an_entry_is_passed_over)
{
	char line[200];

	put(message(ID(1)));
	snprintf(line, sizeof(line), "XADD %s 2-0 e nonsense", key_of(OWNER));
	words(line);
	snprintf(line, sizeof(line), "XADD %s 3-0 a b c d", key_of(OWNER));
	words(line);
	put(message(ID(4)));
	ask_read_of(OWNER, 0, 65536);
	cr_assert_str_eq(entries(), "1-0 4-0 | 4-0");
	ask_settle(4);
	cr_assert_eq(settled(), INBOX_OK);
}

/* ---- receipts, presence ---- */

static void receipts_done(uint64_t upto)
{
	TELL(hub, inbox_ref, INBOX_RECEIPTS_DONE, struct inbox_receipts_done_msg, NULL,
	     .owner = uuid_of(OWNER), .upto = upto);
	quiet();
	words("PING"); /* behind the look at his route, on the same connection */
	quiet();
}

Test(stack_inbox, receipts_that_have_arrived_go_and_messages_between_stay)
{
	presence(true);
	for (unsigned i = 1; i <= 6; i++) {
		struct put p = message(ID(i));

		p.kind = i % 2 == 1 ? RECORD_RECEIPT : RECORD_MESSAGE;
		put(p);
	}
	ask_read_of(OWNER, 0, 65536);
	cr_assert_str_eq(entries(), "1-0 2-0 3-0 4-0 5-0 6-0 | 6-0");
	receipts_done(ID(4));
	cr_assert_str_eq(stream(), "2-0 4-0 5-0 6-0 ");
	ask_read_of(OWNER, 0, 65536);
	cr_assert_str_eq(entries(), "2-0 4-0 5-0 6-0 | 6-0");
	receipts_done(ID(6));
	cr_assert_str_eq(stream(), "2-0 4-0 6-0 ");
}

Test(stack_inbox, thousands_of_receipts_go_at_once)
{
	presence(true);
	for (unsigned i = 1; i <= 1500; i++)
		put((struct put){ .id = ID(i),
		                  .key = i,
		                  .kind = RECORD_RECEIPT,
		                  .wall_ms = wall_ms(),
		                  .frame_len = 5 });
	for (uint64_t at = 0; at < ID(1500);) {
		const struct inbox_entries *m;

		ask_read_of(OWNER, at, 65536);
		m = GOT(struct inbox_entries, take(asker, INBOX_ENTRIES));
		cr_assert_gt(m->next, at);
		at = m->next;
	}
	receipts_done(ID(1500));
	cr_assert_str_eq(stream(), "");
}

static void put_receipt(uint64_t id)
{
	put((struct put){
		.id = id, .kind = RECORD_RECEIPT, .wall_ms = wall_ms(), .frame_len = 5 });
}

static const char *route_of(uint64_t instance, unsigned number)
{
	static char line[400];
	const struct uuid owner = uuid_of(OWNER);
	char key[STACK_KEY_MAX];

	stack_key_route(key, PREFIX, &owner);
	snprintf(line, sizeof(line), "HSET %s %016llx/%u 1/2", key,
	         (unsigned long long)instance, number);
	return line;
}

/* A push to the other server may have been lost; it shows them at its next look. */
Test(stack_inbox, receipts_stay_while_another_server_has_the_user_and_are_not_shown_here_again)
{
	presence(true);
	put_receipt(ID(1));
	put_receipt(ID(2));
	words(route_of(INSTANCE, 64));
	words(route_of(INSTANCE, 128));
	ask_read_of(OWNER, 0, 65536);
	cr_assert_str_eq(entries(), "1-0 2-0 | 2-0");
	receipts_done(ID(1));
	cr_assert_str_eq(stream(), "2-0 ", "he is here alone");
	words(route_of(INSTANCE + 1, 64));
	receipts_done(ID(2));
	cr_assert_str_eq(stream(), "2-0 ");
	ask_read_of(OWNER, 0, 65536);
	cr_assert_str_eq(entries(), "| 2-0");
}

/* ---- when Redis is not there, or the user ---- */

Test(stack_inbox, a_deleted_account_has_an_empty_inbox)
{
	char line[200];

	snprintf(line, sizeof(line), "SET %s gone", key_of(OWNER));
	words(line);
	ask_read_of(OWNER, 0, 65536);
	cr_assert_str_eq(entries(), "| 0-0");
	ask_settle(1);
	cr_assert_eq(settled(), INBOX_UNKNOWN);
}

Test(stack_inbox, an_account_that_is_deleted_under_a_known_message_is_no_failure)
{
	const struct put p = message(ID(5));
	char line[200];

	presence(true);
	put(p);
	learn(&p, 1, 0);
	snprintf(line, sizeof(line), "SET %s gone", key_of(OWNER));
	words(line);
	ask_settle(5);
	cr_assert_eq(settled(), INBOX_UNKNOWN);
}

Test(stack_inbox, works_again_when_redis_does)
{
	const struct put p = message(ID(1));

	presence(true);
	put(p);
	learn(&p, 1, 0);
	redis_server_kill(&server);
	ask_read_of(OWNER, 0, 65536);
	ask_settle(1);
	ask_settle(2);
	quiet();
	skip_ms(10000); /* their deadlines */
	cr_assert_str_eq(entries(), "| 0-0 failed");
	cr_assert_eq(settled(), INBOX_FAILED);
	cr_assert_eq(settled(), INBOX_FAILED);
	redis_server_run(&server);
	put(p); /* it had no file: what it held is gone */
	ask_read_of(OWNER, 0, 65536);
	cr_assert_str_eq(entries(), "1-0 | 1-0", "it waits again");
	ask_settle(1);
	cr_assert_eq(settled(), INBOX_OK);
	cr_assert_str_eq(stream(), "");
}
