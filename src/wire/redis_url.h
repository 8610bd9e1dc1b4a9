/* SPDX-License-Identifier: MIT */
/* The address of a Redis server: redis://[[user]:password@]host[:port][/db], rediss:// for TLS.
 * User and password are percent-decoded.  After RFC 3986, section 3, without query and fragment. */
#ifndef WIRE_REDIS_URL_H
#define WIRE_REDIS_URL_H

#include "wire/slice.h"

#define REDIS_URL_DB_MAX 65535

struct redis_url {
	char host[256]; /* a name or an address; IPv6 without its brackets */
	char user[128];
	char password[512];
	uint16_t port;
	uint16_t db;
	bool is_tls;
	bool has_user;
	bool has_password;
};

/* `variable` names the setting in the text of an error; the password never stands in it.
 * Returns false with a sentence in why; *out is then not to be used. */
WIRE_NODISCARD bool redis_url_parse(struct wire_slice text, const char *variable,
                                    struct redis_url *out, char *why, size_t why_size);

#endif
