/* SPDX-License-Identifier: MIT */
/* Addresses of Redis servers: what is taken is complete, and written again it is taken the same. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/redis_url.h"

static size_t encode(char *to, const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += (size_t)snprintf(to + n, 4, "%%%02x", (unsigned)(uint8_t)*text);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[4096];
	struct redis_url url, again;
	char why[200] = "";
	size_t n;

	if (!redis_url_parse(wire_slice(data, size), "REDIS_URL", &url, why, sizeof(why))) {
		CHECK(strncmp(why, "REDIS_URL ", 10) == 0);
		CHECK(url.password[0] == '\0' && url.host[0] == '\0');
		return 0;
	}
	CHECK(url.host[0] != '\0' && url.port > 0);
	CHECK(url.has_password == (url.password[0] != '\0'));
	CHECK(!url.has_user || url.has_password);
	n = (size_t)snprintf(text, sizeof(text), "redis%s://", url.is_tls ? "s" : "");
	if (url.has_password) {
		n += encode(text + n, url.user);
		text[n++] = ':';
		n += encode(text + n, url.password);
		text[n++] = '@';
	}
	n += (size_t)snprintf(text + n, sizeof(text) - n,
	                      strpbrk(url.host, ":%") != NULL ? "[%s]:%u/%u" : "%s:%u/%u",
	                      url.host, url.port, url.db);
	CHECK(redis_url_parse(wire_slice(text, n), "REDIS_URL", &again, why, sizeof(why)));
	CHECK(memcmp(&url, &again, sizeof(url)) == 0);
	return 0;
}
