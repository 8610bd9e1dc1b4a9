/* SPDX-License-Identifier: MIT */
#include "io/grpc_resolve.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

_Static_assert(sizeof(struct grpc_resolved) <= 4096, "fits a message");

static bool parse_port(const char *at, size_t len, char port[6])
{
	unsigned n = 0;

	if (len == 0 || len > 5)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (at[i] < '0' || at[i] > '9')
			return false;
		n = n * 10 + (unsigned)(at[i] - '0');
	}
	if (n == 0 || n > 65535)
		return false;
	snprintf(port, 6, "%u", n);
	return true;
}

/* host or [address], with :port or the scheme's own. */
static bool parse_authority(const char *at, size_t len, struct grpc_target *t)
{
	const char *end = at + len, *host = at, *host_end, *rest;

	if (len > 0 && at[0] == '[') {
		host = at + 1;
		host_end = memchr(at, ']', len);
		if (host_end == NULL)
			return false;
		rest = host_end + 1;
	} else {
		host_end = memchr(at, ':', len);
		host_end = host_end == NULL ? end : host_end;
		rest = host_end;
	}
	if (host_end == host || (size_t)(host_end - host) >= GRPC_HOST_CHARS)
		return false;
	for (const char *c = host; c < host_end; c++)
		if (*c <= ' ' || *c > '~' || strchr("/@?#[]", *c) != NULL)
			return false;
	memcpy(t->host, host, (size_t)(host_end - host));
	t->host[host_end - host] = '\0';
	if (rest == end)
		snprintf(t->port, sizeof(t->port), "%s", t->is_tls ? "443" : "80");
	else if (*rest != ':' || !parse_port(rest + 1, (size_t)(end - rest - 1), t->port))
		return false;
	snprintf(t->authority, sizeof(t->authority), at[0] == '[' ? "[%s]:%s" : "%s:%s",
	         t->host, t->port);
	return true;
}

static bool parse_one(const char *at, size_t len, struct grpc_target *t)
{
	memset(t, 0, sizeof(*t));
	if (len > 8 && memcmp(at, "https://", 8) == 0) {
		t->is_tls = true;
		at += 8;
		len -= 8;
	} else if (len > 7 && memcmp(at, "http://", 7) == 0) {
		at += 7;
		len -= 7;
	} else {
		return false;
	}
	if (at[len - 1] == '/')
		len--;
	return parse_authority(at, len, t);
}

size_t grpc_targets_parse(const char *text, struct grpc_target *targets)
{
	size_t count = 0;

	for (;;) {
		const size_t len = strcspn(text, ",");
		const size_t blanks = strspn(text, " ");
		size_t end = len;

		while (end > blanks && text[end - 1] == ' ')
			end--;
		if (blanks >= end || count == GRPC_TARGETS_MAX ||
		    !parse_one(text + blanks, end - blanks, &targets[count++]))
			return 0;
		if (text[len] == '\0')
			return count;
		text += len + 1;
	}
}

static void add(struct grpc_resolved *r, const struct addrinfo *from, uint8_t target)
{
	struct grpc_address *a = &r->addresses[r->count];

	if (r->count == GRPC_ADDRESSES_MAX || from->ai_addrlen > sizeof(a->v6))
		return;
	memset(a, 0, sizeof(*a));
	memcpy(&a->any, from->ai_addr, from->ai_addrlen);
	a->target = target;
	r->count++;
}

void grpc_resolve(struct cx_msg *job)
{
	struct grpc_resolved *r = (struct grpc_resolved *)(void *)job;
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct grpc_target *targets = calloc(GRPC_TARGETS_MAX, sizeof(*targets));
	size_t count;

	cx_assert(targets != NULL);
	count = grpc_targets_parse(r->text, targets);
	r->count = 0;
	for (size_t i = 0; i < count; i++) {
		struct addrinfo *list;

		if (getaddrinfo(targets[i].host, targets[i].port, &hints, &list) != 0)
			continue;
		for (const struct addrinfo *at = list; at != NULL; at = at->ai_next)
			add(r, at, (uint8_t)i);
		freeaddrinfo(list);
	}
	free(targets);
}
