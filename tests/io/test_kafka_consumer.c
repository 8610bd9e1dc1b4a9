/* SPDX-License-Identifier: MIT */
/* The consumer against a mock cluster: credits, commits, rebalances, seeks, trouble. */
#include "kafka_fixture.h"

TestSuite(kafka_consumer, .timeout = 90, .fini = finish);

/* Records in order from *from on, taken apart by `next`; each is the number of its place. */
static struct event *expect_records(int64_t *from)
{
	struct event *const e = next(KAFKA_RECORDS);
	struct kafka_record r;
	uint32_t count = 0;
	size_t at = 0;

	cr_assert_eq(e->offset, *from);
	while (kafka_record_next(cx_buf_bytes(e->buf), cx_buf_len(e->buf), &at, &r)) {
		cr_assert_eq(r.offset, *from, "%lld, not %lld", (long long)r.offset,
		             (long long)*from);
		cr_assert_eq(number_of(&r), (uint32_t)*from);
		++*from;
		count++;
	}
	cr_assert_eq(count, e->count);
	cr_assert_eq(e->next_offset, *from);
	return e;
}

static void expect_committed(int64_t offset)
{
	rd_kafka_conf_t *const conf = rd_kafka_conf_new();
	rd_kafka_topic_partition_list_t *const list = rd_kafka_topic_partition_list_new(1);
	char why[256];
	rd_kafka_t *rk;

	rd_kafka_conf_set(conf, "bootstrap.servers", brokers, NULL, 0);
	rd_kafka_conf_set(conf, "group.id", group, NULL, 0);
	rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
	cr_assert_not_null(rk, "%s", why);
	rd_kafka_topic_partition_list_add(list, topic, 0);
	for (int tries = 0; tries < 400 && list->elems[0].offset != offset; tries++) {
		cr_assert_eq(rd_kafka_committed(rk, list, WAIT_SECS * 1000), 0);
		usleep(50000);
	}
	cr_assert_eq(list->elems[0].offset, offset, "%lld is committed",
	             (long long)list->elems[0].offset);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_destroy(rk);
}

/* ---- what a record is ---- */

static void ask_with_headers(struct cx_ctx *ctx, void *arg)
{
	const struct wire_slice one = wire_text("first"), two = wire_slice("\0\1", 2);
	const size_t len = kafka_header_size("source", one) + kafka_header_size("raw", two);
	struct cx_buf *const buf = cx_buf_new(len + 5);
	uint64_t corr;

	(void)arg;
	kafka_header_write(cx_buf_data(buf), "source", one);
	kafka_header_write(cx_buf_data(buf) + kafka_header_size("source", one), "raw", two);
	memcpy(cx_buf_data(buf) + len, "value", 5);
	cr_assert_eq(kafka_produce(ctx, producer, 0, wire_text("the key"), (uint32_t)len, buf,
	                           20000, &corr),
	             CX_OK);
	cx_buf_unref(buf);
}

Test(kafka_consumer, hands_on_key_value_time_and_the_headers_of_interest)
{
	static const char *const wanted[] = { "raw" };
	const struct event *e;
	struct kafka_record r;
	struct wire_slice value;
	size_t at = 0;

	prepare(1);
	consumer_confs[0].headers = wanted;
	consumer_confs[0].header_count = 1;
	start(WITH_PRODUCER | WITH_CONSUMER);
	run(ask_with_headers, NULL);
	e = next(KAFKA_RECORDS);
	cr_assert(kafka_record_next(cx_buf_bytes(e->buf), cx_buf_len(e->buf), &at, &r));
	cr_assert(wire_slice_is(r.key, "the key"));
	cr_assert(wire_slice_is(r.value, "value"));
	cr_assert_gt(r.timestamp_ms, INT64_C(1600000000000));
	cr_assert(kafka_header_find(r.headers, "raw", &value));
	cr_assert(wire_slice_equal(value, wire_slice("\0\1", 2)));
	cr_assert_not(kafka_header_find(r.headers, "source", &value));
}

Test(kafka_consumer, hands_on_a_record_larger_than_a_batch)
{
	int64_t from = 0;

	prepare(1);
	start(WITH_PRODUCER | WITH_CONSUMER);
	produce_all(0, 3, 1, 200000);
	while (from < 3)
		expect_records(&from);
}

/* ---- commits ---- */

Test(kafka_consumer, reads_on_exactly_where_the_owner_was_done)
{
	int64_t from = 0;
	struct event place;

	is_done_at_once = false;
	prepare(1);
	start(WITH_PRODUCER | WITH_CONSUMER);
	cr_assert_eq(next(KAFKA_ASSIGNED)->next_offset, KAFKA_OFFSET_UNKNOWN);
	produce_all(0, 100, 1, 50);
	event_taken = 0;
	while (from < 100)
		place = *expect_records(&from);
	place.next_offset = 40;
	run(say_done, &place);
	run(ask_close, &consumers[0]);
	cr_assert_eq(next(KAFKA_CONSUMER_CLOSED)->outcome, true);
	stop();

	start(WITH_CONSUMER);
	cr_assert_eq(next(KAFKA_ASSIGNED)->next_offset, 40);
	for (from = 40; from < 100;)
		expect_records(&from);
}

Test(kafka_consumer, commits_in_the_background)
{
	int64_t from = 0;

	prepare(1);
	start(WITH_PRODUCER | WITH_CONSUMER);
	produce_all(0, 20, 1, 50);
	event_taken = 0;
	while (from < 20)
		expect_records(&from);
	expect_committed(20);
}

Test(kafka_consumer, says_a_commit_again_that_failed)
{
	int64_t from = 0;

	prepare(1);
	rd_kafka_mock_push_request_errors(mock, API_COMMIT, 2,
	                                  RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE,
	                                  RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE);
	start(WITH_PRODUCER | WITH_CONSUMER);
	produce_all(0, 20, 1, 50);
	event_taken = 0;
	while (from < 20)
		expect_records(&from);
	expect_committed(20);
	cr_assert_eq(figures_of(0).commit_errors, 2);
}

/* The group has thrown us out: nothing of ours counts, so all is read again from the last commit. */
Test(kafka_consumer, reads_again_what_a_lost_membership_could_not_commit)
{
	int64_t from = 0;

	prepare(1);
	rd_kafka_mock_push_request_errors(mock, API_COMMIT, 1,
	                                  RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID);
	start(WITH_PRODUCER | WITH_CONSUMER);
	produce_all(0, 20, 1, 50);
	event_taken = 0;
	while (from < 20)
		expect_records(&from);
	expect_committed(20);
}

/* ---- credits ---- */

Test(kafka_consumer, pauses_without_credit_and_goes_on_without_a_gap)
{
	const uint32_t count = 400, len = 1000;
	struct kafka_consumer_figures figures;
	int64_t from = 0;
	struct event place;

	is_done_at_once = false;
	prepare(1);
	consumer_confs[0].credit_bytes = 20000;
	start(WITH_PRODUCER | WITH_CONSUMER);
	produce_all(0, count, 1, len);
	event_taken = 0;
	place = *expect_records(&from);
	while (figures_of(0).paused == 0)
		usleep(20000);
	while (next_within(KAFKA_RECORDS, 500) != NULL)
		;
	figures = figures_of(0);
	cr_assert_eq(figures.paused, 1);
	cr_assert_leq(figures.unpaid_bytes, 20000 + len + 100);
	cr_assert_geq(figures.lag, count - 21);
	event_taken = 0;
	for (from = 0; from < count;) {
		place = *expect_records(&from);
		run(say_done, &place);
		/* the place lies in this frame: it is read before it changes */
		figures = figures_of(0);
		cr_assert_leq(figures.unpaid_bytes, 20000 + len + 100);
		for (event_taken = 0; events[event_taken].type != KAFKA_RECORDS ||
		                      events[event_taken].offset < from;)
			if (++event_taken == event_count)
				break;
	}
	cr_assert_gt(figures.pauses, 5);
}

/* ---- the group ---- */

Test(kafka_consumer, shares_partitions_with_a_second_member_without_reading_twice)
{
	enum { COUNT = 2000, PARTITIONS = 4 };
	struct load load = { COUNT / 2, COUNT / 2, 64, 20 };
	uint8_t *const times = calloc(COUNT, 1);
	bool is_shared[PROBES] = { false };
	uint32_t got = 0;

	prepare(PARTITIONS);
	settings.consumer.session_timeout_ms = 20000; /* a busy machine is no lost member */
	start(WITH_PRODUCER | WITH_CONSUMER | WITH_SECOND);
	/* The mock refuses commits while members join, which brokers do not: what was read before
	 * would rightly come again, so there the second member comes first. */
	if (mock != NULL)
		await_share(PARTITIONS);
	produce_all(0, COUNT / 2, 64, 20);
	await_share(PARTITIONS);
	run(ask_load, &load);
	event_taken = 0;
	while (got < COUNT) {
		const struct event *const e = next(KAFKA_RECORDS);
		struct kafka_record r;
		size_t at = 0;

		while (kafka_record_next(cx_buf_bytes(e->buf), cx_buf_len(e->buf), &at, &r)) {
			const uint32_t n = number_of(&r);

			cr_assert_eq(times[n], 0, "%u came again", n);
			times[n]++;
			got++;
			is_shared[e->probe] |= n >= COUNT / 2;
		}
	}
	cr_assert(is_shared[0] && is_shared[1]);
	free(times);
}

Test(kafka_consumer, gives_everything_to_the_other_when_it_closes)
{
	struct event *e;

	prepare(2);
	start(WITH_PRODUCER | WITH_CONSUMER | WITH_SECOND);
	while (figures_of(0).partitions != 1 || figures_of(1).partitions != 1)
		usleep(100000);
	run(ask_close, &consumers[0]);
	e = next(KAFKA_REVOKED);
	cr_assert_eq(e->probe, 0);
	cr_assert_eq(e->outcome, false, "not lost");
	next(KAFKA_CONSUMER_CLOSED);
	while (figures_of(1).partitions != 2)
		usleep(100000);
	produce_all(0, 50, 50, 20);
}

/* ---- seek ---- */

Test(kafka_consumer, reads_again_from_where_it_is_sent_back_to)
{
	struct event place;
	int64_t from = 0;
	uint32_t epoch;

	prepare(1);
	start(WITH_PRODUCER | WITH_CONSUMER);
	produce_all(0, 60, 1, 50);
	event_taken = 0;
	while (from < 60)
		place = *expect_records(&from);
	expect_committed(60);
	epoch = place.epoch;
	is_done_at_once = false;
	place.next_offset = 10;
	run(say_seek, &place);
	place = *next(KAFKA_ASSIGNED);
	cr_assert_eq(place.next_offset, 10);
	cr_assert_gt(place.epoch, epoch);
	for (from = 10; from < 60;)
		cr_assert_eq(expect_records(&from)->epoch, place.epoch);
	expect_committed(10);
}

/* As in a topic that was made anew: what we remember lies behind its end, its records before that. */
Test(kafka_consumer, reads_a_topic_from_its_start_when_it_ends_before_where_we_were)
{
	struct event place;
	int64_t from = 0;

	prepare(1);
	start(WITH_PRODUCER | WITH_CONSUMER);
	produce_all(0, 60, 1, 50);
	event_taken = 0;
	while (from < 60)
		place = *expect_records(&from);
	is_done_at_once = false;
	place.next_offset = 1000;
	run(say_seek, &place);
	cr_assert_eq(next(KAFKA_ASSIGNED)->next_offset, 1000);
	place = *next(KAFKA_ASSIGNED);
	cr_assert_eq(place.next_offset, 0);
	for (from = 0; from < 60;)
		cr_assert_eq(expect_records(&from)->epoch, place.epoch);
	expect_committed(0);
}

Test(kafka_consumer, can_be_sent_back_while_it_is_paused)
{
	struct event place;
	int64_t from = 0;

	is_done_at_once = false;
	prepare(1);
	consumer_confs[0].credit_bytes = 5000;
	start(WITH_PRODUCER | WITH_CONSUMER);
	produce_all(0, 60, 1, 500);
	event_taken = 0;
	place = *expect_records(&from);
	while (figures_of(0).paused == 0)
		usleep(20000);
	is_done_at_once = true;
	place.next_offset = 2;
	run(say_seek, &place);
	cr_assert_eq(next(KAFKA_ASSIGNED)->next_offset, 2);
	for (from = 2; from < 60;)
		expect_records(&from);
}

/* ---- trouble ---- */

Test(kafka_consumer, goes_on_after_the_broker_was_away)
{
	int64_t from = 0;

	prepare(1);
	start(WITH_PRODUCER | WITH_CONSUMER);
	produce_all(0, 10, 1, 50);
	rd_kafka_mock_broker_set_down(mock, -1);
	usleep(500000);
	rd_kafka_mock_broker_set_up(mock, -1);
	produce_all(10, 10, 1, 50);
	event_taken = 0;
	while (from < 20)
		expect_records(&from);
}

Test(kafka_consumer, makes_a_new_client_when_no_assignment_comes)
{
	prepare(1);
	rd_kafka_mock_broker_set_down(mock, -1);
	consumer_confs[0].stuck_ms = 500;
	start(WITH_CONSUMER);
	while (figures_of(0).rebuilt == 0)
		usleep(100000);
	cr_assert_not(figures_of(0).is_joined);
}

Test(kafka_consumer, makes_a_new_client_when_records_wait_and_none_come)
{
	enum { COUNT = 60, ERRORS = 100 };
	rd_kafka_resp_err_t errors[ERRORS] = { RD_KAFKA_RESP_ERR_NO_ERROR };
	struct kafka_consumer_figures figures;
	int64_t from = 0;

	for (unsigned i = 1; i < ERRORS; i++)
		errors[i] = RD_KAFKA_RESP_ERR_UNKNOWN;
	prepare(1);
	consumer_confs[0].stuck_ms = 6000; /* longer than the mock takes to join */
	start(WITH_PRODUCER);
	produce_all(0, COUNT, 1, 50000); /* more than one fetch takes */
	stop();
	rd_kafka_mock_push_request_errors_array(mock, API_FETCH, ERRORS, errors);
	start(WITH_CONSUMER);
	expect_records(&from);
	while (figures_of(0).rebuilt == 0)
		usleep(100000);
	figures = figures_of(0);
	cr_assert_lt(figures.records, COUNT);
	rd_kafka_mock_clear_request_errors(mock, API_FETCH);
	event_taken = 0;
	for (from = 0; from < COUNT;)
		expect_records(&from);
	figures = figures_of(0);
	cr_assert_eq(figures.lag, 0);
	cr_assert(figures.is_joined && figures.is_connected);
	cr_assert_eq(figures.records, COUNT);
}
