/* SPDX-License-Identifier: MIT */
#include "support/postgres_peer.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libpq-fe.h>

#include <criterion/criterion.h>
#include <criterion/hooks.h>

#include "io/postgres_migrations.h"
#include "support/held_port.h"

#define SESSIONS_MAX 256

/* ---- what is installed ---- */

static void not_installed(const char *what)
{
	const char *const ci = getenv("CI");

	fprintf(stderr, "NOT RUN: %s is not installed (ops/install-deps.sh test): %s\n", what,
	        "a test of the store on PostgreSQL and Redis\n");
	if (ci != NULL && strcmp(ci, "true") == 0)
		cr_assert_fail("%s is not installed", what);
	cr_skip_test("%s is not installed", what);
}

void postgres_need_program(const char *program, const char *what)
{
	char command[128];

	snprintf(command, sizeof(command), "command -v %s >/dev/null", program);
	if (system(command) != 0)
		not_installed(what);
}

/* The folder of the newest version's programs: Debian keeps them out of PATH. */
static const char *programs(void)
{
	static char folder[128];
	glob_t found;
	int best = 0;

	if (folder[0] != '\0')
		return folder;
	if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) == 0) {
		for (size_t i = 0; i < found.gl_pathc; i++) {
			const int version =
				atoi(found.gl_pathv[i] + strlen("/usr/lib/postgresql/"));

			if (version > best)
				snprintf(folder, sizeof(folder), "%.*s",
				         (int)(strlen(found.gl_pathv[i]) - strlen("/initdb")),
				         found.gl_pathv[i]);
			best = version > best ? version : best;
		}
		globfree(&found);
	}
	if (best == 0)
		not_installed("PostgreSQL");
	return folder;
}

/* ---- processes ---- */

/* The server does not run as root: root lends it the user of the package. */
static const struct passwd *server_user(void)
{
	const struct passwd *const own = getpwnam("postgres");

	return own != NULL ? own : getpwnam("nobody");
}

static void become(struct postgres_server *s, const char *program, char *const argv[])
{
	char log[96];

	snprintf(log, sizeof(log), "%s/log", s->folder);
	if (geteuid() == 0) {
		const struct passwd *const user = server_user();

		if (user == NULL || setgroups(0, NULL) != 0 || setgid(user->pw_gid) != 0 ||
		    setuid(user->pw_uid) != 0)
			_exit(126);
	}
	prctl(PR_SET_PDEATHSIG, SIGQUIT); /* its own way to end at once, with all sessions */
	unsetenv("LD_PRELOAD");
	if (chdir(s->folder) != 0 || freopen(log, "a", stdout) == NULL ||
	    freopen(log, "a", stderr) == NULL)
		_exit(126);
	execv(program, argv);
	_exit(127);
}

static pid_t start(struct postgres_server *s, const char *program, char *const argv[])
{
	const pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0)
		become(s, program, argv);
	return pid;
}

static void write_password(const char *path)
{
	FILE *const f = fopen(path, "w");

	cr_assert_not_null(f);
	fputs(POSTGRES_SERVER_PASSWORD "\n", f);
	fclose(f);
}

static void run_rm(const char *path)
{
	const pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", "--", path, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

static void give_to_server(const char *path)
{
	const struct passwd *const user = geteuid() == 0 ? server_user() : NULL;

	if (geteuid() != 0)
		return;
	cr_assert_not_null(user);
	cr_assert_eq(chown(path, user->pw_uid, user->pw_gid), 0);
}

static void run_program(struct postgres_server *s, const char *path, char *const argv[])
{
	int status;

	cr_assert_gt(waitpid(start(s, path, argv), &status, 0), 0);
	cr_assert_eq(status, 0, "%s failed: see %s/log", argv[0], s->folder);
}

static void run_initdb(struct postgres_server *s, const char *template)
{
	char data[128], file[128], pwfile[140], program[200];
	char *const argv[] = { "initdb",    "-D",
		               data,        "-U",
		               "relay",     "-E",
		               "UTF8",      "--locale=C.UTF-8",
		               "--no-sync", "--auth=scram-sha-256",
		               pwfile,      NULL };

	snprintf(data, sizeof(data), "%s/data", template);
	snprintf(file, sizeof(file), "%s/password", template);
	snprintf(pwfile, sizeof(pwfile), "--pwfile=%s", file);
	snprintf(program, sizeof(program), "%s/initdb", programs());
	write_password(file);
	give_to_server(file);
	run_program(s, program, argv);
}

/* A cluster is made once for all tests of a run (they have one parent), then copied. */
static void template_path(pid_t run, char out[64])
{
	snprintf(out, 64, "/tmp/postgres_template_%d", (int)run);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	char path[64];

	(void)stats;
	template_path(getpid(), path);
	run_rm(path);
}

void postgres_server_prepare(struct postgres_server *s)
{
	char template[64], data[128], done[128];
	char *const argv[] = { "cp", "-a", data, s->folder, NULL };
	int fd;

	programs();
	snprintf(s->folder, sizeof(s->folder), "/tmp/postgres_test_XXXXXX");
	cr_assert_not_null(mkdtemp(s->folder));
	give_to_server(s->folder);
	template_path(getppid(), template);
	mkdir(template, 0700);
	give_to_server(template);
	fd = open(template, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	cr_assert_eq(flock(fd, LOCK_EX), 0); /* tests run side by side */
	snprintf(data, sizeof(data), "%s/data", template);
	snprintf(done, sizeof(done), "%s/done", template);
	if (access(done, F_OK) != 0) {
		run_rm(data); /* of a test that was cut short */
		run_initdb(s, template);
		close(creat(done, 0600));
	}
	close(fd);
	run_program(s, "/bin/cp", argv);
	s->port = held_port();
	snprintf(s->url, sizeof(s->url),
	         "postgresql://relay:" POSTGRES_SERVER_PASSWORD "@127.0.0.1:%u/postgres",
	         s->port);
}

static bool lets_in(const struct postgres_server *s)
{
	return PQping(s->url) == PQPING_OK;
}

/* False: it ended at once. */
static bool try_run(struct postgres_server *s)
{
	char data[96], port[8], program[200];
	char *argv[32] = { "postgres",
		           "-D",
		           data,
		           "-p",
		           port,
		           "-c",
		           "listen_addresses=127.0.0.1",
		           "-c",
		           "unix_socket_directories=",
		           "-c",
		           "fsync=off",
		           "-c",
		           "shared_buffers=8MB" };
	int n = 13;

	snprintf(data, sizeof(data), "%s/data", s->folder);
	snprintf(port, sizeof(port), "%u", s->port);
	for (int i = 0; s->args[i] != NULL; i++)
		argv[n++] = (char *)(uintptr_t)s->args[i];
	snprintf(program, sizeof(program), "%s/postgres", programs());
	s->pid = start(s, program, argv);
	for (int i = 0; i < 3000; i++) {
		if (lets_in(s))
			return true;
		if (waitpid(s->pid, NULL, WNOHANG) == s->pid)
			return false;
		usleep(20000);
	}
	cr_assert_fail("the server does not come up: see %s/log", s->folder);
	return false;
}

void postgres_server_run(struct postgres_server *s)
{
	for (int i = 0; i < 20; i++) {
		if (try_run(s))
			return;
		usleep(200000);
	}
	cr_assert_fail("the server does not run: see %s/log", s->folder);
}

void postgres_server_use_tls(struct postgres_server *s, const char *cert_file,
                             const char *key_file)
{
	static const char *const args[] = { "-c", "ssl=on",
		                            "-c", "ssl_cert_file=../cert.pem",
		                            "-c", "ssl_key_file=../key.pem" };
	const char *const from[] = { cert_file, key_file };
	const char *const to[] = { "cert.pem", "key.pem" };

	for (unsigned i = 0; i < 2; i++) {
		char path[128], command[400];

		snprintf(path, sizeof(path), "%s/%s", s->folder, to[i]);
		snprintf(command, sizeof(command), "install -m 600 %s %s", from[i], path);
		cr_assert_eq(system(command), 0);
		give_to_server(path);
	}
	memcpy(s->args, args, sizeof(args));
	postgres_server_kill(s);
	postgres_server_run(s);
}

void postgres_server_migrate(const struct postgres_server *s)
{
	FILE *const quiet = fopen("/dev/null", "w");

	cr_assert_eq(postgres_migrate(s->url, postgres_migrations, postgres_migration_count,
	                              quiet, stderr),
	             CX_OK);
	fclose(quiet);
}

static pid_t parent_of(pid_t pid)
{
	char path[32], line[256];
	FILE *f;
	int parent = 0;
	const char *end;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	if (f == NULL)
		return 0;
	if (fgets(line, sizeof(line), f) != NULL && (end = strrchr(line, ')')) != NULL &&
	    sscanf(end + 1, " %*c %d", &parent) != 1)
		parent = 0;
	fclose(f);
	return parent;
}

static unsigned sessions_of(pid_t server, pid_t out[SESSIONS_MAX])
{
	DIR *const dir = opendir("/proc");
	const struct dirent *entry;
	unsigned n = 0;

	cr_assert_not_null(dir);
	while ((entry = readdir(dir)) != NULL && n < SESSIONS_MAX)
		if (isdigit((unsigned char)entry->d_name[0]) &&
		    parent_of(atoi(entry->d_name)) == server)
			out[n++] = atoi(entry->d_name);
	closedir(dir);
	return n;
}

void postgres_server_signal(const struct postgres_server *s, int signal)
{
	pid_t sessions[SESSIONS_MAX];
	unsigned n;

	if (signal != SIGCONT)
		kill(s->pid, signal == SIGKILL ? SIGSTOP : signal); /* it makes no more */
	n = sessions_of(s->pid, sessions);
	for (unsigned i = 0; i < n; i++)
		kill(sessions[i], signal);
	if (signal != SIGSTOP)
		kill(s->pid, signal);
}

void postgres_server_kill(struct postgres_server *s)
{
	pid_t sessions[SESSIONS_MAX];
	unsigned n;

	if (s->pid <= 0)
		return;
	n = sessions_of(s->pid, sessions);
	postgres_server_signal(s, SIGKILL);
	waitpid(s->pid, NULL, 0);
	/* their memory must be gone before a new server looks at it */
	for (unsigned i = 0; i < n; i++)
		for (int turn = 0; turn < 500 && kill(sessions[i], 0) == 0; turn++)
			usleep(10000);
	s->pid = 0;
}

void postgres_server_stop(struct postgres_server *s)
{
	if (s->folder[0] == '\0')
		return; /* skipped */
	postgres_server_kill(s);
	run_rm(s->folder);
}

const char *postgres_server_ask(const struct postgres_server *s, const char *sql)
{
	static char text[256];
	PGconn *const conn = PQconnectdb(s->url);
	PGresult *const res = PQexec(conn, sql);
	const ExecStatusType status = PQresultStatus(res);

	cr_assert(status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK, "%s: %s", sql,
	          PQerrorMessage(conn));
	snprintf(text, sizeof(text), "%s",
	         PQntuples(res) > 0 && PQnfields(res) > 0 ? PQgetvalue(res, 0, 0) : "");
	PQclear(res);
	PQfinish(conn);
	return text;
}
