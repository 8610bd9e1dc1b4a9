/* SPDX-License-Identifier: MIT */
/* A user as messages name him: `uuid` or `uuid@domain`. */
#ifndef WIRE_USER_ADDRESS_H
#define WIRE_USER_ADDRESS_H

#include <stdbool.h>

#include "wire/slice.h"
#include "wire/uuid.h"

#define DOMAIN_BYTES_MAX 253
#define USER_ADDRESS_BYTES_MAX (UUID_TEXT_LEN + 1 + DOMAIN_BYTES_MAX)

struct user_address {
	struct uuid user;
	struct wire_slice domain; /* as written, len 0: none */
};

/* Labels of letters, digits, '-' and '_' with a dot between, at least two, none empty, at most
 * 253 bytes in all. */
WIRE_NODISCARD bool domain_is_valid(struct wire_slice domain);

/* Without regard to case. */
WIRE_NODISCARD bool domain_equal(struct wire_slice a, struct wire_slice b);

/* Keeps: out->domain borrows text.  Writes out only when it returns true. */
WIRE_NODISCARD bool user_address_parse(struct wire_slice text, struct user_address *out);

/* No domain, or this one; instance_domain of len 0: this server has none. */
WIRE_NODISCARD bool user_address_is_local(const struct user_address *address,
                                          struct wire_slice instance_domain);

/* Writes the address in lower case; out has room for USER_ADDRESS_BYTES_MAX.  Returns its
 * length; no NUL is written. */
size_t user_address_format(const struct user_address *address, char *out);

#endif
