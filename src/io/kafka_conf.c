/* SPDX-License-Identifier: MIT */
#include "io/kafka_conf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#include <cx/log.h>

#define IN_FLIGHT_MAX 5     /* more, and the broker cannot tell a retry from a gap */
#define SESSION_MIN_MS 6000 /* a broker's usual group.min.session.timeout.ms */
#define LOG_TEXT_MAX 240
#define BATCH_GROWTH 16 /* one batch of a partition at a time, so it takes all that came */
#define BATCH_BYTES_MAX 900000 /* brokers and the library take 1,000,000, if nobody set more */

struct maker {
	rd_kafka_conf_t *conf; /* NULL: an earlier setting was refused */
	char *error;
	size_t error_len;
};

#define SCRAM_IS_RIGHT_FROM 0x020601ff /* before, its last message repeats the client's nonce */

static const char *const mechanisms[] = { NULL, "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512" };
static const char *const codecs[] = { "none", "gzip", "snappy", "lz4", "zstd" };

void kafka_defaults(struct kafka_settings *out)
{
	*out = (struct kafka_settings){
		.producer = { .compression = KAFKA_COMPRESSION_SNAPPY,
		              .acks = -1,
		              .linger_ms = 5,
		              .batch_bytes = 16384,
		              .max_in_flight = IN_FLIGHT_MAX,
		              .retries = INT32_MAX,
		              .request_timeout_ms = 30000,
		              .delivery_timeout_ms = 120000,
		              .is_idempotent = true,
		              .queue_messages = 65536,
		              .queue_bytes = 64 << 20 },
		.consumer = { .group = "construct-delivery-workers",
		              .session_timeout_ms = 10000,
		              .fetch_min_bytes = 1,
		              .fetch_wait_ms = 100,
		              .queued_kbytes = 4096 },
	};
}

uint32_t kafka_batch_max(const struct kafka_settings *s)
{
	const uint64_t bytes = (uint64_t)s->producer.batch_bytes * BATCH_GROWTH;

	return bytes < BATCH_BYTES_MAX ? (uint32_t)bytes : BATCH_BYTES_MAX;
}

/* ---- what goes together ---- */

static const char *wrong_login(const struct kafka_settings *s)
{
	if (s->brokers == NULL || *s->brokers == '\0')
		return "KAFKA_BROKERS: is needed, host:port with commas between";
	if ((unsigned)s->sasl > KAFKA_SASL_SCRAM_SHA_512)
		return "KAFKA_SASL_MECHANISM: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512";
	if (s->sasl == KAFKA_SASL_NONE && s->sasl_username != NULL)
		return "KAFKA_SASL_USERNAME: has no effect without KAFKA_SASL_MECHANISM";
	if (s->sasl == KAFKA_SASL_NONE && s->sasl_password != NULL)
		return "KAFKA_SASL_PASSWORD: has no effect without KAFKA_SASL_MECHANISM";
	if (s->sasl != KAFKA_SASL_NONE && (s->sasl_username == NULL || !*s->sasl_username))
		return "KAFKA_SASL_USERNAME: KAFKA_SASL_MECHANISM needs it";
	if (s->sasl != KAFKA_SASL_NONE && (s->sasl_password == NULL || !*s->sasl_password))
		return "KAFKA_SASL_PASSWORD: KAFKA_SASL_MECHANISM needs it";
	if (s->ca_file != NULL && !s->use_tls)
		return "KAFKA_SSL_ENABLED: a CA file is given, but TLS is off";
	return NULL;
}

static const char *wrong_producer(const struct kafka_settings *s)
{
	if ((unsigned)s->producer.compression > KAFKA_COMPRESSION_ZSTD)
		return "KAFKA_PRODUCER_COMPRESSION: none, gzip, snappy, lz4 or zstd";
	if (s->producer.acks < -1 || s->producer.acks > 1)
		return "KAFKA_PRODUCER_ACKS: all, -1, 0 or 1";
	if (s->producer.is_idempotent && s->producer.acks != -1)
		return "KAFKA_PRODUCER_ACKS: only all goes with "
		       "KAFKA_PRODUCER_ENABLE_IDEMPOTENCE";
	if (s->producer.max_in_flight < 1 || s->producer.max_in_flight > IN_FLIGHT_MAX)
		return "KAFKA_PRODUCER_MAX_IN_FLIGHT: 1 to 5";
	if (s->producer.is_idempotent && s->producer.retries == 0)
		return "KAFKA_PRODUCER_RETRIES: 0 does not go with "
		       "KAFKA_PRODUCER_ENABLE_IDEMPOTENCE";
	if ((uint64_t)s->producer.linger_ms + s->producer.request_timeout_ms >
	    s->producer.delivery_timeout_ms)
		return "KAFKA_PRODUCER_DELIVERY_TIMEOUT_MS: less than "
		       "KAFKA_PRODUCER_LINGER_MS and KAFKA_PRODUCER_REQUEST_TIMEOUT_MS "
		       "together";
	return NULL;
}

enum cx_err kafka_check(const struct kafka_settings *s, char *error, size_t len)
{
	const char *wrong = wrong_login(s);

	if (wrong == NULL)
		wrong = wrong_producer(s);
	if (wrong == NULL && (s->consumer.group == NULL || !*s->consumer.group))
		wrong = "KAFKA_CONSUMER_GROUP: is needed";
	if (wrong == NULL)
		return CX_OK;
	snprintf(error, len, "%s", wrong);
	return CX_EINVAL;
}

/* ---- log ---- */

static bool holds(const char *text, const char *secret)
{
	return secret != NULL && *secret != '\0' && strstr(text, secret) != NULL;
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	const struct kafka_opaque *const opaque = rd_kafka_opaque(rk);
	const struct kafka_settings *const s = opaque->settings;
	char line[LOG_TEXT_MAX];
	size_t n = 0;

	/* A broker may say a login's name in its refusal. */
	if (holds(text, s->sasl_password) || holds(text, s->sasl_username))
		text = "(held back: it names the login)";
	for (; *text != '\0' && n + 1 < sizeof(line); text++)
		line[n++] = (unsigned char)*text < ' ' || *text == '"' ? ' ' : *text;
	line[n] = '\0';
	cx_log(level <= 3   ? CX_ERROR
	       : level <= 4 ? CX_WARN
	       : level <= 6 ? CX_INFO
	                    : CX_DEBUG,
	       "kafka.client", "about=%s text=\"%s\"", facility, line);
}

/* ---- the library's configuration ---- */

static void set(struct maker *m, const char *variable, const char *name, const char *value)
{
	char why[256];

	if (m->conf == NULL ||
	    rd_kafka_conf_set(m->conf, name, value, why, sizeof(why)) == RD_KAFKA_CONF_OK)
		return;
	snprintf(m->error, m->error_len, "%s: %s", variable, why);
	rd_kafka_conf_destroy(m->conf);
	m->conf = NULL;
}

static void set_number(struct maker *m, const char *variable, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	set(m, variable, name, text);
}

static void set_login(struct maker *m, const struct kafka_settings *s)
{
	const bool has_login = s->sasl != KAFKA_SASL_NONE;

	set(m, "KAFKA_SSL_ENABLED", "security.protocol",
	    s->use_tls  ? has_login ? "sasl_ssl" : "ssl"
	    : has_login ? "sasl_plaintext"
	                : "plaintext");
	if (s->use_tls) {
		set(m, "KAFKA_SSL_ENABLED", "ssl.ca.location",
		    s->ca_file != NULL ? s->ca_file : "probe");
		set(m, "KAFKA_SSL_ENABLED", "enable.ssl.certificate.verification", "true");
		set(m, "KAFKA_SSL_ENABLED", "ssl.endpoint.identification.algorithm", "https");
	}
	if (!has_login)
		return;
	if (s->sasl >= KAFKA_SASL_SCRAM_SHA_256 && rd_kafka_version() < SCRAM_IS_RIGHT_FROM)
		cx_log(CX_WARN, "kafka.old_scram",
		       "librdkafka=%s about=\"its SCRAM is refused by brokers since 3.8.1 as a "
		       "wrong password; 2.6.1 or PLAIN is taken\"",
		       rd_kafka_version_str());
	set(m, "KAFKA_SASL_MECHANISM", "sasl.mechanism", mechanisms[s->sasl]);
	set(m, "KAFKA_SASL_USERNAME", "sasl.username", s->sasl_username);
	set(m, "KAFKA_SASL_PASSWORD", "sasl.password", s->sasl_password);
}

static struct maker begin(struct kafka_opaque *opaque, char *error, size_t len)
{
	const struct kafka_settings *const s = opaque->settings;
	struct maker m = { .error = error, .error_len = len };

	if (kafka_check(s, error, len) != CX_OK)
		return m;
	m.conf = rd_kafka_conf_new();
	rd_kafka_conf_set_opaque(m.conf, opaque);
	rd_kafka_conf_set_log_cb(m.conf, on_log);
	set(&m, "KAFKA_BROKERS", "bootstrap.servers", s->brokers);
	set(&m, "client.id", "client.id", s->client_id != NULL ? s->client_id : "construct");
	set(&m, "client", "socket.keepalive.enable", "true"); /* clouds drop idle connections */
	set(&m, "client", "statistics.interval.ms", "0");
	set(&m, "client", "log.connection.close", "false"); /* brokers close idle ones too */
	set(&m, "client", "reconnect.backoff.max.ms", "5000");
	set_login(&m, s);
	return m;
}

rd_kafka_conf_t *kafka_conf_producer(struct kafka_opaque *opaque, char *error, size_t len)
{
	const struct kafka_settings *const s = opaque->settings;
	struct maker m = begin(opaque, error, len);
	char acks[4];

	if (m.conf == NULL)
		return NULL;
	snprintf(acks, sizeof(acks), "%d", s->producer.acks);
	set(&m, "KAFKA_PRODUCER_ACKS", "acks", acks);
	set(&m, "KAFKA_PRODUCER_ENABLE_IDEMPOTENCE", "enable.idempotence",
	    s->producer.is_idempotent ? "true" : "false");
	set(&m, "KAFKA_PRODUCER_COMPRESSION", "compression.codec",
	    codecs[s->producer.compression]);
	set(&m, "client", "partitioner", "murmur2_random"); /* as the Java client does */
	/* The producer gathers by itself, so that the wait can follow the rate.  This is what handing over a
	 * batch takes: else the library sends its first records alone, and what is left makes its thread
	 * spin (kafka_outbox.h).  It waits in whole milliseconds, so less would be no sooner. */
	set(&m, "KAFKA_PRODUCER_LINGER_MS", "linger.ms", "0.9");
	/* Never smaller than a batch of ours, which it would cut in two requests. */
	set_number(&m, "KAFKA_PRODUCER_BATCH_SIZE", "batch.size", kafka_batch_max(s));
	set_number(&m, "KAFKA_PRODUCER_MAX_IN_FLIGHT", "max.in.flight",
	           s->producer.max_in_flight);
	set_number(&m, "KAFKA_PRODUCER_RETRIES", "message.send.max.retries",
	           s->producer.retries);
	set_number(&m, "KAFKA_PRODUCER_REQUEST_TIMEOUT_MS", "request.timeout.ms",
	           s->producer.request_timeout_ms);
	set_number(&m, "KAFKA_PRODUCER_DELIVERY_TIMEOUT_MS", "message.timeout.ms",
	           s->producer.delivery_timeout_ms);
	set_number(&m, "queue", "queue.buffering.max.messages", s->producer.queue_messages);
	/* Twice ours: the library counts more than the payload, and ours shall be met first. */
	set_number(&m, "queue", "queue.buffering.max.kbytes",
	           s->producer.queue_bytes / 512 + 1024);
	if (m.conf != NULL)
		rd_kafka_conf_set_events(m.conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
	return m.conf;
}

rd_kafka_conf_t *kafka_conf_consumer(struct kafka_opaque *opaque, char *error, size_t len)
{
	const struct kafka_settings *const s = opaque->settings;
	struct maker m = begin(opaque, error, len);
	const uint32_t session_ms = s->consumer.session_timeout_ms;

	if (m.conf == NULL)
		return NULL;
	set(&m, "KAFKA_CONSUMER_GROUP", "group.id", s->consumer.group);
	if (s->consumer.instance != NULL)
		set(&m, "group.instance.id", "group.instance.id", s->consumer.instance);
	/* Closing a cooperative-sticky member before its first assignment may abort in 2.0.2. */
	set(&m, "client", "partition.assignment.strategy", "range");
	set(&m, "client", "enable.auto.commit", "false");
	set(&m, "client", "enable.auto.offset.store", "false");
	set(&m, "client", "auto.offset.reset", "earliest"); /* not read means not delivered */
	set(&m, "client", "enable.partition.eof", "false");
	set(&m, "client", "check.crcs", "true");
	set_number(&m, "session", "session.timeout.ms", session_ms);
	set_number(&m, "session", "heartbeat.interval.ms",
	           session_ms >= SESSION_MIN_MS ? session_ms / 4 : session_ms / 6);
	set_number(&m, "fetch", "fetch.min.bytes", s->consumer.fetch_min_bytes);
	set_number(&m, "fetch", "fetch.wait.max.ms", s->consumer.fetch_wait_ms);
	set_number(&m, "fetch", "queued.max.messages.kbytes", s->consumer.queued_kbytes);
	return m.conf;
}

bool kafka_answers(rd_kafka_t *rk, int timeout_ms)
{
	const struct rd_kafka_metadata *metadata;

	if (rd_kafka_metadata(rk, 0, NULL, &metadata, timeout_ms) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return false;
	rd_kafka_metadata_destroy(metadata);
	return true;
}
