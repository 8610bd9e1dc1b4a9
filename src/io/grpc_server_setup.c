/* SPDX-License-Identifier: MIT */
/* What the adapters need before the workers run: sockets, TLS, nghttp2's options. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/figures.h"
#include "io/grpc_server_internal.h"
#include "io/openssl_h2.h"

#define BACKLOG 1024
#define ACKS_MAX 1000     /* unsent answers to PING and SETTINGS; over it the session ends */
#define SETTINGS_MAX 32   /* entries in one SETTINGS frame */
#define RESETS_BURST 2000 /* RST_STREAM of a peer; over burst and rate the session ends */
#define RESETS_A_SECOND 200

static struct grpc_server_settings settings_used;
static struct grpc_adapter *all[GRPC_WORKERS_MAX]; /* written by setup and teardown only */
static unsigned all_count;
static uint32_t open_count; /* connections of all workers */

struct grpc_adapter *grpc_adapter_of(unsigned worker)
{
	return worker < all_count ? all[worker] : NULL;
}

bool grpc_reserve(const struct grpc_adapter *a)
{
	/* relaxed: only the number matters */
	if (__atomic_add_fetch(&open_count, 1, __ATOMIC_RELAXED) <=
	    a->settings->max_connections)
		return true;
	grpc_release();
	return false;
}

void grpc_release(void)
{
	__atomic_fetch_sub(&open_count, 1, __ATOMIC_RELAXED);
}

void grpc_server_figures(struct grpc_server_figures *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < all_count; i++) /* pairs with grpc_count */
		figures_add(out, &all[i]->figures, sizeof(*out));
	out->open = __atomic_load_n(&open_count, __ATOMIC_RELAXED);
}

/* SHARE_TRIAL: only to see whether the port is free; the others would join whoever has it. */
enum share { SHARE_TRIAL, SHARE_WORKERS };

static int bind_one(const struct sockaddr_storage *addr, socklen_t len, enum share share)
{
	const int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const int on = 1, off = 0;
	int why;

	if (fd < 0)
		return -1;
	if (addr->ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	    (share == SHARE_TRIAL ||
	     setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0) &&
	    bind(fd, (const struct sockaddr *)(const void *)addr, len) == 0 &&
	    (share == SHARE_TRIAL || listen(fd, BACKLOG) == 0))
		return fd;
	why = errno;
	close(fd);
	errno = why;
	return -1;
}

static int bind_free(const struct sockaddr_storage *addr, socklen_t len)
{
	const int trial = bind_one(addr, len, SHARE_TRIAL);

	if (trial < 0)
		return -1;
	close(trial);
	return bind_one(addr, len, SHARE_WORKERS);
}

static enum cx_err resolve(const char *bind, uint16_t port, struct sockaddr_storage *addr,
                           socklen_t *len)
{
	const struct addrinfo hints = {
		.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *list;
	char text[8];

	snprintf(text, sizeof(text), "%u", (unsigned)port);
	if (getaddrinfo(bind == NULL ? "::" : bind, text, &hints, &list) != 0)
		return CX_EINVAL;
	memcpy(addr, list->ai_addr, list->ai_addrlen);
	*len = list->ai_addrlen;
	freeaddrinfo(list);
	return CX_OK;
}

/* A machine without IPv6 gets the IPv4 wildcard instead. */
static int bind_first(const struct grpc_server_settings *s, struct sockaddr_storage *addr,
                      socklen_t *len)
{
	const int fd = bind_free(addr, *len);

	if (fd >= 0 || s->bind != NULL || (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL) ||
	    resolve("0.0.0.0", s->port, addr, len) != CX_OK)
		return fd;
	return bind_free(addr, *len);
}

/* Lasts until the next failure: setup is the main thread's. */
static const char *why_not_bound(const struct grpc_server_settings *s, int err)
{
	static char text[160];

	if (err == EADDRINUSE)
		snprintf(text, sizeof(text), "GRPC_PORT: %u is in use by another program",
		         s->port);
	else if (err == EACCES)
		snprintf(text, sizeof(text), "GRPC_PORT: %u needs a privilege", s->port);
	else
		snprintf(text, sizeof(text), "BIND: %s is not an address of this machine",
		         s->bind == NULL ? "::" : s->bind);
	return text;
}

static enum cx_err open_listeners(const struct grpc_server_settings *s, uint16_t *bound_port,
                                  const char **error_text)
{
	struct sockaddr_storage addr;
	socklen_t len;

	if (resolve(s->bind, s->port, &addr, &len) != CX_OK) {
		*error_text = "BIND: not an IP address";
		return CX_EINVAL;
	}
	for (unsigned i = 0; i < all_count; i++) {
		const int fd = i == 0 ? bind_first(s, &addr, &len)
		                      : bind_one(&addr, len, SHARE_WORKERS);

		if (fd < 0) {
			*error_text = why_not_bound(s, errno);
			return CX_EIO;
		}
		all[i]->listener.fd = fd;
		if (getsockname(fd, (struct sockaddr *)(void *)&addr, &len) != 0)
			return CX_EIO;
	}
	*bound_port = addr.ss_family == AF_INET6
	                      ? ntohs(((struct sockaddr_in6 *)(void *)&addr)->sin6_port)
	                      : ntohs(((struct sockaddr_in *)(void *)&addr)->sin_port);
	return CX_OK;
}

static enum cx_err prepare_nghttp2(struct grpc_adapter *a)
{
	if (nghttp2_session_callbacks_new(&a->callbacks) != 0 ||
	    nghttp2_option_new(&a->option) != 0)
		return CX_ENOMEM;
	grpc_call_callbacks(a->callbacks);
	nghttp2_option_set_no_auto_window_update(a->option, 1);
	nghttp2_option_set_max_outbound_ack(a->option, ACKS_MAX);
	nghttp2_option_set_max_settings(a->option, SETTINGS_MAX);
	nghttp2_option_set_stream_reset_rate_limit(a->option, RESETS_BURST, RESETS_A_SECOND);
	return CX_OK;
}

static enum cx_err add_adapter(const struct grpc_server_settings *s, unsigned index,
                               const char **error_text)
{
	struct grpc_adapter *a = aligned_alloc(64, sizeof(*a));

	if (a == NULL)
		return CX_ENOMEM;
	memset(a, 0, sizeof(*a));
	a->settings = s;
	a->index = index;
	a->listener.fd = -1;
	a->loop = loop_uv_of(index);
	a->scratch = malloc(sizeof(*a->scratch));
	all[all_count++] = a;
	if (a->scratch == NULL)
		return CX_ENOMEM;
	if (a->loop == NULL) {
		*error_text = "grpc: the worker has no loop";
		return CX_EINVAL;
	}
	grpc_services_fill(a);
	if (s->tls_cert_file != NULL) {
		const enum cx_err err =
			tls_h2_server(s->tls_cert_file, s->tls_key_file, &a->tls, error_text);

		if (err != CX_OK)
			return err;
	}
	return prepare_nghttp2(a);
}

static void fill_defaults(struct grpc_server_settings *s)
{
	s->max_connections = s->max_connections ? s->max_connections : 1024;
	s->max_streams = s->max_streams ? s->max_streams : GRPC_STREAMS_DEFAULT;
	s->max_message_bytes =
		s->max_message_bytes ? s->max_message_bytes : GRPC_MESSAGE_DEFAULT;
	s->handshake_secs = s->handshake_secs ? s->handshake_secs : 10;
	s->idle_secs = s->idle_secs ? s->idle_secs : 3600;
	s->call_secs = s->call_secs ? s->call_secs : 60;
}

enum cx_err grpc_server_setup(const struct grpc_server_settings *settings, uint16_t *bound_port,
                              const char **error_text)
{
	enum cx_err err = CX_OK;

	*error_text = "out of memory";
	if (settings->workers == 0 || settings->workers > GRPC_WORKERS_MAX || all_count != 0) {
		*error_text = "grpc: a number of workers that cannot be";
		return CX_EINVAL;
	}
	if (settings->tls_cert_file != NULL && settings->tls_key_file == NULL) {
		*error_text = "TLS_KEY_FILE: needed with TLS_CERT_FILE";
		return CX_EINVAL;
	}
	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
	settings_used = *settings;
	fill_defaults(&settings_used);
	for (unsigned i = 0; i < settings->workers && err == CX_OK; i++)
		err = add_adapter(&settings_used, i, error_text);
	if (err == CX_OK)
		err = open_listeners(&settings_used, bound_port, error_text);
	if (err != CX_OK)
		grpc_server_teardown();
	return err;
}

enum cx_err grpc_server_reload_tls(const char **error_text)
{
	struct ssl_ctx_st *tls;
	enum cx_err err;

	if (all_count == 0 || settings_used.tls_cert_file == NULL)
		return CX_OK;
	*error_text = "out of memory";
	err = tls_h2_server(settings_used.tls_cert_file, settings_used.tls_key_file, &tls,
	                    error_text);
	if (err != CX_OK)
		return err;
	for (unsigned i = 0; i < all_count; i++)
		/* release: pairs with the exchange in take_next_tls; acquire: of one not taken */
		tls_h2_context_free(__atomic_exchange_n(
			&all[i]->tls_next, tls_h2_context_ref(tls), __ATOMIC_ACQ_REL));
	tls_h2_context_free(tls);
	return CX_OK;
}

void grpc_server_teardown(void)
{
	for (unsigned i = 0; i < all_count; i++) {
		struct grpc_adapter *a = all[i];

		if (a->listener.fd >= 0)
			close(a->listener.fd);
		for (uint32_t n = 0; n < a->chunk_count; n++)
			free(a->chunks[n]);
		free(a->chunks);
		while (a->free_pieces != NULL) {
			struct grpc_piece *p = a->free_pieces;

			a->free_pieces = p->next;
			free(p);
		}
		tls_h2_context_free(a->tls);
		tls_h2_context_free(a->tls_next);
		nghttp2_session_callbacks_del(a->callbacks);
		nghttp2_option_del(a->option);
		free(a->scratch);
		free(a);
		all[i] = NULL;
	}
	all_count = 0;
	open_count = 0;
}
