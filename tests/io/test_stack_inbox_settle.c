/* SPDX-License-Identifier: MIT */
/* The server's inbox on a real Redis: acknowledgements. */
#include "stack_inbox_redis.h"

TestSuite(stack_inbox_settle, .init = set_up, .fini = tear_down, .timeout = 60);

static const char *outbox_len(void)
{
	return words("XLEN " PREFIX "outbox:0000000000abcdef");
}

/* The events that the batcher got, opened; checks that they are in the outbox, or were. */
static struct delivery_event event(uint32_t count)
{
	const struct got *g = take(acks, ACK_BATCHER_ADD);
	const struct ack_batcher_add_msg *m = GOT(struct ack_batcher_add_msg, g);
	const uint8_t *at = cx_buf_bytes(g->buf);
	struct delivery_event e;
	size_t len = at[0] | (size_t)at[1] << 8;

	cr_assert_eq(m->count, count);
	cr_assert_gt(m->outbox_ms, 0);
	cr_assert_leq(2 + len, cx_buf_len(g->buf));
	cr_assert_eq(delivery_event_read(&delivery, wire_slice(at + 2, len), &e), DELIVERY_OK);
	return e;
}

/* How often a command ran since the start or CONFIG RESETSTAT. */
static bool has_run(const char *name)
{
	char text[64];

	snprintf(text, sizeof(text), "cmdstat_%s:", name);
	return strstr(words("INFO commandstats"), text) != NULL;
}

Test(stack_inbox_settle, a_pushed_message_is_settled_by_its_id_with_one_event)
{
	const struct put p = message(ID(5));
	struct delivery_event e;

	presence(true);
	put(p);
	learn(&p, 1, 0);
	words("CONFIG RESETSTAT");
	ask_settle(5);
	cr_assert_eq(settled(), INBOX_OK);
	cr_assert_str_eq(stream(), "");
	cr_assert_str_eq(outbox_len(), "1 ");
	cr_assert_not(has_run("evalsha"), "the script is for what is not known");
	e = event(1);
	cr_assert(e.has_route);
	cr_assert_eq(memcmp(&e.sender, &(const struct uuid[]){ uuid_of(PEER) }, 16), 0);
	cr_assert_eq(memcmp(&e.message, &(const struct uuid[]){ uuid_of(5) }, 16), 0);
	ask_read_of(OWNER, 0, 65536);
	cr_assert_str_eq(entries(), "| 5-0");
	ask_settle(5);
	cr_assert_eq(settled(), INBOX_UNKNOWN, "once");
	cr_assert_str_eq(outbox_len(), "1 ");
	cr_assert_eq(count_got(acks, ACK_BATCHER_ADD), 0);
}

Test(stack_inbox_settle, what_was_never_read_nor_pushed_is_found_wherever_it_stands)
{
	struct put p = message(INBOX_ID(32, 1)); /* the first of the second piece */

	p.key = 900;
	put_messages(1, 32);
	put(p);
	put_messages(33, 700);
	ask_settle(900);
	cr_assert_eq(settled(), INBOX_OK);
	ask_settle(650);
	cr_assert_eq(settled(), INBOX_OK);
	ask_settle(1);
	cr_assert_eq(settled(), INBOX_OK);
	ask_settle(32); /* the places where pieces of the script end */
	ask_settle(33);
	ask_settle(256);
	ask_settle(257);
	ask_settle(700);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(settled(), INBOX_OK);
	ask_settle(701);
	cr_assert_eq(settled(), INBOX_UNKNOWN);
	ask_read_of(OWNER, ID(648), 65536);
	cr_assert_eq(strncmp(entries(), "649-0 651-0 652-0", 17), 0);
}

Test(stack_inbox_settle, an_unknown_a_foreign_and_a_settled_one_have_no_effect)
{
	put(message(ID(1)));
	put((struct put){ .id = ID(2),
	                  .key = 9,
	                  .kind = RECORD_RECEIPT,
	                  .wall_ms = wall_ms(),
	                  .frame_len = 5 });
	ask_settle(77);
	cr_assert_eq(settled(), INBOX_UNKNOWN);
	ask_settle_of(3, 1, 0);
	cr_assert_eq(settled(), INBOX_UNKNOWN, "in another's inbox");
	ask_settle_of(OWNER, 1, 8);
	cr_assert_eq(settled(), INBOX_UNKNOWN, "of another sender");
	ask_settle(9);
	cr_assert_eq(settled(), INBOX_UNKNOWN, "a receipt is no message");
	cr_assert_str_eq(stream(), "1-0 2-0 ");
	cr_assert_str_eq(outbox_len(), "0 ");
}

Test(stack_inbox_settle, of_two_senders_with_one_id_the_named_one_or_the_oldest_is_settled)
{
	struct put p = message(ID(1));

	for (unsigned i = 1; i <= 4; i++) {
		p.id = ID(i);
		p.key = 9;
		p.peer = 10 + i;
		put(p);
	}
	ask_settle_of(OWNER, 9, 13);
	cr_assert_eq(settled(), INBOX_OK);
	cr_assert_str_eq(stream(), "1-0 2-0 4-0 ");
	ask_settle_of(OWNER, 9, 0);
	cr_assert_eq(settled(), INBOX_OK);
	cr_assert_str_eq(stream(), "2-0 4-0 ");
	ask_settle_of(OWNER, 9, 13);
	cr_assert_eq(settled(), INBOX_UNKNOWN);
}

struct burst {
	uint32_t owners, keys, times;
};

static void do_burst(struct cx_ctx *ctx, void *arg)
{
	const struct burst *b = arg;
	uint64_t corr;

	for (uint32_t k = 1; k <= b->keys; k++)
		for (uint32_t o = 1; o <= b->owners; o++)
			for (uint32_t t = 0; t < b->times; t++) {
				const struct uuid owner = uuid_of(o), key = uuid_of(k);

				cx_assert(inbox_settle(ctx, &inbox, &owner, &key, NULL, 15000,
				                       &corr) == CX_OK);
			}
}

Test(stack_inbox_settle, settles_of_one_message_at_once_share_one_event)
{
	put_messages(1, 2);
	do_as(asker, do_burst, &(struct burst){ 1, 2, 3 });
	for (int i = 0; i < 6; i++)
		cr_assert_eq(settled(), INBOX_OK);
	cr_assert_str_eq(stream(), "");
	(void)event(2);
	cr_assert_str_eq(outbox_len(), "1 ", "one entry a turn");
}

Test(stack_inbox_settle, thousands_of_settles_of_many_users_all_happen)
{
	uint32_t events = 0;

	for (unsigned o = 1; o <= 20; o++)
		for (unsigned k = 1; k <= 100; k++)
			put_for(o, message(ID(k)));
	do_as(asker, do_burst, &(struct burst){ 20, 100, 1 });
	for (int i = 0; i < 2000; i++)
		cr_assert_eq(settled(), INBOX_OK);
	cr_assert_str_eq(stream(), "");
	while (count_got(acks, ACK_BATCHER_ADD) > 0)
		events += GOT(struct ack_batcher_add_msg, take(acks, ACK_BATCHER_ADD))->count;
	cr_assert_eq(events, 2000);
}

Test(stack_inbox_settle, without_receipts_nothing_goes_to_the_outbox)
{
	inbox_settings.receipts = false;
	put(message(ID(1)));
	ask_settle(1);
	cr_assert_eq(settled(), INBOX_OK);
	cr_assert_str_eq(stream(), "");
	cr_assert_str_eq(outbox_len(), "0 ");
	cr_assert_eq(count_got(acks, ACK_BATCHER_ADD), 0);
}
