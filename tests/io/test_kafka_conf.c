/* SPDX-License-Identifier: MIT */
/* Settings, linger and packing of the Kafka adapters: what needs no broker. */
#include <string.h>

#include <criterion/criterion.h>
#include <librdkafka/rdkafka.h>

#include "io/kafka_conf.h"
#include "io/kafka_linger.h"
#include "io/kafka_partition.h"
#include "io/kafka_record.h"

TestSuite(kafka_conf, .timeout = 20);

static struct kafka_settings good(void)
{
	struct kafka_settings s;

	kafka_defaults(&s);
	s.brokers = "broker:9092";
	return s;
}

static void expect_error(const struct kafka_settings *s, const char *variable)
{
	char error[256] = "";

	cr_assert_eq(kafka_check(s, error, sizeof(error)), CX_EINVAL, "%s", variable);
	cr_assert_eq(strncmp(error, variable, strlen(variable)), 0, "%s", error);
	cr_assert_eq(error[strlen(variable)], ':');
}

static void expect_value(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char text[256] = "";
	size_t len = sizeof(text);

	cr_assert_eq(rd_kafka_conf_get(conf, name, text, &len), RD_KAFKA_CONF_OK);
	cr_assert_str_eq(text, value, "%s", name);
}

Test(kafka_conf, takes_the_defaults)
{
	const struct kafka_settings s = good();
	char error[256] = "";

	cr_assert_eq(kafka_check(&s, error, sizeof(error)), CX_OK, "%s", error);
}

Test(kafka_conf, names_the_variable_of_a_login_that_does_not_go_together)
{
	struct kafka_settings s = good();

	s.brokers = NULL;
	expect_error(&s, "KAFKA_BROKERS");
	s = good();
	s.sasl_username = "user";
	expect_error(&s, "KAFKA_SASL_USERNAME");
	s = good();
	s.sasl_password = "secret";
	expect_error(&s, "KAFKA_SASL_PASSWORD");
	s = good();
	s.sasl = KAFKA_SASL_PLAIN;
	expect_error(&s, "KAFKA_SASL_USERNAME");
	s.sasl_username = "user";
	expect_error(&s, "KAFKA_SASL_PASSWORD");
	s.sasl = (enum kafka_sasl)9;
	expect_error(&s, "KAFKA_SASL_MECHANISM");
	s = good();
	s.ca_file = "ca.pem";
	expect_error(&s, "KAFKA_SSL_ENABLED");
}

Test(kafka_conf, names_the_variable_of_a_producer_that_does_not_go_together)
{
	struct kafka_settings s = good();

	s.producer.acks = 1;
	expect_error(&s, "KAFKA_PRODUCER_ACKS");
	s = good();
	s.producer.retries = 0;
	expect_error(&s, "KAFKA_PRODUCER_RETRIES");
	s = good();
	s.producer.max_in_flight = 6;
	expect_error(&s, "KAFKA_PRODUCER_MAX_IN_FLIGHT");
	s = good();
	s.producer.delivery_timeout_ms = s.producer.request_timeout_ms;
	expect_error(&s, "KAFKA_PRODUCER_DELIVERY_TIMEOUT_MS");
	s = good();
	s.producer.compression = (enum kafka_compression)7;
	expect_error(&s, "KAFKA_PRODUCER_COMPRESSION");
	s = good();
	s.consumer.group = "";
	expect_error(&s, "KAFKA_CONSUMER_GROUP");
}

Test(kafka_conf, names_the_variable_that_the_library_refuses)
{
	struct kafka_settings s = good();
	struct kafka_opaque opaque = { &s };
	char error[256] = "";

	s.producer.batch_bytes = 0;
	cr_assert_null(kafka_conf_producer(&opaque, error, sizeof(error)));
	cr_assert_eq(strncmp(error, "KAFKA_PRODUCER_BATCH_SIZE: ", 27), 0, "%s", error);
}

Test(kafka_conf, makes_a_safe_producer)
{
	struct kafka_settings s = good();
	struct kafka_opaque opaque = { &s };
	char error[256] = "";
	rd_kafka_conf_t *conf;

	s.use_tls = true;
	s.sasl = KAFKA_SASL_SCRAM_SHA_512;
	s.sasl_username = "user";
	s.sasl_password = "secret";
	conf = kafka_conf_producer(&opaque, error, sizeof(error));
	cr_assert_not_null(conf, "%s", error);
	expect_value(conf, "security.protocol", "sasl_ssl");
	expect_value(conf, "sasl.mechanism", "SCRAM-SHA-512");
	expect_value(conf, "ssl.endpoint.identification.algorithm", "https");
	expect_value(conf, "enable.ssl.certificate.verification", "true");
	expect_value(conf, "enable.idempotence", "true");
	expect_value(conf, "acks", "-1");
	expect_value(conf, "partitioner", "murmur2_random");
	expect_value(conf, "compression.codec", "snappy");
	expect_value(conf, "socket.keepalive.enable", "true");
	rd_kafka_conf_destroy(conf);
}

Test(kafka_conf, makes_a_consumer_that_commits_only_what_it_is_told)
{
	struct kafka_settings s = good();
	struct kafka_opaque opaque = { &s };
	char error[256] = "";
	rd_kafka_conf_t *conf;

	s.consumer.instance = "worker-1";
	conf = kafka_conf_consumer(&opaque, error, sizeof(error));
	cr_assert_not_null(conf, "%s", error);
	expect_value(conf, "enable.auto.commit", "false");
	expect_value(conf, "enable.auto.offset.store", "false");
	expect_value(conf, "partition.assignment.strategy", "range");
	expect_value(conf, "group.instance.id", "worker-1");
	expect_value(conf, "auto.offset.reset", "smallest"); /* another word for earliest */
	expect_value(conf, "queued.max.messages.kbytes", "4096");
	rd_kafka_conf_destroy(conf);
}

/* ---- linger ---- */

static struct kafka_linger noted(uint32_t a_second)
{
	struct kafka_linger l = { .max_ms = 5 };

	for (uint64_t ms = 1000; ms < 2000; ms++)
		kafka_linger_note(&l, ms, a_second / 1000);
	return l;
}

static uint32_t linger_at(uint32_t a_second)
{
	const struct kafka_linger l = noted(a_second);

	return kafka_linger_ms(&l);
}

Test(kafka_conf, lingers_at_high_rates_only)
{
	cr_assert_eq(linger_at(1000), 0);
	cr_assert_eq(linger_at(2000), 0);
	cr_assert_eq(linger_at(6000), 2);
	cr_assert_eq(linger_at(11000), 5);
	cr_assert_eq(linger_at(100000), 5);
}

Test(kafka_conf, lets_a_batch_wait_for_the_one_before_it_at_high_rates_but_not_long)
{
	const struct kafka_linger many = noted(20000), few = noted(1000);

	cr_assert_eq(kafka_linger_left_ms(&many, 1, false, 1000), 4);
	cr_assert_eq(kafka_linger_left_ms(&many, 5, false, 0), 0, "nothing is before it");
	cr_assert_eq(kafka_linger_left_ms(&many, 1, true, 0), 4, "first its own time");
	cr_assert_eq(kafka_linger_left_ms(&many, 5, true, 3), KAFKA_LINGER_PATIENCE_MS - 3);
	cr_assert_eq(kafka_linger_left_ms(&many, 5, true, KAFKA_LINGER_PATIENCE_MS), 0);
	cr_assert_eq(kafka_linger_left_ms(&few, 0, true, 0), 0);
}

Test(kafka_conf, forgets_a_rate_after_a_pause)
{
	struct kafka_linger l = { .max_ms = 5 };

	for (uint64_t ms = 1000; ms < 2000; ms++)
		kafka_linger_note(&l, ms, 50);
	cr_assert_eq(kafka_linger_ms(&l), 5);
	kafka_linger_note(&l, 5000, 1);
	cr_assert_eq(kafka_linger_ms(&l), 0);
}

/* ---- books of a partition ---- */

Test(kafka_conf, gives_credit_back_for_whole_batches_below_what_is_done)
{
	struct kafka_partition p = { .position = 0, .done = -1, .committed = -1 };

	for (int i = 1; i <= 40; i++)
		kafka_partition_sent(&p, i * 10, 100);
	cr_assert_eq(p.unpaid_bytes, 4000);
	kafka_partition_done(&p, 25);
	cr_assert_eq(p.unpaid_bytes, 3800);
	cr_assert_eq(p.done, 25);
	kafka_partition_done(&p, 5); /* lower says nothing */
	cr_assert_eq(p.done, 25);
	kafka_partition_done(&p, 9999); /* more than it got */
	cr_assert_eq(p.done, 400);
	cr_assert_eq(p.unpaid_bytes, 0);
	kafka_partition_close(&p);
}

/* ---- packing ---- */

Test(kafka_conf, packs_records_one_after_the_other)
{
	static _Alignas(8) uint8_t bytes[1024];
	const struct kafka_record in[] = {
		{ 7, 1000, wire_text("key"), wire_slice("", 0), wire_text("value") },
		{ 9, -1, wire_slice("", 0), wire_slice("", 0), wire_slice(NULL, 0) },
	};
	struct kafka_record out;
	size_t used = 0, at = 0;

	for (unsigned i = 0; i < 2; i++) {
		kafka_record_write(bytes + used, &in[i]);
		used += kafka_record_size(&in[i]);
		cr_assert_eq(used % 8, 0);
	}
	cr_assert(kafka_record_next(bytes, used, &at, &out));
	cr_assert_eq(out.offset, 7);
	cr_assert(wire_slice_is(out.key, "key") && wire_slice_is(out.value, "value"));
	cr_assert(kafka_record_next(bytes, used, &at, &out));
	cr_assert_eq(out.offset, 9);
	cr_assert_null(out.value.at);
	cr_assert_not(kafka_record_next(bytes, used, &at, &out));
}

Test(kafka_conf, finds_the_last_header_of_a_name)
{
	uint8_t bytes[256];
	struct wire_slice value;
	size_t used = 0;

	kafka_header_write(bytes, "a", wire_text("one"));
	used = kafka_header_size("a", wire_text("one"));
	kafka_header_write(bytes + used, "a", wire_text("two"));
	used += kafka_header_size("a", wire_text("two"));
	cr_assert(kafka_header_find(wire_slice(bytes, used), "a", &value));
	cr_assert(wire_slice_is(value, "two"));
	cr_assert_not(kafka_header_find(wire_slice(bytes, used), "b", &value));
}
