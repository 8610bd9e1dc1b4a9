/* SPDX-License-Identifier: MIT */
/* What stands in the topic, by way of the real producer and a mock cluster. */
#include "kafka_fixture.h"

#include "kafka_log_cases.h"
#include "wire/envelope.h"

static void setup(void)
{
	prepare(3);
	kl_prepare();
	kl_producer_conf = &producer_conf;
	kl_start();
}

static void teardown(void)
{
	kl_finish();
	finish();
}

TestSuite(kafka_log_record, .init = setup, .fini = teardown, .timeout = 90);

static rd_kafka_t *reader_new(void)
{
	rd_kafka_conf_t *const conf = rd_kafka_conf_new();
	rd_kafka_topic_partition_list_t *const list = rd_kafka_topic_partition_list_new(3);
	char why[256];
	rd_kafka_t *rk;

	rd_kafka_conf_set(conf, "bootstrap.servers", brokers, NULL, 0);
	rd_kafka_conf_set(conf, "group.id", "reader", NULL, 0);
	rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
	cr_assert_not_null(rk, "%s", why);
	for (int i = 0; i < 3; i++)
		rd_kafka_topic_partition_list_add(list, topic, i)->offset =
			RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(rk, list);
	rd_kafka_topic_partition_list_destroy(list);
	return rk;
}

Test(kafka_log_record, a_new_message_is_written_once_with_its_key_and_envelope)
{
	const struct uuid sender = kl_uuid(1), recipient = kl_uuid(2), id = kl_uuid(7);
	char key[UUID_TEXT_LEN];
	struct envelope e;
	struct kl_answer a;
	rd_kafka_message_t *m;
	rd_kafka_t *rk;

	kl_send((struct kl_send){ .sender = 1, .recipient = 2, .id = 7, .content_len = 400 });
	a = kl_next_answer();
	cr_assert_eq(a.outcome, LOG_OK);
	cr_assert_eq(kl_append(1, 2, 7), LOG_DUPLICATE);
	rk = reader_new();
	m = rd_kafka_consumer_poll(rk, 30000);
	cr_assert_not_null(m);
	cr_assert_eq(m->err, 0);
	uuid_format(&recipient, key);
	cr_assert(
		wire_slice_equal(wire_slice(m->key, m->key_len), wire_slice(key, sizeof(key))));
	cr_assert_eq(a.id, inbox_id((uint64_t)m->offset + 1, 0));
	cr_assert_eq(envelope_read(wire_slice(m->payload, m->len), &e), ENVELOPE_OK);
	cr_assert(uuid_equal(&e.sender, &sender));
	cr_assert(uuid_equal(&e.recipient, &recipient));
	cr_assert(uuid_equal(&e.message.id, &id));
	cr_assert_eq(e.message.message_number, 7);
	cr_assert_eq(e.message.timestamp, 1700000000);
	cr_assert_eq(e.message.content.len, 400);
	cr_assert_eq(e.message.content.at[399], 'A');
	envelope_free(&e);
	rd_kafka_message_destroy(m);
	m = rd_kafka_consumer_poll(rk, 500);
	cr_assert_null(m, "written twice");
	rd_kafka_consumer_close(rk);
	rd_kafka_destroy(rk);
}

Test(kafka_log_record, thousands_of_several_senders_are_all_written)
{
	enum { MANY = 3000 };

	for (uint32_t i = 0; i < 10; i++)
		kl_send((struct kl_send){ .sender = 1 + i,
		                          .recipient = 50 + i % 3,
		                          .id = 1000 * i,
		                          .count = MANY / 10 });
	for (uint32_t i = 0; i < MANY; i++)
		cr_assert_eq(kl_next_answer().outcome, LOG_OK);
	cr_assert_eq(kl_figures().appended, MANY);
	cr_assert_eq(kl_figures().unclaimed, 0);
	cr_assert_eq(kl_figures().redis_failures, 0);
}
