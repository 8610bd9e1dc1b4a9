/* SPDX-License-Identifier: MIT */
/* Redis that is gone, hangs or refuses; and the bounds. */
#include "kafka_log_cases.h"

static void setup(void)
{
	kl_prepare();
	kl_is_written_at_once = true;
}

TestSuite(kafka_log_faults, .init = setup, .fini = kl_finish, .timeout = 120);

static void expect_ok(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		cr_assert_eq(kl_next_answer().outcome, LOG_OK);
}

Test(kafka_log_faults, without_redis_one_append_waits_and_all_others_go_at_full_speed)
{
	uint64_t from_ms;

	kl_start();
	redis_server_kill(&kl_server);
	from_ms = kl_now_ms();
	kl_send_one(1, 2, 1);
	expect_ok(1);
	cr_assert_leq(kl_now_ms() - from_ms, 9000, "longer than Redis may hold it");
	from_ms = kl_now_ms();
	for (uint32_t i = 0; i < 60; i++) { /* over several tries to reach it */
		kl_send((struct kl_send){ .sender = 1 + i % 5,
		                          .recipient = 2,
		                          .id = 1000 * (i + 1),
		                          .count = 100 });
		expect_ok(100);
		usleep(50000);
	}
	cr_assert_leq(kl_now_ms() - from_ms, 50000, "each of them waits");
	cr_assert_eq(kl_figures().unclaimed, 6001);
	cr_assert_eq(kl_append(1, 2, 1), LOG_DUPLICATE, "this process knows it");
}

Test(kafka_log_faults, redis_that_comes_back_is_used_again)
{
	int i = 0;

	kl_start();
	redis_server_kill(&kl_server);
	cr_assert_eq(kl_append(1, 2, 1), LOG_OK);
	redis_server_run(&kl_server);
	for (i = 0; i < 200; i++) {
		const uint32_t id = 100 + (uint32_t)i;

		cr_assert_eq(kl_append(1, 2, id), LOG_OK);
		if (strcmp(kl_claim(1, id), "nil") != 0)
			break;
		usleep(100000);
	}
	cr_assert_lt(i, 200, "no claims any more");
}

Test(kafka_log_faults, redis_that_hangs_costs_its_bound_once)
{
	uint64_t from_ms;

	kl_start();
	cr_assert_eq(kl_append(1, 2, 1), LOG_OK);
	kill(kl_server.pid, SIGSTOP);
	from_ms = kl_now_ms();
	kl_send((struct kl_send){ .sender = 1, .recipient = 2, .id = 10, .count = 50 });
	usleep(1500000);
	kl_send((struct kl_send){ .sender = 3, .recipient = 4, .id = 100, .count = 50 });
	expect_ok(50);
	cr_assert_geq(kl_now_ms() - from_ms, 1500, "Redis was not waited for at all");
	from_ms = kl_now_ms();
	expect_ok(50); /* those that came later do not wait for a bound of their own */
	cr_assert_leq(kl_now_ms() - from_ms, 1300);
	from_ms = kl_now_ms();
	kl_send((struct kl_send){ .sender = 1, .recipient = 2, .id = 1000, .count = 50 });
	expect_ok(50);
	cr_assert_leq(kl_now_ms() - from_ms, 1800);
	kill(kl_server.pid, SIGCONT);
}

Test(kafka_log_faults, redis_that_takes_no_writes_stops_nothing)
{
	kl_start();
	kl_remember(1, 2);
	cr_assert_str_eq(kl_redis("CONFIG SET min-replicas-to-write 1"), "OK");
	cr_assert_eq(kl_append(1, 2, 1), LOG_OK);
	cr_assert_eq(kl_append(1, 2, 2), LOG_DUPLICATE, "what can be read counts");
	cr_assert_eq(kl_append(1, 2, 3), LOG_OK);
	cr_assert_geq(kl_figures().unclaimed, 2);
	cr_assert_geq(kl_figures().redis_failures, 2);
}

Test(kafka_log_faults, more_appends_than_the_bound_are_refused_at_once)
{
	uint32_t refused = 0;

	kl_is_written_at_once = false;
	kl_start();
	for (uint32_t i = 0; i < KAFKA_LOG_APPENDS_MAX; i += 512) {
		kl_send((struct kl_send){ .sender = 1 + i % 7,
		                          .recipient = 1000 + i,
		                          .id = 1 + i,
		                          .count = 512 });
		cr_assert(kl_more(&kl_record_count, i + 511, KL_WAIT_MS));
	}
	cr_assert_not(kl_answer_comes(0));
	kl_send((struct kl_send){ .sender = 1, .recipient = 2, .id = 100000, .count = 3 });
	while (refused < 3) {
		cr_assert_eq(kl_next_answer().outcome, LOG_FAILED);
		refused++;
	}
	cr_assert_eq(kl_figures().refused, 3);
	cr_assert_eq(kl_figures().in_flight, KAFKA_LOG_APPENDS_MAX);
	kl_report(&kl_records[0], KAFKA_OK, 1);
	cr_assert_eq(kl_next_answer().outcome, LOG_OK);
	kl_send_one(1, 2, 100000);
	cr_assert(kl_more(&kl_record_count, KAFKA_LOG_APPENDS_MAX, KL_WAIT_MS),
	          "there is room again");
}

Test(kafka_log_faults, more_bytes_than_the_bound_are_refused_at_once)
{
	const struct kl_send large = {
		.sender = 1, .recipient = 2, .id = 1, .content_len = 99996
	};
	struct cx_buf *const frame = kl_frame(&large);
	const uint32_t fit = (uint32_t)(KAFKA_LOG_BYTES_MAX / cx_buf_len(frame));

	cx_buf_unref(frame);
	kl_is_written_at_once = false;
	kl_start();
	kl_send((struct kl_send){
		.sender = 1, .recipient = 2, .id = 1, .content_len = 99996, .count = fit });
	cr_assert(kl_more(&kl_record_count, fit - 1, KL_WAIT_MS));
	cr_assert_not(kl_answer_comes(0));
	kl_send((struct kl_send){
		.sender = 1, .recipient = 2, .id = 10000, .content_len = 99996 });
	cr_assert_eq(kl_next_answer().outcome, LOG_FAILED);
	cr_assert_eq(kl_figures().refused, 1);
	kl_send_one(1, 2, 20000);
	cr_assert(kl_more(&kl_record_count, fit, KL_WAIT_MS), "a small one has room");
}

Test(kafka_log_faults, nothing_is_left_when_the_actor_ends_with_all_kinds_under_way)
{
	kl_is_written_at_once = false;
	kl_start();
	kl_claim_by_other(3, 1, 20000);
	kl_send((struct kl_send){ .sender = 1, .recipient = 2, .id = 1, .count = 5 });
	kl_send((struct kl_send){ .sender = 1, .recipient = 2, .id = 1, .count = 5 });
	kl_send((struct kl_send){ .sender = 3, .recipient = 2, .id = 1, .count = 5 });
	for (int i = 0; i < 5; i++)
		kl_next_record();
	kill(kl_server.pid, SIGSTOP);
	kl_send((struct kl_send){ .sender = 4, .recipient = 2, .id = 1, .count = 5 });
	for (int i = 0; i < 2000 && kl_figures().in_flight < 20; i++)
		usleep(10000);
	cr_assert_eq(kl_figures().in_flight, 20);
	kill(kl_server.pid, SIGCONT);
	kl_stop();
	cr_assert_eq(kl_figures().in_flight, 0);
	cr_assert_geq(kl_figures().failed, 15);
}
