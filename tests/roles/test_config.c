/* SPDX-License-Identifier: MIT */
#include "roles/config.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "roles/config_table.h"
#include "roles/secrets.h"

#define GOOD_SECRET "q8Zr2Lw0XvT5nKc7Jf4Yb1HdPs9MgEuA"
#define GOOD_HEX "9f2c47d0a1b86e53c4f7092d8ba65e1370cd94fb2e81a63f5d07c9e4b1286fa5"

static char *text;
static size_t text_len;

/* Criterion runs each test in a process of its own: the environment is the test's. */
static void clean_environment(void)
{
	clearenv();
}

static unsigned load(struct config *c)
{
	FILE *err;
	unsigned errors;

	free(text);
	err = open_memstream(&text, &text_len);
	errors = config_load(c, err);
	fclose(err);
	return errors;
}

static bool says(const char *what)
{
	return strstr(text, what) != NULL;
}

/* One bad value: one error, which names the variable. */
static void refuses(const char *name, const char *value)
{
	struct config c;
	unsigned errors;

	setenv(name, value, 1);
	errors = load(&c);
	cr_expect(errors == 1, "%s=%s: %u errors: %s", name, value, errors, text);
	cr_expect(strncmp(text, name, strlen(name)) == 0, "%s=%s: %s", name, value, text);
	config_free(&c);
	unsetenv(name);
}

static void takes(const char *name, const char *value)
{
	struct config c;

	setenv(name, value, 1);
	cr_expect(load(&c) == 0, "%s=%s: %s", name, value, text);
	config_free(&c);
	unsetenv(name);
}

TestSuite(config, .init = clean_environment, .timeout = 20);

Test(config, empty_environment_is_embedded_with_the_documented_defaults)
{
	struct config c;

	cr_assert(load(&c) == 0, "%s", text);
	cr_assert(c.embedded);
	cr_assert_str_eq(c.db_path, "data/construct.db");
	cr_assert_str_eq(c.data_dir, "data");
	cr_assert_eq(c.port, 8080);
	cr_assert_str_eq(c.bind, "::");
	cr_assert_str_eq(c.jwt_issuer, "construct-server");
	cr_assert_eq(c.message_ttl_days, 7);
	cr_assert_eq(c.deduplication_window_hours, 192);
	cr_assert_eq(c.max_messages_per_hour, 1000);
	cr_assert_eq(c.max_messages_per_minute, 0);
	cr_assert_eq(c.inbox_max_bytes, 64u << 20);
	cr_assert_eq(c.kafka_producer_retries, 2147483647);
	cr_assert_eq(c.log_level, CONFIG_LOG_INFO);
	cr_assert_eq(c.key_bundle_verify, CONFIG_VERIFY_STRICT);
	cr_assert_eq(c.delivery_ack_mode, CONFIG_ACK_EMBEDDED);
	cr_assert_eq(c.drain_secs, 25);
	cr_assert(c.worker_threads >= 1 && c.worker_threads <= 64);
	cr_assert_null(c.jwt_secret);
	cr_assert_eq(c.note_count, 0);
	config_free(&c);
}

Test(config, every_number_takes_its_bounds_and_nothing_past_them)
{
	for (size_t i = 0; i < config_param_count; i++) {
		const struct config_param *p = &config_params[i];
		struct config c = { 0 };
		char value[32];

		if (p->kind != CONFIG_INT && p->kind != CONFIG_SIZE)
			continue;
		snprintf(value, sizeof(value), "%llu", (unsigned long long)p->min);
		cr_expect(config_set(&c, p, value, stderr), "%s", p->name);
		snprintf(value, sizeof(value), "%llu", (unsigned long long)p->max);
		cr_expect(config_set(&c, p, value, stderr), "%s", p->name);
		cr_expect(p->kind == CONFIG_SIZE || p->max <= UINT32_MAX, "%s", p->name);
		snprintf(value, sizeof(value), "%llu", (unsigned long long)p->max + 1);
		refuses(p->name, value);
		if (p->min > 0) {
			snprintf(value, sizeof(value), "%llu", (unsigned long long)p->min - 1);
			refuses(p->name, value);
		}
	}
}

Test(config, numbers_are_digits_and_nothing_else)
{
	static const char *const bad[] = { "-1",  "+1",  "1x",  "0x10",
		                           "1.5", "ten", "1 2", "99999999999999999999999" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refuses("DRAIN_SECS", bad[i]);
	takes("DRAIN_SECS", " 30 ");
	takes("DRAIN_SECS", ""); /* empty is not set */
}

Test(config, sizes_take_units)
{
	struct config c;

	setenv("INBOX_MAX_BYTES", "2MiB", 1);
	cr_assert(load(&c) == 0);
	cr_assert_eq(c.inbox_max_bytes, 2u << 20);
	config_free(&c);
	takes("INBOX_MAX_BYTES", "1g");
	takes("INBOX_MAX_BYTES", "200000");
	refuses("INBOX_MAX_BYTES", "2MB");
	refuses("INBOX_MAX_BYTES", "18446744073709551615G");
}

Test(config, booleans_and_choices_take_their_words_only)
{
	struct config c;

	setenv("LOG_USER_IDENTIFIERS", "TRUE", 1);
	setenv("KEY_BUNDLE_VERIFY", "Off", 1);
	setenv("LOG_FORMAT", "json", 1);
	cr_assert(load(&c) == 0);
	cr_assert(c.log_user_identifiers);
	cr_assert_eq(c.key_bundle_verify, CONFIG_VERIFY_OFF);
	cr_assert_eq(c.log_format, CONFIG_LOG_JSON);
	config_free(&c);
	clean_environment();
	refuses("LOG_USER_IDENTIFIERS", "maybe");
	refuses("KEY_BUNDLE_VERIFY", "stric");
	refuses("KEY_BUNDLE_VERIFY", "strict|off");
	refuses("KAFKA_SASL_MECHANISM", "GSSAPI");
	takes("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512");
}

Test(config, all_errors_come_at_once)
{
	struct config c;

	setenv("PORT", "70000", 1);
	setenv("LOG_LEVEL", "loud", 1);
	setenv("JWT_SECRET", "short", 1);
	setenv("BIND", "localhost", 1);
	cr_assert_eq(load(&c), 4);
	cr_assert(says("PORT:") && says("LOG_LEVEL:") && says("JWT_SECRET:") && says("BIND:"));
	config_free(&c);
}

Test(config, secrets_that_are_short_or_an_example_are_refused_and_never_printed)
{
	static const char *const bad[] = {
		"change_me_change_me_please_32chars_ok",
		"YOUR-secret-key-at-least-32-characters",
		"00000000000000000000000000000000",
		"abcabcabcabcabcabcabcabcabcabcabcabc",
		"0123456789abcdef0123456789abcdef0123456789abcdef",
		"Zr2Lw0Xv",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabcb",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		refuses("JWT_SECRET", bad[i]);
		cr_expect(!says(bad[i]));
	}
	takes("JWT_SECRET", GOOD_SECRET);
	refuses("JWT_SECRET", "q8Zr2Lw0XvT5nKc7Jf4Yb1HdPs9MgEu"); /* 31 */
	refuses("DELIVERY_SECRET_KEY", "9f2c47d0a1b86e53");
	refuses("DELIVERY_SECRET_KEY",
	        "xf2c47d0a1b86e53c4f7092d8ba65e1370cd94fb2e81a63f5d07c9e4b1286fa5");
	takes("DELIVERY_SECRET_KEY", GOOD_HEX);
}

Test(config, only_secrets_are_read_from_files)
{
	struct config c;

	setenv("PORT_FILE", "port", 1); /* a variable of its own */
	setenv("JWT_ISSUER_FILE", "/nonexistent", 1);
	cr_assert(load(&c) == 0, "%s", text);
	cr_assert_str_eq(c.port_file, "port");
	config_free(&c);
}

Test(config, database_url_names_a_file_or_postgres)
{
	struct config c;

	setenv("DATABASE_URL", "sqlite:///var/lib/x/y.db", 1);
	cr_assert(load(&c) == 0);
	cr_assert_str_eq(c.db_path, "/var/lib/x/y.db");
	cr_assert_str_eq(c.data_dir, "/var/lib/x");
	config_free(&c);
	setenv("DATABASE_URL", "sqlite:y.db", 1);
	cr_assert(load(&c) == 0);
	cr_assert_str_eq(c.data_dir, ".");
	config_free(&c);
	setenv("DATABASE_URL", "sqlite:/y.db", 1);
	cr_assert(load(&c) == 0);
	cr_assert_str_eq(c.data_dir, "/");
	config_free(&c);
	refuses("DATABASE_URL", "mysql://x");
	refuses("DATABASE_URL", "sqlite:");
	refuses("DATABASE_URL", "sqlite:folder/");
	refuses("DATABASE_URL", "sqlite::memory:");
	refuses("DATABASE_URL", "sqlite:a.db?mode=rwc");
	refuses("REDIS_URL", "memcached://x");
}

Test(config, urls_and_files_that_do_not_exist_or_mean_nothing_are_refused)
{
	refuses("MESSAGE_GATEWAY_URL", "ftp://x");
	refuses("KAFKA_SSL_CA_FILE", "/nowhere/ca.pem");
}

Test(config, kafka_settings_must_fit_together)
{
	refuses("KAFKA_PRODUCER_ACKS", "1");
	takes("KAFKA_PRODUCER_ACKS", "-1");
	setenv("KAFKA_PRODUCER_ENABLE_IDEMPOTENCE", "false", 1);
	takes("KAFKA_PRODUCER_ACKS", "1");
	refuses("DELIVERY_ACK_MODE", "kafka");
	takes("DELIVERY_ACK_MODE", "off");
}

Test(config, tls_needs_both_files_and_they_must_be_readable)
{
	struct config c;

	setenv("TLS_CERT_FILE", "/dev/null", 1);
	cr_assert_eq(load(&c), 1);
	cr_assert(says("TLS_KEY_FILE:"));
	config_free(&c);
	setenv("TLS_KEY_FILE", "/nonexistent/key.pem", 1);
	cr_assert_eq(load(&c), 1);
	cr_assert(says("TLS_KEY_FILE: cannot read"));
	config_free(&c);
	setenv("TLS_KEY_FILE", "/dev/null", 1);
	cr_assert_eq(load(&c), 1);
	cr_assert(says("TLS_CERT_FILE: /dev/null is no readable certificate"));
	config_free(&c);
}

Test(config, addresses_may_stand_in_brackets)
{
	struct config c;

	setenv("BIND", "[::1]", 1);
	cr_assert(load(&c) == 0, "%s", text);
	cr_assert_str_eq(c.bind, "::1");
	config_free(&c);
	takes("BIND", "127.0.0.1");
	refuses("BIND", "[]");
	refuses("BIND", "1.2.3");
}

Test(config, dedup_window_covers_the_life_of_a_message)
{
	struct config c;

	setenv("MESSAGE_TTL_DAYS", "30", 1);
	cr_assert(load(&c) == 0);
	cr_assert_eq(c.deduplication_window_hours, 31 * 24);
	config_free(&c);
	refuses("DEDUPLICATION_WINDOW_HOURS", "743");
	takes("DEDUPLICATION_WINDOW_HOURS", "744");
}

Test(config, domain_is_lower_cased_and_must_look_like_one)
{
	struct config c;

	setenv("INSTANCE_DOMAIN", "Chat.Example.ORG", 1);
	cr_assert(load(&c) == 0, "%s", text);
	cr_assert_str_eq(c.instance_domain, "chat.example.org");
	config_free(&c);
	refuses("INSTANCE_DOMAIN", "localhost");
	refuses("INSTANCE_DOMAIN", "a b.org");
	refuses("INSTANCE_DOMAIN", "a..org");
	refuses("INSTANCE_DOMAIN", ".org");
	refuses("INSTANCE_DOMAIN", "https://a.org");
}

Test(config, registry_entry_outlives_the_heartbeat)
{
	refuses("SERVER_REGISTRY_TTL_SECS", "90");
	takes("SERVER_REGISTRY_TTL_SECS", "91");
}

Test(config, connections_come_from_the_descriptor_limit)
{
	const struct rlimit lim = { 4096, 4096 };
	struct config c;

	cr_assert(setrlimit(RLIMIT_NOFILE, &lim) == 0);
	cr_assert(load(&c) == 0);
	cr_assert_eq(c.max_connections, 4096 - CONFIG_FD_RESERVE);
	config_free(&c);
	takes("MAX_CONNECTIONS", "3584");
	refuses("MAX_CONNECTIONS", "3585");
}

static const char *top_socket_of(const char *database_url)
{
	static char path[256];
	struct config c;

	setenv("DATABASE_URL", database_url, 1);
	cr_assert_eq(load(&c), 0, "%s", text);
	cr_assert(!c.top_socket_given);
	snprintf(path, sizeof(path), "%s", c.top_socket != NULL ? c.top_socket : "none");
	config_free(&c);
	return path;
}

Test(config, top_socket_stands_beside_the_database)
{
	char deep[256];

	cr_assert_str_eq(top_socket_of("sqlite:data/construct.db"), "data/construct.sock");
	cr_assert_str_eq(top_socket_of("sqlite:other.db"), "other.sock");
	cr_assert_str_eq(top_socket_of("sqlite:d/.db/plain"), "d/.db/plain.sock");
	snprintf(deep, sizeof(deep), "sqlite:%0100d/a.db", 0);
	cr_assert_eq(strlen(top_socket_of(deep)), 107);
	snprintf(deep, sizeof(deep), "sqlite:%0101d/a.db", 0);
	cr_assert_str_eq(top_socket_of(deep), "none", "longer than a socket's path may be");
}

Test(config, top_socket_can_be_chosen_or_off)
{
	struct config c;
	char deep[128];

	setenv("TOP_SOCKET", "run/top.sock", 1);
	cr_assert_eq(load(&c), 0, "%s", text);
	cr_assert_str_eq(c.top_socket, "run/top.sock");
	cr_assert(c.top_socket_given);
	config_free(&c);
	setenv("TOP_SOCKET", "off", 1);
	cr_assert_eq(load(&c), 0, "%s", text);
	cr_assert_null(c.top_socket);
	config_free(&c);
	snprintf(deep, sizeof(deep), "%0108d", 0);
	refuses("TOP_SOCKET", deep);
}

Test(config, rust_log_counts_without_log_level)
{
	static const struct {
		const char *value;
		enum config_log_level level;
	} cases[] = {
		{ "warn", CONFIG_LOG_WARN },
		{ "construct_server=debug,error,info", CONFIG_LOG_ERROR },
		{ "TRACE", CONFIG_LOG_DEBUG },
		{ "construct_server=debug", CONFIG_LOG_INFO },
		{ "off", CONFIG_LOG_ERROR },
	};
	struct config c;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		setenv("RUST_LOG", cases[i].value, 1);
		cr_assert(load(&c) == 0);
		cr_expect(c.log_level == cases[i].level, "%s", cases[i].value);
		config_free(&c);
	}
	setenv("LOG_LEVEL", "debug", 1);
	setenv("RUST_LOG", "error", 1);
	cr_assert(load(&c) == 0);
	cr_assert_eq(c.log_level, CONFIG_LOG_DEBUG);
	config_free(&c);
}

Test(config, variables_without_effect_are_noted_once)
{
	struct config c;

	setenv("PREKEY_TTL_DAYS", "30", 1);
	setenv("SHADOW_READ_ENABLED", "true", 1);
	setenv("APNS_TOPIC", "x", 1); /* checked, not used in this build */
	cr_assert(load(&c) == 0);
	cr_assert_eq(c.note_count, 3);
	cr_assert_str_eq(c.notes[0].event, "config.not_in_this_build");
	cr_assert_str_eq(c.notes[0].name, "APNS_TOPIC");
	cr_assert_str_eq(c.notes[1].event, "config.without_effect");
	config_free(&c);
}

Test(config, values_are_shown_without_secrets)
{
	struct config c;
	FILE *out;

	setenv("JWT_SECRET", GOOD_SECRET, 1);
	setenv("PORT", "9999", 1);
	cr_assert(load(&c) == 0);
	free(text);
	out = open_memstream(&text, &text_len);
	config_print_values(&c, P_EVERY, out);
	fclose(out);
	cr_assert(says("9999") && says("JWT_SECRET") && !says(GOOD_SECRET));
	config_free(&c);
}

Test(config, pages_name_every_variable)
{
	void (*const printers[])(FILE *) = { config_print_help, config_print_markdown,
		                             config_print_env_example };

	for (size_t i = 0; i < 3; i++) {
		FILE *out;

		free(text);
		out = open_memstream(&text, &text_len);
		printers[i](out);
		fclose(out);
		for (size_t k = 0; k < config_param_count; k++)
			cr_expect(!config_params[k].name || says(config_params[k].name));
	}
}
