/* SPDX-License-Identifier: MIT */
#include "roles/backends.h"

#include <stdio.h>
#include <string.h>

#include "io/postgres.h"
#include "io/stack_store.h"
#include "wire/hash.h"
#include "wire/secret.h"

#define CLIENT_NAME "construct"
#define GROUP_SESSION_MS 10000

static char error_buffer[256]; /* boot happens once, on the main thread */

static enum kafka_sasl sasl_of(const struct config *c)
{
	static const enum kafka_sasl in_params_order[] = { KAFKA_SASL_PLAIN,
		                                           KAFKA_SASL_SCRAM_SHA_256,
		                                           KAFKA_SASL_SCRAM_SHA_512 };

	return c->has_sasl ? in_params_order[c->kafka_sasl_mechanism] : KAFKA_SASL_NONE;
}

static int acks_of(const struct config *c)
{
	static const int in_params_order[] = { -1, -1, 0, 1 }; /* all, -1, 0, 1 */

	return in_params_order[c->kafka_producer_acks];
}

static void fill_kafka(struct backends *b)
{
	const struct config *c = b->config;
	struct kafka_settings *k = &b->kafka;

	kafka_defaults(k);
	k->brokers = c->kafka_brokers;
	k->client_id = CLIENT_NAME;
	k->use_tls = c->kafka_ssl_enabled;
	k->ca_file = c->kafka_ssl_enabled ? c->kafka_ca_file : NULL;
	k->sasl = sasl_of(c);
	k->sasl_username = c->kafka_sasl_username;
	k->sasl_password = c->kafka_sasl_password;
	k->producer.compression = (enum kafka_compression)c->kafka_producer_compression;
	k->producer.acks = acks_of(c);
	k->producer.linger_ms = c->kafka_producer_linger_ms;
	k->producer.batch_bytes = c->kafka_producer_batch_size;
	k->producer.max_in_flight = c->kafka_producer_max_in_flight;
	k->producer.retries = c->kafka_producer_retries;
	k->producer.request_timeout_ms = c->kafka_producer_request_timeout_ms;
	k->producer.delivery_timeout_ms = c->kafka_producer_delivery_timeout_ms;
	k->producer.is_idempotent = c->kafka_producer_enable_idempotence;
	k->consumer.group = c->kafka_consumer_group;
	k->consumer.session_timeout_ms = GROUP_SESSION_MS;
	snprintf(b->topics[BACKENDS_TOPIC_MESSAGES], BACKENDS_TOPIC_MAX, "%s", c->kafka_topic);
	snprintf(b->topics[BACKENDS_TOPIC_ACKS], BACKENDS_TOPIC_MAX, "%s-delivery-ack",
	         c->kafka_topic);
	snprintf(b->topics[BACKENDS_TOPIC_DEAD], BACKENDS_TOPIC_MAX, "%s-dead-letter",
	         c->kafka_topic);
}

enum cx_err backends_setup(struct backends *b, const struct config *config,
                           struct cx_runtime *rt, const char **error_text)
{
	uint8_t secret[32];

	*b = (struct backends){ .config = config, .rt = rt };
	*error_text = error_buffer;
	if (!redis_url_parse(wire_text(config->redis_url), "REDIS_URL", &b->redis_url,
	                     error_buffer, sizeof(error_buffer)))
		return CX_EINVAL;
	fill_kafka(b);
	if (kafka_check(&b->kafka, error_buffer, sizeof(error_buffer)) != CX_OK)
		return CX_EINVAL;
	if (config->delivery_secret_key != NULL) { /* a gateway handles no delivery event */
		cx_assert(hash_key_parse(wire_text(config->delivery_secret_key), secret));
		delivery_key_init(&b->delivery_key, secret);
		secret_wipe(secret, sizeof(secret));
	}
	secret_random(&b->instance, sizeof(b->instance));
	backends_add_scripts(b, stack_store_scripts, STACK_STORE_SCRIPT_COUNT);
	return CX_OK;
}

unsigned backends_add_scripts(struct backends *b, const struct redis_script *scripts,
                              unsigned count)
{
	const unsigned first = b->script_count;

	cx_assert(first + count <= REDIS_SCRIPTS_MAX);
	memcpy(&b->scripts[first], scripts, count * sizeof(scripts[0]));
	b->script_count += count;
	return first;
}

enum cx_err backends_boot_redis(struct backends *b, unsigned i, const struct cx_ref *owner_at)
{
	const struct redis_conf conf = {
		.url = &b->redis_url,
		.ca_file = b->config->redis_ca_file,
		.client_name = CLIENT_NAME,
		.scripts = b->scripts,
		.script_count = b->script_count,
		.is_doctor = i == 0,
		.owner_at = owner_at,
	};

	return cx_runtime_spawn(b->rt, &redis_type, &conf, i, &b->redis[i]);
}

enum cx_err backends_boot_store(struct backends *b, unsigned i)
{
	const uint32_t share = b->config->db_max_connections / b->config->worker_threads;
	const struct postgres_conf postgres = {
		.url = b->config->database_url,
		.application_name = CLIENT_NAME,
		.statements = stack_store_statements,
		.statement_count = STACK_STORE_STATEMENT_COUNT,
		.connections = share > 0 ? share : 1,
	};
	enum cx_err err =
		cx_runtime_spawn(b->rt, &postgres_type, &postgres, i, &b->postgres[i]);
	const struct stack_store_conf store = { .postgres = b->postgres[i],
		                                .redis = b->redis[i] };

	if (err == CX_OK)
		err = cx_runtime_spawn(b->rt, &stack_store_type, &store, i, &b->stores[i]);
	return err;
}

enum cx_err backends_boot_producer(struct backends *b)
{
	const struct kafka_producer_conf *conf = &b->producer_conf;

	b->producer_conf = (struct kafka_producer_conf){ .rt = b->rt,
		                                         .settings = &b->kafka,
		                                         .topic_count = BACKENDS_TOPICS,
		                                         .spread = 1U << BACKENDS_TOPIC_ACKS };
	for (unsigned i = 0; i < BACKENDS_TOPICS; i++)
		b->producer_conf.topics[i] = b->topics[i];
	return cx_runtime_spawn(b->rt, &kafka_producer_type, &conf, 0, &b->producer);
}

void backends_channel(struct backends *b, unsigned n, const char *name)
{
	cx_assert(n < BACKENDS_CHANNELS_MAX);
	snprintf(b->channels[n], BACKENDS_CHANNEL_MAX, "%s:%s", b->config->online_channel,
	         name);
	b->channel_names[n] = b->channels[n];
}

enum cx_err backends_boot_subscriber(struct backends *b, struct cx_ref subscriber)
{
	struct redis_sub_conf conf = {
		.url = &b->redis_url,
		.ca_file = b->config->redis_ca_file,
		.client_name = CLIENT_NAME,
		.channels = b->channel_names,
		.subscriber = subscriber,
		.tells_loss = b->tells_loss,
	};

	while (conf.channel_count < BACKENDS_CHANNELS_MAX &&
	       b->channel_names[conf.channel_count] != NULL)
		conf.channel_count++;
	return cx_runtime_spawn(b->rt, &redis_sub_type, &conf, 0, &b->subscriber);
}

void backends_wipe(struct backends *b)
{
	delivery_key_wipe(&b->delivery_key);
	secret_wipe(&b->redis_url, sizeof(b->redis_url));
}
