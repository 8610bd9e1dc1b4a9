/* SPDX-License-Identifier: MIT */
#include "io/websocket_origin.h"

#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#define PREFIX_LEN 8 /* bytes of an IPv6 address that name the client's network */

static struct ws_origin from_ipv6(const struct in6_addr *at)
{
	struct ws_origin o = { 0 };

	if (IN6_IS_ADDR_V4MAPPED(at)) {
		memcpy(o.net.b, at->s6_addr, sizeof(o.net.b));
		o.is_loopback = at->s6_addr[12] == 127;
	} else {
		memcpy(o.net.b, at->s6_addr, PREFIX_LEN);
		o.is_loopback = IN6_IS_ADDR_LOOPBACK(at);
		if (o.is_loopback)
			o.net.b[15] = 1; /* its /64 is zero: not known */
	}
	return o;
}

static struct ws_origin from_ipv4(const struct in_addr *at)
{
	struct in6_addr mapped = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

	memcpy(&mapped.s6_addr[12], at, sizeof(*at));
	return from_ipv6(&mapped);
}

struct ws_origin ws_origin_of(const struct sockaddr_storage *peer)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)peer;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)peer;

	if (peer->ss_family == AF_INET)
		return from_ipv4(&v4->sin_addr);
	if (peer->ss_family == AF_INET6)
		return from_ipv6(&v6->sin6_addr);
	return (struct ws_origin){ 0 };
}

/* address, address:port, [address]:port */
static bool parse_hop(const char *at, size_t len, struct ws_origin *out)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr v6;
	struct in_addr v4;
	const char *end;

	if (len > 0 && *at == '[') {
		at++;
		end = memchr(at, ']', --len);
	} else {
		end = memchr(at, ':', len);
		if (end == NULL || memchr(end + 1, ':', len - (size_t)(end + 1 - at)) != NULL)
			end = at + len; /* no port: none, or an IPv6 address */
	}
	if (end == NULL || (size_t)(end - at) >= sizeof(text))
		return false;
	memcpy(text, at, (size_t)(end - at));
	text[end - at] = '\0';
	if (inet_pton(AF_INET, text, &v4) == 1)
		*out = from_ipv4(&v4);
	else if (inet_pton(AF_INET6, text, &v6) == 1)
		*out = from_ipv6(&v6);
	else
		return false;
	return true;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

void ws_origin_forwarded(struct ws_origin *origin, const char *value, size_t len)
{
	while (origin->is_loopback && len > 0) {
		size_t from = len, to = len;
		struct ws_origin hop;

		while (from > 0 && value[from - 1] != ',')
			from--;
		len = from > 0 ? from - 1 : 0;
		while (from < to && is_space(value[from]))
			from++;
		while (to > from && is_space(value[to - 1]))
			to--;
		if (!parse_hop(value + from, to - from, &hop))
			return;
		*origin = hop; /* another process here: whom does that speak for? */
	}
}
