/* SPDX-License-Identifier: MIT */
/* The producer against a mock cluster that fails on purpose. */
#include "kafka_fixture.h"

TestSuite(kafka_producer, .timeout = 90, .fini = finish);

enum { PARTITIONS = 4, MANY = 5000, KEYS = 16 };

/* Answers come as the reports do; corr grows with each ask, so it names the ask. */
static uint64_t corr_of[MANY];

static void ask_many(struct cx_ctx *ctx, void *arg)
{
	(void)arg;
	for (uint32_t i = 0; i < MANY; i++) {
		struct cx_buf *const buf = cx_buf_copy(&i, sizeof(i));
		char key[16];

		snprintf(key, sizeof(key), "key-%u", i % KEYS);
		cr_assert_eq(kafka_produce(ctx, producer, 0, wire_text(key), 0, buf, 60000,
		                           &corr_of[i]),
		             CX_OK);
		cx_buf_unref(buf);
	}
}

static void expect_order_of_each_key(void)
{
	int64_t *const offsets = calloc(MANY, sizeof(*offsets));
	int32_t partition_of[KEYS];

	for (uint32_t i = 0; i < KEYS; i++)
		partition_of[i] = -1;
	for (uint32_t n = 0; n < MANY; n++) {
		const struct event *const e = next(KAFKA_PRODUCED);
		uint32_t i = 0;

		cr_assert_eq(e->outcome, KAFKA_OK);
		while (corr_of[i] != e->corr)
			i++;
		cr_assert(partition_of[i % KEYS] < 0 || partition_of[i % KEYS] == e->partition);
		partition_of[i % KEYS] = e->partition;
		offsets[i] = e->offset;
	}
	for (uint32_t i = KEYS; i < MANY; i++)
		cr_assert_gt(offsets[i], offsets[i - KEYS], "%u stands before %u", i, i - KEYS);
	free(offsets);
}

Test(kafka_producer, keeps_the_order_of_each_key_with_thousands_in_flight)
{
	prepare(PARTITIONS);
	start(WITH_PRODUCER);
	run(ask_many, NULL);
	expect_order_of_each_key();
}

Test(kafka_producer, keeps_the_order_when_the_broker_refuses_and_hangs_up_in_between)
{
	prepare(1);
	settings.producer.batch_bytes =
		500; /* many batches, some on their way behind a refused one */
	rd_kafka_mock_broker_set_rtt(mock, 1, 10);
	start(WITH_PRODUCER);
	produce_all(0, 1, 1, 8); /* connected: several requests are on their way from now on */
	rd_kafka_mock_push_request_errors(
		mock, API_PRODUCE, 12, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
		RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR_NO_ERROR,
		RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR_NO_ERROR,
		RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR_NO_ERROR,
		RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR_NO_ERROR,
		RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR__TRANSPORT,
		RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT);
	run(ask_many, NULL);
	expect_order_of_each_key();
}

static const struct kafka_producer_figures *producer_figures(void)
{
	run(ask_producer_figures, NULL);
	return &next(KAFKA_PRODUCER_FIGURES)->producer;
}

/* With more, the library's thread would look again and again whether it may send. */
Test(kafka_producer, hands_over_no_more_batches_than_requests_may_be_in_flight)
{
	enum { MANY_PARTITIONS = 8, MANY_KEYS = 64 };
	struct load load = { MANY_KEYS, MANY_KEYS, MANY_KEYS, 8 };
	uint64_t batches;

	prepare(MANY_PARTITIONS);
	settings.producer.max_in_flight = 2;
	start(WITH_PRODUCER);
	produce_all(0, MANY_KEYS, MANY_KEYS, 8); /* partitions are known now */
	batches = producer_figures()->batches;
	rd_kafka_mock_broker_set_rtt(mock, 1, 4000);
	run(ask_load, &load);
	usleep(300000);
	cr_assert_eq(producer_figures()->batches - batches, 2);
	cr_assert_geq(producer_figures()->gathering, MANY_KEYS / 2);
	rd_kafka_mock_broker_set_rtt(mock, 1, 0);
	for (uint32_t i = 0; i < load.count; i++)
		cr_assert_eq(next(KAFKA_PRODUCED)->outcome, KAFKA_OK);
	cr_assert_geq(producer_figures()->batches - batches, MANY_PARTITIONS / 2);
}

Test(kafka_producer, gathers_a_partition_s_next_batch_while_the_last_is_on_its_way)
{
	struct load load = { 1, 1, 1, 8 };
	uint64_t batches;

	prepare(1);
	start(WITH_PRODUCER);
	produce_all(0, 1, 1, 8);
	batches = producer_figures()->batches;
	rd_kafka_mock_broker_set_rtt(mock, 1, 4000);
	for (; load.first < 40; load.first++)
		run(ask_load, &load);
	for (uint32_t i = 1; i < 40; i++)
		cr_assert_eq(next(KAFKA_PRODUCED)->outcome, KAFKA_OK);
	cr_assert_eq(producer_figures()->batches - batches, 2);
}

/* A second one would make the library's thread look again and again whether it may send. */
Test(kafka_producer, hands_over_one_batch_of_a_partition_at_a_time_full_or_not)
{
	struct load load = { 1, 40, 1, 8 };
	uint64_t batches;

	prepare(1);
	settings.producer.batch_bytes = 16; /* a batch is full with a few of these */
	start(WITH_PRODUCER);
	produce_all(0, 1, 1, 8);
	batches = producer_figures()->batches;
	rd_kafka_mock_broker_set_rtt(mock, 1, 4000);
	run(ask_load, &load);
	usleep(300000);
	cr_assert_eq(producer_figures()->batches - batches, 1);
	rd_kafka_mock_broker_set_rtt(mock, 1, 0);
	for (uint32_t i = 0; i < load.count; i++)
		cr_assert_eq(next(KAFKA_PRODUCED)->outcome, KAFKA_OK);
	cr_assert_geq(producer_figures()->batches - batches, 5);
}

/* One request for each, whatever the keys, and to all partitions in turn. */
Test(kafka_producer, writes_each_batch_of_a_topic_without_order_to_one_partition)
{
	enum { ROUNDS = 12, EACH = 32 };
	struct load load = { 0, EACH, EACH, 8 };
	uint32_t hit = 0, by_key = 0;
	uint64_t first;

	prepare(PARTITIONS);
	producer_conf.spread = 1;
	start(WITH_PRODUCER);
	produce_all(0, EACH, EACH, 8); /* partitions are known now */
	first = producer_figures()->batches;
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		const uint64_t before = producer_figures()->batches;
		uint32_t partitions = 0;

		load.first = round * EACH;
		run(ask_load, &load);
		for (uint32_t i = 0; i < EACH; i++) {
			const struct event *const e = next(KAFKA_PRODUCED);

			cr_assert_eq(e->outcome, KAFKA_OK);
			partitions |= 1U << e->partition;
		}
		hit |= partitions;
		by_key += (uint64_t)__builtin_popcount(partitions) >
		          producer_figures()->batches - before;
	}
	cr_assert_leq(by_key, 1, "one batch in a thousand goes by its keys");
	cr_assert_leq(producer_figures()->batches - first, 3 * ROUNDS,
	              "by keys it is 4 or more");
	cr_assert_eq(hit, (1U << PARTITIONS) - 1);
}

/* So many of the load fit; no report makes room before all are asked for, as there is no broker. */
static void expect_room_for(uint32_t fit, struct load *load)
{
	rd_kafka_mock_broker_set_down(mock, -1);
	start(WITH_PRODUCER);
	run(ask_load, load);
	for (uint32_t i = fit; i < load->count; i++)
		cr_assert_eq(next(KAFKA_PRODUCED)->outcome, KAFKA_BUSY);
	cr_assert_null(next_within(KAFKA_PRODUCED, 300));
	rd_kafka_mock_broker_set_up(mock, -1);
	for (uint32_t i = 0; i < fit; i++)
		cr_assert_eq(next(KAFKA_PRODUCED)->outcome, KAFKA_OK);
}

Test(kafka_producer, is_busy_over_its_bound_and_takes_again_after_reports)
{
	struct load load = { 0, 30, 1, 8 };

	prepare(1);
	settings.producer.queue_messages = 10;
	expect_room_for(10, &load);
	produce_all(30, 5, 1, 8);
}

Test(kafka_producer, is_busy_over_its_bound_of_bytes)
{
	struct load load = { 0, 10, 1, 1000 };

	prepare(1);
	settings.producer.queue_bytes = 4500;
	expect_room_for(4, &load);
}

static void be_hasty(void)
{
	settings.producer.request_timeout_ms = 400;
	settings.producer.delivery_timeout_ms = 800;
}

Test(kafka_producer, says_not_written_when_no_broker_was_reached)
{
	struct load load = { 0, 5, 2, 8 };

	prepare(1);
	be_hasty();
	rd_kafka_mock_broker_set_down(mock, -1);
	start(WITH_PRODUCER);
	run(ask_load, &load);
	for (uint32_t i = 0; i < load.count; i++)
		cr_assert_eq(next(KAFKA_PRODUCED)->outcome, KAFKA_NOT_WRITTEN);
	run(ask_producer_figures, NULL);
	cr_assert_not(next(KAFKA_PRODUCER_FIGURES)->producer.is_connected);
}

Test(kafka_producer, says_unknown_when_the_answer_did_not_come_and_not_written_of_those_behind)
{
	struct load load = { 1, 1, 1, 8 };
	int outcomes[4] = { 0 };

	prepare(1);
	/* time for a busy machine to connect, and to send what then has no answer */
	settings.producer.request_timeout_ms = 2000;
	settings.producer.delivery_timeout_ms = 4000;
	start(WITH_PRODUCER);
	produce_all(0, 1, 1, 8); /* connected, and the topic is known */
	rd_kafka_mock_broker_set_rtt(mock, 1, 8000);
	run(ask_load, &load);
	while (producer_figures()->gathering > 0) /* until it is on its way */
		usleep(1000);
	load = (struct load){ 2, 5, 1, 8 };
	run(ask_load, &load);
	for (uint32_t i = 0; i <= load.count; i++)
		outcomes[next(KAFKA_PRODUCED)->outcome]++;
	cr_assert_eq(outcomes[KAFKA_UNKNOWN], 1);
	cr_assert_eq(outcomes[KAFKA_NOT_WRITTEN], 5);
}

Test(kafka_producer, refuses_what_the_broker_would_never_take_and_goes_on)
{
	struct load load = { 0, 1, 1, 2 << 20 };

	prepare(1);
	start(WITH_PRODUCER);
	run(ask_load, &load);
	cr_assert_eq(next(KAFKA_PRODUCED)->outcome, KAFKA_NOT_WRITTEN);
	produce_all(1, 1, 1, 8);
}

/* The broker says that a sequence number is missing: the library's client is dead then. */
Test(kafka_producer, goes_on_with_a_new_client_after_a_fatal_error_without_loss_or_double)
{
	enum { COUNT = 2000 };
	struct load load = { 100, COUNT - 100, KEYS, 200 };
	uint8_t *const times = calloc(COUNT, 1);
	int outcomes[4] = { 0 };
	int written = 0;

	prepare(PARTITIONS);
	settings.producer.batch_bytes = 2000;
	start(WITH_PRODUCER);
	produce_all(0, 100, KEYS, 200);
	rd_kafka_mock_push_request_errors(mock, API_PRODUCE, 1,
	                                  RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
	run(ask_load, &load);
	for (uint32_t i = 0; i < load.count; i++)
		outcomes[next(KAFKA_PRODUCED)->outcome]++;
	run(ask_producer_figures, NULL);
	cr_assert_eq(next(KAFKA_PRODUCER_FIGURES)->producer.rebuilt, 1);
	cr_assert_eq(outcomes[KAFKA_NOT_WRITTEN], 0);
	cr_assert_eq(outcomes[KAFKA_BUSY], 0);
	cr_assert_gt(outcomes[KAFKA_OK], 1000, "%d unknown", outcomes[KAFKA_UNKNOWN]);
	count_written(times, COUNT, PARTITIONS);
	for (uint32_t i = 0; i < COUNT; i++) {
		cr_assert_leq(times[i], 1, "%u is there %u times", i, times[i]);
		written += times[i];
	}
	cr_assert_geq(written, 100 + outcomes[KAFKA_OK], "%d of %d are there", written,
	              100 + outcomes[KAFKA_OK]);
	free(times);
}

static void ask_producer_close(struct cx_ctx *ctx, void *arg)
{
	uint64_t corr;

	cr_assert_eq(kafka_producer_close(ctx, producer, *(const uint32_t *)arg, &corr), CX_OK);
}

Test(kafka_producer, writes_what_it_has_before_it_closes)
{
	struct load load = { 0, 200, KEYS, 100 };
	uint32_t flush_ms = 10000;
	const struct event *closed;

	prepare(PARTITIONS);
	rd_kafka_mock_broker_set_rtt(mock, 1, 100);
	start(WITH_PRODUCER);
	run(ask_load, &load);
	run(ask_producer_close, &flush_ms);
	for (uint32_t i = 0; i < load.count; i++)
		cr_assert_eq(next(KAFKA_PRODUCED)->outcome, KAFKA_OK);
	closed = next(KAFKA_PRODUCER_CLOSED);
	cr_assert_eq(closed->count + (unsigned)closed->outcome, 0);
}

Test(kafka_producer, tells_what_was_not_written_when_the_time_to_close_is_over)
{
	struct load load = { 1, 20, KEYS, 100 };
	uint32_t flush_ms = 100;
	const struct event *closed;

	prepare(1);
	start(WITH_PRODUCER);
	produce_all(0, 1, 1, 8);
	rd_kafka_mock_broker_set_down(mock, -1);
	run(ask_load, &load);
	run(ask_producer_close, &flush_ms);
	for (uint32_t i = 0; i < load.count; i++)
		cr_assert_neq(next(KAFKA_PRODUCED)->outcome, KAFKA_OK);
	closed = next(KAFKA_PRODUCER_CLOSED);
	cr_assert_eq(closed->count + (unsigned)closed->outcome, load.count);
	load = (struct load){ 30, 1, 1, 8 };
	run(ask_load, &load);
	cr_assert_eq(next(KAFKA_PRODUCED)->outcome, KAFKA_NOT_WRITTEN);
}
