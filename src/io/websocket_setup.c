/* SPDX-License-Identifier: MIT */
/* What the adapters need before the workers run: sockets, limits, TLS, libwebsockets. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cx/log.h>

#include "io/figures.h"
#include "io/loop_uv.h"
#include "io/websocket_internal.h"

#define FDS_SPARE 512
#define FDS_MAX \
	1048576 /* libwebsockets keeps a table with an entry for each possible descriptor */

struct ws_shared ws_shared = { .dead_fd = -1 };
static struct ws_adapter *all[WS_WORKERS_MAX]; /* written by setup and teardown only */
static unsigned all_count;

struct ws_adapter *ws_adapter_of(unsigned worker)
{
	return worker < all_count ? all[worker] : NULL;
}

/* SHARE_TRIAL: only to see whether the port is free; the others would join whoever has it. */
enum share { SHARE_TRIAL, SHARE_WORKERS };

/* Listening already, so that whoever is told the port can connect; accepting starts later. */
static int bind_one(const struct sockaddr *addr, socklen_t len, enum share share)
{
	const int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const int on = 1, off = 0;

	if (fd < 0)
		return -1;
	if (addr->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    (share == SHARE_WORKERS &&
	     setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) ||
	    bind(fd, addr, len) != 0 ||
	    (share == SHARE_WORKERS && listen(fd, WS_BACKLOG) != 0)) {
		const int why = errno;

		close(fd);
		errno = why;
		return -1;
	}
	return fd;
}

static uint16_t port_of(const struct sockaddr_storage *addr)
{
	if (addr->ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)(const void *)addr)->sin6_port);
	return ntohs(((const struct sockaddr_in *)(const void *)addr)->sin_port);
}

static enum cx_err resolve(const struct websocket_settings *s, struct sockaddr_storage *addr,
                           socklen_t *len, const char **error_text)
{
	const struct addrinfo hints = {
		.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *list;
	char port[8];

	snprintf(port, sizeof(port), "%u", (unsigned)s->port);
	if (getaddrinfo(s->bind == NULL ? "::" : s->bind, port, &hints, &list) != 0) {
		*error_text = "BIND: not an IP address";
		return CX_EINVAL;
	}
	memcpy(addr, list->ai_addr, list->ai_addrlen);
	*len = list->ai_addrlen;
	freeaddrinfo(list);
	return CX_OK;
}

static int bind_free(const struct sockaddr_storage *addr, socklen_t len)
{
	const struct sockaddr *a = (const struct sockaddr *)(const void *)addr;
	const int trial = bind_one(a, len, SHARE_TRIAL);

	if (trial < 0)
		return -1;
	close(trial);
	return bind_one(a, len, SHARE_WORKERS);
}

/* A machine without IPv6 gets the IPv4 wildcard instead. */
static int bind_first(const struct websocket_settings *s, struct sockaddr_storage *addr,
                      socklen_t *len)
{
	const bool is_any = s->bind == NULL || strcmp(s->bind, "::") == 0;
	const int fd = bind_free(addr, *len);
	struct sockaddr_in *any = (struct sockaddr_in *)(void *)addr;

	if (fd >= 0 || !is_any || (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL))
		return fd;
	memset(addr, 0, sizeof(*addr));
	any->sin_family = AF_INET;
	any->sin_port = htons(s->port);
	*len = sizeof(*any);
	return bind_free(addr, *len);
}

/* Lasts until the next failure: setup is the main thread's. */
static const char *why_not_bound(const struct websocket_settings *s, int err)
{
	static char text[160];

	if (err == EADDRINUSE)
		snprintf(text, sizeof(text), "PORT: %u is in use by another program", s->port);
	else if (err == EACCES)
		snprintf(text, sizeof(text), "PORT: %u needs a privilege", s->port);
	else
		snprintf(text, sizeof(text), "BIND: %s is not an address of this machine",
		         s->bind == NULL ? "::" : s->bind);
	return text;
}

static enum cx_err open_listeners(struct websocket_settings *s, uint16_t *bound_port,
                                  const char **error_text)
{
	struct sockaddr_storage addr;
	socklen_t len;

	if (resolve(s, &addr, &len, error_text) != CX_OK)
		return CX_EINVAL;
	for (unsigned i = 0; i < all_count; i++) {
		const int fd = i == 0 ? bind_first(s, &addr, &len)
		                      : bind_one((const struct sockaddr *)(const void *)&addr,
		                                 len, SHARE_WORKERS);

		if (fd < 0) {
			*error_text = why_not_bound(s, errno);
			return CX_EIO;
		}
		all[i]->listener.fd = fd;
		if (getsockname(fd, (struct sockaddr *)(void *)&addr, &len) != 0)
			return CX_EIO;
	}
	*bound_port = port_of(&addr);
	return CX_OK;
}

/* libwebsockets works with a table over all possible descriptors, and gives up above 10 million. */
static void set_file_limit(const struct websocket_settings *s)
{
	struct rlimit limit;
	rlim_t want = (rlim_t)s->max_connections + 2 * (rlim_t)s->max_handshakes + FDS_SPARE;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	if (want > FDS_MAX)
		want = FDS_MAX;
	if (limit.rlim_max != RLIM_INFINITY && want > limit.rlim_max)
		want = limit.rlim_max;
	if (limit.rlim_cur < want || limit.rlim_cur > FDS_MAX) {
		limit.rlim_cur = want;
		if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
			cx_log(CX_WARN, "websocket.file_limit", "errno=%d", errno);
	}
}

static enum cx_err open_dead_socket(const char **error_text)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
		*error_text = "no socket left";
		return CX_EIO;
	}
	close(pair[1]);
	ws_shared.dead_fd = pair[0];
	return CX_OK;
}

static enum cx_err add_adapter(struct websocket_settings *s, unsigned index, SSL_CTX *tls)
{
	struct ws_adapter *a = aligned_alloc(64, sizeof(*a));

	if (a == NULL)
		return CX_ENOMEM;
	memset(a, 0, sizeof(*a));
	a->settings = s;
	a->index = index;
	a->listener.fd = -1;
	a->answer_fd = -1;
	a->tls = tls;
	if (tls != NULL)
		cx_assert(SSL_CTX_up_ref(tls) == 1);
	a->loop = loop_uv_of(index);
	a->recv_buf = malloc(WS_RECV_BYTES);
	a->stage = malloc(WS_STAGE_BYTES);
	all[all_count++] = a;
	if (getrandom(&a->peer_salt, sizeof(a->peer_salt), 0) != sizeof(a->peer_salt))
		return CX_EIO;
	return a->recv_buf == NULL || a->stage == NULL ? CX_ENOMEM
	       : a->loop == NULL                       ? CX_EINVAL
	                                               : CX_OK;
}

static enum cx_err set_up(struct websocket_settings *s, uint16_t *bound_port,
                          const char **error_text)
{
	SSL_CTX *tls;
	enum cx_err err = ws_tls_new(s->tls_cert_file, s->tls_key_file, &tls, error_text);

	for (unsigned i = 0; i < s->workers && err == CX_OK; i++)
		err = add_adapter(s, i, tls);
	SSL_CTX_free(tls);
	if (err == CX_OK)
		err = open_dead_socket(error_text);
	if (err == CX_OK)
		err = open_listeners(s, bound_port, error_text);
	for (unsigned i = 0; i < all_count && err == CX_OK; i++)
		err = ws_lws_open(all[i], error_text);
	return err;
}

enum cx_err websocket_setup(struct websocket_settings *settings, uint16_t *bound_port,
                            const char **error_text)
{
	enum cx_err err;

	*error_text = "out of memory";
	if (settings->workers == 0 || settings->workers > WS_WORKERS_MAX || all_count != 0) {
		*error_text = "websocket: a number of workers that cannot be";
		return CX_EINVAL;
	}
	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
	set_file_limit(settings);
	err = set_up(settings, bound_port, error_text);
	if (err != CX_OK) {
		for (unsigned i = 0; i < all_count; i++)
			ws_lws_close(all[i]);
		websocket_teardown();
	}
	return err;
}

void websocket_teardown(void)
{
	for (unsigned i = 0; i < all_count; i++) {
		struct ws_adapter *a = all[i];

		ws_lws_finish(a);
		if (a->listener.fd >= 0)
			close(a->listener.fd);
		for (uint32_t n = 0; n < a->chunk_count; n++)
			free(a->chunks[n]);
		free(a->chunks);
		ws_out_free_all(a);
		free(a->recv_buf);
		free(a->stage);
		SSL_CTX_free(a->tls);
		SSL_CTX_free(a->tls_next);
		free(a);
		all[i] = NULL;
	}
	all_count = 0;
	if (ws_shared.dead_fd >= 0)
		close(ws_shared.dead_fd);
	ws_shared = (struct ws_shared){ .dead_fd = -1 };
}

void websocket_figures(struct websocket_figures *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < all_count; i++) /* pairs with ws_count */
		figures_add(out, &all[i]->figures, sizeof(*out));
	out->open = __atomic_load_n(&ws_shared.open, __ATOMIC_RELAXED);
	out->handshaking = __atomic_load_n(&ws_shared.handshaking, __ATOMIC_RELAXED);
}
