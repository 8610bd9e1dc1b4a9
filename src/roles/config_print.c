/* SPDX-License-Identifier: MIT */
/* The table of variables, written for people. */
#include <string.h>

#include "roles/config_table.h"

static const void *field_of(const struct config *c, const struct config_param *p)
{
	return (const char *)c + p->offset;
}

static bool has_literal_preset(const struct config_param *p)
{
	return *p->preset != '(';
}

void config_print_help(FILE *out)
{
	for (size_t i = 0; i < config_param_count; i++) {
		const struct config_param *p = &config_params[i];

		if (p->kind == CONFIG_GROUP) {
			fprintf(out, "\n%s\n", p->help);
			continue;
		}
		fprintf(out, "  %-34s %s%s%s\n", p->name, p->help,
		        p->flags & P_SECRET ? "; secret, or " : "",
		        p->flags & P_SECRET ? "NAME_FILE=path" : "");
		fprintf(out, "  %-34s default %s", "", p->preset);
		if (p->kind == CONFIG_ENUM)
			fprintf(out, "; %s", p->unit);
		else if (p->kind == CONFIG_INT || p->kind == CONFIG_SIZE)
			fprintf(out, "; %llu to %llu%s%s", (unsigned long long)p->min,
			        (unsigned long long)p->max, *p->unit ? " " : "", p->unit);
		fputs(p->flags & P_LATER ? "; no effect in this build yet\n" : "\n", out);
	}
}

/* `|` parts the cells of a Markdown table. */
static void put_cell(const char *text, FILE *out)
{
	for (; *text; text++) {
		if (*text == '|')
			fputs(", ", out);
		else
			fputc(*text, out);
	}
}

static void put_range(const struct config_param *p, FILE *out)
{
	switch (p->kind) {
	case CONFIG_INT:
	case CONFIG_SIZE:
		fprintf(out, "%llu to %llu%s%s", (unsigned long long)p->min,
		        (unsigned long long)p->max, *p->unit ? " " : "", p->unit);
		break;
	case CONFIG_BOOL:
		fputs("true, false", out);
		break;
	case CONFIG_ENUM:
		put_cell(p->unit, out);
		break;
	case CONFIG_STR:
		if (p->flags & P_HEX)
			fprintf(out, "%llu hex digits", (unsigned long long)p->min);
		else if (p->min > 1)
			fprintf(out, "%llu to %llu characters", (unsigned long long)p->min,
			        (unsigned long long)p->max);
		else
			fputs("text", out);
		break;
	case CONFIG_GROUP:
		break;
	}
}

static void put_roles(const struct config_param *p, FILE *out)
{
	static const struct {
		unsigned flag;
		const char *uses, *needs;
	} roles[] = {
		{ P_RELAY, "a", "a" },  { P_SERVER, "s", "S" },  { P_GATEWAY, "g", "G" },
		{ P_WORKER, "w", "W" }, { P_MIGRATE, "m", "m" },
	};

	fputc('`', out);
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		if (p->flags & roles[i].flag)
			fputs(p->flags & P_NEED ? roles[i].needs : roles[i].uses, out);
	}
	fputs("` | ", out);
}

void config_print_markdown(FILE *out)
{
	fputs("# Configuration\n"
	      "\n"
	      "Made from `include/construct/params.def` by `make docs`; do not edit.\n"
	      "\n"
	      "Everything is set by environment variables.  An empty one counts as not set.\n"
	      "A value that is out of range, and a secret that is short or an example's text, "
	      "is\n"
	      "an error that names the variable, before anything is opened;\n"
	      "`construct check-config` looks without starting.\n"
	      "\n"
	      "Marks: `*` secret, never printed, may come from a file instead "
	      "(`NAME_FILE=path`);\n"
	      "`r` read again on SIGHUP; `-` checked, but nothing in this build uses it yet.\n"
	      "Used by: `a` construct all, `s` server, `g` gateway, `w` worker, `m` construct "
	      "migrate;\n"
	      "in capitals: this role of a deployment does not start without it.\n",
	      out);
	for (size_t i = 0; i < config_param_count; i++) {
		const struct config_param *p = &config_params[i];

		if (p->kind == CONFIG_GROUP) {
			fprintf(out,
			        "\n## %s\n\n| variable | | used by | default | values | "
			        "meaning |\n"
			        "| --- | --- | --- | --- | --- | --- |\n",
			        p->help);
			continue;
		}
		fprintf(out, "| `%s` | %s%s%s | ", p->name, p->flags & P_SECRET ? "`*`" : "",
		        p->flags & P_RELOAD ? "`r`" : "", p->flags & P_LATER ? "`-`" : "");
		put_roles(p, out);
		fprintf(out, has_literal_preset(p) ? "`%s`" : "%s", p->preset);
		fputs(" | ", out);
		put_range(p, out);
		fputs(" | ", out);
		put_cell(p->help, out);
		fputs(" |\n", out);
	}
	fputs("\n"
	      "Variables of older servers that mean nothing here are named once in the start "
	      "log:\n"
	      "`DELIVERY_POLL_INTERVAL_MS`, `SHADOW_READ_ENABLED`, `KEY_BUNDLE_CACHE_HOURS`,\n"
	      "`PREKEY_TTL_DAYS`, `PREKEY_MIN_TTL_DAYS`, `PREKEY_MAX_TTL_DAYS`,\n"
	      "`REFRESH_TOKEN_TTL_DAYS`.  `RUST_LOG` is read when `LOG_LEVEL` is not set.\n",
	      out);
}

static void put_value(const struct config *c, const struct config_param *p, FILE *out)
{
	const char *text, *choice = p->unit;

	switch (p->kind) {
	case CONFIG_INT:
		fprintf(out, "%u", *(const uint32_t *)field_of(c, p));
		break;
	case CONFIG_SIZE:
		fprintf(out, "%llu", (unsigned long long)*(const uint64_t *)field_of(c, p));
		break;
	case CONFIG_BOOL:
		fputs(*(const bool *)field_of(c, p) ? "true" : "false", out);
		break;
	case CONFIG_ENUM:
		for (unsigned i = *(const unsigned *)field_of(c, p); i > 0; i--)
			choice += strcspn(choice, "|") + 1;
		fprintf(out, "%.*s", (int)strcspn(choice, "|"), choice);
		break;
	case CONFIG_STR:
		text = *(const char *const *)field_of(c, p);
		fputs(!text ? p->preset : p->flags & P_SECRET ? "(set)" : text, out);
		break;
	case CONFIG_GROUP:
		break;
	}
}

void config_print_values(const struct config *c, unsigned role, FILE *out)
{
	for (size_t i = 0; i < config_param_count; i++) {
		const struct config_param *p = &config_params[i];

		/* What was not given and is not in use says nothing. */
		if (p->kind == CONFIG_GROUP || !(p->flags & role) ||
		    ((p->flags & P_LATER) && !config_is_given(p->name)))
			continue;
		fprintf(out, "  %-34s ", p->name);
		if (c->db_path && strcmp(p->name, "DATABASE_URL") == 0)
			fprintf(out, "sqlite:%s", c->db_path);
		else if (c->embedded && strcmp(p->name, "REDIS_URL") == 0)
			fputs("embedded:", out);
		else
			put_value(c, p, out);
		fputs(p->flags & P_LATER ? "   (no effect in this build yet)\n" : "\n", out);
	}
}
