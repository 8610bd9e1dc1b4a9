/* SPDX-License-Identifier: MIT */
#include "roles/migrate.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "io/postgres_migrations.h"
#include "roles/config.h"

#define EXIT_FAILED 1
#define EXIT_USAGE 2
#define EXIT_CONFIG 78 /* EX_CONFIG of sysexits.h */

static const char help[] =
	"usage: construct migrate\n"
	"\n"
	"Brings the PostgreSQL database to the schema of this program.  The migrations are "
	"part of\n"
	"the program.  Each is one transaction, under a lock: run it as often and as many "
	"times at\n"
	"once as you like, before the new servers start.  A database of the system before this "
	"one\n"
	"is recognised by its table _sqlx_migrations, checked and adopted.\n"
	"\n"
	"  DATABASE_DIRECT_URL  postgresql://...; when DATABASE_URL is a pooler\n"
	"  DATABASE_URL         otherwise this one\n"
	"\n"
	"Exit codes: 0 done or nothing to do, 1 failed, 2 bad arguments, 78 bad settings.\n";

static bool is_postgres(const char *url)
{
	return strncasecmp(url, "postgresql://", strlen("postgresql://")) == 0 ||
	       strncasecmp(url, "postgres://", strlen("postgres://")) == 0;
}

static int migrate(const struct config *c)
{
	const bool direct = c->database_direct_url != NULL;
	const char *url = direct ? c->database_direct_url : c->database_url;
	enum cx_err err;

	if (!is_postgres(url)) {
		fprintf(stderr,
		        "%s: names no PostgreSQL (postgresql://...), so there is nothing to "
		        "migrate; the embedded store does it by itself\n",
		        direct ? "DATABASE_DIRECT_URL" : "DATABASE_URL");
		return EXIT_CONFIG;
	}
	err = postgres_migrate(url, postgres_migrations, postgres_migration_count, stdout,
	                       stderr);
	if (err == CX_OK) {
		puts("the schema is up to date");
		return 0;
	}
	return err == CX_EINVAL ? EXIT_CONFIG : EXIT_FAILED;
}

int migrate_main(int argc, char **argv)
{
	struct config c;
	int code = EXIT_CONFIG;

	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		fputs(help, stdout);
		return 0;
	}
	if (argc > 1) {
		fprintf(stderr, "construct: migrate takes no argument '%s'\n%s", argv[1], help);
		return EXIT_USAGE;
	}
	if (config_load(&c, stderr) == 0)
		code = migrate(&c);
	config_free(&c);
	return code;
}
