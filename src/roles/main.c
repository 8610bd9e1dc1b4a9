/* SPDX-License-Identifier: MIT */
/* construct: one program, its role chosen by name or by first argument. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cx/log.h>

#include "roles/bench.h"
#include "roles/config.h"
#include "roles/env_file.h"
#include "roles/migrate.h"
#include "roles/probe.h"
#include "roles/roles.h"
#include "roles/secrets.h"
#include "roles/top.h"
#include "roles/version.h"

#define EXIT_USAGE 2
#define EXIT_CONFIG 78 /* EX_CONFIG of sysexits.h: a service manager need not try again */

static_assert((int)CONFIG_LOG_DEBUG == CX_DEBUG && (int)CONFIG_LOG_ERROR == CX_ERROR,
              "levels of the table are levels of the log");
static_assert((int)CONFIG_LOG_TEXT == CX_LOG_TEXT && (int)CONFIG_LOG_JSON == CX_LOG_JSON,
              "formats of the table are formats of the log");

/* As many descriptors as there are clients to hold; 0: as many as there may be. */
static void fit_descriptors(rlim_t wanted)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) != 0)
		return;
	/* Above ten million libwebsockets falls back to 2560. */
	lim.rlim_cur = lim.rlim_max < 1000000 ? lim.rlim_max : 1000000;
	if (wanted > 0 && wanted < lim.rlim_max)
		lim.rlim_cur = wanted;
	/* Refused: the limit stays, and MAX_CONNECTIONS was checked against the hard one. */
	(void)setrlimit(RLIMIT_NOFILE, &lim);
}

static int config_failed(unsigned errors)
{
	fprintf(stderr, "construct: %u error%s in the configuration, nothing was started\n",
	        errors, errors == 1 ? "" : "s");
	return EXIT_CONFIG;
}

static int run_role(const char *role, int (*serve)(const struct config *),
                    const char *trace_file)
{
	const bool stores = strcmp(role, "all") == 0;
	struct config c;
	unsigned errors = config_load(&c, stderr);
	int code;

	errors += config_check_role(&c, role, stderr);
	if (errors == 0 && stores)
		errors += secrets_load(&c, stderr);
	if (errors > 0) {
		config_free(&c);
		return config_failed(errors);
	}
	cx_log_setup((enum cx_log_level)c.log_level, (enum cx_log_format)c.log_format);
	for (size_t i = 0; i < c.note_count; i++)
		cx_log(CX_WARN, c.notes[i].event, "name=%s", c.notes[i].name);
	fit_descriptors((rlim_t)c.max_connections + CONFIG_FD_RESERVE);
	c.trace_file = trace_file;
	code = serve(&c);
	config_free(&c);
	return code;
}

static bool is_help(const char *text)
{
	return strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0;
}

static int run_all(int argc, char **argv)
{
	const bool is_traced = argc == 3 && strcmp(argv[1], "--trace") == 0;

	if (argc == 2 && is_help(argv[1])) {
		puts("usage: construct all [--trace FILE]\n\nThe whole relay in this process.  "
		     "Settings "
		     "are environment variables, listed by\n`construct --help`.");
		return 0;
	}
	if (argc > 1 && !is_traced) {
		fputs("usage: construct all [--trace FILE]; settings are environment "
		      "variables\n",
		      stderr);
		return EXIT_USAGE;
	}
	return run_role("all", role_all_main, is_traced ? argv[2] : NULL);
}

static int run_echo(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return run_role("echo", role_echo_main, NULL);
}

static int run_bench(int argc, char **argv)
{
	fit_descriptors(0);
	return bench_main(argc, argv);
}

static int run_server(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return run_role("server", role_server_main, NULL);
}

static int run_gateway(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return run_role("gateway", role_gateway_main, NULL);
}

static int run_worker(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return run_role("worker", role_worker_main, NULL);
}

static const char check_config_usage[] =
	"usage: construct check-config [--role all|server|gateway|worker]\n\n"
	"Checks the environment as that role would (default: all): names, ranges, strength of\n"
	"secrets, what cannot work together; shows what would be used, secrets masked.  "
	"Connects\n"
	"to nothing and starts nothing.  Exit codes: 0 good, 2 bad arguments, 78 not good.\n";

static int check_config(const char *role)
{
	struct config c;
	unsigned errors = config_load(&c, stderr);

	if (errors == 0)
		config_print_values(&c, config_role_flag(role), stdout);
	errors += config_check_role(&c, role, stderr);
	for (size_t i = 0; errors == 0 && i < c.note_count; i++)
		fprintf(stderr, "note: %s has no effect here\n", c.notes[i].name);
	config_free(&c);
	if (errors > 0) {
		fprintf(stderr, "%u error%s\n", errors, errors == 1 ? "" : "s");
		return EXIT_CONFIG;
	}
	puts("configuration: ok");
	return 0;
}

static int run_check_config(int argc, char **argv)
{
	if (argc == 2 && is_help(argv[1])) {
		fputs(check_config_usage, stdout);
		return 0;
	}
	if (argc == 1)
		return check_config("all");
	if (argc == 3 && strcmp(argv[1], "--role") == 0 && config_role_flag(argv[2]) != 0)
		return check_config(argv[2]);
	fputs(check_config_usage, stderr);
	return EXIT_USAGE;
}

static int run_params_md(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	config_print_markdown(stdout);
	return 0;
}

static int run_env_example(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	config_print_env_example(stdout);
	return 0;
}

static int run_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("construct %s\n", construct_version());
	return 0;
}

enum arguments { ARGS_NONE, ARGS_OWN };

static const struct command {
	const char *name;
	const char *program;               /* name of the link that means this command */
	int (*run)(int argc, char **argv); /* NULL: print the help, which is made from here */
	enum arguments arguments;
	const char *help; /* NULL: not for people */
} commands[] = {
	{ "all", NULL, run_all, ARGS_OWN,
	  "the whole relay in this process (default); --trace FILE writes, at its end, one\n"
	  "                message's way through the actors (chrome://tracing, Perfetto)" },
	{ "server", "construct-server", run_server, ARGS_NONE,
	  "clients' connections, on PostgreSQL, Redis and Kafka" },
	{ "gateway", "message-gateway", run_gateway, ARGS_NONE,
	  "gRPC: checks, limits, writes to Kafka" },
	{ "worker", "delivery-worker", run_worker, ARGS_NONE,
	  "reads Kafka, fills inboxes, wakes the servers" },
	{ "echo", NULL, run_echo, ARGS_NONE, "WebSocket echo, for tests and measuring" },
	{ "probe", NULL, probe_main, ARGS_OWN,
	  "URL: send messages through a relay, step by step" },
	{ "bench", NULL, run_bench, ARGS_OWN, "URL: load a relay and measure it" },
	{ "migrate", NULL, migrate_main, ARGS_OWN,
	  "bring PostgreSQL to this program's schema (migrate --help)" },
	{ "top", NULL, top_main, ARGS_OWN, "what a running relay does, live" },
	{ "check-config", NULL, run_check_config, ARGS_OWN,
	  "check the environment, start nothing; --role server|gateway|worker" },
	{ "--help", NULL, NULL, ARGS_NONE, "this text" },
	{ "--version", NULL, run_version, ARGS_NONE, "version of this build" },
	{ "--params-md", NULL, run_params_md, ARGS_NONE, NULL },
	{ "--env-example", NULL, run_env_example, ARGS_NONE, NULL },
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_usage(FILE *out)
{
	fputs("usage: construct [--env-file FILE] [command]\n\n", out);
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (commands[i].help)
			fprintf(out, "  %-13s %s\n", commands[i].name, commands[i].help);
	}
}

/* `construct all --help` */
static int print_command(const struct command *cmd)
{
	printf("usage: construct %s\n\n%s.  It takes no arguments: settings are environment\n"
	       "variables, listed by `construct --help`.\n",
	       cmd->name, cmd->help != NULL ? cmd->help : cmd->name);
	return 0;
}

static int print_help(void)
{
	print_usage(stdout);
	puts("\nAll settings are environment variables; --env-file FILE takes them from a file "
	     "(lines\n"
	     "NAME=value, NAME='value', NAME=\"value\"), the environment goes over it:");
	config_print_help(stdout);
	return 0;
}

static const struct command *find_command(const char *name)
{
	if (strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
		name = "--help";
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

/* construct-server and the other links are commands by their own name. */
static const struct command *command_of_program(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (commands[i].program && strcmp(commands[i].program, name) == 0)
			return &commands[i];
	}
	return &commands[0];
}

/* `--env-file FILE` before the command: taken, and out of the arguments.  0, or the exit code. */
static int take_env_file(int *argc, char ***argv)
{
	char *program = (*argv)[0];
	unsigned errors;

	if (*argc < 2 || strcmp((*argv)[1], "--env-file") != 0)
		return 0;
	if (*argc == 2) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	errors = env_file_load((*argv)[2], stderr);
	*argc -= 2;
	*argv += 2;
	(*argv)[0] = program;
	return errors > 0 ? config_failed(errors) : 0;
}

int main(int argc, char **argv)
{
	const struct command *cmd;
	char *by_name[2] = { NULL, NULL };
	int code;

	umask(077);
	code = take_env_file(&argc, &argv);
	if (code != 0)
		return code;
	if (argc < 2) {
		cmd = command_of_program(argc > 0 ? argv[0] : "");
		by_name[0] = (char *)cmd->name;
		return cmd->run(1, by_name);
	}
	cmd = find_command(argv[1]);
	if (!cmd) {
		fprintf(stderr, "construct: no command '%s'\n", argv[1]);
		print_usage(stderr);
		return EXIT_USAGE;
	}
	if (cmd->arguments == ARGS_NONE && argc == 3 && cmd->run && is_help(argv[2]))
		return print_command(cmd);
	if (cmd->arguments == ARGS_NONE && argc > 2) {
		fprintf(stderr,
		        "construct: %s takes no arguments; settings are environment "
		        "variables\n",
		        cmd->name);
		return EXIT_USAGE;
	}
	return cmd->run ? cmd->run(argc - 1, argv + 1) : print_help();
}
