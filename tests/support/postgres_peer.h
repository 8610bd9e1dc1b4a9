/* SPDX-License-Identifier: MIT */
/* For tests: a real PostgreSQL server in a private folder. */
#ifndef TESTS_SUPPORT_POSTGRES_PEER_H
#define TESTS_SUPPORT_POSTGRES_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define POSTGRES_SERVER_PASSWORD "s3cr-et.pg"

struct postgres_server {
	pid_t pid;
	uint16_t port;
	char folder[64];
	char url[160];        /* of its only database, with the password */
	const char *args[12]; /* more of its arguments, to be set before; NULL ends */
};

/* A folder, a port, initdb.  Where PostgreSQL is not installed: a loud line, and the test is skipped;
 * with CI=true it fails. */
void postgres_server_prepare(struct postgres_server *s);
/* Start it and wait until it lets a user in; again after postgres_server_kill. */
void postgres_server_run(struct postgres_server *s);
/* From the next postgres_server_run on, which this does: also TLS, with copies of these files. */
void postgres_server_use_tls(struct postgres_server *s, const char *cert_file,
                             const char *key_file);
/* The schema of migrations/. */
void postgres_server_migrate(const struct postgres_server *s);
/* To the server and all processes of its sessions: SIGSTOP, SIGCONT, SIGKILL. */
void postgres_server_signal(const struct postgres_server *s, int signal);
/* SIGKILL, and wait until all are gone. */
void postgres_server_kill(struct postgres_server *s);
void postgres_server_stop(struct postgres_server *s);

/* One statement on a connection of its own: the first value as text, "" for none.  Valid until the
 * next. */
const char *postgres_server_ask(const struct postgres_server *s, const char *sql);

/* The same loud line or failure for anything else that a test needs. */
void postgres_need_program(const char *program, const char *what_does_not_run);

#endif
