/* SPDX-License-Identifier: MIT */
#include "io/top_socket.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PEERS_MAX 8
#define REQUEST_MAX 16 /* bytes; "figures\n" and no more */
#define REST_MS 1000   /* after an accept that failed: no descriptors are left */

static const char request[] = "figures\n";

struct peer {
	int fd; /* -1: free */
	uint64_t since_ms;
	char in[REQUEST_MAX];
	size_t in_len;
	char *out; /* NULL: not asked yet */
	size_t out_len, out_done;
};

struct top_socket {
	struct cx_runtime *rt;
	const char *version;
	struct sockaddr_un addr;
	int listen_fd, end_fd; /* end_fd: an eventfd that ends the thread */
	uint64_t began_ms, rest_until_ms;
	struct peer peers[PEERS_MAX];
	struct top_figures figures; /* too large for a stack */
	struct cx_kind_stats kinds[TOP_KINDS_MAX];
	struct cx_worker_stats workers[TOP_WORKERS_MAX];
	struct cx_slow_handler slow[TOP_SLOW_MAX];
	pthread_t thread;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static uint64_t now_ms(void)
{
	return now_ns() / 1000000;
}

/* ---- the figures ---- */

static void copy_name(char out[static TOP_NAME_MAX], const char *name)
{
	snprintf(out, TOP_NAME_MAX, "%s", name);
}

static void fill_times(struct top_socket *top, size_t index, struct top_kind *k)
{
	struct cx_handler_times times;

	cx_runtime_handler_times(top->rt, index, &times);
	k->time_count = 0;
	for (unsigned b = 0; b < CX_HANDLER_BUCKETS; b++)
		if (times.count[b] > 0)
			k->times[k->time_count++] =
				(struct top_bucket){ .end_ns = cx_handler_times_end_ns(b),
				                     .count = times.count[b] };
}

static void fill_kinds(struct top_socket *top)
{
	struct top_figures *f = &top->figures;
	const size_t count = cx_runtime_kinds(top->rt, top->kinds, TOP_KINDS_MAX);

	f->kind_count = count < TOP_KINDS_MAX ? count : TOP_KINDS_MAX;
	for (size_t i = 0; i < f->kind_count; i++) {
		struct top_kind *k = &f->kinds[i];

		copy_name(k->name, top->kinds[i].name);
#define X(field) k->field = top->kinds[i].field;
		TOP_KIND_FIELDS(X)
#undef X
		fill_times(top, i, k);
	}
}

static void fill_workers(struct top_socket *top)
{
	struct top_figures *f = &top->figures;
	const size_t count = cx_runtime_worker_stats(top->rt, top->workers, TOP_WORKERS_MAX);

	f->worker_count = count < TOP_WORKERS_MAX ? count : TOP_WORKERS_MAX;
	for (size_t i = 0; i < f->worker_count; i++) {
		copy_name(f->workers[i].name, top->workers[i].name);
#define X(field) f->workers[i].field = top->workers[i].field;
		TOP_WORKER_FIELDS(X)
#undef X
	}
}

static void fill_slow(struct top_socket *top)
{
	struct top_figures *f = &top->figures;
	const size_t count = cx_runtime_slow_handlers(top->rt, top->slow, TOP_SLOW_MAX);

	f->slow_count = count < TOP_SLOW_MAX ? count : TOP_SLOW_MAX;
	for (size_t i = 0; i < f->slow_count; i++) {
		copy_name(f->slow[i].kind, top->slow[i].kind);
		copy_name(f->slow[i].message, top->slow[i].message);
#define X(field) f->slow[i].field = top->slow[i].field;
		TOP_SLOW_FIELDS(X)
#undef X
	}
}

static void answer(struct top_socket *top, struct peer *p)
{
	struct top_figures *f = &top->figures;

	copy_name(f->version, top->version);
	f->pid = (uint64_t)getpid();
	f->taken_ns = now_ns();
	f->uptime_ms = f->taken_ns / 1000000 - top->began_ms;
	f->interval_ms = 0;
	fill_kinds(top);
	fill_workers(top);
	fill_slow(top);
	p->out = top_figures_encode(f, &p->out_len);
}

/* ---- peers ---- */

static void drop(struct peer *p)
{
	close(p->fd);
	free(p->out);
	*p = (struct peer){ .fd = -1 };
}

static void write_some(struct peer *p)
{
	const ssize_t n = send(p->fd, p->out + p->out_done, p->out_len - p->out_done,
	                       MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		p->out_done += (size_t)n;
	if (n <= 0 || p->out_done == p->out_len)
		drop(p);
}

static void read_some(struct top_socket *top, struct peer *p)
{
	const ssize_t n =
		recv(p->fd, p->in + p->in_len, sizeof(p->in) - p->in_len, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		p->in_len += (size_t)n;
	if (n <= 0 || p->in_len >= sizeof(request) || memcmp(p->in, request, p->in_len) != 0) {
		drop(p);
		return;
	}
	if (p->in_len < sizeof(request) - 1)
		return;
	answer(top, p);
	if (p->out == NULL)
		drop(p);
	else
		write_some(p);
}

/* A free place, or that of the peer who has had the most time. */
static struct peer *place(struct top_socket *top)
{
	struct peer *oldest = &top->peers[0];

	for (struct peer *p = top->peers; p < top->peers + PEERS_MAX; p++) {
		if (p->fd < 0)
			return p;
		if (p->since_ms < oldest->since_ms)
			oldest = p;
	}
	drop(oldest);
	return oldest;
}

static void accept_one(struct top_socket *top)
{
	const int fd = accept4(top->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0)
		*place(top) = (struct peer){ .fd = fd, .since_ms = now_ms() };
	else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		top->rest_until_ms = now_ms() + REST_MS;
}

/* ---- the thread ---- */

static void drop_late(struct top_socket *top, uint64_t at_ms)
{
	for (struct peer *p = top->peers; p < top->peers + PEERS_MAX; p++)
		if (p->fd >= 0 && at_ms - p->since_ms >= TOP_PEER_MS)
			drop(p);
}

static int wait_ms(const struct top_socket *top, uint64_t at_ms)
{
	uint64_t due_ms = UINT64_MAX;

	if (top->rest_until_ms > at_ms)
		due_ms = top->rest_until_ms;
	for (const struct peer *p = top->peers; p < top->peers + PEERS_MAX; p++)
		if (p->fd >= 0 && p->since_ms + TOP_PEER_MS < due_ms)
			due_ms = p->since_ms + TOP_PEER_MS;
	return due_ms == UINT64_MAX ? -1 : due_ms > at_ms ? (int)(due_ms - at_ms) : 0;
}

static void *serve(void *arg)
{
	struct top_socket *top = arg;
	struct pollfd fds[PEERS_MAX + 2];

	pthread_setname_np(pthread_self(), "cx-top");
	for (;;) {
		const uint64_t at_ms = now_ms();

		fds[0] = (struct pollfd){ .fd = top->end_fd, .events = POLLIN };
		fds[1] =
			(struct pollfd){ .fd = top->rest_until_ms > at_ms ? -1 : top->listen_fd,
			                 .events = POLLIN };
		for (size_t i = 0; i < PEERS_MAX; i++)
			fds[i + 2] = (struct pollfd){
				.fd = top->peers[i].fd,
				.events = top->peers[i].out != NULL ? POLLOUT : POLLIN,
			};
		(void)poll(fds, PEERS_MAX + 2,
		           wait_ms(top, at_ms)); /* EINTR: all is asked again */
		if (fds[0].revents != 0)
			return NULL;
		for (size_t i = 0; i < PEERS_MAX; i++) {
			if (fds[i + 2].revents == 0)
				continue;
			if (top->peers[i].out != NULL)
				write_some(&top->peers[i]);
			else
				read_some(top, &top->peers[i]);
		}
		drop_late(top, now_ms());
		if (fds[1].revents != 0)
			accept_one(top); /* last: it may take the place of a peer from above */
	}
}

/* ---- open and close ---- */

static enum cx_err failed(char *text, const char *path, const char *what, enum cx_err err)
{
	snprintf(text, TOP_ERROR_MAX, "%s: %s", path, what);
	return err;
}

/* The file of a process that died is removed; what else is there, is kept. */
static enum cx_err clear_path(const struct sockaddr_un *addr, char *text)
{
	struct stat st;
	int fd, rc, why;

	if (lstat(addr->sun_path, &st) != 0)
		return CX_OK;
	if (!S_ISSOCK(st.st_mode))
		return failed(text, addr->sun_path, "is in the way and no socket", CX_EINVAL);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return failed(text, addr->sun_path, strerror(errno), CX_EIO);
	rc = connect(fd, (const struct sockaddr *)addr, sizeof(*addr));
	why = errno;
	close(fd);
	if (rc == 0 || why == EAGAIN) /* EAGAIN: its queue is full */
		return failed(text, addr->sun_path, "another process listens there", CX_EINVAL);
	if (why != ECONNREFUSED)
		return failed(text, addr->sun_path, strerror(why), CX_EIO);
	if (unlink(addr->sun_path) != 0 && errno != ENOENT)
		return failed(text, addr->sun_path, strerror(errno), CX_EIO);
	return CX_OK;
}

static enum cx_err listen_at(struct top_socket *top, const char *path, char *text)
{
	enum cx_err err;

	if (strlen(path) >= sizeof(top->addr.sun_path))
		return failed(text, path, "is too long for a socket (107 bytes)", CX_EINVAL);
	top->addr.sun_family = AF_UNIX;
	memcpy(top->addr.sun_path, path, strlen(path) + 1);
	err = clear_path(&top->addr, text);
	if (err != CX_OK)
		return err;
	top->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* The mode of the descriptor becomes the file's: nobody else gets in between bind and chmod. */
	if (top->listen_fd < 0 || fchmod(top->listen_fd, S_IRUSR | S_IWUSR) != 0 ||
	    bind(top->listen_fd, (const struct sockaddr *)&top->addr, sizeof(top->addr)) != 0)
		return failed(text, path, strerror(errno), CX_EIO);
	if (chmod(path, S_IRUSR | S_IWUSR) != 0 || listen(top->listen_fd, PEERS_MAX) != 0) {
		err = failed(text, path, strerror(errno), CX_EIO);
		unlink(path);
		return err;
	}
	return CX_OK;
}

static void free_top(struct top_socket *top)
{
	for (size_t i = 0; i < PEERS_MAX; i++)
		if (top->peers[i].fd >= 0)
			drop(&top->peers[i]);
	if (top->listen_fd >= 0)
		close(top->listen_fd);
	if (top->end_fd >= 0)
		close(top->end_fd);
	free(top);
}

enum cx_err top_socket_open(struct cx_runtime *rt, const char *path, const char *version,
                            struct top_socket **out, char error_text[static TOP_ERROR_MAX])
{
	struct top_socket *top = calloc(1, sizeof(*top));
	enum cx_err err;

	if (top == NULL)
		return failed(error_text, path, "out of memory", CX_ENOMEM);
	top->rt = rt;
	top->version = version;
	top->began_ms = now_ms();
	top->listen_fd = -1;
	for (size_t i = 0; i < PEERS_MAX; i++)
		top->peers[i].fd = -1;
	top->end_fd = eventfd(0, EFD_CLOEXEC);
	err = top->end_fd < 0 ? failed(error_text, path, strerror(errno), CX_EIO)
	                      : listen_at(top, path, error_text);
	if (err == CX_OK && pthread_create(&top->thread, NULL, serve, top) != 0) {
		unlink(path);
		err = failed(error_text, path, "no thread for it", CX_EIO);
	}
	if (err != CX_OK) {
		free_top(top);
		return err;
	}
	*out = top;
	return CX_OK;
}

void top_socket_close(struct top_socket *top)
{
	const uint64_t one = 1;

	if (top == NULL)
		return;
	unlink(top->addr.sun_path);
	cx_assert(write(top->end_fd, &one, sizeof(one)) == sizeof(one));
	pthread_join(top->thread, NULL);
	free_top(top);
}
