/* SPDX-License-Identifier: MIT */
/* For tests of the Redis adapters: a real server in a private folder, a false one that says what it
 * is told, and actors that ask and keep what comes back. */
#ifndef TESTS_SUPPORT_REDIS_PEER_H
#define TESTS_SUPPORT_REDIS_PEER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cx/runtime.h>

#include "io/redis.h"
#include "io/redis_sub.h"

/* ---- a real server ---- */

struct redis_server {
	pid_t pid;
	uint16_t port;
	char folder[64];
	const char *args[24]; /* more of its arguments, to be set before; NULL ends */
	bool is_tls;          /* certificates: folder/{ca,cert,key}.pem */
};

/* A folder and a port. */
void redis_server_prepare(struct redis_server *s);
/* Start it and wait until it takes connections; again after redis_server_kill. */
void redis_server_run(struct redis_server *s);
void redis_server_kill(struct redis_server *s);
void redis_server_stop(struct redis_server *s);

/* ---- a false server: logs a client in, waits for a command, says its piece ---- */

struct redis_fake {
	uint16_t port;
	int fd;
	pthread_t thread;
	const char *say;
	size_t say_len;
	size_t repeat; /* times; 0: once */
	bool is_slow;  /* a byte at a time */
	bool hangs_up; /* after it */
	bool is_over;
	unsigned connections;
};

void redis_fake_start(struct redis_fake *f);
void redis_fake_stop(struct redis_fake *f);

/* ---- the process under test ---- */

#define REDIS_PROBES 4

struct redis_event {
	uint32_t type;
	unsigned probe;
	uint64_t corr;
	enum cx_err err;            /* of CX_MSG_ERROR */
	enum redis_outcome outcome; /* of REDIS_REPLY */
	uint32_t count;
	uint32_t channel;
	char text[2000]; /* of the values, or of a push, as redis_text writes them, cut */
};

struct redis_bench {
	struct redis_url url;
	struct redis_conf conf;    /* url, client_name and owner are filled in */
	struct redis_sub_conf sub; /* only with channels */
	uint32_t subscriber_cap;   /* its mailbox; 0: plenty */
	struct cx_runtime *rt;
	struct cx_ref adapter, sub_adapter;
	struct cx_ref probes[REDIS_PROBES];
	struct cx_ref subscriber;
};

/* An address on this machine, default settings; then change, then start. */
void redis_bench_defaults(struct redis_bench *b, uint16_t port);
void redis_bench_start(struct redis_bench *b);
void redis_bench_stop(struct redis_bench *b);

/* Run fn inside a handler of a probe and wait until it has. */
void redis_bench_run(struct redis_bench *b, unsigned probe,
                     void (*fn)(struct cx_ctx *ctx, void *arg), void *arg);

/* The next thing that came to any probe, or the subscriber; fails the test after 20 s. */
struct redis_event redis_bench_next(void);
/* Whether something comes in that time. */
bool redis_bench_comes(unsigned ms);

/* Ask from a probe, words separated by blanks; returns its corr. */
uint64_t redis_bench_ask(struct redis_bench *b, unsigned probe, uint32_t timeout_ms,
                         const char *words);
/* The same, but it may be refused: what redis_call returned. */
enum cx_err redis_bench_try(struct redis_bench *b, unsigned probe, uint32_t timeout_ms,
                            const char *words);
/* Ask and wait: the text of the answer, valid until the next. */
const char *redis_bench_call(struct redis_bench *b, const char *words);

/* Wait until the figures say so, at most 20 s. */
bool redis_bench_wait(bool (*is_so)(const struct redis_figures *f, uint64_t n), uint64_t n);
bool redis_is_connected(const struct redis_figures *f, uint64_t n);  /* n connections are up */
bool redis_has_connected(const struct redis_figures *f, uint64_t n); /* n or more came up */
bool redis_has_failed(const struct redis_figures *f, uint64_t n);    /* n or more failed */

/* Standard error into a file from now on; what stands in it, to be freed. */
int redis_log_to_file(void);
char *redis_log_read(int fd);

#endif
