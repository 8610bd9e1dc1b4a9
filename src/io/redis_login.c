/* SPDX-License-Identifier: MIT */
#include "io/redis_login.h"

#include <stdio.h>

#include "io/redis_request.h"

enum login_step { STEP_AUTH, STEP_SELECT, STEP_NAME, STEP_PING };

static void put_command(struct redis_link *link, enum login_step step,
                        const struct redis_arg *argv, unsigned n)
{
	uint8_t bytes[1024];
	const size_t len = redis_request_size(argv, n);

	cx_assert(len <= sizeof(bytes));
	redis_request_write(bytes, argv, n);
	redis_link_put(link, bytes, len);
	link->login[link->login_count++] = (uint8_t)step;
}

void redis_login_put(struct redis_link *link)
{
	const struct redis_url *url = link->url;
	struct redis_arg argv[3] = { REDIS_TEXT("AUTH") };
	char db[8];
	unsigned n = 1;

	link->login_at = link->login_count = 0;
	if (url->has_password) {
		if (url->has_user)
			argv[n++] = (struct redis_arg){ url->user, strlen(url->user) };
		argv[n++] = (struct redis_arg){ url->password, strlen(url->password) };
		put_command(link, STEP_AUTH, argv, n);
	}
	if (url->db > 0) {
		snprintf(db, sizeof(db), "%u", url->db);
		argv[0] = (struct redis_arg)REDIS_TEXT("SELECT");
		argv[1] = (struct redis_arg){ db, strlen(db) };
		put_command(link, STEP_SELECT, argv, 2);
	}
	argv[0] = (struct redis_arg)REDIS_TEXT("CLIENT");
	argv[1] = (struct redis_arg)REDIS_TEXT("SETNAME");
	argv[2] = (struct redis_arg){ link->client_name, strlen(link->client_name) };
	put_command(link, STEP_NAME, argv, 3);
	argv[0] = (struct redis_arg)REDIS_TEXT("PING");
	put_command(link, STEP_PING, argv, 1);
}

/* The code word of an error: the rest is the server's own text and stays out of the log. */
static void error_code(struct wire_slice text, char *out, size_t size)
{
	size_t n = 0;

	while (n < text.len && n + 1 < size && text.at[n] >= 'A' && text.at[n] <= 'Z') {
		out[n] = (char)text.at[n];
		n++;
	}
	out[n] = '\0';
}

bool redis_login_take(struct redis_link *link, const struct redis_value *value)
{
	static const char *const names[] = { "AUTH", "SELECT", "CLIENT SETNAME", "PING" };
	const uint8_t step = link->login[link->login_at++];
	char code[24];

	/* A name is a convenience, but without a log-in nothing works. */
	if (value->kind == REDIS_ERROR && step != STEP_NAME) {
		error_code(value->text, code, sizeof(code));
		snprintf(link->why, sizeof(link->why), "the server refused %s: %s", names[step],
		         code);
		return false;
	}
	return value->kind == REDIS_STATUS || value->kind == REDIS_ERROR;
}
