/* SPDX-License-Identifier: MIT */
#include "support/redis_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "support/held_port.h"

static int listen_anywhere(uint16_t *port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(bind(fd, (struct sockaddr *)(void *)&addr, sizeof(addr)), 0);
	cr_assert_eq(listen(fd, 16), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)(void *)&addr, &len), 0);
	*port = ntohs(addr.sin_port);
	return fd;
}

static bool can_connect(uint16_t port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(port) };
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool is_open;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	is_open = connect(fd, (struct sockaddr *)(void *)&addr, sizeof(addr)) == 0;
	close(fd);
	return is_open;
}

void redis_server_prepare(struct redis_server *s)
{
	snprintf(s->folder, sizeof(s->folder), "/tmp/redis_test_XXXXXX");
	cr_assert_not_null(mkdtemp(s->folder));
	s->port = held_port();
}

static void become_server(struct redis_server *s)
{
	char port[8], cert[96], key[96], ca[96];
	char *argv[48] = { "redis-server",
		           s->is_tls ? "--tls-port" : "--port",
		           port,
		           "--bind",
		           "127.0.0.1",
		           "--dir",
		           s->folder,
		           "--save",
		           "",
		           "--logfile",
		           "log" };
	int n = 11;

	snprintf(port, sizeof(port), "%u", s->port);
	snprintf(cert, sizeof(cert), "%s/cert.pem", s->folder);
	snprintf(key, sizeof(key), "%s/key.pem", s->folder);
	snprintf(ca, sizeof(ca), "%s/ca.pem", s->folder);
	if (s->is_tls) {
		char *const tls[] = { "--port",
			              "0",
			              "--tls-cert-file",
			              cert,
			              "--tls-key-file",
			              key,
			              "--tls-ca-cert-file",
			              ca,
			              "--tls-auth-clients",
			              "no" };

		memcpy(argv + n, tls, sizeof(tls));
		n += 10;
	}
	for (int i = 0; s->args[i] != NULL; i++)
		argv[n++] = (char *)(uintptr_t)s->args[i];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	unsetenv("LD_PRELOAD");
	execvp(argv[0], argv);
	_exit(127);
}

/* False: it ended at once. */
static bool try_run(struct redis_server *s)
{
	s->pid = fork();
	cr_assert_geq(s->pid, 0);
	if (s->pid == 0)
		become_server(s);
	for (int i = 0; i < 3000; i++) {
		if (can_connect(s->port))
			return true;
		if (waitpid(s->pid, NULL, WNOHANG) == s->pid)
			return false;
		usleep(10000);
	}
	cr_assert_fail("the server does not come up");
	return false;
}

void redis_server_run(struct redis_server *s)
{
	for (int i = 0; i < 20; i++) {
		if (try_run(s))
			return;
		usleep(100000);
	}
	cr_assert_fail("redis-server does not run; is it installed?");
}

void redis_server_kill(struct redis_server *s)
{
	if (s->pid <= 0)
		return;
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	s->pid = 0;
}

void redis_server_stop(struct redis_server *s)
{
	static const char *const files[] = { "log", "ca.pem", "cert.pem", "key.pem",
		                             "dump.rdb" };
	char path[128];

	redis_server_kill(s);
	for (size_t i = 0; i < CX_COUNTOF(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", s->folder, files[i]);
		unlink(path);
	}
	rmdir(s->folder);
}

/* ---- false ---- */

static bool wait_input(struct redis_fake *f, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (!__atomic_load_n(&f->is_over, __ATOMIC_ACQUIRE))
		if (poll(&p, 1, 20) > 0)
			return true;
	return false;
}

/* Read until this text has come. */
static bool hear(struct redis_fake *f, int fd, const char *text)
{
	char got[8192];
	size_t n = 0;
	ssize_t more;

	while (n < sizeof(got)) {
		if (!wait_input(f, fd) || (more = read(fd, got + n, sizeof(got) - n)) <= 0)
			return false;
		n += (size_t)more;
		if (memmem(got, n, text, strlen(text)) != NULL)
			return true;
	}
	return false;
}

static void speak(struct redis_fake *f, int fd)
{
	const size_t times = f->repeat > 0 ? f->repeat : 1;
	const size_t step = f->is_slow ? 1 : f->say_len;

	for (size_t i = 0; i < times; i++)
		for (size_t at = 0; at < f->say_len; at += step) {
			if (send(fd, f->say + at, step, MSG_NOSIGNAL) < 0 ||
			    __atomic_load_n(&f->is_over, __ATOMIC_ACQUIRE))
				return;
			if (f->is_slow)
				usleep(500);
		}
}

static void serve(struct redis_fake *f, int fd)
{
	static const char login[] = "+OK\r\n+PONG\r\n", info[] = "$-1\r\n";
	char rest[4096];

	if (!hear(f, fd, "PING\r\n") || send(fd, login, sizeof(login) - 1, MSG_NOSIGNAL) < 0)
		return;
	if (!hear(f, fd, "server\r\n") || send(fd, info, sizeof(info) - 1, MSG_NOSIGNAL) < 0)
		return;
	if (!hear(f, fd, "\r\n"))
		return;
	speak(f, fd);
	while (!f->hangs_up && wait_input(f, fd) && read(fd, rest, sizeof(rest)) > 0)
		;
}

static void *fake_main(void *arg)
{
	struct redis_fake *f = arg;

	while (wait_input(f, f->fd)) {
		const struct timeval limit = { .tv_sec = 1 };
		const int fd = accept(f->fd, NULL, NULL);

		if (fd < 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		__atomic_fetch_add(&f->connections, 1, __ATOMIC_RELEASE);
		serve(f, fd);
		close(fd);
	}
	return NULL;
}

void redis_fake_start(struct redis_fake *f)
{
	f->fd = listen_anywhere(&f->port);
	cr_assert_eq(pthread_create(&f->thread, NULL, fake_main, f), 0);
}

void redis_fake_stop(struct redis_fake *f)
{
	__atomic_store_n(&f->is_over, true, __ATOMIC_RELEASE);
	pthread_join(f->thread, NULL);
	close(f->fd);
}
