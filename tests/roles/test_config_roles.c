/* SPDX-License-Identifier: MIT */
/* What each role of a deployment needs: config_roles.c, and examples: config_secret.c. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "roles/config.h"
#include "roles/config_table.h"
#include "roles/secrets.h"

#define GOOD_SECRET "q8Zr2Lw0XvT5nKc7Jf4Yb1HdPs9MgEuA"
#define GOOD_HEX "9f2c47d0a1b86e53c4f7092d8ba65e1370cd94fb2e81a63f5d07c9e4b1286fa5"

static char *text;
static size_t text_len;
static struct config config;

static void clean_environment(void)
{
	clearenv();
}

/* All that the three roles need. */
static void deployment(void)
{
	clearenv();
	setenv("DATABASE_URL", "postgresql://u:p@db/construct", 1);
	setenv("REDIS_URL", "rediss://cache", 1);
	setenv("KAFKA_ENABLED", "true", 1);
	setenv("KAFKA_BROKERS", "k:9092", 1);
	setenv("JWT_SECRET", GOOD_SECRET, 1);
	setenv("LOG_HASH_SALT", GOOD_SECRET, 1);
	setenv("DELIVERY_SECRET_KEY", GOOD_HEX, 1);
	setenv("APNS_DEVICE_TOKEN_ENCRYPTION_KEY", GOOD_HEX, 1);
}

/* Errors of loading and of the role, together; `config` and `text` hold until the next. */
static unsigned check(const char *role)
{
	FILE *err;
	unsigned errors;

	free(text);
	config_free(&config);
	err = open_memstream(&text, &text_len);
	errors = config_load(&config, err);
	errors += config_check_role(&config, role, err);
	fclose(err);
	return errors;
}

static bool says(const char *what)
{
	return strstr(text, what) != NULL;
}

static void give_back(void)
{
	config_free(&config);
	free(text);
}

TestSuite(config_roles, .init = clean_environment, .fini = give_back, .timeout = 20);

Test(config_roles, a_whole_deployment_is_good_for_its_three_roles_and_not_for_the_relay)
{
	deployment();
	cr_assert_eq(check("server"), 0, "%s", text);
	cr_assert(!config.embedded);
	cr_assert_null(config.db_path);
	cr_assert_eq(config.delivery_ack_mode, CONFIG_ACK_KAFKA);
	cr_assert_eq(secrets_load(&config, stderr), 0);
	cr_assert_eq(check("gateway"), 0, "%s", text);
	cr_assert_eq(check("worker"), 0, "%s", text);
	cr_assert_eq(check("echo"), 0, "%s", text);
	cr_assert_eq(check("all"), 3);
	cr_assert(says("DATABASE_URL:") && says("REDIS_URL:") && says("KAFKA_ENABLED:"));
	cr_assert(!says("u:p@db"));
}

Test(config_roles, each_secret_is_needed_by_the_roles_that_use_it)
{
	static const char *const roles[] = { "server", "gateway", "worker" };
	static const struct {
		const char *name;
		unsigned errors[3];
	} secrets[] = {
		{ "JWT_SECRET", { 1, 0, 0 } },
		{ "LOG_HASH_SALT", { 0, 0, 0 } },
		{ "DELIVERY_SECRET_KEY", { 1, 0, 1 } },
		{ "APNS_DEVICE_TOKEN_ENCRYPTION_KEY", { 0, 0, 0 } },
		{ "DATABASE_URL", { 1, 1, 0 } },
		{ "REDIS_URL", { 1, 1, 1 } },
	};

	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
		for (size_t n = 0; n < 3; n++) {
			deployment();
			unsetenv(secrets[i].name);
			cr_expect_eq(check(roles[n]), secrets[i].errors[n], "%s without %s: %s",
			             roles[n], secrets[i].name, text);
			cr_expect(secrets[i].errors[n] == 0 ||
			                  strncmp(text, secrets[i].name,
			                          strlen(secrets[i].name)) == 0,
			          "%s", text);
		}
	}
}

Test(config_roles, a_bare_environment_serves_the_relay_and_no_other_role)
{
	cr_assert_eq(check("all"), 0, "%s", text);
	cr_assert_eq(check("server"), 6, "%s", text);
	cr_assert_eq(check("gateway"), 4, "%s", text);
	cr_assert_eq(check("worker"), 4, "%s", text);
	cr_assert(says("REDIS_URL:") && says("KAFKA_ENABLED:") && says("DELIVERY_ACK_MODE:") &&
	          says("DELIVERY_SECRET_KEY:"));
}

Test(config_roles, what_cannot_work_together_is_named)
{
	deployment();
	setenv("PORT", "8081", 1);
	cr_assert_eq(check("gateway"), 1);
	cr_assert(says("HEALTH_PORT:"));
	cr_assert_eq(check("server"), 0, "it has no HEALTH_PORT: %s", text);
	setenv("PORT", "0", 1);
	setenv("HEALTH_PORT", "0", 1);
	cr_assert_eq(check("gateway"), 0, "%s", text);
	setenv("KAFKA_SASL_USERNAME", "key", 1);
	setenv("KAFKA_SASL_PASSWORD", GOOD_SECRET, 1);
	cr_assert_eq(check("worker"), 1);
	cr_assert(says("KAFKA_SASL_MECHANISM:"));
	setenv("KAFKA_SASL_MECHANISM", "PLAIN", 1);
	cr_assert_eq(check("worker"), 0, "%s", text);
}

Test(config_roles, what_the_example_file_leaves_open_is_refused_by_name)
{
	static const char *const left[][2] = {
		{ "DATABASE_URL", "postgresql://construct:CHANGE_ME@db.relay.net/x" },
		{ "REDIS_URL", "rediss://default:your_password@r.relay.net" },
		{ "KAFKA_BROKERS", "CHANGE_ME:9092" },
		{ "INSTANCE_DOMAIN", "CHANGE_ME" },
		{ "JWT_SECRET", "CHANGE_ME_CHANGE_ME_CHANGE_ME_CHANGE_ME" },
	};

	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		deployment();
		setenv(left[i][0], left[i][1], 1);
		cr_expect(check("server") > 0, "%s", left[i][0]);
		cr_expect(strncmp(text, left[i][0], strlen(left[i][0])) == 0, "%s", text);
		cr_expect(!says(left[i][1]), "the value is shown");
	}
	deployment();
	setenv("DATABASE_URL", "postgresql://u:Qm3xT9@db.example.org/x?note=example", 1);
	cr_expect_eq(check("server"), 0, "an example's host is a host: %s", text);
}

Test(config_roles, every_variable_is_used_by_somebody_and_roles_have_names)
{
	for (size_t i = 0; i < config_param_count; i++) {
		const struct config_param *p = &config_params[i];

		if (p->kind == CONFIG_GROUP)
			continue;
		cr_expect(p->flags & (P_EVERY | P_MIGRATE), "%s", p->name);
		cr_expect(!(p->flags & P_NEED) || (p->flags & P_STACK), "%s", p->name);
	}
	cr_expect_eq(config_role_flag("all"), P_RELAY);
	cr_expect_eq(config_role_flag("worker"), P_WORKER);
	cr_expect_eq(config_role_flag("echo"), 0);
	cr_expect_eq(config_role_flag("servers"), 0);
}
