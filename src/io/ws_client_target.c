/* SPDX-License-Identifier: MIT */
#include "io/ws_client_target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#include "io/ws_client.h"

#define LOCAL_ADDRESSES 250 /* 127.0.0.2 and up */

struct scheme {
	const char *prefix;
	bool is_tls;
};

static const struct scheme schemes[] = {
	{ "ws://", false },
	{ "http://", false },
	{ "wss://", true },
	{ "https://", true },
};

static const struct scheme *scheme_of(const char *url)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (strncasecmp(url, schemes[i].prefix, strlen(schemes[i].prefix)) == 0)
			return &schemes[i];
	return NULL;
}

static bool copy_range(char *to, size_t size, const char *from, size_t len)
{
	if (len == 0 || len >= size)
		return false;
	memcpy(to, from, len);
	to[len] = '\0';
	return true;
}

static bool is_port(const char *text)
{
	const size_t len = strlen(text);

	return len > 0 && len <= 5 && strspn(text, "0123456789") == len && atoi(text) > 0 &&
	       atoi(text) <= 65535;
}

static bool parse_port(struct ws_client_target *t, const char *text, size_t len, bool is_tls)
{
	if (len == 0) {
		snprintf(t->port, sizeof(t->port), "%s", is_tls ? "443" : "80");
		return true;
	}
	return text[0] == ':' && copy_range(t->port, sizeof(t->port), text + 1, len - 1) &&
	       is_port(t->port);
}

/* host, host:port, [v6] or [v6]:port */
static bool parse_authority(struct ws_client_target *t, const char *text, size_t len,
                            bool is_tls)
{
	const char *end = text + len;
	const char *host = text;
	const char *host_end;
	const char *rest;

	if (memchr(text, '@', len) ||
	    !copy_range(t->authority, sizeof(t->authority), text, len))
		return false;
	if (*text == '[') {
		host++;
		host_end = memchr(text, ']', len);
		rest = host_end ? host_end + 1 : NULL;
	} else {
		host_end = memchr(text, ':', len);
		host_end = host_end ? host_end : end;
		rest = host_end;
	}
	return host_end &&
	       copy_range(t->host, sizeof(t->host), host, (size_t)(host_end - host)) &&
	       parse_port(t, rest, (size_t)(end - rest), is_tls);
}

static bool has_control_or_space(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || *text == 127)
			return true;
	return false;
}

static bool parse_url(struct ws_client_target *t, const char *url, bool *is_tls)
{
	const struct scheme *scheme = scheme_of(url);
	const char *authority;
	size_t authority_len;
	size_t path_len;

	if (!scheme || has_control_or_space(url))
		return false;
	*is_tls = scheme->is_tls;
	authority = url + strlen(scheme->prefix);
	authority_len = strcspn(authority, "/?#");
	path_len = strcspn(authority + authority_len, "#");
	if (!parse_authority(t, authority, authority_len, scheme->is_tls))
		return false;
	if (path_len == 0)
		return snprintf(t->path, sizeof(t->path), "/") > 0;
	return (size_t)snprintf(t->path, sizeof(t->path), "%s%.*s",
	                        authority[authority_len] == '?' ? "/" : "", (int)path_len,
	                        authority + authority_len) < sizeof(t->path);
}

static bool is_loopback_v4(const struct addrinfo *ai)
{
	const struct sockaddr_in *in = (const void *)ai->ai_addr;

	return ai->ai_family == AF_INET && ntohl(in->sin_addr.s_addr) >> 24 == 127;
}

/* Tries a TCP connection, and closes it again.  Returns 0 or an errno. */
static int dial(const struct addrinfo *ai, uint32_t timeout_ms)
{
	const int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct pollfd waiting = { .fd = fd, .events = POLLOUT };
	int error = 0;
	socklen_t len = sizeof(error);

	if (fd < 0)
		return errno;
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) != 0 && errno != EINPROGRESS)
		error = errno;
	else if (poll(&waiting, 1, (int)timeout_ms) != 1)
		error = ETIMEDOUT;
	else
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	close(fd);
	return error;
}

static void take_address(struct ws_client_target *t, const struct addrinfo *ai, bool is_tls)
{
	char address[INET6_ADDRSTRLEN] = "";

	memcpy(&t->address, ai->ai_addr, ai->ai_addrlen);
	t->address_len = ai->ai_addrlen;
	t->is_loopback_v4 = is_loopback_v4(ai);
	getnameinfo(ai->ai_addr, ai->ai_addrlen, address, sizeof(address), NULL, 0,
	            NI_NUMERICHOST);
	snprintf(t->name, sizeof(t->name), "%s://%s%s (%s port %s)", is_tls ? "wss" : "ws",
	         t->authority, t->path, address, t->port);
}

/* Loopback IPv4 first, then as the resolver sorted them. */
static int dial_all(struct ws_client_target *t, const struct addrinfo *list, bool is_tls,
                    uint32_t timeout_ms)
{
	int error = EHOSTUNREACH;

	for (int pass = 0; pass < 2; pass++)
		for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
			if (is_loopback_v4(ai) != (pass == 0))
				continue;
			error = dial(ai, timeout_ms);
			if (error == 0) {
				take_address(t, ai, is_tls);
				return 0;
			}
		}
	return error;
}

static enum cx_err resolve_and_dial(struct ws_client_target *t, bool is_tls,
                                    uint32_t timeout_ms, char *why, size_t why_size)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
	struct addrinfo *list = NULL;
	int error = getaddrinfo(t->host, t->port, &hints, &list);

	if (error != 0) {
		snprintf(why, why_size, "the name \"%s\" cannot be resolved: %s", t->host,
		         gai_strerror(error));
		return CX_EIO;
	}
	error = dial_all(t, list, is_tls, timeout_ms);
	freeaddrinfo(list);
	if (error == 0)
		return CX_OK;
	if (error == ETIMEDOUT) {
		snprintf(why, why_size,
		         "%s port %s does not answer (no TCP connection in %u ms)", t->host,
		         t->port, timeout_ms);
		return CX_ETIMEOUT;
	}
	snprintf(why, why_size, "no TCP connection to %s port %s: %s%s", t->host, t->port,
	         strerror(error), error == ECONNREFUSED ? " (nothing listens there)" : "");
	return CX_EIO;
}

static void spread_source(int fd, uint32_t turn)
{
	const struct sockaddr_in from = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl((UINT32_C(127) << 24) + 2 + turn % LOCAL_ADDRESSES),
	};
	const int on = 1;

	/* The port is chosen at connect(), when both ends are known.  A refused bind costs
	 * nothing but the spreading. */
	if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) == 0)
		(void)bind(fd, (const void *)&from, sizeof(from));
}

int ws_client_target_connect(const struct ws_client_target *target, uint32_t turn)
{
	const int fd = socket(target->address.ss_family,
	                      SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const int on = 1;
	int error;

	if (fd < 0)
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (target->is_loopback_v4) {
		/* Nothing is congested there, and a pacing default (BBR) costs a tenth of the
		 * CPU of a message.  Refused: no harm. */
		setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
		spread_source(fd, turn);
	}
	if (connect(fd, (const void *)&target->address, target->address_len) == 0 ||
	    errno == EINPROGRESS)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

enum cx_err ws_client_target_open(const struct ws_client_target_conf *conf,
                                  struct ws_client_target **out, char *why, size_t why_size)
{
	struct ws_client_target *t = calloc(1, sizeof(*t));
	enum cx_err err;
	bool is_tls = false;

	if (!t) {
		snprintf(why, why_size, "out of memory");
		return CX_ENOMEM;
	}
	err = CX_EINVAL;
	if (!parse_url(t, conf->url, &is_tls)) {
		snprintf(why, why_size,
		         "\"%s\" is no URL like ws://host:port/ (ws, wss, http or https)",
		         conf->url);
		goto fail;
	}
	if (is_tls) {
		t->tls = ws_client_tls_context_new(t->host, conf->ca_file, conf->insecure, why,
		                                   why_size);
		if (!t->tls)
			goto fail;
	}
	err = resolve_and_dial(t, is_tls, conf->timeout_ms, why, why_size);
	if (err)
		goto fail;
	*out = t;
	return CX_OK;
fail:
	ws_client_target_close(t);
	return err;
}

void ws_client_target_close(struct ws_client_target *target)
{
	if (!target)
		return;
	ws_client_tls_context_free(target->tls);
	free(target);
}

const char *ws_client_target_name(const struct ws_client_target *target)
{
	return target->name;
}

bool ws_client_target_is_tls(const struct ws_client_target *target)
{
	return target->tls != NULL;
}
