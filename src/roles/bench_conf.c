/* SPDX-License-Identifier: MIT */
#include "roles/bench_conf.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

enum kind { KIND_FLAG, KIND_COUNT, KIND_NUMBER, KIND_TEXT, KIND_MODE, KIND_CLOSED };

struct option {
	const char *name;
	const char *value_name; /* NULL: takes no value */
	enum kind kind;
	size_t offset; /* into struct bench_conf */
	double min, max;
	const char *help;
};

#define AT(field) offsetof(struct bench_conf, field)
#define USERS_MAX 1000000
#define RATE_UNSET (-1.0)

static const struct option options[] = {
	{ "--mode", "MODE", KIND_MODE, AT(mode), 0, 0,
	  "relay (default), echo, connect, hold or login, see below" },
	{ "--pairs", "N", KIND_COUNT, AT(pairs), 0, USERS_MAX,
	  "senders, each with a recipient of its own (64)" },
	{ "--inflight", "N", KIND_COUNT, AT(inflight), 1, 65536,
	  "messages a sender (echo: a connection) has under way at most (16)" },
	{ "--size", "BYTES", KIND_COUNT, AT(size_bytes), 12, 60000,
	  "content of a message before base64, or of an echo frame (256)" },
	{ "--duration", "SECS", KIND_NUMBER, AT(duration_s), 0.1, 1e6, "measured time (10)" },
	{ "--warmup", "SECS", KIND_NUMBER, AT(warmup_s), 0, 1e5,
	  "time before it that does not count (2)" },
	{ "--drain", "SECS", KIND_NUMBER, AT(drain_s), 0.1, 1e5,
	  "time after it for what is under way (20)" },
	{ "--closed", NULL, KIND_CLOSED, AT(rate), 0, 0,
	  "closed loop: as fast as --inflight allows (default, but not with --storm\n"
	  "                         and --mode login: there --rate is 20 a pair)" },
	{ "--rate", "N", KIND_NUMBER, AT(rate), 0, 1e8,
	  "open loop: N messages/s in all, each timed from when it was due" },
	{ "--offline", "PERCENT", KIND_COUNT, AT(offline_percent), 0, 100,
	  "recipients that come online only at the end (0)" },
	{ "--offline-limit", "N", KIND_COUNT, AT(offline_limit), 1, 1000000,
	  "messages for each of those; the server's quota is 10000 (5000)" },
	{ "--hold", "N", KIND_COUNT, AT(hold), 0, USERS_MAX,
	  "idle authenticated connections beside the traffic (0)" },
	{ "--connections", "N", KIND_COUNT, AT(connections), 1, USERS_MAX,
	  "echo, connect, hold: connections at once (100, 64, 1000)" },
	{ "--storm", "N", KIND_COUNT, AT(storm), 0, USERS_MAX,
	  "connect: N clients that all reconnect at once (0)" },
	{ "--logins", "N", KIND_COUNT, AT(logins_per_s), 1, 100000,
	  "login: new connections that log in, a second (100)" },
	{ "--per-user", "N", KIND_COUNT, AT(per_user), 1, 100000,
	  "connections one user holds; the server's limit is 5 (5)" },
	{ "--threads", "N", KIND_COUNT, AT(threads), 1, 64, "threads of the generator (1)" },
	{ "--tokens", "FILE", KIND_TEXT, AT(tokens_file), 0, 0,
	  "keep the users in FILE and take them from there again; implies --keep" },
	{ "--keep", NULL, KIND_FLAG, AT(keep), 0, 0, "do not delete the users at the end" },
	{ "--register-at-once", "N", KIND_COUNT, AT(register_at_once), 1, 1000,
	  "registrations under way: each costs the server a password hash (8)" },
	{ "--dial-at-once", "N", KIND_COUNT, AT(dial_at_once), 1, 100000,
	  "handshakes under way while connections are set up (128)" },
	{ "--timeout", "SECS", KIND_NUMBER, AT(timeout_s), 0.1, 1e5,
	  "for a connection to be set up and authenticated (30)" },
	{ "--insecure", NULL, KIND_FLAG, AT(insecure), 0, 0,
	  "wss: do not check the server's certificate" },
	{ "--cafile", "FILE", KIND_TEXT, AT(ca_file), 0, 0,
	  "wss: trust the certificates in FILE (PEM) instead of the system's" },
	{ "--server-pid", "PID", KIND_COUNT, AT(server_pid), 1, 1e9,
	  "also report CPU and memory of this local process" },
	{ "--json", NULL, KIND_FLAG, AT(json), 0, 0, "one JSON object instead of the table" },
	{ "--progress", NULL, KIND_FLAG, AT(progress), 0, 0,
	  "a line a second on stderr (default on a terminal)" },
};

static const char help_head[] =
	"usage: construct bench URL [options]\n"
	"\n"
	"Puts load on a server that speaks the client protocol and checks what comes back:\n"
	"nothing lost, repeated or out of order.  URL: ws://host:port/ or wss://host:port/\n"
	"\n";

static const char help_tail[] =
	"\n"
	"modes\n"
	"  relay    a message counts when sent, accepted, received, acknowledged and reported\n"
	"           as delivered to its sender\n"
	"  echo     frames to `construct echo` or any server that returns them\n"
	"  connect  WebSocket handshake and `connect` with a session, close, again; with\n"
	"           --storm N: N clients reconnect at once while --pairs conversations go on\n"
	"  hold     opens --connections and holds them for --duration\n"
	"  login    --pairs conversations, first alone, then beside --logins logins a second\n"
	"\n"
	"exit code: 0; 1 a guarantee was broken or the server cannot be used; 2 wrong options\n"
	"\n"
	"examples\n"
	"  construct bench ws://127.0.0.1:8080/ --pairs 64 --inflight 16 --duration 10\n"
	"  construct bench ws://127.0.0.1:8080/ --rate 20000 --json --tokens users.txt\n"
	"  construct bench ws://127.0.0.1:8080/ --mode connect --storm 10000 --per-user 5\n";

static const char *const mode_names[] = {
	[BENCH_RELAY] = "relay", [BENCH_ECHO] = "echo",   [BENCH_CONNECT] = "connect",
	[BENCH_HOLD] = "hold",   [BENCH_LOGIN] = "login",
};

#define MODE_COUNT (sizeof(mode_names) / sizeof(mode_names[0]))
#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))

const char *bench_mode_name(enum bench_mode mode)
{
	return mode_names[mode];
}

static void print_help(void)
{
	fputs(help_head, stdout);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		char left[40];

		snprintf(left, sizeof(left), "%s %s", options[i].name,
		         options[i].value_name ? options[i].value_name : "");
		printf("  %-22s %s\n", left, options[i].help);
	}
	fputs(help_tail, stdout);
}

static const struct option *find_option(const char *name, size_t len)
{
	for (size_t i = 0; i < OPTION_COUNT; i++)
		if (strlen(options[i].name) == len && strncmp(options[i].name, name, len) == 0)
			return &options[i];
	return NULL;
}

static bool parse_number(const struct option *o, const char *value, double *out)
{
	char *end;

	errno = 0;
	*out = strtod(value, &end);
	return errno == 0 && end != value && *end == '\0' && isfinite(*out) && *out >= o->min &&
	       *out <= o->max && (o->kind != KIND_COUNT || *out == floor(*out));
}

static bool parse_mode(const char *value, enum bench_mode *mode)
{
	for (size_t i = 0; i < MODE_COUNT; i++)
		if (strcmp(mode_names[i], value) == 0) {
			*mode = (enum bench_mode)i;
			return true;
		}
	return false;
}

static bool set_option(struct bench_conf *conf, const struct option *o, const char *value,
                       char *why, size_t why_size)
{
	char *field = (char *)conf + o->offset;
	double number = 0;
	bool ok = true;

	switch (o->kind) {
	case KIND_FLAG:
		*(bool *)field = true;
		break;
	case KIND_CLOSED:
		*(double *)(void *)field = 0;
		break;
	case KIND_TEXT:
		*(const char **)(void *)field = value;
		ok = *value != '\0';
		break;
	case KIND_MODE:
		ok = parse_mode(value, (enum bench_mode *)(void *)field);
		break;
	case KIND_COUNT:
		ok = parse_number(o, value, &number);
		*(uint32_t *)(void *)field = (uint32_t)number;
		break;
	case KIND_NUMBER:
		ok = parse_number(o, value, (double *)(void *)field);
		break;
	}
	if (ok)
		return true;
	if (o->kind == KIND_COUNT || o->kind == KIND_NUMBER)
		snprintf(why, why_size, "%s wants %s from %g to %g, not \"%s\"", o->name,
		         o->kind == KIND_COUNT ? "a whole number" : "a number", o->min, o->max,
		         value);
	else
		snprintf(why, why_size, "%s does not know \"%s\"", o->name, value);
	return false;
}

/* --name value or --name=value.  Returns the arguments used, 0 when wrong. */
static int take_option(struct bench_conf *conf, char **argv, char *why, size_t why_size)
{
	const size_t len = strcspn(argv[0], "=");
	const struct option *o = find_option(argv[0], len);
	const char *value = argv[0][len] == '=' ? argv[0] + len + 1 : NULL;
	int used = 1;

	if (!o) {
		snprintf(why, why_size, "unknown option %s (see construct bench --help)",
		         argv[0]);
		return 0;
	}
	if (!o->value_name && value) {
		snprintf(why, why_size, "%s takes no value", o->name);
		return 0;
	}
	if (o->value_name && !value) {
		value = argv[1];
		used = 2;
	}
	if (o->value_name && !value) {
		snprintf(why, why_size, "%s wants a value (%s)", o->name, o->value_name);
		return 0;
	}
	return set_option(conf, o, value, why, why_size) ? used : 0;
}

static void set_defaults(struct bench_conf *conf)
{
	*conf = (struct bench_conf){
		.pairs = 64,
		.inflight = 16,
		.size_bytes = 256,
		.per_user = 5,
		.logins_per_s = 100,
		.offline_limit = 5000,
		.threads = 1,
		.register_at_once = 8,
		.dial_at_once = 128,
		.duration_s = 10,
		.warmup_s = 2,
		.drain_s = 20,
		.timeout_s = 30,
		.rate = RATE_UNSET,
		.progress = isatty(STDERR_FILENO) == 1,
	};
}

static bool settle(struct bench_conf *conf, char *why, size_t why_size)
{
	static const uint32_t connections[MODE_COUNT] = {
		[BENCH_ECHO] = 100, [BENCH_CONNECT] = 64, [BENCH_HOLD] = 1000
	};

	if (!conf->url) {
		snprintf(why, why_size, "the URL is missing (construct bench URL)");
		return false;
	}
	if (!conf->connections)
		conf->connections = connections[conf->mode];
	if (conf->tokens_file)
		conf->keep = true;
	if (conf->rate == RATE_UNSET)
		conf->rate = conf->storm || conf->mode == BENCH_LOGIN ? 20.0 * conf->pairs : 0;
	if (conf->mode == BENCH_RELAY && conf->pairs == 0 && conf->hold == 0) {
		snprintf(why, why_size, "--pairs 0 without --hold leaves nothing to do");
		return false;
	}
	if (conf->storm && conf->mode != BENCH_CONNECT) {
		snprintf(why, why_size, "--storm belongs to --mode connect");
		return false;
	}
	if (conf->mode == BENCH_LOGIN && conf->pairs == 0) {
		snprintf(why, why_size, "--mode login wants at least one of --pairs");
		return false;
	}
	return true;
}

enum bench_conf_result bench_conf_parse(struct bench_conf *conf, int argc, char **argv,
                                        char *why, size_t why_size)
{
	set_defaults(conf);
	for (int i = 1; i < argc;) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			print_help();
			return BENCH_CONF_HELP;
		}
		if (argv[i][0] == '-') {
			const int used = take_option(conf, argv + i, why, why_size);

			if (!used)
				return BENCH_CONF_WRONG;
			i += used;
		} else if (!conf->url) {
			conf->url = argv[i++];
		} else {
			snprintf(why, why_size, "one URL is enough, \"%s\" is another",
			         argv[i]);
			return BENCH_CONF_WRONG;
		}
	}
	return settle(conf, why, why_size) ? BENCH_CONF_RUN : BENCH_CONF_WRONG;
}
