/* SPDX-License-Identifier: MIT */
#include "wire/redis_url.h"

#include <stdio.h>

#define DEFAULT_PORT 6379

static bool is_prefix(struct wire_slice text, const char *prefix)
{
	const size_t len = strlen(prefix);

	return text.len >= len && memcmp(text.at, prefix, len) == 0;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* False: a broken escape, a NUL, or too long. */
static bool decode(struct wire_slice from, char *to, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < from.len; i++) {
		int c = from.at[i];

		if (c == '%') {
			const int high = i + 2 < from.len ? hex_digit(from.at[i + 1]) : -1;
			const int low = i + 2 < from.len ? hex_digit(from.at[i + 2]) : -1;

			if (high < 0 || low < 0)
				return false;
			c = high * 16 + low;
			i += 2;
		}
		if (c == 0 || n + 1 >= size)
			return false;
		to[n++] = (char)c;
	}
	to[n] = '\0';
	return true;
}

static bool decode_number(struct wire_slice text, uint32_t max, uint32_t *out)
{
	uint32_t n = 0;

	if (text.len == 0 || text.len > 5)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return false;
		n = n * 10 + (uint32_t)(text.at[i] - '0');
	}
	*out = n;
	return n <= max;
}

static const uint8_t *last_of(struct wire_slice text, char c)
{
	return text.len > 0 ? memrchr(text.at, c, text.len) : NULL;
}

/* `s` is cut at `at`; returns what comes after it. */
static struct wire_slice split(struct wire_slice *s, const uint8_t *at)
{
	const struct wire_slice rest = wire_slice(at + 1, s->len - (size_t)(at - s->at) - 1);

	s->len = (size_t)(at - s->at);
	return rest;
}

static const char *take_user(struct wire_slice info, struct redis_url *out)
{
	const uint8_t *colon = info.len > 0 ? memchr(info.at, ':', info.len) : NULL;
	struct wire_slice password;

	if (colon == NULL)
		return "has a user without a password (a password alone is written "
		       "':password@')";
	password = split(&info, colon);
	if (!decode(info, out->user, sizeof(out->user)))
		return "has a user that is too long or not percent-encoded";
	if (!decode(password, out->password, sizeof(out->password)))
		return "has a password that is too long or not percent-encoded";
	if (password.len == 0)
		return "has an empty password";
	out->has_user = info.len > 0;
	out->has_password = true;
	return NULL;
}

static bool is_host_byte(uint8_t c, bool is_address)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || (is_address ? c == ':' || c == '%' : c == '-' || c == '_');
}

static const char *take_host(struct wire_slice host, struct redis_url *out)
{
	const bool is_address = host.len > 0 && host.at[0] == '[';
	const uint8_t *end = is_address ? memchr(host.at, ']', host.len) : NULL;
	struct wire_slice port = { NULL, 0 };
	const uint8_t *colon;
	uint32_t number = DEFAULT_PORT;

	if (is_address) {
		if (end == NULL)
			return "has an address without its closing bracket";
		port = split(&host, end);
		host = wire_slice(host.at + 1, host.len - 1);
		if (port.len > 0 && port.at[0] != ':')
			return "has something other than a port behind its host";
		port = port.len > 0 ? wire_slice(port.at + 1, port.len - 1)
		                    : wire_slice(NULL, 0);
	} else if ((colon = last_of(host, ':')) != NULL) {
		port = split(&host, colon);
	}
	if (host.len == 0 || host.len >= sizeof(out->host))
		return "has no host, or one that is too long";
	for (size_t i = 0; i < host.len; i++)
		if (!is_host_byte(host.at[i], is_address))
			return "has a host with a character that no host has";
	if (port.at != NULL && (!decode_number(port, 65535, &number) || number == 0))
		return "has a port that is not 1 to 65535";
	memcpy(out->host, host.at, host.len);
	out->host[host.len] = '\0';
	out->port = (uint16_t)number;
	return NULL;
}

static const char *take_db(struct wire_slice path, struct redis_url *out)
{
	uint32_t number = 0;

	if (path.len > 0 && !decode_number(path, REDIS_URL_DB_MAX, &number))
		return "has a path that is not the number of a database";
	out->db = (uint16_t)number;
	return NULL;
}

static const char *take(struct wire_slice text, struct redis_url *out)
{
	struct wire_slice path = { NULL, 0 }, host;
	const uint8_t *at;
	const char *why = NULL;

	out->is_tls = is_prefix(text, "rediss://");
	if (!out->is_tls && !is_prefix(text, "redis://"))
		return "must begin with redis:// or rediss://";
	text = wire_slice(text.at + (out->is_tls ? 9 : 8), text.len - (out->is_tls ? 9 : 8));
	at = last_of(text, '@'); /* the last: what is before it may hold anything */
	host = text;
	if (at != NULL) {
		host = split(&text, at);
		why = take_user(text, out);
	}
	at = host.len > 0 ? memchr(host.at, '/', host.len) : NULL;
	if (at != NULL)
		path = split(&host, at);
	if (why == NULL)
		why = take_host(host, out);
	return why != NULL ? why : take_db(path, out);
}

bool redis_url_parse(struct wire_slice text, const char *variable, struct redis_url *out,
                     char *why, size_t why_size)
{
	const char *wrong;

	memset(out, 0, sizeof(*out));
	wrong = take(text, out);
	if (wrong == NULL)
		return true;
	memset(out, 0, sizeof(*out)); /* half of a password is none */
	snprintf(why, why_size, "%s %s", variable, wrong);
	return false;
}
