/* SPDX-License-Identifier: MIT */
#include "io/websocket_head.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define METHOD_MAX 32
#define TARGET_MAX 4096
#define FIELDS_MAX 64 /* header lines; libwebsockets has room for about 100 fragments */
#define EMPTY_LINES_MAX 4
#define KEY_LEN 24 /* 16 bytes in base64 */

struct text {
	const char *at;
	size_t len;
};

/* What the header lines say. */
struct fields {
	struct text upgrade, key, version, content_length, forwarded;
	unsigned count, hosts, upgrades, lengths, keys, versions;
	bool is_connection_upgrade, has_transfer_encoding;
};

static bool is_token_char(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool text_is(struct text t, const char *word)
{
	return t.len == strlen(word) && strncasecmp(t.at, word, t.len) == 0;
}

static struct text trimmed(struct text t)
{
	while (t.len > 0 && (*t.at == ' ' || *t.at == '\t')) {
		t.at++;
		t.len--;
	}
	while (t.len > 0 && (t.at[t.len - 1] == ' ' || t.at[t.len - 1] == '\t'))
		t.len--;
	return t;
}

/* Is word an element of the comma separated list? */
static bool list_has(struct text list, const char *word)
{
	while (list.len > 0) {
		const char *comma = memchr(list.at, ',', list.len);
		const size_t n = comma == NULL ? list.len : (size_t)(comma - list.at);

		if (text_is(trimmed((struct text){ list.at, n }), word))
			return true;
		list.at += n;
		list.len -= n;
		if (list.len > 0) {
			list.at++;
			list.len--;
		}
	}
	return false;
}

int32_t ws_head_body_len(const char *value, size_t len)
{
	int32_t n = 0;

	if (len == 0)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (value[i] < '0' || value[i] > '9')
			return -1;
		if (n <= WS_BODY_MAX)
			n = n * 10 + (value[i] - '0');
	}
	return n > WS_BODY_MAX ? WS_BODY_MAX + 1 : n;
}

static uint16_t check_target(struct text target, struct ws_head *out)
{
	const char *query;
	unsigned parts = 0;

	if (target.len == 0)
		return 400;
	if (target.len > TARGET_MAX)
		return 414;
	for (size_t i = 0; i < target.len; i++) {
		const char c = target.at[i];

		if (c < 0x21 || c > 0x7e)
			return 400;
		if (c == '%' && (i + 2 >= target.len || !is_hex(target.at[i + 1]) ||
		                 !is_hex(target.at[i + 2]) ||
		                 (target.at[i + 1] == '0' && target.at[i + 2] == '0')))
			return 400;
		/* each makes a fragment in libwebsockets' header table */
		if ((c == '&' || c == ';') && ++parts > 16)
			return 414;
	}
	query = memchr(target.at, '?', target.len);
	out->path = target.at;
	out->path_len = (uint32_t)(query == NULL ? target.len : (size_t)(query - target.at));
	return 0;
}

static uint16_t check_version(struct text version)
{
	if (version.len != 8 || memcmp(version.at, "HTTP/", 5) != 0 || version.at[6] != '.')
		return 400;
	return version.at[5] == '1' ? 0 : 505;
}

/* METHOD SP target SP HTTP/1.x */
static uint16_t check_request_line(struct text line, struct text *method, bool *is_1_1,
                                   struct ws_head *out)
{
	const char *sp = memchr(line.at, ' ', line.len);
	const char *sp2;
	struct text target, version;
	uint16_t status;

	if (sp == NULL || sp == line.at || sp - line.at > METHOD_MAX)
		return 400;
	*method = (struct text){ line.at, (size_t)(sp - line.at) };
	for (size_t i = 0; i < method->len; i++)
		if (!is_token_char((unsigned char)method->at[i]))
			return 400;
	target = (struct text){ sp + 1, line.len - method->len - 1 };
	sp2 = memchr(target.at, ' ', target.len);
	if (sp2 == NULL)
		return 400;
	version = (struct text){ sp2 + 1, target.len - (size_t)(sp2 - target.at) - 1 };
	target.len = (size_t)(sp2 - target.at);
	status = check_target(target, out);
	if (status == 0)
		status = check_version(version);
	if (status == 0)
		*is_1_1 = version.at[7] != '0';
	return status;
}

static void note_field(struct fields *f, struct text name, struct text value)
{
	if (text_is(name, "host")) {
		f->hosts++;
	} else if (text_is(name, "upgrade")) {
		f->upgrade = value;
		f->upgrades++;
	} else if (text_is(name, "connection")) {
		f->is_connection_upgrade |= list_has(value, "upgrade");
	} else if (text_is(name, "sec-websocket-key")) {
		f->key = value;
		f->keys++;
	} else if (text_is(name, "sec-websocket-version")) {
		f->version = value;
		f->versions++;
	} else if (text_is(name, "content-length")) {
		f->content_length = value;
		f->lengths++;
	} else if (text_is(name, "x-forwarded-for")) {
		f->forwarded = value;
	} else if (text_is(name, "transfer-encoding")) {
		f->has_transfer_encoding = true;
	}
}

static uint16_t check_field(struct text line, struct fields *f)
{
	const char *colon = memchr(line.at, ':', line.len);
	struct text name, value;

	if (colon == NULL || colon == line.at)
		return 400;
	if (++f->count > FIELDS_MAX)
		return 431;
	name = (struct text){ line.at, (size_t)(colon - line.at) };
	for (size_t i = 0; i < name.len; i++)
		if (!is_token_char((unsigned char)name.at[i]))
			return 400;
	value = (struct text){ colon + 1, line.len - name.len - 1 };
	for (size_t i = 0; i < value.len; i++) {
		const unsigned char c = (unsigned char)value.at[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return 400;
	}
	note_field(f, name, trimmed(value));
	return 0;
}

static uint16_t refuse_upgrade(const struct fields *f, struct text method, bool is_1_1)
{
	if (f->upgrades != 1 || !text_is(f->upgrade, "websocket") ||
	    !f->is_connection_upgrade || !is_1_1 || !text_is(method, "GET") || f->lengths > 0)
		return 400;
	if (f->versions != 1 || !text_is(f->version, "13"))
		return 426;
	if (f->keys != 1 || f->key.len != KEY_LEN || f->key.at[KEY_LEN - 1] != '=')
		return 400;
	return 0;
}

static uint16_t judge(const struct fields *f, struct text method, bool is_1_1,
                      struct ws_head *out)
{
	int32_t body = 0;

	if (f->hosts > 1 || (is_1_1 && f->hosts == 0) || f->lengths > 1)
		return 400;
	if (f->has_transfer_encoding)
		return 501;
	if (f->lengths == 1)
		body = ws_head_body_len(f->content_length.at, f->content_length.len);
	if (body < 0)
		return 400;
	if (body > WS_BODY_MAX)
		return 413;
	out->body_len = (uint32_t)body;
	if (f->upgrade.len > 0) {
		out->verdict = WS_HEAD_UPGRADE;
		return refuse_upgrade(f, method, is_1_1);
	}
	if (text_is(method, "POST") && f->lengths == 0)
		return 411;
	out->verdict = WS_HEAD_OTHER;
	if (memcmp(method.at, "GET ", 4) == 0 || memcmp(method.at, "HEAD ", 5) == 0 ||
	    memcmp(method.at, "POST ", 5) == 0)
		out->verdict = WS_HEAD_REQUEST;
	if (out->path[0] != '/' && out->verdict == WS_HEAD_REQUEST)
		return 400;
	return 0;
}

/* The line at *at, without its CRLF; false when there is none, *status set when it is bad. */
static bool next_line(struct text *rest, struct text *line, uint16_t *status)
{
	const char *lf = memchr(rest->at, '\n', rest->len);

	if (lf == NULL)
		return false;
	if (lf == rest->at || lf[-1] != '\r') {
		*status = 400;
		return true;
	}
	*line = (struct text){ rest->at, (size_t)(lf - rest->at) - 1 };
	rest->len -= (size_t)(lf - rest->at) + 1;
	rest->at = lf + 1;
	return true;
}

/* Garbage should not wait for a line end that never comes. */
static uint16_t check_start(struct text rest)
{
	for (size_t i = 0; i < rest.len && i < METHOD_MAX + 1; i++) {
		if (rest.at[i] == ' ')
			return i == 0 ? 400 : 0;
		if (!is_token_char((unsigned char)rest.at[i]))
			return 400;
	}
	return rest.len > METHOD_MAX ? 400 : 0;
}

static uint16_t check_lines(struct text *rest, struct ws_head *out)
{
	struct fields f = { 0 };
	struct text line, method = { NULL, 0 };
	uint16_t status = 0;
	bool is_1_1 = false;

	if (!next_line(rest, &line, &status))
		return check_start(*rest);
	if (status == 0)
		status = check_request_line(line, &method, &is_1_1, out);
	while (status == 0 && next_line(rest, &line, &status)) {
		if (status == 0 && line.len == 0) {
			out->forwarded = f.forwarded.at;
			out->forwarded_len = (uint32_t)f.forwarded.len;
			return judge(&f, method, is_1_1, out);
		}
		if (status == 0)
			status = check_field(line, &f);
	}
	return status;
}

void ws_head_check(const char *bytes, size_t len, struct ws_head *out)
{
	struct text rest = { bytes, len };

	*out = (struct ws_head){ .verdict = WS_HEAD_MORE };
	while (out->skip < 2 * EMPTY_LINES_MAX && rest.len >= 2 &&
	       memcmp(rest.at, "\r\n", 2) == 0) {
		rest.at += 2;
		rest.len -= 2;
		out->skip += 2;
	}
	if (rest.len == 0 ||
	    (rest.len == 1 && *rest.at == '\r' && out->skip < 2 * EMPTY_LINES_MAX))
		return;
	out->status = check_lines(&rest, out);
	out->len = (uint32_t)(rest.at - bytes) - out->skip;
	if (out->status == 0 &&
	    (out->verdict == WS_HEAD_MORE ? len - out->skip : out->len) > WS_HEAD_MAX)
		out->status = 431;
	if (out->status != 0)
		out->verdict = WS_HEAD_REFUSE;
}
