/* SPDX-License-Identifier: MIT */
/* The settings of a Kafka client, and the library's configuration made from them.
 *
 * The settings are the KAFKA_* variables of include/construct/params.def plus what a role decides
 * itself.  kafka_check judges them as a whole before anything is opened (core principle 23). */
#ifndef IO_KAFKA_CONF_H
#define IO_KAFKA_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cx/err.h>

struct rd_kafka_conf_s;

enum kafka_sasl {
	KAFKA_SASL_NONE,
	KAFKA_SASL_PLAIN,
	KAFKA_SASL_SCRAM_SHA_256,
	KAFKA_SASL_SCRAM_SHA_512
};

enum kafka_compression { /* in the order of KAFKA_PRODUCER_COMPRESSION */
	                 KAFKA_COMPRESSION_NONE,
	                 KAFKA_COMPRESSION_GZIP,
	                 KAFKA_COMPRESSION_SNAPPY,
	                 KAFKA_COMPRESSION_LZ4,
	                 KAFKA_COMPRESSION_ZSTD
};

/* Texts are borrowed and must outlive the actors made from them. */
struct kafka_settings {
	const char *brokers;   /* KAFKA_BROKERS */
	const char *client_id; /* or NULL */
	bool use_tls;          /* KAFKA_SSL_ENABLED */
	const char *ca_file;   /* PEM; NULL: the system's store */
	enum kafka_sasl sasl;
	const char *sasl_username, *sasl_password;

	struct {
		enum kafka_compression compression;
		int acks;           /* -1 all, 0, 1 */
		uint32_t linger_ms; /* the longest; see kafka_producer.h */
		uint32_t batch_bytes;
		uint32_t max_in_flight;
		uint32_t retries;
		uint32_t request_timeout_ms;
		uint32_t delivery_timeout_ms;
		bool is_idempotent;
		uint32_t queue_messages; /* accepted and without a report; more is KAFKA_BUSY */
		uint64_t queue_bytes;
	} producer;

	struct {
		const char *group;    /* KAFKA_CONSUMER_GROUP */
		const char *instance; /* group.instance.id: static membership; or NULL */
		uint32_t session_timeout_ms;
		uint32_t fetch_min_bytes;
		uint32_t fetch_wait_ms;
		uint32_t queued_kbytes; /* fetched and not yet taken, for one partition */
	} consumer;
};

/* The defaults of the variables, and of what has no variable. */
void kafka_defaults(struct kafka_settings *out);

/* Returns the bytes of a batch that is full: under load, 16 times what the setting says. */
uint32_t kafka_batch_max(const struct kafka_settings *s);

/* What is wrong with the settings as a whole: the first fault, as text that begins with the name
 * of its variable, in error.  Opens nothing.  Thread: any.
 * Returns CX_OK or CX_EINVAL. */
CX_NODISCARD enum cx_err kafka_check(const struct kafka_settings *s, char *error, size_t len);

/* What the library hands to callbacks as `opaque` begins with this. */
struct kafka_opaque {
	const struct kafka_settings *settings;
};

/* The library's configuration, which is then the caller's; NULL with a text in error as above.
 * Log lines of the client go to cx_log without anything that holds the login.
 * Keeps: opaque, while a client made from it lives.  Thread: any. */
struct rd_kafka_conf_s *kafka_conf_producer(struct kafka_opaque *opaque, char *error,
                                            size_t len);
struct rd_kafka_conf_s *kafka_conf_consumer(struct kafka_opaque *opaque, char *error,
                                            size_t len);

/* Does a broker answer now?  Thread: the client's own.  Blocks: up to timeout_ms. */
struct rd_kafka_s;
bool kafka_answers(struct rd_kafka_s *rk, int timeout_ms);

#endif
