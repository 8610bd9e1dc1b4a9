/* SPDX-License-Identifier: MIT */
/* The options of `construct bench`. */
#ifndef CONSTRUCT_ROLES_BENCH_CONF_H
#define CONSTRUCT_ROLES_BENCH_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bench_mode {
	BENCH_RELAY,
	BENCH_ECHO,
	BENCH_CONNECT,
	BENCH_HOLD,
	BENCH_LOGIN,
};

struct bench_conf {
	const char *url;
	const char *tokens_file; /* NULL: users live for this run only */
	const char *ca_file;
	enum bench_mode mode;
	uint32_t pairs;
	uint32_t inflight;
	uint32_t size_bytes;
	uint32_t connections;
	uint32_t per_user;
	uint32_t hold;
	uint32_t storm;
	uint32_t logins_per_s;
	uint32_t offline_percent;
	uint32_t offline_limit;
	uint32_t threads;
	uint32_t register_at_once;
	uint32_t dial_at_once;
	uint32_t server_pid; /* 0: not watched */
	double duration_s;
	double warmup_s;
	double drain_s;
	double timeout_s;
	double rate; /* messages a second in all; 0: closed loop */
	bool json;
	bool insecure;
	bool keep;
	bool progress;
};

enum bench_conf_result { BENCH_CONF_RUN, BENCH_CONF_HELP, BENCH_CONF_WRONG };

/* Reads argv[1..].  BENCH_CONF_HELP: the help text was asked for and printed.
 * BENCH_CONF_WRONG: a sentence is in why. */
enum bench_conf_result bench_conf_parse(struct bench_conf *conf, int argc, char **argv,
                                        char *why, size_t why_size);

/* "relay", "echo", ... */
const char *bench_mode_name(enum bench_mode mode);

#endif
