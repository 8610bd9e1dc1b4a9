/* SPDX-License-Identifier: MIT */
#include "io/websocket_origin.h"

#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <criterion/criterion.h>

TestSuite(websocket_origin, .timeout = 20);

static struct ws_origin of(const char *text)
{
	struct sockaddr_storage peer = { 0 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&peer;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&peer;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
		peer.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
		peer.ss_family = AF_INET6;
	else
		cr_assert_fail("%s", text);
	return ws_origin_of(&peer);
}

static bool is_same(struct ws_origin a, const char *b)
{
	const struct ws_origin o = of(b);

	return uuid_equal(&a.net, &o.net) && a.is_loopback == o.is_loopback;
}

static struct ws_origin forwarded(const char *peer, const char *value)
{
	struct ws_origin o = of(peer);

	ws_origin_forwarded(&o, value, strlen(value));
	return o;
}

Test(websocket_origin, an_ipv4_address_is_one_client_however_it_is_written)
{
	cr_assert(is_same(of("192.0.2.7"), "::ffff:192.0.2.7"));
	cr_assert(!is_same(of("192.0.2.7"), "192.0.2.8"));
}

Test(websocket_origin, an_ipv6_client_has_its_whole_64)
{
	cr_assert(is_same(of("2001:db8:1:2::1"), "2001:db8:1:2:ffff::9"));
	cr_assert(!is_same(of("2001:db8:1:2::1"), "2001:db8:1:3::1"));
	cr_assert(!of("2001:db8:1:2::1").is_loopback);
}

Test(websocket_origin, loopback_is_known_in_each_spelling)
{
	const struct ws_origin here = of("::1");

	cr_assert(of("127.0.0.1").is_loopback && of("127.9.9.9").is_loopback);
	cr_assert(of("::1").is_loopback && of("::ffff:127.0.0.1").is_loopback);
	cr_assert(!of("128.0.0.1").is_loopback && !of("::2").is_loopback);
	cr_assert(!uuid_is_zero(&here.net), "that would be an unknown one");
}

Test(websocket_origin, a_proxy_on_this_machine_speaks_for_the_right_most_foreign_hop)
{
	cr_assert(is_same(forwarded("127.0.0.1", "192.0.2.7"), "192.0.2.7"));
	cr_assert(is_same(forwarded("::1", "10.0.0.1, 192.0.2.7"), "192.0.2.7"));
	cr_assert(is_same(forwarded("127.0.0.1", "192.0.2.7 ,\t127.0.0.1, ::1"), "192.0.2.7"));
	cr_assert(is_same(forwarded("127.0.0.1", "192.0.2.7:4711"), "192.0.2.7"));
	cr_assert(is_same(forwarded("127.0.0.1", "[2001:db8::1]:80"), "2001:db8::2"));
	cr_assert(is_same(forwarded("127.0.0.1", "2001:db8::1"), "2001:db8::2"));
}

Test(websocket_origin, what_cannot_be_read_changes_nothing)
{
	static const char *const bad[] = { "",   ",",    "unknown", "_x",
		                           "[]", "[::2", "1.2.3",   "192.0.2.7, x" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert(is_same(forwarded("127.0.0.1", bad[i]), "127.0.0.1"), "%s", bad[i]);
	cr_assert(is_same(forwarded("127.0.0.1",
	                            "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb"),
	                  "127.0.0.1"));
}

Test(websocket_origin, a_client_elsewhere_cannot_say_who_it_is)
{
	cr_assert(is_same(forwarded("192.0.2.7", "192.0.2.9"), "192.0.2.7"));
}
