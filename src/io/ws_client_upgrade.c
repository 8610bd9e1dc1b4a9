/* SPDX-License-Identifier: MIT */
#include "io/ws_client_upgrade.h"

#include <stdio.h>
#include <string.h>

#include <sys/random.h>

#include "io/ws_client_target.h"
#include "wire/base64.h"
#include "wire/ws_frame.h"

#define RESPONSE_BYTES_MAX 16384

bool ws_client_nonce_make(struct ws_client_nonce *nonce)
{
	uint8_t bytes[16];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return false;
	nonce->key[base64_encode(bytes, sizeof(bytes), nonce->key)] = '\0';
	return ws_accept_key(wire_text(nonce->key), nonce->accept);
}

size_t ws_client_upgrade_request(const struct ws_client_target *target,
                                 const struct ws_client_nonce *nonce, char *to)
{
	return (size_t)snprintf(to, WS_CLIENT_REQUEST_BYTES_MAX,
	                        "GET %s HTTP/1.1\r\nHost: %s\r\n"
	                        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
	                        "Sec-WebSocket-Version: 13\r\n"
	                        "Sec-WebSocket-Key: %s\r\n\r\n",
	                        target->path, target->authority, nonce->key);
}

static bool has_accept(const char *head, const char *accept)
{
	static const char name[] = "\r\nsec-websocket-accept:";
	const char *value = strcasestr(head, name);

	if (!value)
		return false;
	value += sizeof(name) - 1;
	value += strspn(value, " \t");
	return strncmp(value, accept, WS_ACCEPT_LEN) == 0 &&
	       strchr(" \t\r", value[WS_ACCEPT_LEN]);
}

static ssize_t refuse(struct ws_client_end *end, const char *head)
{
	const size_t line_len = strcspn(head, "\r");

	if (end->http_status == 101)
		snprintf(end->text, sizeof(end->text),
		         "the upgrade's Sec-WebSocket-Accept is missing or wrong");
	else if (end->http_status == 0)
		snprintf(end->text, sizeof(end->text),
		         "the answer to the upgrade is not HTTP/1.1");
	else
		snprintf(end->text, sizeof(end->text),
		         "the server answered \"%.*s\" to the upgrade",
		         line_len > 80 ? 80 : (int)line_len, head);
	return -1;
}

ssize_t ws_client_upgrade_response(const struct ws_client_nonce *nonce, const uint8_t *data,
                                   size_t len, struct ws_client_end *end)
{
	const uint8_t *stop = memmem(data, len, "\r\n\r\n", 4);
	char head[RESPONSE_BYTES_MAX];
	size_t head_len;

	*end = (struct ws_client_end){ .kind = WS_CLIENT_END_HTTP };
	if (!stop && len < RESPONSE_BYTES_MAX)
		return 0;
	head_len = stop ? (size_t)(stop - data) + 2 : 0; /* with the last line's end */
	if (head_len >= sizeof(head))
		return refuse(end, "");
	memcpy(head, data, head_len);
	head[head_len] = '\0';
	if (sscanf(head, "HTTP/1.1 %3d", &end->http_status) == 1 && end->http_status == 101 &&
	    has_accept(head, nonce->accept))
		return (ssize_t)head_len + 2;
	return refuse(end, head);
}
