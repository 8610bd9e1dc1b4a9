/* SPDX-License-Identifier: MIT */
/* What a link says first: AUTH, SELECT, CLIENT SETNAME, PING.  The PING finds out what the others may
 * not: that a password is missing, that the server still loads its data. */
#ifndef IO_REDIS_LOGIN_H
#define IO_REDIS_LOGIN_H

#include "io/redis_link.h"

/* Sets link->login_count, the number of replies. */
void redis_login_put(struct redis_link *link);

/* The next reply.  False: refused; the reason stands in link->why and holds no secret. */
bool redis_login_take(struct redis_link *link, const struct redis_value *value);

#endif
