/* SPDX-License-Identifier: MIT */
/* The table of variables as .env.example. */
#include <string.h>

#include "roles/config_table.h"

/* One that `make secrets-generate` makes up. */
static bool is_made(const struct config_param *p)
{
	return (p->flags & P_SECRET) && strncmp(p->preset, "(made", 5) == 0;
}

/* For what each deployment has of its own; else the default, or nothing where a secret is made by
 * `make secrets-generate`.  CHANGE_ME is refused by every check. */
static const char *example_of(const struct config_param *p)
{
	static const char *const examples[][2] = {
		{ "DATABASE_URL", "postgresql://construct:CHANGE_ME@CHANGE_ME:5432/"
		                  "construct?sslmode=verify-full" },
		{ "REDIS_URL", "rediss://default:CHANGE_ME@CHANGE_ME:6379" },
		{ "KAFKA_ENABLED", "true" },
		{ "KAFKA_BROKERS", "CHANGE_ME:9092" },
		{ "KAFKA_SSL_ENABLED", "true" },
		{ "KAFKA_SASL_MECHANISM", "PLAIN" },
		{ "DELIVERY_ACK_MODE", "kafka" },
	};

	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
		if (strcmp(examples[i][0], p->name) == 0)
			return examples[i][1];
	}
	if (is_made(p))
		return "";
	return *p->preset == '(' ? "CHANGE_ME" : p->preset;
}

static void put_own(FILE *out)
{
	const char *group = "";

	fputs("# Made from include/construct/params.def by `make docs`; do not edit.\n"
	      "#\n"
	      "# For a deployment of server, gateway and worker:\n"
	      "#   cp .env.example .env, put a value for each CHANGE_ME, make "
	      "secrets-generate\n"
	      "#   make secrets-check tells what is missing, weak or still an example's\n"
	      "# The embedded relay (construct all) needs nothing of this file.\n"
	      "# $ means nothing here; quote a value that has blanks at an end, # after a "
	      "blank,\n"
	      "# or several lines: 'as it is', or \"with \\\" and \\n\".\n"
	      "\n# ---- What each deployment has of its own\n",
	      out);
	for (size_t i = 0; i < config_param_count; i++) {
		const struct config_param *p = &config_params[i];

		if (p->kind == CONFIG_GROUP)
			group = p->help;
		if (p->kind == CONFIG_GROUP || !(p->flags & P_OWN))
			continue;
		if (*group) {
			fprintf(out, "\n# %s\n", group);
			group = "";
		}
		fprintf(out, "# %s%s\n%s=%s\n", p->help,
		        is_made(p) ? "; empty: make secrets-generate" : "", p->name,
		        example_of(p));
	}
}

void config_print_env_example(FILE *out)
{
	put_own(out);
	fputs("\n# ---- What has a default that will do\n", out);
	for (size_t i = 0; i < config_param_count; i++) {
		const struct config_param *p = &config_params[i];

		if (p->kind == CONFIG_GROUP)
			fprintf(out, "\n# --- %s\n", p->help);
		else if (p->flags & P_OWN)
			continue;
		else if (*p->preset == '(')
			fprintf(out, "# %s %s\n# %s=\n", p->preset, p->help, p->name);
		else
			fprintf(out, "# %s=%s\n", p->name, p->preset);
	}
}
