/* SPDX-License-Identifier: MIT */
/* The acknowledgements are read again: all partitions, whoever has them, and all that servers still
 * had to produce. */
#include "io/stack_rebuild.h"
#include "kafka_fixture.h"
#include "wire/delivery_event.h"
#include "wire/secret.h"

#define PARTITIONS 6
#define SETTLE_MS 300
#define TTL_MS (INT64_C(7) * 24 * 3600 * 1000)

static const uint8_t secret[HASH_KEY_LEN] = { 7 };
static struct delivery_key key;
static struct stack_settings stack;
static struct stack_rebuild_conf conf;
static struct cx_ref rebuild;

static void setup_rebuild(void)
{
	cr_assert(secret_init());
	delivery_key_init(&key, secret);
	prepare(PARTITIONS);
	stack = (struct stack_settings){ .key = &key,
		                         .acked = stack_acked_new(1000),
		                         .ack_topic = topic,
		                         .message_ttl_ms = TTL_MS };
	conf = (struct stack_rebuild_conf){ .kafka = &settings,
		                            .settings = &stack,
		                            .settle_ms = SETTLE_MS };
}

static void teardown_rebuild(void)
{
	finish();
	stack_acked_free(stack.acked);
}

TestSuite(stack_rebuild, .init = setup_rebuild, .fini = teardown_rebuild, .timeout = 90);

/* ---- events ---- */

static struct uuid id_of(unsigned number)
{
	struct uuid id;
	char text[64];

	snprintf(text, sizeof(text), "%08x-0000-4000-8000-00000000000f", number);
	cr_assert(uuid_parse(wire_text(text), &id, NULL));
	return id;
}

static bool knows(unsigned number)
{
	const struct uuid id = id_of(number), from = id_of(9001);
	uint8_t hash[HASH_LEN];

	delivery_pair_hash(&key, &from, &id, 0, hash);
	return stack_acked_has(stack.acked, hash);
}

static void expect_known(unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++)
		cr_assert(knows(i), "%u", i);
	cr_assert_not(knows(first + count));
}

static void ask_events(struct cx_ctx *ctx, void *arg)
{
	const struct load *const l = arg;
	const struct uuid from = id_of(9001), to = id_of(9002);

	for (uint32_t i = l->first; i < l->first + l->count; i++) {
		const struct uuid id = id_of(i);
		struct cx_buf *const buf = cx_buf_new(DELIVERY_EVENT_LEN_MAX);
		struct cx_buf *exact;
		char name[16];
		uint64_t corr;
		size_t len;

		len = delivery_event_write(&key, &from, &to, &id, 0, time(NULL),
		                           (char *)cx_buf_data(buf), DELIVERY_EVENT_LEN_MAX);
		exact = cx_buf_copy(cx_buf_bytes(buf), len);
		snprintf(name, sizeof(name), "key-%u", i);
		cr_assert_eq(kafka_produce(ctx, producer, 0, wire_text(name), 0, exact, 20000,
		                           &corr),
		             CX_OK);
		cx_buf_unref(exact);
		cx_buf_unref(buf);
	}
}

static void produce_events(unsigned first, unsigned count)
{
	struct load load = { first, count, 0, 0 };

	run(ask_events, &load);
	for (unsigned i = 0; i < count; i++)
		cr_assert_eq(next(KAFKA_PRODUCED)->outcome, KAFKA_OK);
}

/* ---- who asks ---- */

static volatile unsigned answers;
static struct stack_rebuilt rebuilt;

static enum cx_err asker_start(struct cx_ctx *ctx, void *state, const void *arg)
{
	(void)state;
	return stack_rebuild(ctx, rebuild, *(const int64_t *)arg);
}

static void on_rebuilt(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	pthread_mutex_lock(&mutex);
	rebuilt = *CX_MSG_AS(struct stack_rebuilt, msg);
	answers++;
	pthread_mutex_unlock(&mutex);
	cx_stop(ctx);
}

static const struct cx_handler asker_handlers[] = { CX_ON(STACK_REBUILT, struct stack_rebuilt,
	                                                  on_rebuilt) };
static const struct cx_actor_type asker_type = {
	.name = "asker",
	.state_size = 8,
	.conf_size = sizeof(int64_t),
	.mailbox_cap = 8,
	.start = asker_start,
	.handlers = asker_handlers,
	.handler_count = 1,
};

static void spawn_asker(struct cx_ctx *ctx, void *since_ms)
{
	struct cx_ref ref;

	cr_assert_eq(cx_spawn(ctx, &asker_type, since_ms, 0, &ref), CX_OK);
}

static void ask_since(int64_t since_ms)
{
	run(spawn_asker, &since_ms);
}

static unsigned count_answers(void)
{
	unsigned n;

	pthread_mutex_lock(&mutex);
	n = answers;
	pthread_mutex_unlock(&mutex);
	return n;
}

static void expect_answers(unsigned n)
{
	for (unsigned i = 0; i < 4000 && count_answers() < n; i++)
		usleep(10000);
	cr_assert_eq(count_answers(), n);
}

static void spawn_rebuild(void)
{
	const struct stack_rebuild_conf *const c = &conf;

	cr_assert_eq(cx_runtime_spawn(rt, &stack_rebuild_type, &c, 0, &rebuild), CX_OK);
}

static void begin(unsigned with)
{
	spawn_more = spawn_rebuild;
	start(with | WITH_PRODUCER);
}

/* Both workers together have got so many records. */
static void expect_read(uint64_t n)
{
	uint64_t got = 0;

	for (unsigned i = 0; got < n && i < 3000; i++) {
		run(ask_consumer_figures, &consumers[0]);
		got = next(KAFKA_CONSUMER_FIGURES)->consumer.records;
		run(ask_consumer_figures, &consumers[1]);
		got += next(KAFKA_CONSUMER_FIGURES)->consumer.records;
		usleep(10000);
	}
	cr_assert_eq(got, n);
}

/* ---- tests ---- */

Test(stack_rebuild, reads_the_partitions_of_all_workers_and_takes_none_of_them_away)
{
	begin(WITH_CONSUMER | WITH_SECOND);
	await_share(PARTITIONS);
	produce_events(0, 200);
	expect_read(200);
	ask_since(0);
	expect_answers(1);
	cr_assert_eq(rebuilt.added, 200);
	cr_assert_not(rebuilt.is_full);
	expect_known(0, 200);
	cr_assert_null(next_within(KAFKA_REVOKED, 1000));
	produce_events(200, 10);
	expect_read(210);
	usleep(200000);
	expect_read(210); /* each reads on where it was, once */
}

Test(stack_rebuild, waits_for_what_servers_have_taken_and_not_produced_yet)
{
	conf.settle_ms = 4000;
	begin(0);
	produce_events(0, 20);
	ask_since(0);
	ask_since(0);
	usleep(500000);
	produce_events(20, 30);
	expect_answers(2);
	cr_assert_eq(rebuilt.added, 50);
	expect_known(0, 50);
}

Test(stack_rebuild, nothing_acknowledged_is_answered_too)
{
	begin(0);
	ask_since(0);
	expect_answers(1);
	cr_assert_eq(rebuilt.added, 0);
}

Test(stack_rebuild, says_when_there_is_no_room_and_passes_over_what_it_cannot_read)
{
	stack_acked_free(stack.acked);
	stack.acked = stack_acked_new(2);
	begin(0);
	produce_all(0, 3, 3, 8); /* no events */
	produce_events(0, 3);
	ask_since(0);
	expect_answers(1);
	cr_assert_eq(rebuilt.added, 2);
	cr_assert(rebuilt.is_full);
}

Test(stack_rebuild, while_kafka_is_away_nobody_is_answered_and_then_all_are)
{
	struct stack_rebuild_figures f;

	if (mock == NULL) {
		cr_skip_test("needs the mock cluster");
		return;
	}
	begin(0);
	produce_events(0, 50);
	rd_kafka_mock_broker_set_down(mock, 1);
	ask_since(0);
	ask_since(0);
	for (stack_rebuild_figures(&f); f.failures == 0; stack_rebuild_figures(&f))
		usleep(10000);
	cr_assert_eq(count_answers(), 0);
	rd_kafka_mock_broker_set_up(mock, 1);
	expect_answers(2);
	expect_known(0, 50);
}

Test(stack_rebuild, goes_on_when_kafka_goes_away_in_the_middle)
{
	if (mock == NULL) {
		cr_skip_test("needs the mock cluster");
		return;
	}
	conf.settle_ms = 5000;
	begin(0);
	produce_events(0, 50);
	ask_since(0);
	for (unsigned i = 0; i < 450 && !knows(0); i++)
		usleep(10000);
	cr_assert(knows(0), "it is reading");
	rd_kafka_mock_broker_set_down(mock, 1);
	usleep(6500000);
	cr_assert_eq(count_answers(), 0, "where the topic ends now nobody can tell");
	rd_kafka_mock_broker_set_up(mock, 1);
	produce_events(50, 10);
	expect_answers(1);
	expect_known(0, 60);
}

/* The mock finds no record by its time, so all are before any. */
Test(stack_rebuild, reads_nothing_that_is_older_than_asked)
{
	struct timespec t;

	conf.settle_ms = 4000;
	begin(0);
	produce_events(0, 20);
	usleep(1100000);
	clock_gettime(CLOCK_REALTIME, &t);
	ask_since((int64_t)t.tv_sec * 1000);
	usleep(1000000);
	produce_events(100, 20);
	expect_answers(1);
	cr_assert_eq(rebuilt.added, 20);
	expect_known(100, 20);
	cr_assert_not(knows(0));
	ask_since(0);
	expect_answers(2);
	cr_assert_eq(rebuilt.added, 40);
}
