/* SPDX-License-Identifier: MIT */
/* Partitions of delivery events that come and go. */
#include "receipts_fixture.h"

TestSuite(stack_receipts_places, .init = setup, .fini = teardown, .timeout = 60);

/* ---- partitions come and go ---- */

Test(stack_receipts_places, a_revoked_partition_is_answered_when_nothing_is_under_way)
{
	struct said s = { 0, false };

	assign(10);
	event(ANNA, 1);
	give();
	expect(KAFKA_DONE, 11);
	redis_bench_run(&bench, 3, send_revoked, &s);
	expect(KAFKA_REVOKED_DONE, 11);
	event(ANNA, 2);
	give();
	cr_assert_not(kafka_double_comes(300), "it is not ours any more");
	cr_assert_str_eq(ask("XLEN " INBOX(ANNA)), ":1");
}

Test(stack_receipts_places, a_revoked_partition_does_not_wait_for_what_fails)
{
	struct said s = { 0, false };

	assign(10);
	ask("ACL SETUSER default resetkeys ~none*");
	event(ANNA, 1);
	give();
	cr_assert_not(kafka_double_comes(300));
	redis_bench_run(&bench, 3, send_revoked, &s);
	expect(KAFKA_REVOKED_DONE, 10);
	ask("ACL SETUSER default allkeys");
	epoch++;
	assign(10);
	event(ANNA, 1);
	give();
	expect(KAFKA_DONE, 11);
	cr_assert_str_eq(ask("XLEN " INBOX(ANNA)), ":1");
}

Test(stack_receipts_places, records_of_an_older_epoch_are_passed_over)
{
	assign(0);
	event(ANNA, 1);
	epoch++;
	{
		struct said s = { 5, false };

		redis_bench_run(&bench, 3, send_assigned, &s);
	}
	epoch--;
	give();
	cr_assert_not(kafka_double_comes(300));
	cr_assert_str_eq(ask("EXISTS " INBOX(ANNA)), ":0");
}
